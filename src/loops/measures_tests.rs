use std::collections::BTreeMap;

use tokio::time::advance;

use super::*;
use crate::api::{MedicalServiceSpec, MedicalServiceStatus};

const ANSWER: Option<Duration> = Some(Duration::from_millis(20));

fn service(uid: &str, selects: bool) -> MedicalService {
    let interfaces = serde_json::json!([{"name": "dicom", "port": 104, "protocol": "DICOM"}]);
    let spec = if selects {
        serde_json::json!({"select": {"matchLabels": {"app": "pacs"}}, "interfaces": interfaces})
    } else {
        serde_json::json!({"external": {"endpoints": [{"host": "192.0.2.1"}]}, "interfaces": interfaces})
    };
    let mut service = MedicalService::new("pacs", serde_json::from_value::<MedicalServiceSpec>(spec).unwrap());
    service.metadata.uid = Some(uid.to_owned());
    service
}

fn key(i: usize) -> Key {
    Key::new("radiology", format!("pacs-{i}"))
}

struct Bench {
    measures: Arc<Measures>,
    reports: Arc<Mutex<Vec<(Key, u64)>>>,
    metrics: Metrics,
}

impl Bench {
    fn new() -> Self {
        let (metrics, reports) = (Metrics::default(), Arc::<Mutex<Vec<(Key, u64)>>>::default());
        let clock = Clock::simulated(Timestamp::UNIX_EPOCH);
        let (seen, begin) = (Arc::clone(&reports), tokio::time::Instant::now());
        let report: Report =
            Box::new(move |key| seen.lock().unwrap().push((key.clone(), begin.elapsed().as_secs() / 60)));
        Self { measures: Measures::new(clock, metrics.clone(), report), reports, metrics }
    }

