//! Pools, and demands that come, end, and are displaced, beside a plain count of what each has.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use medley::{
    api::Urgency,
    core::{
        name::Key,
        scheduling::{
            Book, Bound, BoundKey, Claimant, Demand, Foreseen, PoolDefinition, Quantities, Ruling, ShareDefinition,
            Work,
        },
    },
};
use proptest::prelude::*;

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ask {
    pub(crate) run: String,
    pub(crate) pool: String,
    pub(crate) share: String,
    pub(crate) urgency: Urgency,
    pub(crate) unit: i64,
    /// Which of the limits hold for it, as bits.
    pub(crate) limited: u8,
    pub(crate) count: u32,
    pub(crate) least: u32,
    pub(crate) preempts: bool,
    pub(crate) interruptible: bool,
    pub(crate) strict: bool,
    pub(crate) aging: Option<SignedDuration>,
}

impl Ask {
    /// One part of so many units, of pool `p` and its share `s0`.
    pub(crate) fn new(run: &str, urgency: Urgency, unit: i64) -> Self {
        let (pool, share) = ("p".to_owned(), "s0".to_owned());
        let run = run.to_owned();
        Self {
            run,
            pool,
            share,
            urgency,
            unit,
            limited: 0,
            count: 1,
            least: 1,
            preempts: false,
            interruptible: false,
            strict: false,
            aging: None,
        }
    }

    pub(crate) fn name(&self) -> String {
        self.run.clone()
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Ask(Ask),
    /// The run of this name ends, if it has anything.
    Finish(String),
    /// What was told to go has gone, and asks again.
    Leave,
    /// So many seconds pass.
    Pass(i64),
}

/// So many units of the only resource.
pub(crate) fn units(count: i64) -> Quantities {
    [("slots".to_owned(), 1000 * count)].into()
}

/// How much may be at work of what each limit holds for.
const LIMITS: [u32; 2] = [3, 5];

fn bounds(limited: u8) -> Vec<Bound> {
    let key = |n: usize| BoundKey { namespace: "n".to_owned(), policy: format!("l{n}"), work: Work::Pods };
    let holds = |n: &usize| limited & (1 << n) != 0;
    (0..LIMITS.len()).filter(holds).map(|n| Bound { key: key(n), limit: LIMITS[n] }).collect()
}

pub(crate) fn share(name: &str, nominal: i64, weight: u32) -> ShareDefinition {
    ShareDefinition { name: name.to_owned(), nominal: units(nominal), weight, ..ShareDefinition::default() }
}

pub(crate) fn pool_of(name: &str, supply: i64, shares: Vec<ShareDefinition>) -> PoolDefinition {
    PoolDefinition { name: name.to_owned(), supply: units(supply), shares, ..PoolDefinition::default() }
}

pub(crate) fn pool(name: &str, supply: i64) -> PoolDefinition {
    pool_of(name, supply, vec![share("s0", 0, 1)])
}

pub(crate) fn claimant(run: &str, attempt: u32) -> Arc<Claimant> {
    Arc::new(Claimant { run: Key::new("n", run), uid: format!("u-{run}"), step: "s".to_owned(), attempt })
}

/// How long a step that gives way needs to go.
pub(crate) const GRACE: SignedDuration = SignedDuration::from_secs(2);
/// How long it waits before it asks again.
pub(crate) const PAUSE: SignedDuration = SignedDuration::from_secs(3);

/// How long a step takes: whole seconds, without pattern.
pub(crate) fn takes(claimant: &Claimant) -> SignedDuration {
    let sum: i64 = claimant.run.name.bytes().map(i64::from).sum();
    SignedDuration::from_secs(1 + (7 * sum + i64::from(claimant.attempt)) % 12)
}

pub(crate) struct Town {
    pub(crate) book: Book,
    pub(crate) now: Timestamp,
    pools: Vec<PoolDefinition>,
    asks: BTreeMap<String, Ask>,
    attempts: BTreeMap<String, u32>,
    /// Since when, and how many parts.
    held: BTreeMap<String, (Timestamp, u32)>,
    pub(crate) leaving: BTreeSet<String>,
}

impl Town {
    pub(crate) fn new(pools: Vec<PoolDefinition>) -> Self {
        Self {
            book: Book::new(pools.clone()),
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            pools,
            asks: BTreeMap::new(),
            attempts: BTreeMap::new(),
            held: BTreeMap::new(),
            leaving: BTreeSet::new(),
        }
    }

    pub(crate) fn ask(&mut self, ask: &Ask) {
        if self.asks.contains_key(&ask.run) {
            return;
        }
        self.asks.insert(ask.run.clone(), ask.clone());
        self.attempts.insert(ask.run.clone(), 1);
        self.submit(ask, 1);
    }

