//! The one decision about a `MedicalService`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::{
    api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Service},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    decision::{OwnedKind, ServiceDecision, Wanted},
    defaults, external, gate, pods,
    rollout::{self, Goal, Progress},
    status::{self, Findings, Obstacle},
    view::{Ownership, ServiceView},
};
use crate::{
    api::{
        MedicalServiceSpec, MedicalServiceStatus,
        instances::Identity,
        medical_service::{External, Select, Workload},
    },
    render::{Owner, autoscaler, deployment, disruption_budget, endpoint_slice, service, stateful_set},
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
            let gated = gate::outlook(view, owner, spec, now);
            let (wanted, present, goal) = match defaults::identity(workload) {
                Identity::Interchangeable => {
                    let present = view.deployment.and_then(|d| d.spec.as_ref()?.replicas);
                    let replicas = defaults::replicas(spec, workload, present);
                    let wanted = deployment::deployment(owner, spec, workload, replicas);
                    let goal = Goal::from(&wanted);
                    (vec![Wanted::Deployment(Box::new(wanted))], view.deployment.map(Progress::from), goal)
                }
                Identity::Stable => {
                    let present = view.stateful_set.and_then(|s| s.spec.as_ref()?.replicas);
                    let replicas = defaults::replicas(spec, workload, present);
                    let wanted = stateful_set::stateful_set(owner, spec, workload, replicas);
                    let goal = Goal::from(&wanted);
                    let names = stateful_set::headless(owner, &spec.interfaces);
                    let wanted = vec![Wanted::Service(Box::new(names)), Wanted::StatefulSet(Box::new(wanted))];
                    (wanted, view.stateful_set.map(Progress::from), goal)
                }
            };
            let goal = goal.scaled(spec.autoscaling.as_ref().map(|_| defaults::fewest(spec, workload)));
            findings.rollout = Some(rollout::rollout(view.service, present.as_ref(), &goal, &gated.held));
            decision.wanted.extend(wanted);
            if let Some(autoscaling) = &spec.autoscaling {
                let autoscaler = autoscaler::autoscaler(owner, defaults::identity(workload), autoscaling);
                decision.wanted.push(Wanted::HorizontalPodAutoscaler(Box::new(autoscaler)));
            }
            if defaults::fewest(spec, workload) >= 2 {
                let budget = disruption_budget::disruption_budget(owner);
                decision.wanted.push(Wanted::PodDisruptionBudget(Box::new(budget)));
            }
            findings.endpoints = pods::endpoints(view, owner, &gated.reasons, now);
            findings.remarks = gated.remarks;
            findings.remarks.extend(view.autoscaler.filter(|_| spec.autoscaling.is_some()).and_then(idle));
            (decision.probes, decision.gates) = (gated.probes, gated.gates);
            Some(deployment::selector(&owner.name))
        }
        Backend::Select(select) => {
            findings.endpoints = pods::endpoints(view, owner, &BTreeMap::new(), now);
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

/// Why an autoscaler does nothing.
fn idle(autoscaler: &HorizontalPodAutoscaler) -> Option<String> {
    let conditions = autoscaler.status.as_ref()?.conditions.iter().flatten();
    let mut failing =
        conditions.filter(|c| matches!(c.type_.as_str(), "ScalingActive" | "AbleToScale") && c.status == "False");
    let reason = failing.next()?.reason.as_deref().unwrap_or("for no reason that it tells");
    Some(format!(
        "the autoscaler does not scale ({reason}): look at the HorizontalPodAutoscaler, and whether metrics-server is there"
    ))
}

/// Leaves alone what has the name but is somebody else's.
fn give_way(view: &ServiceView<'_>, owner: &Owner, decision: &mut ServiceDecision, findings: &mut Findings) {
    for (kind, name, metadata) in present(view, owner) {
        let Some(ownership) = metadata.map(|m| Ownership::of(owner, m)).filter(|o| *o != Ownership::Ours) else {
            continue;
        };
        let is_it = |w: &Wanted| w.kind() == kind && w.name() == name;
        if !decision.wanted.iter().any(is_it) {
            continue;
        }
        // slices carry the Service's name: beside a foreign Service they would take its traffic
        let slices_too = kind == OwnedKind::Service && name == owner.name;
        decision.wanted.retain(|w| !(is_it(w) || slices_too && w.kind() == OwnedKind::EndpointSlice));
        findings.obstacles.push(Obstacle { kind, name, ownership });
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

/// What has the names of this service's single objects, whoever made it.
fn present<'a>(view: &ServiceView<'a>, owner: &Owner) -> Vec<(OwnedKind, String, Option<&'a ObjectMeta>)> {
    let name = || owner.name.clone();
    vec![
        (OwnedKind::Service, name(), view.core_service.map(|o| &o.metadata)),
        (OwnedKind::Service, stateful_set::instances(&owner.name), view.instances.map(|o| &o.metadata)),
        (OwnedKind::Deployment, name(), view.deployment.map(|o| &o.metadata)),
        (OwnedKind::StatefulSet, name(), view.stateful_set.map(|o| &o.metadata)),
        (OwnedKind::HorizontalPodAutoscaler, name(), view.autoscaler.map(|o| &o.metadata)),
        (OwnedKind::PodDisruptionBudget, name(), view.budget.map(|o| &o.metadata)),
    ]
}

fn has_selector(service: &Service) -> bool {
    service.spec.as_ref().and_then(|s| s.selector.as_ref()).is_some_and(|s| !s.is_empty())
}

/// Objects of this service that nothing asks for any more.
fn unwanted(view: &ServiceView<'_>, owner: &Owner, decision: &ServiceDecision) -> Vec<(OwnedKind, String)> {
    let wanted: BTreeSet<(OwnedKind, &str)> = decision.wanted.iter().map(|w| (w.kind(), w.name())).collect();
    // the service's own Service stays as long as the service does
    let single =
        present(view, owner).into_iter().filter(|(kind, name, _)| (*kind, name) != (OwnedKind::Service, &owner.name));
    let single = single.filter_map(|(kind, _, metadata)| Some((kind, metadata?)));
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
    let name = view.service.metadata.name.as_deref().unwrap_or_default();
    view.core_service.is_some() && decision.wanted.iter().any(|w| w.kind() == OwnedKind::Service && w.name() == name)
}

/// The status, when it is another one, and the events of the change.
fn report(view: &ServiceView<'_>, findings: Findings, now: Timestamp, decision: &mut ServiceDecision) {
    let present = view.service.status.as_ref();
    let written = present.and_then(|s| s.measurements.as_ref());
    if present == Some(&status::status(view, &findings, view.measured.told(written), now)) {
        return;
    }
    // what is written anyway tells the newest
    let next = status::status(view, &findings, view.measured.newest(written), now);
    decision.notes = status::notes(present, &next);
    decision.status = Some(MedicalServiceStatus { leader_epoch: Some(view.epoch), ..next });
}
