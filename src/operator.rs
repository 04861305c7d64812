//! The only wiring: what starts, in which order, what stops when. Nothing else knows everybody.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{MedicalService, WorkflowRun},
    cluster::{
        cache::{Cache, Change, Kept, Object, Scope, key},
        clock::Clock,
        jobs::prune_job,
        leader::{Election, Leadership, Settings as LeaseSettings},
        notes::Notes,
        observe::{Caches, prune_nothing, prune_pod, workflow_of},
        perform::Writer,
        queue::Queue,
        watch::{Watch, watch},
    },
    core::{discovery::guard::AddressGuard, name::Key},
    loops::{
        dispatcher::Dispatcher,
        prober::{Limits, ProbeIo, Prober},
        reconciler::{self, Context},
        refusals::Refusals,
        resolver::{LookupIo, Resolver},
        runs::{Runs, tell_others},
        samples::Samples,
        services::Services,
        turns::{by_label, by_run, pending_runs, touched, waiting_runs},
        workflows::{RUNS_WAIT, Workflows},
    },
    medical::http::CallIo,
    render::{RUN_LABEL, SERVICE_LABEL, WORKFLOW_LABEL},
    telemetry::Metrics,
};

/// How long calls under way may take to end before the lease is given back.
const DRAIN: Duration = Duration::from_secs(5);

/// What the operator is told from outside.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespaces to look after; the whole cluster when empty.
    pub namespaces: Vec<String>,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// How many objects of each kind are looked at together.
    pub workers: usize,
    /// Which addresses services may have.
    pub guard: Arc<AddressGuard>,
    /// How the lease is held.
    pub lease: LeaseSettings,
}

/// What the operator reaches the world through: the real one, or that of a simulation.
pub struct World<C, P, L> {
    /// The API server.
    pub client: Client,
    /// Calls of workflow steps.
    pub calls: C,
    /// Probes.
    pub probes: P,
    /// Lookups of host names.
    pub lookups: L,
    /// The time.
    pub clock: Clock,
}

/// What is to be looked at, by kind.
#[derive(Clone, Default)]
struct Queues {
    services: Arc<Queue>,
    workflows: Arc<Queue>,
    runs: Arc<Queue>,
}

impl Queues {
    fn open(&self) {
        self.services.open();
        self.workflows.open();
        self.runs.open();
    }

    fn close(&self) {
        self.services.close();
        self.workflows.close();
        self.runs.close();
    }
}

/// The operator, before it runs.
pub struct Operator<C, P, L> {
    settings: Settings,
    clock: Clock,
    metrics: Metrics,
    client: Client,
    caches: Caches,
    queues: Queues,
    leadership: Leadership,
    election: Arc<Election>,
    dispatcher: Arc<Dispatcher<C>>,
    prober: Arc<Prober<P>>,
    resolver: Arc<Resolver<L>>,
}

impl<C: CallIo, P: ProbeIo, L: LookupIo> Operator<C, P, L> {
    /// Puts the parts together; nothing runs yet.
    #[must_use]
    pub fn new(settings: Settings, world: World<C, P, L>, metrics: Metrics) -> Self {
        let World { client, calls, probes, lookups, clock } = world;
        let queues = Queues::default();
        // a term begins with a look at everything: whoever does not lead remembers nothing
        queues.close();
        let (election, leadership) = Election::new(client.clone(), settings.lease.clone(), clock, metrics.clone());
        let tell = |queue: &Arc<Queue>| -> Box<dyn Fn(&Key) + Send + Sync> {
            let queue = Arc::clone(queue);
            Box::new(move |key| queue.add(key.clone(), false))
        };
        Self {
            dispatcher: Dispatcher::new(calls, clock, metrics.clone(), tell(&queues.runs)),
            prober: Prober::new(probes, clock, Limits::default(), tell(&queues.services)),
            resolver: Resolver::new(lookups, tell(&queues.services)),
            caches: Caches::default(),
            settings,
            clock,
            metrics,
            client,
            queues,
            leadership,
            election,
        }
    }

    /// What is known: for the readiness probe.
    #[must_use]
    pub fn caches(&self) -> Caches {
        self.caches.clone()
    }

