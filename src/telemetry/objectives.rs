//! Series of what services declare as their objectives, shown by the leader alone: they go with the objective, with the object and with
//! the term.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::ServiceLabel;

/// The objectives, and for latency how they are met.
#[derive(Clone, Debug, Default)]
pub struct OfObjectives {
    availability: Family<ServiceLabel, Gauge<f64, AtomicU64>>,
    latency: Family<ServiceLabel, Gauge<f64, AtomicU64>>,
    bound: Family<ServiceLabel, Gauge<f64, AtomicU64>>,
    met: Family<ServiceLabel, Counter<u64, AtomicU64>>,
    measured: Family<ServiceLabel, Counter<u64, AtomicU64>>,
}

/// The counters of one service. What is counted after its series have gone is shown nowhere.
#[derive(Clone, Debug)]
pub struct LatencyCount {
    met: Counter<u64, AtomicU64>,
    measured: Counter<u64, AtomicU64>,
}

impl LatencyCount {
    /// Something was measured, and was answered in time or not.
    pub fn count(&self, in_time: bool) {
        self.measured.inc();
        if in_time {
            self.met.inc();
        }
    }
}

impl OfObjectives {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        registry.register(
            "service_objective_availability_ratio",
            "Share of the endpoints of a MedicalService that should be ready, where it says so",
            this.availability.clone(),
        );
        registry.register(
            "service_objective_latency_ratio",
            "Share of the measurements of a MedicalService that should be answered in time, where it says so",
            this.latency.clone(),
        );
        registry.register(
            "service_objective_latency_seconds",
            "Longest time that an answer of a MedicalService should take, where it says so",
            this.bound.clone(),
        );
        // they are shown in this order, so what was in time is never more than all
        registry.register(
            "service_objective_latency_met",
            "Measurements of a MedicalService with an objective for latency that were answered in time",
            this.met.clone(),
        );
        registry.register(
            "service_objective_latency_measured",
            "Measurements of a MedicalService with an objective for latency, those that failed too",
            this.measured.clone(),
        );
        this
    }

    /// The share of a service's endpoints that should be ready; `None` when it does not say.
    pub fn tell_availability(&self, namespace: &str, service: &str, share: Option<f64>) {
        let label = ServiceLabel { namespace: namespace.to_owned(), service: service.to_owned() };
        if let Some(share) = share {
            self.availability.get_or_create(&label).set(share);
        } else {
            self.availability.remove(&label);
        }
    }

    /// The share of a service's measurements that should be answered in time, and within how many seconds that is; `None` when it does not
    /// say. What counts them goes on where it was.
    pub fn tell_latency(&self, namespace: &str, service: &str, told: Option<(f64, f64)>) -> Option<LatencyCount> {
        let label = ServiceLabel { namespace: namespace.to_owned(), service: service.to_owned() };
        if let Some((share, seconds)) = told {
            self.latency.get_or_create(&label).set(share);
            self.bound.get_or_create(&label).set(seconds);
            // both are shown from the beginning, so that the first measurement is an increase
            let (met, measured) = (self.met.get_or_create(&label).clone(), self.measured.get_or_create(&label).clone());
            Some(LatencyCount { met, measured })
        } else {
            self.latency.remove(&label);
            self.bound.remove(&label);
            self.met.remove(&label);
            self.measured.remove(&label);
            None
        }
    }

    /// Forgets all services: who does not lead knows none.
    pub(super) fn forget(&self) {
        self.availability.clear();
        self.latency.clear();
        self.bound.clear();
        self.met.clear();
        self.measured.clear();
    }
}
