//! Which series the operator shows, with which labels: read from what it serves.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use medley::{
    core::monitoring::signal::Tally,
    telemetry::{ApiCall, Dropped, Kind, Metrics, Reconcile, ServiceCall, UrgencyLabel},
};

/// All metrics, each with one series at least: a family without series is not shown.
pub(crate) fn touched() -> Metrics {
    let metrics = Metrics::default();
    let kind = Kind { kind: "WorkflowRun".to_owned() };
    let urgency = UrgencyLabel { urgency: "stat" };
    metrics.api_calls.get_or_create(&ApiCall { verb: "get", kind: kind.kind.clone(), outcome: "ok" }).inc();
    metrics.api_seconds.get_or_create(&kind).observe(0.1);
    metrics.reconciles.get_or_create(&Reconcile { kind: "WorkflowRun", outcome: "ok" }).inc();
    for counter in [&metrics.panics, &metrics.watch_failures] {
        counter.get_or_create(&kind).inc();
    }
    for gauge in [&metrics.malformed, &metrics.cached] {
        gauge.get_or_create(&kind).set(1);
    }
    metrics.calls.get_or_create(&ServiceCall { outcome: "answered" }).inc();
    metrics.influxdb_dropped.get_or_create(&Dropped { reason: "refused" }).inc();
    metrics.admission_wait.get_or_create(&urgency).observe(1.0);
    metrics.call_wait.get_or_create(&urgency).observe(1.0);
    metrics.tell_endpoints("radiology", "archive", Some((1, 2)));
    metrics.of_services.tell_surprise("radiology", "archive", "probes", Some((0.5, false)));
    metrics.of_services.tell_calls("radiology", "archive", Some((2, 1)));
    metrics.of_services.tell_certificate("radiology", "archive", Some(1.8e9));
    metrics.of_objectives.tell_availability("radiology", "archive", Some(0.999));
    metrics.of_objectives.tell_latency("radiology", "archive", Some((0.99, 0.5)));
    metrics.signals.tell_reading("free", "read");
    metrics.signals.tell_samples("free", Tally::default().each());
    metrics.signals.tell_state("free", true);
    metrics.tell_probe("dicom", "Healthy".to_owned(), Duration::ZERO, Duration::from_millis(5));
    metrics
}

/// The names of series as a query finds them, each with its labels.
pub(crate) fn series(metrics: &Metrics) -> BTreeMap<String, BTreeSet<String>> {
    let text = metrics.render();
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').expect("a line is a series and a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.split(',').filter_map(|l| l.split_once('=')).map(|(l, _)| l.to_owned());
        known.entry(name.to_owned()).or_default().extend(labels);
    }
    known
}
