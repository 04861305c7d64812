//! Pods, Jobs, services and child runs that do what the plan says.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{is_settled, job::IndexedJob, later, plan::Plan};
use crate::{
    api::{
        WorkflowRun, WorkflowRunStatus,
        vocabulary::ErrorClass,
        workflow_run::{RunPhase, StepPhase, StepStatus},
    },
    core::{
        coordination::{
            asks::{answers, reachable},
            capacity::SchedulingView,
            definition::{Action, Definition, Role, StepDefinition},
            dicom::Question,
            fan_out::{self, at_work},
            fhir::FhirDefinition,
            outcome::{Answer, CallOutcome, CallResult},
            request::RequestDefinition,
            view::{Attempt, ChildView, Decision, DefinitionView, PodView, ServiceShare, ServiceView, View},
        },
        dicom::find::Found,
        hl7::ack::{Ack, Code},
        name,
    },
};

/// One attempt at work.
#[derive(Clone, Debug)]
struct Task {
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
    services: BTreeMap<String, ServiceView>,
    answers: BTreeMap<String, Vec<ServiceShare>>,
    steps: BTreeMap<String, &'a StepDefinition>,
    pods: BTreeMap<String, Task>,
    jobs: BTreeMap<String, IndexedJob<'a>>,
    children: BTreeMap<String, Task>,
    calls: BTreeMap<Attempt, Task>,
    /// Attempts of items that were not their first, by step.
    repeated: BTreeMap<String, u32>,
}

impl<'a> World<'a> {
    pub(super) fn new(plan: &'a Plan, definition: &'a Definition) -> Self {
        Self {
            plan,
            services: reachable(definition),
            answers: answers(definition),
            steps: definition.every_step().map(|s| (s.id(), s)).collect(),
            pods: BTreeMap::new(),
            jobs: BTreeMap::new(),
            children: BTreeMap::new(),
            calls: BTreeMap::new(),
            repeated: BTreeMap::new(),
        }
    }

