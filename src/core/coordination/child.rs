//! A step that runs another workflow: its child run, and what the child's state means for the attempt.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    api::{
        vocabulary::ErrorClass,
        workflow_run::{RunPhase, StepPhase, StepStatus},
    },
    core::{
        coordination::{
            definition::{ChildDefinition, Source, StepDefinition},
            run::Flow,
            step::{fail, later, stopped, succeed, told_at},
            view::StartRun,
        },
        expression::ExpressionError,
        name,
    },
};

/// How deep child runs may be nested: a workflow that runs itself comes to an end.
pub const MAX_DEPTH: usize = 8;

pub(super) fn begin(flow: &mut Flow<'_>, step: &StepDefinition, child: &ChildDefinition, mut status: StepStatus) {
    if flow.view.depth >= MAX_DEPTH {
        let message = format!("child runs may be nested {MAX_DEPTH} deep: does a workflow run itself?");
        return fail(flow, step, status, ErrorClass::Configuration, true, message);
    }
    let name = name::pod(flow.name(), &step.id(), status.attempt.unwrap_or(1));
    match wish(flow, step, child, name) {
        Ok(run) => {
            flow.wake(later(status.started_at.unwrap_or(flow.now), flow.timeout(step)));
            status.phase = StepPhase::Starting;
            status.run = Some(run.name.clone());
            flow.set(step, status);
            flow.decision.start_runs.push(run);
        }
        Err(e) => fail(flow, step, status, ErrorClass::Configuration, true, e.to_string()),
    }
}

/// The child run of this name.
pub(super) fn wish(
    flow: &Flow<'_>,
    step: &StepDefinition,
    child: &ChildDefinition,
    name: String,
) -> Result<StartRun, ExpressionError> {
    let mut parameters = BTreeMap::new();
    for (name, value) in &child.parameters {
        match value {
            Source::Computed(value) => {
                parameters.insert(name.clone(), value.evaluate(&flow.variables(value.references()))?);
            }
            // one that the run does not give is the child's to miss
            Source::Sensitive(parameter) => {
                parameters.extend(flow.secrets.get(parameter).map(|s| (name.clone(), s.to_value())));
            }
        }
    }
    Ok(StartRun { name, step: step.name.clone(), workflow: child.workflow.clone(), parameters, urgency: flow.urgency })
}

pub(super) fn watch(flow: &mut Flow<'_>, step: &StepDefinition, child: &ChildDefinition, mut status: StepStatus) {
    let name = status.run.clone().unwrap_or_default();
    let until = later(status.started_at.unwrap_or(flow.now), flow.timeout(step));
    // a child that has run out of time is told to stop like one whose parent is cancelled, and is then a failure
    let timed_out = status.phase == StepPhase::Stopping && status.reason == Some(ErrorClass::Timeout);
    let overdue = format!("the child run did not end within {:?}", flow.timeout(step));
    match flow.view.children.get(&name).cloned() {
        Some(child) if child.phase == RunPhase::Succeeded => {
            succeed(flow, step, status, Value::Object(child.outputs.into_iter().collect()));
        }
        Some(child) if child.phase.is_final() => match status.phase {
            StepPhase::Stopping if timed_out => fail(flow, step, status, ErrorClass::Timeout, true, overdue),
            StepPhase::Stopping => stopped(flow, step, status),
            _ => {
                let message = format!("child run `{name}` ended {:?}: {}", child.phase, child.reason);
                fail(flow, step, status, ErrorClass::ChildFailed, true, message);
            }
        },
        None if timed_out => fail(flow, step, status, ErrorClass::Timeout, true, overdue),
        None if status.phase == StepPhase::Stopping => stopped(flow, step, status),
        None if status.phase == StepPhase::Running || flow.view.has_lost(status.run.as_ref()) => {
            let message = format!("child run `{name}` was deleted");
            fail(flow, step, status, ErrorClass::ChildFailed, false, message);
        }
        Some(_) if status.phase == StepPhase::Stopping => {} // its end will be told
        _ if until <= flow.now => {
            status.phase = StepPhase::Stopping;
            status.reason = Some(ErrorClass::Timeout);
            flow.set(step, status);
        }
        Some(child) => {
            flow.wake(until);
            if let (StepPhase::Starting, Some(since)) = (status.phase, child.since) {
                let told = told_at(since, flow.now);
                if told <= flow.now {
                    status.phase = StepPhase::Running;
                    flow.set(step, status);
                } else {
                    flow.wake(told);
                }
            }
        }
        None => match wish(flow, step, child, name) {
            Ok(run) => {
                flow.fence_off();
                flow.wake(until);
                flow.decision.start_runs.push(run);
            }
            Err(e) => fail(flow, step, status, ErrorClass::Configuration, true, e.to_string()),
        },
    }
}
