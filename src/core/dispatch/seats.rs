//! The calls that the instances of a service have been sent, or are about to be.
//!
//! A call gets a seat before its intent is written, and goes out when it has arrived with the intent written and a place is free. A
//! few more have seats than there are places, so that a place that gets free is taken at once and not after a status write. Which
//! endpoint such a call goes to is settled when it goes: a place that gets free anywhere is for the first of those that are here.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    breaker::Passage,
    choice::{Chosen, Load, choose},
    instance::Instance,
    lane::Waits,
    limits::Limits,
};
use crate::{
    api::vocabulary::Urgency,
    core::{name::chance, scheduling::Aging},
};

/// For so long in advance seats are given where calls are spaced: longer than an intent takes to be written while many are.
const AHEAD: Duration = Duration::from_millis(100);

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
    pub(super) aging: Aging,
    pub(super) rank: usize,
    /// It must not have a seat that it may have to wait on: should this process die, nobody would know whether it has gone.
    pub(super) once: bool,
}

#[derive(Clone, Debug)]
struct Seat {
    endpoint: SocketAddr,
    who: Traveller,
    /// A place is kept for it.
    kept: bool,
    /// Its intent could not be written yet: until then it keeps nothing from others.
    suspended: bool,
    arrived: bool,
    flying: bool,
}

type GateKey = (Reverse<usize>, Timestamp, u64);

