//! Call queues: keeps one for each interface of each service that is called, sends word to the runs whose turn it is, and lets their
//! calls go out.

mod held;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use held::HeldBy;
use jiff::Timestamp;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{clock::Clock, observe::Caches, queue::Queue},
    core::{
        coordination::view::{Decision, LaneKey, ServiceView, StartCall},
        discovery::guard::AddressGuard,
        dispatch::{Caller, Chosen, Ended, Lane, Turn},
        name::Key,
    },
    telemetry::{Metrics, UrgencyLabel},
};

/// How often those that wait are told where they stand, and metrics how many they are.
const TELLING: Duration = Duration::from_secs(5);
/// How many steps of a queue are told at a time: each costs a status write.
const TOLD_TOGETHER: usize = 10;

/// Namespace, service and interface.
type Place = (String, LaneKey);

/// All call queues.
pub struct Lanes {
    caches: Caches,
    guard: Arc<AddressGuard>,
    runs: Arc<Queue>,
    clock: Clock,
    metrics: Metrics,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
struct State {
    lanes: BTreeMap<Place, Kept>,
    /// What the queues hold of runs, by their UIDs.
    held: HashMap<String, Held>,
    /// Calls that wait to go out.
    gates: HashMap<u64, oneshot::Sender<Option<Chosen>>>,
    /// The last number of a turn.
    ids: u64,
}

/// What the queues hold of one run.
#[derive(Default)]
struct Held {
    /// Where its steps have asked.
    asked: BTreeMap<String, (Arc<Caller>, Place)>,
    /// Turns of calls that its last look was to start, as far as they have not started.
    due: BTreeMap<u64, Place>,
}

#[derive(Default)]
struct Kept {
    lane: Lane,
    next: Option<Timestamp>,
    /// There is no such interface any more: it goes with the last that waits or is under way.
    gone: bool,
}

impl Lanes {
    /// No queues yet; `runs` is what they send word to.
    #[must_use]
    pub fn new(
        caches: Caches,
        guard: Arc<AddressGuard>,
        runs: Arc<Queue>,
        clock: Clock,
        metrics: Metrics,
    ) -> Arc<Self> {
        Arc::new(Self { caches, guard, runs, clock, metrics, state: Mutex::default(), news: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the queues have to say to the steps of a run, by step and queue.
    #[must_use]
    pub fn turns(&self, uid: &str) -> BTreeMap<(String, LaneKey), Turn> {
        let (mut state, now) = (self.state(), self.clock.now());
        let State { lanes, held, .. } = &mut *state;
        let asked = held.get(uid).into_iter().flat_map(|held| &held.asked);
        asked
            .filter_map(|(step, (caller, place))| {
                Some(((step.clone(), place.1.clone()), lanes.get_mut(place)?.lane.turn(caller, now)))
            })
            .collect()
    }

    /// A queue. Those that are there are kept as things are by [`Self::refresh`]: what a look began with may be older.
    fn lane<'s>(&self, lanes: &'s mut BTreeMap<Place, Kept>, place: &Place) -> &'s mut Kept {
        lanes.entry(place.clone()).or_insert_with(|| {
            let mut kept = Kept::default();
            self.take_over(place, &mut kept);
            kept
        })
    }

    fn take_over(&self, place: &Place, kept: &mut Kept) {
        let view = self.caches.service(&place.0, &place.1.service, &self.guard);
        let interface = view.as_ref().and_then(|v| v.interfaces.iter().find(|i| i.name == place.1.interface));
        kept.gone = interface.is_none();
        let (limits, endpoints) = interface.map(|i| (i.limits.clone(), i.endpoints.clone())).unwrap_or_default();
        kept.lane.set(limits, &endpoints);
        if endpoints.is_empty() {
            // each says by itself what is missing, and for how long it waits for that
            kept.lane.runs().for_each(|run| self.runs.add(run.clone(), false));
        }
    }

    /// Adds to services what is known of how their endpoints do.
    pub fn tell_loads(&self, namespace: &str, services: &mut BTreeMap<String, ServiceView>) {
        if services.is_empty() {
            return;
        }
        let state = self.state();
        for (service, view) in services {
            for interface in &mut view.interfaces {
                let key = LaneKey { service: service.clone(), interface: interface.name.clone() };
                if let Some(kept) = state.lanes.get(&(namespace.to_owned(), key)) {
                    interface.loads = kept.lane.loads();
                }
            }
        }
    }

    /// Takes note of what the steps of a run ask for now. Turns of calls that are about to start stay theirs.
    pub fn settle(&self, run: &Key, uid: &str, decision: &mut Decision) {
        let asks = std::mem::take(&mut decision.asks);
        let mut guard = self.state();
        let state = &mut *guard;
        let known = state.held.remove(uid);
        if asks.is_empty() && known.is_none() && decision.start_calls.is_empty() {
            return;
        }
        let now = self.clock.now();
        let Held { asked: mut before, due: lost } = known.unwrap_or_default();
        let (mut asked, mut due, mut touched) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        for call in &decision.start_calls {
            let place = (run.namespace.clone(), call.lane.clone());
            // also where nothing bounds it: what is known of its endpoints is kept with its queue
            self.lane(&mut state.lanes, &place);
            due.extend(call.turn.map(|id| (id, place)));
        }
        let starts: BTreeSet<u64> = due.keys().copied().collect();
        for (id, place) in lost {
            // the look before this one has failed before the call could start
            if let Some(kept) = state.lanes.get_mut(&place) {
                kept.lane.leave(id, None, now);
                touched.insert(place);
            }
        }
        for ask in asks {
            let place = (run.namespace.clone(), ask.lane.clone());
            let caller = match before.remove(&ask.step) {
                Some((caller, present)) if present == place => caller,
                other => {
                    // the step calls something else now
                    other.into_iter().for_each(|at| drop(before.insert(ask.step.clone(), at)));
                    Arc::new(Caller { run: run.clone(), uid: uid.to_owned(), step: ask.step.clone() })
                }
            };
            let kept = self.lane(&mut state.lanes, &place);
            kept.lane.settle(&caller, Some(ask.ask), &starts, now);
            touched.insert(place.clone());
            asked.insert(ask.step, (caller, place));
        }
        for (caller, place) in before.into_values() {
            if let Some(kept) = state.lanes.get_mut(&place) {
                kept.lane.settle(&caller, None, &starts, now);
                touched.insert(place);
            }
        }
        if !asked.is_empty() || !due.is_empty() {
            state.held.insert(uid.to_owned(), Held { asked, due });
        }
        touched.iter().for_each(|place| self.pass(state, place));
    }

    /// What the queues hold of this run, while a look at it goes well.
    #[must_use]
    pub fn held_by<'l>(&'l self, run: &'l Key, uid: &'l str) -> HeldBy<'l> {
        HeldBy { lanes: self, run, uid, kept: false }
    }

