//! Pools and their shares as a tree: who may take how much, and what stays free for others.
//!
//! A leaf is a share of a pool; every other node is a pool. For an amount r that a leaf takes, and each node p above it,
//!
//! ```text
//! used(p) + r + kept(p) + reserved(p) <= supply(p) + borrowing(p)
//! ```
//!
//! where `kept(p)` is what p's children have not used and do not lend, `reserved(p)` the slots of higher urgencies that are free,
//! and `borrowing(p)` what p may take from the tree beside its own: nothing for a root. So what is granted never exceeds what
//! a tree has.

use std::collections::BTreeMap;

use crate::{
    api::vocabulary::Urgency,
    core::scheduling::amounts::{Amounts, MAX_RESOURCES},
};

/// Deepest nesting of pools; a share lies no deeper below its root than this.
pub(super) const MAX_DEPTH: usize = 4;

/// What a share and each pool above it have for their weight, the highest first: see [`Tree::shares`].
pub(super) type Parts = [(u64, u64); MAX_DEPTH];

/// Quantities by resource, in thousandths.
pub type Quantities = BTreeMap<String, i64>;

/// A pool as its spec has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolDefinition {
    /// Its name.
    pub name: String,
    /// The pool that it is part of: what one does not use the other may borrow.
    pub parent: Option<String>,
    /// What it has.
    pub supply: Quantities,
    /// What each urgency has for itself: lower ones may not take it.
    pub reserved: BTreeMap<Urgency, Quantities>,
    /// How much it may take from its parent beside its own; as much as there is when not set.
    pub borrow_limit: Option<Quantities>,
    /// How much of its own it lets its parent's others take; all when not set.
    pub lend_limit: Option<Quantities>,
    /// Who may use it.
    pub shares: Vec<ShareDefinition>,
}

/// One share of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShareDefinition {
    /// Its name, unique in the pool.
    pub name: String,
    /// What comes to it first.
    pub nominal: Quantities,
    /// How much it may take beside that; as much as there is when not set.
    pub borrow_limit: Option<Quantities>,
    /// How much of its own it lets others take while it does not need it; all when not set.
    pub lend_limit: Option<Quantities>,
    /// Its part of what is left over, in relation to others; at least 1.
    pub weight: u32,
}

/// Why an amount cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shortage {
    /// There is not so much in the whole tree, or the share may never take so much.
    TooLarge,
    /// The share has all that it may take.
    ShareLimit,
    /// A pool may not borrow more.
    BorrowLimit,
    /// What is free is kept for shares that do not lend it.
    NotLent,
    /// What is free is reserved for higher urgencies.
    Reserved,
    /// It is in use.
    InUse,
    /// As many are at work as a policy allows.
    PolicyLimit,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) parent: Option<usize>,
    pub(super) is_pool: bool,
    /// Own supply of a pool, with that of the pools below it; nominal amount of a share.
    supply: Amounts,
    borrow: Amounts,
    lend: Amounts,
    weight: u64,
    reserved: Vec<(Urgency, Amounts)>,
    /// What is taken.
    used: Amounts,
    /// What is set aside for the rest of a pass.
    aside: Amounts,
    /// What is spoken for of what it keeps.
    aside_above: Amounts,
    used_by: [Amounts; Urgency::ALL.len()],
    /// What children have not used and do not lend.
    kept: Amounts,
}

impl Node {
    /// What stays free of its parent for what is below it, once that has taken so much `more`.
    fn keeps(&self, more: &Amounts) -> Amounts {
        self.supply.minus(self.lend).minus(self.used).minus(self.aside_above).minus(*more).or_none()
    }

    fn held_back(&self, urgency: Urgency) -> Amounts {
        let above = self.reserved.iter().filter(|(u, _)| *u > urgency);
        above.fold(Amounts::NONE, |sum, (u, r)| sum.plus(r.minus(self.used_by[*u as usize]).or_none()))
    }
}

/// What is set aside of one node.
#[derive(Clone, Copy, Debug)]
pub(super) struct SetAside {
    node: usize,
    amounts: Amounts,
    /// What it keeps less of its parent for what is below it: that is spoken for.
    above: Amounts,
}

/// All pools that hang together.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    resources: Vec<String>,
    /// Node of each pool, and of each of its shares.
    places: BTreeMap<String, (usize, BTreeMap<String, usize>)>,
}

