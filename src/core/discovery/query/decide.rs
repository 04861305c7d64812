//! The one decision about a `ServiceQuery`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;

use super::{
    answer::{Answer, answer},
    filter,
    status::{self, Findings},
    view::{QueryDecision, QueryView},
};
use crate::{
    api::{Protocol, ServiceQuerySpec, ServiceQueryStatus},
    core::discovery::{
        decision::{OwnedKind, Wanted},
        defaults,
        view::Ownership,
    },
    render::{
        Owner,
        endpoint_slice::{self, Family, SliceWish},
        service,
    },
};

/// Decides what should be, from what is.
///
/// Deciding again on the result asks for nothing new: the same objects, and no status. A query that cannot be read keeps its last answer.
#[must_use]
pub fn decide(view: &QueryView<'_>, now: Timestamp) -> QueryDecision {
    if view.query.metadata.deletion_timestamp.is_some() {
        // the garbage collector removes what the query owns
        return QueryDecision::default();
    }
    let (owner, spec) = (view.owner(), &view.query.spec);
    let last = view.query.status.as_ref().map(|s| s.matches.as_slice()).unwrap_or_default();
    let mut decision = QueryDecision::default();
    let condition = spec.where_.as_deref().map(filter::compile).transpose();
    let findings = match &condition {
        Err(problem) => Findings { problem: Some(format!("spec.where: {problem}")), ..Findings::default() },
        Ok(condition) => {
            let answer = answer(spec, condition.as_ref(), view.services, view.signals, last);
            decision.wanted = objects(&owner, spec, &answer);
            let obstacle = give_way(view, &owner, &mut decision);
            decision.unwanted.extend(unwanted(view, &owner, &decision));
            // the slices are written before the status that speaks of them, so they need not be waited for
            let programmed =
                view.core_service.is_some() && decision.wanted.iter().any(|w| w.kind() == OwnedKind::Service);
            Findings { problem: None, obstacle, programmed, answer: Some(answer) }
        }
    };
    let next: ServiceQueryStatus = status::status(view, &findings, now);
    let present = view.query.status.as_ref();
    if present != Some(&next) {
        decision.notes = status::notes(present, &next);
        decision.status = Some(ServiceQueryStatus { leader_epoch: Some(view.epoch), ..next });
    }
    decision
}

/// The Service, and a slice for each port number and family of the answer.
fn objects(owner: &Owner, spec: &ServiceQuerySpec, answer: &Answer<'_>) -> Vec<Wanted> {
    let name = defaults::query_port(spec);
    let mut slices: BTreeMap<(u16, Family), BTreeMap<_, Option<&String>>> = BTreeMap::new();
    for found in &answer.matches {
        let (endpoint, zone) = (found.candidate.known.endpoint, found.candidate.known.zone.as_ref());
        let addresses = slices.entry((endpoint.port(), Family::of(endpoint.ip()))).or_default();
        // two services may have registered the same host: it is in the slice once, whichever of them is the better one
        addresses.entry(endpoint.ip()).and_modify(|z| *z = (*z).max(zone)).or_insert(zone);
    }
    let wishes = slices.into_iter().map(|((port, family), addresses)| SliceWish {
        interface: name.clone(),
        port,
        app_protocol: spec.protocol.and_then(Protocol::app_protocol),
        family,
        addresses: addresses.into_iter().map(|(address, zone)| (address, zone.cloned())).collect(),
    });
    let slices = wishes.map(|wish| Wanted::EndpointSlice(Box::new(endpoint_slice::of_query(owner, &wish))));
    std::iter::once(Wanted::Service(Box::new(service::of_query(owner, spec)))).chain(slices).collect()
}

/// Leaves alone a Service that has the name but is somebody else's; whose it is.
fn give_way(view: &QueryView<'_>, owner: &Owner, decision: &mut QueryDecision) -> Option<Ownership> {
    let present = view.core_service?;
    let ownership = Ownership::of(owner, &present.metadata);
    if ownership != Ownership::Ours {
        // slices carry the Service's name: beside a foreign Service they would take its traffic
        decision.wanted.clear();
        return Some(ownership);
    }
    if has_selector(present) {
        // somebody has given it one, and Kubernetes fills slices of its own: the Service is made anew
        decision.wanted.clear();
        decision.unwanted.push((OwnedKind::Service, owner.name.clone()));
    }
    None
}

fn has_selector(service: &Service) -> bool {
    service.spec.as_ref().and_then(|s| s.selector.as_ref()).is_some_and(|s| !s.is_empty())
}

/// Slices of this query that nothing asks for any more.
fn unwanted(view: &QueryView<'_>, owner: &Owner, decision: &QueryDecision) -> Vec<(OwnedKind, String)> {
    let wanted: BTreeSet<&str> =
        decision.wanted.iter().filter(|w| w.kind() == OwnedKind::EndpointSlice).map(Wanted::name).collect();
    let present = view.own_slices(owner).filter(|s| s.metadata.deletion_timestamp.is_none());
    let names: BTreeSet<&String> = present.filter_map(|s| s.metadata.name.as_ref()).collect();
    names
        .into_iter()
        .filter(|name| !wanted.contains(name.as_str()))
        .map(|name| (OwnedKind::EndpointSlice, name.clone()))
        .collect()
}
