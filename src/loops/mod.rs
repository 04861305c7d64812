//! Long-lived tasks, one file each.

pub mod admitter;
pub mod dispatcher;
pub mod dns;
mod effects;
pub mod lanes;
pub mod pools;
pub mod prober;
pub mod reconciler;
pub mod refusals;
pub mod resolver;
pub mod runs;
pub mod samples;
pub mod services;
pub mod turns;
mod unseen;
pub mod workflows;
