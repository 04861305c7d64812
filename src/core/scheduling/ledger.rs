//! Which capacity belongs to which run: what its status tells, what was granted since, and what its steps still ask for.
//!
//! A status is written some time after a grant, and a look at a run may have begun before it: until a status shows a grant, the
//! ledger assumes it. What a leader assumed is lost with it, and what the statuses tell is all that the next one needs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::vocabulary::Urgency,
    core::{
        name::Key,
        scheduling::{
            book::Book,
            demand::{Claimant, Demand, Holding, Ruling},
            report::{Standing, Usage},
            telling::{TOLD_AGAIN, WORTH_TELLING},
            tree::PoolDefinition,
        },
    },
};

/// A new leader lets runs ask that it has not looked at for so long before it grants anything.
const GATHERING: SignedDuration = SignedDuration::from_secs(10);

/// Step and number of an attempt.
type AttemptKey = (String, u32);

/// What the ledger has to say to a run that is looked at.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// What is granted and shows in no status yet: how many parts.
    pub grants: BTreeMap<AttemptKey, u32>,
    /// Attempts that are to give up what they have.
    pub displaced: BTreeSet<AttemptKey>,
    /// Where those stand that wait, as far as it is to be told now.
    pub told: BTreeMap<AttemptKey, Standing>,
}

/// What a pass has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Runs that have something to do now.
    pub runs: Vec<Key>,
    /// Urgency of each step that was admitted, and how long it has waited.
    pub admitted: Vec<(Urgency, SignedDuration)>,
    /// How many steps are to give way.
    pub preempted: u32,
}

#[derive(Clone, Debug)]
struct Has {
    parts: u32,
    /// A status tells of it.
    shown: bool,
    displaced: bool,
}

#[derive(Clone, Debug, Default)]
struct Known {
    uid: String,
    asks: HashMap<Arc<Claimant>, (Urgency, Timestamp)>,
    has: HashMap<Arc<Claimant>, Has>,
}

#[derive(Clone, Debug)]
struct Told {
    at: Timestamp,
    standing: Standing,
    /// The run has not been looked at since.
    pending: bool,
}

/// The ledger of all runs and pools.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    book: Book,
    runs: HashMap<Key, Known>,
    told: HashMap<Arc<Claimant>, Told>,
    /// Runs of which nobody knows yet what they ask for.
    awaited: HashSet<Key>,
    gathers_until: Timestamp,
    changed: bool,
}

impl Ledger {
    /// A ledger of what statuses tell. Nothing is granted before all runs of `awaited` have been settled, or for some seconds.
    #[must_use]
    pub fn new(
        pools: Vec<PoolDefinition>,
        holdings: impl IntoIterator<Item = Holding>,
        awaited: HashSet<Key>,
        now: Timestamp,
    ) -> Self {
        let gathers_until = now.saturating_add(GATHERING).unwrap_or(now);
        let mut ledger = Self { book: Book::new(pools), awaited, gathers_until, changed: true, ..Self::default() };
        for holding in holdings {
            ledger.book.hold(&holding);
            let claimant = &holding.demand.claimant;
            let known = ledger.runs.entry(claimant.run.clone()).or_default();
            known.uid.clone_from(&claimant.uid);
            let has = Has { parts: holding.count, shown: true, displaced: false };
            known.has.insert(Arc::clone(claimant), has);
        }
        ledger
    }

    /// Takes over other pools.
    pub fn set_pools(&mut self, pools: Vec<PoolDefinition>, now: Timestamp) {
        self.book = std::mem::take(&mut self.book).with_pools(pools, now);
        self.changed = true;
    }

    /// What is to be said to a run.
    #[must_use]
    pub fn entry(&self, run: &Key, uid: &str) -> Entry {
        let Some(known) = self.runs.get(run).filter(|k| k.uid == uid) else { return Entry::default() };
        let attempt = |c: &Arc<Claimant>| (c.step.clone(), c.attempt);
        let of = |test: fn(&Has) -> bool| known.has.iter().filter(move |(_, has)| test(has));
        Entry {
            grants: of(|h| !h.shown && !h.displaced).map(|(c, has)| (attempt(c), has.parts)).collect(),
            displaced: of(|h| h.displaced).map(|(c, _)| attempt(c)).collect(),
            told: known
                .asks
                .keys()
                .filter_map(|c| Some((attempt(c), self.told.get(c).filter(|t| t.pending)?.standing.clone())))
                .collect(),
        }
    }

