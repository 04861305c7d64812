//! One step of one run: from nothing to its end.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    api::{
        vocabulary::{ErrorClass, Safety},
        workflow_run::{StepPhase, StepStatus},
    },
    core::{
        coordination::{
            call, capacity, child,
            definition::{Action, Role, StepDefinition},
            fan_out,
            outcome::Failure,
            pod, resolution, result,
            run::Flow,
            stages,
        },
        expression::{ExpressionError, References, Template},
        note::Note,
    },
};

/// How long a pod or child run that was told to stop is waited for.
pub(super) const STOP_WAIT: std::time::Duration = std::time::Duration::from_secs(60);

/// Takes one step of a list as far as it goes now.
pub(super) fn advance(flow: &mut Flow<'_>, steps: &[StepDefinition], place: usize) {
    let step = &steps[place];
    match flow.get(step) {
        None => {
            if flow.may_start() && step.after.iter().all(|&a| flow.is_done(&steps[a])) {
                flow.ready_since = ready_since(flow, steps, step);
                begin(flow, step);
            }
        }
        Some(present) if present.phase.is_final() => {}
        Some(present) => {
            let present = present.clone();
            match &step.fan_out {
                Some(fan_out) => fan_out::go_on(flow, step, fan_out, present),
                None => go_on(flow, step, present),
            }
            if flow.is_stopping() {
                stop(flow, step);
            }
        }
    }
}

/// When the last of those ended that a step waits for; `None` for one that waits for none.
fn ready_since(flow: &Flow<'_>, steps: &[StepDefinition], step: &StepDefinition) -> Option<Timestamp> {
    let ended = |s: &StepDefinition| flow.get(s).and_then(|s| s.finished_at);
    match step.role {
        // the steps are over before those of finally have their turn
        Role::Finally if step.after.is_empty() => flow.status.steps.values().filter_map(|s| s.finished_at).max(),
        _ => step.after.iter().filter_map(|&a| ended(&steps[a])).max(),
    }
}

fn go_on(flow: &mut Flow<'_>, step: &StepDefinition, present: StepStatus) {
    match present.phase {
        StepPhase::Waiting if flow.may_start() => attempt(flow, step, present),
        StepPhase::Retrying if flow.may_start() => match present.wake_at {
            Some(at) if at > flow.now => flow.wake(at),
            _ => next_attempt(flow, step, present),
        },
        StepPhase::Unknown => resolution::apply(flow, step, present),
        StepPhase::Starting | StepPhase::Running | StepPhase::Stopping => match &step.action {
            Action::Call(call) => call::watch(flow, step, call, present),
            Action::Container(container) => pod::watch(flow, step, container, present),
            Action::Child(child) => child::watch(flow, step, child, present),
            Action::Wait(_) => match present.wake_at {
                Some(at) if at > flow.now => flow.wake(at),
                _ => succeed(flow, step, present, Value::Null),
            },
            // a transform is done in the pass that begins it; this status is from a definition that held something else
            Action::Transform(_) => attempt(flow, step, present),
        },
        _ => {}
    }
}

pub(super) fn next_attempt(flow: &mut Flow<'_>, step: &StepDefinition, present: StepStatus) {
    let next = StepStatus {
        phase: StepPhase::Starting,
        attempt: Some(present.attempt.unwrap_or(1) + 1),
        started_at: Some(flow.now),
        wake_at: None,
        capacity: None,
        admission: None,
        pod: None,
        run: None,
        target: None,
        resent: None,
        ..present
    };
    attempt(flow, step, next);
}

/// What only waits is given up.
pub(super) fn give_up(flow: &mut Flow<'_>, step: &StepDefinition) {
    let now = flow.now;
    let Some(status) = flow.get_mut(step) else { return };
    if step.fan_out.is_some() {
        return fan_out::give_up(status, now);
    }
    let waits = matches!(status.phase, StepPhase::Retrying | StepPhase::Waiting)
        || (status.phase == StepPhase::Running && !step.action.works());
    if waits {
        status.phase = StepPhase::Canceled;
        status.finished_at = Some(now);
        status.wake_at = None;
    }
}

/// What is at work is told to stop. A pod and a child run are waited for, so that nothing is undone while it is still being
/// done; a call is dropped.
fn stop(flow: &mut Flow<'_>, step: &StepDefinition) {
    if step.fan_out.is_some() {
        return fan_out::stop(flow, step);
    }
    give_up(flow, step);
    let (now, until) = (flow.now, later(flow.now, STOP_WAIT));
    let Some(status) = flow.get_mut(step).filter(|s| s.phase.is_at_work()) else { return };
    match (&step.action, status.phase) {
        (Action::Call(_), _) => {
            status.phase = StepPhase::Canceled;
            status.finished_at = Some(now);
            status.message = Some("the call was dropped: it may have taken effect".to_owned());
        }
        (Action::Container(_), StepPhase::Starting | StepPhase::Running) => {
            status.phase = StepPhase::Stopping;
            status.wake_at = Some(until);
            flow.wake(until);
        }
        (Action::Child(_), StepPhase::Starting | StepPhase::Running) => status.phase = StepPhase::Stopping,
        _ => {}
    }
}

