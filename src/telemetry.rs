//! Logs and metrics. Labels come from closed sets: never a run's name, never anything about a patient.

mod objectives;
mod services;
mod signals;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Duration,
};

pub use objectives::{LatencyCount, OfObjectives};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
pub use services::{MeasuredLabel, OfServices};
pub use signals::{OfSignals, SignalLabel, SignalOutcome};
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// Labels of an API call.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ApiCall {
    /// The verb.
    pub verb: &'static str,
    /// The kind of object.
    pub kind: String,
    /// `ok`, or why it failed.
    pub outcome: &'static str,
}

/// Label: one of medley's kinds, or one that it watches.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Kind {
    /// Its name.
    pub kind: String,
}

/// Labels of a reconcile.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Reconcile {
    /// The kind of object.
    pub kind: &'static str,
    /// `ok`, or why it failed.
    pub outcome: &'static str,
}

/// Labels of a call to a service.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ServiceCall {
    /// `answered`, or the kind of failure.
    pub outcome: &'static str,
}

/// Label: how soon a result is needed.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct UrgencyLabel {
    /// The word of the spec.
    pub urgency: &'static str,
}

/// Label: a mirror of the registry.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct MirrorLabel {
    /// `redis` or `memcached`.
    pub mirror: &'static str,
}

/// Labels: a `MedicalService`. There are as many as there are objects, and they go with them.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ServiceLabel {
    /// Namespace of the object.
    pub namespace: String,
    /// Its name.
    pub service: String,
}

/// Labels of a probe.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Probe {
    /// How was asked: `tcp`, `http`, `fhir`, `hl7v2`, `dicom`, `dicomweb`.
    pub protocol: &'static str,
    /// `Healthy`, or the reason of an endpoint's status that names the layer that failed.
    pub reason: String,
}

/// Label: how a probe asks.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ProtocolLabel {
    /// As in [`Probe`].
    pub protocol: &'static str,
}

/// Label: why a point was not written.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Dropped {
    /// `queue_full`: too many waited; `refused`: the server takes it at no time.
    pub reason: &'static str,
}

