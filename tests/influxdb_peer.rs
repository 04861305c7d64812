//! Does a real InfluxDB (Debian's, version 1) find what the sink writes, whatever the labels say and however long it was away?
//!
//! `make test-peers` installs it. It listens on loopback alone. Version 2 is not to be had from Debian: a scripted receiver stands for it
//! in `src/loops/influxdb_tests.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use medley::{
    cluster::clock::Clock,
    loops::{
        credentials::Credentials,
        influxdb::{Settings, Sink},
    },
    telemetry::{Dropped, Metrics},
};
use serde_json::{Value, json};
use tokio::time;
use tokio_util::sync::CancellationToken;

/// Longest time that anything takes.
const WITHIN: Duration = Duration::from_secs(30);
const USER: &str = "medley";
const PASSWORD: &str = "s3cret:with colon";

fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// A server that wants to know who asks, ended with its test.
struct Influx {
    child: Child,
    folder: PathBuf,
    http: SocketAddr,
}

impl Influx {
    fn start(http: SocketAddr) -> Self {
        let folder = std::env::temp_dir().join(format!("medley-influxdb-{}-{}", std::process::id(), http.port()));
        fs::create_dir_all(&folder).unwrap();
        let at = folder.display();
        let configuration = format!(
            "reporting-disabled = true\nbind-address = \"{}\"\n[meta]\ndir = \"{at}/meta\"\n[data]\ndir = \"{at}/data\"\n\
             wal-dir = \"{at}/wal\"\n[monitor]\nstore-enabled = false\n[http]\nbind-address = \"{http}\"\nauth-enabled = true\n",
            free()
        );
        let file = folder.join("influxdb.conf");
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new("influxd");
        command.arg("-config").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|e| panic!("influxd: {e}: run `make test-peers`"));
        Self { child, folder, http }
    }

    /// Asks, and waits for as long as it does not listen.
    async fn query(&self, query: &str) -> Value {
        let client = reqwest::Client::new();
        let url =
            reqwest::Url::parse_with_params(&format!("http://{}/query", self.http), [("db", "medley"), ("q", query)]);
        let url = url.unwrap();
        let begin = time::Instant::now();
        loop {
            if let Ok(answer) = client.post(url.clone()).basic_auth(USER, Some(PASSWORD)).send().await {
                return answer.json().await.unwrap();
            }
            assert!(begin.elapsed() < WITHIN, "it does not listen");
            time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Rows of a query, once there are any for which this holds.
    async fn rows(&self, query: &str, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let begin = time::Instant::now();
        loop {
            let answer = self.query(query).await;
            let rows = answer["results"][0]["series"][0]["values"].as_array().cloned().unwrap_or_default();
            if holds(&rows) {
                return rows;
            }
            assert!(begin.elapsed() < WITHIN, "{query}: {answer}");
            time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Influx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A sink that writes ten times a second.
fn sink(http: SocketAddr, password: &str, metrics: &Metrics) -> CancellationToken {
    let settings = Settings {
        url: format!("http://{http}/write?db=medley&precision=ms").parse().unwrap(),
        credentials: Credentials::Password(USER.to_owned(), password.to_owned()),
        interval: Duration::from_millis(100),
        source: "medley-0, the first=one".to_owned(),
    };
    let stop = CancellationToken::new();
    tokio::spawn(Sink::new(settings, Clock::System, metrics.clone()).unwrap().run(stop.clone()));
    stop
}

#[tokio::test]
#[ignore = "needs influxd: run by `make test-peers`"]
async fn what_is_written_is_found_also_what_waited_while_the_server_was_away() {
    let metrics = Metrics::default();
    metrics.leader.set(1);
    metrics.tell_probe("dicom", "odd, with=all \\special".to_owned(), Duration::ZERO, Duration::from_millis(5));
    let http = free();
    // nobody listens yet: points wait
    let begin = jiff::Timestamp::now();
    let stop = sink(http, PASSWORD, &metrics);
    let influx = Influx::start(http);
    influx.query(&format!("CREATE USER {USER} WITH PASSWORD '{PASSWORD}' WITH ALL PRIVILEGES")).await;
    let up = jiff::Timestamp::now();
    influx.query("CREATE DATABASE medley").await;
    let rows = influx.rows("SELECT value, pod FROM medley_leader", |rows| rows.len() > 3).await;
    assert_eq!((&rows[0][1], &rows[0][2]), (&json!(1), &json!("medley-0, the first=one")), "{rows:?}");
    let first: jiff::Timestamp = rows[0][0].as_str().unwrap().parse().unwrap();
    assert!(first.as_millisecond() >= begin.as_millisecond() && first < up, "{begin} <= {first} < {up}");
    let rows = influx.rows("SELECT value, reason, protocol FROM medley_probes_total", |rows| !rows.is_empty()).await;
    assert_eq!(
        rows[0].as_array().unwrap()[1..],
        *json!([1, "odd, with=all /special", "dicom"]).as_array().unwrap(),
        "a backslash cannot be told"
    );
    let rows =
        influx.rows("SELECT value FROM medley_probe_seconds_bucket WHERE le = '+Inf'", |rows| !rows.is_empty()).await;
    assert_eq!(rows[0][1], 1);
    stop.cancel();
    assert!(metrics.influxdb_written.get() > 0);
    for reason in ["queue_full", "refused"] {
        assert_eq!(metrics.influxdb_dropped.get_or_create(&Dropped { reason }).get(), 0, "{reason}");
    }
}

#[tokio::test]
#[ignore = "needs influxd: run by `make test-peers`"]
async fn points_wait_while_the_password_is_wrong_and_a_right_one_is_taken() {
    let (wrong, right) = (Metrics::default(), Metrics::default());
    let influx = Influx::start(free());
    influx.query(&format!("CREATE USER {USER} WITH PASSWORD '{PASSWORD}' WITH ALL PRIVILEGES")).await;
    influx.query("CREATE DATABASE medley").await;
    let stops = [sink(influx.http, "another", &wrong), sink(influx.http, PASSWORD, &right)];
    influx.rows("SELECT value FROM medley_leader", |rows| rows.len() > 3).await;
    assert!(right.influxdb_written.get() > 0);
    assert_eq!(wrong.influxdb_written.get(), 0);
    stops.iter().for_each(CancellationToken::cancel);
}