    /// Runs until stopped: watches always, works while it leads. On the way out what is under way is brought to its end and
    /// the lease is given back.
    pub async fn run(self, stop: CancellationToken) {
        let background = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let _listening = Listening(self.caches.clone());
        self.watch_all(&background, &mut tasks);
        let (notes, teller) =
            Notes::new(self.client.clone(), self.settings.lease.identity.clone(), self.metrics.clone());
        tasks.spawn(teller.run(background.clone()));
        let election = Arc::clone(&self.election);
        let campaign = CancellationToken::new();
        let campaigning = tokio::spawn({
            let campaign = campaign.clone();
            async move { election.run(campaign).await }
        });
        let mut leadership = self.leadership.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.caches.wait_ready() => {}
            }
            let term = tokio::select! {
                () = stop.cancelled() => break,
                term = leadership.won() => term,
            };
            let Some(term) = term else { break };
            // a Lease that was deleted begins to count anew, and runs that were restored come from another one
            let past = self.caches.latest_epoch();
            if past >= term.epoch {
                tracing::warn!(
                    past,
                    epoch = term.epoch,
                    "runs tell of later terms: this one ends and another begins above them"
                );
                leadership.spent(past);
                leadership.lost(term.epoch).await;
                continue;
            }
            self.lead(term.epoch, &notes, &stop).await;
            if stop.is_cancelled() {
                break;
            }
        }
        campaign.cancel();
        // the election's task ends by itself once it was told to; a panic in it only means that the lease runs out
        let _ = campaigning.await;
        background.cancel();
        while tasks.join_next().await.is_some() {}
    }

    /// One term: everything is looked at once, then whatever changes.
    async fn lead(&self, epoch: i64, notes: &Notes, stop: &CancellationToken) {
        let term = CancellationToken::new();
        let draining = CancellationToken::new();
        let mut tasks = JoinSet::new();
        self.queues.open();
        let writer = Writer::new(self.client.clone(), self.leadership.clone(), self.metrics.clone());
        tasks.spawn(Arc::clone(&self.prober).run(term.clone()));
        tasks.spawn(Arc::clone(&self.resolver).run(term.clone()));
        let context = |queue: &Arc<Queue>| Context {
            queue: Arc::clone(queue),
            clock: self.clock,
            metrics: self.metrics.clone(),
            workers: self.settings.workers,
        };
        let services = Services {
            caches: self.caches.clone(),
            writer: writer.clone(),
            prober: Arc::clone(&self.prober),
            resolver: Arc::clone(&self.resolver),
            clock: self.clock,
            notes: notes.clone(),
            guard: Arc::clone(&self.settings.guard),
            cluster_domain: self.settings.cluster_domain.clone(),
        };
        tasks.spawn(reconciler::run(Arc::new(services), context(&self.queues.services), term.clone()));
        let samples = Arc::new(Samples::new(self.metrics.clone()));
        let workflows = Workflows {
            caches: self.caches.clone(),
            writer: writer.clone(),
            clock: self.clock,
            notes: notes.clone(),
            samples: Arc::clone(&samples),
            written: Mutex::new(HashMap::new()),
        };
        tasks.spawn(reconciler::run(Arc::new(workflows), context(&self.queues.workflows), term.clone()));
        let runs = Runs {
            caches: self.caches.clone(),
            writer,
            dispatcher: Arc::clone(&self.dispatcher),
            clock: self.clock,
            notes: notes.clone(),
            hidden: Mutex::default(),
            workflows: Arc::clone(&self.queues.workflows),
            starting: Mutex::default(),
            guard: Arc::clone(&self.settings.guard),
            samples,
            outlooks: Mutex::default(),
            metrics: self.metrics.clone(),
            draining: draining.clone(),
            refusals: Refusals::default(),
        };
        tasks.spawn(reconciler::run(Arc::new(runs), context(&self.queues.runs), term.clone()));
        for (queue, keys) in [
            (&self.queues.services, self.caches.services.keys()),
            (&self.queues.workflows, self.caches.workflows.keys()),
            (&self.queues.runs, self.caches.runs.keys()),
        ] {
            keys.into_iter().for_each(|key| queue.add(key, true));
        }
        let mut leadership = self.leadership.clone();
        tokio::select! {
            () = leadership.lost(epoch) => self.dispatcher.clear(),
            () = stop.cancelled() => {
                draining.cancel();
                tokio::select! {
                    () = leadership.lost(epoch) => {}
                    _ = tokio::time::timeout(DRAIN, self.dispatcher.idle()) => {}
                }
            }
        }
        term.cancel();
        while tasks.join_next().await.is_some() {}
        self.queues.close();
        self.dispatcher.clear();
    }

    fn watch_all(&self, stop: &CancellationToken, tasks: &mut JoinSet<()>) {
        let Queues { services, workflows, runs } = self.queues.clone();
        self.watch(&self.caches.services, None, prune_nothing, stop, tasks, {
            let (services, waiting) = (services.clone(), waiting_runs(&self.caches, &runs));
            move |change: &Change<MedicalService>| {
                touched(change, &services);
                if let Some(service) = change.after.as_ref() {
                    waiting(&service.namespace().unwrap_or_default());
                }
            }
        });
        self.watch(&self.caches.workflows, None, prune_nothing, stop, tasks, {
            let (workflows, pending) = (workflows.clone(), pending_runs(&self.caches, &runs));
            move |change| {
                touched(change, &workflows);
                if let Some(workflow) = change.after.as_ref().or(change.before.as_ref()) {
                    pending(&key(workflow.as_ref()));
                }
            }
        });
        self.watch(&self.caches.runs, None, prune_nothing, stop, tasks, {
            let (workflows, runs, dispatcher) = (workflows.clone(), runs.clone(), Arc::clone(&self.dispatcher));
            let caches = self.caches.clone();
            move |change: &Change<WorkflowRun>| {
                touched(change, &runs);
                caches.note_loss(change);
                caches.forget_losses(change);
                let Some(run) = change.after.as_ref().or(change.before.as_ref()) else { return };
                if change.after.is_none() {
                    dispatcher.forget(&run.uid().unwrap_or_default());
                }
                tell_others(&caches, &runs, change.before.as_deref(), change.after.as_deref());
                let phase = |run: Option<&Arc<WorkflowRun>>| run.and_then(|r| r.status.as_ref()?.phase);
                if change.before.is_none()
                    || change.after.is_none()
                    || phase(change.before.as_ref()) != phase(change.after.as_ref())
                {
                    let workflow = Key::new(run.namespace().unwrap_or_default(), &run.spec.workflow);
                    workflows.add_within(workflow, RUNS_WAIT);
                }
            }
        });
        self.watch(&self.caches.pods, Some(RUN_LABEL), prune_pod, stop, tasks, by_run(&self.caches, &runs));
        self.watch(&self.caches.jobs, Some(RUN_LABEL), prune_job, stop, tasks, by_run(&self.caches, &runs));
        self.watch(&self.caches.revisions, Some(WORKFLOW_LABEL), prune_nothing, stop, tasks, {
            let (workflows, pending) = (workflows.clone(), pending_runs(&self.caches, &runs));
            move |change| {
                if let Some(key) = change.after.as_ref().or(change.before.as_ref()).and_then(|r| workflow_of(r)) {
                    // the workflow may have been known to be stored before its revision was
                    pending(&key);
                    workflows.add(key, false);
                }
            }
        });
        let label = Some(SERVICE_LABEL);
        self.watch(&self.caches.deployments, label, prune_nothing, stop, tasks, by_label(SERVICE_LABEL, &services));
        self.watch(&self.caches.core_services, label, prune_nothing, stop, tasks, by_label(SERVICE_LABEL, &services));
        self.watch(&self.caches.budgets, label, prune_nothing, stop, tasks, by_label(SERVICE_LABEL, &services));
        self.watch(&self.caches.slices, label, prune_nothing, stop, tasks, {
            let (to_service, waiting) = (by_label(SERVICE_LABEL, &services), waiting_runs(&self.caches, &runs));
            move |change: &Change<k8s_openapi::api::discovery::v1::EndpointSlice>| {
                to_service(change);
                if let Some(slice) = change.after.as_ref() {
                    waiting(&slice.namespace().unwrap_or_default());
                }
            }
        });
    }

    #[allow(clippy::too_many_arguments)]
    fn watch<K, S: Kept<K>>(
        &self,
        cache: &Arc<Cache<K, S>>,
        labels: Option<&'static str>,
        prune: fn(&mut K),
        stop: &CancellationToken,
        tasks: &mut JoinSet<()>,
        changed: impl Fn(&Change<K>) + Send + Sync + 'static,
    ) where
        K: Object + Resource<Scope = NamespaceResourceScope> + DeserializeOwned + std::fmt::Debug,
    {
        cache.on_change(Some(Box::new(changed)));
        let scopes: Vec<Scope> = if self.settings.namespaces.is_empty() {
            vec![None]
        } else {
            self.settings.namespaces.iter().cloned().map(Some).collect()
        };
        for scope in scopes {
            cache.expect(&scope);
            let settings = Watch {
                client: self.client.clone(),
                scope,
                labels,
                cache: Arc::clone(cache),
                prune,
                metrics: self.metrics.clone(),
            };
            tasks.spawn(watch(settings, stop.clone()));
        }
    }
}

/// While it is there, caches tell of changes. Who is told holds caches in turn, so that they would never go by themselves.
struct Listening(Caches);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.tell_nobody();
    }
}
