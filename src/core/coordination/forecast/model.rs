//! What a history says about the next run, ready for many draws.

use crate::{
    api::flow::FlowSummary,
    core::coordination::{
        definition::Definition,
        forecast::{
            cell::Cell,
            curve::{Curve, Prior},
            history::{known, read, weight},
        },
    },
};

/// Less history than this gives no prediction: seven runs of which none is old.
pub const LEAST_WEIGHT: f64 = 6.0;

/// A workflow's history, ready for many draws.
#[derive(Clone, Debug)]
pub struct Model {
    /// The revision that it is about.
    pub revision: String,
    /// The steps, in the order of the definition.
    pub(super) steps: Vec<StepModel>,
    /// Weights of the past runs; 0 for those of which nothing is known.
    pub(super) runs: Vec<f64>,
}

/// One step.
#[derive(Clone, Debug)]
pub(super) struct StepModel {
    /// Places of the steps that it waits for.
    pub(super) after: Vec<usize>,
    /// How long it takes; `None` when it has never been seen to succeed.
    pub(super) curve: Option<Curve>,
    /// What became of it in each past run.
    pub(super) past: Vec<Past>,
    /// The share of runs in which `when` gave false.
    pub(super) skipped: f64,
    /// Whether it may be skipped at all.
    pub(super) conditional: bool,
}

/// What became of a step in a past run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Past {
    /// Not known.
    Absent,
    /// Skipped.
    Skipped,
    /// It succeeded. Its duration stands between these probabilities of the curve; those of all past runs fill 0 to 1.
    Ran {
        /// From.
        low: f64,
        /// To.
        high: f64,
    },
}

impl Model {
    /// From a summary and the definition that it is about; `None` while there is too little of it, or a step that must run
    /// has never been seen.
    #[must_use]
    pub fn new(summary: &FlowSummary, definition: &Definition) -> Option<Self> {
        let records: Vec<Vec<Cell>> = definition
            .steps
            .iter()
            .map(|step| summary.steps.get(&step.name).map(|s| read(&s.record)).unwrap_or_default())
            .collect();
        let runs: Vec<f64> =
            known(&records).iter().enumerate().map(|(age, known)| if *known { weight(age) } else { 0.0 }).collect();
        if runs.iter().sum::<f64>() < LEAST_WEIGHT {
            return None;
        }
        let sorted: Vec<Vec<(f64, f64, usize)>> = records.iter().map(|r| durations(r)).collect();
        let observed: Vec<Vec<(f64, f64)>> =
            sorted.iter().map(|s| s.iter().map(|&(ln, weight, _)| (ln, weight)).collect()).collect();
        let prior = Prior::new(observed.iter().map(Vec::as_slice));
        let steps: Vec<StepModel> = definition
            .steps
            .iter()
            .enumerate()
            .map(|(place, step)| {
                let mut past = vec![Past::Absent; runs.len()];
                let mut skipped = 0.0;
                for (age, cell) in records[place].iter().rev().enumerate() {
                    if *cell == Cell::Skipped {
                        past[age] = Past::Skipped;
                        skipped += weight(age);
                    }
                }
                let done: f64 = sorted[place].iter().map(|s| s.1).sum();
                let mut low = 0.0;
                for &(_, weight, age) in &sorted[place] {
                    let high = low + weight / done;
                    past[age] = Past::Ran { low, high };
                    low = high;
                }
                StepModel {
                    after: step.after.clone(),
                    curve: Curve::new(&observed[place], &prior),
                    past,
                    skipped: if skipped > 0.0 { skipped / (skipped + done) } else { 0.0 },
                    conditional: step.when.is_some(),
                }
            })
            .collect();
        let blind = steps.iter().any(|s| s.curve.is_none() && s.skipped == 0.0);
        (!blind).then(|| Self { revision: summary.revision.clone(), steps, runs })
    }
}

/// Logarithms of the durations in a record with their weights and ages, in order.
fn durations(record: &[Cell]) -> Vec<(f64, f64, usize)> {
    let mut seen: Vec<(f64, f64, usize)> =
        record.iter().rev().enumerate().filter_map(|(age, cell)| Some((cell.ln_millis()?, weight(age), age))).collect();
    seen.sort_by(|a, b| a.0.total_cmp(&b.0));
    seen
}
