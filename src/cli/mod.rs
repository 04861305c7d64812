//! The commands.

pub mod crds;
pub mod explain;
pub mod files;
pub mod format;
pub mod graph;
pub mod influxdb;
pub mod lint;
mod mirrors;
pub mod operator;
pub mod picture;
pub mod plan;
pub mod reference;
mod registry;
mod secret;
pub mod signals;
pub mod simulate;
