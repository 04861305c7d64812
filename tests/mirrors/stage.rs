//! A registry in caches that no watch fills, mirrors of it, and what the servers then hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use medley::{
    api::{MedicalService, ServiceQuery},
    cluster::{cache::key, observe::Caches},
    core::registry::{Content, Held, Holder, Item, Kind as Of, Told, key_of},
    loops::mirror::{Health, Memcached, Mirrors, Redis, Settings, State, Term},
    telemetry::Metrics,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::servers::{Kind, Server};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for a condition; how long it took.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) -> Duration {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

/// A service with as many endpoints that are ready.
pub(crate) fn service(namespace: &str, name: &str, protocol: &str, ready: usize, version: u64) -> MedicalService {
    let endpoints: Vec<Value> = (1..=ready)
        .map(|i| {
            json!({"address": format!("10.0.0.{i}"), "ready": true, "reason": "Healthy", "since": "2026-01-01T00:00:00Z"})
        })
        .collect();
    serde_json::from_value(json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService",
        "metadata": {"namespace": namespace, "name": name, "generation": 1, "uid": format!("{namespace}-{name}"),
            "resourceVersion": version.to_string()},
        "spec": {"select": {"matchLabels": {"app": name}},
            "interfaces": [{"name": "main", "port": 80, "targetPort": 8080, "protocol": protocol}]},
        "status": {"dnsName": format!("{name}.{namespace}.svc.cluster.local"), "ready": ready, "total": ready,
            "endpoints": endpoints}
    }))
    .unwrap()
}

