//! Everything that is asked of pools and held of them, ruled on in passes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use jiff::Timestamp;

use crate::core::scheduling::{
    amounts::MAX_RESOURCES,
    bounds::Counters,
    demand::{Claimant, Demand, Holding, Ruling},
    domain::Domain,
    rank::RANKS,
    tree::{MAX_DEPTH, PoolDefinition, ShareDefinition},
};

/// Why a pool cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PoolProblem {
    /// Its parent is not there.
    NoParent(String),
    /// It is among its own parents.
    Cycle,
    /// It is nested too deep.
    TooDeep,
    /// The pools of its tree name too many resources.
    TooManyResources,
}

impl PoolProblem {
    /// What to do, for people.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::NoParent(name) => format!("spec.parent: there is no CapacityPool `{name}`; apply it"),
            Self::Cycle => {
                "spec.parent: the pool is among its own parents; a tree has one root without parent".to_owned()
            }
            Self::TooDeep => format!("spec.parent: pools may be nested {MAX_DEPTH} deep"),
            Self::TooManyResources => {
                format!("spec.resources: the pools of one tree may name {MAX_RESOURCES} resources together")
            }
        }
    }
}

/// The ledger of all pools.
#[derive(Clone, Debug, Default)]
pub struct Book {
    pub(super) domains: Vec<Domain>,
    pub(super) counters: Counters,
    /// The domain of each pool.
    pub(super) pools: BTreeMap<String, usize>,
    problems: BTreeMap<String, PoolProblem>,
    definitions: Vec<PoolDefinition>,
    /// The domain in which a claimant asks or has something.
    pub(super) homes: HashMap<Arc<Claimant>, usize>,
    /// Demands and holdings of pools that are not there.
    pub(super) adrift: HashMap<Arc<Claimant>, Demand>,
    lost: HashMap<Arc<Claimant>, Holding>,
}

impl Book {
    /// A book of these pools, in any order; those that cannot be used have a problem and no demands.
    #[must_use]
    pub fn new(pools: impl IntoIterator<Item = PoolDefinition>) -> Self {
        let mut definitions: Vec<PoolDefinition> = pools.into_iter().collect();
        definitions.sort_by(|a, b| a.name.cmp(&b.name));
        let by_name: BTreeMap<&str, &PoolDefinition> = definitions.iter().map(|p| (p.name.as_str(), p)).collect();
        let (mut problems, mut trees) = (BTreeMap::new(), BTreeMap::<&str, Vec<(usize, &PoolDefinition)>>::new());
        for pool in &definitions {
            match root(pool, &by_name) {
                Ok((root, depth)) => trees.entry(root).or_default().push((depth, pool)),
                Err(problem) => drop(problems.insert(pool.name.clone(), problem)),
            }
        }
        let (mut domains, mut places) = (Vec::new(), BTreeMap::new());
        for tree in trees.values_mut() {
            tree.sort_by_key(|(depth, pool)| (*depth, pool.name.as_str()));
            let named = |p: &&PoolDefinition| -> Vec<String> {
                p.supply.keys().chain(p.shares.iter().flat_map(|s| s.nominal.keys())).cloned().collect()
            };
            let mut resources = BTreeSet::new();
            let mut members = Vec::new();
            for (_, pool) in tree.iter() {
                let mut with = resources.clone();
                with.extend(named(pool));
                let parent_is_in =
                    pool.parent.as_ref().is_none_or(|p| members.iter().any(|m: &PoolDefinition| m.name == *p));
                if with.len() > MAX_RESOURCES || !parent_is_in {
                    problems.insert(pool.name.clone(), PoolProblem::TooManyResources);
                    continue;
                }
                resources = with;
                members.push((*pool).clone());
            }
            places.extend(members.iter().map(|m| (m.name.clone(), domains.len())));
            domains.push(Domain::new(&members));
        }
        // who needs nothing but room within limits asks the pool without a name
        let open = PoolDefinition { shares: vec![ShareDefinition::default()], ..PoolDefinition::default() };
        places.insert(String::new(), domains.len());
        domains.push(Domain::new(&[open]));
        Self { domains, pools: places, problems, definitions, ..Self::default() }
    }

