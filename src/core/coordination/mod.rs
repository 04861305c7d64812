//! Coordination: drives the steps of a clinical workflow. Every decision is a pure function of what is known and the time.

mod admission;
pub mod asks;
mod call;
pub mod capacity;
mod child;
mod conclusion;
mod concurrency;
mod deadline;
pub mod definition;
pub mod ended;
pub mod fan_out;
pub mod fhir;
pub mod forecast;
mod origin;
pub mod outcome;
pub mod parameters;
mod pod;
pub mod request;
mod resolution;
pub mod result;
pub mod retention;
pub mod retry;
mod retry_after;
pub mod risk;
pub mod run;
mod stages;
mod step;
mod turn;
pub mod view;
pub mod wish;
pub mod workflow;
mod workspace;

pub use child::MAX_DEPTH;
pub use definition::Definition;
pub use run::decide;