/// A query with as many endpoints in its answer, and one service that is not.
pub(crate) fn query(namespace: &str, name: &str, matched: usize, version: u64) -> ServiceQuery {
    let matches: Vec<Value> = (1..=matched)
        .map(|i| {
            json!({"service": format!("s-{i}"), "interface": "main", "endpoint": format!("10.0.0.{i}:8080"),
                "probability": 100 / matched, "score": {"health": 0, "matching": 0}})
        })
        .collect();
    let condition = |type_: &str, status: bool| {
        json!({"type": type_, "status": if status { "True" } else { "False" }, "reason": "NoMatch", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    serde_json::from_value(json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "ServiceQuery",
        "metadata": {"namespace": namespace, "name": name, "generation": 1, "uid": format!("{namespace}-{name}"),
            "resourceVersion": version.to_string()},
        "spec": {"capability": "ct", "protocol": "DICOM", "port": 104},
        "status": {"observedGeneration": 1, "dnsName": format!("{name}.{namespace}.svc.cluster.local"), "matched": matched,
            "matches": matches, "excluded": [{"service": "ehr", "reason": "Capability"}],
            "conditions": [condition("Empty", matched == 0), condition("Panic", false)]}
    }))
    .unwrap()
}

/// What one replica knows and mirrors.
pub(crate) struct Replica {
    pub(crate) caches: Caches,
    pub(crate) mirrors: Mirrors,
    pub(crate) metrics: Metrics,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    lasts: Arc<AtomicBool>,
}

/// Which mirrors, by the servers.
pub(crate) fn settings(redis: Option<&Server>, memcached: Option<&Server>, ttl: Duration) -> Settings {
    let url = |s: &Server| format!("redis://127.0.0.1:{}", s.port);
    let address = |s: &Server| format!("127.0.0.1:{}", s.port);
    Settings {
        redis: redis.map(|s| Redis::new(&url(s), "medley".to_owned(), None, None, ttl).unwrap()),
        memcached: memcached.map(|s| Memcached::new(address(s), "medley".to_owned(), ttl).unwrap()),
        renew: ttl / 3,
    }
}

impl Replica {
    /// A replica whose caches have not been filled.
    pub(crate) fn new(settings: &Settings) -> Self {
        let (caches, metrics) = (Caches::default(), Metrics::default());
        let mirrors = Mirrors::new(settings, &caches, &metrics);
        caches.services.expect(&None);
        caches.services.on_change(Some(Box::new({
            let mirrors = mirrors.clone();
            // as `operator/watches.rs` has it
            move |change| {
                mirrors.changed(&Item::service(key(change.after.as_deref().or(change.before.as_deref()).unwrap())))
            }
        })));
        caches.queries.on_change(Some(Box::new({
            let mirrors = mirrors.clone();
            move |change| {
                mirrors.changed(&Item::query(key(change.after.as_deref().or(change.before.as_deref()).unwrap())))
            }
        })));
        caches.leave_empty_but_services();
        let lasts = Arc::new(AtomicBool::new(true));
        Self { caches, mirrors, metrics, stop: CancellationToken::new(), tasks: JoinSet::new(), lasts }
    }

    /// The first complete list.
    pub(crate) fn list(&self, services: impl IntoIterator<Item = MedicalService>) {
        self.caches.services.list_begins(&None);
        services.into_iter().for_each(|service| self.caches.services.listed(&None, service));
        self.caches.services.list_ends(&None);
    }

    /// Leads.
    pub(crate) fn lead(&mut self, lease: &str, epoch: i64) {
        let lasts = Arc::clone(&self.lasts);
        let term = Term {
            holder: Holder { lease: lease.to_owned(), epoch },
            lasts: Arc::new(move || lasts.load(Ordering::Relaxed)),
        };
        self.mirrors.start(&term, &self.stop, &mut self.tasks);
    }

    /// Its term is over, and it does not know of being stopped yet.
    pub(crate) fn loses(&self) {
        self.lasts.store(false, Ordering::Relaxed);
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    /// A watch event.
    pub(crate) fn apply(&self, service: MedicalService) {
        let change = self.caches.services.applied(service).unwrap();
        self.caches.services.tell(&change);
    }

    pub(crate) fn delete(&self, service: &MedicalService) {
        let change = self.caches.services.deleted(service).unwrap();
        self.caches.services.tell(&change);
    }

    pub(crate) fn state(&self, kind: Kind) -> State {
        let name = if kind == Kind::Redis { "redis" } else { "memcached" };
        self.mirrors.states().into_iter().find(|(n, _)| *n == name).unwrap().1
    }

    pub(crate) async fn up(&self, kind: Kind) -> Duration {
        until("the mirror is up", || async { self.state(kind).health == Health::Up }).await
    }

    /// Whether the server holds what this replica knows, and nothing besides.
    pub(crate) async fn equals(&self, server: &Server, kind: Kind) -> bool {
        match kind {
            Kind::Redis => content(server).await == Content::of(&self.told()),
            Kind::Memcached => {
                let wanted = self.values();
                entries(server, wanted.keys()) == wanted
            }
        }
    }

    /// What this replica knows, as programs are told.
    fn told(&self) -> Vec<Told> {
        let items = [Of::Service, Of::Query].into_iter().flat_map(|kind| self.caches.items(kind));
        let told = items.map(|item| match self.caches.told(&item).unwrap() {
            Told::Answer(reply) => Told::Answer(reply.short()),
            service => service,
        });
        told.collect()
    }

    /// What Memcached should hold, without the marks.
    fn values(&self) -> BTreeMap<String, Value> {
        let name = |item: Item| match item.kind {
            Of::Service => format!("medley:{}", item.key),
            Of::Query => format!("medley:query:{}", item.key),
        };
        self.told().iter().map(|told| (name(told.item()), serde_json::to_value(told).unwrap())).collect()
    }

    /// A watch event of a query.
    pub(crate) fn answer(&self, query: ServiceQuery) {
        let change = self.caches.queries.applied(query).unwrap();
        self.caches.queries.tell(&change);
    }

    pub(crate) fn forget(&self, query: &ServiceQuery) {
        let change = self.caches.queries.deleted(query).unwrap();
        self.caches.queries.tell(&change);
    }
}

/// All that Redis holds below the prefix, save the mark and the changes.
pub(crate) async fn content(server: &Server) -> Content {
    let mut redis = server.redis().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("medley:*").query_async(&mut redis).await.unwrap();
    let mut content = Content::default();
    for key in keys.iter().filter(|k| *k != "medley:owner" && *k != "medley:changes") {
        let kind: String = redis::cmd("TYPE").arg(key).query_async(&mut redis).await.unwrap();
        let name = key.strip_prefix("medley:").unwrap();
        let item = |prefix: &str, of| Some(Item { kind: of, key: key_of(name.strip_prefix(prefix)?).unwrap() });
        match (kind.as_str(), item("service:", Of::Service).or_else(|| item("query:", Of::Query))) {
            ("hash", Some(item)) => {
                let fields = redis::cmd("HGETALL").arg(key).query_async(&mut redis).await.unwrap();
                content.hashes.insert(item, Held::Ours(fields));
            }
            ("set", None) => {
                let members: BTreeSet<String> = redis::cmd("SMEMBERS").arg(key).query_async(&mut redis).await.unwrap();
                content.sets.insert(name.to_owned(), members);
            }
            // it expired meanwhile
            ("none", _) => {}
            other => panic!("{key}: {other:?}"),
        }
    }
    content
}

/// What Memcached holds of these keys and of all others below the prefix, save the mark of ownership; without the marks. Its list of keys may
/// leave out one that is being moved just then, so what is known is asked for by itself.
pub(crate) fn entries<'a>(server: &Server, known: impl IntoIterator<Item = &'a String>) -> BTreeMap<String, Value> {
    let list = server.memcached("lru_crawler metadump all\r\n", "END\r\n");
    let listed = list.lines().filter_map(|line| line.strip_prefix("key=")?.split(' ').next());
    // keys are written as in URLs
    let listed = listed.map(|key| key.replace("%3A", ":").replace("%2F", "/"));
    let keys: BTreeSet<String> =
        listed.filter(|k| k.starts_with("medley:") && k != "medley:owner").chain(known.into_iter().cloned()).collect();
    let value = |key: String| {
        let mut value: Value = serde_json::from_str(&server.value(&key)?).unwrap();
        let object = value.as_object_mut().unwrap();
        assert_eq!(object.remove("managedBy").unwrap(), "medley.health");
        assert!(object.remove("lease").is_some() && object.remove("epoch").is_some());
        Some((key, value))
    };
    keys.into_iter().filter_map(value).collect()
}
