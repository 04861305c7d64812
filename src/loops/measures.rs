//! Measurements of services, on their way from who probes and calls to the statuses, for as long as this replica leads.
//!
//! They are judged in memory. A service is reported when an anomaly begins or ends, and when what has been learned is to be written: an hour or
//! two after it was first seen, then after twice as long each time, and at last once a day; never if no window of measurements has ended since.
//! So a crash forgets half of what was learned in a term, or a day of it, and ten thousand services cost three writes a second at first and one
//! in eight seconds later.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    api::{MedicalService, measurements::Measurements, objectives::Objectives},
    cluster::clock::Clock,
    core::{
        monitoring::{
            measurements::{Known, Source},
            monitor::Monitor,
            objectives::{Bound, share},
        },
        name::{self, Key},
    },
    telemetry::{LatencyCount, Metrics},
};

/// What has been learned is first written between one and two of these after a service is first seen.
pub const FIRST: Duration = Duration::from_secs(3600);
/// Longest time between two writes of what has been learned.
pub const LONGEST: Duration = Duration::from_secs(86_400);

/// Who is told that a status has something new to tell.
pub type Report = Box<dyn Fn(&Key) + Send + Sync>;

/// What is known of all services.
pub struct Measures {
    clock: Clock,
    metrics: Metrics,
    report: Report,
    services: Mutex<HashMap<Key, Service>>,
}

struct Service {
    uid: Option<String>,
    probes: Option<Monitor>,
    calls: Option<Monitor>,
    /// When it is time to write, and how long that is after the last time.
    due: Timestamp,
    wait: Duration,
    /// A window has ended that no status tells of.
    news: bool,
    /// How soon it should answer, and what counts whether it does.
    latency: Option<(Bound, LatencyCount)>,
}

impl Service {
    fn of(&mut self, source: Source) -> &mut Option<Monitor> {
        match source {
            Source::Probes => &mut self.probes,
            Source::Calls => &mut self.calls,
        }
    }

    fn each(&mut self) -> impl Iterator<Item = (Source, &mut Monitor)> {
        let both = [(Source::Probes, &mut self.probes), (Source::Calls, &mut self.calls)];
        both.into_iter().filter_map(|(source, monitor)| Some((source, monitor.as_mut()?)))
    }
}

impl std::fmt::Debug for Measures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Measures").field("services", &self.lock().len()).finish_non_exhaustive()
    }
}

