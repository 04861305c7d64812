//! The three stages of a run: its steps, then — unless it succeeds — what undoes them, then `finally`.
//!
//! How the run will end is decided when its steps are over, or when they are told to stop, and is kept in `status.ending`
//! from then on: what comes afterwards changes it only where a step of `finally` fails.

use crate::{
    api::workflow_run::{Ending, RunPhase, StepPhase},
    core::{
        coordination::{
            admission,
            definition::{Definition, StepDefinition},
            run::{End, Flow, Stage},
            step,
        },
        note::Note,
    },
};

/// Takes a run that has started as far as it goes now.
pub(super) fn go_on(flow: &mut Flow<'_>, definition: &Definition) -> End {
    if flow.status.ending.is_none()
        && let Some((phase, reason, message)) = flow.stop_asked()
    {
        flow.status.ending = Some(Ending { phase, reason: reason.to_owned(), message });
    }
    flow.stage = Stage::Main;
    for place in 0..definition.steps.len() {
        step::advance(flow, &definition.steps, place);
    }
    if flow.failing || flow.status.ending.is_some() {
        // a step that failed in this pass gives up those above it that only wait
        definition.steps.iter().for_each(|s| step::give_up(flow, s));
    }
    let done = definition.steps.iter().filter(|s| flow.is_done(s)).count();
    flow.status.step_summary = Some(format!("{done}/{}", definition.steps.len()));
    if !is_over(flow, definition, done) {
        if flow.status.ending.is_none()
            && let Some((phase, reason, message)) = flow.overdue()
        {
            // results that are there were taken first: a run is not stopped for being looked at late
            flow.status.ending = Some(Ending { phase, reason: reason.to_owned(), message });
            flow.decision.start_nothing();
            flow.turns_used.clear();
            return go_on(flow, definition);
        }
        return open(flow, definition, done);
    }
    if flow.status.ending.is_none() {
        let (phase, reason, message) = outcome(flow, definition, done);
        flow.status.ending = Some(Ending { phase, reason: reason.to_owned(), message });
    }
    let Some(ending) = flow.status.ending.clone() else {
        return open(flow, definition, done); // set just above
    };
    if ending.phase != RunPhase::Succeeded
        && let Some(name) = compensate(flow, definition)
    {
        let message = format!("{}; undoing step `{name}`", ending.message);
        return End::Open(RunPhase::Compensating, "Compensating", message, false);
    }
    flow.stage = Stage::Finally;
    for place in 0..definition.finally.len() {
        step::advance(flow, &definition.finally, place);
    }
    let blocked = blocked(flow, &definition.finally);
    let waits = |(s, blocked): (&StepDefinition, &bool)| !blocked && !flow.is_settled(s);
    if definition.finally.iter().zip(&blocked).any(waits) {
        let message = format!("{}; the steps of finally run", ending.message);
        return End::Open(flow.live_phase(), "Finally", message, false);
    }
    let failed = definition
        .finally
        .iter()
        .find(|s| flow.get(s).is_some_and(|status| matches!(status.phase, StepPhase::Failed | StepPhase::Unknown)));
    match failed {
        Some(step) if ending.phase == RunPhase::Succeeded => {
            let message = format!("step `{}` of finally failed", step.name);
            End::Over(RunPhase::Failed, "FinallyFailed".to_owned(), message)
        }
        _ => End::Over(ending.phase, ending.reason, ending.message),
    }
}

/// Whether nothing of `steps` is at work or can still start.
fn is_over(flow: &Flow<'_>, definition: &Definition, done: usize) -> bool {
    if flow.failing || flow.status.ending.is_some() {
        return definition.steps.iter().all(|s| flow.get(s).is_none() || flow.is_settled(s));
    }
    done == definition.steps.len()
}

