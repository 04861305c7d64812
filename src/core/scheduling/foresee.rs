//! What will happen, if nothing else comes and every step takes as long as expected: the same passes, played ahead in time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use crate::core::scheduling::{
    book::Book,
    demand::{Claimant, Demand, Ruling},
};

/// One thing that will happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// When.
    pub at: Timestamp,
    /// What.
    pub ruling: Ruling,
}

/// How a book is played ahead.
pub struct Course<'a> {
    /// How long a step of this claimant has its capacity, from when it was granted.
    pub takes: &'a dyn Fn(&Claimant) -> SignedDuration,
    /// How long a step that gives way needs to go.
    pub grace: SignedDuration,
    /// How long a step that has given way waits before it asks again.
    pub pause: SignedDuration,
    /// No further than this.
    pub until: Timestamp,
}

impl Book {
    /// What is ruled from now on, in order. Steps that have had their capacity for longer than expected end at once. A step that is
    /// displaced asks again as its next attempt; one that is giving way already does not. Nothing is changed.
    #[must_use]
    pub fn foresee(&self, now: Timestamp, course: &Course<'_>) -> Vec<Foreseen> {
        let mut book = self.clone();
        let mut ends: BTreeSet<(Timestamp, Arc<Claimant>)> = BTreeSet::new();
        let mut end_of: BTreeMap<Arc<Claimant>, Timestamp> = BTreeMap::new();
        let mut asks: BTreeSet<(Timestamp, Arc<Claimant>)> = BTreeSet::new();
        let mut gone: BTreeMap<Arc<Claimant>, Demand> = BTreeMap::new();
        for (claimant, since, leaving) in book.held() {
            let end = if leaving { later(now, course.grace) } else { later(since, (course.takes)(&claimant)) };
            let end = end.max(now);
            end_of.insert(Arc::clone(&claimant), end);
            ends.insert((end, claimant));
        }
        let (mut at, mut foreseen) = (now, Vec::new());
        loop {
            while let Some((end, claimant)) = ends.first().cloned().filter(|(end, _)| *end <= at) {
                ends.remove(&(end, Arc::clone(&claimant)));
                end_of.remove(&claimant);
                book.release(&claimant);
                if gone.contains_key(&claimant) {
                    asks.insert((later(at, course.pause), claimant));
                }
            }
            while let Some((when, claimant)) = asks.first().cloned().filter(|(when, _)| *when <= at) {
                asks.remove(&(when, Arc::clone(&claimant)));
                if let Some(demand) = gone.remove(&claimant) {
                    book.ask(Demand { since: at, ..demand }, at);
                }
            }
            for ruling in book.pass(at) {
                match &ruling {
                    Ruling::Granted { claimant, .. } => {
                        let end = later(at, (course.takes)(claimant));
                        end_of.insert(Arc::clone(claimant), end);
                        ends.insert((end, Arc::clone(claimant)));
                    }
                    Ruling::Preempted { victim, .. } => {
                        let end = later(at, course.grace);
                        if let Some(before) = end_of.insert(Arc::clone(victim), end) {
                            ends.remove(&(before, Arc::clone(victim)));
                        }
                        ends.insert((end, Arc::clone(victim)));
                        gone.extend(book.again(victim).map(|demand| (Arc::clone(victim), demand)));
                    }
                }
                foreseen.push(Foreseen { at, ruling });
            }
            let moments = [ends.first().map(|e| e.0), asks.first().map(|a| a.0), book.next_rise()];
            let Some(next) = moments.into_iter().flatten().min().filter(|t| *t <= course.until) else { break };
            at = next.max(at);
        }
        foreseen
    }
}

fn later(from: Timestamp, by: SignedDuration) -> Timestamp {
    from.saturating_add(by).unwrap_or(Timestamp::MAX)
}
