//! One pass over what waits: who gets capacity now, and who gives it up for whom.
//!
//! Ranks come one after the other, the highest first. Within a rank the share comes next that has least for its weight, and of its
//! demands the oldest; as many are admitted as fit. What a demand needs that does not fit is set aside before lower ranks are
//! looked at, from its share up to the pool that stands in its way: what is less urgent does not overtake it, however
//! little that needs. A demand for which others were displaced comes before its equals, and what they give up is kept for it.
//!
//! Only what is less urgent by its own urgency is displaced, never because of aging: each displacement goes strictly
//! down, so no two steps can displace each other in turn.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;

use crate::core::scheduling::{
    amounts::Amounts,
    bounds::{BoundSet, Counters},
    demand::{Claimant, Ruling, Waits},
    domain::{Domain, Held, Shape, Turn, Waiting},
    tree::{Parts, SetAside, Shortage},
};

/// So many holdings are tried alone, before several are displaced together.
const ALONE: usize = 1024;

/// A leaf that is to be looked at: what it has for its weight, and its oldest demand that may fit.
type Candidate = Reverse<(Parts, Turn, usize)>;

impl Domain {
    /// Begins a pass, where something has changed. Each rank is looked at by [`Pass::look_at`], the highest first.
    pub(super) fn begin(&mut self, now: Timestamp) -> Option<Pass> {
        self.raise(now);
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.blocked.clear();
        Some(Pass { now, ..Pass::default() })
    }

    /// Ends a pass.
    pub(super) fn end(&mut self, pass: Pass) -> Vec<Ruling> {
        self.tree.put_back(&pass.asides);
        let granted = pass.rulings.iter().filter(|r| matches!(r, Ruling::Granted { .. })).count();
        if granted > 0 {
            self.rate.add(u32::try_from(granted).unwrap_or(u32::MAX), pass.now);
        }
        // what the pass has taken is no news
        self.changed = false;
        pass.rulings
    }

    /// The oldest demand of a leaf at a rank, of the shapes that were not found not to fit.
    fn head(&self, rank: usize, leaf: usize, blocked: &BTreeSet<(usize, Shape)>) -> Option<(Turn, Shape)> {
        let shapes = self.lines[rank].get(&leaf)?.iter().filter(|(shape, _)| !blocked.contains(&(leaf, **shape)));
        let heads = shapes.filter_map(|(shape, line)| {
            let waits = |turn: &&Turn| self.waiting.get(&turn.1).is_some_and(|w| w.victims.is_empty());
            Some((line.iter().find(waits)?.clone(), *shape))
        });
        heads.min()
    }

    /// Whether so many parts may be taken; otherwise why not, and the highest node that stands in the way: none where it is a limit.
    pub(super) fn check(
        &self,
        counters: &Counters,
        leaf: usize,
        shape: &Shape,
        parts: u32,
    ) -> Result<(), (Shortage, Option<usize>)> {
        match self.tree.check(leaf, &shape.unit.times(parts), shape.urgency) {
            Err((Shortage::TooLarge, node)) => Err((Shortage::TooLarge, Some(node))),
            _ if !counters.fit(shape.bounds, parts) => Err((Shortage::PolicyLimit, None)),
            found => found.map_err(|(shortage, node)| (shortage, Some(node))),
        }
    }

    /// How many parts fit now, at least `least`.
    fn fitting(&self, counters: &Counters, leaf: usize, shape: &Shape) -> Result<u32, (Shortage, Option<usize>)> {
        let (mut fits, mut most) = (shape.least, shape.count);
        self.check(counters, leaf, shape, fits)?;
        while fits < most {
            let middle = fits + (most - fits).div_ceil(2);
            if self.check(counters, leaf, shape, middle).is_ok() {
                fits = middle;
            } else {
                most = middle - 1;
            }
        }
        Ok(fits)
    }
}

/// What one pass over a tree of pools has come to so far.
#[derive(Default)]
pub(super) struct Pass {
    rulings: Vec<Ruling>,
    /// What is set aside for the rest of the pass.
    asides: Vec<SetAside>,
    /// Leaves in which a strict demand waits.
    shut: HashSet<usize>,
    /// The first of each leaf at the present rank for which there is not enough, and the node that stands in its way.
    first: BTreeMap<usize, (Shape, usize)>,
    /// The same for limits.
    limited: BTreeMap<BoundSet, u32>,
    now: Timestamp,
}

impl Pass {
    /// Admits what fits of a rank, and displaces what must give way to it.
    pub(super) fn look_at(&mut self, domain: &mut Domain, counters: &mut Counters, rank: usize) {
        self.preempting(domain, counters, rank);
        self.rank(domain, counters, rank);
    }

