//! medley
pub mod api;
pub mod cli;
