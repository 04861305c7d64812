//! Pools: their status tells what is in use.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    api::CapacityPool,
    cluster::{error::Error, observe::Caches, perform::Writer},
    core::name::Key,
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
}

impl Reconcile for Pools {
    const KIND: &'static str = "CapacityPool";

    async fn reconcile(&self, key: &Key) -> Result<Option<Timestamp>, Error> {
        let Some(pool) = self.caches.pools.get(key) else { return Ok(None) };
        let written = pool.status.as_ref().and_then(|s| s.leader_epoch);
        let term = self.writer.term_after(written)?;
        // one that differs in nothing but its writer is not written
        let status = self.admitter.report(&pool, written.unwrap_or(term.epoch));
        if pool.status.as_ref() == Some(&status) {
            return Ok(None);
        }
        let mut next = CapacityPool::clone(&pool);
        let status = crate::api::CapacityPoolStatus { leader_epoch: Some(term.epoch), ..status };
        next.status = Some(status);
        self.writer.report_as_seen(&next, &self.caches.pools).await?;
        Ok(None)
    }
}
