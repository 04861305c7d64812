//! Laws of the decision about a run: for all workflows, outcomes and orders of what happens.
#![allow(clippy::unwrap_used)] // helpers of tests: a failure is a failed test

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use medley::{
    api::{
        WorkflowRun, WorkflowRunSpec, WorkflowRunStatus, WorkflowSpec,
        vocabulary::{ErrorClass, Protocol},
        workflow_run::{Resolution, ResolvedAs, RunPhase, StepPhase},
    },
    core::coordination::{
        Definition, decide,
        outcome::{Answer, CallOutcome, CallResult},
        view::{Attempt, Decision, DefinitionView, InterfaceView, PodView, ServiceView, View},
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// What is known of one run, and what a cluster would have made of the decisions so far.
struct World {
    run: WorkflowRun,
    definition: Arc<Definition>,
    /// For each step, the places of those that it waits for.
    after: Vec<Vec<usize>>,
    pods: BTreeMap<String, PodView>,
    outcomes: BTreeMap<Attempt, CallOutcome>,
    in_flight: Vec<Attempt>,
    now: Timestamp,
    wake: Option<Timestamp>,
}

/// One step of a random workflow: what it does, which steps above it waits for, and its condition.
type Shape = (u8, Vec<prop::sample::Index>, Option<bool>, bool);

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let step = (
        0_u8..4,
        prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        prop_oneof![4 => Just(None), 1 => any::<bool>().prop_map(Some)],
        any::<bool>(),
    );
    prop::collection::vec(step, 1..9)
}

fn name(place: usize) -> String {
    format!("s{place}")
}

fn spec(shapes: &[Shape]) -> (WorkflowSpec, Vec<Vec<usize>>) {
    let mut all = Vec::new();
    let steps: Vec<Value> = shapes
        .iter()
        .enumerate()
        .map(|(place, (action, needs, when, retries))| {
            let needs: BTreeSet<usize> =
                if place == 0 { BTreeSet::new() } else { needs.iter().map(|i| i.index(place)).collect() };
            let mut step = json!({"name": name(place), "after": needs.iter().map(|&n| name(n)).collect::<Vec<_>>()});
            match action {
                0 => step["call"] = json!({"service": "archive", "http": {"path": "/"}}),
                1 => step["call"] = json!({"service": "archive", "http": {"path": "/", "method": "POST"}}),
                2 => step["container"] = json!({"image": "localhost/tool:1"}),
                _ => step["transform"] = json!({"expression": "1 + 1"}),
            }
            if let Some(when) = when {
                step["when"] = json!(when.to_string());
            }
            if *retries {
                step["retry"] = json!({"limit": 2});
            }
            all.push(needs.into_iter().collect());
            step
        })
        .collect();
    (serde_json::from_value(json!({ "steps": steps })).unwrap(), all)
}

impl World {
    fn new(shapes: &[Shape]) -> Self {
        let (spec, after) = spec(shapes);
        let mut run =
            WorkflowRun::new("r1", WorkflowRunSpec { workflow: "ct".to_owned(), ..WorkflowRunSpec::default() });
        run.metadata.namespace = Some("radiology".to_owned());
        run.metadata.uid = Some("u1".to_owned());
        run.metadata.generation = Some(1);
        Self {
            run,
            definition: Arc::new(Definition::parse(&spec).unwrap()),
            after,
            pods: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            in_flight: Vec::new(),
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            wake: None,
        }
    }

    fn decide(&self, epoch: i64) -> Decision {
        let interface = InterfaceView {
            name: "http".to_owned(),
            port: 80,
            protocol: Protocol::Http,
            base_path: String::new(),
            dicom: None,
            tls: None,
            endpoints: vec!["10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap()],
            limits: Default::default(),
            loads: BTreeMap::new(),
            refused: None,
        };
        let archive =
            ServiceView { dns_name: "archive.radiology.svc.cluster.local".to_owned(), interfaces: vec![interface] };
        let view = View {
            run: &self.run,
            definition: DefinitionView::Found { revision: "rev".to_owned(), definition: Arc::clone(&self.definition) },
            pods: self.pods.clone(),
            stopping: BTreeSet::new(),
            lost: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            jobs: BTreeMap::new(),
            services: BTreeMap::from([("archive".to_owned(), archive)]),
            outcomes: self.outcomes.clone(),
            in_flight: self.in_flight.clone(),
            children: BTreeMap::new(),
            model: None,
            outlook: None,
            depth: 0,
            unwanted: false,
            rivals: Vec::new(),
            origin: None,
            epoch,
            draining: false,
            scheduling: Default::default(),
            answers: BTreeMap::new(),
            turns: BTreeMap::new(),
            handed_over: BTreeMap::new(),
            refused: None,
        };
        decide(&view, self.now)
    }

    fn status(&self) -> WorkflowRunStatus {
        self.run.status.clone().unwrap_or_default()
    }

    fn is_over(&self) -> bool {
        self.status().phase.is_some_and(RunPhase::is_final)
    }

    /// Does what was decided, in the order of the operator: the status, then pods, then calls.
    fn perform(&mut self, decision: Decision) {
        if let Some(status) = decision.status {
            self.run.status = Some(status);
        }
        self.outcomes.clear();
        for pod in decision.start_pods {
            self.pods.entry(pod.name).or_insert(PodView::Pending { problem: None });
        }
        for pod in decision.stop_pods {
            self.pods.remove(&pod);
        }
        self.in_flight.retain(|a| !decision.stop_calls.contains(a));
        self.in_flight.extend(decision.start_calls.into_iter().map(|c| c.attempt));
        self.wake = decision.wake_at;
    }

    /// One thing happens: a call ends, a pod ends, or time passes to the next wake-up. False when nothing can happen.
    fn happen(&mut self, which: usize, how: u8) -> bool {
        let pods: Vec<String> = self.pods.iter().filter(|(_, p)| !p.is_over()).map(|(n, _)| n.clone()).collect();
        let all = self.in_flight.len() + pods.len();
        self.now = self.now.saturating_add(SignedDuration::from_millis(20)).unwrap();
        if all == 0 {
            if let Some(wake) = self.wake {
                self.now = wake.max(self.now);
                return true;
            }
            return self.resolve(how);
        }
        let which = which % all;
        if which < self.in_flight.len() {
            let attempt = self.in_flight.remove(which);
            let answered = |status| CallResult::Answered(Answer { status, headers: Vec::new(), body: Value::Null });
            let failed = |class, sent| CallResult::Failed { class, sent, message: "it failed".to_owned() };
            let what = match how % 6 {
                0..=2 => answered(200),
                3 => answered(503),
                4 => failed(ErrorClass::Connection, false),
                _ => failed(ErrorClass::Timeout, true),
            };
            self.outcomes.insert(attempt, CallOutcome { at: self.now, what, moved: None });
        } else {
            let end = match how % 6 {
                0..=2 => PodView::Succeeded { message: String::new(), at: self.now },
                3 => PodView::Failed { exit_code: Some(1), reason: Some("Error".to_owned()), at: Some(self.now) },
                4 => PodView::Failed { exit_code: None, reason: Some("Evicted".to_owned()), at: Some(self.now) },
                _ => PodView::Running { since: self.now.saturating_sub(SignedDuration::from_secs(2)).unwrap() },
            };
            self.pods.insert(pods[which - self.in_flight.len()].clone(), end);
        }
        true
    }

    /// A person tells what became of a step whose outcome nobody knew. False when there is none.
    fn resolve(&mut self, how: u8) -> bool {
        let status = self.status();
        let Some((step, unknown)) = status.steps.iter().find(|(_, s)| s.phase == StepPhase::Unknown) else {
            return false;
        };
        let outcome = [ResolvedAs::Succeeded, ResolvedAs::Failed, ResolvedAs::Retry][usize::from(how % 3)];
        let attempt = unknown.attempt.unwrap();
        self.run.spec.resolutions.retain(|r| r.step != *step);
        self.run.spec.resolutions.push(Resolution { step: step.clone(), attempt, outcome, outputs: BTreeMap::new() });
        true
    }

    /// Fails when a step is under way although one that it waits for is not done.
    fn check_order(&self) -> Result<(), TestCaseError> {
        let steps = self.status().steps;
        let done = |p: usize| steps.get(&name(p)).is_some_and(|s| s.phase.is_done());
        for (place, needs) in self.after.iter().enumerate() {
            if steps.contains_key(&name(place)) {
                prop_assert!(
                    needs.iter().all(|&n| done(n)),
                    "step {} began before {:?} were done: {:#?}",
                    name(place),
                    needs,
                    steps
                );
            }
        }
        Ok(())
    }
}

/// What is final stays, and attempts never come back.
fn check_forward(before: &WorkflowRunStatus, after: &WorkflowRunStatus) -> Result<(), TestCaseError> {
    if before.phase.is_some_and(RunPhase::is_final) {
        prop_assert_eq!(before, after);
    }
    for (name, was) in &before.steps {
        let is = &after.steps[name];
        prop_assert!(!was.phase.is_final() || was == is, "step {} changed after its end", name);
        prop_assert!(was.attempt <= is.attempt, "step {}: an attempt came back", name);
    }
    Ok(())
}

type Event = (usize, u8, bool);

/// Lets a run go on to its end; each event may be followed by another leader, which knows no call under way.
fn play(shapes: &[Shape], events: &[Event]) -> Result<World, TestCaseError> {
    let mut world = World::new(shapes);
    let mut epoch = 1;
    let mut started = BTreeSet::new();
    // at most 8 steps of 3 attempts, each with a start, an end and a wait, and pods that are first seen at work
    for turn in 0..400 {
        let decision = world.decide(epoch);
        let before = world.status();
        for call in &decision.start_calls {
            let once = world.definition.steps.iter().find(|s| s.name == call.attempt.step).unwrap();
            let first = started.insert((call.attempt.clone(), call.idempotency_key.clone()));
            let may_repeat = once.safety == medley::api::Safety::Idempotent;
            prop_assert!(first || may_repeat, "{:?} was called twice", call.attempt);
        }
        world.perform(decision);
        check_forward(&before, &world.status())?;
        world.check_order()?;
        let again = world.decide(epoch);
        prop_assert!(
            again.status.is_none(),
            "asked again it writes again: {:#?} after {:#?}",
            again.status,
            world.status()
        );
        prop_assert!(
            again.start_pods.is_empty() && again.start_calls.is_empty(),
            "asked again it starts again: {:?}",
            again
        );
        prop_assert!(
            again.stop_pods.is_empty() && again.stop_calls.is_empty(),
            "asked again it stops again: {:?}",
            again
        );
        if world.is_over() {
            return Ok(world);
        }
        let (which, how, lost) = events[turn % events.len()];
        if lost && turn < events.len() {
            epoch += 1;
            world.in_flight.clear();
        } else {
            // after the first round all ends well, so that each run can come to its end
            let how = if turn < events.len() { how } else { 0 };
            prop_assert!(
                world.happen(which, how),
                "nothing can happen any more, and it has not ended: {:#?}",
                world.status()
            );
        }
    }
    Err(TestCaseError::fail(format!("it does not end: {:#?}", world.status())))
}

fn events(leaders: bool) -> impl Strategy<Value = Vec<Event>> {
    let lost = if leaders { prop::bool::weighted(0.2).boxed() } else { Just(false).boxed() };
    prop::collection::vec((any::<usize>(), any::<u8>(), lost), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_run_ends_in_order_whatever_its_outcomes(shapes in shapes(), events in events(false)) {
        let world = play(&shapes, &events)?;
        let status = world.status();
        prop_assert!(world.in_flight.is_empty(), "no call is left under way");
        let settled = |phase: StepPhase| phase.is_final() || phase == StepPhase::Unknown;
        prop_assert!(status.steps.values().all(|s| settled(s.phase)), "no step is left open: {:#?}", status.steps);
        let failed = status.steps.values().any(|s| s.phase == StepPhase::Failed);
        prop_assert_eq!(status.phase == Some(RunPhase::Failed), failed);
        prop_assert_eq!(status.phase == Some(RunPhase::Succeeded), status.steps.len() == shapes.len() && !failed);
    }

    #[test]
    fn every_run_ends_in_order_whoever_leads(shapes in shapes(), events in events(true)) {
        play(&shapes, &events)?;
    }

    #[test]
    fn what_has_ended_asks_for_nothing(shapes in shapes(), events in events(true), epoch in 1_i64..100) {
        let mut world = play(&shapes, &events)?;
        world.now = world.now.saturating_add(SignedDuration::from_hours(1)).unwrap();
        prop_assert_eq!(world.decide(epoch), Decision::default());
    }
}