    /// Ten seconds in which each service is probed once, and written where it is told of.
    async fn round(&self, services: usize, answer: Option<Duration>) {
        advance(Duration::from_secs(10)).await;
        for i in 0..services {
            let told = self.reports.lock().unwrap().len();
            self.measures.take(&key(i), Source::Probes, answer);
            if self.reports.lock().unwrap().len() > told {
                self.measures.written(&key(i));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn services_are_written_seldom_and_not_all_at_once() {
    const SERVICES: usize = 100;
    let bench = Bench::new();
    (0..SERVICES).for_each(|i| bench.measures.follow(&key(i), &service("u", false)));
    bench.measures.follow(&Key::new("radiology", "idle"), &service("u", false));
    for _ in 0..24 * 360 {
        bench.round(SERVICES, ANSWER).await;
    }
    let reports = bench.reports.lock().unwrap();
    assert!(reports.iter().all(|(key, _)| key.name != "idle"), "what is not measured is not written");
    let mut minutes: BTreeMap<u64, usize> = BTreeMap::new();
    reports.iter().for_each(|(_, minute)| *minutes.entry(*minute).or_default() += 1);
    assert!(minutes.keys().next().is_some_and(|first| *first >= 60), "{minutes:?}");
    assert!(minutes.values().all(|n| *n <= SERVICES / 5), "{minutes:?}");
    // an hour or two, then twice that, four and eight times
    assert!((3 * SERVICES..=4 * SERVICES).contains(&reports.len()), "{}", reports.len());
}

#[tokio::test(start_paused = true)]
async fn an_anomaly_is_told_at_once_and_shown() {
    let bench = Bench::new();
    bench.measures.follow(&key(0), &service("u", false));
    // beyond the first time that it is written
    for _ in 0..800 {
        bench.round(1, ANSWER).await;
    }
    bench.reports.lock().unwrap().clear();
    let series = |metrics: &Metrics| -> Vec<String> {
        let text = metrics.render();
        let of_it = text.lines().filter(|l| l.starts_with("medley_service_anomalous{"));
        of_it.map(|l| l.rsplit_once(' ').unwrap().1.to_owned()).collect()
    };
    assert_eq!(series(&bench.metrics), ["0"]);
    for _ in 0..80 {
        bench.round(1, None).await;
    }
    assert_eq!(bench.reports.lock().unwrap().len(), 1, "when it begins, and not again");
    assert_eq!(series(&bench.metrics), ["1"]);
    let known = bench.measures.known(&key(0));
    assert!(!known.due && known.now.as_ref().unwrap().probes.as_ref().unwrap().anomaly.is_some());
    assert!(bench.measures.wake_at(&key(0)).is_some());

    // a new leader goes on from the status
    let next = Bench::new();
    let mut told = service("u", false);
    told.status = Some(MedicalServiceStatus { measurements: known.now.clone(), ..MedicalServiceStatus::default() });
    next.measures.follow(&key(0), &told);
    assert_eq!((next.measures.known(&key(0)).now, series(&next.metrics)), (known.now, vec!["1".to_owned()]));
    advance(LONGEST).await;
    assert!(
        next.measures.known(&key(0)).now.unwrap().probes.unwrap().anomaly.is_none(),
        "of which nothing is measured"
    );
    assert_eq!(next.measures.wake_at(&key(0)), None);

    bench.measures.forget(&key(0));
    assert_eq!(series(&bench.metrics), [""; 0], "they go with the service");
}

#[tokio::test(start_paused = true)]
async fn another_service_of_the_same_name_and_one_that_is_probed_no_more_begin_anew() {
    let bench = Bench::new();
    bench.measures.take(&key(0), Source::Probes, ANSWER);
    assert_eq!(bench.measures.known(&key(0)), Known::default(), "nobody follows it");
    bench.measures.follow(&key(0), &service("u1", false));
    for _ in 0..60 {
        bench.round(1, ANSWER).await;
        bench.measures.take(&key(0), Source::Calls, ANSWER);
    }
    let now = |bench: &Bench| bench.measures.known(&key(0)).now.unwrap();
    assert!(now(&bench).probes.is_some() && now(&bench).calls.is_some());
    bench.measures.follow(&key(0), &service("u1", true));
    assert!(now(&bench).probes.is_none() && now(&bench).calls.is_some(), "its pods are not probed from here");
    bench.measures.follow(&key(0), &service("u2", true));
    assert_eq!(now(&bench), Measurements::default());
}

/// The series of objectives, without their common beginning and labels: name and value.
fn objectives(metrics: &Metrics) -> Vec<String> {
    let text = metrics.render();
    let of_them = text.lines().filter_map(|line| line.strip_prefix("medley_service_objective_"));
    of_them.map(|line| line.replace(r#"{namespace="radiology",service="pacs-0"}"#, "")).collect()
}

#[tokio::test(start_paused = true)]
async fn objectives_are_shown_while_they_are_declared_and_calls_are_judged_by_them() {
    let bench = Bench::new();
    let declared = |objectives: serde_json::Value| {
        let mut service = service("u", false);
        service.spec.objectives = Some(serde_json::from_value(objectives).unwrap());
        service
    };
    let both = serde_json::json!({"availability": 99.9, "latency": {"percentile": 99, "within": "20ms"}});
    let measure = |ms| bench.measures.take(&key(0), Source::Calls, Some(Duration::from_millis(ms)));
    bench.measures.follow(&key(1), &service("u", false));
    bench.measures.take(&key(1), Source::Calls, ANSWER);
    assert_eq!(objectives(&bench.metrics), [""; 0], "nothing is declared");

    bench.measures.follow(&key(0), &declared(both.clone()));
    let counted = |met, measured, bound| {
        vec![
            "availability_ratio 0.999".to_owned(),
            "latency_ratio 0.99".to_owned(),
            format!("latency_seconds {bound}"),
            format!("latency_met_total {met}"),
            format!("latency_measured_total {measured}"),
        ]
    };
    assert_eq!(objectives(&bench.metrics), counted(0, 0, "0.02"), "they are there before the first call");
    bench.measures.take(&key(0), Source::Probes, None);
    [20, 21, 1].into_iter().for_each(measure);
    bench.measures.take(&key(0), Source::Calls, None);
    assert_eq!(objectives(&bench.metrics), counted(2, 4, "0.02"));

    // a new bound is for what comes
    let wider = serde_json::json!({"availability": 99.9, "latency": {"percentile": 99, "within": "1m"}});
    bench.measures.follow(&key(0), &declared(wider));
    measure(21);
    assert_eq!(objectives(&bench.metrics), counted(3, 5, "60.0"));

    bench.measures.follow(&key(0), &declared(serde_json::json!({"availability": 99.9})));
    measure(1);
    assert_eq!(objectives(&bench.metrics), ["availability_ratio 0.999"], "what is declared no more goes");
    bench.measures.follow(&key(0), &declared(both.clone()));
    measure(1);
    assert_eq!(objectives(&bench.metrics), counted(1, 1, "0.02"));

    let mut another = declared(both.clone());
    another.metadata.uid = Some("v".to_owned());
    bench.measures.follow(&key(0), &another);
    assert_eq!(objectives(&bench.metrics), counted(0, 0, "0.02"), "another of the same name");
    bench.measures.forget(&key(0));
    measure(1);
    assert_eq!(
        objectives(&bench.metrics),
        [""; 0],
        "they go with the service, and a late call does not bring them back"
    );

    bench.measures.follow(&key(0), &another);
    bench.metrics.forget_services();
    measure(1);
    assert_eq!(objectives(&bench.metrics), [""; 0], "they go with the term, and a late call does not bring them back");
}