    /// A book of other pools with the same demands and holdings; `self` where nothing has changed.
    #[must_use]
    pub fn with_pools(self, pools: impl IntoIterator<Item = PoolDefinition>, now: Timestamp) -> Self {
        let mut next = Self::new(pools);
        if next.definitions == self.definitions {
            return self;
        }
        let mut demands: Vec<Demand> = self.adrift.into_values().collect();
        let lost = self.lost;
        let mut holdings: Vec<(Holding, Option<Arc<Claimant>>)> = Vec::new();
        for domain in self.domains {
            demands.extend(domain.waiting.values().map(|w| w.demand.clone()));
            let held = domain.held.into_values().filter(|held| !lost.contains_key(&held.demand.claimant));
            holdings.extend(
                held.map(|held| {
                    (Holding { demand: held.demand, count: held.count, since: held.since }, held.leaving_for)
                }),
            );
        }
        holdings.extend(lost.into_values().map(|h| (h, None)));
        for demand in demands {
            next.ask(demand, now);
        }
        for (holding, leaving_for) in holdings {
            next.hold(&holding);
            if let Some(by) = leaving_for {
                next.is_leaving(&holding.demand.claimant, by);
            }
        }
        next
    }

    /// What is wrong with a pool.
    #[must_use]
    pub fn problem(&self, pool: &str) -> Option<&PoolProblem> {
        self.problems.get(pool)
    }

    fn home(&mut self, claimant: &Arc<Claimant>) -> Option<&mut Domain> {
        self.homes.get(claimant).map(|&d| &mut self.domains[d])
    }

    /// Takes in what a step asks for; asked again with the same words, nothing changes.
    pub fn ask(&mut self, demand: Demand, now: Timestamp) {
        let claimant = Arc::clone(&demand.claimant);
        let home = self.pools.get(&demand.pool).copied();
        let former = match home {
            Some(domain) => self.homes.insert(Arc::clone(&claimant), domain),
            None => self.homes.remove(&claimant),
        };
        if let Some(former) = former.filter(|f| Some(*f) != home) {
            self.domains[former].withdraw(&claimant);
        }
        let refused = match home {
            Some(domain) => self.domains[domain].ask(demand, &mut self.counters, now),
            None => Some(demand),
        };
        match refused {
            None => drop(self.adrift.remove(&claimant)),
            Some(demand) => drop(self.adrift.insert(claimant, demand)),
        }
    }

    /// A step asks no more.
    pub fn withdraw(&mut self, claimant: &Arc<Claimant>) {
        self.adrift.remove(claimant);
        if let Some(domain) = self.home(claimant) {
            domain.withdraw(claimant);
            self.forget(claimant);
        }
    }

    /// Takes note of what a step has, as its status tells.
    pub fn hold(&mut self, holding: &Holding) {
        let claimant = &holding.demand.claimant;
        self.adrift.remove(claimant);
        let home = self.pools.get(&holding.demand.pool).copied();
        if let Some(former) = self.homes.get(claimant).copied().filter(|f| Some(*f) != home) {
            self.domains[former].withdraw(claimant);
            self.domains[former].release(claimant, &mut self.counters);
            self.homes.remove(claimant);
        }
        if home.is_some_and(|d| self.domains[d].hold(holding, &mut self.counters)) {
            self.homes.extend(home.map(|d| (Arc::clone(claimant), d)));
            self.lost.remove(claimant);
        } else {
            self.lost.insert(Arc::clone(claimant), holding.clone());
            self.count_lost(holding);
        }
    }

    /// What is at work counts against limits whatever has become of its pool.
    fn count_lost(&mut self, holding: &Holding) {
        let Some(&open) = self.pools.get("").filter(|_| !holding.demand.bounds.is_empty()) else { return };
        let (pool, share, unit) = Default::default();
        let demand = Demand { pool, share, unit, ..holding.demand.clone() };
        let counted = Holding { demand, ..holding.clone() };
        if self.domains[open].hold(&counted, &mut self.counters) {
            self.homes.insert(Arc::clone(&holding.demand.claimant), open);
        }
    }

    /// Whether there is more room within limits than at the last pass.
    #[must_use]
    pub fn has_more_room(&self) -> bool {
        self.counters.changed
    }

