//! Pools: their status tells what is in use.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;

use crate::{
    api::{CapacityPool, CapacityPoolSpec},
    cluster::{clock::Clock, error::Error, observe::Caches, perform::Writer},
    core::{name::Key, scheduling::windows},
    loops::{admitter::Admitter, reconciler::Reconcile},
};

/// What is needed to report on pools.
pub struct Pools {
    /// What is known.
    pub caches: Caches,
    /// Who writes.
    pub writer: Writer,
    /// Who knows what is in use.
    pub admitter: Arc<Admitter>,
    /// The time.
    pub clock: Clock,
    /// When the amounts of a pool change next.
    pub changes: Mutex<HashMap<Key, Timestamp>>,
}

impl Reconcile for Pools {
    const KIND: &'static str = "CapacityPool";

    async fn reconcile(&self, key: &Key) -> Result<Option<Timestamp>, Error> {
        let pool = self.caches.pools.get(key);
        let next = pool.as_ref().and_then(|pool| self.next_change(key, &pool.spec));
        let Some(pool) = pool else { return Ok(None) };
        let written = pool.status.as_ref().and_then(|s| s.leader_epoch);
        let term = self.writer.term_after(written)?;
        // one that differs in nothing but its writer is not written
        let status = self.admitter.report(&pool, written.unwrap_or(term.epoch));
        if pool.status.as_ref() == Some(&status) {
            return Ok(next);
        }
        let mut changed = CapacityPool::clone(&pool);
        let status = crate::api::CapacityPoolStatus { leader_epoch: Some(term.epoch), ..status };
        changed.status = Some(status);
        self.writer.report_as_seen(&changed, &self.caches.pools).await?;
        Ok(next)
    }
}

impl Pools {
    /// Has the pool's amounts taken over that hold from now on, and tells when others will.
    fn next_change(&self, key: &Key, spec: &CapacityPoolSpec) -> Option<Timestamp> {
        let now = self.clock.now();
        let (_, next) = windows::current(spec, now);
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match next {
            Some(at) => changes.insert(key.clone(), at),
            None => changes.remove(key),
        };
        // also at the first look: an edge may have passed since the amounts were taken over
        if known != next {
            self.admitter.pools_changed();
        }
        next
    }
}