impl Seat {
    const fn gate(&self, id: u64) -> GateKey {
        (Reverse(self.who.rank), self.who.aging.since, id)
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Seats {
    instances: BTreeMap<SocketAddr, Instance>,
    seats: BTreeMap<u64, Seat>,
    /// Those that could go out, in the order of their turn.
    gate: BTreeSet<GateKey>,
    /// Seats of calls that have not gone out and may have to wait, by rank.
    pending: BTreeMap<usize, u32>,
    /// Seats of calls that have not gone out and must not wait.
    holding: u32,
    /// When one of those that have not gone out comes to a higher rank.
    rises: BTreeSet<(Timestamp, u64)>,
    last_send: Option<Timestamp>,
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

    /// Endpoints that one more call may be meant for, with what is known of them: those with a place to spare, if there are any.
    pub(super) fn candidates(&self, limits: &Limits, who: &Traveller, now: Timestamp) -> Vec<(SocketAddr, Load)> {
        if !self.may_be_pending(limits, who, now) || !self.has_room(limits, who, now) {
            return Vec::new();
        }
        let urgency = who.aging.urgency;
        let unclaimed = self.which(|i| i.unclaimed(limits, urgency, now) > 0);
        if !unclaimed.is_empty() {
            return unclaimed;
        }
        self.which(|i| i.places(limits, urgency, now) > 0 || (!who.once && i.ahead(limits, now) > 0))
    }

    fn which(&self, fits: impl Fn(&Instance) -> bool) -> Vec<(SocketAddr, Load)> {
        self.instances.iter().filter(|(_, i)| fits(i)).map(|(endpoint, i)| (*endpoint, i.load)).collect()
    }

    /// Seats of calls that have not gone out and come before this one; what comes later lets it pass at the gate.
    fn before(&self, who: &Traveller) -> u32 {
        self.pending.range(who.rank..).map(|(_, n)| n).sum()
    }

    fn has_room(&self, limits: &Limits, who: &Traveller, now: Timestamp) -> bool {
        let sum = |of: &dyn Fn(&Instance) -> u32| self.instances.values().map(of).fold(0_u32, u32::saturating_add);
        let free = sum(&|i| i.places(limits, who.aging.urgency, now));
        let ahead = if who.once { 0 } else { sum(&|i| i.ahead(limits, now)) };
        self.before(who) < free.saturating_add(ahead)
    }

    fn next_send(&self, limits: &Limits) -> Option<Timestamp> {
        Some(after(self.last_send?, limits.interval?))
    }

    fn may_be_pending(&self, limits: &Limits, who: &Traveller, now: Timestamp) -> bool {
        let Some(interval) = limits.interval else { return true };
        let before = self.before(who).saturating_add(self.holding);
        if who.once {
            return before == 0 && self.next_send(limits).is_none_or(|at| at <= now);
        }
        u128::from(before) <= AHEAD.as_nanos() / interval.as_nanos().max(1)
    }

    /// Why there is no seat.
    pub(super) fn why(&self, limits: &Limits, who: &Traveller, now: Timestamp) -> Waits {
        let mut ready = self.instances.values().filter(|i| i.ready).peekable();
        if ready.peek().is_some() && ready.all(|i| i.passage(limits, now) != Passage::Free) {
            Waits::Paused
        } else if self.may_be_pending(limits, who, now) {
            Waits::Busy
        } else {
            Waits::Rate
        }
    }

    /// Gives a seat.
    pub(super) fn take(&mut self, id: u64, endpoint: SocketAddr, who: &Traveller, limits: &Limits, now: Timestamp) {
        self.instances.entry(endpoint).or_default().expects(id, who.once, limits, now);
        let seat = Seat { endpoint, who: *who, kept: who.once, suspended: false, arrived: false, flying: false };
        self.seats.insert(id, seat);
        self.count(id);
    }

    fn count(&mut self, id: u64) {
        let Some(seat) = self.seats.get(&id) else { return };
        if seat.kept {
            self.holding += 1;
        } else {
            *self.pending.entry(seat.who.rank).or_default() += 1;
            self.rises.extend(seat.who.aging.rises(seat.who.rank).map(|at| (at, id)));
        }
        if seat.arrived {
            self.gate.insert(seat.gate(id));
        }
    }

    fn count_no_more(&mut self, id: u64) {
        let Some(seat) = self.seats.get(&id).filter(|s| !s.flying && !s.suspended) else { return };
        self.gate.remove(&seat.gate(id));
        if seat.kept {
            self.holding = self.holding.saturating_sub(1);
            return;
        }
        let rank = seat.who.rank;
        self.rises.remove(&(seat.who.aging.rises(rank).unwrap_or(Timestamp::MAX), id));
        if let Some(n) = self.pending.get_mut(&rank) {
            *n = n.saturating_sub(1);
            if *n == 0 {
                self.pending.remove(&rank);
            }
        }
    }

    /// The intent is written: the call may go when there is a place for it. False where it has no seat.
    pub(super) fn arrive(&mut self, id: u64, limits: &Limits, now: Timestamp) -> bool {
        let Some(seat) = self.seats.get_mut(&id) else { return false };
        seat.arrived = true;
        if std::mem::take(&mut seat.suspended) {
            self.instances.entry(seat.endpoint).or_default().expects(id, false, limits, now);
            self.count(id);
        } else {
            self.gate.insert(seat.gate(id));
        }
        true
    }

    /// Takes a suspended seat up again where that is possible without having to wait; otherwise it is given back. Whether it is there.
    pub(super) fn resume(&mut self, id: u64, limits: &Limits, now: Timestamp) -> bool {
        let Some(seat) = self.seats.get(&id) else { return false };
        if !seat.suspended {
            return true;
        }
        let (who, endpoint) = (seat.who, seat.endpoint);
        let free = self.instances.get(&endpoint).is_some_and(|i| i.places(limits, who.aging.urgency, now) > 0);
        self.seats.remove(&id);
        let fits = free && self.may_be_pending(limits, &who, now) && self.has_room(limits, &who, now);
        if fits {
            self.take(id, endpoint, &who, limits, now);
        }
        fits
    }

    /// The intent could not be written: the seat is for others until it is.
    pub(super) fn suspend(&mut self, id: u64, limits: &Limits, now: Timestamp) {
        if self.seats.get(&id).is_none_or(|s| s.suspended || s.arrived) {
            return;
        }
        self.count_no_more(id);
        let Some(seat) = self.seats.get_mut(&id) else { return };
        seat.suspended = true;
        let (endpoint, kept) = (seat.endpoint, std::mem::take(&mut seat.kept));
        if let Some(instance) = self.instances.get_mut(&endpoint) {
            instance.leave(id, (false, kept), None, limits, now);
        }
        self.drop_unused(endpoint);
    }

    /// A call that needs no turn goes out.
    pub(super) fn send(&mut self, id: u64, endpoint: SocketAddr, urgency: Urgency, limits: &Limits, now: Timestamp) {
        let who = Traveller { aging: Aging { urgency, since: now, aging: None }, rank: 0, once: false };
        let instance = self.instances.entry(endpoint).or_default();
        instance.expects(id, false, limits, now);
        instance.send(id, false, limits, now);
        let (kept, suspended) = (false, false);
        self.seats.insert(id, Seat { endpoint, who, kept, suspended, arrived: true, flying: true });
    }

    /// Calls that go out now; with an endpoint where it is not the one that the call was meant for.
    pub(super) fn depart(&mut self, limits: &Limits, now: Timestamp) -> Vec<(u64, Option<Chosen>)> {
        self.rise(now);
        let (mut gone, mut all_but_stat_wait) = (Vec::new(), false);
        let here: Vec<u64> = self.gate.iter().map(|(_, _, id)| *id).collect();
        for id in here {
            if self.next_send(limits).is_some_and(|at| at > now) {
                break;
            }
            let Some(seat) = self.seats.get(&id) else { continue };
            let (who, kept) = (seat.who, seat.kept);
            if limits.interval.is_some() && self.holding > 0 && !kept {
                // the next moment is for the one that must not wait
                continue;
            }
            if all_but_stat_wait && !kept && who.aging.urgency != Urgency::Stat {
                continue;
            }
            let once = who.once;
            let Some(moves) = self.goes_to(id, seat, limits, now) else {
                all_but_stat_wait |= !once;
                continue;
            };
            self.count_no_more(id);
            if let (Some(chosen), Some(seat)) = (moves, self.seats.get_mut(&id)) {
                let before = std::mem::replace(&mut seat.endpoint, chosen.endpoint);
                if let Some(before) = self.instances.get_mut(&before) {
                    before.expects_no_more();
                }
                self.instances.entry(chosen.endpoint).or_default().expects(id, false, limits, now);
                self.drop_unused(before);
            }
            if let Some(seat) = self.seats.get_mut(&id) {
                seat.flying = true;
                self.instances.entry(seat.endpoint).or_default().send(id, kept, limits, now);
            }
            self.last_send = Some(now);
            gone.push((id, moves));
        }
        gone
    }

    /// Whether a call may go out now, and to which other endpoint than it was meant for.
    fn goes_to(&self, id: u64, seat: &Seat, limits: &Limits, now: Timestamp) -> Option<Option<Chosen>> {
        let urgency = seat.who.aging.urgency;
        let own = self.instances.get(&seat.endpoint);
        if seat.kept || own.is_some_and(|i| i.places(limits, urgency, now) > 0) {
            return Some(None);
        }
        if self.instances.values().any(|i| i.ready) {
            if seat.who.once {
                // should this process die, its status must name the endpoint that may have been asked
                return own.is_none_or(|i| !i.ready).then_some(None);
            }
            let free = self.which(|i| i.places(limits, urgency, now) > 0);
            return choose(&free, None, chance(&[&id.to_string()])).map(Some);
        }
        // nobody is there: it fails where it was meant to go, and is tried again as its step says
        own.is_none_or(|i| i.unfilled(limits, urgency) > 0).then_some(None)
    }

    fn rise(&mut self, now: Timestamp) {
        while let Some(&(at, id)) = self.rises.first().filter(|(at, _)| *at <= now) {
            self.rises.remove(&(at, id));
            self.count_no_more(id);
            if let Some(seat) = self.seats.get_mut(&id) {
                seat.who.rank = seat.who.aging.rank(now);
            }
            self.count(id);
        }
    }

    /// A seat is given back; whether its endpoint is left alone from now on. `ended` where the call went out and has ended.
    pub(super) fn leave(&mut self, id: u64, ended: Option<Ended>, limits: &Limits, now: Timestamp) -> bool {
        self.count_no_more(id);
        let Some(seat) = self.seats.remove(&id) else { return false };
        if seat.suspended {
            return false;
        }
        let Some(instance) = self.instances.get_mut(&seat.endpoint) else { return false };
        let opened = instance.leave(id, (seat.flying, seat.kept), ended, limits, now);
        self.drop_unused(seat.endpoint);
        opened
    }

    fn drop_unused(&mut self, endpoint: SocketAddr) {
        if self.instances.get(&endpoint).is_some_and(|i| !i.ready && i.load.in_flight == 0) {
            self.instances.remove(&endpoint);
        }
    }

    /// When something may go on although nothing happens.
    pub(super) fn next(&self, limits: &Limits, now: Timestamp) -> Option<Timestamp> {
        let pauses = self.instances.values().filter_map(|i| match i.passage(limits, now) {
            Passage::Closed(until) if i.ready => Some(until),
            _ => None,
        });
        let rises = self.rises.first().map(|(at, _)| *at);
        pauses.chain(self.next_send(limits).filter(|at| *at > now)).chain(rises).min()
    }

    /// What is known of the endpoints.
    pub(super) fn loads(&self) -> BTreeMap<SocketAddr, Load> {
        self.instances.iter().map(|(endpoint, i)| (*endpoint, i.load)).collect()
    }

    /// Calls that have not gone out yet, and those that are under way.
    pub(super) fn calls(&self) -> (usize, usize) {
        let flying = self.seats.values().filter(|seat| seat.flying).count();
        (self.seats.len() - flying, flying)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }
}
