//! The endpoints that Kubernetes keeps for the pods of a service, read from its `EndpointSlice`s.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;

use super::view::ServiceView;
use crate::{
    api::medical_service::{EndpointReason, EndpointStatus},
    render::Owner,
};

/// What one slice says of one pod.
struct Seen {
    ready: bool,
    reason: EndpointReason,
    zone: Option<String>,
}

/// The endpoints, ordered by address. `since` is kept while `ready` stays.
pub(super) fn endpoints(view: &ServiceView<'_>, owner: &Owner, now: Timestamp) -> Vec<EndpointStatus> {
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
            let reason = if refused { EndpointReason::AddressRefused } else { pod_reason };
            let seen = Seen { ready: ready && !refused, reason, zone: endpoint.zone.clone() };
            // while a pod moves from one slice to another it may be in both: ready wins, then the lower reason, so that the
            // order of the slices does not matter
            let better = pods
                .get(&address)
                .is_none_or(|old| (!seen.ready, seen.reason, &seen.zone) < (!old.ready, old.reason, &old.zone));
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
                certificate_expires: None,
            }
        })
        .collect()
}
