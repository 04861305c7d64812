//! Does what medley predicts come true as often as it says?
#![allow(clippy::unwrap_used)] // helpers of tests: a failure is a failed test

#[path = "forecast/flows.rs"]
mod flows;

#[path = "forecast/calibration.rs"]
mod calibration;
#[path = "forecast/cost.rs"]
mod cost;
#[path = "forecast/laws.rs"]
mod laws;
