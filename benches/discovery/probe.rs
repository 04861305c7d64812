//! What it costs to probe 10,000 endpoints every 10 s.

use std::time::{Duration, Instant};

use super::{
    common::{figures::Figures, processor},
    field::{ENDPOINTS, Field, SERVICES},
    peers::INTERVAL,
    protocols::Answers,
};

/// How long is measured, in minutes.
const MINUTES: &str = "MEDLEY_PROBE_MINUTES";
const BY_ITSELF: f64 = 2.0;
/// Between two looks at the sockets.
const LOOK: Duration = Duration::from_secs(2);

/// What the operator tells of its probes.
#[derive(Default)]
struct Told {
    leads: bool,
    /// Looks at objects. A quiet service is not looked at, and one that begins a term looks at all.
    looks: f64,
    answered: f64,
    failed: f64,
    /// Upper ends of the delay's buckets, in seconds, and how many probes each holds with those below it.
    delays: Vec<(f64, f64)>,
}

impl Told {
    async fn by(field: &Field<'_>) -> Self {
        let metrics = field.operator.metrics().await;
        let (mut told, delay) = (Self::default(), "medley_probe_delay_seconds_bucket{le=\"");
        for (name, value) in metrics {
            if name.starts_with("medley_probes_total{") {
                let count = if name.contains("reason=\"Healthy\"") { &mut told.answered } else { &mut told.failed };
                *count += value;
            } else if let Some(end) = name.strip_prefix(delay) {
                let end = end.trim_end_matches("\"}");
                told.delays.push((if end == "+Inf" { f64::INFINITY } else { end.parse().unwrap() }, value));
            } else if name == "medley_leader" {
                told.leads = value == 1.0;
            } else if name.starts_with("medley_reconciles_total{kind=\"MedicalService\"") {
                told.looks += value;
            }
        }
        told
    }

    /// The upper end of the bucket that this part of the probes since `before` lies in or below, in milliseconds.
    fn delay(&self, before: &Self, part: f64) -> f64 {
        let since = self.delays.iter().zip(&before.delays).map(|(now, then)| (now.0, now.1 - then.1));
        let all = since.clone().next_back().unwrap().1;
        since.into_iter().find(|(_, count)| *count >= part * all).unwrap().0 * 1e3
    }
}

pub(crate) async fn of_ten_thousand_endpoints(field: &mut Field<'_>, figures: &mut Figures) {
    let minutes = std::env::var(MINUTES).map_or(BY_ITSELF, |m| {
        m.parse().ok().filter(|m| *m >= 1.0).unwrap_or_else(|| panic!("{MINUTES}={m}: write minutes, 1 or more"))
    });
    println!(
        "  {ENDPOINTS} endpoints of {SERVICES} services, every {} s: of ten services four TCP, three HTTP, one FHIR (a statement of {} bytes), one HL7v2, one DICOM; for {minutes} minutes",
        INTERVAL.as_secs(),
        Answers::statement_length()
    );
    // what begins together has spread, and statuses are written
    tokio::time::sleep(INTERVAL * 3).await;
    let pids = [field.operator.pid(), field.peers.pid()];
    field.peers.clear();
    let (before, begun, used) = (Told::by(field).await, Instant::now(), pids.map(processor::seconds));
    let mut sockets = Vec::new();
    while begun.elapsed().as_secs_f64() < minutes * 60.0 {
        tokio::time::sleep(LOOK).await;
        sockets.push(processor::sockets(pids[0]) as f64);
    }
    let (seconds, now) = (begun.elapsed().as_secs_f64(), pids.map(processor::seconds));
    let after = Told::by(field).await;
    let [median, p99, most, gaps] = field.peers.deviations();
    if !(before.leads && after.leads && after.looks - before.looks < SERVICES as f64) {
        let reason = "the operator did not lead throughout: the control plane had too little processor";
        return figures.skipped(&format!("{ENDPOINTS} endpoints"), reason);
    }
    let probes = after.answered + after.failed - before.answered - before.failed;
    let name = format!("{ENDPOINTS} endpoints, probed every {} s", INTERVAL.as_secs());
    figures.at_most(&format!("{name}: processor of the operator"), (now[0] - used[0]) / seconds, "cores", 0.5);
    figures.add("  processor of the endpoints themselves", (now[1] - used[1]) / seconds, "cores");
    figures.at_most("  resident memory of the operator", processor::resident_mib(pids[0]), "MiB", 250.0);
    figures.at_most("  its most, all endpoints becoming ready included", processor::peak_mib(pids[0]), "MiB", 250.0);
    let expected = ENDPOINTS as f64 / INTERVAL.as_secs_f64();
    figures.at_least("  probes", probes / seconds, "a second", expected * 0.99);
    figures.at_most("  probes that failed", after.failed - before.failed, "", 0.0);
    figures.at_most("  start after its moment, p99 at most", after.delay(&before, 0.99), "ms", 200.0);
    figures.add("  the same, p50 at most", after.delay(&before, 0.5), "ms");
    figures.at_most("  gap of two connections beside the interval, p99", p99, "ms", 200.0);
    figures.add("  the same, p50", median, "ms");
    figures.add("  the same, most", most, "ms");
    figures.add("  gaps", gaps, "");
    let fewest = |sockets: &[f64]| sockets.iter().copied().fold(f64::INFINITY, f64::min);
    let quarter = sockets.len() / 4;
    let (early, late) = (fewest(&sockets[..quarter]), fewest(&sockets[sockets.len() - quarter..]));
    figures.add("  open sockets, most", sockets.iter().copied().fold(0.0, f64::max), "");
    figures.add(&format!("  open sockets, fewest in the first of four parts of {minutes} min"), early, "");
    figures.at_most("  open sockets, fewest in the last of them", late, "", early);
}
