//! Kubernetes I/O and nothing else: who reads (`cache`, `watch`), who writes (`perform`), who may write (`leader`).

pub mod cache;
pub mod capacity;
pub mod clock;
mod contest;
pub mod definitions;
pub mod error;
pub mod family;
pub mod feed;
pub mod gates;
pub mod jobs;
pub mod kept_run;
pub mod leader;
pub mod lost;
pub mod models;
pub mod notes;
pub mod observe;
pub mod perform;
pub mod pods;
mod queries;
pub mod queue;
mod readiness;
pub mod review;
pub(crate) mod waits;
pub mod watch;