    /// A run is gone. Its calls that are under way stay so.
    pub fn forget(&self, uid: &str) {
        let held = self.state().held.remove(uid).unwrap_or_default();
        self.let_go(held.asked.into_values(), held.due, |lane, caller, now| {
            lane.settle(caller, None, &BTreeSet::new(), now);
        });
    }

    /// A look at a run has failed: what it holds is for others until it is used.
    fn suspend(&self, uid: &str) {
        let (asked, due) = match self.state().held.get_mut(uid) {
            Some(held) => (held.asked.values().cloned().collect::<Vec<_>>(), std::mem::take(&mut held.due)),
            None => return,
        };
        self.let_go(asked, due, Lane::suspend);
    }

    fn let_go(
        &self,
        asked: impl IntoIterator<Item = (Arc<Caller>, Place)>,
        due: BTreeMap<u64, Place>,
        how: impl Fn(&mut Lane, &Arc<Caller>, Timestamp),
    ) {
        let mut state = self.state();
        let (now, mut touched) = (self.clock.now(), BTreeSet::new());
        for (caller, place) in asked {
            if let Some(kept) = state.lanes.get_mut(&place) {
                how(&mut kept.lane, &caller, now);
                touched.insert(place);
            }
        }
        for (id, place) in due {
            if let Some(kept) = state.lanes.get_mut(&place) {
                kept.lane.leave(id, None, now);
                touched.insert(place);
            }
        }
        touched.iter().for_each(|place| self.pass(&mut state, place));
    }

    /// Forgets everything: this process no longer leads.
    pub fn clear(&self) {
        let mut state = self.state();
        *state = State { ids: state.ids, ..State::default() };
    }

    /// A service, its endpoints, or what holds for it may have changed: that of one service, or of all of a namespace.
    pub fn refresh(&self, namespace: &str, service: Option<&str>) {
        let mut state = self.state();
        let first = LaneKey { service: service.unwrap_or_default().to_owned(), interface: String::new() };
        let concerned = |(place, _): &(&Place, &Kept)| {
            place.0 == namespace && service.is_none_or(|service| place.1.service == service)
        };
        let places = state.lanes.range((namespace.to_owned(), first)..).take_while(concerned);
        let places: Vec<Place> = places.map(|(place, _)| place.clone()).collect();
        for place in places {
            if let Some(kept) = state.lanes.get_mut(&place) {
                self.take_over(&place, kept);
            }
            self.pass(&mut state, &place);
        }
    }

