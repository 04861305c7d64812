//! A step that runs a pod: what it looks like, and what its state means for the attempt.

use jiff::Timestamp;

use crate::{
    api::{
        vocabulary::{ErrorClass, Safety},
        workflow_run::{StepPhase, StepStatus},
    },
    core::{
        coordination::{
            capacity,
            definition::{ContainerDefinition, Role, Source, StepDefinition},
            result,
            run::Flow,
            step::{fail, fill, later, stopped, succeed, told_at},
            view::{Attempt, PodView, StartPod, Variable, VariableValue, View},
        },
        expression::{ExpressionError, Template},
        name,
    },
};

/// Binding a volume takes some seconds.
pub(super) const DELAY_WORTH_TELLING: std::time::Duration = std::time::Duration::from_secs(30);

/// The scheduler's reason for not having placed a pod (condition `PodScheduled`).
const UNSCHEDULABLE: &str = "Unschedulable";

/// The API server's reason for not handing a pod to the scheduler: somebody else is to say when (condition `PodScheduled`).
const GATED: &str = "SchedulingGated";

/// The kubelet's reasons for not starting a container that no waiting mends.
const NOT_STARTABLE: [&str; 6] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];

pub(super) fn watch(
    flow: &mut Flow<'_>,
    step: &StepDefinition,
    container: &ContainerDefinition,
    mut status: StepStatus,
) {
    let pod = status.pod.as_ref().and_then(|name| flow.view.pods.get(name)).cloned();
    let begun = match (&pod, status.pod.as_ref().and_then(|name| flow.view.handed_over.get(name))) {
        // how long Kueue, and then the scheduler, let it wait does not count
        (Some(PodView::Running { since }), Some(_)) => *since,
        (Some(PodView::Pending { .. }), Some(handed)) => handed.placed.unwrap_or(Timestamp::MAX),
        _ => status.started_at.unwrap_or(flow.now),
    };
    let until = later(begun, flow.timeout(step));
    match pod {
        Some(PodView::Succeeded { message, .. }) => match result::of_container(&message, &step.outputs) {
            Ok(value) => succeed(flow, step, status, value),
            Err(problem) => fail(flow, step, status, ErrorClass::InvalidResult, true, problem),
        },
        // it was told to stop, and whatever it did not finish is not a failure
        Some(PodView::Failed { .. }) | None if status.phase == StepPhase::Stopping => stopped(flow, step, status),
        _ if status.phase == StepPhase::Stopping => match status.wake_at {
            Some(at) if at > flow.now => flow.wake(at),
            _ => {
                status.message = Some("its pod was told to stop and has not gone yet".to_owned());
                stopped(flow, step, status);
            }
        },
        // whatever it says while it is being taken away: that is not its own failure
        Some(PodView::Failed { .. }) if step.interruptible && is_going(flow, &status) => {
            lost(flow, step, status, "the pod was taken away".to_owned());
        }
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
                let message = format!("the container did not end within {:?}", flow.timeout(step));
                fail(flow, step, status, ErrorClass::Timeout, false, message);
            } else {
                let why = reason.map(|r| format!(": {r}")).unwrap_or_default();
                lost(flow, step, status, format!("the pod was taken away{why}"));
            }
        }
        None if status.phase == StepPhase::Running || flow.view.has_lost(status.pod.as_ref()) => {
            lost(flow, step, status, "the pod was deleted".to_owned());
        }
        pod if until <= flow.now => {
            // the pod is no longer the wanted one, and so it is stopped
            let mut message = format!("the container did not end within {:?}", flow.timeout(step));
            if let Some(why) = held_up(flow, &status, pod.as_ref()) {
                message = format!("{message}: {why}");
            }
            fail(flow, step, status, ErrorClass::Timeout, false, message);
        }
        Some(PodView::Pending { problem: Some(problem) }) if NOT_STARTABLE.contains(&problem.as_str()) => {
            let needs = if problem == "CreateContainerConfigError" { needs(flow, container) } else { String::new() };
            let message = format!("the kubelet cannot start the container: {problem}{needs}");
            fail(flow, step, status, ErrorClass::PodNotStarted, true, message);
        }
        pod @ Some(PodView::Pending { .. }) => {
            flow.wake(until);
            tell_of_delay(flow, step, pod.as_ref(), status);
        }
        Some(PodView::Running { since }) => {
            flow.wake(until);
            if status.phase == StepPhase::Starting {
                let told = told_at(since, flow.now);
                if told <= flow.now {
                    status.phase = StepPhase::Running;
                    if status.reason.is_none() {
                        status.message = None; // what held it up
                    }
                    flow.set(step, status);
                } else {
                    flow.wake(told);
                }
            }
        }
        // another leader wrote the intent, or no answer came: whether its pod was ever there, and what it did, nobody knows
        None if step.safety == Safety::AtMostOnce && may_have_been(flow, &status) => {
            let why = if flow.taken_over { "medley was interrupted" } else { "no answer came when it was made" };
            let message = format!("the pod is not there, and may have been: {why} before it was seen");
            fail(flow, step, status, ErrorClass::PodLost, false, message);
        }
        None if capacity::is_displaced(flow, step, &status) => {
            lost(flow, step, status, "its pod was not there yet".to_owned());
        }
        None => match start(flow, step, container, &status) {
            Ok(pod) => {
                flow.fence_off();
                flow.wake(until);
                flow.decision.start_pods.push(pod);
            }
            Err(e) => fail(flow, step, status, ErrorClass::Configuration, true, e.to_string()),
        },
    }
}

