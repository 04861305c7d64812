//! Services: observe, decide, perform — objects first, then the status that reports them.

use std::sync::Arc;

use jiff::Timestamp;
use kube::Resource;

use crate::{
    api::MedicalService,
    cluster::{
        clock::Clock,
        error::Error,
        notes::Notes,
        observe::{Caches, owner_of_service},
        perform::Writer,
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
        gates,
        measures::Measures,
        owned::{LOOK_AGAIN, apply, look_again, remove},
        prober::{ProbeIo, Prober},
        reconciler::Reconcile,
        refusals::set_aside,
        resolver::{LookupIo, Resolver},
    },
    render::{Owner, autoscaler, stateful_set},
    telemetry::Metrics,
};

/// What is needed to look after services.
pub struct Services<P, L> {
    /// What is known.
    pub caches: Caches,
    /// Who writes.
    pub writer: Writer,
    /// Who probes.
    pub prober: Arc<Prober<P>>,
    /// Who looks up their names.
    pub resolver: Arc<Resolver<L>>,
    /// What probes and calls have shown.
    pub measures: Arc<Measures>,
    /// The time.
    pub clock: Clock,
    /// Who tells people.
    pub notes: Notes,
    /// Which addresses may be probed and published.
    pub guard: Arc<AddressGuard>,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// Counters.
    pub metrics: Metrics,
}

/// The headless Service of a service's instances.
fn instances(key: &Key) -> Key {
    Key::new(&key.namespace, stateful_set::instances(&key.name))
}

impl<P: ProbeIo, L: LookupIo> Reconcile for Services<P, L> {
    const KIND: &'static str = "MedicalService";

    async fn reconcile(&self, key: &Key) -> Result<Option<Timestamp>, Error> {
        let Some(service) = self.caches.services.get(key) else {
            self.prober.forget(key);
            self.resolver.forget(key);
            self.measures.forget(key);
            self.metrics.tell_endpoints(&key.namespace, &key.name, None);
            self.metrics.of_services.tell_certificate(&key.namespace, &key.name, None);
            return Ok(None);
        };
        let epoch = self.writer.term_after(service.status.as_ref().and_then(|s| s.leader_epoch))?.epoch;
        self.measures.follow(key, &service);
        let owner = owner_of_service(&service);
        let mut taken = look_again(&self.writer, key, &self.caches.deployments, &owner).await?;
        taken |= look_again(&self.writer, key, &self.caches.stateful_sets, &owner).await?;
        taken |= look_again(&self.writer, key, &self.caches.core_services, &owner).await?;
        taken |= look_again(&self.writer, &instances(key), &self.caches.core_services, &owner).await?;
        taken |= look_again(&self.writer, key, &self.caches.autoscalers, &owner).await?;
        taken |= look_again(&self.writer, key, &self.caches.budgets, &owner).await?;
        let mut decision = self.decide(key, &service, epoch, None);
        self.resolver.set_hosts(key, std::mem::take(&mut decision.hosts));
        self.prober.set_targets(key, std::mem::take(&mut decision.probes));
        let mut refused = self.bring_about(key, &owner, &decision).await?;
        let pods = &self.caches.gated_pods;
        let words = std::mem::take(&mut decision.gates);
        let told = gates::tell(&self.writer, &key.namespace, words, pods, &mut refused).await;
        if let Some(error) = &refused {
            // the status reports what has become of the objects; one that is in the way is in its cache now
            let refusal = error.refusal().filter(|_| !matches!(error, Error::NameTaken { .. }));
            let ServiceDecision { status, notes, .. } = self.decide(key, &service, epoch, refusal.as_ref());
            (decision.status, decision.notes) = (status, notes);
        }
        if let Some(status) = decision.status.as_ref().or(service.status.as_ref()) {
            let counts = (status.ready.unwrap_or(0), status.total.unwrap_or(0));
            self.metrics.tell_endpoints(&key.namespace, &key.name, Some(counts));
            let ends = status.endpoints.iter().filter_map(|e| e.certificate_expires).min();
            // seconds since 1970 are exact in an f64
            let ends = ends.map(|at| at.as_second() as f64);
            self.metrics.of_services.tell_certificate(&key.namespace, &key.name, ends);
        }
        let about = service.object_ref(&());
        if let Some(status) = decision.status {
            let mut next = MedicalService::clone(&service);
            next.status = Some(status);
            self.writer.report(&next, &self.caches.services).await?;
            self.measures.written(key);
        }
        self.notes.tell(&about, &decision.notes);
        let look_again = || self.clock.now().saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
        told?;
        let wake_at = taken.then(look_again).into_iter().chain(self.measures.wake_at(key)).min();
        refused.map_or(Ok(wake_at), Err)
    }
}