/// Something that was told to stop has ended, or is waited for no longer.
pub(super) fn stopped(flow: &mut Flow<'_>, step: &StepDefinition, mut status: StepStatus) {
    status.phase = StepPhase::Canceled;
    status.finished_at = Some(flow.now);
    status.wake_at = None;
    flow.set(step, status);
}

fn begin(flow: &mut Flow<'_>, step: &StepDefinition) {
    let fresh = StepStatus { attempt: Some(1), started_at: Some(flow.now), ..StepStatus::new(StepPhase::Starting) };
    match step.when.as_ref().map(|w| w.holds(&flow.variables(w.references()))) {
        None | Some(Ok(true)) => match &step.fan_out {
            Some(fan_out) => fan_out::begin(flow, step, fan_out, fresh),
            None => attempt(flow, step, fresh),
        },
        Some(Ok(false)) => {
            flow.set(step, StepStatus { finished_at: Some(flow.now), ..StepStatus::new(StepPhase::Skipped) });
        }
        Some(Err(e)) => fail(flow, step, fresh, ErrorClass::Configuration, true, format!("when: {e}")),
    }
}

/// Starts the attempt that `status` names.
fn attempt(flow: &mut Flow<'_>, step: &StepDefinition, mut status: StepStatus) {
    // a call asks once there is somebody to answer it
    let asks_now = matches!(step.action, Action::Wait(_) | Action::Container(_));
    if asks_now && !capacity::is_admitted(flow, step, &mut status, 1) {
        return;
    }
    match &step.action {
        Action::Transform(expression) => match expression.evaluate(&flow.variables(expression.references())) {
            Ok(value) => succeed(flow, step, status, value),
            Err(e) => fail(flow, step, status, ErrorClass::Configuration, true, e.to_string()),
        },
        Action::Wait(time) => {
            let until = later(flow.now, *time);
            status.phase = StepPhase::Running;
            status.wake_at = Some(until);
            flow.wake(until);
            flow.set(step, status);
        }
        Action::Container(container) => match pod::start(flow, step, container, &status) {
            Ok(pod) => {
                flow.wake(later(status.started_at.unwrap_or(flow.now), flow.timeout(step)));
                status.phase = StepPhase::Starting;
                status.pod = Some(pod.name.clone());
                flow.set(step, status);
                flow.decision.start_pods.push(pod);
            }
            Err(e) => fail(flow, step, status, ErrorClass::Configuration, true, e.to_string()),
        },
        Action::Call(call) => call::start(flow, step, call, status),
        Action::Child(child) => child::begin(flow, step, child, status),
    }
}

pub(super) fn fill(flow: &Flow<'_>, template: &Template) -> Result<String, ExpressionError> {
    template.render(&flow.variables(&template.references()))
}

/// The outputs that a result gives, while all of the run's have room.
fn outputs(flow: &Flow<'_>, step: &StepDefinition, value: Value) -> Result<BTreeMap<String, Value>, String> {
    let mut references = References::default();
    step.outputs.iter().for_each(|o| references.merge(o.value.references()));
    let outputs = result::outputs(&step.outputs, flow.variables(&references), value)?;
    let all: usize = flow.status.steps.values().map(result::footprint).sum();
    if all + result::size(&outputs) > result::MAX_RUN_OUTPUTS {
        return Err(format!("all outputs of a run together may have {} bytes", result::MAX_RUN_OUTPUTS));
    }
    Ok(outputs)
}

/// All items of a step are over, and few enough have failed.
pub(super) fn conclude(flow: &mut Flow<'_>, step: &StepDefinition, mut status: StepStatus, value: Value) {
    match outputs(flow, step, value) {
        Ok(outputs) => {
            status.phase = StepPhase::Succeeded;
            status.finished_at = Some(flow.now);
            status.wake_at = None;
            status.reason = None;
            status.message = None;
            status.outputs = outputs;
            flow.set(step, status);
        }
        Err(problem) => fail_for_good(flow, step, status, ErrorClass::InvalidResult, problem),
    }
}

