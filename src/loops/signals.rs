//! Reads what Prometheus says of services, for queries that prefer by it, for as long as this replica leads.
//!
//! Which expressions are evaluated is a setting of the operator alone: Prometheus holds the series of all tenants, so a tenant names one and
//! never writes one. A value that moves by a whole step has the queries of its namespace looked at that name the signal; a signal that is read
//! no more, all that name it. So neither a tick nor noise costs a write.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::ResourceExt;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{ServiceQuery, ServiceQuerySpec},
    cluster::{cache::key, clock::Clock, observe::Caches},
    core::{
        discovery::query::view::{SignalFacts, SignalState},
        monitoring::signal::{Held, KEPT, Problem, samples},
        name::Key,
    },
    telemetry::Metrics,
};

/// A query waits so long for the first reading of its signals before it asks again.
const AGAIN: Duration = Duration::from_secs(1);

/// A signal as it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// What queries call it.
    pub name: String,
    /// In PromQL: an instant vector with the labels `namespace` and `service`.
    pub expression: String,
    /// From one reading to the next.
    pub interval: Duration,
}

/// Why nothing was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// No connection, no answer in time, or one that broke off.
    #[error("it cannot be reached, or does not answer in time")]
    Unreachable,
    /// It answers with this status.
    #[error("it answers with the HTTP status {0}")]
    Refused(u16),
    /// The answer is longer than medley reads.
    #[error("its answer is longer than {0} bytes")]
    TooLong(usize),
    /// The answer is of no use.
    #[error(transparent)]
    Useless(#[from] Problem),
}

impl Unread {
    /// A word for metrics.
    const fn outcome(&self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Refused(_) => "refused",
            Self::TooLong(_) => "too_long",
            Self::Useless(Problem::Failed(_)) => "failed",
            Self::Useless(Problem::NoVector(_)) => "no_vector",
            Self::Useless(Problem::Unreadable) => "unreadable",
        }
    }
}

/// The body of an answer to come.
pub type Reading<'r> = Pin<Box<dyn Future<Output = Result<Vec<u8>, Unread>> + Send + 'r>>;

/// Who evaluates expressions.
pub trait Evaluate: Send + Sync {
    /// The answer to an instant query.
    fn evaluate<'r>(&'r self, expression: &'r str) -> Reading<'r>;
}

/// What is read, and where.
#[derive(Clone)]
pub struct Source {
    /// The signals; no two of one name.
    pub signals: Vec<Signal>,
    /// Prometheus.
    pub prometheus: Arc<dyn Evaluate>,
}

/// Who is told that an answer may move.
pub type Report = Box<dyn Fn(&Key) + Send + Sync>;

/// All signals.
pub struct Signals {
    source: Option<Source>,
    caches: Caches,
    clock: Clock,
    metrics: Metrics,
    report: Report,
    states: Mutex<BTreeMap<String, State>>,
}

/// What is known of one signal.
#[derive(Default)]
struct State {
    held: Held,
    /// It was read, or it was tried.
    tried: bool,
    last: Option<Timestamp>,
    /// The last reading is not too old.
    read: bool,
}

