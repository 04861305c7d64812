//! What a server must grant: a login, rights, memory.

use std::time::Duration;

use medley::loops::mirror::{Failure, Health, Redis, Settings};

use super::{
    MINUTE,
    servers::{self, Kind, Server},
    stage::{Replica, service, settings, until},
};

/// What a user of Redis must be allowed, as `docs/registry.md` has it.
fn allowed() -> Vec<String> {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/registry.md")).unwrap();
    let line = docs.lines().find(|l| l.contains("ACL SETUSER")).expect("the docs show the user");
    line[line.find("ACL").unwrap()..].split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
#[ignore = "needs redis-server of Debian: make test-peers"]
async fn a_user_that_may_do_only_what_is_needed_suffices_over_tls_and_its_password_may_change() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let files = servers::scratch("tls");
    let at = |name: &str| files.join(name).to_str().unwrap().to_owned();
    for name in ["server", "other"] {
        harness::certificates::write(&files.join(format!("{name}.pem")), &files.join(format!("{name}.key"))).unwrap();
    }
    let tls = servers::free_port();
    let options = [
        "--tls-port",
        &tls.to_string(),
        "--tls-cert-file",
        &at("server.pem"),
        "--tls-key-file",
        &at("server.key"),
        "--tls-ca-cert-file",
        &at("server.pem"),
        "--tls-auth-clients",
        "no",
    ]
    .map(str::to_owned);
    let server = Server::start_with(Kind::Redis, &options).await;
    let user = allowed();
    server.ask(&user.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let follow = |ca: &str, password: &str| {
        std::fs::write(at("password"), format!("{password}\n")).unwrap();
        let redis = Redis::new(
            &format!("rediss://medley@127.0.0.1:{tls}"),
            "medley".to_owned(),
            Some(at("password").into()),
            Some(at(ca).into()),
            MINUTE,
        );
        let mut replica =
            Replica::new(&Settings { redis: Some(redis.unwrap()), memcached: None, renew: Duration::from_millis(200) });
        replica.list([service("radiology", "pacs", "DICOM", 2, 1)]);
        replica.lead("lease", 1);
        replica
    };
    let fails = |replica: &Replica, failure| {
        let state = replica.state(Kind::Redis);
        async move { state.health == Health::Down(failure) }
    };

    let replica = follow("other.pem", "secret");
    until("a server that nobody vouches for is not spoken to", || fails(&replica, Failure::TlsFailed)).await;
    replica.stop().await;

    let replica = follow("server.pem", "wrong");
    until("a wrong password is told", || fails(&replica, Failure::LoginRefused)).await;
    std::fs::write(at("password"), "secret").unwrap();
    replica.up(Kind::Redis).await;
    assert!(replica.equals(&server, Kind::Redis).await);
    replica.apply(service("radiology", "pacs", "FHIR", 1, 10));
    replica.apply(service("radiology", "ehr", "FHIR", 1, 11));
    until("changes are told", || replica.equals(&server, Kind::Redis)).await;
    replica.delete(&service("radiology", "pacs", "FHIR", 1, 12));
    until("a deletion is told", || replica.equals(&server, Kind::Redis)).await;

    server.ask(&["ACL", "SETUSER", "medley", "-hset"]).await;
    replica.apply(service("radiology", "ehr", "FHIR", 2, 20));
    until("a right that is missing is told", || fails(&replica, Failure::Forbidden)).await;
    server.ask(&["ACL", "SETUSER", "medley", "+hset"]).await;
    until("it goes on with the right", || replica.equals(&server, Kind::Redis)).await;
    replica.stop().await;
    std::fs::remove_dir_all(files).unwrap();
}

#[tokio::test]
#[ignore = "needs redis-server of Debian: make test-peers"]
async fn a_server_without_memory_is_told_and_the_others_go_on() {
    let server = Server::start(Kind::Redis).await;
    let cache = Server::start(Kind::Memcached).await;
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let mut replica = Replica::new(&settings(Some(&server), Some(&cache), MINUTE));
    replica.list([service("radiology", "pacs", "DICOM", 2, 1)]);
    replica.lead("lease", 1);
    replica.up(Kind::Memcached).await;
    until("it is told that Redis is full", || async {
        replica.state(Kind::Redis).health == Health::Down(Failure::Full)
    })
    .await;
    assert!(replica.equals(&cache, Kind::Memcached).await);
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    replica.up(Kind::Redis).await;
    assert!(replica.equals(&server, Kind::Redis).await);
    replica.stop().await;
}