fn open(flow: &Flow<'_>, definition: &Definition, done: usize) -> End {
    if let Some(ending) = &flow.status.ending {
        let message = format!("{}; waiting for the steps at work to end", ending.message);
        return End::Open(flow.live_phase(), "Stopping", message, false);
    }
    if flow.failing {
        let message = format!("{}; waiting for the steps at work to end", failure(flow, definition));
        return End::Open(flow.live_phase(), "StepFailed", message, false);
    }
    let unknown = |s: &&StepDefinition| flow.get(s).is_some_and(|status| status.phase == StepPhase::Unknown);
    if let Some(step) = definition.steps.iter().find(unknown) {
        let attempt = flow.get(step).and_then(|s| s.attempt).unwrap_or(1);
        let message = format!(
            "nobody knows whether attempt {attempt} of step `{}` took effect: find out, and say so in spec.resolutions",
            step.name
        );
        return End::Open(flow.live_phase(), "OutcomeUnknown", message, true);
    }
    if let Some(message) = admission::conflict(flow) {
        return End::Open(flow.live_phase(), "PolicyConflict", message, true);
    }
    let reason = if flow.suspended { "Suspended" } else { "Running" };
    End::Open(flow.live_phase(), reason, format!("{done} of {} steps are done", definition.steps.len()), false)
}

/// What the first step that failed says.
fn failure(flow: &Flow<'_>, definition: &Definition) -> String {
    let failed = definition.steps.iter().find_map(|s| {
        let status = flow.get(s).filter(|status| status.phase == StepPhase::Failed)?;
        Some(format!("step `{}`: {}", s.name, status.message.clone().unwrap_or_default()))
    });
    failed.unwrap_or_default()
}

/// How the steps ended.
fn outcome(flow: &mut Flow<'_>, definition: &Definition, done: usize) -> (RunPhase, &'static str, String) {
    if flow.failing {
        return (RunPhase::Failed, "StepFailed", failure(flow, definition));
    }
    match flow.outputs(definition) {
        Ok(outputs) => {
            flow.status.outputs = outputs;
            (RunPhase::Succeeded, "Succeeded", format!("all {done} steps are done"))
        }
        Err(problem) => (RunPhase::Failed, "InvalidOutputs", problem),
    }
}

/// Undoes what was done, the latest first, one at a time; the name of the step that is being undone, `None` when all are. What has
/// begun goes on before what has ended later: somebody may say only then that a step of unknown outcome was done.
fn compensate(flow: &mut Flow<'_>, definition: &Definition) -> Option<String> {
    flow.stage = Stage::Compensating;
    let mut done: Vec<(usize, &StepDefinition)> = definition
        .steps
        .iter()
        .enumerate()
        .filter_map(|(place, s)| Some((place, s.compensate.as_deref()?)))
        .filter(|(place, _)| {
            flow.get(&definition.steps[*place]).is_some_and(|status| status.phase == StepPhase::Succeeded)
        })
        .collect();
    let ended = |place: usize| flow.get(&definition.steps[place]).and_then(|s| s.finished_at);
    let has_begun = |undo: &StepDefinition| flow.get(undo).is_some() && !flow.is_settled(undo);
    done.sort_by_key(|&(place, undo)| std::cmp::Reverse((has_begun(undo), ended(place), place)));
    for (_, undo) in done {
        step::advance(flow, std::slice::from_ref(undo), 0);
        if !flow.is_settled(undo) {
            return Some(undo.name.clone());
        }
    }
    None
}

/// For each step, whether it never starts because one that it comes after has failed.
fn blocked(flow: &Flow<'_>, steps: &[StepDefinition]) -> Vec<bool> {
    let mut blocked: Vec<bool> = Vec::with_capacity(steps.len());
    for step in steps {
        let never = flow.get(step).is_none()
            && step.after.iter().any(|&a| blocked[a] || (flow.is_settled(&steps[a]) && !flow.is_done(&steps[a])));
        blocked.push(never);
    }
    blocked
}

/// What the run's compensations came to: `None` when there are none.
pub(super) fn compensated(flow: &Flow<'_>) -> Option<(bool, String)> {
    let all = &flow.status.compensations;
    let failed: Vec<&str> =
        all.iter().filter(|(_, s)| s.phase != StepPhase::Succeeded).map(|(name, _)| name.as_str()).collect();
    if all.is_empty() {
        None
    } else if failed.is_empty() {
        Some((true, format!("{} steps were undone", all.len())))
    } else {
        let names: Vec<String> = failed.iter().take(5).map(|n| format!("`{n}`")).collect();
        Some((false, format!("{} of {} steps could not be undone: {}", failed.len(), all.len(), names.join(", "))))
    }
}

/// What people should know about a compensation that failed for good.
pub(super) fn failed_note(step: &StepDefinition, problem: &str) -> Note {
    Note::warning("CompensationFailed", format!("step `{}` could not be undone: {problem}", step.name))
}