    fn step(&self, id: &str) -> Option<&'a StepDefinition> {
        self.steps.get(id).copied()
    }

    /// Time has come this far.
    pub(super) fn advance(&mut self, now: Timestamp) {
        for job in self.jobs.values_mut() {
            job.advance(now);
        }
    }

    /// How many attempts of a step's items were not their first, by step.
    pub(super) fn repeated(&self) -> BTreeMap<String, u32> {
        let mut all = self.repeated.clone();
        for job in self.jobs.values() {
            *all.entry(job.step.id()).or_default() += job.repeated;
        }
        all
    }

    /// What a decision is made from at this time.
    pub(super) fn view<'r>(&self, run: &'r WorkflowRun, definition: DefinitionView, now: Timestamp) -> View<'r> {
        let over = |task: &Task| task.ends.filter(|at| *at <= now);
        let outcomes = self.calls.values().filter_map(|task| {
            let what = self.answer(self.step(&task.attempt.step)?, task);
            over(task).map(|at| (task.attempt.clone(), CallOutcome { at, what, moved: None }))
        });
        View {
            run,
            definition,
            pods: self.pods.iter().map(|(name, task)| (name.clone(), self.pod(task, over(task)))).collect(),
            stopping: BTreeSet::new(),
            lost: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            jobs: self.jobs.iter().map(|(name, job)| (name.clone(), job.view())).collect(),
            services: self.services.clone(),
            answers: self.answers.clone(),
            outcomes: outcomes.collect(),
            in_flight: self.calls.values().filter(|t| over(t).is_none()).map(|t| t.attempt.clone()).collect(),
            children: self.children.iter().map(|(name, task)| (name.clone(), self.child(task, over(task)))).collect(),
            depth: 0,
            unwanted: false,
            rivals: Vec::new(),
            origin: None,
            model: None,
            outlook: None,
            scheduling: SchedulingView::default(),
            turns: BTreeMap::new(),
            handed_over: BTreeMap::new(),
            refused: None,
            epoch: 1,
            draining: false,
        }
    }

    fn answer(&self, step: &StepDefinition, task: &Task) -> CallResult {
        let answered = |status: u16, body: Value| {
            let headers = vec![("content-type".to_owned(), "application/fhir+json".to_owned())];
            CallResult::Answered(Answer { status, headers, body })
        };
        let values = json!(self.plan.values(step));
        let limit = task.limit.unwrap_or(step.timeout);
        let request = if let Action::Call(call) = &step.action { Some(&call.request) } else { None };
        let (expected, body) = match request {
            Some(RequestDefinition::Hl7v2(_)) => return acknowledged(task.failure, limit),
            Some(RequestDefinition::Dicom(dicom)) => {
                let values = self.plan.values(step).into_iter().collect();
                return asked(&dicom.ask, task.failure, limit, values);
            }
            Some(RequestDefinition::Http(http)) => (http.expect_status.first().copied().unwrap_or(200), values),
            Some(RequestDefinition::Fhir(fhir)) => {
                (200, json!({"resourceType": resource_type(fhir), "simulated": values}))
            }
            None => (200, values),
        };
        match task.failure {
            None => answered(expected, body),
            Some(ErrorClass::Overloaded) => answered(503, Value::Null),
            Some(ErrorClass::ServerError) => answered(500, Value::Null),
            Some(ErrorClass::Rejected) => answered(400, Value::Null),
            Some(ErrorClass::InvalidResult) => answered(expected, json!({})),
            Some(ErrorClass::Timeout) => late(limit),
            Some(class) => CallResult::Failed { class, sent: false, message: "no connection".to_owned() },
        }
    }

    fn pod(&self, task: &Task, over: Option<Timestamp>) -> PodView {
        let Some(at) = over else { return PodView::Running { since: task.began } };
        let failed = |exit_code: Option<i32>, reason: &str| PodView::Failed {
            exit_code,
            reason: Some(reason.to_owned()),
            at: Some(at),
        };
        match task.failure {
            Some(ErrorClass::ContainerFailed) => failed(Some(1), "Error"),
            Some(ErrorClass::PodLost) => failed(None, "Evicted"),
            Some(ErrorClass::PodNotStarted) => PodView::Pending { problem: Some("ImagePullBackOff".to_owned()) },
            Some(_) => PodView::Succeeded { message: String::new(), at },
            None => {
                let values = self.step(&task.attempt.step).map(|s| self.plan.values(s)).unwrap_or_default();
                PodView::Succeeded { message: json!(values).to_string(), at }
            }
        }
    }

    fn child(&self, task: &Task, over: Option<Timestamp>) -> ChildView {
        let values = self.step(&task.attempt.step).map(|s| self.plan.values(s)).unwrap_or_default();
        let (phase, reason, outputs) = match (over, task.failure) {
            (None, _) => (RunPhase::Running, "Running", BTreeMap::new()),
            _ if task.stopped => (RunPhase::Canceled, "ParentStopped", BTreeMap::new()),
            (_, Some(ErrorClass::InvalidResult)) => (RunPhase::Succeeded, "Succeeded", BTreeMap::new()),
            (_, Some(_)) => (RunPhase::Failed, "StepFailed", BTreeMap::new()),
            (_, None) => (RunPhase::Succeeded, "Succeeded", values),
        };
        ChildView { created_at: task.began, phase, reason: reason.to_owned(), since: Some(task.began), outputs }
    }

    /// Carries a decision out; whether anything began or stopped.
    pub(super) fn perform(&mut self, decision: &Decision, status: Option<&WorkflowRunStatus>, now: Timestamp) -> bool {
        let mut moved = false;
        for job in decision.start_jobs.iter().filter(|j| !self.jobs.contains_key(&j.pod.name)).collect::<Vec<_>>() {
            if let Some(step) = self.step(&job.pod.attempt.step) {
                let begun = IndexedJob::new(self.plan, step, job.clone(), now);
                moved |= self.jobs.insert(job.pod.name.clone(), begun).is_none();
            }
        }
        for pod in decision.start_pods.iter().filter(|p| !self.pods.contains_key(&p.name)).collect::<Vec<_>>() {
            let task = self.task(pod.attempt.clone(), None, now);
            moved |= self.pods.insert(pod.name.clone(), task).is_none();
        }
        for call in &decision.start_calls {
            let task = self.task(call.attempt.clone(), Some(call.timeout), now);
            moved |= self.calls.insert(call.attempt.clone(), task).is_none();
        }
        if let Some(status) = status.filter(|_| !decision.start_runs.is_empty()) {
            let attempts = self.attempts_of_children(status);
            for run in &decision.start_runs {
                let Some(attempt) = attempts.get(&run.name).filter(|_| !self.children.contains_key(&run.name)) else {
                    continue;
                };
                let task = self.task(attempt.clone(), None, now);
                moved |= self.children.insert(run.name.clone(), task).is_none();
            }
        }
        for name in &decision.stop_pods {
            moved |= self.pods.remove(name).is_some();
        }
        for name in &decision.stop_jobs {
            if let Some(job) = self.jobs.remove(name) {
                *self.repeated.entry(job.step.id()).or_default() += job.repeated;
                moved = true;
            }
        }
        self.calls.retain(|attempt, _| !decision.stop_calls.contains(attempt));
        if let Some(status) = status {
            self.settle_calls(status);
            moved |= self.settle_children(status, now);
        }
        moved
    }

    /// An outcome is told until the status holds it.
    fn settle_calls(&mut self, status: &WorkflowRunStatus) {
        let mut items: BTreeMap<&str, BTreeSet<(u32, u32)>> = BTreeMap::new();
        for (id, step) in self.steps.iter().filter(|(_, s)| s.fan_out.is_some()) {
            let open = of(status, step).filter(|s| !s.phase.is_final());
            let pairs = open.map(|s| at_work(s).0).unwrap_or_default();
            items.insert(id, pairs.into_iter().collect());
        }
        let steps = &self.steps;
        self.calls.retain(|attempt, _| match attempt.index {
            Some(index) => items.get(attempt.step.as_str()).is_some_and(|i| i.contains(&(index, attempt.number))),
            None => {
                let present = steps.get(&attempt.step).and_then(|s| of(status, s));
                present.is_some_and(|s| s.attempt == Some(attempt.number) && s.phase.is_at_work())
            }
        });
    }

    /// Child runs that are told to stop do so at once, and those of items that are over are forgotten.
    fn settle_children(&mut self, status: &WorkflowRunStatus, now: Timestamp) -> bool {
        let mut moved = false;
        let open = |s: &&StepStatus| s.run.is_some() && !s.phase.is_final();
        let all = || status.steps.values().chain(status.compensations.values()).filter(open);
        let mut wanted: BTreeSet<String> = BTreeSet::new();
        let mut stopping: Vec<String> = Vec::new();
        for present in all() {
            if present.items.is_some() {
                let (running, told) = fan_out::children(present);
                wanted.extend(running.into_iter().chain(told.iter().cloned()));
                stopping.extend(told);
            } else if present.phase == StepPhase::Stopping {
                stopping.extend(present.run.clone());
            }
        }
        for name in stopping {
            if let Some(task) = self.children.get_mut(&name).filter(|t| !t.stopped && t.ends.is_none_or(|e| e > now)) {
                (task.stopped, task.ends) = (true, Some(now));
                moved = true;
            }
        }
        self.children.retain(|name, task| task.attempt.index.is_none() || wanted.contains(name));
        moved
    }

    /// Which attempt each child run is that a status waits for, by its name.
    fn attempts_of_children(&self, status: &WorkflowRunStatus) -> BTreeMap<String, Attempt> {
        let mut all = BTreeMap::new();
        for (id, step) in &self.steps {
            let Some(present) = of(status, step).filter(|s| !is_settled(s.phase)) else { continue };
            let Some(run) = &present.run else { continue };
            if present.items.is_none() {
                let number = present.attempt.unwrap_or(1);
                all.insert(run.clone(), Attempt { step: id.clone(), index: None, number });
                continue;
            }
            for (index, number) in at_work(present).0 {
                let name = name::item(run, index, number);
                all.insert(name, Attempt { step: id.clone(), index: Some(index), number });
            }
        }
        all
    }

    fn task(&mut self, attempt: Attempt, limit: Option<Duration>, now: Timestamp) -> Task {
        if attempt.index.is_some() && attempt.number > 1 {
            *self.repeated.entry(attempt.step.clone()).or_default() += 1;
        }
        let failure = self.plan.failure(&attempt);
        let works = self.step(&attempt.step).map_or(Duration::ZERO, |s| self.plan.duration(s, &attempt));
        let hangs = failure == Some(ErrorClass::Timeout);
        let (ends, failure) = match limit {
            // the dispatcher drops a call that is late
            Some(limit) if hangs || works > limit => (later(now, limit), Some(ErrorClass::Timeout)),
            // a pod or child run that is late is stopped by the operator
            None if hangs => (None, failure),
            _ => (later(now, works), failure),
        };
        Task { attempt, began: now, ends, failure, limit, stopped: false }
    }

    /// When something next happens by itself.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let tasks = self.pods.values().chain(self.children.values()).chain(self.calls.values());
        let ends = tasks.filter_map(|t| t.ends).chain(self.jobs.values().filter_map(IndexedJob::next));
        ends.filter(|at| *at > now).min()
    }
}

