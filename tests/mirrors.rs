//! Do Redis and Memcached hold what the registry tells, whatever becomes of them and of the operator? Both are the real ones of Debian;
//! between the caches and them runs what is shipped.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

#[path = "mirrors/access.rs"]
mod access;
#[path = "mirrors/answers.rs"]
mod answers;
#[path = "mirrors/delays.rs"]
mod delays;
#[path = "mirrors/ownership.rs"]
mod ownership;
#[path = "mirrors/servers.rs"]
mod servers;
#[path = "mirrors/stage.rs"]
mod stage;
#[path = "mirrors/whole.rs"]
mod whole;

use std::time::{Duration, Instant};

use medley::loops::mirror::{Failure, Health, Settings};
use serde_json::{Value, json};
use servers::{Kind, Server};
use stage::{Replica, entries, service, settings, until};

const MINUTE: Duration = Duration::from_secs(60);
const BOTH: [Kind; 2] = [Kind::Redis, Kind::Memcached];

/// Within which a store that came back holds everything again.
const AGAIN: Duration = Duration::from_secs(5);

/// How often mirrors have failed.
fn failures(replica: &Replica) -> u64 {
    count(replica, "medley_mirror_failures_total")
}

fn count(replica: &Replica, name: &str) -> u64 {
    let metrics = replica.metrics.render();
    let line = metrics.lines().find(|l| l.starts_with(name)).map(str::to_owned);
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

fn settings_of(kind: Kind, server: &Server, ttl: Duration) -> Settings {
    match kind {
        Kind::Redis => settings(Some(server), None, ttl),
        Kind::Memcached => settings(None, Some(server), ttl),
    }
}

/// A replica that leads and has told the server everything.
async fn leader(kind: Kind, server: &Server, ttl: Duration) -> Replica {
    let mut replica = Replica::new(&settings_of(kind, server, ttl));
    replica.list([
        service("radiology", "pacs", "DICOM", 2, 1),
        service("radiology", "ehr", "FHIR", 1, 2),
        service("lab", "lis", "HL7v2", 0, 3),
    ]);
    replica.lead("lease", 1);
    replica.up(kind).await;
    assert!(replica.equals(server, kind).await, "{kind:?}");
    replica
}

#[tokio::test]
#[ignore = "needs redis-server of Debian: make test-peers"]
async fn redis_holds_a_hash_for_each_service_sets_and_a_stream_of_changes() {
    let server = Server::start(Kind::Redis).await;
    let replica = leader(Kind::Redis, &server, MINUTE).await;
    let mut redis = server.redis().await;
    let fields: std::collections::BTreeMap<String, String> =
        redis::cmd("HGETALL").arg("medley:service:radiology/ehr").query_async(&mut redis).await.unwrap();
    let shown: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(
        shown,
        [
            ("dnsName", "ehr.radiology.svc.cluster.local"),
            ("generation", "1"),
            (
                "interface:main",
                r#"{"name":"main","protocol":"FHIR","port":80,"endpoints":[{"address":"10.0.0.1","port":8080,"ready":true,"reason":"Healthy","since":"2026-01-01T00:00:00Z"}]}"#
            ),
            ("managedBy", "medley.health"),
            ("name", "ehr"),
            ("namespace", "radiology"),
            ("protocols", "FHIR"),
            ("ready", "1"),
            ("total", "1"),
        ]
    );
    replica.apply(service("radiology", "ehr", "DICOM", 2, 10));
    replica.apply(service("lab", "archive", "DICOM", 1, 11));
    replica.delete(&service("lab", "lis", "HL7v2", 0, 12));
    until("Redis holds the changes", || replica.equals(&server, Kind::Redis)).await;
    let members: std::collections::BTreeSet<String> =
        redis::cmd("SMEMBERS").arg("medley:protocol:DICOM").query_async(&mut redis).await.unwrap();
    assert_eq!(members, ["lab/archive", "radiology/ehr", "radiology/pacs"].map(str::to_owned).into());
    let events: Vec<(String, Vec<String>)> =
        redis::cmd("XRANGE").arg("medley:changes").arg("-").arg("+").query_async(&mut redis).await.unwrap();
    let events: Vec<String> = events.into_iter().map(|(_, words)| format!("{} {}", words[1], words[3])).collect();
    assert_eq!(&events[..3], ["set lab/lis", "set radiology/ehr", "set radiology/pacs"]);
    for event in ["set radiology/ehr", "set lab/archive", "delete lab/lis"] {
        assert!(events[3..].contains(&event.to_owned()), "{events:?}");
    }
    let metrics = replica.metrics.render();
    assert!(metrics.contains("medley_mirror_up{mirror=\"redis\"} 1"), "{metrics}");
    assert!(!metrics.contains("medley_mirror_failures_total{"), "{metrics}");
    replica.stop().await;
}

#[tokio::test]
#[ignore = "needs memcached of Debian: make test-peers"]
async fn memcached_holds_a_value_for_each_service() {
    let server = Server::start(Kind::Memcached).await;
    let replica = leader(Kind::Memcached, &server, MINUTE).await;
    let value: Value = serde_json::from_str(&server.value("medley:radiology/ehr").unwrap()).unwrap();
    assert_eq!(
        value,
        json!({"managedBy": "medley.health", "lease": "lease", "epoch": 1, "namespace": "radiology", "name": "ehr",
            "dnsName": "ehr.radiology.svc.cluster.local", "ready": 1, "total": 1, "generation": 1,
            "interfaces": [{"name": "main", "protocol": "FHIR", "port": 80, "endpoints":
                [{"address": "10.0.0.1", "port": 8080, "ready": true, "reason": "Healthy", "since": "2026-01-01T00:00:00Z"}]}]})
    );
    replica.apply(service("radiology", "ehr", "FHIR", 2, 10));
    replica.delete(&service("lab", "lis", "HL7v2", 0, 12));
    until("Memcached holds the changes", || replica.equals(&server, Kind::Memcached)).await;
    assert_eq!(server.value("medley:lab/lis"), None);
    replica.stop().await;
}

#[tokio::test]
#[ignore = "needs redis-server and memcached of Debian: make test-peers"]
async fn a_store_that_comes_back_is_whole_again_within_seconds_and_nobody_waited_for_it() {
    for kind in BOTH {
        let mut server = Server::start(kind).await;
        let replica = leader(kind, &server, MINUTE).await;
        // what happens meanwhile is not lost
        let change = |version: u64| {
            replica.apply(service("radiology", "pacs", "DICOM", version as usize % 3, version));
            replica.apply(service("radiology", &format!("new-{version}"), "HTTP", 1, version + 1));
            let last = if version == 100 { "lis".to_owned() } else { format!("new-{}", version - 100) };
            let namespace = if version == 100 { "lab" } else { "radiology" };
            replica.delete(&service(namespace, &last, "HTTP", 1, version + 2));
        };
        let down = |failures: &'static [Failure]| {
            let replica = &replica;
            until("the outage shows", move || async move {
                matches!(replica.state(kind).health, Health::Down(failure) if failures.contains(&failure))
            })
        };

        server.kill();
        change(100);
        down(&[Failure::Unreachable]).await;
        // until it is tried as seldom as it ever is
        until("it was tried several times", || async { failures(&replica) > 6 }).await;
        assert!(
            replica.metrics.render().contains("medley_mirror_up{mirror=\"")
                && replica.metrics.render().contains("\"} 0")
        );
        server.restart().await;
        let restarted = until("it is whole after a restart", || replica.equals(&server, kind)).await;

        let begun = Instant::now();
        server.empty().await;
        change(200);
        until("it is whole after it was emptied", || replica.equals(&server, kind)).await;
        let emptied = begun.elapsed();

        server.freeze();
        change(300);
        down(&[Failure::TimedOut]).await;
        server.thaw();
        let thawed = until("it is whole after it hung", || replica.equals(&server, kind)).await;

        println!(
            "{kind:?}: whole again {restarted:?} after a restart, {emptied:?} after it was emptied, {thawed:?} after it hung"
        );
        for took in [restarted, emptied, thawed] {
            assert!(took < AGAIN, "{kind:?}: {took:?}");
        }
        replica.stop().await;
    }
}

