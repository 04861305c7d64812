//! A plan is played: the stage is set, operators start, troubles strike, people are asked; then everything comes to rest.

use std::{sync::Arc, time::Duration};

use harness::simulated::{Record, Tape, Version};
use jiff::SignedDuration;
use medley::{api::ServicePolicy, telemetry::Kind};
use serde_json::{Value, json};
use tokio::{
    runtime,
    time::{Instant, sleep},
};

use super::{
    super::{
        capacity::give_capacity,
        fate::{self, Fate},
        stage::{Stage, Started},
    },
    effects::{Effect, Effects},
    person::{self, Person},
    plan::Plan,
    scenario::{Act, Fare, Scenario},
    troubles::{Mischief, Shared, Trouble},
};

/// How often is looked whether something is to be done.
const LOOK: Duration = Duration::from_millis(500);
/// Whoever has not come to rest by then never will.
const PATIENCE: Duration = Duration::from_secs(3 * 3600);
/// So many calls, and as many more for each step as it may need, are too many.
const MOST_CALLS: u64 = 50_000;
/// Counts are written, at most every ten seconds; here too something may go wrong.
const LAST_WRITES: Duration = Duration::from_secs(11);
/// What was held back arrives, at most half a minute late; another leader takes over and looks at everything once.
const SETTLING: Duration = Duration::from_secs(32);

/// An object that failed again and again is looked at again within a minute.
const TRYING_AGAIN: Duration = Duration::from_secs(62);

/// What a plan came to.
pub(crate) struct Outcome {
    /// What is left in the cluster, masked as [`Stage::end_state`] does.
    pub(crate) state: Value,
    /// Every version of every run, pod, Job, claim and service.
    pub(crate) runs: Vec<Version>,
    pub(crate) pods: Vec<Version>,
    pub(crate) jobs: Vec<Version>,
    pub(crate) claims: Vec<Version>,
    pub(crate) services: Vec<Version>,
    pub(crate) effects: Vec<Effect>,
    /// The most calls of one operator that the service had at work at a time.
    pub(crate) most_at_work: u32,
    pub(crate) calls: Vec<Record>,
    /// What went wrong on purpose, and when.
    pub(crate) struck: Vec<(Duration, String)>,
    /// It came to rest.
    pub(crate) rested: bool,
    /// It was ended for making too many calls.
    pub(crate) out_of_hand: bool,
    /// Since when nothing should have been written.
    pub(crate) quiet: Duration,
    /// Defects that the operators have met themselves.
    pub(crate) panics: u64,
}

/// Plays a plan, and then lets this much time pass.
pub(crate) fn play(plan: &Plan, calm: Duration) -> Outcome {
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async { Game::new(plan).play(calm).await })
}

struct Game<'a> {
    plan: &'a Plan,
    stage: Stage,
    effects: Effects,
    mischief: Shared,
    began: Instant,
    operators: Vec<(String, Started)>,
    tapes: [Tape; 5],
}

impl<'a> Game<'a> {
    fn new(plan: &'a Plan) -> Self {
        let stage = Stage::one_of_thousands();
        let effects = Effects::new(&plan.scenario);
        stage.world.answers({
            let effects = effects.clone();
            move |call, by| effects.answer(call, by)
        });
        tell_fates(&stage, &plan.scenario);
        let steps = plan.scenario.every_step().count() as u64;
        let most = MOST_CALLS + 100 * steps * u64::from(plan.scenario.runs);
        let mischief = Mischief::new(&plan.troubles, &stage.world, most);
        let kinds = ["WorkflowRun", "Pod", "Job", "PersistentVolumeClaim", "MedicalService"];
        let tapes = kinds.map(|kind| stage.server.tape(kind));
        Self { plan, stage, effects, mischief, began: Instant::now(), operators: Vec::new(), tapes }
    }

    async fn play(mut self, calm: Duration) -> Outcome {
        self.set_up().await;
        let rested = self.come_to_rest().await;
        let quiet = self.began.elapsed();
        if rested {
            sleep(calm).await;
        }
        let mischief = self.mischief.lock().unwrap();
        let panics = self.operators.iter().map(|(name, operator)| {
            let seen = |kind: &str| Kind { kind: kind.to_owned() };
            let kinds = ["MedicalService", "Workflow", "WorkflowRun"];
            let met: u64 = kinds.iter().map(|k| operator.metrics.panics.get_or_create(&seen(k)).get()).sum();
            met + u64::from(operator.is_over() && !self.stage.world.is_dead(name))
        });
        let panics = panics.sum();
        let [runs, pods, jobs, claims, services] = &mut self.tapes;
        let all = |tape: &mut Tape| std::iter::from_fn(|| tape.try_next()).collect::<Vec<_>>();
        Outcome {
            state: self.stage.end_state(),
            runs: all(runs),
            pods: all(pods),
            jobs: all(jobs),
            claims: all(claims),
            services: all(services),
            effects: self.effects.all(),
            most_at_work: self
                .operators
                .iter()
                .map(|(n, _)| self.stage.world.most_at_work(n, "10.0.0.1"))
                .max()
                .unwrap_or(0),
            calls: self.stage.server.calls(),
            struck: mischief.struck.clone(),
            rested,
            out_of_hand: mischief.out_of_hand,
            quiet,
            panics,
        }
    }