    fn submit(&mut self, ask: &Ask, attempt: u32) {
        let demand = Demand {
            claimant: claimant(&ask.run, attempt),
            pool: ask.pool.clone(),
            share: ask.share.clone(),
            urgency: ask.urgency,
            since: self.now,
            aging: ask.aging,
            unit: units(ask.unit),
            bounds: bounds(ask.limited),
            count: ask.count,
            least: ask.least,
            preempts: ask.preempts,
            interruptible: ask.interruptible,
            strict: ask.strict,
        };
        self.book.ask(demand, self.now);
    }

    pub(crate) fn pass(&mut self) -> Vec<Ruling> {
        let rulings = self.book.pass(self.now);
        for ruling in &rulings {
            match ruling {
                Ruling::Granted { claimant, count } => {
                    self.held.insert(claimant.run.name.clone(), (self.now, *count));
                }
                Ruling::Preempted { victim, .. } => {
                    self.leaving.insert(victim.run.name.clone());
                }
            }
        }
        rulings
    }

    /// What is granted in one pass, and how many parts.
    pub(crate) fn granted(&mut self) -> BTreeMap<String, u32> {
        self.pass();
        self.held.iter().map(|(name, (_, count))| (name.clone(), *count)).collect()
    }

    pub(crate) fn waiting(&self) -> Vec<String> {
        self.asks.keys().filter(|name| !self.held.contains_key(*name)).cloned().collect()
    }

    pub(crate) fn ask_of(&self, claimant: &Claimant) -> Ask {
        self.asks[&claimant.run.name].clone()
    }

    fn finish(&mut self, name: &str) {
        if self.held.remove(name).is_some() {
            self.leaving.remove(name);
            self.asks.remove(name);
            self.book.release(&claimant(name, self.attempts[name]));
        }
    }

    pub(crate) fn finish_older_than(&mut self, age: SignedDuration) {
        let old = self.held.iter().filter(|(_, (since, _))| self.now.duration_since(*since) >= age);
        let old: Vec<String> = old.map(|(name, _)| name.clone()).collect();
        old.iter().for_each(|name| self.finish(name));
    }

    /// All that was told to go has gone, and asks again.
    pub(crate) fn leave_all(&mut self) {
        for name in std::mem::take(&mut self.leaving) {
            self.held.remove(&name);
            let attempt = self.attempts[&name];
            self.book.release(&claimant(&name, attempt));
            self.attempts.insert(name.clone(), attempt + 1);
            let ask = self.asks[&name].clone();
            self.submit(&ask, attempt + 1);
        }
    }

    /// Lets time pass second by second: each step takes as long as it does, whoever gives way goes and asks again.
    pub(crate) fn live(&mut self, until: Timestamp) -> Vec<Foreseen> {
        let mut told: BTreeMap<String, Timestamp> = BTreeMap::new();
        let mut again: Vec<(Timestamp, String)> = Vec::new();
        let mut happened = Vec::new();
        while self.now <= until {
            for name in self.held.keys().cloned().collect::<Vec<_>>() {
                let attempt = self.attempts[&name];
                let over = match told.get(&name) {
                    Some(at) => *at + GRACE <= self.now,
                    None => self.held[&name].0 + takes(&claimant(&name, attempt)) <= self.now,
                };
                if over {
                    self.held.remove(&name);
                    self.leaving.remove(&name);
                    self.book.release(&claimant(&name, attempt));
                    if told.remove(&name).is_some() {
                        again.push((self.now + PAUSE, name));
                    }
                }
            }
            for (_, name) in again.extract_if(.., |(at, _)| *at <= self.now).collect::<Vec<_>>() {
                let attempt = self.attempts[&name] + 1;
                self.attempts.insert(name.clone(), attempt);
                let ask = self.asks[&name].clone();
                self.submit(&ask, attempt);
            }
            for ruling in self.pass() {
                if let Ruling::Preempted { victim, .. } = &ruling {
                    told.insert(victim.run.name.clone(), self.now);
                }
                happened.push(Foreseen { at: self.now, ruling });
            }
            self.now += SignedDuration::from_secs(1);
        }
        happened
    }

    pub(crate) fn play(&mut self, event: &Event) {
        match event {
            Event::Ask(ask) => self.ask(ask),
            Event::Finish(name) => self.finish(name),
            Event::Leave => self.leave_all(),
            Event::Pass(seconds) => self.now += SignedDuration::from_secs(*seconds),
        }
        self.pass();
    }

