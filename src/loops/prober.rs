//! Probes endpoints for as long as this replica leads.
//!
//! Each target has a task of its own, so that an endpoint which hangs delays no other. One that has failed for long is probed
//! less often. What is under way at once is bounded twice: for all services, and for each service, so that one whose hosts all
//! hang cannot hold every slot. A service is reported when the health of one of its endpoints changed, and at no other time: a
//! quiet service causes no work.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api::medical_service::EndpointReason,
    cluster::clock::Clock,
    core::{
        discovery::{
            capability::{Facts, Held},
            guard::AddressGuard,
            target::{Endpoint, ProbeTarget, Probed, Probing},
        },
        monitoring::{
            health::{Health, ProbeOutcome},
            measurements::Source,
            pace,
        },
        name::{self, Key},
    },
    loops::measures::Measures,
    medical::{self, tls::Trust},
    telemetry::Metrics,
};

/// How a probe is done. Tests give outcomes of their own.
pub trait ProbeIo: Send + Sync + 'static {
    /// Probes an endpoint once, within the target's timeout.
    fn probe(&self, target: &ProbeTarget) -> impl Future<Output = Probed> + Send;
}

/// Probes over the network.
#[derive(Clone, Debug)]
pub struct Network {
    /// Which addresses may be probed.
    pub guard: Arc<AddressGuard>,
    /// Settings of TLS.
    pub trust: Arc<Trust>,
}

impl ProbeIo for Network {
    async fn probe(&self, target: &ProbeTarget) -> Probed {
        if self.guard.refusal(target.endpoint.address).is_some() {
            return ProbeOutcome::Failed(EndpointReason::AddressRefused).into();
        }
        medical::probe::probe(target, &self.trust).await
    }
}

/// How many probes may be under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For all services.
    pub total: usize,
    /// For one service.
    pub per_service: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // a probe holds one socket and a few kilobytes; a service may have some hundred endpoints that all hang for 3 s
        Self { total: 256, per_service: 64 }
    }
}

/// The second probe of a target comes after half an interval at least and one and a half at most: over a whole interval, and not so soon
/// that one short disturbance as a term begins could count twice.
const FIRST_PART: f64 = 0.5;
/// Shortest time from the end of a probe to the start of the next one of the same target.
const PAUSE: Duration = Duration::from_millis(100);

/// Who is told that the health of a service's endpoints changed.
pub type Report = Box<dyn Fn(&Key) + Send + Sync>;

/// The task and what it knows. Shared: the reconciler sets targets and reads health, [`Prober::run`] probes.
pub struct Prober<I> {
    io: I,
    clock: Clock,
    report: Report,
    measures: Arc<Measures>,
    metrics: Metrics,
    per_service: usize,
    total: Semaphore,
    state: Mutex<State>,
    /// Rung when `State::dirty` has something.
    changed: Notify,
}

#[derive(Default)]
struct State {
    services: HashMap<Key, Service>,
    /// Services whose tasks do not fit their targets.
    dirty: BTreeSet<Key>,
    /// Tells one setting of a target from the next.
    stamp: u64,
}

struct Service {
    endpoints: BTreeMap<Endpoint, Watched>,
    slots: Arc<Semaphore>,
}

struct Watched {
    target: ProbeTarget,
    health: Health,
    /// How many probes in a row have failed since it is watched in this way.
    failures: u32,
    facts: Held,
    certificate_expires: Option<Timestamp>,
    stamp: u64,
}

/// The task of one target.
struct Running {
    stamp: u64,
    stop: CancellationToken,
}

impl<I> std::fmt::Debug for Prober<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prober").field("services", &self.lock().services.len()).finish_non_exhaustive()
    }
}

impl<I> Prober<I> {
    fn lock(&self) -> MutexGuard<'_, State> {
        // every change under the lock is whole before anything that could panic
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes these the targets of a service. What is known of an endpoint stays known, also when it is probed in another way
    /// from now on; an endpoint that is new starts from its seed and is probed at once. Setting the same again does nothing.
    pub fn set_targets(&self, key: &Key, targets: Vec<Probing>) {
        if targets.is_empty() {
            self.forget(key);
            return;
        }
        let mut guard = self.lock();
        let state = &mut *guard;
        let service = state.services.entry(key.clone()).or_insert_with(|| Service {
            endpoints: BTreeMap::new(),
            slots: Arc::new(Semaphore::new(self.per_service)),
        });
        let mut changed = false;
        let mut next = BTreeMap::new();
        for Probing { target, seed } in targets {
            let watched = match service.endpoints.remove(&target.endpoint) {
                Some(old) if old.target == target => old,
                old => {
                    changed = true;
                    state.stamp += 1;
                    let (health, facts, certificate_expires) =
                        old.map_or((seed, Held::default(), None), |o| (o.health, o.facts, o.certificate_expires));
                    Watched { health, failures: 0, facts, certificate_expires, stamp: state.stamp, target }
                }
            };
            next.insert(watched.target.endpoint.clone(), watched);
        }
        changed |= !service.endpoints.is_empty();
        service.endpoints = next;
        if changed {
            state.dirty.insert(key.clone());
            drop(guard);
            self.changed.notify_one();
        }
    }

