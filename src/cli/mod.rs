//! The commands.

pub mod crds;
pub mod files;
pub mod format;
pub mod graph;
pub mod lint;
pub mod operator;
pub mod reference;
pub mod simulate;
