//! The instances of a service and the calls that they have been sent, or are about to be.
//!
//! A call gets a seat before its intent is written, and goes out when it has arrived with the intent written and a place is free. A
//! few more have seats than may be at work, so that a place that gets free is taken at once and not after a status write.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    breaker::{Breaker, Passage},
    choice::Load,
    lane::Waits,
    limits::Limits,
};
use crate::api::vocabulary::Urgency;

/// For so long in advance seats are given where calls are spaced: about as long as an intent takes to be written.
const AHEAD: Duration = Duration::from_millis(10);

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ended {
    /// The service did what it is there for, as far as can be told from outside.
    pub well: bool,
    /// How long it took to answer, in seconds, where it has.
    pub seconds: Option<f64>,
}

/// Who wants to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traveller {
    pub(super) urgency: Urgency,
    pub(super) rank: usize,
    pub(super) since: Timestamp,
    /// It must not have a seat that it may have to wait on: should this process die, nobody would know whether it has gone.
    pub(super) once: bool,
}

#[derive(Clone, Debug)]
struct Seat {
    endpoint: SocketAddr,
    urgency: Urgency,
    rank: usize,
    since: Timestamp,
    flying: bool,
}

#[derive(Clone, Debug, Default)]
struct Instance {
    ready: bool,
    load: Load,
    breaker: Breaker,
    flying: u32,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Seats {
    instances: BTreeMap<SocketAddr, Instance>,
    seats: BTreeMap<u64, Seat>,
    /// Those that could go out, in the order of their turn.
    gate: BTreeSet<(Reverse<usize>, Timestamp, u64)>,
    /// Seats of calls that have not gone out, by rank.
    pending: BTreeMap<usize, u32>,
    /// Before that no call goes out.
    next_send: Option<Timestamp>,
}

fn after(now: Timestamp, by: Duration) -> Timestamp {
    now.saturating_add(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
}

impl Seats {
    /// Takes over which endpoints there are.
    pub(super) fn set_endpoints(&mut self, endpoints: &[SocketAddr]) {
        for instance in self.instances.values_mut() {
            instance.ready = false;
        }
        for endpoint in endpoints {
            self.instances.entry(*endpoint).or_default().ready = true;
        }
        self.instances.retain(|_, i| i.ready || i.load.in_flight > 0);
    }

    /// Endpoints that would take one more call, with what is known of them.
    pub(super) fn candidates(&self, limits: &Limits, who: &Traveller, now: Timestamp) -> Vec<(SocketAddr, Load)> {
        if !self.may_be_pending(limits, who, now) {
            return Vec::new();
        }
        let fits = |(endpoint, instance): &(&SocketAddr, &Instance)| {
            let passes = match instance.breaker.passage(now) {
                Passage::Free => true,
                Passage::Trial => instance.load.in_flight == 0,
                Passage::Closed(_) => false,
            };
            instance.ready && passes && self.has_room(limits, who, **endpoint, instance)
        };
        self.instances.iter().filter(fits).map(|(endpoint, i)| (*endpoint, i.load)).collect()
    }

    /// What comes later does not count: it lets this one pass at the gate.
    fn has_room(&self, limits: &Limits, who: &Traveller, endpoint: SocketAddr, instance: &Instance) -> bool {
        let Some(concurrency) = limits.concurrency else { return true };
        let before = self.seats.values().filter(|s| !s.flying && s.endpoint == endpoint && s.rank >= who.rank).count();
        let ahead = if who.once { 0 } else { 1 + concurrency / 8 };
        let taken = instance.flying.saturating_add(u32::try_from(before).unwrap_or(u32::MAX));
        taken < places(limits, who.urgency, concurrency).saturating_add(ahead)
    }

    fn may_be_pending(&self, limits: &Limits, who: &Traveller, now: Timestamp) -> bool {
        let Some(interval) = limits.interval else { return true };
        let before: u32 = self.pending.range(who.rank..).map(|(_, n)| n).sum();
        if who.once {
            return before == 0 && self.next_send.is_none_or(|at| at <= now);
        }
        u128::from(before) <= AHEAD.as_nanos() / interval.as_nanos().max(1)
    }

    /// Why there is no seat.
    pub(super) fn why(&self, limits: &Limits, who: &Traveller, now: Timestamp) -> Waits {
        let mut ready = self.instances.values().filter(|i| i.ready).peekable();
        if ready.peek().is_some() && ready.all(|i| i.breaker.passage(now) != Passage::Free) {
            Waits::Paused
        } else if self.may_be_pending(limits, who, now) {
            Waits::Busy
        } else {
            Waits::Rate
        }
    }

    /// Gives a seat.
    pub(super) fn take(&mut self, id: u64, endpoint: SocketAddr, who: &Traveller) {
        let seat = Seat { endpoint, urgency: who.urgency, rank: who.rank, since: who.since, flying: false };
        self.instances.entry(endpoint).or_default().load.in_flight += 1;
        *self.pending.entry(who.rank).or_default() += 1;
        self.seats.insert(id, seat);
    }

    /// The intent is written: the call may go when there is a place for it. False where it has no seat.
    pub(super) fn arrive(&mut self, id: u64) -> bool {
        let Some(seat) = self.seats.get(&id) else { return false };
        self.gate.insert((Reverse(seat.rank), seat.since, id));
        true
    }

    /// A call that needs no turn goes out.
    pub(super) fn send(&mut self, id: u64, endpoint: SocketAddr, urgency: Urgency, now: Timestamp) {
        let instance = self.instances.entry(endpoint).or_default();
        instance.load.in_flight += 1;
        instance.flying += 1;
        self.seats.insert(id, Seat { endpoint, urgency, rank: 0, since: now, flying: true });
    }

    /// Calls that go out now.
    pub(super) fn depart(&mut self, limits: &Limits, now: Timestamp) -> Vec<u64> {
        let mut gone = Vec::new();
        for &turn in &self.gate {
            let (Reverse(rank), _, id) = turn;
            if limits.interval.is_some() && self.next_send.is_some_and(|at| at > now) {
                break;
            }
            let Some(seat) = self.seats.get_mut(&id) else { continue };
            let Some(instance) = self.instances.get_mut(&seat.endpoint) else { continue };
            if limits.concurrency.is_some_and(|c| instance.flying >= places(limits, seat.urgency, c)) {
                continue;
            }
            instance.flying += 1;
            seat.flying = true;
            forget_pending(&mut self.pending, rank);
            if let Some(interval) = limits.interval {
                self.next_send = Some(after(now, interval));
            }
            gone.push(turn);
        }
        for turn in &gone {
            self.gate.remove(turn);
        }
        gone.into_iter().map(|(_, _, id)| id).collect()
    }

    /// A seat is given back; whether its endpoint is left alone from now on. `ended` where the call went out and has ended.
    pub(super) fn leave(&mut self, id: u64, ended: Option<Ended>, limits: &Limits, now: Timestamp) -> bool {
        let Some(seat) = self.seats.remove(&id) else { return false };
        self.gate.remove(&(Reverse(seat.rank), seat.since, id));
        if !seat.flying {
            forget_pending(&mut self.pending, seat.rank);
        }
        let Some(instance) = self.instances.get_mut(&seat.endpoint) else { return false };
        instance.load.in_flight = instance.load.in_flight.saturating_sub(1);
        instance.flying = instance.flying.saturating_sub(u32::from(seat.flying));
        let opened = ended.is_some_and(|ended| {
            instance.load.ended(ended.well, ended.seconds);
            instance.breaker.ended(ended.well, limits.breaker, now)
        });
        if !instance.ready && instance.load.in_flight == 0 {
            self.instances.remove(&seat.endpoint);
        }
        opened
    }

    /// When something may go on although nothing happens.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let pauses = self.instances.values().filter_map(|i| match i.breaker.passage(now) {
            Passage::Closed(until) if i.ready => Some(until),
            _ => None,
        });
        pauses.chain(self.next_send.filter(|at| *at > now)).min()
    }

    /// What is known of the endpoints.
    pub(super) fn loads(&self) -> BTreeMap<SocketAddr, Load> {
        self.instances.iter().map(|(endpoint, i)| (*endpoint, i.load)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }
}

/// How many calls of this urgency an endpoint may be sent at a time.
fn places(limits: &Limits, urgency: Urgency, concurrency: u32) -> u32 {
    concurrency.saturating_add(if urgency == Urgency::Stat { limits.stat_reserve } else { 0 })
}

fn forget_pending(pending: &mut BTreeMap<usize, u32>, rank: usize) {
    if let Some(n) = pending.get_mut(&rank) {
        *n = n.saturating_sub(1);
        if *n == 0 {
            pending.remove(&rank);
        }
    }
}
