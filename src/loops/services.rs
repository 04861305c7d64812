//! Services: observe, decide, perform — objects first, then the status that reports them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};

use crate::{
    api::MedicalService,
    cluster::{
        cache::Cache,
        clock::Clock,
        error::Error,
        notes::Notes,
        observe::{Caches, owner_of_service},
        perform::{Writable, Writer},
    },
    core::{
        discovery::{
            decision::{OwnedKind, ServiceDecision, Wanted},
            guard::AddressGuard,
            service::decide,
            view::ServiceView,
        },
        name::Key,
        refusal::Refusal,
    },
    loops::{
        prober::{ProbeIo, Prober},
        reconciler::Reconcile,
        refusals::set_aside,
        resolver::{LookupIo, Resolver},
    },
    render::Owner,
};

/// An object that is in the way is looked at this often: nothing tells when it goes.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// What is needed to look after services.
pub struct Services<P, L> {
    /// What is known.
    pub caches: Caches,
    /// Who writes.
    pub writer: Writer,
    /// Who probes hosts outside the cluster.
    pub prober: Arc<Prober<P>>,
    /// Who looks up their names.
    pub resolver: Arc<Resolver<L>>,
    /// The time.
    pub clock: Clock,
    /// Who tells people.
    pub notes: Notes,
    /// Which addresses may be probed and published.
    pub guard: Arc<AddressGuard>,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
}

impl<P: ProbeIo, L: LookupIo> Reconcile for Services<P, L> {
    const KIND: &'static str = "MedicalService";

    async fn reconcile(&self, key: &Key) -> Result<Option<Timestamp>, Error> {
        let Some(service) = self.caches.services.get(key) else {
            self.prober.forget(key);
            self.resolver.forget(key);
            return Ok(None);
        };
        let epoch = self.writer.term_after(service.status.as_ref().and_then(|s| s.leader_epoch))?.epoch;
        let owner = owner_of_service(&service);
        let mut taken = self.look_again(key, &self.caches.deployments, &owner).await?;
        taken |= self.look_again(key, &self.caches.core_services, &owner).await?;
        taken |= self.look_again(key, &self.caches.budgets, &owner).await?;
        let mut decision = self.decide(key, &service, epoch, None);
        self.resolver.set_hosts(key, std::mem::take(&mut decision.hosts));
        self.prober.set_targets(key, std::mem::take(&mut decision.probes));
        let refused = self.bring_about(key, &owner, &decision).await?;
        if let Some(error) = &refused {
            // the status reports what has become of the objects; one that is in the way is in its cache now
            let refusal = error.refusal().filter(|_| !matches!(error, Error::NameTaken { .. }));
            let ServiceDecision { status, notes, .. } = self.decide(key, &service, epoch, refusal.as_ref());
            (decision.status, decision.notes) = (status, notes);
        }
        let about = service.object_ref(&());
        if let Some(status) = decision.status {
            let mut next = MedicalService::clone(&service);
            next.status = Some(status);
            self.writer.report(&next, &self.caches.services).await?;
        }
        self.notes.tell(&about, &decision.notes);
        let look_again = || self.clock.now().saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
        refused.map_or_else(|| Ok(taken.then(look_again)), Err)
    }
}

impl<P: ProbeIo, L: LookupIo> Services<P, L> {
    fn decide(&self, key: &Key, service: &MedicalService, epoch: i64, refused: Option<&Refusal>) -> ServiceDecision {
        let slices = self.caches.slices_of(&key.namespace, &key.name);
        let deployment = self.caches.deployments.get(key);
        let core_service = self.caches.core_services.get(key);
        let budget = self.caches.budgets.get(key);
        let (lookups, health) = (self.resolver.lookups(key), self.prober.health(key));
        let (facts, certificates) = (self.prober.facts(key), self.prober.certificates(key));
        let decided_by = self.caches.limits_of(service).decided_by;
        let view = ServiceView {
            service,
            cluster_domain: &self.cluster_domain,
            deployment: deployment.as_deref(),
            core_service: core_service.as_deref(),
            budget: budget.as_deref(),
            slices: slices.iter().map(AsRef::as_ref).collect(),
            lookups: &lookups,
            health: &health,
            facts: &facts,
            certificates: &certificates,
            guard: &self.guard,
            decided_by: &decided_by,
            epoch,
            refused,
        };
        decide(&view, self.clock.now())
    }
}

impl<P, L> Services<P, L> {
    /// All objects; what is refused does not keep the others from being as they should. The first refusal.
    async fn bring_about(&self, key: &Key, owner: &Owner, decision: &ServiceDecision) -> Result<Option<Error>, Error> {
        let mut refused = None;
        for wanted in &decision.wanted {
            let applied = match wanted {
                Wanted::Deployment(o) => self.apply(o.as_ref(), &self.caches.deployments, owner).await,
                Wanted::Service(o) => self.apply(o.as_ref(), &self.caches.core_services, owner).await,
                Wanted::EndpointSlice(o) => self.apply(o.as_ref(), &self.caches.slices, owner).await,
                Wanted::PodDisruptionBudget(o) => self.apply(o.as_ref(), &self.caches.budgets, owner).await,
            };
            set_aside(applied, &mut refused)?;
        }
        for (kind, name) in &decision.unwanted {
            let key = Key::new(&key.namespace, name);
            let removed = match kind {
                OwnedKind::Deployment => self.remove(&key, &self.caches.deployments).await,
                OwnedKind::Service => self.remove(&key, &self.caches.core_services).await,
                OwnedKind::EndpointSlice => self.remove(&key, &self.caches.slices).await,
                OwnedKind::PodDisruptionBudget => self.remove(&key, &self.caches.budgets).await,
            };
            set_aside(removed, &mut refused)?;
        }
        Ok(refused)
    }

    async fn apply<K: Writable + Send + Sync + 'static>(
        &self,
        object: &K,
        cache: &Cache<K>,
        owner: &Owner,
    ) -> Result<(), Error> {
        let present = cache.get(&Key::new(&owner.namespace, object.name_any()));
        let applied = match self.writer.apply(object, present.as_deref(), owner).await {
            Err(error @ Error::NameTaken { .. }) => {
                // it does not carry our label, so no watch brings it: the next look sees it and says so in the status
                if let Some(mut found) = self.writer.read::<K>(&owner.namespace, &object.name_any()).await? {
                    found.managed_fields_mut().clear();
                    cache.wrote(found);
                }
                return Err(error);
            }
            applied => applied?,
        };
        if let Some(mut written) = applied {
            written.managed_fields_mut().clear();
            cache.wrote(written);
        }
        Ok(())
    }

    /// An object of our name that belongs to somebody else is not watched: it is read again at each look. Whether it is there.
    async fn look_again<K: Writable + Send + Sync + 'static>(
        &self,
        key: &Key,
        cache: &Cache<K>,
        owner: &Owner,
    ) -> Result<bool, Error> {
        if cache.get(key).is_none_or(|present| owner.controls(present.meta())) {
            return Ok(false);
        }
        match self.writer.read::<K>(&key.namespace, &key.name).await? {
            Some(mut found) => {
                found.managed_fields_mut().clear();
                let foreign = !owner.controls(found.meta());
                cache.wrote(found);
                Ok(foreign)
            }
            None => {
                cache.gone(key);
                Ok(false)
            }
        }
    }

    async fn remove<K: Writable + Send + Sync + 'static>(&self, key: &Key, cache: &Cache<K>) -> Result<(), Error> {
        match cache.get(key) {
            Some(object) => self.writer.delete(object.as_ref()).await,
            None => Ok(()),
        }
    }
}
