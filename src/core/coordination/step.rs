//! One step of one run: from nothing to its end.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    api::{
        medical_service::EnvVar,
        vocabulary::{ErrorClass, Safety},
        workflow_run::{CallTarget, StepPhase, StepStatus},
    },
    core::{
        coordination::{
            definition::{Action, CallDefinition, ContainerDefinition, Definition, StepDefinition},
            outcome::CallResult,
            result,
            run::Flow,
            view::{Attempt, PodView, StartCall, StartPod},
        },
        expression::{ExpressionError, References, Template},
        name::{self, chance},
        note::Note,
    },
};

/// A pod that works for more than a second gets a status write that says so. Its start is told in whole seconds, cut off:
/// only two seconds after that has a second surely passed.
const WORTH_TELLING: SignedDuration = SignedDuration::from_secs(2);

/// The kubelet's reasons for not starting a container that no waiting mends.
const NOT_STARTABLE: [&str; 6] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];

/// Whether an action is at work somewhere else and has to come to its own end.
pub(super) const fn works(action: &Action) -> bool {
    matches!(action, Action::Call(_) | Action::Container(_))
}

/// Takes one step as far as it goes now.
pub(super) fn advance(flow: &mut Flow<'_>, definition: &Definition, place: usize) {
    let step = &definition.steps[place];
    let Some(present) = flow.status.steps.get(&step.name).cloned() else {
        let ready = step.after.iter().all(|&a| flow.is_done(&definition.steps[a].name));
        if ready && !flow.failing && !flow.view.draining {
            begin(flow, step);
        }
        return;
    };
    match present.phase {
        StepPhase::Waiting | StepPhase::Retrying if flow.view.draining => {}
        StepPhase::Waiting if !flow.failing => attempt(flow, step, present),
        StepPhase::Retrying if !flow.failing => match present.wake_at {
            Some(at) if at > flow.now => flow.wake(at),
            _ => {
                let next = StepStatus {
                    phase: StepPhase::Starting,
                    attempt: Some(present.attempt.unwrap_or(1) + 1),
                    started_at: Some(flow.now),
                    wake_at: None,
                    pod: None,
                    target: None,
                    ..present
                };
                attempt(flow, step, next);
            }
        },
        StepPhase::Starting | StepPhase::Running => match &step.action {
            Action::Call(call) => watch_call(flow, step, call, present),
            Action::Container(container) => watch_pod(flow, step, container, present),
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

fn begin(flow: &mut Flow<'_>, step: &StepDefinition) {
    let fresh = StepStatus {
        phase: StepPhase::Starting,
        attempt: Some(1),
        started_at: Some(flow.now),
        finished_at: None,
        wake_at: None,
        pod: None,
        target: None,
        known_failures: None,
        outputs: std::collections::BTreeMap::new(),
        reason: None,
        message: None,
    };
    match step.when.as_ref().map(|w| w.holds(&flow.variables(w.references()))) {
        None | Some(Ok(true)) => attempt(flow, step, fresh),
        Some(Ok(false)) => {
            let skipped = StepStatus {
                phase: StepPhase::Skipped,
                attempt: None,
                started_at: None,
                finished_at: Some(flow.now),
                ..fresh
            };
            flow.status.steps.insert(step.name.clone(), skipped);
        }
        Some(Err(e)) => fail(flow, step, fresh, ErrorClass::Configuration, true, format!("when: {e}")),
    }
}

/// Starts the attempt that `status` names.
fn attempt(flow: &mut Flow<'_>, step: &StepDefinition, mut status: StepStatus) {
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
            flow.status.steps.insert(step.name.clone(), status);
        }
        Action::Container(container) => match start_pod(flow, step, container, &status) {
            Ok(pod) => {
                flow.wake(later(status.started_at.unwrap_or(flow.now), step.timeout));
                status.phase = StepPhase::Starting;
                status.pod = Some(pod.name.clone());
                flow.status.steps.insert(step.name.clone(), status);
                flow.decision.start_pods.push(pod);
            }
            Err(e) => fail(flow, step, status, ErrorClass::Configuration, true, e.to_string()),
        },
        Action::Call(call) => start_call(flow, step, call, status),
    }
}

fn start_call(flow: &mut Flow<'_>, step: &StepDefinition, call: &CallDefinition, mut status: StepStatus) {
    let number = status.attempt.unwrap_or(1);
    let (endpoint, interface, dns_name) = match endpoint(flow, step, call, number, status.target.as_ref()) {
        Ok(found) => found,
        Err(missing) => {
            let since = status.started_at.unwrap_or(flow.now);
            let until = later(since, step.timeout);
            if until <= flow.now {
                fail(flow, step, status, ErrorClass::Connection, true, format!("{missing}, for {:?}", step.timeout));
            } else {
                flow.wake(until);
                status.phase = StepPhase::Waiting;
                status.message = Some(missing);
                flow.status.steps.insert(step.name.clone(), status);
            }
            return;
        }
    };
    let request = (|| -> Result<StartCall, ExpressionError> {
        let base = interface.1.trim_end_matches('/');
        let path = format!("{base}{}", fill(flow, &call.path)?);
        let mut headers = Vec::with_capacity(call.headers.len());
        for (name, value) in &call.headers {
            headers.push((name.clone(), fill(flow, value)?));
        }
        let body = call.body.as_ref().map(|b| fill(flow, b)).transpose()?;
        let uid = flow.view.run.metadata.uid.as_deref().unwrap_or_default();
        Ok(StartCall {
            attempt: Attempt { step: step.name.clone(), number },
            endpoint: endpoint.0,
            host: if interface.0 == 80 { dns_name } else { format!("{dns_name}:{}", interface.0) },
            method: call.method.as_str(),
            path,
            headers,
            body,
            idempotency_key: format!("{uid}-{}-{}", step.name, status.known_failures.unwrap_or(0)),
            timeout: step.timeout,
        })
    })();
    match request {
        Ok(request) => {
            status.phase = StepPhase::Starting;
            status.message = None;
            status.target = Some(CallTarget { endpoint: endpoint.0.to_string(), probability: endpoint.1 });
            flow.status.steps.insert(step.name.clone(), status);
            flow.decision.start_calls.push(request);
        }
        Err(e) => fail(flow, step, status, ErrorClass::Configuration, true, e.to_string()),
    }
}

type Target = ((std::net::SocketAddr, u8), (u16, String), String);

/// The endpoint for an attempt: each that is ready with the same probability, and the same one again while it stays ready.
fn endpoint(
    flow: &Flow<'_>,
    step: &StepDefinition,
    call: &CallDefinition,
    number: u32,
    present: Option<&CallTarget>,
) -> Result<Target, String> {
    let service = flow
        .view
        .services
        .get(&call.service)
        .ok_or_else(|| format!("there is no MedicalService `{}` in this namespace", call.service))?;
    let interface = match &call.interface {
        Some(name) => service.interfaces.iter().find(|i| i.name == *name),
        None => service.interfaces.first(),
    }
    .ok_or_else(|| format!("MedicalService `{}` has no such interface that speaks HTTP", call.service))?;
    let all = &interface.endpoints;
    if all.is_empty() {
        return Err(format!("MedicalService `{}` has no endpoint that is ready", call.service));
    }
    let same = present.and_then(|t| all.iter().find(|e| e.to_string() == t.endpoint));
    let uid = flow.view.run.metadata.uid.as_deref().unwrap_or_default();
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let index = (chance(&[uid, &step.name, &number.to_string()]) * all.len() as f64) as usize;
    let chosen = *same.unwrap_or(&all[index.min(all.len() - 1)]);
    let probability = u8::try_from(100 / all.len()).unwrap_or(0);
    Ok(((chosen, probability), (interface.port, interface.base_path.clone()), service.dns_name.clone()))
}

fn watch_call(flow: &mut Flow<'_>, step: &StepDefinition, call: &CallDefinition, status: StepStatus) {
    let this = Attempt { step: step.name.clone(), number: status.attempt.unwrap_or(1) };
    if let Some(outcome) = flow.view.outcomes.get(&this) {
        match outcome.what.clone() {
            CallResult::Answered(answer) if answer.is_expected(&call.expect_status) => {
                succeed(flow, step, status, answer.to_value());
            }
            CallResult::Answered(answer) => {
                fail(flow, step, status, answer.class(), true, format!("the service answered HTTP {}", answer.status));
            }
            CallResult::Failed { class, sent, message } => fail(flow, step, status, class, !sent, message),
        }
    } else if flow.view.in_flight.contains(&this) {
        // its end will be told
    } else if !flow.taken_over {
        // this leader wrote the intent and has not started it: the status write's own answer was lost
        start_call(flow, step, call, status);
    } else if step.safety == Safety::Idempotent {
        flow.fence = true;
        start_call(flow, step, call, status);
    } else {
        let message = "medley was interrupted during the call".to_owned();
        fail(flow, step, status, ErrorClass::Connection, false, message);
    }
}

fn watch_pod(flow: &mut Flow<'_>, step: &StepDefinition, container: &ContainerDefinition, mut status: StepStatus) {
    let started = status.started_at.unwrap_or(flow.now);
    let until = later(started, step.timeout);
    let pod = status.pod.as_ref().and_then(|name| flow.view.pods.get(name)).cloned();
    match pod {
        Some(PodView::Succeeded { message, .. }) => match result::of_container(&message, &step.outputs) {
            Ok(value) => succeed(flow, step, status, value),
            Err(problem) => fail(flow, step, status, ErrorClass::InvalidResult, true, problem),
        },
        Some(PodView::Failed { exit_code: Some(code), reason, .. })
            if reason.as_deref() != Some("DeadlineExceeded") =>
        {
            let why = reason.filter(|r| r != "Error").map(|r| format!(" ({r})")).unwrap_or_default();
            fail(
                flow,
                step,
                status,
                ErrorClass::ContainerFailed,
                true,
                format!("the container ended with exit code {code}{why}"),
            );
        }
        Some(PodView::Failed { reason, .. }) => {
            if reason.as_deref() == Some("DeadlineExceeded") {
                let message = format!("the container did not end within {:?}", step.timeout);
                fail(flow, step, status, ErrorClass::Timeout, false, message);
            } else {
                let why = reason.map(|r| format!(": {r}")).unwrap_or_default();
                fail(flow, step, status, ErrorClass::PodLost, false, format!("the pod was taken away{why}"));
            }
        }
        _ if until <= flow.now => {
            // the pod is no longer the wanted one, and so it is stopped
            let message = format!("the container did not end within {:?}", step.timeout);
            fail(flow, step, status, ErrorClass::Timeout, false, message);
        }
        Some(PodView::Pending { problem: Some(problem) }) if NOT_STARTABLE.contains(&problem.as_str()) => {
            let message = format!("the kubelet cannot start the container: {problem}");
            fail(flow, step, status, ErrorClass::PodNotStarted, true, message);
        }
        Some(PodView::Pending { .. }) => flow.wake(until),
        Some(PodView::Running { since }) => {
            flow.wake(until);
            if status.phase == StepPhase::Starting {
                let told = since.saturating_add(WORTH_TELLING).unwrap_or(flow.now);
                if told <= flow.now {
                    status.phase = StepPhase::Running;
                    flow.status.steps.insert(step.name.clone(), status);
                } else {
                    flow.wake(told);
                }
            }
        }
        None if status.phase == StepPhase::Running => {
            fail(flow, step, status, ErrorClass::PodLost, false, "the pod was deleted".to_owned());
        }
        None => match start_pod(flow, step, container, &status) {
            Ok(pod) => {
                flow.wake(until);
                flow.decision.start_pods.push(pod);
            }
            Err(e) => fail(flow, step, status, ErrorClass::Configuration, true, e.to_string()),
        },
    }
}

fn start_pod(
    flow: &Flow<'_>,
    step: &StepDefinition,
    container: &ContainerDefinition,
    status: &StepStatus,
) -> Result<StartPod, ExpressionError> {
    let run = flow.view.run.metadata.name.as_deref().unwrap_or_default();
    let number = status.attempt.unwrap_or(1);
    let words = |list: &[Template]| list.iter().map(|t| fill(flow, t)).collect::<Result<Vec<_>, _>>();
    let mut env = Vec::with_capacity(container.env.len());
    for (name, value) in &container.env {
        env.push(EnvVar { name: name.clone(), value: fill(flow, value)? });
    }
    Ok(StartPod {
        name: name::pod(run, &step.name, number),
        attempt: Attempt { step: step.name.clone(), number },
        workflow: flow.view.run.spec.workflow.clone(),
        urgency: flow.urgency,
        image: container.image.clone(),
        image_pull_policy: container.image_pull_policy,
        command: words(&container.command)?,
        args: words(&container.args)?,
        env,
        resources: container.resources.clone(),
        deadline: step.timeout,
    })
}

fn fill(flow: &Flow<'_>, template: &Template) -> Result<String, ExpressionError> {
    template.render(&flow.variables(&template.references()))
}

fn succeed(flow: &mut Flow<'_>, step: &StepDefinition, mut status: StepStatus, value: Value) {
    let mut references = References::default();
    step.outputs.iter().for_each(|o| references.merge(o.value.references()));
    let outputs = match result::outputs(&step.outputs, flow.variables(&references), value) {
        Ok(outputs) => outputs,
        Err(problem) => return fail(flow, step, status, ErrorClass::InvalidResult, true, problem),
    };
    let all: usize = flow.status.steps.values().map(|s| result::size(&s.outputs)).sum();
    if all + result::size(&outputs) > result::MAX_RUN_OUTPUTS {
        let message = format!("all outputs of a run together may have {} bytes", result::MAX_RUN_OUTPUTS);
        return fail(flow, step, status, ErrorClass::InvalidResult, true, message);
    }
    status.phase = StepPhase::Succeeded;
    status.finished_at = Some(flow.now);
    status.wake_at = None;
    status.reason = None;
    status.message = None;
    status.outputs = outputs;
    flow.status.steps.insert(step.name.clone(), status);
}

/// An attempt has failed. `known` is false when it may have taken effect all the same.
fn fail(
    flow: &mut Flow<'_>,
    step: &StepDefinition,
    mut status: StepStatus,
    class: ErrorClass,
    known: bool,
    message: String,
) {
    let number = status.attempt.unwrap_or(1);
    let uid = flow.view.run.metadata.uid.as_deref().unwrap_or_default();
    status.reason = Some(class);
    status.wake_at = None;
    let again = step.retry.wait(number, class, &format!("{uid}/{}", step.name));
    if !known && step.safety == Safety::AtMostOnce {
        status.phase = StepPhase::Unknown;
        status.message =
            Some(format!("{message}; nobody knows whether it took effect, and it may take effect once at most"));
    } else if let Some(wait) = again.filter(|_| !flow.failing) {
        let at = later(flow.now, wait);
        flow.wake(at);
        flow.decision.notes.push(Note::warning(
            "StepRetrying",
            format!("step `{}`, attempt {number}: {class:?}: {message}", step.name),
        ));
        status.phase = StepPhase::Retrying;
        status.wake_at = Some(at);
        status.message = Some(message);
        if known {
            status.known_failures = Some(status.known_failures.unwrap_or(0) + 1);
        }
        flow.status.steps.insert(step.name.clone(), status);
        return;
    } else {
        status.phase = StepPhase::Failed;
        status.message = Some(message);
    }
    status.finished_at = Some(flow.now);
    flow.failing = true;
    let text = format!("step `{}`: {class:?}: {}", step.name, status.message.as_deref().unwrap_or_default());
    flow.decision.notes.push(Note::warning("StepFailed", text));
    flow.status.steps.insert(step.name.clone(), status);
}

fn later(from: Timestamp, by: std::time::Duration) -> Timestamp {
    from.saturating_add(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
}
