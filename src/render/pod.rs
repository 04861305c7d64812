//! The pod of one attempt of a container step.

use k8s_openapi::api::core::v1::{
    Container, EnvVar, EnvVarSource, PersistentVolumeClaimVolumeSource, Pod, PodSchedulingGate, PodSecurityContext,
    PodSpec, SecretKeySelector, Volume, VolumeMount,
};

use super::{Owner, ROLE_LABEL, RUN_LABEL, STEP_LABEL, WORKFLOW_LABEL, pod_template};
use crate::core::coordination::{
    definition::COMPENSATE,
    view::{StartPod, Variable, VariableValue},
};

/// Name of the container in every step's pod.
pub const CONTAINER: &str = "step";
/// Label: Kueue's queue of a Job or pod (kueue.sigs.k8s.io, "Run Kubernetes Jobs" and "Run Plain Pods").
pub const KUEUE_QUEUE_LABEL: &str = "kueue.x-k8s.io/queue-name";
/// The gate that Kueue opens when it admits a pod.
const KUEUE_GATE: &str = "kueue.x-k8s.io/admission";
/// Name of the workspace's volume in every step's pod.
const VOLUME: &str = "workspace";
/// Group of the workspace's files; the number is that of `nonroot` in common images, and means nothing else.
const WORKSPACE_GROUP: i64 = 65532;
/// Annotation: which attempt of the step the pod is.
pub const ATTEMPT: &str = "medley.health/attempt";

/// The pod that fulfils a wish. It runs once: what follows a failure is the workflow's to decide.
#[must_use]
pub fn pod(owner: &Owner, wish: &StartPod) -> Pod {
    let mut labels = vec![
        (RUN_LABEL, owner.name.as_str()),
        (STEP_LABEL, wish.step.as_str()),
        (WORKFLOW_LABEL, wish.workflow.as_str()),
    ];
    if let Some(queue) = &wish.kueue_queue {
        labels.push((KUEUE_QUEUE_LABEL, queue));
    }
    if wish.attempt.step.ends_with(COMPENSATE) {
        labels.push((ROLE_LABEL, "compensation"));
    }
    let mut metadata = owner.metadata(&wish.name, &labels);
    metadata.annotations = Some([(ATTEMPT.to_owned(), wish.attempt.number.to_string())].into());
    let gate = |_: &String| vec![PodSchedulingGate { name: KUEUE_GATE.to_owned() }];
    Pod {
        metadata,
        spec: Some(PodSpec {
            active_deadline_seconds: Some(i64::try_from(wish.deadline.as_secs().max(1)).unwrap_or(i64::from(u32::MAX))),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            priority_class_name: Some(wish.urgency.priority_class().to_owned()),
            restart_policy: Some("Never".to_owned()),
            // Kueue's webhook would set it, too: with it here a pod never starts beside the quotas, whatever the webhook covers
            scheduling_gates: wish.kueue_queue.as_ref().map(gate),
            security_context: Some(security(wish)),
            volumes: wish.workspace.as_ref().map(|mount| {
                vec![Volume {
                    name: VOLUME.to_owned(),
                    persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                        claim_name: mount.claim.clone(),
                        read_only: None,
                    }),
                    ..Volume::default()
                }]
            }),
            termination_grace_period_seconds: Some(10),
            containers: vec![Container {
                name: CONTAINER.to_owned(),
                image: Some(wish.image.clone()),
                image_pull_policy: Some(wish.image_pull_policy.as_str().to_owned()),
                command: pod_template::words(&wish.command),
                args: pod_template::words(&wish.args),
                env: env(&wish.env),
                resources: pod_template::resources(wish.resources.as_ref()),
                security_context: Some(pod_template::container_security()),
                volume_mounts: wish.workspace.as_ref().map(|mount| {
                    vec![VolumeMount {
                        name: VOLUME.to_owned(),
                        mount_path: mount.path.clone(),
                        ..VolumeMount::default()
                    }]
                }),
                ..Container::default()
            }],
            ..PodSpec::default()
        }),
        status: None,
    }
}

/// The volume of the workspace belongs to one group, and all pods of the run are in it, whatever users they run as.
fn security(wish: &StartPod) -> PodSecurityContext {
    let mut context = pod_template::pod_security();
    if wish.workspace.is_some() {
        context.fs_group = Some(WORKSPACE_GROUP);
        // each further pod would otherwise walk through all files of those before it
        context.fs_group_change_policy = Some("OnRootMismatch".to_owned());
    }
    context
}

/// The environment as Kubernetes wants it; `None` when there is none.
fn env(variables: &[Variable]) -> Option<Vec<EnvVar>> {
    let list: Vec<_> = variables
        .iter()
        .map(|variable| {
            let (value, from) = match &variable.value {
                VariableValue::Text(text) => (Some(text.clone()), None),
                VariableValue::Secret(at) => {
                    let selector =
                        SecretKeySelector { name: at.secret.clone(), key: at.key.clone(), optional: Some(false) };
                    (None, Some(EnvVarSource { secret_key_ref: Some(selector), ..EnvVarSource::default() }))
                }
            };
            EnvVar { name: variable.name.clone(), value, value_from: from }
        })
        .collect();
    (!list.is_empty()).then_some(list)
}
