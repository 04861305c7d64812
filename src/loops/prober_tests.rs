//! The prober under paused time, with scripted outcomes.

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;

use super::*;
use crate::{
    api::medical_service::EndpointReason,
    core::{discovery::target::ProbeKind, monitoring::health::Thresholds},
};

const REFUSED: ProbeOutcome = ProbeOutcome::Failed(EndpointReason::TcpRefused);

/// Answers by address; an address that has no answer hangs until the timeout.
#[derive(Default)]
struct Script {
    answers: Mutex<HashMap<u8, ProbeOutcome>>,
    /// When each probe started, by the address's last byte, in milliseconds since the start.
    started: Mutex<Vec<(u8, u128)>>,
    under_way: AtomicUsize,
    most: AtomicUsize,
    origin: Mutex<Option<Instant>>,
}

impl Script {
    fn answer(&self, address: u8, outcome: ProbeOutcome) {
        self.answers.lock().unwrap().insert(address, outcome);
    }

    fn starts(&self, address: u8) -> Vec<u128> {
        self.started.lock().unwrap().iter().filter(|(a, _)| *a == address).map(|(_, at)| *at).collect()
    }
}

impl ProbeIo for Arc<Script> {
    async fn probe(&self, target: &ProbeTarget) -> Probed {
        struct Under<'a>(&'a AtomicUsize);
        impl Drop for Under<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let address = last(&target.endpoint);
        let origin = *self.origin.lock().unwrap().get_or_insert_with(Instant::now);
        self.started.lock().unwrap().push((address, origin.elapsed().as_millis()));
        self.most.fetch_max(self.under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let _under = Under(&self.under_way);
        let answer = self.answers.lock().unwrap().get(&address).copied();
        match answer {
            Some(outcome) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                outcome.into()
            }
            None => {
                tokio::time::sleep(target.timeout).await;
                ProbeOutcome::Failed(EndpointReason::TcpTimeout).into()
            }
        }
    }
}

fn last(endpoint: &Endpoint) -> u8 {
    match endpoint.address {
        std::net::IpAddr::V4(address) => address.octets()[3],
        std::net::IpAddr::V6(_) => unreachable!("the tests use IPv4"),
    }
}

fn probing(address: u8) -> Probing {
    let endpoint =
        Endpoint { address: [192, 0, 2, address].into(), port: 104, interface: "dicom".to_owned(), pod: None };
    Probing {
        target: ProbeTarget {
            endpoint,
            kind: ProbeKind::Tcp,
            tls: None,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(3),
            thresholds: Thresholds { failures: 3, successes: 1 },
        },
        seed: Health::unknown(Timestamp::UNIX_EPOCH),
    }
}

struct Bench {
    script: Arc<Script>,
    prober: Arc<Prober<Arc<Script>>>,
    metrics: Metrics,
    reports: Arc<Mutex<Vec<(Key, u128)>>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let (script, metrics) = (Arc::new(Script::default()), Metrics::default());
        let reports: Arc<Mutex<Vec<(Key, u128)>>> = Arc::default();
        let begin = Instant::now();
        let seen = Arc::clone(&reports);
        let report: Report = Box::new(move |key| seen.lock().unwrap().push((key.clone(), begin.elapsed().as_millis())));
        let clock = Clock::simulated(Timestamp::UNIX_EPOCH);
        let measures = Measures::new(clock, metrics.clone(), Box::new(|_| {}));
        let prober = Prober::new(Arc::clone(&script), limits, measures, clock, metrics.clone(), report);
        let stop = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&prober).run(stop.clone()));
        Self { script, prober, metrics, reports, stop, task }
    }

    fn ready(&self, key: &Key) -> Vec<u8> {
        self.prober.health(key).iter().filter(|(_, h)| h.ready()).map(|(e, _)| last(e)).collect()
    }
}

