//! Pods, services and child runs that do what the plan says.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{is_settled, plan::Plan};
use crate::{
    api::{
        WorkflowRun, WorkflowRunStatus,
        vocabulary::{ErrorClass, Protocol},
        workflow_run::{RunPhase, StepPhase, StepStatus},
    },
    core::coordination::{
        definition::{Action, Definition, Role, StepDefinition},
        fhir::FhirDefinition,
        outcome::{Answer, CallOutcome, CallResult},
        request::RequestDefinition,
        view::{Attempt, ChildView, Decision, DefinitionView, InterfaceView, PodView, ServiceView, View},
    },
};

/// Where every service is: an address for documentation (RFC 5737).
const ENDPOINT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 80);

/// One attempt at work.
#[derive(Clone, Debug)]
struct Job {
    attempt: Attempt,
    began: Timestamp,
    /// When it ends by itself; never when it hangs.
    ends: Option<Timestamp>,
    failure: Option<ErrorClass>,
    /// When the dispatcher drops it: a call's timeout.
    limit: Option<Duration>,
    /// It was told to stop.
    stopped: bool,
}

/// The world.
#[derive(Debug)]
pub(super) struct World<'a> {
    plan: &'a Plan,
    definition: &'a Definition,
    services: BTreeMap<String, ServiceView>,
    pods: BTreeMap<String, Job>,
    children: BTreeMap<String, Job>,
    calls: Vec<Job>,
}

impl<'a> World<'a> {
    pub(super) fn new(plan: &'a Plan, definition: &'a Definition) -> Self {
        let mut services: BTreeMap<String, ServiceView> = BTreeMap::new();
        for step in definition.every_step() {
            let Action::Call(call) = &step.action else { continue };
            let service = services.entry(call.service.clone()).or_insert_with(|| ServiceView {
                dns_name: format!("{}.simulated.svc.cluster.local", call.service),
                interfaces: Vec::new(),
            });
            let name = call.interface.clone().unwrap_or_else(|| "first".to_owned());
            if !service.interfaces.iter().any(|i| i.name == name) {
                service.interfaces.push(InterfaceView {
                    name,
                    // takes plain HTTP requests too
                    protocol: Protocol::Fhir,
                    port: 80,
                    base_path: String::new(),
                    endpoints: vec![ENDPOINT],
                    refused: None,
                });
            }
        }
        Self { plan, definition, services, pods: BTreeMap::new(), children: BTreeMap::new(), calls: Vec::new() }
    }