impl Measures {
    /// Nothing is known yet. `report` must not block.
    #[must_use]
    pub fn new(clock: Clock, metrics: Metrics, report: Report) -> Arc<Self> {
        Arc::new(Self { clock, metrics, report, services: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Service>> {
        // every change under the lock is whole before anything that could panic
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins with what a service's status tells, unless it is known already. Pods that others deploy are not probed from here.
    pub fn follow(&self, key: &Key, service: &MedicalService) {
        let now = self.clock.now();
        let mut services = self.lock();
        let uid = &service.metadata.uid;
        let known = services.get(key).is_some_and(|known| known.uid == *uid);
        if !known {
            // another of the same name: what was counted is not its own
            self.hold(key, None);
            let told = service.status.as_ref().and_then(|s| s.measurements.as_ref());
            let seed = |source: Source| told.and_then(|t| source.of(t)).map(|m| Monitor::seeded(m, now));
            // services that begin together are not written together
            let wait = FIRST.mul_f64(1.0 + name::chance(&[&key.namespace, &key.name, "measurements"]));
            let due = now.saturating_add(wait).unwrap_or(Timestamp::MAX);
            let new = Service {
                uid: uid.clone(),
                probes: seed(Source::Probes),
                calls: seed(Source::Calls),
                due,
                wait,
                news: false,
                latency: None,
            };
            services.insert(key.clone(), new);
        }
        let Some(known) = services.get_mut(key) else { return };
        if service.spec.select.is_some() && known.probes.take().is_some() {
            known.news = true;
            self.metrics.of_services.tell_surprise(&key.namespace, &key.name, Source::Probes.as_str(), None);
        }
        known.latency = self.hold(key, service.spec.objectives.as_ref());
        for (source, monitor) in known.each() {
            self.show(key, source, monitor);
        }
    }

    /// Shows what a service declares as its objectives. What was counted goes on, judged as it was at the time.
    fn hold(&self, key: &Key, objectives: Option<&Objectives>) -> Option<(Bound, LatencyCount)> {
        let (shown, latency) = (&self.metrics.of_objectives, objectives.and_then(|o| o.latency.as_ref()));
        let availability = objectives.and_then(|o| o.availability);
        shown.tell_availability(&key.namespace, &key.name, availability.map(share));
        let told = latency.map(|l| (share(l.percentile), l.within.duration().as_secs_f64()));
        let count = shown.tell_latency(&key.namespace, &key.name, told);
        latency.map(Bound::of).zip(count)
    }

    /// A service is gone.
    pub fn forget(&self, key: &Key) {
        if self.lock().remove(key).is_some() {
            self.hold(key, None);
            for source in Source::ALL {
                self.metrics.of_services.tell_surprise(&key.namespace, &key.name, source.as_str(), None);
            }
        }
    }

    /// This process no longer leads.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Takes in one measurement that has ended: how long the answer took, or `None` where there was none. Of services that are not
    /// [followed](Self::follow) nothing is kept.
    pub fn take(&self, key: &Key, source: Source, answer: Option<Duration>) {
        let now = self.clock.now();
        let tell = {
            let mut services = self.lock();
            let Some(service) = services.get_mut(key) else { return };
            if let Some((bound, count)) = &service.latency
                && let Some(in_time) = bound.judge(source, answer)
            {
                count.count(in_time);
            }
            let monitor = service.of(source).get_or_insert_default();
            let news = monitor.take(answer, now);
            if !news.window {
                return;
            }
            self.show(key, source, monitor);
            service.news = true;
            news.turn || service.due <= now
        };
        if tell {
            (self.report)(key);
        }
    }

    /// What there is to tell of a service now.
    #[must_use]
    pub fn known(&self, key: &Key) -> Known {
        let now = self.clock.now();
        let mut services = self.lock();
        let Some(service) = services.get_mut(key) else { return Known::default() };
        let mut expired = false;
        for (source, monitor) in service.each() {
            if monitor.expire(now) {
                expired = true;
                self.show(key, source, monitor);
            }
        }
        service.news |= expired;
        let told = |monitor: &Option<Monitor>| monitor.as_ref().and_then(Monitor::told);
        let measurements = Measurements { probes: told(&service.probes), calls: told(&service.calls) };
        Known { now: Some(measurements), due: service.news && service.due <= now }
    }

    /// When a service must be looked at although nothing happens: an anomaly ends of which nothing is measured any more.
    #[must_use]
    pub fn wake_at(&self, key: &Key) -> Option<Timestamp> {
        let mut services = self.lock();
        services.get_mut(key)?.each().filter_map(|(_, monitor)| monitor.expires()).min()
    }

    /// A status has been written that tells all that was known.
    pub fn written(&self, key: &Key) {
        let now = self.clock.now();
        if let Some(service) = self.lock().get_mut(key) {
            if service.due <= now {
                service.wait = (service.wait * 2).min(LONGEST);
            }
            service.due = now.saturating_add(service.wait).unwrap_or(Timestamp::MAX);
            service.news = false;
        }
    }

    fn show(&self, key: &Key, source: Source, monitor: &Monitor) {
        if let Some(surprise) = monitor.surprise() {
            let told = Some((surprise, monitor.anomaly().is_some()));
            self.metrics.of_services.tell_surprise(&key.namespace, &key.name, source.as_str(), told);
        }
    }
}

#[cfg(test)]
#[path = "measures_tests.rs"]
mod tests;
