//! Do the stores hold the answers to queries?

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    BOTH, MINUTE, leader,
    servers::{Kind, Server},
    settings_of,
    stage::{Replica, entries, query, service, until},
};

#[tokio::test]
#[ignore = "needs redis-server of Debian: make test-peers"]
async fn redis_holds_a_hash_for_each_answer_beside_the_service_of_the_same_name() {
    let server = Server::start(Kind::Redis).await;
    let replica = leader(Kind::Redis, &server, MINUTE).await;
    let mut redis = server.redis().await;
    replica.answer(query("radiology", "pacs", 1, 10));
    replica.answer(query("lab", "reader", 0, 11));
    until("Redis holds the answers", || replica.equals(&server, Kind::Redis)).await;
    let fields: BTreeMap<String, String> =
        redis::cmd("HGETALL").arg("medley:query:radiology/pacs").query_async(&mut redis).await.unwrap();
    let shown: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(
        shown,
        [
            ("current", "true"),
            ("dnsName", "pacs.radiology.svc.cluster.local"),
            ("managedBy", "medley.health"),
            ("matched", "1"),
            (
                "matches",
                r#"[{"service":"s-1","interface":"main","endpoint":"10.0.0.1:8080","probability":100,"score":{"health":0,"matching":0}}]"#
            ),
            ("name", "pacs"),
            ("namespace", "radiology"),
            ("panic", "false"),
        ]
    );
    let empty: String =
        redis::cmd("HGET").arg("medley:query:lab/reader").arg("empty").query_async(&mut redis).await.unwrap();
    assert_eq!(empty, "NoMatch");
    // a query and a service of one name are two things: neither takes the other along
    replica.forget(&query("radiology", "pacs", 1, 20));
    replica.answer(query("lab", "reader", 2, 21));
    until("Redis holds the changes", || replica.equals(&server, Kind::Redis)).await;
    let members: BTreeSet<String> = redis::cmd("SMEMBERS").arg("medley:queries").query_async(&mut redis).await.unwrap();
    assert_eq!(members, BTreeSet::from(["lab/reader".to_owned()]));
    let there: bool = redis::cmd("EXISTS").arg("medley:service:radiology/pacs").query_async(&mut redis).await.unwrap();
    assert!(there);
    let events: Vec<(String, Vec<String>)> =
        redis::cmd("XRANGE").arg("medley:changes").arg("-").arg("+").query_async(&mut redis).await.unwrap();
    let events: Vec<String> = events.into_iter().map(|(_, words)| words[1..4].join(" ")).collect();
    for event in ["set query radiology/pacs", "set query lab/reader", "delete query radiology/pacs"] {
        assert!(events.contains(&event.to_owned()), "{events:?}");
    }
    replica.stop().await;
}

#[tokio::test]
#[ignore = "needs memcached of Debian: make test-peers"]
async fn memcached_holds_a_value_for_each_answer() {
    let server = Server::start(Kind::Memcached).await;
    let replica = leader(Kind::Memcached, &server, MINUTE).await;
    replica.answer(query("radiology", "pacs", 1, 10));
    until("Memcached holds the answer", || replica.equals(&server, Kind::Memcached)).await;
    let value: Value = serde_json::from_str(&server.value("medley:query:radiology/pacs").unwrap()).unwrap();
    assert_eq!(
        value,
        json!({"managedBy": "medley.health", "lease": "lease", "epoch": 1, "namespace": "radiology", "name": "pacs",
            "dnsName": "pacs.radiology.svc.cluster.local", "current": true, "panic": false, "matches": [{"service": "s-1",
            "interface": "main", "endpoint": "10.0.0.1:8080", "probability": 100, "score": {"health": 0, "matching": 0}}]})
    );
    replica.forget(&query("radiology", "pacs", 1, 20));
    until("it is gone", || async { server.value("medley:query:radiology/pacs").is_none() }).await;
    assert!(server.value("medley:radiology/pacs").is_some(), "the service of this name stays");
    replica.stop().await;
}

#[tokio::test]
#[ignore = "needs redis-server and memcached of Debian: make test-peers"]
async fn answers_are_whole_again_after_an_outage_known_to_the_next_leader_and_gone_without_one() {
    for kind in BOTH {
        let mut server = Server::start(kind).await;
        let ttl = Duration::from_secs(3);
        let replica = leader(kind, &server, ttl).await;
        replica.answer(query("radiology", "reader", 1, 10));
        replica.answer(query("radiology", "former", 1, 11));
        until("the store holds the answers", || replica.equals(&server, kind)).await;
        server.kill();
        replica.answer(query("radiology", "reader", 2, 20));
        replica.forget(&query("radiology", "former", 1, 21));
        server.restart().await;
        let again = until("it is whole after a restart", || replica.equals(&server, kind)).await;
        server.empty().await;
        until("it is whole after it was emptied", || replica.equals(&server, kind)).await;
        assert_eq!((replica.state(kind).services, replica.state(kind).queries), (3, 1));
        println!("{kind:?}: answers are whole again {again:?} after a restart");

        replica.stop().await;
        let mut next = Replica::new(&settings_of(kind, &server, ttl));
        next.list([service("radiology", "pacs", "DICOM", 2, 30)]);
        next.lead("lease", 2);
        next.up(kind).await;
        if kind == Kind::Redis {
            assert!(next.equals(&server, kind).await, "it knows the answers that the former leader has left");
        }
        next.stop().await;
        let known = ["medley:query:radiology/reader".to_owned()];
        until("everything has expired", || async {
            match kind {
                Kind::Redis => server.ask(&["DBSIZE"]).await == redis::Value::Int(0),
                Kind::Memcached => entries(&server, &known).is_empty(),
            }
        })
        .await;
    }
}

#[tokio::test]
#[ignore = "needs redis-server of Debian: make test-peers"]
async fn what_lies_where_an_answer_should_be_and_is_not_medleys_stays() {
    let server = Server::start(Kind::Redis).await;
    server.ask(&["SET", "medley:query:radiology/pacs", "a text"]).await;
    server.ask(&["SET", "medley:query:lab/reader", "a text"]).await;
    let replica = leader_beside(&server).await;
    assert_eq!(replica.state(Kind::Redis).foreign, 1);
    replica.forget(&query("radiology", "pacs", 1, 20));
    replica.answer(query("lab", "archive", 1, 21));
    until("a change has come", || async {
        server.ask(&["SISMEMBER", "medley:queries", "lab/archive"]).await == redis::Value::Int(1)
    })
    .await;
    for key in ["medley:query:radiology/pacs", "medley:query:lab/reader"] {
        assert_eq!(server.ask(&["GET", key]).await, redis::Value::BulkString(b"a text".to_vec()));
        assert_eq!(server.ask(&["TTL", key]).await, redis::Value::Int(-1));
    }
    assert_eq!(server.ask(&["SISMEMBER", "medley:services", "radiology/pacs"]).await, redis::Value::Int(1));
    replica.stop().await;
}

/// A leader that has told the server of a service and of an answer of the same name.
async fn leader_beside(server: &Server) -> Replica {
    let mut replica = Replica::new(&settings_of(Kind::Redis, server, MINUTE));
    replica.list([service("radiology", "pacs", "DICOM", 2, 1)]);
    replica.answer(query("radiology", "pacs", 1, 2));
    replica.lead("lease", 1);
    replica.up(Kind::Redis).await;
    replica
}
