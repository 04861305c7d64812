//! The Indexed Job that runs the items of a container step.
//!
//! Source: Kubernetes documentation, "Job", sections "Completion mode", "Backoff limit per index", "Pod failure policy" and
//! "Pod replacement policy".

use k8s_openapi::api::{
    batch::v1::{
        Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
        PodFailurePolicyRule,
    },
    core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, PodTemplateSpec},
};

use super::{
    ITEM_OF_LABEL, Owner, RUN_LABEL, STEP_LABEL, WORKFLOW_LABEL,
    pod::{KUEUE_QUEUE_LABEL, pod},
};
use crate::core::coordination::{
    definition::{INDEX_VARIABLE, ITEMS_VARIABLE},
    view::{StartJob, StartPod},
};

/// Exit code of a container that SIGTERM has ended.
const SIGTERM: i32 = 143;

/// Annotation that the Job controller gives each pod: its index.
const INDEX: &str = "metadata.annotations['batch.kubernetes.io/job-completion-index']";

/// The Job that fulfils a wish. Its pods carry no label of the run: their Job's status tells what matters, and a run is not
/// looked at for each of them.
#[must_use]
pub fn job(owner: &Owner, wish: &StartJob) -> Job {
    let mut labels = vec![
        (RUN_LABEL, owner.name.as_str()),
        (STEP_LABEL, wish.pod.step.as_str()),
        (WORKFLOW_LABEL, wish.pod.workflow.as_str()),
    ];
    let queue = wish.pod.kueue_queue.as_deref();
    labels.extend(queue.map(|queue| (KUEUE_QUEUE_LABEL, queue)));
    // Kueue holds the Job, not each of its pods
    let one = pod(owner, &StartPod { kueue_queue: None, ..wish.pod.clone() });
    let mut metadata = one.metadata;
    metadata.name = None;
    metadata.namespace = None;
    metadata.owner_references = None;
    metadata.annotations = None;
    if let Some(labels) = &mut metadata.labels
        && let Some(run) = labels.remove(RUN_LABEL)
    {
        labels.insert(ITEM_OF_LABEL.to_owned(), run);
    }
    let mut spec = one.spec.unwrap_or_default();
    for container in &mut spec.containers {
        let given = container.env.take().unwrap_or_default();
        container.env = Some(variables(wish).into_iter().chain(given).collect());
    }
    let count = |n: u32| Some(i32::try_from(n).unwrap_or(i32::MAX));
    Job {
        metadata: owner.metadata(&wish.pod.name, &labels),
        spec: Some(JobSpec {
            active_deadline_seconds: Some(i64::try_from(wish.deadline.as_secs().max(1)).unwrap_or(i64::MAX)),
            backoff_limit_per_index: count(wish.retries),
            completion_mode: Some("Indexed".to_owned()),
            completions: count(wish.total),
            parallelism: count(wish.parallel),
            max_failed_indexes: count(wish.tolerated),
            suspend: queue.map(|_| true),
            pod_failure_policy: wish.interruptible.then(|| disruptions_cost_nothing(queue.is_some())),
            // a pod is made anew when the one before has ended, not when it is told to
            pod_replacement_policy: Some("Failed".to_owned()),
            template: PodTemplateSpec { metadata: Some(metadata), spec: Some(spec) },
            ..JobSpec::default()
        }),
        status: None,
    }
}

/// The variables that medley gives, before those of the step, which may use them.
fn variables(wish: &StartJob) -> Vec<EnvVar> {
    let field = ObjectFieldSelector { api_version: None, field_path: INDEX.to_owned() };
    let from = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    let index = EnvVar { name: INDEX_VARIABLE.to_owned(), value_from: Some(from), ..EnvVar::default() };
    let items = wish.items.clone().map(|items| EnvVar {
        name: ITEMS_VARIABLE.to_owned(),
        value: Some(items),
        ..EnvVar::default()
    });
    std::iter::once(index).chain(items).collect()
}

/// A Job that is suspended has its pods deleted without the condition: those that SIGTERM has ended show it by their exit code.
fn disruptions_cost_nothing(may_be_suspended: bool) -> PodFailurePolicy {
    let disrupted = PodFailurePolicyOnPodConditionsPattern {
        status: Some("True".to_owned()),
        type_: "DisruptionTarget".to_owned(),
    };
    let mut rules = vec![PodFailurePolicyRule {
        action: "Ignore".to_owned(),
        on_pod_conditions: Some(vec![disrupted]),
        ..PodFailurePolicyRule::default()
    }];
    if may_be_suspended {
        let terminated = PodFailurePolicyOnExitCodesRequirement {
            operator: "In".to_owned(),
            values: vec![SIGTERM],
            container_name: None,
        };
        rules.push(PodFailurePolicyRule {
            action: "Ignore".to_owned(),
            on_exit_codes: Some(terminated),
            ..PodFailurePolicyRule::default()
        });
    }
    PodFailurePolicy { rules }
}