    /// Demands for which others leave come before their equals.
    fn preempting(&mut self, domain: &mut Domain, counters: &mut Counters, rank: usize) {
        let of_rank: Vec<Turn> =
            domain.preempting.iter().filter(|(r, _)| *r == rank).map(|(_, turn)| turn.clone()).collect();
        for turn in of_rank {
            let Some((leaf, shape)) = domain.waiting.get(&turn.1).map(|w| (w.leaf, w.shape)) else { continue };
            if let Ok(count) = domain.fitting(counters, leaf, &shape) {
                self.grant(domain, counters, &turn.1, count);
                continue;
            }
            if domain.waiting.get(&turn.1).is_some_and(|w| w.victims.is_empty()) {
                // somebody more urgent has taken what was freed: it waits as others do
                domain.preempting.remove(&(rank, turn));
                continue;
            }
            self.keep_for(domain, counters, &turn.1);
        }
    }

    fn rank(&mut self, domain: &mut Domain, counters: &mut Counters, rank: usize) {
        let mut blocked: BTreeSet<(usize, Shape)> = BTreeSet::new();
        // what has waited for so long is not even overtaken by its equals
        let overdue = rank % 2 == 1;
        let candidate = |domain: &Domain, leaf: usize, blocked: &BTreeSet<(usize, Shape)>| -> Option<Candidate> {
            let (turn, shape) = domain.head(rank, leaf, blocked)?;
            Some(Reverse((domain.tree.shares(leaf, shape.unit.times(shape.least)), turn, leaf)))
        };
        let leaves: Vec<usize> = domain.lines[rank].keys().copied().filter(|l| !self.shut.contains(l)).collect();
        let mut heap: BinaryHeap<Candidate> = leaves.iter().filter_map(|&l| candidate(domain, l, &blocked)).collect();
        while let Some(Reverse((shares, turn, leaf))) = heap.pop() {
            let Some((_, shape)) = domain.head(rank, leaf, &blocked) else { continue };
            // what others of the same pool took meanwhile may have changed its part
            let present = domain.tree.shares(leaf, shape.unit.times(shape.least));
            if present > shares {
                heap.push(Reverse((present, turn, leaf)));
                continue;
            }
            match domain.fitting(counters, leaf, &shape) {
                Ok(count) => self.grant(domain, counters, &turn.1, count),
                Err((shortage, node)) => {
                    if shape.preempts && shortage != Shortage::TooLarge && self.displace(domain, counters, &turn, node)
                    {
                        heap.extend(candidate(domain, leaf, &blocked));
                        continue;
                    }
                    domain.blocked.insert((rank, leaf, shape), Waits::Short(shortage));
                    blocked.insert((leaf, shape));
                    let Some(node) = node else {
                        // nothing is kept of a pool for what a policy of its own holds back
                        if overdue {
                            counters.set_aside(shape.bounds, shape.least);
                        } else {
                            self.limited.entry(shape.bounds).or_insert(shape.least);
                        }
                        heap.extend(candidate(domain, leaf, &blocked));
                        continue;
                    };
                    if shortage != Shortage::TooLarge {
                        if overdue {
                            self.set_aside(domain, counters, leaf, &shape, node);
                        } else {
                            self.first.entry(leaf).or_insert((shape, node));
                        }
                        if shape.strict {
                            self.shut.insert(leaf);
                            continue;
                        }
                    }
                }
            }
            heap.extend(candidate(domain, leaf, &blocked));
        }
    }

    /// Sets aside what the present rank has not got, once all trees have looked at it.
    pub(super) fn close_rank(&mut self, domain: &mut Domain, counters: &mut Counters) {
        for (leaf, (shape, node)) in std::mem::take(&mut self.first) {
            self.set_aside(domain, counters, leaf, &shape, node);
        }
        for (bounds, parts) in std::mem::take(&mut self.limited) {
            counters.set_aside(bounds, parts);
        }
    }

    fn grant(&mut self, domain: &mut Domain, counters: &mut Counters, claimant: &Arc<Claimant>, count: u32) {
        let Some(waiting) = domain.withdraw(claimant) else { return };
        let Waiting { demand, leaf, shape, .. } = waiting;
        let (amounts, since) = (shape.unit.times(count), self.now);
        let bounds = shape.bounds;
        domain.take(Held { demand, leaf, count, amounts, bounds, since, leaving_for: None }, counters);
        counters.admitted(bounds, count, self.now);
        self.rulings.push(Ruling::Granted { claimant: Arc::clone(claimant), count });
    }

    /// Sets aside what a demand of this shape needs, up to the node that stands in its way.
    fn set_aside(&mut self, domain: &mut Domain, counters: &mut Counters, leaf: usize, shape: &Shape, top: usize) {
        let needed = shape.unit.times(shape.least);
        self.asides.extend(domain.tree.set_aside(leaf, needed, shape.urgency, Some(top), &[]));
        counters.set_aside(shape.bounds, shape.least);
    }

