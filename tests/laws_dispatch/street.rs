//! A call queue with those who use it: steps that ask, intents that are written some time later, calls that go out and end.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use medley::{
    api::Urgency,
    core::{
        dispatch::{Ask, Caller, Ended, Lane, Limits, Place, Refused},
        name::Key,
    },
};

/// A call that is on its way.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) caller: String,
    pub(crate) once: bool,
    pub(crate) urgency: Urgency,
    pub(crate) endpoint: SocketAddr,
    pub(crate) out: bool,
}

/// The queue, its users, and the time.
pub(crate) struct Street {
    pub(crate) lane: Lane,
    pub(crate) limits: Limits,
    pub(crate) now: Timestamp,
    pub(crate) asks: BTreeMap<String, Ask>,
    pub(crate) calls: BTreeMap<u64, Call>,
    pub(crate) refused: Vec<(String, Refused)>,
    /// Intents that are written.
    pub(crate) arrived: BTreeSet<u64>,
    /// Who went out, and when.
    pub(crate) departures: Vec<(String, Timestamp)>,
    ids: u64,
}

pub(crate) fn endpoint(n: u8) -> SocketAddr {
    ([10, 0, 0, n], 80).into()
}

pub(crate) fn ask(urgency: Urgency) -> Ask {
    Ask { urgency, since: None, aging: None, count: 1, once: false, stored: false, same: None }
}

fn caller(name: &str) -> Arc<Caller> {
    Arc::new(Caller { run: Key::new("n", name), uid: format!("u-{name}"), step: "s".to_owned() })
}

impl Street {
    pub(crate) fn new(limits: Limits, endpoints: u8) -> Self {
        let mut lane = Lane::default();
        let all: Vec<SocketAddr> = (1..=endpoints).map(endpoint).collect();
        lane.set(limits.clone(), &all);
        Self {
            lane,
            limits,
            now: Timestamp::UNIX_EPOCH,
            asks: BTreeMap::new(),
            calls: BTreeMap::new(),
            refused: Vec::new(),
            arrived: BTreeSet::new(),
            departures: Vec::new(),
            ids: 0,
        }
    }

    /// A step asks, as of now.
    pub(crate) fn ask(&mut self, name: &str, ask: Ask) {
        let ask = Ask { since: ask.since.or(Some(self.now).filter(|_| ask.count == 1)), ..ask };
        self.lane.settle(&caller(name), Some(ask.clone()), &BTreeSet::new(), self.now);
        self.asks.insert(name.to_owned(), ask);
    }

    /// A step does not want to call any more.
    pub(crate) fn withdraw(&mut self, name: &str) {
        self.asks.remove(name);
        self.lane.settle(&caller(name), None, &BTreeSet::new(), self.now);
    }

    /// A step asks and has a turn, which it does not use yet.
    pub(crate) fn turn_of(&mut self, name: &str, ask: Ask) -> Place {
        self.ask(name, ask);
        self.lane.pass(self.now, &mut self.ids);
        self.lane.turn(&caller(name), self.now).places[0]
    }

    /// What a look at its run is told.
    pub(crate) fn turn(&mut self, name: &str) -> medley::core::dispatch::Turn {
        self.lane.turn(&caller(name), self.now)
    }

    /// One pass that nobody takes note of.
    pub(crate) fn only_pass(&mut self) {
        self.lane.pass(self.now, &mut self.ids);
    }

    /// A look at its run fails.
    pub(crate) fn suspend(&mut self, name: &str) {
        self.lane.suspend(&caller(name), self.now);
        self.pass();
    }

    /// It uses its turn.
    pub(crate) fn begins(&mut self, name: &str, place: Place) {
        let ask = self.asks.remove(name).unwrap();
        self.lane.settle(&caller(name), None, &[place.id].into(), self.now);
        let (caller, once, urgency) = (name.to_owned(), ask.once, ask.urgency);
        self.calls.insert(place.id, Call { caller, once, urgency, endpoint: place.endpoint, out: false });
        self.arrive(place.id);
    }

    /// One pass; who has something new looks, and takes what it has got. The intents are on their way then.
    pub(crate) fn pass(&mut self) -> Vec<(String, Place)> {
        let mut all = Vec::new();
        loop {
            let news = self.lane.pass(self.now, &mut self.ids);
            for (id, moves) in news.go {
                let call = self.calls.get_mut(&id).unwrap();
                call.out = true;
                call.endpoint = moves.map_or(call.endpoint, |chosen| chosen.endpoint);
                self.departures.push((call.caller.clone(), self.now));
            }
            if news.runs.is_empty() {
                return all;
            }
            for run in news.runs {
                let name = run.name.clone();
                let turn = self.lane.turn(&caller(&name), self.now);
                let Some(ask) = self.asks.remove(&name) else { continue };
                if let Some(why) = turn.refused {
                    self.refused.push((name.clone(), why));
                    self.lane.settle(&caller(&name), None, &BTreeSet::new(), self.now);
                    continue;
                }
                let starts: BTreeSet<u64> = turn.places.iter().map(|p| p.id).collect();
                for place in &turn.places {
                    let call = Call {
                        caller: name.clone(),
                        once: ask.once,
                        urgency: ask.urgency,
                        endpoint: place.endpoint,
                        out: false,
                    };
                    self.calls.insert(place.id, call);
                    all.push((name.clone(), *place));
                }
                let rest = ask.count - u32::try_from(turn.places.len()).unwrap();
                let again = Some(Ask { count: rest, ..ask }).filter(|_| rest > 0);
                self.lane.settle(&caller(&name), again.clone(), &starts, self.now);
                self.asks.extend(again.map(|ask| (name.clone(), ask)));
            }
        }
    }

    /// An intent is written.
    pub(crate) fn arrive(&mut self, id: u64) {
        assert!(self.lane.arrive(id, self.now), "its turn is there");
        self.arrived.insert(id);
        self.pass();
    }

    /// All intents are written.
    pub(crate) fn arrive_all(&mut self) {
        loop {
            let here = self.calls.iter().find(|(id, c)| !c.out && !self.arrived.contains(*id)).map(|(id, _)| *id);
            let Some(id) = here else { return };
            self.arrive(id);
        }
    }

    /// A call ends.
    pub(crate) fn end(&mut self, id: u64, well: bool) {
        self.calls.remove(&id);
        self.lane.leave(id, Some(Ended { well, seconds: Some(0.1) }), self.now);
        self.pass();
    }

    pub(crate) fn wait(&mut self, ms: i64) {
        self.now += SignedDuration::from_millis(ms);
        self.pass();
    }

    /// Calls that are out, by endpoint: all, and those of urgency stat.
    pub(crate) fn out(&self) -> BTreeMap<SocketAddr, (u32, u32)> {
        let mut out: BTreeMap<SocketAddr, (u32, u32)> = BTreeMap::new();
        for call in self.calls.values().filter(|c| c.out) {
            let at = out.entry(call.endpoint).or_default();
            at.0 += 1;
            at.1 += u32::from(call.urgency == Urgency::Stat);
        }
        out
    }

    /// Callers in the order in which their calls went out.
    pub(crate) fn order(&self) -> Vec<&str> {
        self.departures.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The call of a step that is out.
    pub(crate) fn of(&self, name: &str) -> u64 {
        *self.calls.iter().find(|(_, c)| c.caller == name && c.out).unwrap().0
    }
}
