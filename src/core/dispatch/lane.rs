//! The call queue of one interface of one service: who waits, in which order, and who has the next turn.
//!
//! The order is that of urgency, with aging as for capacity, then of time. Whoever is first and finds no room keeps all others
//! waiting: otherwise those that are easier to place would overtake it for ever.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    choice::{Chosen, Load, choose},
    limits::Limits,
    seats::{Ended, Seats, Traveller},
};
use crate::{
    api::vocabulary::Urgency,
    core::{
        name::{Key, chance},
        scheduling::{
            Aging, Rate,
            telling::{TOLD_AGAIN, WORTH_TELLING, moved_much},
        },
    },
};

/// A step of a run that calls.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Caller {
    /// The run.
    pub run: Key,
    /// Its UID: a run that is made anew under the same name is another one.
    pub uid: String,
    /// The step's id.
    pub step: String,
}

/// What a step asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// How soon the result is needed.
    pub urgency: Urgency,
    /// Since when it waits. A step with many items waits since it last had a turn: `None`.
    pub since: Option<Timestamp>,
    /// After so long it rises one level, to `urgent` at most; after twice as long it comes first among its equals.
    pub aging: Option<SignedDuration>,
    /// How many calls it has ready.
    pub count: u32,
    /// It must not have a turn that it may have to wait on.
    pub once: bool,
    /// Its intent is stored already: it is not refused.
    pub stored: bool,
    /// The endpoint to keep, where it is among those that have room.
    pub same: Option<SocketAddr>,
}

/// A turn: the right to send one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which.
    pub id: u64,
    /// Where the call is meant to go.
    pub endpoint: SocketAddr,
    /// How probable that choice was, in percent.
    pub probability: u8,
}

/// Why a step gets no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// So many may wait, and that many come before it.
    Full(usize),
    /// It has waited for so long.
    Waited(Duration),
}

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// The endpoints have as many calls as they are sent at a time.
    Busy,
    /// Calls are spaced in time.
    Rate,
    /// The endpoints are left alone after failures.
    Paused,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What it waits for.
    pub waits: Waits,
    /// Steps that come before it.
    pub ahead: usize,
    /// When it has its turn, if calls go on to end as often as in the last minutes.
    pub eta: Option<Timestamp>,
}

impl Standing {
    fn differs_much(&self, other: &Self) -> bool {
        self.waits != other.waits || moved_much(self.ahead, other.ahead)
    }
}

/// What a lane has to say to a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Turns that it has and has not used.
    pub places: Vec<Place>,
    /// Where it stands, as far as it is to be told now.
    pub told: Option<Standing>,
    /// Why it gets no turn.
    pub refused: Option<Refused>,
}

/// What a pass has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Runs that have something to do now.
    pub runs: Vec<Key>,
    /// Calls that go out now; with an endpoint where it is not the one that the call was meant for.
    pub go: Vec<(u64, Option<Chosen>)>,
    /// Urgency of each call that got its turn, and how long it has stood in the queue.
    pub turns: Vec<(Urgency, SignedDuration)>,
    /// How many steps were refused.
    pub refused: u32,
}

#[derive(Clone, Debug)]
struct Waiting {
    ask: Ask,
    since: Timestamp,
    /// Since when it stands in this queue, or since its last turn.
    queued: Timestamp,
    rank: usize,
    places: Vec<Place>,
    refused: Option<Refused>,
    told: Option<(Timestamp, Standing)>,
    /// What it was told last is new to it.
    pending: bool,
    /// A look at its run knows of the refusal, or of what it was told last.
    seen: bool,
}

impl Waiting {
    const fn aging(&self) -> Aging {
        Aging { urgency: self.ask.urgency, since: self.since, aging: self.ask.aging }
    }

    fn queues(&self) -> bool {
        self.refused.is_none() && self.places.len() < self.ask.count as usize
    }

    fn traveller(&self) -> Traveller {
        Traveller { aging: self.aging(), rank: self.rank, once: self.ask.once }
    }
}

type TurnKey = (Reverse<usize>, Timestamp, Arc<Caller>);

/// One call queue.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    limits: Limits,
    seats: Seats,
    waiting: HashMap<Arc<Caller>, Waiting>,
    order: BTreeSet<TurnKey>,
    /// When somebody rises.
    rises: BTreeSet<(Timestamp, Arc<Caller>)>,
    /// When somebody has waited too long.
    timeouts: BTreeSet<(Timestamp, Arc<Caller>)>,
    rate: Rate,
}

impl Lane {
    /// Takes over what holds and which endpoints are ready.
    pub fn set(&mut self, limits: Limits, endpoints: &[SocketAddr]) {
        let timeout_changes = limits.queue_timeout != self.limits.queue_timeout;
        self.limits = limits;
        if timeout_changes {
            let all =
                self.order.iter().filter_map(|(_, _, c)| Some((self.times_out(&self.waiting[c])?, Arc::clone(c))));
            self.timeouts = all.collect();
        }
        self.seats.set_endpoints(endpoints);
    }

