//! A workflow's history: the records of its last runs, bounded and fading.
//!
//! Each step has a record of the last runs, and the records of all steps are in step: the same place from the end is the same
//! run. So what belongs together stays together — of two branches that exclude each other one ran, in a slow study all steps
//! were slow — which no histogram of a single step can tell. A run's weight halves with every 16 runs after it: by number, not
//! by time, because a rare workflow would otherwise forget all between two runs, and time would have to come into a pure fold.

use std::collections::BTreeMap;

use crate::{
    api::{
        Span,
        flow::{Counted, FlowSummary, StepSummary},
    },
    core::coordination::{
        definition::{Definition, StepDefinition},
        forecast::{cell::Cell, sample::Sample},
    },
};

/// After so many further runs a run counts half.
pub const HALF_LIFE: usize = 16;
/// Cells of all steps together, for which the number of runs kept is chosen.
const CELLS: usize = 12_000;
/// At least so many runs are kept, and at most so many: an older one counts less than a sixteenth.
const KEPT: (usize, usize) = (24, 64);

/// How many runs are kept for a workflow of so many steps: 64 up to 187 steps, 24 from 500 on. So the summary of 500 steps, each
/// of which is now skipped, now fails, now needs several attempts, has 92 KiB with names of 63 characters and 71 KiB with
/// names of 20.
#[must_use]
pub fn kept(steps: usize) -> usize {
    (CELLS / steps.max(1)).clamp(KEPT.0, KEPT.1)
}

/// The weight of a run after which so many others have ended.
#[must_use]
pub fn weight(age: usize) -> f64 {
    // an age is below 64
    0.5_f64.powf(age as f64 / HALF_LIFE as f64)
}

/// Samples that have come from runs, each with its number among those that this leader has seen.
#[derive(Clone, Copy, Debug)]
pub struct News<'a> {
    /// Lease transitions of this leader.
    pub epoch: i64,
    /// The samples, in the order of their numbers.
    pub samples: &'a [(i64, Sample)],
}

/// Adds samples to what is known. Those that are counted already, or follow another revision, are left out; what is known stays
/// the same when none is left.
#[must_use]
pub fn fold(present: FlowSummary, definition: &Definition, news: News<'_>) -> FlowSummary {
    let seen = |number: i64| present.last.epoch == news.epoch && number <= present.last.number;
    let fresh: Vec<&(i64, Sample)> = news
        .samples
        .iter()
        .filter(|(number, s)| {
            !seen(*number) && s.revision == present.revision && s.cells.len() == definition.steps.len()
        })
        .collect();
    let Some((number, _)) = fresh.last() else { return present };
    let kept = kept(definition.steps.len());
    let records: Vec<Vec<Cell>> = definition
        .steps
        .iter()
        .enumerate()
        .map(|(place, step)| {
            let mut cells = present.steps.get(&step.name).map(|s| read(&s.record)).unwrap_or_default();
            cells.extend(fresh.iter().map(|(_, sample)| sample.cells[place]));
            cells.split_off(cells.len().saturating_sub(kept))
        })
        .collect();
    let last = Counted { epoch: news.epoch, number: *number };
    summary(present.revision.clone(), last, definition, &records)
}

/// The summary that a new revision begins with. Steps that stay as they were keep their records, as if 16 runs had passed
/// since; `before` is the definition that these records are of, `None` where it is not known any more.
#[must_use]
pub fn begin(revision: String, definition: &Definition, before: Option<(&FlowSummary, &Definition)>) -> FlowSummary {
    let Some((old, before)) = before else { return FlowSummary { revision, ..FlowSummary::default() } };
    let known: BTreeMap<&str, &StepDefinition> = before.steps.iter().map(|s| (s.name.as_str(), s)).collect();
    let kept = kept(definition.steps.len());
    let records: Vec<Vec<Cell>> = definition
        .steps
        .iter()
        .map(|step| {
            let same = known.get(step.name.as_str()).is_some_and(|k| same(k, step));
            let Some(record) = old.steps.get(&step.name).filter(|_| same) else { return Vec::new() };
            let mut cells = read(&record.record);
            cells.extend([Cell::Absent; HALF_LIFE]);
            cells.split_off(cells.len().saturating_sub(kept))
        })
        .collect();
    summary(revision, old.last, definition, &records)
}

/// Whether two steps do the same under the same conditions; what they wait for does not matter.
fn same(a: &StepDefinition, b: &StepDefinition) -> bool {
    StepDefinition { after: Vec::new(), ..a.clone() } == StepDefinition { after: Vec::new(), ..b.clone() }
}

/// Reads a record, the oldest first.
pub(super) fn read(record: &str) -> Vec<Cell> {
    record.as_bytes().chunks_exact(2).map(|pair| Cell::read([pair[0], pair[1]])).collect()
}

/// For each run, the newest first, whether any step of it is known.
pub(super) fn known(records: &[Vec<Cell>]) -> Vec<bool> {
    let length = records.iter().map(Vec::len).max().unwrap_or(0);
    (0..length).map(|age| records.iter().any(|r| r.len() > age && r[r.len() - 1 - age] != Cell::Absent)).collect()
}

fn summary(revision: String, last: Counted, definition: &Definition, records: &[Vec<Cell>]) -> FlowSummary {
    let runs: f64 = known(records).iter().enumerate().filter(|(_, known)| **known).map(|(age, _)| weight(age)).sum();
    let steps = definition.steps.iter().zip(records).map(|(step, cells)| (step.name.clone(), of_step(cells))).collect();
    FlowSummary { revision, runs: tenths(runs), last, steps }
}

fn of_step(cells: &[Cell]) -> StepSummary {
    let (mut ran, mut attempts, mut skipped, mut failed) = (Vec::new(), 0.0, 0.0, 0.0);
    let mut record = String::with_capacity(2 * cells.len());
    for (i, cell) in cells.iter().enumerate() {
        cell.write(&mut record);
        let weight = weight(cells.len() - 1 - i);
        match cell {
            Cell::Ran { attempts: a, .. } => {
                ran.extend(cell.ln_millis().map(|ln| (ln, weight)));
                attempts += weight * f64::from(*a);
            }
            Cell::Skipped => skipped += weight,
            Cell::Failed => failed += weight,
            Cell::Absent => {}
        }
    }
    let done: f64 = ran.iter().map(|r| r.1).sum();
    ran.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut half = done / 2.0;
    let median = ran.iter().find(|(_, weight)| {
        half -= weight;
        half <= 0.0
    });
    StepSummary {
        median: median.map(|(ln, _)| two_digits(ln.exp())),
        skipped: percent(skipped, done + failed + skipped),
        failed: percent(failed, done + failed),
        attempts: Some(tenths(attempts / done)).filter(|a| *a > 1.0),
        record,
    }
}

/// `None` for what rounds to 0, or has nothing to be a part of.
fn percent(part: f64, whole: f64) -> Option<u8> {
    // a cast from f64 saturates, and gives 0 for what is not a number
    Some((100.0 * part / whole).round() as u8).filter(|p| *p > 0)
}

/// To one digit after the point: what a reader needs, and what JSON gives back as it was.
fn tenths(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

/// A time to two digits.
fn two_digits(millis: f64) -> Span {
    let unit = 10_f64.powf(millis.max(1.0).log10().floor() - 1.0).max(1.0);
    Span::from_millis(((millis / unit).round() * unit) as u64)
}
