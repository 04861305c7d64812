//! A step whose outcome nobody knows: what a person has found out about it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    api::workflow_run::{Resolution, ResolvedAs, StepPhase, StepStatus},
    core::{
        coordination::{
            definition::{Role, StepDefinition},
            parameters,
            run::Flow,
            step::next_attempt,
        },
        note::Note,
    },
};

/// Applies the resolution of this attempt, if there is one.
pub(super) fn apply(flow: &mut Flow<'_>, step: &StepDefinition, mut status: StepStatus) {
    let Some(resolution) = find(flow, step, &status) else { return };
    match resolution.outcome {
        ResolvedAs::Succeeded => match check(step, &resolution.outputs) {
            Ok(()) => {
                status.phase = StepPhase::Succeeded;
                status.finished_at = Some(flow.now);
                status.outputs = resolution.outputs.clone();
                status.reason = None;
                status.message = Some("spec.resolutions says that it took effect".to_owned());
            }
            Err(problem) => {
                let message = format!("spec.resolutions of step `{}`: {problem}", step.name);
                refuse(flow, &mut status, message);
            }
        },
        ResolvedAs::Failed => {
            status.phase = StepPhase::Failed;
            status.finished_at = Some(flow.now);
            status.message = Some("spec.resolutions says that it did not take effect".to_owned());
            flow.failing |= step.role == Role::Main;
        }
        ResolvedAs::Retry if flow.may_start() => {
            // it is known now that the attempt had no effect: the next one is a new request
            status.known_failures = Some(status.known_failures.unwrap_or(0) + 1);
            return next_attempt(flow, step, status);
        }
        ResolvedAs::Retry => return,
    }
    flow.set(step, status);
}

/// The resolution of the attempt that a status speaks of.
pub(super) fn find<'a>(flow: &Flow<'a>, step: &StepDefinition, status: &StepStatus) -> Option<&'a Resolution> {
    let this = |r: &&Resolution| r.step == step.name && Some(r.attempt) == status.attempt;
    flow.view.run.spec.resolutions.iter().find(this).filter(|_| step.role != Role::Compensation)
}

/// A resolution does not hold: why is told once.
pub(super) fn refuse(flow: &mut Flow<'_>, status: &mut StepStatus, message: String) {
    if status.message.as_ref() != Some(&message) {
        flow.decision.notes.push(Note::warning("InvalidResolution", message.clone()));
        status.message = Some(message);
    }
}

fn check(step: &StepDefinition, outputs: &BTreeMap<String, Value>) -> Result<(), String> {
    if let Some(name) = outputs.keys().find(|n| !step.outputs.iter().any(|o| o.name == **n)) {
        return Err(format!("the step declares no output `{name}`"));
    }
    for declared in &step.outputs {
        let value = outputs.get(&declared.name).ok_or_else(|| format!("output `{}` must be given", declared.name))?;
        parameters::kind(declared.kind, value).map_err(|e| format!("output `{}` {e}", declared.name))?;
    }
    Ok(())
}
