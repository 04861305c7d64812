//! All that is asked of one tree of pools, and all that is held of it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use jiff::Timestamp;

use crate::{
    api::vocabulary::Urgency,
    core::scheduling::{
        amounts::Amounts,
        bounds::{BoundSet, Counters},
        demand::{Claimant, Demand, Holding, Waits},
        rank::RANKS,
        rate::Rate,
        tree::{PoolDefinition, Shortage, Tree},
    },
};

/// What demands of one kind have in common: where one does not fit, no other does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Shape {
    pub(super) unit: Amounts,
    pub(super) count: u32,
    pub(super) least: u32,
    pub(super) urgency: Urgency,
    pub(super) preempts: bool,
    pub(super) strict: bool,
    pub(super) bounds: BoundSet,
}

/// In which order demands of a shape come.
pub(super) type Turn = (Timestamp, Arc<Claimant>);

/// Demands of one shape of one leaf at one rank.
type Line = BTreeSet<Turn>;

#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) demand: Demand,
    pub(super) leaf: usize,
    pub(super) shape: Shape,
    pub(super) rank: usize,
    /// Whose capacity it is about to get.
    pub(super) victims: BTreeSet<Arc<Claimant>>,
}

#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) demand: Demand,
    pub(super) leaf: usize,
    /// How many parts.
    pub(super) count: u32,
    /// All of them together.
    pub(super) amounts: Amounts,
    pub(super) bounds: BoundSet,
    pub(super) since: Timestamp,
    /// For whom it was told to go.
    pub(super) leaving_for: Option<Arc<Claimant>>,
}

impl Held {
    /// Its place among those that may be displaced.
    pub(super) fn place(&self) -> (Urgency, std::cmp::Reverse<Timestamp>, Arc<Claimant>) {
        (self.demand.urgency, std::cmp::Reverse(self.since), Arc::clone(&self.demand.claimant))
    }
}

/// One tree of pools with its demands.
#[derive(Clone, Debug, Default)]
pub(super) struct Domain {
    pub(super) tree: Tree,
    pub(super) waiting: HashMap<Arc<Claimant>, Waiting>,
    pub(super) held: HashMap<Arc<Claimant>, Held>,
    /// Holdings that may be displaced, in the order in which that happens: the least urgent, and of these the newest.
    pub(super) displaceable: BTreeSet<(Urgency, std::cmp::Reverse<Timestamp>, Arc<Claimant>)>,
    /// The lines of each rank, by leaf and shape.
    pub(super) lines: [BTreeMap<usize, BTreeMap<Shape, Line>>; RANKS],
    /// Demands for which others leave, by rank.
    pub(super) preempting: BTreeSet<(usize, Turn)>,
    /// When which demand comes to a higher rank.
    rising: BTreeSet<Turn>,
    /// Why what was looked at last was not admitted, by rank, leaf and shape.
    pub(super) blocked: BTreeMap<(usize, usize, Shape), Waits>,
    pub(super) rate: Rate,
    /// Something has changed since the last pass.
    pub(super) changed: bool,
}

impl Domain {
    pub(super) fn new(pools: &[PoolDefinition]) -> Self {
        Self { tree: Tree::new(pools), changed: true, ..Self::default() }
    }

    /// Takes in a demand; gives it back when there is no such share.
    pub(super) fn ask(&mut self, demand: Demand, counters: &mut Counters, now: Timestamp) -> Option<Demand> {
        let Some(leaf) = self.tree.place(&demand.pool, &demand.share) else { return Some(demand) };
        if self.waiting.get(&demand.claimant).is_some_and(|w| w.demand == demand) {
            return None;
        }
        self.withdraw(&demand.claimant);
        let shape = Shape {
            unit: self.tree.amounts(&demand.unit),
            count: demand.count.max(1),
            least: demand.least.clamp(1, demand.count.max(1)),
            urgency: demand.urgency,
            preempts: demand.preempts,
            strict: demand.strict,
            bounds: counters.set(&demand.bounds),
        };
        let rank = demand.ages().rank(now);
        let claimant = Arc::clone(&demand.claimant);
        let waiting = Waiting { demand, leaf, shape, rank, victims: BTreeSet::new() };
        self.line_up(&waiting);
        self.waiting.insert(claimant, waiting);
        self.changed = true;
        None
    }

    fn line_up(&mut self, waiting: &Waiting) {
        let turn = (waiting.demand.since, Arc::clone(&waiting.demand.claimant));
        let line = self.lines[waiting.rank].entry(waiting.leaf).or_default().entry(waiting.shape).or_default();
        line.insert(turn);
        if let Some(at) = waiting.demand.ages().rises(waiting.rank) {
            self.rising.insert((at, Arc::clone(&waiting.demand.claimant)));
        }
    }

