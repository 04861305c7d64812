//! The pod of one attempt of a container step.

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Pod, PodSpec, SecretKeySelector};

use super::{Owner, ROLE_LABEL, RUN_LABEL, STEP_LABEL, WORKFLOW_LABEL, pod_template};
use crate::core::coordination::{definition::COMPENSATE, view::{StartPod, Variable, VariableValue}};

/// Name of the container in every step's pod.
pub const CONTAINER: &str = "step";
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
    if wish.attempt.step.ends_with(COMPENSATE) {
        labels.push((ROLE_LABEL, "compensation"));
    }
    let mut metadata = owner.metadata(&wish.name, &labels);
    metadata.annotations = Some([(ATTEMPT.to_owned(), wish.attempt.number.to_string())].into());
    Pod {
        metadata,
        spec: Some(PodSpec {
            active_deadline_seconds: Some(i64::try_from(wish.deadline.as_secs().max(1)).unwrap_or(i64::from(u32::MAX))),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            priority_class_name: Some(wish.urgency.priority_class().to_owned()),
            restart_policy: Some("Never".to_owned()),
            security_context: Some(pod_template::pod_security()),
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
                ..Container::default()
            }],
            ..PodSpec::default()
        }),
        status: None,
    }
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
