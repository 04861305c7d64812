//! Capacity for steps: which of them must be admitted before they start, what they ask for, and what they have.
//!
//! A step asks when it is ready, and has capacity from the status write that begins its attempt to the one after which nothing of
//! it is at work. That status is the only record: the ledger of a pool is the sum of what the runs' statuses tell.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{
        WorkflowRun, WorkflowRunStatus,
        admission::{Admission, AdmissionReason, Capacity},
        workflow_run::{RunPhase, StepPhase, StepStatus},
    },
    core::{
        coordination::{
            definition::{Action, Role, StepDefinition},
            holdings::{self, parent_reference},
            run::Flow,
            view::View,
        },
        name::Key,
        scheduling::{
            Bound, Claimant, Demand, Entry, Quantities, Rules, Shortage, Standing, Waits, Work,
            amounts::{in_words, thousandths},
        },
    },
};

/// What scheduling has to say about a run.
#[derive(Clone, Debug, Default)]
pub struct SchedulingView {
    /// What the policies of its namespace come to.
    pub rules: Rules,
    /// The share of the pool that is for its namespace; empty when there is none.
    pub share: String,
    /// What the ledger has to say to the run.
    pub entry: Entry,
}

/// The run, as those that ask for capacity name it.
#[must_use]
pub fn key_of(run: &WorkflowRun) -> Key {
    let meta = &run.metadata;
    Key::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

pub(super) fn claimant(run: &WorkflowRun, step: String, attempt: u32) -> Arc<Claimant> {
    Arc::new(Claimant { run: key_of(run), uid: run.metadata.uid.clone().unwrap_or_default(), step, attempt })
}

/// Whether the attempt that `status` names may start for all that capacity is concerned: then the status tells what it has. Otherwise
/// it asks for `count` parts, of which it needs one to begin.
pub(super) fn is_admitted(flow: &mut Flow<'_>, step: &StepDefinition, status: &mut StepStatus, count: u32) -> bool {
    let told = match admit(flow, step, status, count) {
        Ok(()) => return true,
        Err(told) => told,
    };
    if let Some(admission) = told {
        flow.set(step, waiting(status.clone(), "capacity", admission));
    }
    false
}

/// As [`is_admitted`]; where it stands, if that is to be told now.
pub(super) fn admit(
    flow: &mut Flow<'_>,
    step: &StepDefinition,
    status: &mut StepStatus,
    count: u32,
) -> Result<(), Option<Admission>> {
    // what undoes a step must not wait for others to end
    if step.role == Role::Compensation || status.capacity.is_some() {
        return Ok(());
    }
    // what began before a limit was set counts already
    if matches!(step.action, Action::Call(_)) && flow.get(step).is_some_and(holdings::calls) {
        return Ok(());
    }
    let view = &flow.view.scheduling;
    let pool = view.rules.pool.as_ref().filter(|_| !step.holds.is_empty());
    if pool.is_none() && bounds(flow, step).is_empty() {
        return Ok(());
    }
    let attempt = (step.id(), status.attempt.unwrap_or(1));
    if let Some(&parts) = view.entry.grants.get(&attempt) {
        status.capacity = Some(Capacity {
            pool: pool.cloned().unwrap_or_default(),
            share: pool.map(|_| view.share.clone()).unwrap_or_default(),
            resources: pool.map(|_| in_words(&step.holds)).unwrap_or_default(),
            parts: (parts > 1).then_some(parts),
            since: flow.now,
            interruptible: is_displaceable(step).then_some(true),
        });
        status.admission = None;
        status.message = status.message.take().filter(|_| status.reason.is_some());
        status.started_at = Some(flow.now);
        return Ok(());
    }
    let since = waits_since(flow, step);
    ask(flow, step, (attempt.1, count), since);
    Err(view.entry.told.get(&attempt).map(|standing| told(standing, since)))
}

/// The limits that hold for a step.
fn bounds(flow: &Flow<'_>, step: &StepDefinition) -> Vec<Bound> {
    let work = match &step.action {
        Action::Container(_) => Work::Pods,
        Action::Call(_) => Work::Calls,
        Action::Transform(_) | Action::Wait(_) | Action::Child(_) => return Vec::new(),
    };
    flow.view.scheduling.rules.bounds(flow.view.run.metadata.namespace.as_deref().unwrap_or_default(), work)
}

/// Whether the run may begin for all that limits of runs are concerned; otherwise where it stands, if that is to be told now. It asks
/// until its status tells that it has begun, and may be made to wait again until then by what is more urgent.
pub(super) fn admit_run(flow: &mut Flow<'_>) -> Result<(), Option<Admission>> {
    let SchedulingView { rules, entry, .. } = &flow.view.scheduling;
    let namespace = flow.view.run.metadata.namespace.as_deref().unwrap_or_default();
    let bounds = rules.bounds(namespace, Work::Runs);
    if bounds.is_empty() || parent_reference(flow.view.run).is_some() {
        return Ok(());
    }
    let since = flow.created_at();
    flow.decision.demands.push(Demand {
        claimant: claimant(flow.view.run, String::new(), 1),
        pool: String::new(),
        share: String::new(),
        urgency: flow.urgency,
        since,
        aging: aging(flow),
        unit: Quantities::new(),
        bounds,
        count: 1,
        least: 1,
        preempts: !rules.never_preempts,
        interruptible: true,
        strict: false,
    });
    let own = (String::new(), 1);
    if entry.grants.contains_key(&own) {
        return Ok(());
    }
    Err(entry.told.get(&own).map(|standing| told(standing, since)))
}

/// The status of a step that waits for something, and stands there in the order.
pub(super) fn waiting(status: StepStatus, what: &str, admission: Admission) -> StepStatus {
    StepStatus {
        phase: StepPhase::Waiting,
        message: Some(format!("waits for {what}: {}", admission.reason.message())),
        admission: Some(admission),
        started_at: None,
        wake_at: None,
        ..status
    }
}

fn ask(flow: &mut Flow<'_>, step: &StepDefinition, (attempt, count): (u32, u32), since: Timestamp) {
    let SchedulingView { rules, share, .. } = &flow.view.scheduling;
    let pool = rules.pool.as_ref().filter(|_| !step.holds.is_empty());
    let demand = Demand {
        claimant: claimant(flow.view.run, step.id(), attempt),
        pool: pool.cloned().unwrap_or_default(),
        share: pool.map(|_| share.clone()).unwrap_or_default(),
        urgency: flow.urgency,
        since,
        aging: aging(flow),
        unit: pool.map(|_| step.holds.clone()).unwrap_or_default(),
        bounds: bounds(flow, step),
        count,
        least: 1,
        preempts: !rules.never_preempts,
        // a call that waits for its service has not begun
        interruptible: is_displaceable(step) || matches!(step.action, Action::Call(_)),
        strict: rules.strict,
    };
    flow.decision.demands.push(demand);
}

/// An attempt that has been granted capacity waits for something else: what it was granted stays its own. Its status tells of that no
/// more where it `leaves`.
pub(super) fn keep(flow: &mut Flow<'_>, step: &StepDefinition, status: &StepStatus, leaves: bool) {
    let stored = !leaves && flow.get(step).is_some_and(|s| s.capacity.is_some());
    if let Some(capacity) = status.capacity.as_ref().filter(|_| !stored) {
        let since = waits_since(flow, step);
        ask(flow, step, (status.attempt.unwrap_or(1), capacity.parts.unwrap_or(1)), since);
    }
}

/// After how long what waits rises one level.
pub(super) fn aging(flow: &Flow<'_>) -> Option<SignedDuration> {
    let half = flow.deadline.map(|(span, _)| span.duration() / 2).and_then(|d| SignedDuration::try_from(d).ok());
    flow.view.scheduling.rules.aging.or(half)
}

/// Whether a step that has begun may be displaced. A Job of many pods is not: it would begin anew with all of its items.
fn is_displaceable(step: &StepDefinition) -> bool {
    step.interruptible && step.fan_out.is_none()
}

/// Since when a step waits, told by what is stored, so that another leader knows it too.
pub(super) fn waits_since(flow: &Flow<'_>, step: &StepDefinition) -> Timestamp {
    if let Some(present) = flow.get(step) {
        let retries = present.wake_at.filter(|_| present.phase == StepPhase::Retrying);
        let waits = present.admission.as_ref().map(|a| a.since);
        return waits.or(retries).or(present.started_at).unwrap_or(flow.now);
    }
    flow.ready_since.unwrap_or_else(|| flow.created_at())
}

/// Why a step waits, in the words of its status.
#[must_use]
pub const fn reason(waits: Waits) -> AdmissionReason {
    match waits {
        Waits::NoPool => AdmissionReason::NoPool,
        Waits::Behind => AdmissionReason::Behind,
        Waits::Preempting => AdmissionReason::Preempting,
        Waits::Short(shortage) => match shortage {
            Shortage::TooLarge => AdmissionReason::TooLarge,
            Shortage::ShareLimit => AdmissionReason::ShareLimit,
            Shortage::BorrowLimit => AdmissionReason::BorrowLimit,
            Shortage::NotLent => AdmissionReason::NotLent,
            Shortage::Reserved => AdmissionReason::Reserved,
            Shortage::InUse => AdmissionReason::InUse,
            Shortage::PolicyLimit => AdmissionReason::PolicyLimit,
        },
    }
}

/// Where a step stands, as its status tells it.
fn told(standing: &Standing, since: Timestamp) -> Admission {
    let reason = reason(standing.waits);
    let never = matches!(reason, AdmissionReason::NoPool | AdmissionReason::TooLarge);
    let position = (reason != AdmissionReason::NoPool).then(|| u32::try_from(standing.ahead + 1).unwrap_or(u32::MAX));
    Admission { since, position, reason, eta: standing.eta.filter(|_| !never) }
}

/// Whether an attempt is to give up its capacity.
pub(super) fn is_displaced(flow: &Flow<'_>, step: &StepDefinition, status: &StepStatus) -> bool {
    let displaced = &flow.view.scheduling.entry.displaced;
    !displaced.is_empty() && displaced.contains(&(step.id(), status.attempt.unwrap_or(1)))
}

/// Pods of attempts that are to give up their capacity.
pub(super) fn displaced_pods(view: &View<'_>, status: &WorkflowRunStatus) -> Vec<String> {
    let displaced = view.scheduling.entry.displaced.iter();
    let pods = displaced.filter_map(|(step, attempt)| {
        let status = status.steps.get(step).filter(|s| s.attempt.unwrap_or(1) == *attempt)?;
        status.pod.clone()
    });
    pods.collect()
}

/// What is not at work has nothing, and what does not wait stands nowhere. The run stands where the first of its steps does.
pub(super) fn give_back(status: &mut WorkflowRunStatus) {
    for step in status.steps.values_mut().chain(status.compensations.values_mut()) {
        if !step.phase.is_at_work() {
            step.capacity = None;
        }
        if step.phase != StepPhase::Waiting {
            step.admission = None;
        }
    }
    let waiting = status.steps.values().filter_map(|s| s.admission.as_ref());
    let own =
        status.admission.take().filter(|_| status.started_at.is_none() && status.phase == Some(RunPhase::Pending));
    status.admission = own.or_else(|| waiting.min_by_key(|a| (a.position, a.since)).cloned());
}

/// Whether any step of a run has done more than wait for capacity.
pub(super) fn has_begun(status: &WorkflowRunStatus) -> bool {
    status.steps.values().any(|s| s.admission.is_none())
}

/// What a step needs of each resource: what it says, and what its container requests, or is limited to where it requests nothing. A
/// container takes one of `pods`.
///
/// # Errors
/// The resource of which there cannot be so much.
pub(super) fn needs(
    holds: &BTreeMap<String, String>,
    resources: Option<&crate::api::medical_service::Resources>,
    is_container: bool,
) -> Result<Quantities, String> {
    let mut needs = Quantities::new();
    let said = holds.iter().chain(resources.iter().flat_map(|r| {
        let unrequested = r.limits.iter().filter(|(name, _)| !r.requests.contains_key(*name));
        r.requests.iter().chain(unrequested)
    }));
    for (name, quantity) in said {
        let amount = thousandths(quantity).ok_or_else(|| name.clone())?;
        let known = needs.entry(name.clone()).or_insert(0);
        *known = amount.max(*known);
    }
    if is_container {
        needs.entry("pods".to_owned()).or_insert(1000);
    }
    needs.retain(|_, amount| *amount > 0);
    Ok(needs)
}
