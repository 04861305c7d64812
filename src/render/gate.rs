//! The readiness gate of a workload's pods: how a pod is made with it, and how what medley found is written into a pod.

use k8s_openapi::{
    api::core::v1::{Pod, PodCondition, PodReadinessGate, PodStatus},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};

use crate::{
    api::interface::Interface,
    core::{
        discovery::{defaults, gate::Gate},
        name,
    },
};

/// Type of the condition that a pod with the gate needs in order to be ready.
pub const CONDITION: &str = "medley.health/protocol";
/// Label of pods with the gate: a hash of the probes that they were made for. A pod of another template is left as it is, since
/// what is asked of its successors may be nothing that it can do.
pub const LABEL: &str = "medley.health/gate";

/// The hash of all that medley's probes of these interfaces depend on; `None` where it probes none of them.
#[must_use]
pub fn fingerprint(interfaces: &[Interface]) -> Option<String> {
    let mut gated: Vec<Interface> = interfaces.iter().filter(|i| defaults::gated(i)).cloned().collect();
    if gated.is_empty() {
        return None;
    }
    gated.sort_by(|a, b| a.name.cmp(&b.name));
    for interface in &mut gated {
        // the Service's port is nothing that a pod knows of
        (interface.port, interface.target_port) = (defaults::target_port(interface), None);
    }
    // every field is a string, a number, a list or an object: it always serializes
    let text = serde_json::to_vec(&gated).unwrap_or_default();
    Some(name::digest([text.as_slice()])[..16].to_owned())
}

/// The gate in the spec of a pod.
#[must_use]
pub fn gate() -> PodReadinessGate {
    PodReadinessGate { condition_type: CONDITION.to_owned() }
}

/// What is applied to a pod's status: the one condition, to this very pod in this version.
#[must_use]
pub fn wish(namespace: &str, gate: &Gate) -> Pod {
    let condition = PodCondition {
        type_: CONDITION.to_owned(),
        status: if gate.holds { "True" } else { "False" }.to_owned(),
        reason: Some(gate.reason.to_owned()),
        message: Some(gate.message.clone()),
        last_transition_time: Some(Time(gate.since)),
        ..PodCondition::default()
    };
    Pod {
        metadata: ObjectMeta {
            name: Some(gate.pod.clone()),
            namespace: Some(namespace.to_owned()),
            uid: Some(gate.uid.clone()),
            resource_version: Some(gate.version.clone()),
            ..ObjectMeta::default()
        },
        spec: None,
        status: Some(PodStatus { conditions: Some(vec![condition]), ..PodStatus::default() }),
    }
}