impl Signals {
    /// Nothing is read yet. `report` must not block.
    #[must_use]
    pub fn new(source: Option<Source>, caches: Caches, clock: Clock, metrics: Metrics, report: Report) -> Arc<Self> {
        Arc::new(Self { source, caches, clock, metrics, report, states: Mutex::default() })
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        // every change under the lock is whole before anything that could panic
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signals(&self) -> &[Signal] {
        self.source.as_ref().map_or(&[], |s| &s.signals)
    }

    /// Reads until stopped.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        if let Some(source) = &self.source {
            for signal in &source.signals {
                let (this, prometheus, signal) = (Arc::clone(&self), Arc::clone(&source.prometheus), signal.clone());
                tasks.spawn(async move { this.follow(prometheus.as_ref(), &signal).await });
            }
        }
        stop.cancelled().await;
        // dropping a request closes its connection
        tasks.shutdown().await;
        self.states().clear();
        self.metrics.signals.forget();
    }

    async fn follow(&self, prometheus: &dyn Evaluate, signal: &Signal) {
        let mut ticks = interval(signal.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut well = true;
        loop {
            ticks.tick().await;
            let read = prometheus.evaluate(&signal.expression).await.and_then(|body| Ok(samples(&body)?));
            let outcome = read.as_ref().map_or_else(Unread::outcome, |_| "read");
            self.metrics.signals.tell_reading(&signal.name, outcome);
            match (&read, well) {
                (Err(unread), true) => {
                    tracing::warn!(
                        signal = signal.name,
                        "Prometheus tells nothing of a signal: {unread}; its last values count for {KEPT} intervals"
                    );
                }
                (Ok(_), false) => tracing::info!(signal = signal.name, "Prometheus tells of a signal again"),
                _ => {}
            }
            well = read.is_ok();
            let now = self.clock.now();
            let mut states = self.states();
            let state = states.entry(signal.name.clone()).or_default();
            let first = !std::mem::replace(&mut state.tried, true);
            let mut moved = BTreeSet::new();
            if let Ok(samples) = read {
                let (news, tally) =
                    state.held.take(samples, |service| self.caches.services.get(service).is_some(), now);
                moved = news;
                state.last = Some(now);
                self.metrics.signals.tell_samples(&signal.name, tally.each());
            }
            moved.extend(state.held.expire(now, signal.interval));
            let new = |last: Timestamp| now.duration_since(last).unsigned_abs() <= signal.interval * KEPT;
            let before = std::mem::replace(&mut state.read, state.last.is_some_and(new));
            let turned = first || before != state.read;
            self.metrics.signals.tell_state(&signal.name, state.read);
            drop(states);
            self.tell(&signal.name, turned, &moved);
        }
    }

    /// Has the queries looked at that name a signal: all of them, or those that may find one of these services.
    fn tell(&self, signal: &str, all: bool, moved: &BTreeSet<Key>) {
        let names = |query: &ServiceQuery| named(&query.spec).any(|name| name == signal);
        let concerned: Vec<Arc<ServiceQuery>> = if all {
            self.caches.queries.all().into_values().collect()
        } else {
            let namespaces: BTreeSet<&str> = moved.iter().map(|service| service.namespace.as_str()).collect();
            namespaces.into_iter().flat_map(|namespace| self.caches.queries.in_namespace(namespace)).collect()
        };
        concerned.iter().filter(|query| names(query)).for_each(|query| (self.report)(&key(query.as_ref())));
    }

    /// When a query asks again, one of whose signals has not been read since this replica leads: it must not move for a moment what an
    /// operator before told. `None` where it need not wait.
    #[must_use]
    pub fn awaited(&self, spec: &ServiceQuerySpec) -> Option<Timestamp> {
        let states = self.states();
        let known = |name: &&str| self.signals().iter().any(|s| s.name == **name);
        let untried = named(spec).filter(known).any(|name| !states.get(name).is_some_and(|s| s.tried));
        untried.then(|| self.clock.now().saturating_add(AGAIN).unwrap_or(Timestamp::MAX))
    }

    /// What the signals that a query names say of the services of its namespace.
    #[must_use]
    pub fn facts(&self, query: &ServiceQuery) -> Vec<SignalFacts> {
        if named(&query.spec).next().is_none() {
            return Vec::new();
        }
        let namespace = query.namespace().unwrap_or_default();
        let services: Vec<Key> =
            self.caches.services.in_namespace(&namespace).iter().map(|service| key(service.as_ref())).collect();
        let states = self.states();
        let of = |name: &str| {
            let known = self.signals().iter().any(|s| s.name == name);
            let state = states.get(name).filter(|_| known);
            let value = |service: &Key| Some((service.name.clone(), state?.held.value(service)?));
            SignalFacts {
                name: name.to_owned(),
                state: match state {
                    _ if !known => SignalState::Unknown,
                    Some(state) if state.read => SignalState::Read,
                    _ => SignalState::NotRead,
                },
                values: services.iter().filter_map(value).collect(),
            }
        };
        named(&query.spec).map(of).collect()
    }
}

/// The signals that a query names.
fn named(spec: &ServiceQuerySpec) -> impl Iterator<Item = &str> {
    spec.prefer.iter().flat_map(|p| &p.signals).map(|s| s.name.as_str())
}