/// All metrics of the operator.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// 1 while this process leads.
    pub leader: Gauge<i64, AtomicI64>,
    /// API calls.
    pub api_calls: Family<ApiCall, Counter<u64, AtomicU64>>,
    /// How long API calls took, in seconds.
    pub api_seconds: Family<Kind, Histogram>,
    /// Reconciles.
    pub reconciles: Family<Reconcile, Counter<u64, AtomicU64>>,
    /// Reconciles that panicked.
    pub panics: Family<Kind, Counter<u64, AtomicU64>>,
    /// Objects that cannot be read, now.
    pub malformed: Family<Kind, Gauge<i64, AtomicI64>>,
    /// Watches that failed and were started again.
    pub watch_failures: Family<Kind, Counter<u64, AtomicU64>>,
    /// Objects in the caches.
    pub cached: Family<Kind, Gauge<i64, AtomicI64>>,
    /// Calls to services.
    pub calls: Family<ServiceCall, Counter<u64, AtomicU64>>,
    /// Events that were dropped because too many waited.
    pub notes_dropped: Counter<u64, AtomicU64>,
    /// Times that a run came to be at risk of missing its deadline.
    pub deadline_risks: Counter<u64, AtomicU64>,
    /// Runs that were stopped at their deadline.
    pub deadline_misses: Counter<u64, AtomicU64>,
    /// How long steps waited for capacity, in seconds, by urgency.
    pub admission_wait: Family<UrgencyLabel, Histogram>,
    /// How long steps waited for their turn to call a service, in seconds, by urgency.
    pub call_wait: Family<UrgencyLabel, Histogram>,
    /// Steps that got no turn to call a service: too many waited, or for too long.
    pub calls_refused: Counter<u64, AtomicU64>,
    /// Times that an endpoint was left alone after failures.
    pub endpoints_paused: Counter<u64, AtomicU64>,
    /// Grants of capacity that no status shows, now.
    pub ledger_drift: Gauge<i64, AtomicI64>,
    /// Steps that were told to give way to more urgent ones.
    pub preemptions: Counter<u64, AtomicU64>,
    /// Finished runs that their workflow did not learn from, because too many waited.
    pub samples_dropped: Counter<u64, AtomicU64>,
    /// 1 while a mirror follows the registry, 0 while it does not; nothing where this process does not lead.
    pub mirror_up: Family<MirrorLabel, Gauge<i64, AtomicI64>>,
    /// Times that a mirror failed.
    pub mirror_failures: Family<MirrorLabel, Counter<u64, AtomicU64>>,
    /// Entries of mirrors that were changed.
    pub mirror_written: Family<MirrorLabel, Counter<u64, AtomicU64>>,
    /// Endpoints of each service that get traffic.
    pub endpoints_ready: Family<ServiceLabel, Gauge<i64, AtomicI64>>,
    /// Endpoints of each service that are known.
    pub endpoints: Family<ServiceLabel, Gauge<i64, AtomicI64>>,
    /// Probes that have ended.
    pub probes: Family<Probe, Counter<u64, AtomicU64>>,
    /// How long probes took, in seconds.
    pub probe_seconds: Family<ProtocolLabel, Histogram>,
    /// How services do.
    pub of_services: OfServices,
    /// What services declare as their objectives, and how they meet them.
    pub of_objectives: OfObjectives,
    /// What is read from Prometheus.
    pub signals: OfSignals,
    /// How much later than planned probes began, in seconds.
    pub probe_delay_seconds: Histogram,
    /// Points that InfluxDB has taken.
    pub influxdb_written: Counter<u64, AtomicU64>,
    /// Points that were not written.
    pub influxdb_dropped: Family<Dropped, Counter<u64, AtomicU64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("medley");
        let leader = Gauge::default();
        let api_calls = Family::default();
        let api_seconds =
            Family::<Kind, Histogram>::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 14)));
        let reconciles = Family::default();
        let panics = Family::default();
        let malformed = Family::default();
        let watch_failures = Family::default();
        let cached = Family::default();
        let calls = Family::default();
        let notes_dropped = Counter::default();
        let deadline_risks = Counter::default();
        let deadline_misses = Counter::default();
        let admission_wait = Family::<UrgencyLabel, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.01, 4.0, 12))
        });
        let call_wait = Family::<UrgencyLabel, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.001, 4.0, 12))
        });
        let (calls_refused, endpoints_paused) = (Counter::default(), Counter::default());
        let (preemptions, ledger_drift) = (Counter::default(), Gauge::default());
        let samples_dropped = Counter::default();
        let (mirror_up, mirror_failures, mirror_written) = (Family::default(), Family::default(), Family::default());
        registry.register("mirror_up", "1 while a mirror follows the registry", mirror_up.clone());
        registry.register("mirror_failures", "Times that a mirror of the registry failed", mirror_failures.clone());
        registry.register("mirror_written", "Entries of a mirror that were changed", mirror_written.clone());
        let (influxdb_written, influxdb_dropped) = (Counter::default(), Family::default());
        let (endpoints_ready, endpoints, probes) = (Family::default(), Family::default(), Family::default());
        // from a millisecond to above the longest timeout of a probe
        let probe_seconds = Family::<ProtocolLabel, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.001, 2.0, 16))
        });
        // timers tell milliseconds; later than the longest interval is late in any case
        let probe_delay_seconds =
            Histogram::new([0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0]);
        registry.register("leader", "1 while this process leads", leader.clone());
        registry.register("api_calls", "Calls to the Kubernetes API server", api_calls.clone());
        registry.register("api_call_seconds", "Duration of calls to the Kubernetes API server", api_seconds.clone());
        registry.register("reconciles", "Looks at objects", reconciles.clone());
        registry.register("reconcile_panics", "Looks at objects that panicked", panics.clone());
        registry.register("malformed_objects", "Objects that cannot be read", malformed.clone());
        registry.register("watch_failures", "Watches that failed and were started again", watch_failures.clone());
        registry.register("cached_objects", "Objects in the caches", cached.clone());
        registry.register("service_calls", "Calls of workflow steps to services", calls.clone());
        registry.register(
            "events_dropped",
            "Kubernetes events that were not told, since there were too many at once",
            notes_dropped.clone(),
        );
        registry.register(
            "deadline_risks",
            "Times that a run came to be at risk of missing its deadline",
            deadline_risks.clone(),
        );
        registry.register("deadline_misses", "Runs that were stopped at their deadline", deadline_misses.clone());
        registry.register(
            "admission_wait_seconds",
            "How long steps waited for capacity until it was granted",
            admission_wait.clone(),
        );
        registry.register(
            "call_wait_seconds",
            "How long steps waited for their turn to call a service",
            call_wait.clone(),
        );
        registry.register(
            "calls_refused",
            "Steps that got no turn to call a service: too many waited, or for too long",
            calls_refused.clone(),
        );
        registry.register(
            "endpoints_paused",
            "Times that an endpoint was left alone after failures",
            endpoints_paused.clone(),
        );
        registry.register(
            "ledger_drift",
            "Grants of capacity that no status shows yet: those of the moment, and of calls that wait for their turn",
            ledger_drift.clone(),
        );
        registry.register("preemptions", "Steps that were told to give way to more urgent ones", preemptions.clone());
        registry.register(
            "flow_samples_dropped",
            "Finished runs that their workflow did not learn from because too many waited",
            samples_dropped.clone(),
        );
        registry.register(
            "service_endpoints_ready",
            "Endpoints of a MedicalService that get traffic",
            endpoints_ready.clone(),
        );
        registry.register("service_endpoints", "Endpoints of a MedicalService that are known", endpoints.clone());
        registry.register("influxdb_points_written", "Points that InfluxDB has taken", influxdb_written.clone());
        registry.register("influxdb_points_dropped", "Points that were not written", influxdb_dropped.clone());
        registry.register("probes", "Probes of endpoints outside the cluster that have ended", probes.clone());
        registry.register(
            "probe_seconds",
            "Duration of probes of endpoints outside the cluster",
            probe_seconds.clone(),
        );
        let of_services = OfServices::register(&mut registry);
        let of_objectives = OfObjectives::register(&mut registry);
        let signals = OfSignals::register(&mut registry);
        registry.register(
            "probe_delay_seconds",
            "How much later than planned probes of endpoints outside the cluster began",
            probe_delay_seconds.clone(),
        );
        Self {
            registry: Arc::new(registry),
            leader,
            api_calls,
            api_seconds,
            reconciles,
            panics,
            malformed,
            watch_failures,
            cached,
            calls,
            notes_dropped,
            deadline_risks,
            deadline_misses,
            admission_wait,
            call_wait,
            calls_refused,
            endpoints_paused,
            ledger_drift,
            preemptions,
            samples_dropped,
            mirror_up,
            mirror_failures,
            mirror_written,
            endpoints_ready,
            endpoints,
            probes,
            probe_seconds,
            of_services,
            of_objectives,
            signals,
            probe_delay_seconds,
            influxdb_written,
            influxdb_dropped,
        }
    }
}

