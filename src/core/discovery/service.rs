//! The one decision about a `MedicalService`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Service, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{
    decision::{OwnedKind, ServiceDecision, Wanted},
    defaults, external, pods, rollout,
    status::{self, Findings, Obstacle},
    view::{Ownership, ServiceView},
};
use crate::{
    api::{
        MedicalServiceSpec, MedicalServiceStatus,
        medical_service::{External, Select, Workload},
    },
    render::{Owner, deployment, disruption_budget, endpoint_slice, service},
};

/// Who runs the service.
enum Backend<'a> {
    Workload(&'a Workload),
    Select(&'a Select),
    External(&'a External),
}

impl<'a> Backend<'a> {
    fn of(spec: &'a MedicalServiceSpec) -> Option<Self> {
        match (&spec.workload, &spec.select, &spec.external) {
            (Some(workload), None, None) => Some(Self::Workload(workload)),
            (None, Some(select), None) => Some(Self::Select(select)),
            (None, None, Some(external)) => Some(Self::External(external)),
            _ => None,
        }
    }
}

/// Decides what should be, from what is.
///
/// Deciding again on the result asks for nothing new: the same objects, and no status.
#[must_use]
pub fn decide(view: &ServiceView<'_>, now: Timestamp) -> ServiceDecision {
    if view.service.metadata.deletion_timestamp.is_some() {
        // the garbage collector removes what the service owns
        return ServiceDecision::default();
    }
    let owner = view.owner();
    let mut decision = ServiceDecision::default();
    let mut findings = Findings::default();
    match Backend::of(&view.service.spec) {
        Some(backend) => {
            apply(view, &owner, &backend, now, &mut decision, &mut findings);
            give_way(view, &owner, &mut decision, &mut findings);
            decision.unwanted.extend(unwanted(view, &owner, &decision));
            findings.programmed = programmed(view, &decision);
        }
        None => {
            findings.problems.push(
                "spec: exactly one of workload, select and external must be set; set one and remove the others"
                    .to_owned(),
            );
            findings.endpoints = view.service.status.iter().flat_map(|s| s.endpoints.clone()).collect();
        }
    }
    report(view, findings, now, &mut decision);
    decision
}

/// The objects and endpoints of each kind of backend.
fn apply(
    view: &ServiceView<'_>,
    owner: &Owner,
    backend: &Backend<'_>,
    now: Timestamp,
    decision: &mut ServiceDecision,
    findings: &mut Findings,
) {
    let spec = &view.service.spec;
    let selector = match backend {
        Backend::Workload(workload) => {
            let wanted = deployment::deployment(owner, spec, workload);
            findings.rollout = Some(rollout::rollout(view.service, view.deployment, &wanted));
            decision.wanted.push(Wanted::Deployment(Box::new(wanted)));
            if defaults::replicas(workload) >= 2 {
                let budget = disruption_budget::disruption_budget(owner);
                decision.wanted.push(Wanted::PodDisruptionBudget(Box::new(budget)));
            }
            findings.endpoints = pods::endpoints(view, owner, now);
            Some(deployment::selector(&owner.name))
        }
        Backend::Select(select) => {
            findings.endpoints = pods::endpoints(view, owner, now);
            Some(select.match_labels.clone())
        }
        Backend::External(external) => {
            let outlook = external::outlook(view, owner, spec, external, now);
            let slices = outlook.slices.iter().map(|wish| endpoint_slice::endpoint_slice(owner, wish));
            decision.wanted.extend(slices.map(|s| Wanted::EndpointSlice(Box::new(s))));
            decision.probes = outlook.probes;
            decision.hosts = outlook.hosts;
            findings.endpoints = outlook.endpoints;
            findings.problems = outlook.problems;
            findings.remarks = outlook.remarks;
            None
        }
    };
    let wanted = service::service(owner, &spec.interfaces, selector.as_ref());
    decision.wanted.insert(0, Wanted::Service(Box::new(wanted)));
}

/// Leaves alone what has the name but is somebody else's.
fn give_way(view: &ServiceView<'_>, owner: &Owner, decision: &mut ServiceDecision, findings: &mut Findings) {
    let present = [
        (OwnedKind::Service, view.core_service.map(|o| &o.metadata)),
        (OwnedKind::Deployment, view.deployment.map(|o| &o.metadata)),
        (OwnedKind::PodDisruptionBudget, view.budget.map(|o| &o.metadata)),
    ];
    for (kind, metadata) in present {
        let Some(ownership) = metadata.map(|m| Ownership::of(owner, m)).filter(|o| *o != Ownership::Ours) else {
            continue;
        };
        if !decision.wanted.iter().any(|w| w.kind() == kind) {
            continue;
        }
        findings.obstacles.push(Obstacle { kind, ownership });
        // slices carry the Service's name: beside a foreign Service they would take its traffic
        let slices_too = kind == OwnedKind::Service;
        decision.wanted.retain(|w| w.kind() != kind && !(slices_too && w.kind() == OwnedKind::EndpointSlice));
    }
    if decision.wanted.iter().any(|w| matches!(w, Wanted::Service(s) if !has_selector(s)))
        && view.core_service.is_some_and(has_selector)
    {
        // Kubernetes' controllers leave the slices of the pods behind when a Service loses its selector, and traffic would
        // go on to them: the Service is made anew
        decision.wanted.retain(|w| !matches!(w.kind(), OwnedKind::Service | OwnedKind::EndpointSlice));
        decision.unwanted.push((OwnedKind::Service, owner.name.clone()));
    }
}

fn has_selector(service: &Service) -> bool {
    service.spec.as_ref().and_then(|s| s.selector.as_ref()).is_some_and(|s| !s.is_empty())
}

/// Objects of this service that nothing asks for any more.
fn unwanted(view: &ServiceView<'_>, owner: &Owner, decision: &ServiceDecision) -> Vec<(OwnedKind, String)> {
    let wanted: BTreeSet<(OwnedKind, &str)> = decision.wanted.iter().map(|w| (w.kind(), w.name())).collect();
    let single = [
        (OwnedKind::Deployment, view.deployment.map(|o| &o.metadata)),
        (OwnedKind::PodDisruptionBudget, view.budget.map(|o| &o.metadata)),
    ];
    let single = single.into_iter().filter_map(|(kind, metadata)| Some((kind, metadata?)));
    let slices = view.own_slices(owner).map(|s| (OwnedKind::EndpointSlice, &s.metadata));
    let gone = |m: &ObjectMeta| m.deletion_timestamp.is_some();
    let mut list: Vec<_> = single
        .chain(slices)
        .filter(|(_, metadata)| owner.controls(metadata) && !gone(metadata))
        .filter_map(|(kind, metadata)| Some((kind, metadata.name.clone()?)))
        .filter(|(kind, name)| !wanted.contains(&(*kind, name.as_str())))
        .collect();
    list.sort();
    list.dedup();
    list
}

/// Whether the Service is there. The slices are written before the status that speaks of them, so they need not be waited for:
/// another address family must not make a service unready for a moment.
fn programmed(view: &ServiceView<'_>, decision: &ServiceDecision) -> bool {
    view.core_service.is_some() && decision.wanted.iter().any(|w| w.kind() == OwnedKind::Service)
}

/// The status, when it is another one, and the events of the change.
fn report(view: &ServiceView<'_>, findings: Findings, now: Timestamp, decision: &mut ServiceDecision) {
    let next: MedicalServiceStatus = status::status(view, &findings, now);
    let present = view.service.status.as_ref();
    if present == Some(&next) {
        return;
    }
    decision.notes = status::notes(present, &next);
    decision.status = Some(MedicalServiceStatus { leader_epoch: Some(view.epoch), ..next });
}
