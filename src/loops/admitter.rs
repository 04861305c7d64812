//! Admission: keeps the ledger of capacity, rules on it when something has changed, and sends word to the runs that it concerns.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use kube::ResourceExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{CapacityPool, CapacityPoolStatus, WorkflowRun, WorkflowRunStatus},
    cluster::{cache::key, clock::Clock, kept_run::KeptRun, observe::Caches, queue::Queue},
    core::{
        coordination::{capacity::SchedulingView, holdings, view::Decision},
        name::Key,
        scheduling::{self, Ledger},
    },
    telemetry::{Metrics, UrgencyLabel},
};

/// How often those that wait are told where they stand, and pools what is in use.
const TELLING: Duration = Duration::from_secs(5);
/// How many steps are told at a time: each costs a status write.
const TOLD_TOGETHER: usize = 10;

/// The ledger, and whom to tell.
pub struct Admitter {
    caches: Caches,
    runs: Arc<Queue>,
    pools: Arc<Queue>,
    clock: Clock,
    metrics: Metrics,
    ledger: Mutex<Ledger>,
    news: Notify,
    pools_changed: AtomicBool,
}

impl Admitter {
    /// An admitter with an empty ledger; `runs` and `pools` are what it sends word to.
    #[must_use]
    pub fn new(caches: Caches, runs: Arc<Queue>, pools: Arc<Queue>, clock: Clock, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            caches,
            runs,
            pools,
            clock,
            metrics,
            ledger: Mutex::default(),
            news: Notify::new(),
            pools_changed: AtomicBool::default(),
        })
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a term: the ledger is what the statuses of all runs tell.
    pub fn begin(&self) {
        let runs = self.caches.runs.all();
        let live = runs.into_values().filter_map(KeptRun::live);
        let (mut held, mut awaited) = (Vec::new(), std::collections::HashSet::new());
        for run in live {
            held.extend(
                run.status.as_ref().map(|s| holdings(&run, s, &self.caches.rules_of(&run).0)).unwrap_or_default(),
            );
            awaited.insert(key(run.as_ref()));
        }
        let now = self.clock.now();
        let ledger = Ledger::new(self.caches.pool_definitions(now), held, awaited, now);
        *self.ledger() = ledger;
        self.news.notify_one();
    }

    /// Takes over changed pools before the next pass.
    pub fn pools_changed(&self) {
        self.pools_changed.store(true, Ordering::Release);
        self.news.notify_one();
    }

    /// What scheduling has to say about a run.
    #[must_use]
    pub fn view(&self, run: &WorkflowRun) -> SchedulingView {
        let (rules, share) = self.caches.rules_of(run);
        let entry = self.ledger().entry(&key(run), &run.uid().unwrap_or_default());
        SchedulingView { rules, share, entry }
    }

    /// Takes note of what a decision about a run asks for, and of what the run has now that its status is written.
    pub fn settle(&self, run: &WorkflowRun, decision: &mut Decision) {
        let present = run.status.as_ref();
        let status: Option<&WorkflowRunStatus> = decision.status.as_ref().or(present);
        let held = status.map(|s| holdings(run, s, &self.caches.rules_of(run).0)).unwrap_or_default();
        let demands = std::mem::take(&mut decision.demands);
        let now = self.clock.now();
        let news = self.ledger().settle(&key(run), &run.uid().unwrap_or_default(), demands, held, now);
        if news {
            self.news.notify_one();
        }
    }

    /// A run is gone.
    pub fn forget(&self, run: &Key) {
        self.ledger().forget(run);
        self.news.notify_one();
    }

    /// What a pool's status says now.
    #[must_use]
    pub fn report(&self, pool: &CapacityPool, epoch: i64) -> CapacityPoolStatus {
        scheduling::report(pool, &self.ledger(), epoch, self.clock.now())
    }

    /// Rules until stopped.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut telling = tokio::time::interval(TELLING);
        telling.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let now = self.clock.now();
            let next = self.ledger().next_pass(now);
            tokio::select! {
                () = stop.cancelled() => {
                    self.metrics.ledger_drift.set(0);
                    return;
                }
                () = self.news.notified() => {}
                () = self.clock.reaches(next) => {}
                _ = telling.tick() => self.tell(),
            }
            self.pass();
        }
    }

    fn pass(&self) {
        let now = self.clock.now();
        let pools = self.pools_changed.swap(false, Ordering::AcqRel).then(|| self.caches.pool_definitions(now));
        let mut ledger = self.ledger();
        if let Some(pools) = pools {
            ledger.set_pools(pools, now);
        }
        let news = ledger.pass(now);
        drop(ledger);
        for (urgency, waited) in news.admitted {
            let label = UrgencyLabel { urgency: urgency.as_str() };
            self.metrics.admission_wait.get_or_create(&label).observe(waited.as_secs_f64().max(0.0));
        }
        self.metrics.preemptions.inc_by(u64::from(news.preempted));
        news.runs.into_iter().for_each(|run| self.runs.add(run, false));
    }

    fn tell(&self) {
        let now: Timestamp = self.clock.now();
        let mut ledger = self.ledger();
        let runs = ledger.tell(now, TOLD_TOGETHER);
        let changed = ledger.take_changed();
        self.metrics.ledger_drift.set(i64::try_from(ledger.assumed()).unwrap_or(i64::MAX));
        drop(ledger);
        runs.into_iter().for_each(|run| self.runs.add(run, false));
        if changed {
            self.caches.pools.keys().into_iter().for_each(|pool| self.pools.add(Key::clone(&pool), false));
        }
    }
}
