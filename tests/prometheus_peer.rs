//! Are signals read from a real Prometheus (Debian's) as they are from recorded answers, also while it is away?
//!
//! `make test-peers` installs it. It listens on loopback alone, scrapes nobody, and has series of its own from recording rules.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use medley::{
    api::{MedicalService, ServiceQuery},
    cluster::{clock::Clock, observe::Caches},
    core::{
        discovery::query::view::SignalState,
        monitoring::signal::{Problem, Sample, samples},
        name::Key,
    },
    loops::{
        credentials::Credentials,
        prometheus::{Prometheus, Settings},
        signals::{Evaluate, Signal, Signals, Source, Unread},
    },
    telemetry::Metrics,
};
use serde_json::json;
use tokio::{sync::mpsc, time};
use tokio_util::sync::CancellationToken;

/// Longest time that anything takes.
const WITHIN: Duration = Duration::from_secs(30);
/// Series: 0.25 and 0.75 of two services, no number of a third, a service that nobody knows, and one without a namespace.
const RULES: &str = r#"groups:
  - name: site
    interval: 1s
    rules:
      - {record: site_load, expr: vector(0.75), labels: {namespace: radiology, service: north, job: site}}
      - {record: site_load, expr: vector(0.25), labels: {namespace: radiology, service: south, job: site}}
      - {record: site_load, expr: vector(0) / 0, labels: {namespace: radiology, service: east, job: site}}
      - {record: site_load, expr: vector(0.5), labels: {namespace: other, service: north, job: site}}
      - {record: site_load, expr: vector(1), labels: {service: west, job: site}}
"#;

fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// A server, ended with its test.
struct Server {
    child: Child,
    folder: PathBuf,
}

