//! Limits that policies set on what is at work. They lie across pools and across each other, so they are counted beside the tree: what
//! starts must fit into each of those that hold for it.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::core::scheduling::rate::Rate;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// Runs that are under way.
    Runs,
    /// Pods of steps.
    Pods,
    /// Calls of steps.
    Calls,
}

/// Which limit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoundKey {
    /// Namespace of the policy.
    pub namespace: String,
    /// Its name.
    pub policy: String,
    /// What it bounds.
    pub work: Work,
}

/// So much may be at work at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Which limit.
    pub key: BoundKey,
    /// How many.
    pub limit: u32,
}

/// Those limits that hold for something, of which each of its parts takes one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct BoundSet(usize);

#[derive(Clone, Debug, Default)]
struct Counter {
    limit: u32,
    used: u32,
    aside: u32,
    rate: Rate,
}

/// What is counted against limits.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    places: HashMap<BoundKey, usize>,
    counters: Vec<Counter>,
    /// The places of each set but the empty one.
    sets: Vec<Vec<usize>>,
    known: HashMap<Vec<usize>, BoundSet>,
    /// There is more room than before.
    pub(super) changed: bool,
}

impl Counters {
    /// The set of these limits, which hold as they are told here.
    pub(super) fn set(&mut self, bounds: &[Bound]) -> BoundSet {
        if bounds.is_empty() {
            return BoundSet::default();
        }
        let mut places = Vec::with_capacity(bounds.len());
        for bound in bounds {
            let next = self.counters.len();
            let place = *self.places.entry(bound.key.clone()).or_insert(next);
            if place == next {
                self.counters.push(Counter::default());
            }
            let counter = &mut self.counters[place];
            self.changed |= counter.limit < bound.limit;
            counter.limit = bound.limit;
            places.push(place);
        }
        places.sort_unstable();
        places.dedup();
        let next = BoundSet(self.sets.len() + 1);
        let set = *self.known.entry(places.clone()).or_insert(next);
        if set == next {
            self.sets.push(places);
        }
        set
    }

    fn places(&self, set: BoundSet) -> &[usize] {
        set.0.checked_sub(1).map_or(&[], |n| &self.sets[n])
    }

    /// Whether so many parts more may be at work.
    pub(super) fn fit(&self, set: BoundSet, parts: u32) -> bool {
        let fits = |c: &Counter| u64::from(c.used) + u64::from(c.aside) + u64::from(parts) <= u64::from(c.limit);
        self.places(set).iter().all(|&place| fits(&self.counters[place]))
    }

    /// Whether something counts against both.
    pub(super) fn meet(&self, one: BoundSet, other: BoundSet) -> bool {
        let other = self.places(other);
        self.places(one).iter().any(|place| other.contains(place))
    }

    /// When somebody has its turn who has so many before it, if things go on as fast as where they are slowest.
    pub(super) fn eta(&self, set: BoundSet, ahead: usize, now: Timestamp) -> Option<Timestamp> {
        let full = self.places(set).iter().map(|&place| &self.counters[place]).filter(|c| c.used >= c.limit);
        full.map(|c| c.rate.eta(ahead, now)).max().flatten()
    }

    fn each(&mut self, set: BoundSet, change: impl Fn(&mut Counter)) {
        for n in 0..self.places(set).len() {
            let place = self.places(set)[n];
            change(&mut self.counters[place]);
        }
    }

    pub(super) fn take(&mut self, set: BoundSet, parts: u32) {
        self.each(set, |c| c.used = c.used.saturating_add(parts));
    }

    pub(super) fn give_back(&mut self, set: BoundSet, parts: u32) {
        self.each(set, |c| c.used = c.used.saturating_sub(parts));
        self.changed |= set != BoundSet::default();
    }

    /// Takes note that something was admitted.
    pub(super) fn admitted(&mut self, set: BoundSet, parts: u32, now: Timestamp) {
        self.each(set, |c| c.rate.add(parts, now));
    }

    /// Keeps room for the rest of a pass.
    pub(super) fn set_aside(&mut self, set: BoundSet, parts: u32) {
        self.each(set, |c| c.aside = c.aside.saturating_add(parts));
    }

    /// Keeps room for what will start once those that `leave` have gone: of each limit what these do not give back.
    pub(super) fn keep_for(&mut self, set: BoundSet, parts: u32, leave: &[(BoundSet, u32)]) {
        for n in 0..self.places(set).len() {
            let place = self.places(set)[n];
            let freed = leave.iter().filter(|(other, _)| self.places(*other).contains(&place)).map(|(_, n)| n).sum();
            let aside = &mut self.counters[place].aside;
            *aside = aside.saturating_add(parts.saturating_sub(freed));
        }
    }

    /// Ends what [`Self::set_aside`] has begun.
    pub(super) fn put_back(&mut self) {
        self.counters.iter_mut().for_each(|c| c.aside = 0);
    }
}
