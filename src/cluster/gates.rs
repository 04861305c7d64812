//! Readiness gates of pods: what is kept of such pods, and how one is told.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};

use crate::{
    cluster::{
        cache::Cache,
        error::{Class, Error},
        observe::Caches,
        perform::Writer,
    },
    core::{discovery::gate::Gate, name::Key},
    render::{MANAGER, gate},
};

/// Keeps of a pod with a gate what is decided on: who it is, where it is, and whether it is ready but for the gate.
pub fn prune_gated_pod(pod: &mut Pod) {
    pod.spec = None;
    pod.metadata.annotations = None;
    pod.metadata.owner_references = None;
    if let Some(status) = pod.status.take() {
        let conditions = status.conditions.into_iter().flatten();
        let counts = |type_: &str| matches!(type_, "ContainersReady" | gate::CONDITION);
        pod.status = Some(PodStatus {
            phase: status.phase,
            pod_ip: status.pod_ip,
            conditions: Some(conditions.filter(|c| counts(&c.type_)).collect()),
            ..PodStatus::default()
        });
    }
}

impl Caches {
    /// The pods with a gate that carry a service's labels.
    #[must_use]
    pub fn gated_pods_of(&self, key: &Key) -> Vec<Arc<Pod>> {
        self.gated_pods.in_group(&key.namespace, &key.name).into_iter().map(|(_, pod)| pod).collect()
    }
}

impl Writer {
    /// Tells a pod of its readiness, in the version that was decided on. After a conflict the cache holds the pod as it is now, for the
    /// next decision.
    ///
    /// # Errors
    /// As every call.
    pub async fn tell_gate(&self, namespace: &str, told: &Gate, cache: &Cache<Pod>) -> Result<(), Error> {
        let wish = gate::wish(namespace, told);
        let (api, params) = (self.api::<Pod>(namespace), PatchParams::apply(MANAGER).force());
        let written = self.call::<Pod, _>("patch", api.patch_status(&told.pod, &params, &Patch::Apply(&wish))).await;
        match written {
            Err(error) if error.class() == Class::Conflict => {
                let key = Key::new(namespace, &told.pod);
                let found = self.read::<Pod>(namespace, &told.pod).await?;
                match found.filter(|pod| pod.labels().contains_key(gate::LABEL)) {
                    Some(pod) => keep(pod, cache),
                    // another one, which no watch shows: nothing would take it out of the cache again
                    None => cache.gone(&key),
                }
                Err(error)
            }
            Err(error) => Err(error),
            Ok(pod) => {
                keep(pod, cache);
                Ok(())
            }
        }
    }
}

fn keep(mut pod: Pod, cache: &Cache<Pod>) {
    pod.metadata.managed_fields = None;
    prune_gated_pod(&mut pod);
    cache.wrote(pod);
}