impl Tree {
    /// A tree of pools, the root first and every other after its parent.
    pub(super) fn new(pools: &[PoolDefinition]) -> Self {
        let mut tree = Self::default();
        let shares = || pools.iter().flat_map(|p| &p.shares);
        let named = pools.iter().flat_map(|p| p.supply.keys()).chain(shares().flat_map(|s| s.nominal.keys()));
        for name in named {
            if !tree.resources.contains(name) && tree.resources.len() < MAX_RESOURCES {
                tree.resources.push(name.clone());
            }
        }
        tree.resources.sort();
        for pool in pools {
            let parent = pool.parent.as_ref().and_then(|p| tree.pool(p));
            let supply = tree.amounts(&pool.supply);
            let mut above = parent;
            while let Some(node) = above {
                tree.nodes[node].supply = tree.nodes[node].supply.plus(supply);
                above = tree.nodes[node].parent;
            }
            let place = tree.add(Node {
                parent,
                is_pool: true,
                supply,
                borrow: if parent.is_some() { tree.limit(pool.borrow_limit.as_ref()) } else { Amounts::NONE },
                lend: tree.limit(pool.lend_limit.as_ref()),
                weight: 1,
                reserved: pool.reserved.iter().map(|(u, q)| (*u, tree.amounts(q))).collect(),
                ..Node::default()
            });
            let mut shares = BTreeMap::new();
            for share in &pool.shares {
                let node = tree.add(Node {
                    parent: Some(place),
                    supply: tree.amounts(&share.nominal),
                    borrow: tree.limit(share.borrow_limit.as_ref()),
                    lend: tree.limit(share.lend_limit.as_ref()),
                    weight: u64::from(share.weight.max(1)),
                    ..Node::default()
                });
                shares.insert(share.name.clone(), node);
            }
            tree.places.insert(pool.name.clone(), (place, shares));
        }
        // children stand behind their parents
        for place in (0..tree.nodes.len()).rev() {
            let keeps = tree.nodes[place].keeps(&Amounts::NONE);
            if let Some(parent) = tree.nodes[place].parent {
                tree.nodes[parent].kept = tree.nodes[parent].kept.plus(keeps);
            }
        }
        tree
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Node of a pool.
    pub(super) fn pool(&self, pool: &str) -> Option<usize> {
        Some(self.places.get(pool)?.0)
    }

    /// Node of a share of a pool.
    pub(super) fn place(&self, pool: &str, share: &str) -> Option<usize> {
        self.places.get(pool)?.1.get(share).copied()
    }

    /// These quantities; resources that the tree does not know are nobody's concern here.
    pub(super) fn amounts(&self, quantities: &Quantities) -> Amounts {
        let mut amounts = Amounts::NONE;
        for (place, name) in self.resources.iter().enumerate() {
            amounts[place] = quantities.get(name).copied().unwrap_or(0).max(0);
        }
        amounts
    }

    fn limit(&self, quantities: Option<&Quantities>) -> Amounts {
        let Some(quantities) = quantities else { return Amounts::ALL };
        let mut amounts = Amounts::ALL;
        for (place, name) in self.resources.iter().enumerate() {
            if let Some(limit) = quantities.get(name) {
                amounts[place] = (*limit).max(0);
            }
        }
        amounts
    }

    /// What a node has, by resource.
    pub(super) fn quantities(&self, amounts: Amounts) -> Quantities {
        self.resources.iter().cloned().zip(amounts.iter()).filter(|(_, v)| *v != 0).collect()
    }

    pub(super) fn supply(&self, node: usize) -> Amounts {
        self.nodes[node].supply
    }

    pub(super) fn used(&self, node: usize) -> Amounts {
        self.nodes[node].used
    }

    /// A share's part of the tree once it has taken `more`: first what it takes beside its own amount, then all that it takes, both as
    /// billionths of the supply for each unit of its weight. Of several resources the one counts of which it takes most (Ghodsi et
    /// al.: "Dominant Resource Fairness", NSDI 2011). One entry for each level below the root, the highest first.
    pub(super) fn shares(&self, leaf: usize, more: Amounts) -> Parts {
        let mut parts = [(0, 0); MAX_DEPTH];
        let (mut node, mut path) = (leaf, Vec::with_capacity(MAX_DEPTH));
        while let Some(parent) = self.nodes[node].parent {
            path.push(node);
            node = parent;
        }
        let all = self.nodes[node].supply;
        for (part, place) in parts.iter_mut().zip(path.iter().rev()) {
            let node = &self.nodes[*place];
            let dominant = |taken: Amounts| {
                let parts = taken.iter().zip(all.iter()).filter(|(t, a)| *t > 0 && *a > 0);
                let part = parts.map(|(t, a)| i128::from(t) * 1_000_000_000 / i128::from(a)).max().unwrap_or(0);
                u64::try_from(part).unwrap_or(u64::MAX) / node.weight
            };
            let used = node.used.plus(more);
            *part = (dominant(used.minus(node.supply)), dominant(used));
        }
        parts
    }

    /// Whether a leaf may take this much; otherwise why not, and the highest node that stands in the way.
    pub(super) fn check(&self, leaf: usize, amounts: &Amounts, urgency: Urgency) -> Result<(), (Shortage, usize)> {
        let share = &self.nodes[leaf];
        if !share.supply.plus(share.borrow).covers(amounts) {
            return Err((Shortage::TooLarge, leaf));
        }
        let mut problem = None;
        if !share.supply.plus(share.borrow).minus(share.used).minus(share.aside).covers(amounts) {
            problem = Some((Shortage::ShareLimit, leaf));
        }
        let mut released = self.released(leaf, amounts);
        let mut node = share.parent;
        while let Some(place) = node {
            let pool = &self.nodes[place];
            let limit = pool.supply.plus(pool.borrow);
            if !limit.covers(amounts) {
                return Err((Shortage::TooLarge, place));
            }
            let free = limit.minus(pool.used).minus(pool.aside);
            let lent = free.minus(pool.kept).plus(released);
            if !lent.minus(pool.held_back(urgency)).covers(amounts) {
                let why = if !free.covers(amounts) {
                    if pool.parent.is_some() { Shortage::BorrowLimit } else { Shortage::InUse }
                } else if lent.covers(amounts) {
                    Shortage::Reserved
                } else {
                    Shortage::NotLent
                };
                problem = Some((why, place));
            }
            released = self.released(place, amounts);
            node = pool.parent;
        }
        problem.map_or(Ok(()), Err)
    }

    /// Whether a node is another one, or below it.
    pub(super) fn is_below(&self, node: usize, other: usize) -> bool {
        std::iter::successors(Some(node), |n| self.nodes[*n].parent).any(|n| n == other)
    }

    /// How much less a node keeps to itself once it has taken this.
    fn released(&self, node: usize, amounts: &Amounts) -> Amounts {
        let node = &self.nodes[node];
        node.keeps(&Amounts::NONE).minus(node.keeps(amounts))
    }

    /// Sets aside what a leaf will take once those that `leave` have gone (leaf, amounts, urgency of each), from it up to `top` (the
    /// root where there is none): of each node what is more than what they have now. What was set aside, for [`Tree::put_back`].
    pub(super) fn set_aside(
        &mut self,
        leaf: usize,
        amounts: Amounts,
        urgency: Urgency,
        top: Option<usize>,
        leave: &[(usize, Amounts, Urgency)],
    ) -> Vec<SetAside> {
        leave.iter().for_each(|&(leaf, amounts, urgency)| self.give_back(leaf, amounts, urgency));
        self.take(leaf, amounts, urgency);
        let path: Vec<usize> = std::iter::successors(Some(leaf), |n| self.nodes[*n].parent).collect();
        let then: Vec<Amounts> = path.iter().map(|n| self.nodes[*n].used.plus(self.nodes[*n].kept)).collect();
        self.give_back(leaf, amounts, urgency);
        leave.iter().for_each(|&(leaf, amounts, urgency)| self.take(leaf, amounts, urgency));
        let mut parts = Vec::new();
        for (&node, then) in path.iter().zip(then) {
            let is_top = top == Some(node) || self.nodes[node].parent.is_none();
            let below = leave.iter().filter(|(leaf, ..)| self.is_below(*leaf, node));
            let freed = below.fold(Amounts::NONE, |sum, (_, amounts, _)| sum.plus(*amounts));
            let above = if is_top { Amounts::NONE } else { amounts.minus(freed).or_none() };
            let more = then.minus(self.nodes[node].used).minus(self.nodes[node].kept).or_none();
            let part = SetAside { node, amounts: more, above };
            self.put(&part, Amounts::plus);
            parts.push(part);
            if is_top {
                break;
            }
        }
        parts
    }

    /// Ends what [`Tree::set_aside`] has begun.
    pub(super) fn put_back(&mut self, parts: &[SetAside]) {
        parts.iter().for_each(|part| self.put(part, Amounts::minus));
    }

    fn put(&mut self, part: &SetAside, f: impl Fn(Amounts, Amounts) -> Amounts) {
        self.keeping(part.node, |node| {
            node.aside = f(node.aside, part.amounts);
            node.aside_above = f(node.aside_above, part.above);
        });
    }

    /// Changes a node, and what its parent knows of what it keeps.
    fn keeping(&mut self, place: usize, change: impl FnOnce(&mut Node)) {
        let node = &mut self.nodes[place];
        let before = node.keeps(&Amounts::NONE);
        change(node);
        let after = node.keeps(&Amounts::NONE);
        if let Some(parent) = node.parent {
            let kept = &mut self.nodes[parent].kept;
            *kept = kept.minus(before).plus(after);
        }
    }

    /// Takes an amount from a leaf and all above it.
    pub(super) fn take(&mut self, leaf: usize, amounts: Amounts, urgency: Urgency) {
        self.change(leaf, urgency, |used| used.plus(amounts));
    }

    /// Gives back what [`Tree::take`] has taken.
    pub(super) fn give_back(&mut self, leaf: usize, amounts: Amounts, urgency: Urgency) {
        self.change(leaf, urgency, |used| used.minus(amounts));
    }

    fn change(&mut self, leaf: usize, urgency: Urgency, f: impl Fn(Amounts) -> Amounts) {
        let mut place = Some(leaf);
        while let Some(at) = place {
            self.keeping(at, |node| {
                node.used = f(node.used);
                if node.is_pool {
                    let by = &mut node.used_by[urgency as usize];
                    *by = f(*by);
                }
            });
            place = self.nodes[at].parent;
        }
    }
}