    async fn set_up(&mut self) {
        let places = self.plan.scenario.places;
        let capacity = if places > 0 { json!({ "concurrency": places }) } else { Value::Null };
        self.stage.bounded_service("archive", &["10.0.0.1"], capacity).await;
        if self.plan.scenario.slots > 0 {
            let pool = json!({ "resources": { "slots": self.plan.scenario.slots.to_string() }, "shares": [{ "name": "all" }] });
            give_capacity(&self.stage, pool, json!({ "pool": "main" })).await;
        }
        if self.plan.scenario.limit > 0 {
            let n = self.plan.scenario.limit;
            let limits = json!({ "scheduling": { "limits": { "runs": n, "pods": n, "calls": n } } });
            self.stage.create::<ServicePolicy>("few", limits).await;
        }
        for (name, spec) in self.plan.scenario.workflows() {
            self.stage.workflow_with(name, spec).await;
        }
        for run in 1..=self.plan.scenario.runs {
            self.stage.run(&format!("r{run}"), "flow").await;
        }
        let (of_calls, of_events) = (Arc::clone(&self.mischief), Arc::clone(&self.mischief));
        self.stage.world.faults(move |call| Mischief::call(&of_calls, call));
        self.stage.server.set_watch_faults(move |event| Mischief::event(&of_events, event));
        self.start_operator(0);
        if self.plan.troubles.iter().any(Trouble::has_standby) {
            self.start_operator(0);
        }
    }

    /// Starts the next operator; its first lists may be so many versions old.
    fn start_operator(&mut self, past: u16) {
        let number = self.operators.len() + 1;
        let name = format!("op-{number}");
        if past > 0 {
            self.mischief.lock().unwrap().lag(&name, past);
        }
        let skews = self.plan.troubles.iter().filter_map(|t| match t {
            Trouble::Skew { operator, secs } if usize::from(*operator) == number => Some(i64::from(*secs)),
            _ => None,
        });
        let overlaps = number == 1 && self.plan.troubles.iter().any(|t| matches!(t, Trouble::Overlap { .. }));
        let lease = Duration::from_secs(if overlaps { 3 } else { 15 });
        let started = self.stage.start_with(&name, SignedDuration::from_secs(skews.sum()), lease);
        self.operators.push((name, started));
    }

    /// Goes on until nothing moves any more; false when that never comes.
    async fn come_to_rest(&mut self) -> bool {
        let mut somebody = Person::new(&self.plan.scenario, self.effects.clone());
        let mut version = 0;
        let mut moments: Vec<(Duration, Trouble)> = self.plan.troubles.iter().filter_map(moment).collect();
        loop {
            sleep(LOOK).await;
            let now = self.began.elapsed();
            // steps that wait for a slot, or for their turn, come one after the other
            let Scenario { slots, places, limit, .. } = self.plan.scenario;
            let waits = slots > 0 || places > 0 || limit > 0;
            let patience = if waits { 6 * PATIENCE } else { PATIENCE };
            if self.mischief.lock().unwrap().out_of_hand || now > patience {
                return false;
            }
            self.replace_the_dead();
            while let Some(due) = moments.iter().position(|(at, _)| *at <= now) {
                self.strike(&moments.swap_remove(due).1);
            }
            somebody.give_orders(&self.stage).await;
            let present = self.stage.server.resource_version();
            let moved = std::mem::replace(&mut version, present) != present;
            if moved && somebody.find_out(&self.stage).await {
                continue;
            }
            // an order that was given in this moment has moved nothing yet
            if somebody.is_content() && !moved && self.rests() {
                // what is under way comes to its end, and from now on nothing goes wrong
                moments.clear();
                if self.settle().await && !somebody.find_out(&self.stage).await {
                    return true;
                }
            }
        }
    }

    fn rests(&self) -> bool {
        self.mischief.lock().unwrap().crashed.is_empty() && person::all_rest(&self.stage)
    }

