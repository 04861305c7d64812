//! Series of the signals that queries prefer by, shown by the leader alone.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Label: a signal, as the operator is told of it.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct SignalLabel {
    /// Its name.
    pub signal: String,
}

/// Labels: what became of something of a signal.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct SignalOutcome {
    /// Its name.
    pub signal: String,
    /// Of a reading: `read`, or why nothing was. Of a sample: `counted`, or why it was not.
    pub outcome: &'static str,
}

/// What is known of signals.
#[derive(Clone, Debug, Default)]
pub struct OfSignals {
    /// Readings that have ended.
    pub readings: Family<SignalOutcome, Counter<u64, AtomicU64>>,
    /// Samples of the last reading.
    pub samples: Family<SignalOutcome, Gauge<i64, AtomicI64>>,
    /// 1 while a signal counts, 0 while its last reading is too old.
    pub up: Family<SignalLabel, Gauge<i64, AtomicI64>>,
}

impl OfSignals {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        registry.register(
            "signal_readings",
            "Readings of a signal from Prometheus, by what came of them",
            this.readings.clone(),
        );
        registry.register(
            "signal_samples",
            "Samples of the last reading of a signal, by what came of them",
            this.samples.clone(),
        );
        registry.register(
            "signal_up",
            "1 while a signal counts, 0 while Prometheus has told nothing of it for three intervals",
            this.up.clone(),
        );
        this
    }

    /// A reading has ended.
    pub fn tell_reading(&self, signal: &str, outcome: &'static str) {
        self.readings.get_or_create(&SignalOutcome { signal: signal.to_owned(), outcome }).inc();
    }

    /// What became of the samples of a reading: how many of each.
    pub fn tell_samples(&self, signal: &str, tally: impl IntoIterator<Item = (&'static str, usize)>) {
        for (outcome, count) in tally {
            let label = SignalOutcome { signal: signal.to_owned(), outcome };
            self.samples.get_or_create(&label).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Whether a signal counts now.
    pub fn tell_state(&self, signal: &str, up: bool) {
        self.up.get_or_create(&SignalLabel { signal: signal.to_owned() }).set(up.into());
    }

    /// Forgets what holds now: who does not lead reads nothing.
    pub fn forget(&self) {
        self.samples.clear();
        self.up.clear();
    }
}
