//! Laws of a step that is done for many items: for all outcomes, orders and leaders.
#![allow(clippy::unwrap_used)] // helpers of tests: a failure is a failed test

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use medley::{
    api::{
        Protocol, WorkflowRun, WorkflowRunSpec,
        fan_out::ItemsStatus,
        vocabulary::ErrorClass,
        workflow_run::{RunPhase, StepPhase},
    },
    core::coordination::{
        Definition, decide,
        fan_out::indexes::Indexes,
        outcome::{Answer, CallOutcome, CallResult},
        view::{Attempt, Decision, DefinitionView, InterfaceView, ServiceView, View},
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

struct World {
    run: WorkflowRun,
    definition: Arc<Definition>,
    outcomes: BTreeMap<Attempt, CallOutcome>,
    in_flight: BTreeSet<Attempt>,
    now: Timestamp,
    wake: Option<Timestamp>,
}

impl World {
    fn new(count: u16, parallel: u16, tolerate: u8, retries: u8) -> Self {
        let each = json!({"count": count, "maxParallel": parallel, "tolerate": format!("{tolerate}%")});
        let mut step =
            json!({"name": "each", "forEach": each, "call": {"service": "archive", "http": {"path": "/$( item )"}}});
        if retries > 0 {
            step["retry"] = json!({ "limit": retries });
        }
        let spec = serde_json::from_value(json!({ "steps": [step] })).unwrap();
        let mut run =
            WorkflowRun::new("r1", WorkflowRunSpec { workflow: "w".to_owned(), ..WorkflowRunSpec::default() });
        run.metadata.uid = Some("u1".to_owned());
        Self {
            run,
            definition: Arc::new(Definition::parse(&spec).unwrap()),
            outcomes: BTreeMap::new(),
            in_flight: BTreeSet::new(),
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            wake: None,
        }
    }

    fn decide(&self, epoch: i64) -> Decision {
        let endpoints = vec!["10.0.0.1:80".parse().unwrap()];
        let interface = InterfaceView {
            name: "http".to_owned(),
            port: 80,
            protocol: Protocol::Http,
            base_path: String::new(),
            dicom: None,
            tls: None,
            endpoints,
            limits: Default::default(),
            loads: BTreeMap::new(),
            refused: None,
        };
        let archive = ServiceView { dns_name: "archive".to_owned(), interfaces: vec![interface] };
        let view = View {
            run: &self.run,
            definition: DefinitionView::Found { revision: "rev".to_owned(), definition: Arc::clone(&self.definition) },
            pods: BTreeMap::new(),
            stopping: BTreeSet::new(),
            lost: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            jobs: BTreeMap::new(),
            services: BTreeMap::from([("archive".to_owned(), archive)]),
            outcomes: self.outcomes.clone(),
            in_flight: self.in_flight.iter().cloned().collect(),
            children: BTreeMap::new(),
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
            model: None,
            outlook: None,
        };
        decide(&view, self.now)
    }

    fn perform(&mut self, decision: Decision) {
        if let Some(status) = decision.status {
            self.run.status = Some(status);
        }
        self.outcomes.retain(|a, _| decision.held.contains(a));
        self.in_flight.retain(|a| !decision.stop_calls.contains(a));
        self.in_flight.extend(decision.start_calls.into_iter().map(|c| c.attempt));
        self.wake = decision.wake_at;
    }

    fn items(&self) -> ItemsStatus {
        let status = self.run.status.clone().unwrap_or_default();
        status.steps.get("each").and_then(|s| s.items.clone()).unwrap_or_default()
    }

    /// Some calls end together, or time passes.
    fn happen(&mut self, which: usize, how: u8) {
        self.now = self.now.saturating_add(SignedDuration::from_millis(7)).unwrap();
        if (self.in_flight.is_empty() || which.is_multiple_of(5))
            && let Some(wake) = self.wake
        {
            self.now = wake.max(self.now);
            return;
        }
        let together = 1 + which % 4;
        for _ in 0..together {
            let Some(attempt) = self.in_flight.iter().nth(which % self.in_flight.len().max(1)).cloned() else { return };
            self.in_flight.remove(&attempt);
            let answered = |status| CallResult::Answered(Answer { status, headers: Vec::new(), body: Value::Null });
            let what = match how % 6 {
                0..=2 => answered(200),
                3 => answered(503),
                4 => answered(400),
                _ => CallResult::Failed { class: ErrorClass::Timeout, sent: true, message: "it failed".to_owned() },
            };
            self.outcomes.insert(attempt, CallOutcome { at: self.now, what, moved: None });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_item_is_done_once_and_never_too_many_together(
        (count, parallel, tolerate, retries) in (1_u16..40, 1_u16..8, 0_u8..=100, 0_u8..3),
        events in prop::collection::vec((any::<usize>(), any::<u8>(), prop::bool::weighted(0.1)), 1..60),
    ) {
        let mut world = World::new(count, parallel, tolerate, retries);
        let (mut epoch, mut started) = (1, BTreeSet::new());
        let mut keys: BTreeMap<Attempt, String> = BTreeMap::new();
        for turn in 0..3000 {
            let before = world.items();
            let decision = world.decide(epoch);
            let (takes_over, over) = (decision.start_calls.clone(), decision.held.clone());
            world.perform(decision);
            let items = world.items();
            let set = |text: &Option<String>| Indexes::parse(text.as_deref());
            for call in takes_over {
                let index = call.attempt.index.unwrap();
                prop_assert!(set(&items.indexes.running).contains(index), "an effect without its intent: {:?}", items);
                let key = keys.entry(call.attempt.clone()).or_insert_with(|| call.idempotency_key.clone());
                prop_assert_eq!(&*key, &call.idempotency_key);
                started.insert(index);
            }
            prop_assert!(items.active <= u32::from(parallel), "too many: {:?}", items);
            prop_assert!(world.in_flight.len() <= usize::from(parallel));
            let done = set(&before.indexes.succeeded);
            prop_assert!(done.iter().all(|i| set(&items.indexes.succeeded).contains(i)), "an item is done no more");
            prop_assert!(world.in_flight.iter().all(|a| !done.contains(a.index.unwrap())), "a done item is done again");
            let again = world.decide(epoch);
            prop_assert!(again.status.is_none(), "asked again it writes again: {:#?}", again.status);
            prop_assert!(again.start_calls.is_empty() && again.stop_calls.is_empty() && again.held == over);
            let phase = world.run.status.as_ref().and_then(|s| s.phase);
            if phase.is_some_and(RunPhase::is_final) {
                let step = &world.run.status.as_ref().unwrap().steps["each"];
                let beyond = items.failed > u32::from(count) * u32::from(tolerate) / 100;
                prop_assert_eq!(step.phase, if beyond { StepPhase::Failed } else { StepPhase::Succeeded });
                prop_assert!(beyond || items.succeeded + items.failed == u32::from(count));
                prop_assert!(beyond || started.len() == usize::from(count));
                prop_assert!(world.in_flight.is_empty() && items.active == 0);
                return Ok(());
            }
            let (which, how, lost) = events[turn % events.len()];
            if lost && turn < events.len() {
                epoch += 1;
                world.in_flight.clear();
                world.outcomes.clear();
            } else {
                world.happen(which, if turn < events.len() { how } else { 0 });
            }
        }
        prop_assert!(false, "it does not end: {:#?}", world.run.status);
    }
}
