//! What people want to know of a book: who waits for what, and how much is in use.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use crate::{
    api::vocabulary::Urgency,
    core::scheduling::{
        book::Book,
        demand::{Claimant, Waits},
        rank::RANKS,
        telling::moved_much,
        tree::{Quantities, Shortage},
    },
};

/// Where a demand stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Why it waits.
    pub waits: Waits,
    /// Demands of the pool's tree that come before it.
    pub ahead: usize,
    /// When it will be admitted, if the tree goes on admitting as many as in the last minutes.
    pub eta: Option<Timestamp>,
}

/// How much of a pool, or of a share of it, is in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// What there is: of a pool with the pools below it; of a share what comes to it first.
    pub supply: Quantities,
    /// What is granted.
    pub granted: Quantities,
    /// What is granted beside its own.
    pub borrowed: Quantities,
    /// Demands that wait, by urgency.
    pub waiting: BTreeMap<Urgency, u32>,
}

impl Standing {
    /// Whether another standing is worth another word: it waits for something else, or has another half of the queue before it.
    #[must_use]
    pub fn differs_much(&self, other: &Self) -> bool {
        self.waits != other.waits || moved_much(self.ahead, other.ahead)
    }
}

impl Book {
    /// Where a demand stands, as of the last pass.
    #[must_use]
    pub fn standing(&self, claimant: &Arc<Claimant>, now: Timestamp) -> Option<Standing> {
        if self.adrift.contains_key(claimant) {
            return Some(Standing { waits: Waits::NoPool, ahead: 0, eta: None });
        }
        let domain = &self.domains[*self.homes.get(claimant)?];
        let waiting = domain.waiting.get(claimant)?;
        let shape = &waiting.shape;
        let waits = match domain.why(waiting) {
            Waits::Short(_) if domain.check(&self.counters, waiting.leaf, shape, shape.least).is_ok() => Waits::Behind,
            why => why,
        };
        if waits == Waits::Short(Shortage::PolicyLimit) {
            let ahead = domain.ahead(waiting, |other| self.counters.meet(other.bounds, shape.bounds));
            return Some(Standing { waits, ahead, eta: self.counters.eta(shape.bounds, ahead, now) });
        }
        let ahead = domain.ahead(waiting, |_| true);
        Some(Standing { waits, ahead, eta: domain.rate.eta(ahead, now) })
    }

    /// How much of a pool, or of one of its shares, is in use.
    #[must_use]
    pub fn usage(&self, pool: &str, share: Option<&str>) -> Option<Usage> {
        let domain = &self.domains[*self.pools.get(pool)?];
        let node = match share {
            Some(share) => domain.tree.place(pool, share)?,
            None => domain.tree.pool(pool)?,
        };
        let (supply, used) = (domain.tree.supply(node), domain.tree.used(node));
        let mut waiting = BTreeMap::new();
        let inside = |leaf: usize| leaf == node || domain.tree.nodes[leaf].parent == Some(node);
        for line in domain.lines.iter().flatten().filter(|(leaf, _)| inside(**leaf)).flat_map(|(_, s)| s) {
            *waiting.entry(line.0.urgency).or_default() += u32::try_from(line.1.len()).unwrap_or(u32::MAX);
        }
        Some(Usage {
            supply: domain.tree.quantities(supply),
            granted: domain.tree.quantities(used),
            borrowed: domain.tree.quantities(used.minus(supply).or_none()),
            waiting,
        })
    }

    /// All that wait, with the time since when: first those whose pool is not there, then the highest rank; within a rank in no
    /// particular order.
    pub fn waiting(&self) -> impl Iterator<Item = (&Arc<Claimant>, Timestamp)> {
        let lines = |rank: usize| self.domains.iter().flat_map(move |d| d.lines[rank].values());
        let turns = (0..RANKS).rev().flat_map(lines).flat_map(BTreeMap::values).flatten();
        let adrift = self.adrift.values().map(|d| (&d.claimant, d.since));
        adrift.chain(turns.map(|(since, claimant)| (claimant, *since)))
    }
}