    fn step(&self, id: &str) -> Option<&'a StepDefinition> {
        self.definition.every_step().find(|s| s.id() == id)
    }

    /// What a decision is made from at this time.
    pub(super) fn view<'r>(&self, run: &'r WorkflowRun, definition: DefinitionView, now: Timestamp) -> View<'r> {
        let over = |job: &Job| job.ends.filter(|at| *at <= now);
        let outcomes = self.calls.iter().filter_map(|job| {
            let what = self.answer(self.step(&job.attempt.step)?, job);
            over(job).map(|at| (job.attempt.clone(), CallOutcome { at, what }))
        });
        View {
            run,
            definition,
            pods: self.pods.iter().map(|(name, job)| (name.clone(), self.pod(job, over(job)))).collect(),
            stopping: BTreeSet::new(),
            jobs: BTreeMap::new(),
            services: self.services.clone(),
            outcomes: outcomes.collect(),
            in_flight: self.calls.iter().filter(|j| over(j).is_none()).map(|j| j.attempt.clone()).collect(),
            children: self.children.iter().map(|(name, job)| (name.clone(), self.child(job, over(job)))).collect(),
            depth: 0,
            unwanted: false,
            rivals: Vec::new(),
            origin: None,
            model: None,
            outlook: None,
            refused: None,
            epoch: 1,
            draining: false,
        }
    }

    fn answer(&self, step: &StepDefinition, job: &Job) -> CallResult {
        let answered = |status: u16, body: Value| {
            let headers = vec![("content-type".to_owned(), "application/fhir+json".to_owned())];
            CallResult::Answered(Answer { status, headers, body })
        };
        let values = json!(self.plan.values(step));
        let (expected, body) = match &step.action {
            Action::Call(call) => match &call.request {
                RequestDefinition::Http(http) => (http.expect_status.first().copied().unwrap_or(200), values),
                RequestDefinition::Fhir(fhir) => {
                    (200, json!({"resourceType": resource_type(fhir), "simulated": values}))
                }
            },
            _ => (200, values),
        };
        match job.failure {
            None => answered(expected, body),
            Some(ErrorClass::Overloaded) => answered(503, Value::Null),
            Some(ErrorClass::ServerError) => answered(500, Value::Null),
            Some(ErrorClass::Rejected) => answered(400, Value::Null),
            Some(ErrorClass::InvalidResult) => answered(expected, json!({})),
            Some(ErrorClass::Timeout) => {
                let message = format!("no whole answer within {:?}", job.limit.unwrap_or(step.timeout));
                CallResult::Failed { class: ErrorClass::Timeout, sent: true, message }
            }
            Some(class) => CallResult::Failed { class, sent: false, message: "no connection".to_owned() },
        }
    }

    fn pod(&self, job: &Job, over: Option<Timestamp>) -> PodView {
        let Some(at) = over else { return PodView::Running { since: job.began } };
        let failed = |exit_code: Option<i32>, reason: &str| PodView::Failed {
            exit_code,
            reason: Some(reason.to_owned()),
            at: Some(at),
        };
        match job.failure {
            Some(ErrorClass::ContainerFailed) => failed(Some(1), "Error"),
            Some(ErrorClass::PodLost) => failed(None, "Evicted"),
            Some(ErrorClass::PodNotStarted) => PodView::Pending { problem: Some("ImagePullBackOff".to_owned()) },
            Some(_) => PodView::Succeeded { message: String::new(), at },
            None => {
                let values = self.step(&job.attempt.step).map(|s| self.plan.values(s)).unwrap_or_default();
                PodView::Succeeded { message: json!(values).to_string(), at }
            }
        }
    }

    fn child(&self, job: &Job, over: Option<Timestamp>) -> ChildView {
        let values = self.step(&job.attempt.step).map(|s| self.plan.values(s)).unwrap_or_default();
        let (phase, reason, outputs) = match (over, job.failure) {
            (None, _) => (RunPhase::Running, "Running", BTreeMap::new()),
            _ if job.stopped => (RunPhase::Canceled, "ParentStopped", BTreeMap::new()),
            (_, Some(ErrorClass::InvalidResult)) => (RunPhase::Succeeded, "Succeeded", BTreeMap::new()),
            (_, Some(_)) => (RunPhase::Failed, "StepFailed", BTreeMap::new()),
            (_, None) => (RunPhase::Succeeded, "Succeeded", values),
        };
        ChildView { created_at: job.began, phase, reason: reason.to_owned(), since: Some(job.began), outputs }
    }

    /// Carries a decision out; whether anything began or stopped.
    pub(super) fn perform(&mut self, decision: &Decision, status: Option<&WorkflowRunStatus>, now: Timestamp) -> bool {
        let mut moved = false;
        for pod in decision.start_pods.iter().filter(|p| !self.pods.contains_key(&p.name)).collect::<Vec<_>>() {
            let job = self.job(pod.attempt.clone(), None, now);
            moved |= self.pods.insert(pod.name.clone(), job).is_none();
        }
        for call in &decision.start_calls {
            let job = self.job(call.attempt.clone(), Some(call.timeout), now);
            self.calls.push(job);
            moved = true;
        }
        for run in decision.start_runs.iter().filter(|r| !self.children.contains_key(&r.name)).collect::<Vec<_>>() {
            if let Some(attempt) = status.and_then(|s| self.attempt_of_child(s, &run.name)) {
                let job = self.job(attempt, None, now);
                moved |= self.children.insert(run.name.clone(), job).is_none();
            }
        }
        for name in &decision.stop_pods {
            moved |= self.pods.remove(name).is_some();
        }
        self.calls.retain(|job| !decision.stop_calls.contains(&job.attempt));
        if let Some(status) = status {
            // an outcome is told until the status holds it
            self.calls.retain(|job| {
                let step = self.definition.every_step().find(|s| s.id() == job.attempt.step);
                let present = step.and_then(|s| of(status, s));
                present.is_some_and(|s| s.attempt == Some(job.attempt.number) && s.phase.is_at_work())
            });
            let stopping = |s: &StepStatus| if s.phase == StepPhase::Stopping { s.run.clone() } else { None };
            for name in status.steps.values().chain(status.compensations.values()).filter_map(stopping) {
                if let Some(job) = self.children.get_mut(&name).filter(|j| !j.stopped && j.ends.is_none_or(|e| e > now))
                {
                    (job.stopped, job.ends) = (true, Some(now));
                    moved = true;
                }
            }
        }
        moved
    }

    fn attempt_of_child(&self, status: &WorkflowRunStatus, run: &str) -> Option<Attempt> {
        self.definition.every_step().find_map(|step| {
            let present = of(status, step).filter(|s| s.run.as_deref() == Some(run) && !is_settled(s.phase))?;
            Some(Attempt { step: step.id(), index: None, number: present.attempt.unwrap_or(1) })
        })
    }

    fn job(&self, attempt: Attempt, limit: Option<Duration>, now: Timestamp) -> Job {
        let failure = self.plan.failure(&attempt.step, attempt.number);
        let works = self.step(&attempt.step).map_or(Duration::ZERO, |s| self.plan.duration(s, attempt.number));
        let hangs = failure == Some(ErrorClass::Timeout);
        let later = |by| now.saturating_add(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX)).ok();
        let (ends, failure) = match limit {
            // the dispatcher drops a call that is late
            Some(limit) if hangs || works > limit => (later(limit), Some(ErrorClass::Timeout)),
            // a pod or child run that is late is stopped by the operator
            None if hangs => (None, failure),
            _ => (later(works), failure),
        };
        Job { attempt, began: now, ends, failure, limit, stopped: false }
    }

    /// When something next happens by itself.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let jobs = self.pods.values().chain(self.children.values()).chain(&self.calls);
        jobs.filter_map(|j| j.ends).filter(|at| *at > now).min()
    }
}

/// A step's status.
fn of<'s>(status: &'s WorkflowRunStatus, step: &StepDefinition) -> Option<&'s StepStatus> {
    match step.role {
        Role::Main | Role::Finally => status.steps.get(&step.name),
        Role::Compensation => status.compensations.get(&step.name),
    }
}

/// The type of the resource that a server would answer with.
fn resource_type(fhir: &FhirDefinition) -> &str {
    match fhir {
        FhirDefinition::Read { type_, .. } | FhirDefinition::Update { type_, .. } => type_,
        FhirDefinition::Search { .. } | FhirDefinition::Transaction { .. } => "Bundle",
        // Basic may be any resource
        FhirDefinition::Create { .. } => "Basic",
        FhirDefinition::Operation { .. } => "Parameters",
    }
}