    /// Lets a call of a run on board whose intent is written. It goes out when the returned gate opens.
    pub fn board(self: &Arc<Self>, namespace: &str, uid: &str, call: &StartCall) -> Boarding {
        let place = (namespace.to_owned(), call.lane.clone());
        let mut guard = self.state();
        let state = &mut *guard;
        if let Some(held) = state.held.get_mut(uid) {
            call.turn.map(|id| held.due.remove(&id));
            if held.asked.is_empty() && held.due.is_empty() {
                state.held.remove(uid);
            }
        }
        let now = self.clock.now();
        let lane = &mut self.lane(&mut state.lanes, &place).lane;
        let (id, gate) = match call.turn {
            Some(id) => {
                let (open, gate) = oneshot::channel();
                // one whose seat is gone with its run never opens
                if lane.arrive(id, now) {
                    state.gates.insert(id, open);
                }
                (id, Some(gate))
            }
            None => {
                state.ids += 1;
                lane.send(state.ids, call.endpoint, call.urgency, now);
                (state.ids, None)
            }
        };
        if gate.is_some() {
            self.pass(state, &place);
        }
        Boarding { lanes: Arc::clone(self), place, id, gate, ended: None }
    }

    fn leave(&self, place: &Place, id: u64, ended: Option<Ended>) {
        let mut guard = self.state();
        let state = &mut *guard;
        state.gates.remove(&id);
        if let Some(kept) = state.lanes.get_mut(place) {
            if kept.lane.leave(id, ended, self.clock.now()) {
                self.metrics.endpoints_paused.inc();
            }
            self.pass(state, place);
        }
    }

    fn pass(&self, state: &mut State, place: &Place) {
        let Some(kept) = state.lanes.get_mut(place) else { return };
        if kept.gone && kept.lane.is_idle() {
            state.lanes.remove(place);
            self.metrics.of_services.tell_calls(&place.0, &place.1.service, None);
            return;
        }
        let now = self.clock.now();
        let news = kept.lane.pass(now, &mut state.ids);
        for (id, moves) in news.go {
            if let Some(gate) = state.gates.remove(&id) {
                // whoever does not listen any more gives its seat back by itself
                let _ = gate.send(moves);
            }
        }
        for (urgency, waited) in news.turns {
            let label = UrgencyLabel { urgency: urgency.as_str() };
            self.metrics.call_wait.get_or_create(&label).observe(waited.as_secs_f64().max(0.0));
        }
        self.metrics.calls_refused.inc_by(u64::from(news.refused));
        news.runs.into_iter().for_each(|run| self.runs.add(run, false));
        let next = kept.lane.next_pass(now);
        if std::mem::replace(&mut kept.next, next) != next && next.is_some() {
            self.news.notify_one();
        }
    }

    /// Looks after what time alone changes, until stopped.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut telling = tokio::time::interval(TELLING);
        telling.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let next = self.state().lanes.values().filter_map(|k| k.next).min();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.news.notified() => {}
                () = self.clock.reaches(next) => {}
                _ = telling.tick() => self.tell(),
            }
            let now = self.clock.now();
            let mut state = self.state();
            let due = state.lanes.iter().filter(|(_, k)| k.next.is_some_and(|at| at <= now));
            let due: Vec<Place> = due.map(|(place, _)| place.clone()).collect();
            due.iter().for_each(|place| self.pass(&mut state, place));
        }
    }

    fn tell(&self) {
        let now = self.clock.now();
        let mut state = self.state();
        let mut calls: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
        for ((namespace, key), kept) in &mut state.lanes {
            kept.lane.tell(now, TOLD_TOGETHER).into_iter().for_each(|run| self.runs.add(run, false));
            let ((waiting, at_work), sum) = (kept.lane.calls(), calls.entry((namespace, &key.service)).or_default());
            *sum = (sum.0 + waiting, sum.1 + at_work);
        }
        for ((namespace, service), counts) in calls {
            self.metrics.of_services.tell_calls(namespace, service, Some(counts));
        }
    }
}

/// A call on its way. Its seat is given back with it.
pub struct Boarding {
    lanes: Arc<Lanes>,
    place: Place,
    id: u64,
    gate: Option<oneshot::Receiver<Option<Chosen>>>,
    ended: Option<Ended>,
}

impl Boarding {
    /// Waits until the call may go out; the endpoint, where it goes to another one than it was meant for.
    pub async fn opens(&mut self) -> Option<Chosen> {
        let gate = self.gate.take()?;
        match gate.await {
            Ok(moves) => moves,
            // the queue is gone, and this process leads no more: nothing goes out
            Err(_) => std::future::pending().await,
        }
    }

    /// The call has ended, and tells this.
    pub fn ended(mut self, ended: Option<Ended>) {
        self.ended = ended;
    }
}

impl Drop for Boarding {
    fn drop(&mut self) {
        self.lanes.leave(&self.place, self.id, self.ended);
    }
}
