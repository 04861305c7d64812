//! Long-lived tasks, one file each.

pub mod dns;
pub mod prober;
pub mod resolver;
