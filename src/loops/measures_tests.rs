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
