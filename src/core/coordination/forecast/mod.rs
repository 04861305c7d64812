//! P(s given b): the chance and duration of each step of a business flow, learned from finished runs; from it, when a run will
//! end and whether it will miss its deadline.
//!
//! A finished run gives a [`Sample`]; [`history`] folds samples into the workflow's status; [`Model`] is that history made
//! ready for draws; [`predict`] draws many ways in which a run may go on. `docs/forecast.md` tells it as a whole.

mod chance;
mod curve;
mod model;
mod predict;

pub mod cell;
pub mod history;
pub mod sample;

pub use cell::Cell;
pub use model::{LEAST_WEIGHT, Model};
pub use predict::{DRAWS, Forecast, Situation, predict};
pub use sample::{DEADLINE_EXCEEDED, Sample, is_overdue, sample};
