//! The only wiring: what starts, in which order, what stops when. Nothing else knows everybody.

mod watches;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{
        clock::Clock,
        leader::{Election, Leadership, Settings as LeaseSettings},
        notes::Notes,
        observe::Caches,
        perform::Writer,
        queue::Queue,
    },
    core::{discovery::guard::AddressGuard, name::Key, registry::Holder},
    loops::{
        admitter::Admitter,
        dispatcher::Dispatcher,
        lanes::Lanes,
        measures::Measures,
        mirror::{self, Mirrors},
        pools::Pools,
        prober::{Limits, ProbeIo, Prober},
        queries::Queries,
        reconciler::{self, Context},
        refusals::Refusals,
        resolver::{LookupIo, Resolver},
        runs::Runs,
        samples::Samples,
        services::Services,
        signals::{self, Signals},
        workflows::Workflows,
    },
    medical::calls::CallIo,
    telemetry::Metrics,
};

/// How long calls under way may take to end before the lease is given back.
const DRAIN: Duration = Duration::from_secs(5);

/// How soon the runs under way are asked for again, when the API server did not answer.
const CATCH_UP_AGAIN: Duration = Duration::from_secs(1);

/// Runs that have not ended.
const NOT_ENDED: &str = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Canceled";

/// What the operator is told from outside.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespaces to look after; the whole cluster when empty.
    pub namespaces: Vec<String>,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// How many objects of each kind are looked at together.
    pub workers: usize,
    /// Whether there are pools: without the right to see them and namespaces, nobody is granted anything.
    pub pools: bool,
    /// Which addresses services may have.
    pub guard: Arc<AddressGuard>,
    /// Where the registry is told besides.
    pub mirrors: mirror::Settings,
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
    /// Signals that queries may prefer by, and who says what they are; nobody where there is no Prometheus.
    pub signals: Option<signals::Source>,
    /// The time.
    pub clock: Clock,
}

/// What is to be looked at, by kind.
#[derive(Clone, Default)]
struct Queues {
    services: Arc<Queue>,
    queries: Arc<Queue>,
    workflows: Arc<Queue>,
    runs: Arc<Queue>,
    pools: Arc<Queue>,
}

impl Queues {
    fn open(&self) {
        self.services.open();
        self.queries.open();
        self.workflows.open();
        self.runs.open();
        self.pools.open();
    }