    /// Stops probing for a service and drops what is known of it.
    pub fn forget(&self, key: &Key) {
        let mut state = self.lock();
        if state.services.remove(key).is_some() {
            state.dirty.insert(key.clone());
            drop(state);
            self.changed.notify_one();
        }
    }

    /// What is known of a service's endpoints.
    #[must_use]
    pub fn health(&self, key: &Key) -> BTreeMap<Endpoint, Health> {
        let state = self.lock();
        let endpoints = state.services.get(key).into_iter().flat_map(|s| &s.endpoints);
        endpoints.map(|(endpoint, watched)| (endpoint.clone(), watched.health)).collect()
    }

    /// What a service's endpoints can do, as far as they told.
    #[must_use]
    pub fn facts(&self, key: &Key) -> BTreeMap<Endpoint, Arc<Facts>> {
        let state = self.lock();
        let endpoints = state.services.get(key).into_iter().flat_map(|s| &s.endpoints);
        endpoints
            .filter_map(|(endpoint, watched)| Some((endpoint.clone(), Arc::clone(watched.facts.facts()?))))
            .collect()
    }

    /// Until when the certificates of a service's endpoints are valid, as far as they showed one.
    #[must_use]
    pub fn certificates(&self, key: &Key) -> BTreeMap<Endpoint, Timestamp> {
        let state = self.lock();
        let endpoints = state.services.get(key).into_iter().flat_map(|s| &s.endpoints);
        endpoints.filter_map(|(endpoint, watched)| Some((endpoint.clone(), watched.certificate_expires?))).collect()
    }

    /// How many endpoints are probed.
    #[must_use]
    pub fn targets(&self) -> usize {
        self.lock().services.values().map(|s| s.endpoints.len()).sum()
    }

    /// The target as it is set now, and the slots of its service; `None` when the task's setting is no longer the present one.
    fn current(&self, key: &Key, endpoint: &Endpoint, stamp: u64) -> Option<(ProbeTarget, Arc<Semaphore>)> {
        let state = self.lock();
        let service = state.services.get(key)?;
        let watched = service.endpoints.get(endpoint).filter(|w| w.stamp == stamp)?;
        Some((watched.target.clone(), Arc::clone(&service.slots)))
    }

    /// From the start of one probe of an endpoint to the start of the next.
    fn gap(&self, key: &Key, target: &ProbeTarget, chance: f64) -> Duration {
        let state = self.lock();
        let watched = state.services.get(key).and_then(|s| s.endpoints.get(&target.endpoint));
        pace::gap(target.interval, watched.map_or(0, |w| w.failures), target.thresholds, chance)
    }

    /// Takes in how a probe ended; true when the service must be told of.
    fn observe(
        &self,
        key: &Key,
        endpoint: &Endpoint,
        stamp: u64,
        Probed { outcome, facts, certificate_expires }: Probed,
    ) -> bool {
        let now = self.clock.now();
        let mut state = self.lock();
        let watched = state.services.get_mut(key).and_then(|s| s.endpoints.get_mut(endpoint));
        watched.filter(|w| w.stamp == stamp).is_some_and(|w| {
            let thresholds = w.target.thresholds;
            w.failures = if outcome == ProbeOutcome::Answered { 0 } else { w.failures.saturating_add(1) };
            let mut news = facts.is_some_and(|facts| w.facts.observe(facts, thresholds.failures));
            if certificate_expires.is_some() && w.certificate_expires != certificate_expires {
                w.certificate_expires = certificate_expires;
                news = true;
            }
            w.health.observe(outcome, now, thresholds) || news
        })
    }
}