/// Kueue's queue to which the pods of a step that are made now are handed over. What undoes a step must not wait for others to end.
fn queue<'v>(flow: &Flow<'v>, step: &StepDefinition) -> Option<&'v String> {
    flow.view.scheduling.rules.kueue_queue.as_ref().filter(|_| step.role != Role::Compensation)
}

/// Whether the pod of an attempt is being deleted.
fn is_going(flow: &Flow<'_>, status: &StepStatus) -> bool {
    status.pod.as_ref().is_some_and(|name| flow.view.stopping.contains(name))
}

/// The pod of an attempt was taken away before its work was done.
fn lost(flow: &mut Flow<'_>, step: &StepDefinition, status: StepStatus, why: String) {
    let displaced = capacity::is_displaced(flow, step, &status);
    let message = if displaced { format!("its capacity went to a more urgent step: {why}") } else { why };
    fail(flow, step, status, ErrorClass::PodLost, false, message);
}

/// Whether the pod of an attempt may have been there although nobody has seen it.
fn may_have_been(flow: &Flow<'_>, status: &StepStatus) -> bool {
    flow.taken_over || status.pod.as_ref().is_some_and(|name| flow.view.doubtful.contains(name))
}

/// What keeps a pod from starting, as far as that is known.
fn held_up(flow: &Flow<'_>, status: &StepStatus, pod: Option<&PodView>) -> Option<String> {
    let handed = status.pod.as_ref().and_then(|name| flow.view.handed_over.get(name));
    match (pod, &flow.workspace) {
        (Some(PodView::Pending { problem: Some(problem) }), _) if problem == GATED => {
            handed.map(|handed| format!("Kueue has not admitted its pod yet (LocalQueue `{}`)", handed.queue))
        }
        (None, _) => flow.view.refused.map(|refused| refused.message().to_owned()),
        (Some(PodView::Pending { problem: Some(problem) }), mount) if problem == UNSCHEDULABLE => Some(match mount {
            None => "the scheduler has no node for its pod".to_owned(),
            Some(mount) => format!(
                "the scheduler has no node for its pod: is the PersistentVolumeClaim `{}` of the workspace bound?",
                mount.claim
            ),
        }),
        _ => None,
    }
}

/// Tells in the status what holds up a step's pod, where there is a workspace, whose claim may never be bound, or Kueue. Other pods
/// that wait for a place are told of by Kubernetes, and a full cluster would cost a write for each. The latest failure is not
/// overwritten.
fn tell_of_delay(flow: &mut Flow<'_>, step: &StepDefinition, pod: Option<&PodView>, mut status: StepStatus) {
    let handed = status.pod.as_ref().is_some_and(|name| flow.view.handed_over.contains_key(name));
    let waits_for_others = flow.workspace.is_some() || handed;
    if !waits_for_others || status.phase != StepPhase::Starting || status.reason.is_some() {
        return;
    }
    let told = later(status.started_at.unwrap_or(flow.now), DELAY_WORTH_TELLING);
    let why = held_up(flow, &status, pod);
    if why.is_some() && told > flow.now {
        return flow.wake(told);
    }
    if status.message != why {
        status.message = why;
        flow.set(step, status);
    }
}

/// The keys of Secrets without which a container is not started.
fn needs(flow: &Flow<'_>, container: &ContainerDefinition) -> String {
    let keys: Vec<String> = container
        .env
        .iter()
        .filter_map(|(_, value)| match value {
            Source::Sensitive(parameter) => flow.secrets.get(parameter),
            Source::Computed(_) => None,
        })
        .take(3)
        .map(|s| format!("key `{}` of Secret `{}`", s.key, s.secret))
        .collect();
    if keys.is_empty() { String::new() } else { format!("; it needs {}: are they there?", keys.join(", ")) }
}

pub(super) fn start(
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
        match value {
            Source::Computed(value) => {
                env.push(Variable { name: name.clone(), value: VariableValue::Text(fill(flow, value)?) });
            }
            // one that the run does not give is not set, as a variable of the shell is
            Source::Sensitive(parameter) => env.extend(
                flow.secrets
                    .get(parameter)
                    .map(|s| Variable { name: name.clone(), value: VariableValue::Secret(s.clone()) }),
            ),
        }
    }
    Ok(StartPod {
        name: name::pod(run, &step.id(), number),
        attempt: Attempt { step: step.id(), index: None, number },
        step: step.name.clone(),
        workflow: flow.view.run.spec.workflow.clone(),
        urgency: flow.urgency,
        image: container.image.clone(),
        image_pull_policy: container.image_pull_policy,
        command: words(&container.command)?,
        args: words(&container.args)?,
        env,
        workspace: flow.workspace.clone(),
        resources: container.resources.clone(),
        deadline: flow.timeout(step),
        kueue_queue: queue(flow, step).cloned(),
    })
}

/// Pods that are at work and that nobody waits for.
pub(super) fn unwanted(view: &View<'_>, wanted: &[String]) -> Vec<String> {
    view.pods
        .iter()
        .filter(|(name, pod)| !pod.is_over() && !wanted.contains(name) && !view.stopping.contains(*name))
        .map(|(name, _)| name.clone())
        .collect()
}