impl<P: ProbeIo, L: LookupIo> Services<P, L> {
    fn decide(&self, key: &Key, service: &MedicalService, epoch: i64, refused: Option<&Refusal>) -> ServiceDecision {
        let slices = self.caches.slices_of(&key.namespace, &key.name);
        let deployment = self.caches.deployments.get(key);
        let stateful_set = self.caches.stateful_sets.get(key);
        let core_service = self.caches.core_services.get(key);
        let instances = self.caches.core_services.get(&instances(key));
        let autoscaler = self.caches.autoscalers.get(key);
        let budget = self.caches.budgets.get(key);
        let pods = self.caches.gated_pods_of(key);
        let (lookups, health) = (self.resolver.lookups(key), self.prober.health(key));
        let (facts, certificates) = (self.prober.facts(key), self.prober.certificates(key));
        let decided_by = self.caches.limits_of(service).decided_by;
        let measured = self.measures.known(key);
        let view = ServiceView {
            service,
            cluster_domain: &self.cluster_domain,
            deployment: deployment.as_deref(),
            stateful_set: stateful_set.as_deref(),
            instances: instances.as_deref(),
            core_service: core_service.as_deref(),
            autoscaler: autoscaler.as_deref(),
            budget: budget.as_deref(),
            slices: slices.iter().map(AsRef::as_ref).collect(),
            pods: pods.iter().map(AsRef::as_ref).collect(),
            lookups: &lookups,
            health: &health,
            facts: &facts,
            certificates: &certificates,
            measured: &measured,
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
                Wanted::Deployment(o) => apply(&self.writer, o.as_ref(), &self.caches.deployments, owner).await,
                Wanted::HorizontalPodAutoscaler(o) => {
                    let present = self.caches.autoscalers.get(key);
                    match present.filter(|p| autoscaler::is_as_wished(p, o)) {
                        Some(_) => Ok(()),
                        None => apply(&self.writer, o.as_ref(), &self.caches.autoscalers, owner).await,
                    }
                }
                Wanted::StatefulSet(o) => apply(&self.writer, o.as_ref(), &self.caches.stateful_sets, owner).await,
                Wanted::Service(o) => apply(&self.writer, o.as_ref(), &self.caches.core_services, owner).await,
                Wanted::EndpointSlice(o) => apply(&self.writer, o.as_ref(), &self.caches.slices, owner).await,
                Wanted::PodDisruptionBudget(o) => apply(&self.writer, o.as_ref(), &self.caches.budgets, owner).await,
            };
            set_aside(applied, &mut refused)?;
        }
        for (kind, name) in &decision.unwanted {
            let key = Key::new(&key.namespace, name);
            let removed = match kind {
                OwnedKind::Deployment => remove(&self.writer, &key, &self.caches.deployments).await,
                OwnedKind::HorizontalPodAutoscaler => remove(&self.writer, &key, &self.caches.autoscalers).await,
                OwnedKind::StatefulSet => remove(&self.writer, &key, &self.caches.stateful_sets).await,
                OwnedKind::Service => remove(&self.writer, &key, &self.caches.core_services).await,
                OwnedKind::EndpointSlice => remove(&self.writer, &key, &self.caches.slices).await,
                OwnedKind::PodDisruptionBudget => remove(&self.writer, &key, &self.caches.budgets).await,
            };
            set_aside(removed, &mut refused)?;
        }
        Ok(refused)
    }
}