    /// Takes note of what a step asks for now, if anything. Turns that it has and that are not in `starts` are given back, but for
    /// those that it still asks for.
    pub fn settle(&mut self, caller: &Arc<Caller>, ask: Option<Ask>, starts: &BTreeSet<u64>, now: Timestamp) {
        self.leave_order(caller);
        let before = self.waiting.remove(caller);
        let known = before.as_ref().filter(|b| b.refused.is_none()).map(|b| (b.since, b.queued));
        // a look that began before a refusal, or a word, does not know of it: the next one will
        let unseen = before.as_ref().filter(|b| !b.seen && ask.is_some());
        let (refused, pending) = (unseen.and_then(|b| b.refused), unseen.is_some_and(|b| b.pending));
        let (mut places, told) = before.map(|b| (b.places, b.told)).unwrap_or_default();
        places.retain(|p| !starts.contains(&p.id));
        let wanted = ask.as_ref().map_or(0, |a| a.count as usize);
        for place in places.drain(wanted.min(places.len())..) {
            self.seats.leave(place.id, None, &self.limits, now);
        }
        let Some(ask) = ask else { return };
        let since = ask.since.or(known.map(|(since, _)| since)).unwrap_or(now);
        let queued = known.map_or(now, |(_, queued)| queued);
        // it gets its rank with its place in the order
        let waiting = Waiting { ask, since, queued, rank: 0, places, refused, told, pending, seen: false };
        self.waiting.insert(Arc::clone(caller), waiting);
        self.join_order(caller, now);
    }

    fn leave_order(&mut self, caller: &Arc<Caller>) {
        let Some(waiting) = self.waiting.get(caller) else { return };
        self.order.remove(&(Reverse(waiting.rank), waiting.since, Arc::clone(caller)));
        let at = |moment: Option<Timestamp>| (moment.unwrap_or(Timestamp::MAX), Arc::clone(caller));
        self.rises.remove(&at(waiting.aging().rises(waiting.rank)));
        self.timeouts.remove(&at(self.times_out(waiting)));
    }

    fn join_order(&mut self, caller: &Arc<Caller>, now: Timestamp) {
        let Some(waiting) = self.waiting.get_mut(caller).filter(|w| w.queues()) else { return };
        waiting.rank = waiting.aging().rank(now);
        let waiting = &self.waiting[caller];
        self.order.insert((Reverse(waiting.rank), waiting.since, Arc::clone(caller)));
        self.rises.extend(waiting.aging().rises(waiting.rank).map(|at| (at, Arc::clone(caller))));
        self.timeouts.extend(self.times_out(waiting).map(|at| (at, Arc::clone(caller))));
    }

    fn times_out(&self, waiting: &Waiting) -> Option<Timestamp> {
        let most = SignedDuration::try_from(self.limits.queue_timeout.filter(|_| !waiting.ask.stored)?).ok()?;
        waiting.queued.saturating_add(most).ok()
    }

    /// What is to be said to a step. A turn that could not be used must not have to wait now where the step is to take effect once at
    /// most: it is one only if it need not.
    pub fn turn(&mut self, caller: &Arc<Caller>, now: Timestamp) -> Turn {
        let Some(waiting) = self.waiting.get_mut(caller) else { return Turn::default() };
        waiting.seen = true;
        if waiting.ask.once {
            waiting.places.retain(|p| self.seats.resume(p.id, &self.limits, now));
        }
        Turn {
            places: waiting.places.clone(),
            told: waiting.told.as_ref().filter(|_| waiting.pending).map(|(_, standing)| standing.clone()),
            refused: waiting.refused,
        }
    }

    /// The intent of a call with this turn is written: it is among those that a pass lets go. False where there is no such turn any
    /// more.
    pub fn arrive(&mut self, id: u64, now: Timestamp) -> bool {
        self.seats.arrive(id, &self.limits, now)
    }

    /// A look at a step's run has failed: turns that it has are its own still, and keep nothing from others until one is used. It gets
    /// no other before a look goes well.
    pub fn suspend(&mut self, caller: &Arc<Caller>, now: Timestamp) {
        self.leave_order(caller);
        for place in self.waiting.get(caller).iter().flat_map(|w| &w.places) {
            self.seats.suspend(place.id, &self.limits, now);
        }
    }

    /// A call goes out that needs no turn.
    pub fn send(&mut self, id: u64, endpoint: SocketAddr, urgency: Urgency, now: Timestamp) {
        self.seats.send(id, endpoint, urgency, &self.limits, now);
    }

    /// A call has ended, or its turn is given back; whether its endpoint is left alone from now on.
    pub fn leave(&mut self, id: u64, ended: Option<Ended>, now: Timestamp) -> bool {
        if ended.is_some() {
            self.rate.add(1, now);
        }
        self.seats.leave(id, ended, &self.limits, now)
    }

