//! From a `CapacityPool` to what the book reckons with, and back to its status.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;

use crate::{
    api::{
        CapacityPool, CapacityPoolSpec, CapacityPoolStatus,
        capacity_pool::ShareStatus,
        status::{READY, STALLED},
        vocabulary::Urgency,
    },
    core::{
        condition::{Conditions, State},
        scheduling::{
            Ledger, PoolDefinition, PoolProblem, Quantities, ShareDefinition,
            amounts::{UNLIMITED, in_words, thousandths},
            nodes, windows,
        },
    },
};

/// A pool as the book reckons with it now, among these nodes. More of a resource than can be counted is as good as without end.
#[must_use]
pub fn definition<'n>(
    name: &str,
    spec: &CapacityPoolSpec,
    all_nodes: impl IntoIterator<Item = &'n Node>,
    now: Timestamp,
) -> PoolDefinition {
    let window = windows::current(spec, now).0;
    let reserved = window.and_then(|w| w.reserved.as_ref()).unwrap_or(&spec.reserved);
    let quantities = |words: &BTreeMap<String, String>| -> Quantities {
        words.iter().map(|(name, q)| (name.clone(), thousandths(q).unwrap_or(UNLIMITED))).collect()
    };
    let mut supply = quantities(&spec.resources);
    supply.extend(window.and_then(|w| w.resources.as_ref()).map(quantities).unwrap_or_default());
    for (name, amount) in spec.nodes.as_ref().map(|wish| nodes::supply(wish, all_nodes)).unwrap_or_default() {
        let own = supply.entry(name).or_insert(0);
        *own = own.saturating_add(amount).min(UNLIMITED);
    }
    let urgency = |word: &str| Urgency::ALL.into_iter().find(|u| u.as_str() == word);
    PoolDefinition {
        name: name.to_owned(),
        parent: spec.parent.clone(),
        supply,
        reserved: reserved.iter().filter_map(|(u, q)| Some((urgency(u)?, quantities(q)))).collect(),
        borrow_limit: spec.borrow_limit.as_ref().map(quantities),
        lend_limit: spec.lend_limit.as_ref().map(quantities),
        shares: spec
            .shares
            .iter()
            .map(|share| ShareDefinition {
                name: share.name.clone(),
                nominal: quantities(&share.nominal),
                borrow_limit: share.borrow_limit.as_ref().map(quantities),
                lend_limit: share.lend_limit.as_ref().map(quantities),
                weight: u32::from(share.weight.unwrap_or(1)),
            })
            .collect(),
    }
}

/// What a pool's status says now.
#[must_use]
pub fn report(pool: &CapacityPool, ledger: &Ledger, epoch: i64, now: Timestamp) -> CapacityPoolStatus {
    let name = pool.metadata.name.as_deref().unwrap_or_default();
    let present = pool.status.clone().unwrap_or_default();
    let generation = pool.metadata.generation;
    let mut conditions = Conditions::from(&present.conditions, generation, now);
    match (ledger.problem(name), windows::problem(&pool.spec)) {
        (Some(problem), _) => {
            let reason = match problem {
                PoolProblem::NoParent(_) => "NoParent",
                PoolProblem::Cycle => "Cycle",
                PoolProblem::TooDeep => "TooDeep",
                PoolProblem::TooManyResources => "TooManyResources",
            };
            conditions.set(READY, State::False, reason, problem.message());
            conditions.set(STALLED, State::True, reason, problem.message());
        }
        (None, Some(problem)) => {
            // its other amounts hold
            conditions.set(
                READY,
                State::True,
                "Ready",
                "steps get capacity from it, but not by the window that is wrong",
            );
            conditions.set(STALLED, State::True, "UnknownTimeZone", problem);
        }
        (None, None) => {
            conditions.set(READY, State::True, "Ready", "steps get capacity from it");
            conditions.remove(STALLED);
        }
    }
    let waiting = |all: &BTreeMap<Urgency, u32>| all.iter().map(|(u, n)| (u.as_str().to_owned(), *n)).collect();
    let usage = ledger.usage(name, None).unwrap_or_default();
    let shares = pool.spec.shares.iter().map(|share| {
        let usage = ledger.usage(name, Some(&share.name)).unwrap_or_default();
        ShareStatus {
            name: share.name.clone(),
            granted: in_words(&usage.granted),
            borrowed: in_words(&usage.borrowed),
            waiting: waiting(&usage.waiting),
        }
    });
    CapacityPoolStatus {
        observed_generation: generation,
        leader_epoch: Some(epoch),
        conditions: conditions.into_list(),
        window: windows::current(&pool.spec, now).0.map(|w| w.name.clone()),
        supply: in_words(&usage.supply),
        granted: in_words(&usage.granted),
        borrowed: in_words(&usage.borrowed),
        waiting_total: Some(usage.waiting.values().sum()),
        waiting: waiting(&usage.waiting),
        shares: shares.collect(),
    }
}