    /// Sets aside what a demand needs beside what is being given up for it.
    fn keep_for(&mut self, domain: &mut Domain, counters: &mut Counters, claimant: &Arc<Claimant>) {
        let Domain { tree, waiting, held, .. } = domain;
        let Some(waiting) = waiting.get(claimant) else { return };
        let Shape { unit, least, urgency, bounds, .. } = waiting.shape;
        let leave: Vec<&Held> = waiting.victims.iter().filter_map(|v| held.get(v)).collect();
        let freed: Vec<_> = leave.iter().map(|h| (h.bounds, h.count)).collect();
        counters.keep_for(bounds, least, &freed);
        let leave: Vec<_> = leave.into_iter().map(|h| (h.leaf, h.amounts, h.demand.urgency)).collect();
        self.asides.extend(tree.set_aside(waiting.leaf, unit.times(least), urgency, None, &leave));
    }

    /// Chooses who gives way to a demand: as few as suffice, of these the least urgent, and of these the newest. What leaves already
    /// for somebody less urgent counts first. False when nobody can.
    fn displace(&mut self, domain: &mut Domain, counters: &mut Counters, turn: &Turn, node: Option<usize>) -> bool {
        let Some(waiting) = domain.waiting.get(&turn.1).cloned() else { return false };
        let (leaf, shape) = (waiting.leaf, waiting.shape);
        let needed = shape.unit.times(shape.least);
        let leaving = domain.preempting.iter().filter(|(rank, _)| *rank < waiting.rank);
        let leaving: Vec<Arc<Claimant>> =
            leaving.filter_map(|(_, t)| domain.waiting.get(&t.1)).flat_map(|w| w.victims.iter().cloned()).collect();
        let lower = domain.displaceable.iter().take_while(|(urgency, ..)| *urgency < shape.urgency);
        let candidates: Vec<Arc<Claimant>> = leaving
            .into_iter()
            .chain(lower.map(|(_, _, claimant)| Arc::clone(claimant)))
            .filter(|c| {
                let Some(held) = domain.held.get(c).filter(|h| h.demand.urgency < shape.urgency) else { return false };
                let makes_room = counters.meet(held.bounds, shape.bounds);
                match node {
                    Some(node) => {
                        domain.tree.is_below(held.leaf, node) && (makes_room || helps(&held.amounts, &needed))
                    }
                    None => makes_room,
                }
            })
            .collect();
        let mut fits_without = |gone: &[Arc<Claimant>]| {
            let Domain { tree, held, .. } = domain;
            let gone: Vec<&Held> = gone.iter().filter_map(|c| held.get(c)).collect();
            for h in &gone {
                tree.give_back(h.leaf, h.amounts, h.demand.urgency);
                counters.give_back(h.bounds, h.count);
            }
            let fits = tree.check(leaf, &needed, shape.urgency).is_ok() && counters.fit(shape.bounds, shape.least);
            for h in &gone {
                tree.take(h.leaf, h.amounts, h.demand.urgency);
                counters.take(h.bounds, h.count);
            }
            fits
        };
        let alone = candidates.iter().take(ALONE).find(|c| fits_without(std::slice::from_ref(*c))).cloned();
        let victims = match alone {
            Some(one) => vec![one],
            None => {
                let mut gone = Vec::new();
                let enough = candidates.into_iter().any(|c| {
                    gone.push(c);
                    fits_without(&gone)
                });
                if !enough {
                    return false;
                }
                // the first that were taken may not be needed beside the last
                let mut place = 0;
                while place < gone.len() {
                    let spared = gone.remove(place);
                    if !fits_without(&gone) {
                        gone.insert(place, spared);
                        place += 1;
                    }
                }
                gone
            }
        };
        for victim in victims {
            let Some(held) = domain.held.get_mut(&victim) else { continue };
            let before = held.leaving_for.replace(Arc::clone(&turn.1));
            domain.displaceable.remove(&held.place());
            match before.and_then(|other| domain.waiting.get_mut(&other)) {
                Some(other) => {
                    other.victims.remove(&victim);
                }
                None => {
                    self.rulings.push(Ruling::Preempted { victim: Arc::clone(&victim), by: Arc::clone(&turn.1) });
                }
            }
            if let Some(waiting) = domain.waiting.get_mut(&turn.1) {
                waiting.victims.insert(victim);
            }
        }
        domain.preempting.insert((waiting.rank, turn.clone()));
        self.keep_for(domain, counters, &turn.1);
        true
    }
}

/// Whether something of what is needed would be freed.
fn helps(freed: &Amounts, needed: &Amounts) -> bool {
    freed.iter().zip(needed.iter()).any(|(f, n)| f > 0 && n > 0)
}
