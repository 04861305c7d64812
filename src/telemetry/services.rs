//! Series of each `MedicalService`, shown by the leader alone: they go with the object and with the term.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use super::ServiceLabel;

/// Labels: measurements of a `MedicalService`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct MeasuredLabel {
    /// Namespace of the object.
    pub namespace: String,
    /// Its name.
    pub service: String,
    /// `probes` or `calls`.
    pub source: &'static str,
}

/// What is known of how services do.
#[derive(Clone, Debug, Default)]
pub struct OfServices {
    /// Of the last window of measurements: −log₁₀ of the probability that one is as slow, or fails as often.
    pub surprise: Family<MeasuredLabel, Gauge<f64, AtomicU64>>,
    /// 1 while measurements are unusual.
    pub anomalous: Family<MeasuredLabel, Gauge<i64, AtomicI64>>,
    /// Calls of workflow steps that wait for their turn or for a free place.
    pub calls_waiting: Family<ServiceLabel, Gauge<i64, AtomicI64>>,
    /// Calls of workflow steps that are under way.
    pub calls_at_work: Family<ServiceLabel, Gauge<i64, AtomicI64>>,
    /// When the first certificate of its endpoints ends, in seconds since 1970.
    pub certificate_expires: Family<ServiceLabel, Gauge<f64, AtomicU64>>,
}

impl OfServices {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        registry.register(
            "service_surprise",
            "How improbable the last window of measurements of a MedicalService was, as -log10 of its probability",
            this.surprise.clone(),
        );
        registry.register(
            "service_anomalous",
            "1 while measurements of a MedicalService are slower, or fail more often, than before",
            this.anomalous.clone(),
        );
        registry.register(
            "service_calls_waiting",
            "Calls of workflow steps to a MedicalService that wait for their turn or for a free place, as of the last five seconds",
            this.calls_waiting.clone(),
        );
        registry.register(
            "service_calls_at_work",
            "Calls of workflow steps to a MedicalService that are under way, as of the last five seconds",
            this.calls_at_work.clone(),
        );
        registry.register(
            "service_certificate_expires_timestamp_seconds",
            "When the first of the certificates ends that the endpoints of a MedicalService have shown",
            this.certificate_expires.clone(),
        );
        this
    }

    /// When the first certificate of a service's endpoints ends, in seconds since 1970; `None` when none is known any more.
    pub fn tell_certificate(&self, namespace: &str, service: &str, ends: Option<f64>) {
        let label = ServiceLabel { namespace: namespace.to_owned(), service: service.to_owned() };
        if let Some(ends) = ends {
            self.certificate_expires.get_or_create(&label).set(ends);
        } else {
            self.certificate_expires.remove(&label);
        }
    }

    /// How many calls wait and how many are under way; `None` when nothing calls a service any more.
    pub fn tell_calls(&self, namespace: &str, service: &str, counts: Option<(usize, usize)>) {
        let label = ServiceLabel { namespace: namespace.to_owned(), service: service.to_owned() };
        if let Some((waiting, at_work)) = counts {
            for (gauge, count) in [(&self.calls_waiting, waiting), (&self.calls_at_work, at_work)] {
                gauge.get_or_create(&label).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        } else {
            self.calls_waiting.remove(&label);
            self.calls_at_work.remove(&label);
        }
    }

    /// How surprising the last window of measurements was, and whether they are unusual; `None` when there are none any more.
    pub fn tell_surprise(&self, namespace: &str, service: &str, source: &'static str, told: Option<(f64, bool)>) {
        let label = MeasuredLabel { namespace: namespace.to_owned(), service: service.to_owned(), source };
        if let Some((surprise, anomalous)) = told {
            self.surprise.get_or_create(&label).set(surprise);
            self.anomalous.get_or_create(&label).set(anomalous.into());
        } else {
            self.surprise.remove(&label);
            self.anomalous.remove(&label);
        }
    }

    /// Forgets all services: who does not lead knows none.
    pub fn forget(&self) {
        self.surprise.clear();
        self.anomalous.clear();
        self.calls_waiting.clear();
        self.calls_at_work.clear();
        self.certificate_expires.clear();
    }
}
