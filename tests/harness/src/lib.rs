//! Test harness of medley.

pub mod certificates;
pub mod cluster;
pub mod conformance;
pub mod mutants;
pub mod simulated;