    /// Takes note of what a run asks for and has, as its status tells now; whether a pass is needed for that.
    pub fn settle(
        &mut self,
        run: &Key,
        uid: &str,
        demands: Vec<Demand>,
        holdings: Vec<Holding>,
        now: Timestamp,
    ) -> bool {
        let before = std::mem::take(&mut self.changed);
        let was_awaited = self.awaited.remove(run) && self.awaited.is_empty();
        if self.runs.get(run).is_some_and(|k| k.uid != uid) {
            self.forget(run);
        }
        if demands.is_empty() && holdings.is_empty() && !self.runs.contains_key(run) {
            self.changed = before;
            return was_awaited;
        }
        let Self { book, runs, told, changed, .. } = self;
        let known = runs.entry(run.clone()).or_default();
        uid.clone_into(&mut known.uid);
        let shown: HashSet<Arc<Claimant>> = holdings.iter().map(|h| Arc::clone(&h.demand.claimant)).collect();
        let asked: HashSet<Arc<Claimant>> = demands.iter().map(|d| Arc::clone(&d.claimant)).collect();
        known.has.retain(|claimant, has| {
            // granted while the run was looked at: the next look will see it
            // or a step waits anew with what it has
            has.shown = shown.contains(claimant);
            let stays = has.shown || (!has.displaced && asked.contains(claimant));
            if !stays {
                book.release(claimant);
                *changed = true;
            }
            stays
        });
        for holding in &holdings {
            let claimant = &holding.demand.claimant;
            let parts = holding.count;
            let known_as = known.has.get(claimant);
            let displaced = known_as.is_some_and(|h| h.displaced);
            *changed |= known_as.is_none_or(|h| !h.shown);
            book.hold(holding);
            known.has.insert(Arc::clone(claimant), Has { parts, shown: true, displaced });
        }
        known.asks.retain(|claimant, _| {
            let stays = asked.contains(claimant) && !known.has.contains_key(claimant);
            if !stays {
                told.remove(claimant);
                if !known.has.contains_key(claimant) {
                    book.withdraw(claimant);
                    *changed = true;
                }
            }
            stays
        });
        for demand in demands {
            let claimant = Arc::clone(&demand.claimant);
            if known.has.contains_key(&claimant) {
                continue;
            }
            if let Some(told) = told.get_mut(&claimant) {
                told.pending = false;
            }
            let news =
                known.asks.insert(claimant, (demand.urgency, demand.since)) != Some((demand.urgency, demand.since));
            *changed |= news;
            book.ask(demand, now);
        }
        if known.asks.is_empty() && known.has.is_empty() {
            runs.remove(run);
        }
        let news = self.changed || was_awaited || self.book.has_more_room();
        self.changed |= before;
        news
    }

    /// A run is gone: it asks for nothing and has nothing.
    pub fn forget(&mut self, run: &Key) {
        self.awaited.remove(run);
        let Some(known) = self.runs.remove(run) else { return };
        for claimant in known.asks.keys() {
            self.told.remove(claimant);
            self.book.withdraw(claimant);
        }
        known.has.keys().for_each(|claimant| self.book.release(claimant));
        self.changed = true;
    }

    /// Rules on all that has changed.
    pub fn pass(&mut self, now: Timestamp) -> News {
        let mut news = News::default();
        if !self.awaited.is_empty() && now < self.gathers_until {
            return news;
        }
        for ruling in self.book.pass(now) {
            self.changed = true;
            match ruling {
                Ruling::Granted { claimant, count } => {
                    self.told.remove(&claimant);
                    let Some(known) = self.runs.get_mut(&claimant.run) else { continue };
                    if let Some((urgency, since)) = known.asks.remove(&claimant) {
                        news.admitted.push((urgency, now.duration_since(since)));
                    }
                    news.runs.push(claimant.run.clone());
                    known.has.insert(claimant, Has { parts: count, shown: false, displaced: false });
                }
                Ruling::Preempted { victim, .. } => {
                    news.preempted += 1;
                    news.runs.push(victim.run.clone());
                    let has = self.runs.get_mut(&victim.run).and_then(|k| k.has.get_mut(&victim));
                    if let Some(has) = has {
                        has.displaced = true;
                    }
                }
            }
        }
        news
    }

    /// When a pass is needed although nothing changes.
    #[must_use]
    pub fn next_pass(&self, now: Timestamp) -> Option<Timestamp> {
        if !self.awaited.is_empty() && now < self.gathers_until {
            return Some(self.gathers_until);
        }
        self.book.next_rise()
    }

    /// Runs whose steps wait and are to be told where they stand, the most urgent first: of so many steps at most.
    pub fn tell(&mut self, now: Timestamp, most: usize) -> Vec<Key> {
        let is_due = |claimant: &Arc<Claimant>, since: Timestamp| {
            let told = self.told.get(claimant);
            now.duration_since(since) >= WORTH_TELLING
                && told.is_none_or(|t| !t.pending && now.duration_since(t.at) >= TOLD_AGAIN)
        };
        let due = self.book.waiting().filter(|(claimant, since)| is_due(claimant, *since));
        let candidates: Vec<Arc<Claimant>> = due.take(8 * most).map(|(claimant, _)| Arc::clone(claimant)).collect();
        let mut runs = Vec::new();
        for claimant in candidates {
            let Some(standing) = self.book.standing(&claimant, now) else { continue };
            if self.told.get(&claimant).is_some_and(|t| !t.standing.differs_much(&standing)) {
                continue;
            }
            runs.push(claimant.run.clone());
            self.told.insert(claimant, Told { at: now, standing, pending: true });
            if runs.len() == most {
                break;
            }
        }
        runs
    }

    /// How many grants no status shows yet.
    #[must_use]
    pub fn assumed(&self) -> usize {
        self.runs.values().flat_map(|known| known.has.values()).filter(|has| !has.shown).count()
    }

    /// Whether anything has changed since this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// How much of a pool, or of one of its shares, is in use.
    #[must_use]
    pub fn usage(&self, pool: &str, share: Option<&str>) -> Option<Usage> {
        self.book.usage(pool, share)
    }

    /// What is wrong with a pool.
    #[must_use]
    pub fn problem(&self, pool: &str) -> Option<&super::PoolProblem> {
        self.book.problem(pool)
    }
}