    fn leave_line(&mut self, waiting: &Waiting) {
        let turn = (waiting.demand.since, Arc::clone(&waiting.demand.claimant));
        if let Some(shapes) = self.lines[waiting.rank].get_mut(&waiting.leaf) {
            if let Some(line) = shapes.get_mut(&waiting.shape) {
                line.remove(&turn);
                if line.is_empty() {
                    shapes.remove(&waiting.shape);
                }
            }
            if shapes.is_empty() {
                self.lines[waiting.rank].remove(&waiting.leaf);
            }
        }
        self.preempting.remove(&(waiting.rank, turn));
        if let Some(at) = waiting.demand.ages().rises(waiting.rank) {
            self.rising.remove(&(at, Arc::clone(&waiting.demand.claimant)));
        }
    }

    /// Takes back a demand.
    pub(super) fn withdraw(&mut self, claimant: &Arc<Claimant>) -> Option<Waiting> {
        let waiting = self.waiting.remove(claimant)?;
        self.leave_line(&waiting);
        self.changed = true;
        Some(waiting)
    }

    /// Takes note of what a claimant has; it does not wait any more.
    pub(super) fn hold(&mut self, holding: &Holding, counters: &mut Counters) -> bool {
        let Some(leaf) = self.tree.place(&holding.demand.pool, &holding.demand.share) else { return false };
        let claimant = &holding.demand.claimant;
        self.withdraw(claimant);
        let amounts = self.tree.amounts(&holding.demand.unit).times(holding.count);
        let bounds = counters.set(&holding.demand.bounds);
        if let Some(present) = self.held.get_mut(claimant) {
            // the limits of now, should the pools be built anew
            present.demand.bounds.clone_from(&holding.demand.bounds);
            // a grant that its status shows now
            let known = (present.amounts, present.leaf, present.bounds, present.count);
            let words = |d: &Demand| (d.urgency, d.interruptible);
            if known == (amounts, leaf, bounds, holding.count) && words(&present.demand) == words(&holding.demand) {
                return true;
            }
            self.release(claimant, counters);
        }
        let (demand, count, since) = (holding.demand.clone(), holding.count, holding.since);
        self.take(Held { demand, leaf, count, amounts, bounds, since, leaving_for: None }, counters);
        true
    }

    pub(super) fn take(&mut self, held: Held, counters: &mut Counters) {
        counters.take(held.bounds, held.count);
        self.tree.take(held.leaf, held.amounts, held.demand.urgency);
        if held.demand.interruptible && held.leaving_for.is_none() {
            self.displaceable.insert(held.place());
        }
        self.held.insert(Arc::clone(&held.demand.claimant), held);
        self.changed = true;
    }

    /// What a claimant had is free again.
    pub(super) fn release(&mut self, claimant: &Arc<Claimant>, counters: &mut Counters) {
        let Some(held) = self.held.remove(claimant) else { return };
        counters.give_back(held.bounds, held.count);
        self.tree.give_back(held.leaf, held.amounts, held.demand.urgency);
        self.displaceable.remove(&held.place());
        if let Some(waiting) = held.leaving_for.and_then(|p| self.waiting.get_mut(&p)) {
            waiting.victims.remove(claimant);
        }
        self.changed = true;
    }

    /// Brings demands that have waited long enough to their next rank.
    pub(super) fn raise(&mut self, now: Timestamp) {
        while let Some((at, claimant)) = self.rising.first().cloned().filter(|(at, _)| *at <= now) {
            let Some(mut waiting) = self.waiting.remove(&claimant) else {
                self.rising.remove(&(at, claimant));
                continue;
            };
            let waits_for_victims = !waiting.victims.is_empty();
            self.leave_line(&waiting);
            waiting.rank = waiting.demand.ages().rank(now);
            self.line_up(&waiting);
            if waits_for_victims {
                self.preempting.insert((waiting.rank, (waiting.demand.since, Arc::clone(&claimant))));
            }
            self.waiting.insert(claimant, waiting);
            self.changed = true;
        }
    }

    /// When the next demand comes to a higher rank.
    pub(super) fn next_rise(&self) -> Option<Timestamp> {
        self.rising.first().map(|(at, _)| *at)
    }

    /// Why a demand waits.
    pub(super) fn why(&self, waiting: &Waiting) -> Waits {
        if !waiting.victims.is_empty() {
            return Waits::Preempting;
        }
        let own = self.blocked.get(&(waiting.rank, waiting.leaf, waiting.shape));
        own.copied().unwrap_or(Waits::Short(Shortage::InUse))
    }

    /// How many demands of the tree come before one, of those whose shape concerns it.
    pub(super) fn ahead(&self, waiting: &Waiting, concerns: impl Fn(&Shape) -> bool) -> usize {
        let turn = (waiting.demand.since, Arc::clone(&waiting.demand.claimant));
        let concerned = |(shape, line)| concerns(shape).then_some(line);
        let lines = |rank: usize| self.lines[rank].values().flatten().filter_map(concerned);
        let above = (waiting.rank + 1..RANKS).flat_map(lines).map(BTreeSet::len).sum::<usize>();
        above + lines(waiting.rank).map(|line| line.range(..turn.clone()).count()).sum::<usize>()
    }
}