    fn forget(&mut self, claimant: &Arc<Claimant>) {
        let is_known = |d: &mut Domain| d.waiting.contains_key(claimant) || d.held.contains_key(claimant);
        if !self.home(claimant).is_some_and(is_known) {
            self.homes.remove(claimant);
        }
    }

    /// Takes note that a step gives up what it has, for somebody.
    fn is_leaving(&mut self, victim: &Arc<Claimant>, by: Arc<Claimant>) {
        let Some(domain) = self.home(victim) else { return };
        let Some(held) = domain.held.get_mut(victim) else { return };
        domain.displaceable.remove(&held.place());
        if let Some(waiting) = domain.waiting.get_mut(&by) {
            waiting.victims.insert(Arc::clone(victim));
            domain.preempting.insert((waiting.rank, (waiting.demand.since, Arc::clone(&by))));
        }
        held.leaving_for = Some(by);
    }

    /// What a step had is free again.
    pub fn release(&mut self, claimant: &Arc<Claimant>) {
        self.lost.remove(claimant);
        if let Some(&domain) = self.homes.get(claimant) {
            self.domains[domain].release(claimant, &mut self.counters);
            self.forget(claimant);
        }
    }

    /// Whether a step has capacity.
    #[must_use]
    pub fn holds(&self, claimant: &Arc<Claimant>) -> bool {
        self.homes.get(claimant).is_some_and(|&d| self.domains[d].held.contains_key(claimant))
    }

    /// Who has capacity, since when, and whether it is giving that up.
    pub(super) fn held(&self) -> Vec<(Arc<Claimant>, Timestamp, bool)> {
        let all = self.domains.iter().flat_map(|d| &d.held);
        all.map(|(claimant, held)| (Arc::clone(claimant), held.since, held.leaving_for.is_some())).collect()
    }

    /// What a step that gives way will ask for as its next attempt.
    pub(super) fn again(&self, claimant: &Arc<Claimant>) -> Option<Demand> {
        let held = self.domains[*self.homes.get(claimant)?].held.get(claimant)?;
        let next = Claimant { attempt: claimant.attempt + 1, ..Claimant::clone(claimant) };
        Some(Demand { claimant: Arc::new(next), ..held.demand.clone() })
    }

    /// Rules on all that has changed since the last pass.
    pub fn pass(&mut self, now: Timestamp) -> Vec<Ruling> {
        if std::mem::take(&mut self.counters.changed) {
            // what was given back in one tree may be awaited in another one
            self.domains.iter_mut().for_each(|d| d.changed = true);
        }
        let begun = self.domains.iter_mut().enumerate().filter_map(|(place, d)| Some((place, d.begin(now)?)));
        let mut passes: Vec<_> = begun.collect();
        for rank in (0..RANKS).rev() {
            for (place, pass) in &mut passes {
                pass.look_at(&mut self.domains[*place], &mut self.counters, rank);
            }
            for (place, pass) in &mut passes {
                pass.close_rank(&mut self.domains[*place], &mut self.counters);
            }
        }
        self.counters.put_back();
        let rulings = passes.into_iter().flat_map(|(place, pass)| self.domains[place].end(pass)).collect();
        // what the pass has taken is no news
        self.counters.changed = false;
        rulings
    }

    /// When a pass is needed although nothing changes: a demand has waited long enough to come before others.
    #[must_use]
    pub fn next_rise(&self) -> Option<Timestamp> {
        self.domains.iter().filter_map(Domain::next_rise).min()
    }
}

/// The root of a pool's tree, and how deep the pool lies below it.
fn root<'a>(
    pool: &'a PoolDefinition,
    all: &BTreeMap<&'a str, &'a PoolDefinition>,
) -> Result<(&'a str, usize), PoolProblem> {
    let (mut at, mut depth) = (pool, 0);
    while let Some(parent) = &at.parent {
        at = all.get(parent.as_str()).ok_or_else(|| PoolProblem::NoParent(parent.clone()))?;
        depth += 1;
        if at.name == pool.name {
            return Err(PoolProblem::Cycle);
        }
        if depth > all.len() {
            return Err(PoolProblem::Cycle);
        }
    }
    if depth >= MAX_DEPTH { Err(PoolProblem::TooDeep) } else { Ok((at.name.as_str(), depth)) }
}
