//! The parts that every pod of medley shares: restricted pod security, no API token.
//!
//! Source: Kubernetes Pod Security Standards, profile "restricted".

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, EnvVar as CoreEnvVar, PodSecurityContext, ResourceRequirements, SeccompProfile, SecurityContext,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use crate::api::medical_service::{EnvVar, Resources};

/// Pod-level half of the restricted profile.
#[must_use]
pub fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
        ..PodSecurityContext::default()
    }
}

/// Container-level half of the restricted profile.
#[must_use]
pub fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

/// Environment variables as Kubernetes wants them; `None` when there are none.
#[must_use]
pub fn env(vars: &[EnvVar]) -> Option<Vec<CoreEnvVar>> {
    let list: Vec<_> = vars
        .iter()
        .map(|v| CoreEnvVar { name: v.name.clone(), value: Some(v.value.clone()), ..CoreEnvVar::default() })
        .collect();
    (!list.is_empty()).then_some(list)
}

/// Requests and limits as Kubernetes wants them.
#[must_use]
pub fn resources(resources: Option<&Resources>) -> Option<ResourceRequirements> {
    let quantities = |map: &BTreeMap<String, String>| {
        (!map.is_empty()).then(|| map.iter().map(|(k, v)| (k.clone(), Quantity(v.clone()))).collect())
    };
    resources.map(|r| ResourceRequirements {
        requests: quantities(&r.requests),
        limits: quantities(&r.limits),
        claims: None,
    })
}

/// `None` for an empty list: an empty `command` would be kept as "no command given" by some readers only.
#[must_use]
pub fn words(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}