    fn close(&self) {
        self.services.close();
        self.queries.close();
        self.workflows.close();
        self.runs.close();
        self.pools.close();
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
    admitter: Arc<Admitter>,
    lanes: Arc<Lanes>,
    measures: Arc<Measures>,
    signals: Arc<Signals>,
    mirrors: Mirrors,
}

impl<C: CallIo, P: ProbeIo, L: LookupIo> Operator<C, P, L> {
    /// Puts the parts together; nothing runs yet.
    #[must_use]
    pub fn new(settings: Settings, world: World<C, P, L>, metrics: Metrics) -> Self {
        let World { client, calls, probes, lookups, signals, clock } = world;
        let queues = Queues::default();
        // a term begins with a look at everything: whoever does not lead remembers nothing
        queues.close();
        let (election, leadership) = Election::new(client.clone(), settings.lease.clone(), clock, metrics.clone());
        let tell = |queue: &Arc<Queue>| -> Box<dyn Fn(&Key) + Send + Sync> {
            let queue = Arc::clone(queue);
            Box::new(move |key| queue.add(key.clone(), false))
        };
        let caches = Caches::default();
        let (guard, to_lanes) = (Arc::clone(&settings.guard), Arc::clone(&queues.runs));
        let lanes = Lanes::new(caches.clone(), guard, to_lanes, clock, metrics.clone());
        let (leads, report) = (leadership.clone(), tell(&queues.runs));
        let measures = Measures::new(clock, metrics.clone(), tell(&queues.services));
        let to = (Arc::clone(&lanes), Arc::clone(&measures));
        let dispatcher = Dispatcher::new(calls, to, leads, clock, metrics.clone(), report);
        let (to_runs, to_pools) = (Arc::clone(&queues.runs), Arc::clone(&queues.pools));
        let to_queries = tell(&queues.queries);
        let signals = Signals::new(signals, caches.clone(), clock, metrics.clone(), to_queries);
        let mirrors = Mirrors::new(&settings.mirrors, &caches, &metrics);
        Self {
            mirrors,
            admitter: Admitter::new(caches.clone(), to_runs, to_pools, clock, metrics.clone()),
            dispatcher,
            lanes,
            prober: Prober::new(
                probes,
                Limits::default(),
                Arc::clone(&measures),
                clock,
                metrics.clone(),
                tell(&queues.services),
            ),
            resolver: Resolver::new(lookups, tell(&queues.services)),
            measures,
            signals,
            caches,
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

    /// Which addresses nobody is connected to, and so are in no answer.
    #[must_use]
    pub fn guard(&self) -> Arc<AddressGuard> {
        Arc::clone(&self.settings.guard)
    }

    /// The mirrors of the registry: for who asks how they do.
    #[must_use]
    pub fn mirrors(&self) -> Mirrors {
        self.mirrors.clone()
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

    /// Reads what leaders before have granted, as far as there is anything to grant; false when the term is over before that.
    async fn catch_up(&self, writer: &Writer, epoch: i64, stop: &CancellationToken) -> bool {
        let namespaces: Vec<Option<&str>> = match self.settings.namespaces.as_slice() {
            [] => vec![None],
            some => some.iter().map(|n| Some(n.as_str())).collect(),
        };
        let mut leadership = self.leadership.clone();
        let grants = !self.caches.pools.is_empty() || self.caches.limits_work();
        for namespace in namespaces.into_iter().filter(|_| grants) {
            while let Err(error) = writer.relist(namespace, NOT_ENDED, &self.caches.runs).await {
                tracing::warn!(error = %error, "cannot read the runs that are under way; trying again");
                tokio::select! {
                    () = leadership.lost(epoch) => return false,
                    () = stop.cancelled() => return false,
                    () = tokio::time::sleep(CATCH_UP_AGAIN) => {}
                }
            }
        }
        true
    }

    /// What mirrors must know of a term.
    fn writes(&self, epoch: i64) -> mirror::Term {
        let leadership = self.leadership.clone();
        let lease = leadership.lease();
        let lasts = Arc::new(move || leadership.term().is_some_and(|t| t.epoch == epoch));
        mirror::Term { holder: Holder { lease, epoch }, lasts }
    }

    /// One term: everything is looked at once, then whatever changes.
    async fn lead(&self, epoch: i64, notes: &Notes, stop: &CancellationToken) {
        let term = CancellationToken::new();
        let draining = CancellationToken::new();
        let mut tasks = JoinSet::new();
        self.queues.open();
        let writer = Writer::new(self.client.clone(), self.leadership.clone(), self.metrics.clone());
        // before any run is looked at: what is granted already is what their statuses tell
        if !self.catch_up(&writer, epoch, stop).await {
            self.queues.close();
            return;
        }
        self.admitter.begin();
        tasks.spawn(Arc::clone(&self.admitter).run(term.clone()));
        tasks.spawn(Arc::clone(&self.lanes).run(term.clone()));
        tasks.spawn(Arc::clone(&self.prober).run(term.clone()));
        tasks.spawn(Arc::clone(&self.resolver).run(term.clone()));
        tasks.spawn(Arc::clone(&self.signals).run(term.clone()));
        self.mirrors.start(&self.writes(epoch), &term, &mut tasks);
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
            measures: Arc::clone(&self.measures),
            clock: self.clock,
            notes: notes.clone(),
            guard: Arc::clone(&self.settings.guard),
            cluster_domain: self.settings.cluster_domain.clone(),
            metrics: self.metrics.clone(),
        };
        tasks.spawn(reconciler::run(Arc::new(services), context(&self.queues.services), term.clone()));
        let queries = Queries {
            caches: self.caches.clone(),
            writer: writer.clone(),
            clock: self.clock,
            notes: notes.clone(),
            guard: Arc::clone(&self.settings.guard),
            signals: Arc::clone(&self.signals),
            cluster_domain: self.settings.cluster_domain.clone(),
            owed: Mutex::default(),
        };
        tasks.spawn(reconciler::run(Arc::new(queries), context(&self.queues.queries), term.clone()));
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
        let (caches, admitter) = (self.caches.clone(), Arc::clone(&self.admitter));
        let pools = Pools { caches, writer: writer.clone(), admitter, clock: self.clock, changes: Mutex::default() };
        tasks.spawn(reconciler::run(Arc::new(pools), context(&self.queues.pools), term.clone()));
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
            admitter: Arc::clone(&self.admitter),
            lanes: Arc::clone(&self.lanes),
            refusals: Refusals::default(),
        };
        tasks.spawn(reconciler::run(Arc::new(runs), context(&self.queues.runs), term.clone()));
        for (queue, keys) in [
            (&self.queues.services, self.caches.services.keys()),
            (&self.queues.queries, self.caches.queries.keys()),
            (&self.queues.workflows, self.caches.workflows.keys()),
            (&self.queues.runs, self.caches.runs.keys()),
            (&self.queues.pools, self.caches.pools.keys()),
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
        self.lanes.clear();
        self.measures.clear();
        self.metrics.forget_services();
    }
}

/// While it is there, caches tell of changes. Who is told holds caches in turn, so that they would never go by themselves.
struct Listening(Caches);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.tell_nobody();
    }
}