    /// Lets the last be written, ends all troubles and lets what they have held back arrive; false when that brings something back into motion.
    async fn settle(&self) -> bool {
        sleep(LAST_WRITES).await;
        if !self.rests() {
            return false;
        }
        self.mischief.lock().unwrap().end();
        if self.plan.troubles.iter().any(|t| matches!(t, Trouble::Drop { .. })) {
            self.list_anew(true, true);
        }
        if self.plan.troubles.iter().any(Trouble::refuses) {
            sleep(TRYING_AGAIN - LAST_WRITES).await;
        } else if self.plan.troubles.iter().any(|t| t.holds_back() || t.ends_terms()) {
            sleep(SETTLING).await;
        } else {
            return self.rests();
        }
        // what arrives late may bring runs to their ends, of which the counts are written after that
        loop {
            let before = self.last_change_of_runs();
            sleep(LAST_WRITES).await;
            if self.last_change_of_runs() == before || self.began.elapsed() > 6 * PATIENCE {
                return self.rests();
            }
        }
    }

    fn last_change_of_runs(&self) -> u64 {
        let mut last = 0;
        self.stage.server.for_each("WorkflowRun", |run| {
            let version = run["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).unwrap_or(0);
            last = last.max(version);
        });
        last
    }

    fn replace_the_dead(&mut self) {
        let now = Instant::now();
        let is_due = |(at, back, _): &(Instant, u8, u16)| *at + Duration::from_secs(u64::from(*back)) <= now;
        let due: Vec<(Instant, u8, u16)> = {
            let mut mischief = self.mischief.lock().unwrap();
            let (due, waiting) = mischief.crashed.drain(..).partition(is_due);
            mischief.crashed = waiting;
            due
        };
        for (_, _, past) in due {
            self.start_operator(past);
        }
    }

    fn strike(&self, trouble: &Trouble) {
        match trouble {
            Trouble::Cut { reset, forget, .. } => self.list_anew(*reset, *forget),
            _ => self.list_anew(true, true),
        }
        let mut mischief = self.mischief.lock().unwrap();
        mischief.struck.push((self.began.elapsed(), format!("{trouble:?} ends all watches")));
    }

    fn list_anew(&self, reset: bool, forget: bool) {
        for kind in ["WorkflowRun", "Pod", "Job", "Workflow", "MedicalService", "EndpointSlice", "ControllerRevision"] {
            if reset {
                self.stage.server.reset_watches(kind);
            } else {
                self.stage.server.cut_watches(kind);
            }
        }
        if forget {
            self.stage.server.forget_everything();
        }
    }
}

/// When something happens that no call brings about.
fn moment(trouble: &Trouble) -> Option<(Duration, Trouble)> {
    match trouble {
        Trouble::Cut { at, .. } => Some((Duration::from_secs(u64::from(*at)), trouble.clone())),
        Trouble::Drop { until, .. } => Some((Duration::from_secs(u64::from(*until)), trouble.clone())),
        _ => None,
    }
}

/// Tells the kubelet how the pods of the scenario fare.
fn tell_fates(stage: &Stage, scenario: &Scenario) {
    for step in scenario.every_step() {
        let result = step.result();
        let fates = |fares: &[Fare]| fares.iter().map(|&f| fate_of(f, &result)).collect::<Vec<_>>();
        let well = fate_of(Fare::Well(300), &result);
        if let (Act::Container, Some(each)) = (step.act, &step.each) {
            stage.world.fates(&step.name, [well]);
            for item in &each.bad {
                stage.world.fates(&format!("{}[{item}]", step.name), fates(&step.fares));
            }
        } else if step.act == Act::Container {
            stage.world.fates(&step.name, if step.fares.is_empty() { vec![well] } else { fates(&step.fares) });
        }
        if let Some(undo) = step.undo.as_ref().filter(|u| u.container && !u.fares.is_empty()) {
            stage.world.fates(&format!("{}.compensate", step.name), fates(&undo.fares));
        }
    }
}

fn fate_of(fare: Fare, result: &Value) -> Fate {
    let span = |millis: u32| Duration::from_millis(u64::from(millis));
    match fare {
        Fare::Well(millis) => fate::works(span(millis), result),
        Fare::Exit(code) => fate::exits(code),
        Fare::Evicted(millis) => fate::evicted(span(millis)),
        Fare::Vanish(millis) => fate::vanishes(span(millis)),
        Fare::Hang => fate::hangs(),
        Fare::Stuck => fate::waits("ImagePullBackOff"),
        Fare::Unplaced => fate::unplaced(),
        Fare::Status(_) | Fare::Reset | Fare::Refused => fate::works(span(300), result),
    }
}
