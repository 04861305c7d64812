//! Whose is what: what is foreign stays, and of several writers one writes.

use std::time::{Duration, Instant};

use medley::loops::mirror::{Failure, Health};

use super::{
    BOTH, MINUTE, leader,
    servers::{Kind, Server},
    settings_of,
    stage::{Replica, service, settings, until},
    text,
};

#[tokio::test]
#[ignore = "needs redis-server of Debian: make test-peers"]
async fn what_is_not_medleys_in_redis_stays_as_it_is() {
    let server = Server::start(Kind::Redis).await;
    let foreign = [
        vec!["SET", "other", "1"],
        vec!["SET", "medley:service:radiology/pacs", "a text"],
        vec!["HSET", "medley:service:radiology/ehr", "name", "of somebody else"],
        vec!["SET", "medley:protocol:HL7v2", "a text"],
        vec!["RPUSH", "medley:changes", "a list"],
        vec!["HSET", "medley:service:radiology/unknown", "name", "no service of the registry"],
    ];
    for words in &foreign {
        server.ask(words).await;
    }
    let mut replica = Replica::new(&settings(Some(&server), None, Duration::from_secs(2)));
    replica.list([
        service("radiology", "pacs", "DICOM", 2, 1),
        service("radiology", "ehr", "FHIR", 1, 2),
        service("lab", "lis", "HL7v2", 0, 3),
        service("lab", "archive", "DICOM", 0, 3),
    ]);
    replica.lead("lease", 1);
    replica.up(Kind::Redis).await;
    let state = replica.state(Kind::Redis);
    assert_eq!((state.services, state.foreign), (2, 2));
    assert_eq!(
        server.ask(&["SMEMBERS", "medley:protocol:DICOM"]).await,
        redis::Value::Array(vec![text("lab/archive")])
    );
    replica.delete(&service("radiology", "pacs", "DICOM", 2, 10));
    replica.apply(service("radiology", "ehr", "FHIR", 2, 11));
    replica.apply(service("lab", "lis", "HL7v2", 1, 12));
    let ready = text("1");
    until("a change has come", || async { server.ask(&["HGET", "medley:service:lab/lis", "ready"]).await == ready })
        .await;
    replica.stop().await;
    until("medley's keys have expired", || async {
        matches!(server.ask(&["KEYS", "*"]).await, redis::Value::Array(keys) if keys.len() == foreign.len())
    })
    .await;
    for words in &foreign {
        assert_eq!(server.ask(&["TTL", words[1]]).await, redis::Value::Int(-1), "{words:?}");
    }
    assert_eq!(
        server.ask(&["HGETALL", "medley:service:radiology/ehr"]).await,
        redis::Value::Array(vec![text("name"), text("of somebody else")])
    );
}

#[tokio::test]
#[ignore = "needs memcached of Debian: make test-peers"]
async fn what_is_not_medleys_in_memcached_stays_as_it_is() {
    let server = Server::start(Kind::Memcached).await;
    for key in ["other", "medley:radiology/pacs"] {
        assert_eq!(server.memcached(&format!("set {key} 0 0 6\r\na text\r\n"), "\r\n"), "STORED\r\n");
    }
    let mut replica = Replica::new(&settings(None, Some(&server), MINUTE));
    replica.list([service("radiology", "pacs", "DICOM", 2, 1), service("radiology", "ehr", "FHIR", 1, 2)]);
    replica.lead("lease", 1);
    replica.up(Kind::Memcached).await;
    assert_eq!(replica.state(Kind::Memcached).foreign, 1);
    replica.delete(&service("radiology", "pacs", "DICOM", 2, 10));
    replica.delete(&service("radiology", "ehr", "FHIR", 1, 11));
    until("a change has come", || async { server.value("medley:radiology/ehr").is_none() }).await;
    for key in ["other", "medley:radiology/pacs"] {
        assert_eq!(server.value(key).as_deref(), Some("a text"));
    }
    replica.stop().await;
}

#[tokio::test]
#[ignore = "needs redis-server and memcached of Debian: make test-peers"]
async fn of_two_leaders_the_later_one_writes_and_another_installation_is_let_alone() {
    for kind in BOTH {
        let server = Server::start(kind).await;
        let former = leader(kind, &server, MINUTE).await;
        let mut later = Replica::new(&settings_of(kind, &server, MINUTE));
        later.list([
            service("radiology", "pacs", "DICOM", 1, 20),
            service("radiology", "ehr", "FHIR", 0, 21),
            service("lab", "lis", "HL7v2", 1, 22),
        ]);
        later.lead("lease", 2);
        later.up(kind).await;
        former.apply(service("radiology", "pacs", "DICOM", 9, 30));
        let superseded = |replica: &Replica| replica.state(kind).health == Health::Down(Failure::Superseded);
        until("the former leader finds the mark of the later one", || async { superseded(&former) }).await;
        // one that begins late, because its process stood still
        let mut late = Replica::new(&settings_of(kind, &server, MINUTE));
        late.list([service("radiology", "pacs", "DICOM", 7, 40)]);
        late.lead("lease", 1);
        until("a former leader that comes late finds it too", || async { superseded(&late) }).await;
        let mut other = Replica::new(&settings_of(kind, &server, MINUTE));
        other.list([]);
        other.lead("another lease", 9);
        until("another installation finds the mark", || async {
            other.state(kind).health == Health::Down(Failure::OwnedByOther)
        })
        .await;
        assert!(later.equals(&server, kind).await, "{kind:?}");
        assert_eq!(later.state(kind).health, Health::Up);
        for replica in [former, late, other, later] {
            replica.stop().await;
        }
    }
}

#[tokio::test]
#[ignore = "needs redis-server and memcached of Debian: make test-peers"]
async fn nothing_is_written_or_deleted_before_the_first_complete_list_or_after_the_term() {
    for kind in BOTH {
        let server = Server::start(kind).await;
        let before = leader(kind, &server, MINUTE).await;
        let mut next = Replica::new(&settings_of(kind, &server, MINUTE));
        next.caches.services.list_begins(&None);
        next.caches.services.listed(&None, service("radiology", "pacs", "DICOM", 1, 20));
        next.lead("lease", 2);
        let begun = Instant::now();
        until("a list that is not complete has had its time", || async {
            assert_eq!(next.state(kind).health, Health::Idle);
            assert!(before.equals(&server, kind).await);
            begun.elapsed() > Duration::from_millis(500)
        })
        .await;
        next.caches.services.list_ends(&None);
        next.up(kind).await;
        if kind == Kind::Redis {
            assert!(next.equals(&server, kind).await, "it knows what the former leader has left");
        }
        next.loses();
        next.apply(service("radiology", "pacs", "DICOM", 2, 30));
        until("the end of the term shows", || async { next.state(kind).health == Health::Down(Failure::NotLeading) })
            .await;
        assert!(!next.equals(&server, kind).await);
        before.stop().await;
        next.stop().await;
    }
}
