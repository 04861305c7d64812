//! What one finished run adds to its workflow's history.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    api::{
        WorkflowRunStatus,
        status::SUCCEEDED,
        workflow_run::{StepPhase, StepStatus},
    },
    core::{
        condition,
        coordination::{definition::Definition, forecast::cell::Cell},
    },
};

/// The reason of a run that was stopped at its deadline.
pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";

/// What became of the steps of one finished run: times and numbers, nothing of its parameters or values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The revision that it followed.
    pub revision: String,
    /// One cell a step, in the order of the definition.
    pub cells: Arc<[Cell]>,
}

/// Whether a run was stopped at its deadline.
#[must_use]
pub fn is_overdue(status: &WorkflowRunStatus) -> bool {
    condition::find(&status.conditions, SUCCEEDED).is_some_and(|c| c.reason == DEADLINE_EXCEEDED)
}

/// Takes the sample of a run that has just ended; `None` when it came to no step.
#[must_use]
pub fn sample(definition: &Definition, status: &WorkflowRunStatus) -> Option<Sample> {
    let revision = status.revision.clone()?;
    let overdue = is_overdue(status);
    let cells: Arc<[Cell]> = (0..definition.steps.len())
        .map(|place| {
            let Some(step) = status.steps.get(&definition.steps[place].name) else { return Cell::Absent };
            match step.phase {
                StepPhase::Succeeded => cell(definition, status, place, step),
                StepPhase::Skipped => Cell::Skipped,
                StepPhase::Failed | StepPhase::Unknown => Cell::Failed,
                // it took at least so long: to leave the slowest out would make the workflow look faster than it is
                StepPhase::Canceled if overdue => cell(definition, status, place, step),
                _ => Cell::Absent,
            }
        })
        .collect();
    cells.iter().any(|c| *c != Cell::Absent).then_some(Sample { revision, cells })
}

fn cell(definition: &Definition, status: &WorkflowRunStatus, place: usize, step: &StepStatus) -> Cell {
    match (ready_at(definition, status, place), step.finished_at) {
        // what a run has taken over from another one ended before it began
        (Some(ready), Some(end)) if end >= ready => {
            let took = Duration::try_from(end.duration_since(ready)).unwrap_or(Duration::ZERO);
            Cell::ran(took, step.attempt.unwrap_or(1))
        }
        _ => Cell::Absent,
    }
}

/// When a step could start: when the last of the steps that it waits for was done; `None` while one is not.
pub(super) fn ready_at(definition: &Definition, status: &WorkflowRunStatus, place: usize) -> Option<Timestamp> {
    definition.steps[place].after.iter().try_fold(status.started_at?, |ready, &before| {
        let before = status.steps.get(&definition.steps[before].name)?;
        Some(ready.max(before.finished_at?))
    })
}
