//! The commands.

pub mod crds;
pub mod operator;
pub mod reference;
