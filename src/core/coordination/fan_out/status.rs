//! What others read from the status of a step that is done for many items.

use jiff::Timestamp;

use super::{indexes::Indexes, work::Work};
use crate::{
    api::{
        WorkflowRunStatus,
        workflow_run::{StepPhase, StepStatus},
    },
    core::{
        coordination::{
            definition::COMPENSATE,
            view::{Attempt, View},
        },
        name,
    },
};

/// Calls under way that nobody waits for.
pub(in crate::core::coordination) fn unwanted_calls(view: &View<'_>, status: &WorkflowRunStatus) -> Vec<Attempt> {
    let mut unwanted = Vec::new();
    for of_step in view.in_flight.chunk_by(|a, b| a.step == b.step) {
        let step = match of_step[0].step.strip_suffix(COMPENSATE) {
            Some(name) => status.compensations.get(name),
            None => status.steps.get(&of_step[0].step),
        };
        let wanted = wanted_calls(step);
        unwanted.extend(of_step.iter().filter(|a| !wanted(a)).cloned());
    }
    unwanted
}

/// Gives a step up when no item is at work.
pub(in crate::core::coordination) fn give_up(status: &mut StepStatus, now: Timestamp) {
    if !only_waits(status) {
        return;
    }
    if let Some(items) = &mut status.items {
        let mut work = Work::read(items);
        work.cancel_waiting();
        *items = work.status();
    }
    status.phase = StepPhase::Canceled;
    status.finished_at = Some(now);
    status.wake_at = None;
}

fn only_waits(status: &StepStatus) -> bool {
    status.items.as_ref().is_some_and(|i| i.indexes.running.is_none() && i.indexes.stopping.is_none())
        && status.job.is_none()
        && !status.phase.is_final()
        && status.phase != StepPhase::Unknown
}

/// Tells which calls of a step its status waits for.
fn wanted_calls(status: Option<&StepStatus>) -> impl Fn(&Attempt) -> bool {
    let (at_work, attempt) = status.map_or((false, None), |s| (s.phase.is_at_work(), s.attempt));
    let work =
        status.filter(|s| !s.phase.is_final()).and_then(|s| s.items.as_ref()).map(Work::read).unwrap_or_default();
    move |a| match a.index {
        None => at_work && attempt == Some(a.number),
        Some(index) => work.running.contains(index) && work.attempt(index).attempt == a.number,
    }
}

/// Index and attempt of items.
pub type Pairs = Vec<(u32, u32)>;

/// Index and attempt of the items of a step that are at work, first those that are waited for, then those told to stop.
#[must_use]
pub fn at_work(status: &StepStatus) -> (Pairs, Pairs) {
    let Some(items) = &status.items else { return Default::default() };
    let work = Work::read(items);
    let of = |set: &Indexes| set.iter().map(|i| (i, work.attempt(i).attempt)).collect();
    (of(&work.running), of(&work.stopping))
}

/// Names of the child runs of a step that is done for many items: those that are waited for, and those that are told to stop.
#[must_use]
pub fn children(status: &StepStatus) -> (Vec<String>, Vec<String>) {
    let Some(base) = status.run.as_ref().filter(|_| status.items.is_some()) else { return Default::default() };
    let (running, stopping) = at_work(status);
    let names = |all: Vec<(u32, u32)>| all.into_iter().map(|(i, n)| name::item(base, i, n)).collect();
    (names(running), names(stopping))
}
