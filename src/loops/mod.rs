//! Long-lived tasks, one file each.

pub mod admitter;
pub(crate) mod concerned;
pub mod credentials;
pub mod dispatcher;
pub mod dns;
mod effects;
pub(crate) mod gates;
pub mod influxdb;
pub mod lanes;
pub mod measures;
pub mod mirror;
mod owned;
pub mod pools;
pub mod prober;
pub mod prometheus;
pub mod queries;
pub mod reconciler;
pub mod refusals;
pub mod resolver;
pub mod runs;
pub mod samples;
pub mod services;
pub mod signals;
pub mod turns;
mod unseen;
pub mod workflows;