/// A step's status.
fn of<'s>(status: &'s WorkflowRunStatus, step: &StepDefinition) -> Option<&'s StepStatus> {
    match step.role {
        Role::Main | Role::Finally => status.steps.get(&step.name),
        Role::Compensation => status.compensations.get(&step.name),
    }
}

fn late(limit: Duration) -> CallResult {
    let message = format!("no whole answer within {limit:?}");
    CallResult::Failed { class: ErrorClass::Timeout, sent: true, message }
}

/// What a DICOM service answers; a query finds one match with these values.
fn asked(question: &Question, failure: Option<ErrorClass>, limit: Duration, values: Map<String, Value>) -> CallResult {
    let failed = |class, sent, message: &str| CallResult::Failed { class, sent, message: message.to_owned() };
    let status = match failure {
        None => 0,
        Some(ErrorClass::Timeout) => return late(limit),
        Some(class @ ErrorClass::InvalidResult) => {
            return failed(class, true, "what answers does not speak DICOM as it must");
        }
        Some(class @ ErrorClass::Configuration) => {
            return failed(class, false, "the service does not know the AE title");
        }
        // refused: SOP class not supported (PS3.7 annex C.5.6)
        Some(ErrorClass::Rejected) => 0x0122,
        Some(class @ ErrorClass::Overloaded) => {
            return failed(class, false, "the service takes no association now");
        }
        // processing failure (PS3.7 annex C.5.15)
        Some(ErrorClass::ServerError) => 0x0110,
        Some(class) => return failed(class, false, "no connection"),
    };
    match question {
        Question::Echo => CallResult::Echoed { status },
        Question::Find(_) => {
            let matches = if status == 0 { vec![values] } else { Vec::new() };
            CallResult::Found(Found { status, matches, complete: true })
        }
    }
}

/// What a receiver of HL7 messages answers.
fn acknowledged(failure: Option<ErrorClass>, limit: Duration) -> CallResult {
    let ack = |code, error| CallResult::Acknowledged(Ack { code, control_id: String::new(), error });
    let failed = |class, sent, message: &str| CallResult::Failed { class, sent, message: message.to_owned() };
    match failure {
        None => ack(Code::Accepted, None),
        Some(ErrorClass::Overloaded) => ack(Code::Error, Some(206)),
        Some(ErrorClass::ServerError) => ack(Code::Error, Some(207)),
        Some(ErrorClass::Rejected) => ack(Code::Rejected, Some(200)),
        Some(ErrorClass::Timeout) => late(limit),
        Some(class @ ErrorClass::InvalidResult) => {
            failed(class, true, "what came is no acknowledgement of the message")
        }
        Some(class) => failed(class, false, "no connection"),
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
