//! What a run has of pools and of limits, told by its status: the ledger is the sum of that over all runs.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::{
    api::{
        WorkflowRun, WorkflowRunStatus,
        admission::Capacity,
        vocabulary::Urgency,
        workflow_run::{RunPhase, StepStatus},
    },
    core::{
        coordination::{capacity::claimant, definition::with_ids},
        scheduling::{Bound, Demand, Holding, Rules, Work, amounts::thousandths},
    },
};

/// All that a run and its steps have, as its status tells, and what counts against the limits that hold for it now.
#[must_use]
pub fn holdings(run: &WorkflowRun, status: &WorkflowRunStatus, rules: &Rules) -> Vec<Holding> {
    let urgency = status.urgency.unwrap_or(Urgency::Routine);
    let namespace = run.metadata.namespace.as_deref().unwrap_or_default();
    let holding = |step: String, attempt: u32, parts: u32, capacity: Option<&Capacity>, bounds: Vec<Bound>| {
        let count = capacity.map_or(parts, |c| c.parts.unwrap_or(1));
        let since = capacity.map_or(Timestamp::UNIX_EPOCH, |c| c.since);
        let resources = capacity.iter().flat_map(|c| &c.resources);
        let unit = resources.filter_map(|(name, q)| Some((name.clone(), thousandths(q)?))).collect();
        let demand = Demand {
            claimant: claimant(run, step, attempt),
            pool: capacity.map(|c| c.pool.clone()).unwrap_or_default(),
            share: capacity.map(|c| c.share.clone()).unwrap_or_default(),
            urgency,
            since,
            aging: None,
            unit,
            bounds,
            count,
            least: count,
            preempts: false,
            interruptible: capacity.is_some_and(|c| c.interruptible == Some(true)),
            strict: false,
        };
        Holding { demand, count, since }
    };
    let mut holdings = Vec::new();
    let bounds = rules.bounds(namespace, Work::Runs);
    let under_way = status.started_at.is_some() && !status.phase.is_some_and(RunPhase::is_final);
    if under_way && !bounds.is_empty() && parent_reference(run).is_none() {
        holdings.push(holding(String::new(), 1, 1, None, bounds));
    }
    for (id, step) in with_ids(status) {
        let work = work_at(step).filter(|_| step.phase.is_at_work());
        let bounds = work.map(|work| rules.bounds(namespace, work)).unwrap_or_default();
        if step.capacity.is_some() || !bounds.is_empty() {
            // what began before a limit was set has as many parts as are known to be at work
            let parts = step.items.as_ref().map_or(1, |items| items.active.max(1));
            holdings.push(holding(id, step.attempt.unwrap_or(1), parts, step.capacity.as_ref(), bounds));
        }
    }
    holdings
}

/// Whether a step has calls under way, told by its status alone. The items of a step with `forEach` are calls where it has neither a Job
/// nor child runs: transforms are done at once.
pub(super) fn calls(step: &StepStatus) -> bool {
    let of_items = || step.run.is_none() && step.items.as_ref().is_some_and(|i| i.indexes.running.is_some());
    step.phase.is_at_work() && (step.target.is_some() || of_items())
}

/// What a step has at work, told by its status alone.
fn work_at(step: &StepStatus) -> Option<Work> {
    if step.pod.is_some() || step.job.is_some() {
        return Some(Work::Pods);
    }
    (calls(step) || (step.items.is_some() && step.capacity.is_some())).then_some(Work::Calls)
}

/// The reference to the run that a run is part of.
#[must_use]
pub fn parent_reference(run: &WorkflowRun) -> Option<&OwnerReference> {
    run.metadata.owner_references.iter().flatten().find(|r| r.controller == Some(true) && r.kind == "WorkflowRun")
}