impl Metrics {
    /// How many endpoints a service has, and how many of them get traffic; `None` when it is gone, and its series with it.
    pub fn tell_endpoints(&self, namespace: &str, service: &str, counts: Option<(u32, u32)>) {
        let label = ServiceLabel { namespace: namespace.to_owned(), service: service.to_owned() };
        if let Some((ready, total)) = counts {
            self.endpoints_ready.get_or_create(&label).set(ready.into());
            self.endpoints.get_or_create(&label).set(total.into());
        } else {
            self.endpoints_ready.remove(&label);
            self.endpoints.remove(&label);
        }
    }

    /// Forgets the series of all services: who does not lead does not know them.
    pub fn forget_services(&self) {
        self.endpoints_ready.clear();
        self.endpoints.clear();
        self.of_services.forget();
        self.of_objectives.forget();
    }

    /// A probe has ended: it began this much later than planned, and took so long.
    pub fn tell_probe(&self, protocol: &'static str, reason: String, late: Duration, took: Duration) {
        self.probe_delay_seconds.observe(late.as_secs_f64());
        self.probes.get_or_create(&Probe { protocol, reason }).inc();
        self.probe_seconds.get_or_create(&ProtocolLabel { protocol }).observe(took.as_secs_f64());
    }

    /// The metrics in the OpenMetrics text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // writing into a String cannot fail
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Starts logging to standard error.
///
/// # Errors
/// When the filter cannot be read.
pub fn start_logs(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|e| {
        anyhow::anyhow!("the log filter `{filter}` cannot be read ({e}): write a level such as info, or medley=debug")
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).init(),
        LogFormat::Text => registry.with(fmt::layer().with_writer(std::io::stderr)).init(),
    }
    Ok(())
}
