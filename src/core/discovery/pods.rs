//! The endpoints that Kubernetes keeps for the pods of a service, read from its `EndpointSlice`s.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;

use super::{defaults, view::ServiceView};
use crate::{
    api::{
        instances::Identity,
        medical_service::{EndpointReason, EndpointStatus},
    },
    render::{Owner, stateful_set},
};

/// What one slice says of one pod.
struct Seen {
    ready: bool,
    reason: EndpointReason,
    zone: Option<String>,
    dns_name: Option<String>,
}

/// The endpoints, ordered by address. `since` is kept while `ready` stays. `gated`: why pods are not ready whose containers are.
pub(super) fn endpoints(
    view: &ServiceView<'_>,
    owner: &Owner,
    gated: &BTreeMap<IpAddr, EndpointReason>,
    now: Timestamp,
) -> Vec<EndpointStatus> {
    let stable = view.service.spec.workload.as_ref().is_some_and(|w| defaults::identity(w) == Identity::Stable);
    let instances = stable
        .then(|| format!("{}.{}.svc.{}", stateful_set::instances(&owner.name), owner.namespace, view.cluster_domain));
    let mut pods: BTreeMap<IpAddr, Seen> = BTreeMap::new();
    for endpoint in view.pod_slices(owner).flat_map(|s| s.endpoints.iter().flatten()) {
        let conditions = endpoint.conditions.as_ref();
        // no word means ready (Kubernetes API)
        let ready = conditions.and_then(|c| c.ready) != Some(false);
        let terminating = conditions.and_then(|c| c.terminating) == Some(true);
        let pod_reason = match (ready, terminating) {
            (true, _) => EndpointReason::Healthy,
            (false, true) => EndpointReason::Terminating,
            (false, false) => EndpointReason::PodNotReady,
        };
        for address in endpoint.addresses.iter().filter_map(|a| a.parse().ok()) {
            // whoever may write a slice could name any address
            let refused = view.guard.refusal(address).is_some();
            let reason = match (refused, pod_reason) {
                (true, _) => EndpointReason::AddressRefused,
                (false, EndpointReason::PodNotReady) => gated.get(&address).copied().unwrap_or(pod_reason),
                (false, other) => other,
            };
            let dns_name = instances.as_deref().and_then(|domain| {
                let pod = endpoint.target_ref.as_ref().filter(|r| r.kind.as_deref() == Some("Pod"))?.name.as_deref()?;
                Some(format!("{pod}.{domain}"))
            });
            let seen = Seen { ready: ready && !refused, reason, zone: endpoint.zone.clone(), dns_name };
            // while a pod moves from one slice to another it may be in both: ready wins, then the lower reason, so that the
            // order of the slices does not matter
            let better = pods.get(&address).is_none_or(|old| {
                (!seen.ready, seen.reason, &seen.zone, &seen.dns_name)
                    < (!old.ready, old.reason, &old.zone, &old.dns_name)
            });
            if better {
                pods.insert(address, seen);
            }
        }
    }
    let told: BTreeMap<&str, &EndpointStatus> = view
        .service
        .status
        .iter()
        .flat_map(|s| &s.endpoints)
        .filter(|e| e.interface.is_none() && e.host.is_none())
        .map(|e| (e.address.as_str(), e))
        .collect();
    pods.into_iter()
        .map(|(address, seen)| {
            let address = address.to_string();
            let since = told.get(address.as_str()).filter(|e| e.ready == seen.ready).map_or(now, |e| e.since);
            EndpointStatus {
                address,
                interface: None,
                host: None,
                zone: seen.zone,
                ready: seen.ready,
                reason: seen.reason,
                since,
                dns_name: seen.dns_name,
                certificate_expires: None,
            }
        })
        .collect()
}
