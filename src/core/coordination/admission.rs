//! Whether and how a run may begin for all that policies and capacity are concerned.

use crate::{
    api::{admission::AdmissionReason, workflow_run::RunPhase},
    core::{
        coordination::{
            capacity,
            definition::Definition,
            run::{End, Flow},
        },
        note::Note,
    },
};

/// Applies the rules of the namespace's policies. A run that has not begun is kept from it where they forbid it.
pub(super) fn govern(flow: &mut Flow<'_>, definition: &Definition, begins: bool) -> Result<(), End> {
    let rules = &flow.view.scheduling.rules;
    let asked = flow.view.run.spec.urgency.unwrap_or(definition.urgency);
    flow.urgency = rules.urgency(asked);
    flow.status.decided_by.clone_from(&rules.decided_by);
    if asked == flow.urgency {
        flow.status.decided_by.remove("maxUrgency");
        flow.status.decided_by.remove("aboveMaxUrgency");
    } else {
        let by = rules.decided_by.get("maxUrgency").cloned().unwrap_or_default();
        let allows = format!(
            "ServicePolicy `{by}` allows `{}` at most, and the run asks for `{}`",
            flow.urgency.as_str(),
            asked.as_str()
        );
        if begins && rules.refuses {
            let message = format!("{allows}: create a run of lower urgency, or have the policy changed");
            return Err(flow.close(RunPhase::Failed, "UrgencyRefused", message));
        }
        if flow.status.urgency != Some(flow.urgency) {
            flow.decision.notes.push(Note::warning("UrgencyLowered", allows));
        }
    }
    flow.status.urgency = Some(flow.urgency);
    if begins && let Some(message) = conflict(flow) {
        return Err(End::Open(RunPhase::Pending, "PolicyConflict", message, true));
    }
    Ok(())
}

/// Whether a run may begin where policies limit how many are under way. Waiting costs no status write until there is something to tell.
pub(super) fn admit(flow: &mut Flow<'_>) -> Result<(), End> {
    let Err(told) = capacity::admit_run(flow) else {
        flow.status.admission = None;
        return Ok(());
    };
    if told.is_some() {
        flow.status.admission = told;
    } else if flow.present.phase.is_none() {
        flow.untold = true;
        flow.decision.notes.clear();
    }
    let reason = flow.status.admission.as_ref().map_or(AdmissionReason::PolicyLimit, |a| a.reason);
    let message = format!("it waits for its turn: {}", reason.message());
    Err(End::Open(RunPhase::Pending, "WaitingForCapacity", message, false))
}

/// Why nothing starts: policies contradict each other.
pub(super) fn conflict(flow: &Flow<'_>) -> Option<String> {
    let (a, b) = flow.view.scheduling.rules.conflict.as_ref()?;
    Some(format!(
        "ServicePolicy `{a}` and ServicePolicy `{b}` name different pools or queues: nothing starts until one is changed"
    ))
}

/// A run that was about to begin, and of which every step that could waits for capacity, has not begun: that costs no status write
/// until there is something to tell. `end` is what it has come to.
pub(super) fn not_begun(flow: &mut Flow<'_>, end: &End) -> Option<End> {
    let asks = !flow.decision.demands.is_empty() || !flow.decision.asks.is_empty();
    let waits = matches!(end, End::Open(..)) && asks && flow.status.ending.is_none();
    if !waits || capacity::has_begun(&flow.status) {
        return None;
    }
    let of_steps = flow.decision.demands.iter().filter(|d| !d.claimant.step.is_empty()).count();
    let mut told = flow.status.steps.values().filter_map(|s| Some(s.admission.as_ref()?.reason));
    let never = |r: AdmissionReason| matches!(r, AdmissionReason::NoPool | AdmissionReason::TooLarge);
    if flow.decision.asks.is_empty() && of_steps == flow.status.steps.len() && told.all(never) {
        // it cannot begin as things are: others have its place among those that limits let begin
        flow.decision.demands.retain(|d| !d.claimant.step.is_empty());
    }
    flow.status.started_at = None;
    flow.status.revision = None;
    flow.status.step_summary = None;
    if flow.status.steps.is_empty() && flow.present.phase.is_none() {
        flow.untold = true;
        // it is told with the status that begins the run
        flow.decision.notes.clear();
    }
    let waiting = flow.status.steps.values().find_map(|s| s.admission.as_ref());
    let why = waiting.map(|a| format!(": {}", a.reason.message())).unwrap_or_default();
    Some(End::Open(RunPhase::Pending, "WaitingForCapacity", format!("its first steps wait for capacity{why}"), false))
}