#[tokio::test]
#[ignore = "needs redis-server and memcached of Debian: make test-peers"]
async fn entries_stay_while_the_operator_lives_and_vanish_after_its_death() {
    for kind in BOTH {
        let server = Server::start(kind).await;
        let ttl = Duration::from_secs(2);
        let replica = leader(kind, &server, ttl).await;
        let begun = Instant::now();
        until("three times the expiry has passed", || async {
            assert!(replica.equals(&server, kind).await, "{kind:?}: gone after {:?}", begun.elapsed());
            begun.elapsed() > ttl * 3
        })
        .await;
        let replica_keys = replica.caches.services.keys();
        replica.stop().await;
        let gone = until("everything has expired", || async {
            match kind {
                Kind::Redis => server.ask(&["DBSIZE"]).await == redis::Value::Int(0),
                Kind::Memcached => {
                    let known = replica_keys.iter().map(|k| format!("medley:{k}")).collect::<Vec<_>>();
                    entries(&server, &known).is_empty() && server.value("medley:owner").is_none()
                }
            }
        })
        .await;
        println!("{kind:?}: all gone {gone:?} after the operator's end, with an expiry of {ttl:?}");
        assert!(gone < ttl + Duration::from_secs(2), "{kind:?}: {gone:?}");
    }
}

fn text(text: &str) -> redis::Value {
    redis::Value::BulkString(text.as_bytes().to_vec())
}

#[tokio::test]
#[ignore = "needs redis-server and memcached of Debian: make test-peers"]
async fn ten_thousand_services_are_told_in_seconds_and_renewed_without_a_write() {
    for kind in BOTH {
        let server = Server::start(kind).await;
        let mut replica = Replica::new(&settings_of(kind, &server, Duration::from_secs(9)));
        let services = (0..10_000).map(|i| service(&format!("ns-{}", i % 50), &format!("s-{i}"), "FHIR", 3, i + 1));
        replica.list(services);
        let begun = Instant::now();
        replica.lead("lease", 1);
        replica.up(kind).await;
        let told = begun.elapsed();
        let written = |replica: &Replica| count(replica, "medley_mirror_written_total");
        let first = written(&replica);
        replica.apply(service("ns-1", "s-1", "FHIR", 1, 20_000));
        let changed = until("a change is told", || async {
            match kind {
                Kind::Redis => server.ask(&["HGET", "medley:service:ns-1/s-1", "ready"]).await == text("1"),
                Kind::Memcached => server.value("medley:ns-1/s-1").unwrap().contains("\"ready\":1,"),
            }
        })
        .await;
        // through several renewals and one expiry
        let begun = Instant::now();
        until("everything was renewed", || async {
            assert_eq!(replica.state(kind).health, Health::Up);
            begun.elapsed() > Duration::from_secs(10)
        })
        .await;
        println!("{kind:?}: 10,000 services told in {told:?}, a change in {changed:?}");
        assert_eq!(replica.state(kind).services, 10_000);
        assert_eq!(written(&replica), first + 1, "a renewal changes nothing");
        assert!(told < Duration::from_secs(20), "{told:?}");
        replica.stop().await;
    }
}