fn pacs() -> Key {
    Key::new("radiology", "pacs")
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_probe_comes_at_once_and_then_one_an_interval() {
    let bench = Bench::new(Limits::default());
    bench.script.answer(1, ProbeOutcome::Answered);
    bench.prober.set_targets(&pacs(), vec![probing(1)]);
    pass(1).await;
    assert_eq!(bench.ready(&pacs()), [1]);
    pass(60).await;
    let starts = bench.script.starts(1);
    assert_eq!(starts[0], 0);
    assert!((5_000..=15_000).contains(&starts[1]), "its own moment of the interval: {starts:?}");
    assert!(starts.windows(2).skip(1).all(|w| w[1] - w[0] == 10_000), "{starts:?}");
    assert_eq!(bench.reports.lock().unwrap().len(), 1, "a quiet endpoint is reported once");
}

#[tokio::test(start_paused = true)]
async fn a_report_comes_with_the_failure_that_crosses_the_threshold() {
    let bench = Bench::new(Limits::default());
    bench.script.answer(1, ProbeOutcome::Answered);
    bench.prober.set_targets(&pacs(), vec![probing(1)]);
    pass(25).await;
    let before = bench.script.starts(1).len();
    bench.script.answer(1, REFUSED);
    bench.reports.lock().unwrap().clear();
    pass(30).await;
    let third = bench.script.starts(1)[before + 2];
    assert_eq!(bench.reports.lock().unwrap().as_slice(), [(pacs(), third + 1)]);
    assert!(bench.ready(&pacs()).is_empty());
    bench.script.answer(1, ProbeOutcome::Answered);
    pass(10).await;
    assert_eq!(bench.ready(&pacs()), [1]);
}

#[tokio::test(start_paused = true)]
async fn setting_the_same_targets_again_changes_nothing() {
    let bench = Bench::new(Limits::default());
    bench.script.answer(1, ProbeOutcome::Answered);
    bench.prober.set_targets(&pacs(), vec![probing(1)]);
    pass(1).await;
    for _ in 0..20 {
        bench.prober.set_targets(&pacs(), vec![probing(1)]);
        pass(1).await;
    }
    assert_eq!(bench.script.starts(1), [0, 5_285, 15_285], "its moment is 285 ms after each half interval");
}

#[tokio::test(start_paused = true)]
async fn another_way_to_probe_keeps_what_is_known_and_another_port_does_not() {
    let bench = Bench::new(Limits::default());
    bench.script.answer(1, ProbeOutcome::Answered);
    bench.prober.set_targets(&pacs(), vec![probing(1)]);
    pass(1).await;
    bench.script.answer(1, REFUSED);
    let mut slower = probing(1);
    slower.target.interval = Duration::from_secs(20);
    bench.prober.set_targets(&pacs(), vec![slower]);
    pass(1).await;
    assert_eq!(bench.script.starts(1).len(), 2, "it is probed in the new way at once");
    assert_eq!(bench.ready(&pacs()), [1], "one failure is below the threshold");
    let mut moved = probing(1);
    moved.target.endpoint.port = 11112;
    bench.prober.set_targets(&pacs(), vec![moved]);
    assert!(bench.ready(&pacs()).is_empty());
    assert_eq!(bench.prober.targets(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_was_in_use_stays_until_it_failed_often_enough() {
    let bench = Bench::new(Limits::default());
    bench.script.answer(1, REFUSED);
    let seed = Health::trusted(Timestamp::UNIX_EPOCH);
    bench.prober.set_targets(&pacs(), vec![Probing { seed, ..probing(1) }]);
    pass(15).await;
    assert_eq!((bench.script.starts(1).len(), bench.ready(&pacs())), (2, vec![1]));
    pass(1).await;
    assert!(bench.ready(&pacs()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_hang_delay_nobody_else() {
    let limits = Limits { total: 8, per_service: 4 };
    let bench = Bench::new(limits);
    let dead = Key::new("radiology", "dead");
    bench.prober.set_targets(&dead, (100..150).map(probing).collect());
    pass(1).await;
    bench.script.answer(1, ProbeOutcome::Answered);
    bench.prober.set_targets(&pacs(), vec![probing(1), probing(2)]);
    pass(100).await;
    let starts = bench.script.starts(1);
    assert_eq!(starts.len(), 11, "{starts:?}");
    assert!(starts.windows(2).all(|w| w[1] - w[0] <= 10_001), "{starts:?}");
    assert!(bench.script.most.load(Ordering::SeqCst) <= 6, "four of the dead service and two of the other");
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_is_bounded_over_all_services() {
    let bench = Bench::new(Limits { total: 5, per_service: 4 });
    for n in 0..4 {
        let key = Key::new("radiology", format!("dead-{n}"));
        bench.prober.set_targets(&key, (0..10).map(probing).collect());
    }
    pass(60).await;
    assert_eq!(bench.script.most.load(Ordering::SeqCst), 5);
}

#[tokio::test(start_paused = true)]
async fn targets_set_before_the_run_are_probed_and_stopping_ends_every_probe() {
    let script = Arc::new(Script::default());
    let clock = Clock::simulated(Timestamp::UNIX_EPOCH);
    let measures = Measures::new(clock, Metrics::default(), Box::new(|_| {}));
    let (io, limits) = (Arc::clone(&script), Limits::default());
    let prober = Prober::new(io, limits, measures, clock, Metrics::default(), Box::new(|_| {}));
    prober.set_targets(&pacs(), (1..=20).map(probing).collect());
    pass(5).await;
    assert_eq!(script.started.lock().unwrap().len(), 0, "nothing is probed by a replica that does not lead");
    let stop = CancellationToken::new();
    let task = tokio::spawn(Arc::clone(&prober).run(stop.clone()));
    pass(1).await;
    assert_eq!(script.under_way.load(Ordering::SeqCst), 20);
    stop.cancel();
    task.await.unwrap();
    assert_eq!((script.under_way.load(Ordering::SeqCst), prober.targets()), (0, 0));
    let probes = script.started.lock().unwrap().len();
    pass(60).await;
    assert_eq!(script.started.lock().unwrap().len(), probes);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_forgotten_is_not_probed_and_not_reported() {
    let bench = Bench::new(Limits::default());
    bench.prober.set_targets(&pacs(), vec![probing(1)]);
    pass(1).await;
    bench.prober.forget(&pacs());
    pass(60).await;
    assert_eq!(bench.script.starts(1).len(), 1);
    assert_eq!(bench.script.under_way.load(Ordering::SeqCst), 0);
    assert!(bench.reports.lock().unwrap().is_empty());
    assert!(bench.prober.health(&pacs()).is_empty());
    bench.stop.cancel();
    bench.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn targets_that_are_set_together_do_not_stay_together() {
    let bench = Bench::new(Limits::default());
    for n in 1..=200 {
        bench.script.answer(n, ProbeOutcome::Answered);
        bench.prober.set_targets(&Key::new("radiology", format!("pacs-{n}")), vec![probing(n)]);
    }
    pass(40).await;
    let starts: Vec<u128> = bench.script.started.lock().unwrap().iter().map(|(_, at)| *at).collect();
    assert_eq!(starts.iter().filter(|at| **at == 0).count(), 200, "nothing is known of them: all begin at once");
    // 20 a second on the average, once each has come to its own moment of the interval
    for second in 5..40 {
        let begun = starts.iter().filter(|at| **at / 1000 == second).count();
        assert!((8..=36).contains(&begun), "{begun} begin in second {second}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_begins_late_is_told_of_and_the_next_one_comes_at_its_moment() {
    let bench = Bench::new(Limits { total: 1, per_service: 1 });
    bench.script.answer(1, ProbeOutcome::Answered);
    bench.prober.set_targets(&pacs(), vec![probing(1)]);
    pass(15).await;
    let dead = Key::new("radiology", "dead");
    bench.prober.set_targets(&dead, vec![probing(9)]);
    pass(1).await;
    bench.prober.forget(&dead);
    pass(20).await;
    assert_eq!(
        bench.script.starts(1),
        [0, 5_285, 16_000, 25_285, 35_285],
        "the hanging one held the place from 15 s to 16 s"
    );
    let text = bench.metrics.render();
    // five probes have ended, and one of them began 715 ms late
    assert!(text.contains("medley_probe_delay_seconds_bucket{le=\"0.5\"} 4\n"), "{text}");
    assert!(text.contains("medley_probe_delay_seconds_bucket{le=\"1.0\"} 5\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_takes_longer_than_its_interval_is_probed_after_a_pause() {
    let bench = Bench::new(Limits::default());
    let mut hurried = probing(1);
    hurried.target.interval = Duration::from_secs(1);
    bench.prober.set_targets(&pacs(), vec![hurried]);
    pass(10).await;
    assert_eq!(bench.script.starts(1), [0, 3100, 6200, 9300]);
}

#[test]
fn a_target_that_waits_takes_less_than_two_kilobytes() {
    let io = Network { guard: Arc::default(), trust: Arc::default() };
    let clock = Clock::simulated(Timestamp::UNIX_EPOCH);
    let measures = Measures::new(clock, Metrics::default(), Box::new(|_| {}));
    let prober = Prober::new(io, Limits::default(), measures, clock, Metrics::default(), Box::new(|_| {}));
    let task = prober.watch(pacs(), probing(1).target.endpoint, 1);
    assert!(size_of_val(&task) < 2048, "{} bytes, of ten thousand targets at once", size_of_val(&task));
}

#[tokio::test(start_paused = true)]
async fn probes_are_counted_by_protocol_and_reason() {
    let bench = Bench::new(Limits::default());
    bench.script.answer(1, ProbeOutcome::Answered);
    bench.script.answer(2, REFUSED);
    bench.prober.set_targets(&pacs(), (1..=3).map(probing).collect());
    pass(5).await;
    let count = |reason: &str| {
        let label = crate::telemetry::Probe { protocol: "tcp", reason: reason.to_owned() };
        bench.metrics.probes.get_or_create(&label).get()
    };
    assert_eq!([count("Healthy"), count("TcpRefused"), count("TcpTimeout")], [1, 1, 1]);
    let text = bench.metrics.render();
    assert!(text.contains("medley_probe_seconds_count{protocol=\"tcp\"} 3\n"), "{text}");
    // the two that answered took a millisecond, the third its timeout of 3 s
    assert!(text.contains("medley_probe_seconds_sum{protocol=\"tcp\"} 3.002\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_dead_for_long_costs_little_and_is_asked_as_before_once_it_answers() {
    let bench = Bench::new(Limits::default());
    bench.script.answer(1, REFUSED);
    bench.prober.set_targets(&pacs(), vec![probing(1)]);
    pass(3600).await;
    let dead = bench.script.starts(1);
    assert!(
        dead[..13].windows(2).all(|w| w[1] - w[0] <= 10_000),
        "ten more than the threshold at the interval: {dead:?}"
    );
    assert!((70..=85).contains(&dead.len()), "{} probes in an hour, instead of 360", dead.len());
    assert!(dead.windows(2).all(|w| w[1] - w[0] <= 60_000));
    bench.script.answer(1, ProbeOutcome::Answered);
    pass(60).await;
    assert_eq!(bench.ready(&pacs()), [1], "it is back within a minute");
    let asked = bench.script.starts(1).len();
    pass(60).await;
    assert_eq!(bench.script.starts(1).len(), asked + 6, "at its interval");
}
