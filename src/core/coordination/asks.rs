//! What a run's steps ask for, told by its status alone: all that is at work goes on, and every service answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use jiff::Timestamp;

use crate::{
    api::{
        WorkflowRun,
        dicom::DicomInterface,
        vocabulary::Protocol,
        workflow_run::{RunPhase, StepStatus},
    },
    core::{
        coordination::{
            capacity::SchedulingView,
            definition::{Action, Callee, Definition, with_ids},
            fan_out::{at_work, children},
            run::decide,
            view::{
                Attempt, ChildView, DefinitionView, InterfaceView, JobView, PodView, ServiceShare, ServiceView, View,
            },
        },
        dispatch::Limits,
        scheduling::Demand,
    },
};

/// Name of the interface that answers where none is named.
const FIRST: &str = "first";
/// Where every service is: an address for documentation (RFC 5737).
const ENDPOINT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 80);

/// The services that a definition calls, all of which answer.
#[must_use]
pub fn reachable(definition: &Definition) -> BTreeMap<String, ServiceView> {
    let mut services: BTreeMap<String, ServiceView> = BTreeMap::new();
    for step in definition.every_step() {
        let Action::Call(call) = &step.action else { continue };
        let (callee, interface) = match &call.callee {
            Callee::Service { name, interface } => (name, interface.clone()),
            Callee::Query(name) => (name, None),
        };
        let service = services.entry(callee.clone()).or_insert_with(|| ServiceView {
            dns_name: format!("{callee}.simulated.svc.cluster.local"),
            interfaces: Vec::new(),
        });
        let name = interface.unwrap_or_else(|| FIRST.to_owned());
        let fits = |i: &InterfaceView| i.name == name && call.request.fits(i.protocol);
        if !service.interfaces.iter().any(fits) {
            // FHIR takes plain HTTP requests too
            let spoken = [Protocol::Fhir, Protocol::Hl7v2, Protocol::Dicom].into_iter().find(|p| call.request.fits(*p));
            let protocol = spoken.unwrap_or(Protocol::Fhir);
            service.interfaces.push(InterfaceView {
                name,
                protocol,
                port: 80,
                base_path: String::new(),
                dicom: (protocol == Protocol::Dicom)
                    .then(|| DicomInterface { called_ae_title: "SIMULATED".to_owned(), ..DicomInterface::default() }),
                tls: None,
                endpoints: vec![ENDPOINT],
                limits: Limits::default(),
                loads: BTreeMap::new(),
                refused: None,
            });
        }
    }
    services
}

/// The answers of the queries that a definition calls: of each one service, which has the query's name.
#[must_use]
pub fn answers(definition: &Definition) -> BTreeMap<String, Vec<ServiceShare>> {
    let queries = definition.every_step().filter_map(|step| match &step.action {
        Action::Call(call) => match &call.callee {
            Callee::Query(name) => Some(name.clone()),
            Callee::Service { .. } => None,
        },
        _ => None,
    });
    let sole = |name: &String| ServiceShare { service: name.clone(), interface: FIRST.to_owned(), percent: 100 };
    queries.map(|name| (name.clone(), vec![sole(&name)])).collect()
}

/// What the steps of a run that are ready ask for; none of a run that is not to go on.
#[must_use]
pub fn demands(
    run: &WorkflowRun,
    revision: &str,
    definition: &Arc<Definition>,
    scheduling: SchedulingView,
    now: Timestamp,
) -> Vec<Demand> {
    let status = run.status.clone().unwrap_or_default();
    let mut view = View {
        run,
        definition: DefinitionView::Found { revision: revision.to_owned(), definition: Arc::clone(definition) },
        pods: BTreeMap::new(),
        stopping: BTreeSet::new(),
        lost: BTreeSet::new(),
        doubtful: BTreeSet::new(),
        jobs: BTreeMap::new(),
        services: reachable(definition),
        answers: answers(definition),
        outcomes: BTreeMap::new(),
        in_flight: Vec::new(),
        children: BTreeMap::new(),
        depth: 0,
        unwanted: false,
        rivals: Vec::new(),
        origin: None,
        model: None,
        outlook: None,
        epoch: status.leader_epoch.unwrap_or(1),
        draining: false,
        scheduling,
        turns: BTreeMap::new(),
        handed_over: BTreeMap::new(),
        refused: None,
    };
    for (id, step) in with_ids(&status).filter(|(_, s)| !s.phase.is_final()) {
        goes_on(&mut view, &id, step, now);
    }
    decide(&view, now).demands
}

/// Shows what a step has at work as if it had just begun.
fn goes_on(view: &mut View<'_>, id: &str, step: &StepStatus, now: Timestamp) {
    view.pods.extend(step.pod.clone().map(|name| (name, PodView::Running { since: now })));
    let job = |name| {
        let (succeeded, failed) = (String::new(), String::new());
        (name, JobView { since: None, active: 1, succeeded, failed, end: None, stopping: false })
    };
    view.jobs.extend(step.job.clone().map(job));
    let child = |name| {
        let outputs = BTreeMap::new();
        let (phase, reason) = (RunPhase::Running, String::new());
        (name, ChildView { created_at: now, phase, reason, since: None, outputs })
    };
    let own = step.run.clone().filter(|_| step.items.is_none());
    view.children.extend(own.into_iter().chain(children(step).0).map(child));
    let call = |index, number| Attempt { step: id.to_owned(), index, number };
    if step.target.is_some() {
        view.in_flight.push(call(None, step.attempt.unwrap_or(1)));
    }
    view.in_flight.extend(at_work(step).0.into_iter().map(|(index, number)| call(Some(index), number)));
}
