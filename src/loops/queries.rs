//! Queries: observe, decide, perform — objects first, then the status that reports them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use kube::Resource;

use crate::{
    api::ServiceQuery,
    cluster::{
        clock::Clock,
        error::Error,
        notes::Notes,
        observe::{Caches, owner_of_query},
        perform::Writer,
    },
    core::{
        discovery::{
            decision::{OwnedKind, Wanted},
            guard::AddressGuard,
            query::{
                decide::decide,
                follows::{Owed, owed},
                view::{QueryDecision, QueryView, ServiceFacts},
            },
        },
        name::Key,
        refusal::Refusal,
    },
    loops::{
        owned::{LOOK_AGAIN, apply, look_again, remove},
        reconciler::Reconcile,
        refusals::set_aside,
        signals::Signals,
    },
    render::Owner,
};

/// What is needed to look after queries.
pub struct Queries {
    /// What is known.
    pub caches: Caches,
    /// Who writes.
    pub writer: Writer,
    /// The time.
    pub clock: Clock,
    /// Who tells people.
    pub notes: Notes,
    /// Which addresses may be published.
    pub guard: Arc<AddressGuard>,
    /// What Prometheus says of services.
    pub signals: Arc<Signals>,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// Statuses that are still to be written, after the slices.
    pub owed: Mutex<HashMap<Key, Owed>>,
}

impl Reconcile for Queries {
    const KIND: &'static str = "ServiceQuery";

    async fn reconcile(&self, key: &Key) -> Result<Option<Timestamp>, Error> {
        let Some(query) = self.caches.queries.get(key) else {
            self.later(key, false, false);
            return Ok(None);
        };
        if let Some(at) = self.signals.awaited(&query.spec) {
            return Ok(Some(at));
        }
        let epoch = self.writer.term_after(query.status.as_ref().and_then(|s| s.leader_epoch))?.epoch;
        let owner = owner_of_query(&query);
        let taken = look_again(&self.writer, key, &self.caches.query_services, &owner).await?;
        let mut decision = self.decide(key, &query, epoch, None);
        let before = self.slices(key);
        let refused = self.bring_about(key, &owner, &decision).await?;
        if let Some(error) = &refused {
            // the status reports what has become of the objects; one that is in the way is in its cache now
            let refusal = error.refusal().filter(|_| !matches!(error, Error::NameTaken { .. }));
            let QueryDecision { status, notes, .. } = self.decide(key, &query, epoch, refusal.as_ref());
            (decision.status, decision.notes) = (status, notes);
        }
        // what a new spec has come to is told at once, and so is what stands in its way
        let known = query.status.as_ref().is_some_and(|s| s.observed_generation == query.metadata.generation);
        let may_follow = decision.status.is_some() && known && refused.is_none();
        if let Some(later) = self.later(key, may_follow, before != self.slices(key)) {
            return Ok(Some(later));
        }
        let about = query.object_ref(&());
        if let Some(status) = decision.status {
            let mut next = ServiceQuery::clone(&query);
            next.status = Some(status);
            self.writer.report(&next, &self.caches.queries).await?;
        }
        self.notes.tell(&about, &decision.notes);
        let look_again = || self.clock.now().saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
        refused.map_or_else(|| Ok(taken.then(look_again)), Err)
    }
}

impl Queries {
    /// The versions of a query's slices.
    fn slices(&self, key: &Key) -> BTreeMap<String, Option<String>> {
        let slices = self.caches.query_slices.in_group(&key.namespace, &key.name);
        slices.iter().map(|(key, slice)| (key.name.clone(), slice.metadata.resource_version.clone())).collect()
    }

    /// When to look again for a status, if there is one that `may_follow`. Nothing is owed when it is written now, or there is none.
    fn later(&self, key: &Key, may_follow: bool, moved: bool) -> Option<Timestamp> {
        let mut all = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.remove(key);
        let next = if may_follow { owed(before, moved, self.clock.now()) } else { None }?;
        all.insert(key.clone(), next);
        Some(next.due)
    }

    fn decide(&self, key: &Key, query: &ServiceQuery, epoch: i64, refused: Option<&Refusal>) -> QueryDecision {
        let services = self.caches.services.in_namespace(&key.namespace);
        let facts: Vec<ServiceFacts<'_>> =
            services.iter().map(|service| self.caches.facts(&query.spec, service, &self.guard)).collect();
        let slices = self.caches.query_slices.in_group(&key.namespace, &key.name);
        let signals = self.signals.facts(query);
        let core_service = self.caches.query_services.get(key);
        let view = QueryView {
            query,
            cluster_domain: &self.cluster_domain,
            services: &facts,
            signals: &signals,
            core_service: core_service.as_deref(),
            slices: slices.iter().map(|(_, slice)| slice.as_ref()).collect(),
            refused,
            epoch,
        };
        decide(&view, self.clock.now())
    }

    /// All objects; what is refused does not keep the others from being as they should. The first refusal.
    async fn bring_about(&self, key: &Key, owner: &Owner, decision: &QueryDecision) -> Result<Option<Error>, Error> {
        let (services, slices) = (&self.caches.query_services, &self.caches.query_slices);
        let mut refused = None;
        for wanted in &decision.wanted {
            let applied = match wanted {
                Wanted::Service(o) => apply(&self.writer, o.as_ref(), services, owner).await,
                Wanted::EndpointSlice(o) => apply(&self.writer, o.as_ref(), slices, owner).await,
                Wanted::Deployment(_)
                | Wanted::StatefulSet(_)
                | Wanted::HorizontalPodAutoscaler(_)
                | Wanted::PodDisruptionBudget(_) => Ok(()),
            };
            set_aside(applied, &mut refused)?;
        }
        for (kind, name) in &decision.unwanted {
            let key = Key::new(&key.namespace, name);
            let removed = match kind {
                OwnedKind::Service => remove(&self.writer, &key, services).await,
                OwnedKind::EndpointSlice => remove(&self.writer, &key, slices).await,
                OwnedKind::Deployment
                | OwnedKind::StatefulSet
                | OwnedKind::HorizontalPodAutoscaler
                | OwnedKind::PodDisruptionBudget => Ok(()),
            };
            set_aside(removed, &mut refused)?;
        }
        Ok(refused)
    }
}