impl<I: ProbeIo> Prober<I> {
    /// A prober without targets. `report` is called from its tasks and must not block.
    #[must_use]
    pub fn new(
        io: I,
        limits: Limits,
        measures: Arc<Measures>,
        clock: Clock,
        metrics: Metrics,
        report: Report,
    ) -> Arc<Self> {
        Arc::new(Self {
            io,
            clock,
            report,
            measures,
            metrics,
            per_service: limits.per_service.max(1),
            total: Semaphore::new(limits.total.max(1)),
            state: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Probes until `stop`. When it returns, no probe is under way and nothing is known any more: whoever leads next starts
    /// from the statuses.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let mut running: HashMap<Key, BTreeMap<Endpoint, Running>> = HashMap::new();
        self.rouse();
        loop {
            self.follow(&mut running, &tasks, &stop);
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.changed.notified() => {}
            }
        }
        tasks.close();
        tasks.wait().await;
        let mut state = self.lock();
        state.services.clear();
        state.dirty.clear();
    }

    /// Targets that were set before the run began need tasks too.
    fn rouse(&self) {
        let mut state = self.lock();
        let keys: Vec<Key> = state.services.keys().cloned().collect();
        state.dirty.extend(keys);
    }

    /// Starts and stops tasks until each fits its target.
    fn follow(
        self: &Arc<Self>,
        running: &mut HashMap<Key, BTreeMap<Endpoint, Running>>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let wanted: Vec<(Key, BTreeMap<Endpoint, u64>)> = {
            let mut state = self.lock();
            let dirty = std::mem::take(&mut state.dirty);
            let stamps = |key: &Key| {
                let endpoints = state.services.get(key).into_iter().flat_map(|s| &s.endpoints);
                endpoints.map(|(endpoint, watched)| (endpoint.clone(), watched.stamp)).collect()
            };
            dirty.into_iter().map(|key| (key.clone(), stamps(&key))).collect()
        };
        for (key, endpoints) in wanted {
            let present = running.entry(key.clone()).or_default();
            present.retain(|endpoint, task| {
                let keep = endpoints.get(endpoint) == Some(&task.stamp);
                if !keep {
                    task.stop.cancel();
                }
                keep
            });
            for (endpoint, stamp) in endpoints {
                if present.contains_key(&endpoint) {
                    continue;
                }
                let task = Running { stamp, stop: stop.child_token() };
                let (prober, key, token) = (Arc::clone(self), key.clone(), task.stop.clone());
                present.insert(endpoint.clone(), task);
                tasks.spawn(async move {
                    // dropping the probe closes its socket
                    let _ = token.run_until_cancelled(prober.watch(key, endpoint, stamp)).await;
                });
            }
            if present.is_empty() {
                running.remove(&key);
            }
        }
    }

    /// Probes one target: at once, and then at moments that lie an interval apart. Which ones is told by the endpoint's name, so that
    /// targets that are set together, as when a term begins, do not stay together.
    async fn watch(self: Arc<Self>, key: Key, endpoint: Endpoint, stamp: u64) {
        let chance = spread(&key, &endpoint);
        let mut planned = Instant::now();
        let mut first = true;
        // a probe takes kilobytes, nearly all targets wait, and there may be ten thousand: the room is there for as long as a probe is
        while let Some(target) = Box::pin(self.once(&key, &endpoint, stamp, planned)).await {
            let gap = if std::mem::take(&mut first) {
                target.interval.mul_f64(FIRST_PART + chance)
            } else {
                self.gap(&key, &target, chance)
            };
            drop(target);
            // from the plan, not from the start: one that began late stays in its place among the others. Never without a pause,
            // even when a probe takes longer than its interval
            planned = (planned + gap).max(Instant::now() + PAUSE);
            sleep_until(planned).await;
        }
    }

    /// One probe of a target, which is returned; `None` when the task's setting is no longer the present one.
    async fn once(&self, key: &Key, endpoint: &Endpoint, stamp: u64, planned: Instant) -> Option<ProbeTarget> {
        let (target, slots) = self.current(key, endpoint, stamp)?;
        let (started, probed) = {
            // the service's slot first: who waits for it must not hold one that others could use.
            // The semaphores are never closed: without a permit the probe would only be unbounded.
            let _service = slots.acquire().await.ok();
            let _total = self.total.acquire().await.ok();
            (Instant::now(), self.io.probe(&target).await)
        };
        let (protocol, reason) = (target.kind.protocol(), format!("{:?}", probed.outcome.reason()));
        let took = started.elapsed();
        self.metrics.tell_probe(protocol, reason, started.duration_since(planned), took);
        let answer = (probed.outcome == ProbeOutcome::Answered).then_some(took);
        self.measures.take(key, Source::Probes, answer);
        if self.observe(key, endpoint, stamp, probed) {
            (self.report)(key);
        }
        Some(target)
    }
}

/// From 0 to 1, and for the same endpoint always the same.
fn spread(key: &Key, endpoint: &Endpoint) -> f64 {
    name::chance(&[
        &key.namespace,
        &key.name,
        &endpoint.interface,
        &endpoint.address.to_string(),
        &endpoint.port.to_string(),
    ])
}

#[cfg(test)]
#[path = "prober_tests.rs"]
mod tests;