pub(super) fn succeed(flow: &mut Flow<'_>, step: &StepDefinition, mut status: StepStatus, value: Value) {
    let outputs = match outputs(flow, step, value) {
        Ok(outputs) => outputs,
        Err(problem) => return fail(flow, step, status, ErrorClass::InvalidResult, true, problem),
    };
    status.phase = StepPhase::Succeeded;
    status.finished_at = Some(flow.now);
    status.wake_at = None;
    status.resent = None;
    status.reason = None;
    status.message = None;
    status.outputs = outputs;
    flow.set(step, status);
}

/// An attempt has failed. `known` is false when it may have taken effect all the same.
pub(super) fn fail(
    flow: &mut Flow<'_>,
    step: &StepDefinition,
    status: StepStatus,
    class: ErrorClass,
    known: bool,
    message: String,
) {
    fail_asked(flow, step, status, Failure { class, known, message }, None);
}

/// As [`fail`]; a service has `asked` to be left alone for so long.
pub(super) fn fail_asked(
    flow: &mut Flow<'_>,
    step: &StepDefinition,
    mut status: StepStatus,
    Failure { class, known, message }: Failure,
    asked: Option<std::time::Duration>,
) {
    // what came of the repetition of a request does not tell what came of the request before
    let known = status.resent.take().is_none() && known;
    let number = status.attempt.unwrap_or(1);
    let uid = flow.view.run.metadata.uid.as_deref().unwrap_or_default();
    let seed = format!("{uid}/{}", step.id());
    status.reason = Some(class);
    status.wake_at = None;
    let lost = class == ErrorClass::PodLost && step.interruptible;
    // attempts that were taken away cost no retry, but each waits longer than the one before
    let disruptions = status.disruptions.unwrap_or(0) + u32::from(lost);
    let again = if lost {
        Some(step.retry.pause(disruptions, &seed))
    } else {
        step.retry.wait(number - disruptions.min(number - 1), class, flow.bounded(step, asked), &seed)
    };
    if !known && step.safety == Safety::AtMostOnce {
        status.phase = StepPhase::Unknown;
        status.message =
            Some(format!("{message}; nobody knows whether it took effect, and it may take effect once at most"));
    } else if let Some(wait) = again.filter(|_| flow.may_retry()) {
        let at = later(flow.now, wait);
        flow.wake(at);
        flow.decision.notes.push(Note::warning(
            "StepRetrying",
            format!("step `{}`, attempt {number}: {class:?}: {message}", step.name),
        ));
        status.phase = StepPhase::Retrying;
        status.wake_at = Some(at);
        status.message = Some(message);
        if lost {
            status.disruptions = Some(disruptions);
        }
        // once nobody knows of an attempt, all that follow must be known as the same request: an effect may be there
        if known && number == status.known_failures.unwrap_or(0) + 1 {
            status.known_failures = Some(number);
        }
        return flow.set(step, status);
    } else {
        return fail_for_good(flow, step, status, class, message);
    }
    tell_end(flow, step, &status, class);
    flow.set(step, status);
}

/// A step has failed, and no attempt follows.
pub(super) fn fail_for_good(
    flow: &mut Flow<'_>,
    step: &StepDefinition,
    mut status: StepStatus,
    class: ErrorClass,
    message: String,
) {
    status.phase = StepPhase::Failed;
    status.reason = Some(class);
    status.message = Some(message);
    status.finished_at = Some(flow.now);
    status.wake_at = None;
    tell_end(flow, step, &status, class);
    flow.failing |= step.role == Role::Main;
    flow.set(step, status);
}

fn tell_end(flow: &mut Flow<'_>, step: &StepDefinition, status: &StepStatus, class: ErrorClass) {
    let problem = format!("{class:?}: {}", status.message.as_deref().unwrap_or_default());
    flow.decision.notes.push(match (step.role, status.phase) {
        (Role::Compensation, _) => stages::failed_note(step, &problem),
        (_, StepPhase::Unknown) => Note::warning("StepUnknown", format!("step `{}`: {problem}", step.name)),
        _ => Note::warning("StepFailed", format!("step `{}`: {problem}", step.name)),
    });
}

/// What works for more than a second gets a status write that says so. Starts are told in whole seconds, cut off: only two seconds
/// after that has a second surely passed.
const WORTH_TELLING: SignedDuration = SignedDuration::from_secs(2);

/// When it is told that something works which began `since`: at once where the clock of whoever says so is ahead.
pub(super) fn told_at(since: Timestamp, now: Timestamp) -> Timestamp {
    if since > now { now } else { since.saturating_add(WORTH_TELLING).unwrap_or(now) }
}

pub(super) fn later(from: Timestamp, by: std::time::Duration) -> Timestamp {
    from.saturating_add(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
}