    /// Gives turns, refuses those for whom there is none, and lets calls go out. `ids` numbers turns.
    pub fn pass(&mut self, now: Timestamp, ids: &mut u64) -> News {
        let mut news = News { go: self.seats.depart(&self.limits, now), ..News::default() };
        self.rise(now);
        while let Some((_, _, caller)) = self.order.first().cloned() {
            let waiting = &self.waiting[&caller];
            let who = waiting.traveller();
            let candidates = self.seats.candidates(&self.limits, &who, now);
            let id = *ids + 1;
            let drawn = chance(&[&caller.uid, &caller.step, &id.to_string()]);
            let Some(chosen) = choose(&candidates, waiting.ask.same, drawn) else { break };
            *ids = id;
            self.seats.take(id, chosen.endpoint, &who, &self.limits, now);
            news.turns.push((waiting.ask.urgency, now.duration_since(waiting.queued)));
            self.leave_order(&caller);
            if let Some(waiting) = self.waiting.get_mut(&caller) {
                let place = Place { id, endpoint: chosen.endpoint, probability: chosen.probability };
                waiting.places.push(place);
                waiting.queued = now;
                if waiting.ask.since.is_none() {
                    waiting.since = now;
                }
            }
            self.join_order(&caller, now);
            news.runs.push(caller.run.clone());
        }
        self.refuse_some(now, &mut news);
        news.runs.sort();
        news.runs.dedup();
        news
    }

    fn rise(&mut self, now: Timestamp) {
        while let Some((_, caller)) = self.rises.first().cloned().filter(|(at, _)| *at <= now) {
            self.leave_order(&caller);
            self.join_order(&caller, now);
        }
    }

    /// Those for whom there was no turn in time, and those that are too many.
    fn refuse_some(&mut self, now: Timestamp, news: &mut News) {
        while let Some((_, caller)) = self.timeouts.first().cloned().filter(|(at, _)| *at <= now) {
            self.refuse(&caller, Refused::Waited(self.limits.queue_timeout.unwrap_or_default()), news);
        }
        while self.order.len() > self.limits.queue_max() {
            let last = self.order.iter().rev().map(|(_, _, c)| c).find(|c| !self.waiting[*c].ask.stored).cloned();
            let Some(last) = last else { break };
            self.refuse(&last, Refused::Full(self.limits.queue_max()), news);
        }
    }

    fn refuse(&mut self, caller: &Arc<Caller>, why: Refused, news: &mut News) {
        self.leave_order(caller);
        if let Some(waiting) = self.waiting.get_mut(caller) {
            waiting.refused = Some(why);
            waiting.seen = false;
            news.refused += 1;
            news.runs.push(caller.run.clone());
        }
    }

    /// When a pass is needed although nothing happens.
    #[must_use]
    pub fn next_pass(&self, now: Timestamp) -> Option<Timestamp> {
        let moments = [&self.rises, &self.timeouts].into_iter().filter_map(|set| set.first().map(|(at, _)| *at));
        let wanted = !self.order.is_empty() || !self.seats.is_empty();
        self.seats.next(&self.limits, now).filter(|_| wanted).into_iter().chain(moments).min()
    }

    /// Runs whose steps wait and are to be told where they stand, those first whose turn comes first: of so many steps at most.
    pub fn tell(&mut self, now: Timestamp, most: usize) -> Vec<Key> {
        let mut runs = Vec::new();
        for (ahead, (_, _, caller)) in self.order.iter().enumerate() {
            let Some(waiting) = self.waiting.get_mut(caller) else { continue };
            let again = |(at, _): &(Timestamp, Standing)| !waiting.pending && now.duration_since(*at) >= TOLD_AGAIN;
            if now.duration_since(waiting.since) < WORTH_TELLING || !waiting.told.as_ref().is_none_or(again) {
                continue;
            }
            let eta = self.rate.eta(ahead, now);
            let waits = self.seats.why(&self.limits, &waiting.traveller(), now);
            let standing = Standing { waits, ahead, eta };
            if waiting.told.as_ref().is_some_and(|(_, before)| !before.differs_much(&standing)) {
                continue;
            }
            (waiting.told, waiting.pending, waiting.seen) = (Some((now, standing)), true, false);
            runs.push(caller.run.clone());
            if runs.len() == most {
                break;
            }
        }
        runs
    }

    /// Runs of which a step waits or has a turn.
    pub fn runs(&self) -> impl Iterator<Item = &Key> {
        self.waiting.keys().map(|caller| &caller.run)
    }

    /// What is known of the endpoints.
    #[must_use]
    pub fn loads(&self) -> BTreeMap<SocketAddr, Load> {
        self.seats.loads()
    }

    /// How many calls wait, for their turn or for a free place, and how many are under way.
    #[must_use]
    pub fn calls(&self) -> (usize, usize) {
        let (seated, flying) = self.seats.calls();
        let queued = self.waiting.values().filter(|w| w.queues()).map(|w| w.ask.count as usize - w.places.len());
        (queued.sum::<usize>() + seated, flying)
    }

    /// Whether nobody waits and nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.seats.is_empty()
    }
}