impl Server {
    fn start(http: SocketAddr) -> Self {
        let folder = std::env::temp_dir().join(format!("medley-prometheus-{}-{}", std::process::id(), http.port()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("rules.yaml"), RULES).unwrap();
        fs::write(folder.join("prometheus.yaml"), "rule_files: [rules.yaml]\n").unwrap();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", folder.join("prometheus.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={http}"))
            .args(["--web.route-prefix=/prometheus", "--query.timeout=5s"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|e| panic!("prometheus: {e}: run `make test-peers`"));
        Self { child, folder }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn client(http: SocketAddr) -> Prometheus {
    let url = format!("http://{http}/prometheus").parse().unwrap();
    Prometheus::new(Settings { url, credentials: Credentials::None, authority: None }).unwrap()
}

/// What an expression gives, once it gives so many samples.
async fn read(prometheus: &Prometheus, expression: &str, count: usize) -> Vec<Sample> {
    let begin = time::Instant::now();
    loop {
        let found = prometheus.evaluate(expression).await.and_then(|body| Ok(samples(&body)?));
        if let Ok(found) = &found
            && found.len() == count
        {
            return found.clone();
        }
        assert!(begin.elapsed() < WITHIN, "{expression}: {found:?}");
        time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
#[ignore = "needs prometheus: run by `make test-peers`"]
async fn its_vectors_are_read_and_what_is_none_says_why() {
    let http = free();
    let prometheus = client(http);
    assert_eq!(prometheus.evaluate("up").await, Err(Unread::Unreachable));
    let _server = Server::start(http);
    let mut found: Vec<_> = read(&prometheus, "1 - site_load{job=~\"s.t[e&=+ ]\"}", 5)
        .await
        .into_iter()
        .map(|s| (s.service.map(|k| k.to_string()), s.value.map(|v| format!("{v}"))))
        .collect();
    found.sort();
    let sample = |service: &str, value: &str| (Some(service.to_owned()), Some(value.to_owned()));
    assert_eq!(
        found,
        [
            (None, Some("0".to_owned())),
            sample("other/north", "0.5"),
            (Some("radiology/east".to_owned()), None),
            sample("radiology/north", "0.25"),
            sample("radiology/south", "0.75"),
        ]
    );
    assert_eq!(read(&prometheus, "absent(site_load)", 0).await, []);
    assert_eq!(read(&prometheus, "-vector(1) / 0", 1).await[0].value, Some(f64::NEG_INFINITY));
    for (expression, kind) in [("1", "scalar"), ("\"a\"", "string"), ("site_load[5m]", "matrix")] {
        let body = prometheus.evaluate(expression).await.unwrap();
        assert_eq!(samples(&body), Err(Problem::NoVector(kind.to_owned())));
    }
    match prometheus.evaluate("1 +").await {
        Err(Unread::Useless(Problem::Failed(said))) => {
            assert!(said.starts_with("bad_data: invalid parameter"), "{said}")
        }
        other => panic!("{other:?}"),
    }
    let url = format!("http://{http}/elsewhere").parse().unwrap();
    let elsewhere = Prometheus::new(Settings { url, credentials: Credentials::None, authority: None }).unwrap();
    assert_eq!(elsewhere.evaluate("up").await, Err(Unread::Refused(404)));
}

#[tokio::test]
#[ignore = "needs prometheus: run by `make test-peers`"]
async fn a_signal_is_followed_while_it_comes_and_goes() {
    let http = free();
    let caches = Caches::default();
    for name in ["north", "south", "east"] {
        let service: MedicalService = serde_json::from_value(json!({
            "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": {"namespace": "radiology", "name": name, "uid": name, "resourceVersion": "1"},
            "spec": {"external": {"endpoints": [{"host": "192.0.2.1"}]}, "interfaces": []},
        }))
        .unwrap();
        caches.services.applied(service);
    }
    let query: ServiceQuery = serde_json::from_value(json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "ServiceQuery", "metadata": {"namespace": "radiology", "name": "answer", "uid": "q", "resourceVersion": "1"},
        "spec": {"protocol": "HTTP", "port": 80, "prefer": {"signals": [{"name": "free", "weight": 1}, {"name": "other", "weight": 1}]}},
    }))
    .unwrap();
    caches.queries.applied(query.clone());
    let expression = "1 - site_load".to_owned();
    let signal = Signal { name: "free".to_owned(), expression, interval: Duration::from_millis(200) };
    let source = Source { signals: vec![signal], prometheus: Arc::new(client(http)) };
    let (told, mut news) = mpsc::unbounded_channel();
    let told = Mutex::new(told);
    let report = Box::new(move |key: &Key| drop(told.lock().unwrap().send(key.clone())));
    let metrics = Metrics::default();
    let signals = Signals::new(Some(source), caches, Clock::System, metrics.clone(), report);
    assert!(signals.awaited(&query.spec).is_some(), "it has not been tried");
    let stop = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&signals).run(stop.clone()));
    // until something has changed
    let mut state = async || {
        let key = time::timeout(WITHIN, news.recv()).await.expect("it is told in time").unwrap();
        assert_eq!(key, Key::new("radiology", "answer"));
        let facts = signals.facts(&query);
        assert_eq!(facts[1].state, SignalState::Unknown);
        let values: Vec<_> = facts[0].values.iter().map(|(name, value)| (name.clone(), *value)).collect();
        (facts[0].state, values)
    };
    assert_eq!(state().await, (SignalState::NotRead, vec![]), "nobody listens");
    assert!(signals.awaited(&query.spec).is_none());
    let server = Server::start(http);
    let values = vec![("north".to_owned(), 25), ("south".to_owned(), 75)];
    loop {
        // rules may not have been evaluated yet when it first answers
        let now = state().await;
        if now == (SignalState::Read, values.clone()) {
            break;
        }
        assert_eq!(now.0, SignalState::Read);
    }
    let shown = metrics.render();
    for line in [
        r#"medley_signal_samples{signal="free",outcome="counted"} 2"#,
        r#"medley_signal_samples{signal="free",outcome="unknown_service"} 1"#,
        r#"medley_signal_samples{signal="free",outcome="no_labels"} 1"#,
        r#"medley_signal_samples{signal="free",outcome="no_number"} 1"#,
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    drop(server);
    assert_eq!(state().await, (SignalState::NotRead, vec![]), "three intervals later");
    stop.cancel();
    running.await.unwrap();
    assert!(news.try_recv().is_err(), "nothing is told while nothing moves");
}
