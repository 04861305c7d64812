//! Test harness of medley.

pub mod cluster;
pub mod conformance;
pub mod mutants;
pub mod simulated;