    /// Pools and shares of which more is held than may be, counted from what was granted.
    pub(crate) fn overdrawn(&self) -> Vec<String> {
        let slots = |q: &Quantities| q.get("slots").copied().unwrap_or(0);
        let held_of = |pool: &str, share: Option<&str>| -> i64 {
            let of = self.held.iter().filter_map(|(name, (_, count))| Some((self.asks.get(name)?, count)));
            let of = of.filter(|(ask, _)| ask.pool == pool && share.is_none_or(|s| s == ask.share));
            of.map(|(ask, count)| 1000 * ask.unit * i64::from(*count)).sum()
        };
        let below = |pool: &PoolDefinition| -> Vec<PoolDefinition> {
            let children = self.pools.iter().filter(|p| p.parent.as_ref() == Some(&pool.name)).cloned();
            std::iter::once(pool.clone()).chain(children).collect()
        };
        let mut wrong = Vec::new();
        for (n, limit) in LIMITS.into_iter().enumerate() {
            let of =
                self.held.iter().filter(|(name, _)| self.asks.get(*name).is_some_and(|a| a.limited & (1 << n) != 0));
            let held: u32 = of.map(|(_, (_, count))| count).sum();
            if held > limit {
                wrong.push(format!("limit {n}: {held} of {limit}"));
            }
        }
        for pool in &self.pools {
            let tree = below(pool);
            let supply: i64 = tree.iter().map(|p| slots(&p.supply)).sum();
            let held: i64 = tree.iter().map(|p| held_of(&p.name, None)).sum();
            let borrowing = match (&pool.parent, &pool.borrow_limit) {
                (None, _) => 0,
                (Some(_), Some(limit)) => slots(limit),
                (Some(_), None) => i64::MAX / 8,
            };
            if held > supply + borrowing {
                wrong.push(format!("pool {}: {held} of {supply}", pool.name));
            }
            for share in &pool.shares {
                let held = held_of(&pool.name, Some(&share.name));
                let most = share.borrow_limit.as_ref().map_or(i64::MAX / 8, |l| slots(&share.nominal) + slots(l));
                if held > most {
                    wrong.push(format!("share {} of {}: {held} of {most}", share.name, pool.name));
                }
            }
        }
        wrong
    }
}

/// A root and up to two pools below it, with up to three shares each.
pub(crate) fn pools() -> impl Strategy<Value = Vec<PoolDefinition>> {
    let limit = || prop::option::of((0_i64..6).prop_map(units));
    let shares = prop::collection::vec((0_i64..4, limit(), limit(), 1_u32..4), 1..4);
    let one = (0_i64..12, shares, limit(), limit(), prop::collection::btree_map(0_usize..5, 0_i64..3, 0..3));
    prop::collection::vec(one, 1..4).prop_map(|all| {
        let build = |(place, (supply, shares, borrow_limit, lend_limit, reserved)): (usize, _)| {
            let shares: Vec<(i64, Option<Quantities>, Option<Quantities>, u32)> = shares;
            let reserved: BTreeMap<usize, i64> = reserved;
            PoolDefinition {
                name: if place == 0 { "p".to_owned() } else { format!("p{place}") },
                parent: (place > 0).then(|| "p".to_owned()),
                supply: units(supply),
                reserved: reserved.into_iter().map(|(u, count)| (Urgency::ALL[u], units(count))).collect(),
                borrow_limit,
                lend_limit,
                shares: shares
                    .into_iter()
                    .enumerate()
                    .map(|(i, (nominal, borrow_limit, lend_limit, weight))| ShareDefinition {
                        borrow_limit,
                        lend_limit,
                        ..share(&format!("s{i}"), nominal, weight)
                    })
                    .collect(),
            }
        };
        all.into_iter().enumerate().map(build).collect()
    })
}

fn ask(preempting: bool) -> impl Strategy<Value = Ask> {
    let limited = prop_oneof![2 => Just(0_u8), 1 => 1_u8..4];
    let size = (1_i64..5, 1_u32..4, 1_u32..4, limited);
    let manner = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.1), prop::option::of(1_i64..20));
    (0_u32..40, 0_u32..4, 0_u32..3, 0_usize..5, size, manner).prop_map(
        move |(n, pool, share, urgency, (unit, count, least, limited), (preempts, interruptible, strict, aging))| Ask {
            // 3: nothing but room within limits
            pool: ["p", "p1", "p2", ""][pool as usize].to_owned(),
            share: if pool == 3 { String::new() } else { format!("s{share}") },
            count,
            least: least.min(count),
            limited,
            preempts: preempting && preempts,
            interruptible: preempting && interruptible,
            strict,
            aging: aging.map(SignedDuration::from_secs),
            ..Ask::new(&format!("r{n:02}"), Urgency::ALL[urgency], unit)
        },
    )
}

pub(crate) fn asks(preempting: bool) -> impl Strategy<Value = Vec<Ask>> {
    let unique = |mut asks: Vec<Ask>| {
        let mut seen = BTreeSet::new();
        asks.retain(|a| seen.insert(a.run.clone()));
        asks
    };
    prop::collection::vec(ask(preempting), 1..30).prop_map(unique)
}

pub(crate) fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        5 => ask(true).prop_map(Event::Ask),
        3 => (0_u32..40).prop_map(|n| Event::Finish(format!("r{n:02}"))),
        1 => Just(Event::Leave),
        1 => (0_i64..15).prop_map(Event::Pass),
    ];
    prop::collection::vec(event, 1..80)
}
