//! Coordination: drives the steps of a clinical workflow. Every decision is a pure function of what is known and the time.

pub mod definition;
pub mod outcome;
pub mod parameters;
pub mod result;
pub mod retry;
pub mod run;
pub mod step;
pub mod view;
pub mod workflow;

pub use definition::Definition;
pub use run::decide;
