//! One watch per kind, shared by all loops; each fails and recovers by itself.

use std::{collections::VecDeque, fmt::Debug, sync::Arc};

use futures::{StreamExt, TryStreamExt};
use kube::{
    Api, Client, ResourceExt,
    api::GetParams,
    core::{DeserializeGuard, Request},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{
        cache::{Cache, Change, Kept, Object, Scope},
        waits::WatchWaits,
    },
    core::name::Key,
    telemetry::{self, Metrics},
};

/// Seconds after which a watch is renewed: a connection that died silently is noticed 5 s later.
const WATCH_SECONDS: u32 = 50;
/// So many objects of a list are read at a time. They are whole until they are kept, and the process does not give that room back.
const PAGE: u32 = 100;

/// What a watch needs.
pub struct Watch<K: DeserializeOwned, S> {
    /// How to reach the API server.
    pub client: Client,
    /// What to watch there.
    pub api: Api<DeserializeGuard<K>>,
    /// Where that is: one namespace or all.
    pub scope: Scope,
    /// Only objects with these labels; all when `None`.
    pub labels: Option<&'static str>,
    /// Where objects go.
    pub cache: Arc<Cache<K, S>>,
    /// Drops what nobody reads, before an object is kept.
    pub prune: fn(&mut K),
    /// Counters.
    pub metrics: Metrics,
}

/// Watches until stopped.
pub async fn watch<K, S: Kept<K>>(watch: Watch<K, S>, stop: CancellationToken)
where
    K: Object + DeserializeOwned + Debug,
{
    let kind = K::kind(&()).into_owned();
    let label = telemetry::Kind { kind: kind.clone() };
    // an alert sees a counter grow only if it was there before
    drop(watch.metrics.watch_failures.get_or_create(&label));
    let mut config = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
    if let Some(labels) = watch.labels {
        config = config.labels(labels);
    }
    let mut stream = watcher(watch.api.clone(), config).backoff(WatchWaits::new(&kind)).boxed();
    let mut malformed = std::collections::BTreeSet::<Key>::new();
    let mut listed_malformed = std::collections::BTreeSet::<Key>::new();
    let mut doubts = Doubts::new(&kind);
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = stream.try_next() => event,
            () = sleep_until(doubts.next), if !doubts.keys.is_empty() => {
                doubts.settle(&watch).await;
                continue;
            }
        };
        match event {
            Ok(Some(Event::Init)) => {
                watch.cache.list_begins(&watch.scope);
                listed_malformed.clear();
            }
            Ok(Some(Event::InitApply(guard))) => {
                if guard.0.is_err() {
                    listed_malformed.insert(super::cache::key(&guard));
                }
                if let Some(object) = readable(guard, &kind, &mut malformed, watch.prune) {
                    watch.cache.listed(&watch.scope, object);
                }
            }
            Ok(Some(Event::InitDone)) => {
                malformed.retain(|key| listed_malformed.contains(key));
                let mut before = watch.cache.all();
                doubts = Doubts::new(&kind);
                doubts.keys.extend(watch.cache.list_ends(&watch.scope));
                doubts.settle(&watch).await;
                for (key, after) in watch.cache.all() {
                    watch.cache.tell(&Change::of(&key, before.remove(&key).as_ref(), Some(&after), false));
                }
                // what was deleted while the watch was away
                for (key, gone) in before {
                    watch.cache.tell(&Change::of(&key, Some(&gone), None, false));
                }
            }
            Ok(Some(Event::Apply(guard))) => {
                if let Some(change) =
                    readable(guard, &kind, &mut malformed, watch.prune).and_then(|object| watch.cache.applied(object))
                {
                    watch.cache.tell(&change);
                }
            }
            Ok(Some(Event::Delete(guard))) => {
                malformed.remove(&super::cache::key(&guard));
                if let Ok(object) = guard.0
                    && let Some(change) = watch.cache.deleted(&object)
                {
                    watch.cache.tell(&change);
                }
            }
            Ok(None) => return,
            Err(error) => {
                watch.metrics.watch_failures.get_or_create(&label).inc();
                tracing::warn!(kind, error = %error, "watch failed; trying again");
            }
        }
        watch.metrics.malformed.get_or_create(&label).set(i64::try_from(malformed.len()).unwrap_or(i64::MAX));
        watch.metrics.cached.get_or_create(&label).set(i64::try_from(watch.cache.len()).unwrap_or(i64::MAX));
    }
}

/// The object, if it can be read; otherwise it is named in the log once, and the others go on.
fn readable<K: Object>(
    guard: DeserializeGuard<K>,
    kind: &str,
    malformed: &mut std::collections::BTreeSet<Key>,
    prune: fn(&mut K),
) -> Option<K> {
    match guard.0 {
        Ok(mut object) => {
            malformed.remove(&super::cache::key(&object));
            object.managed_fields_mut().clear();
            object.annotations_mut().remove("kubectl.kubernetes.io/last-applied-configuration");
            prune(&mut object);
            Some(object)
        }
        Err(invalid) => {
            let key = Key::new(
                invalid.metadata.namespace.clone().unwrap_or_default(),
                invalid.metadata.name.clone().unwrap_or_default(),
            );
            if malformed.insert(key.clone()) {
                tracing::error!(kind, object = %key, error = %invalid.error, "this object cannot be read and is left alone; correct or delete it");
            }
            None
        }
    }
}

/// Objects that a list did not hold and that may be newer than it: each is read by itself. No event need ever come for one that has
/// gone, so what is not answered is asked for again.
struct Doubts {
    keys: VecDeque<Key>,
    waits: WatchWaits,
    next: Instant,
}

impl Doubts {
    fn new(kind: &str) -> Self {
        Self { keys: VecDeque::new(), waits: WatchWaits::new(kind), next: Instant::now() }
    }

    /// Reads one after the other until an answer fails to come: then the others would hardly get one either, and events wait meanwhile.
    async fn settle<K, S: Kept<K>>(&mut self, watch: &Watch<K, S>)
    where
        K: Object + DeserializeOwned + Debug,
    {
        while let Some(key) = self.keys.pop_front() {
            if !reread(watch, &key).await {
                self.keys.push_back(key);
                self.next = Instant::now() + self.waits.next().unwrap_or_default();
                return;
            }
        }
    }
}

/// Whether an answer came.
async fn reread<K, S: Kept<K>>(watch: &Watch<K, S>, key: &Key) -> bool
where
    K: Object + DeserializeOwned + Debug,
{
    let answer = tokio::time::timeout(std::time::Duration::from_secs(5), get::<K>(&watch.client, key)).await;
    match answer {
        Ok(Ok(Some(mut object))) => {
            object.managed_fields_mut().clear();
            (watch.prune)(&mut object);
            watch.cache.wrote(object);
        }
        Ok(Ok(None)) => watch.cache.gone(key),
        Ok(Err(_)) | Err(_) => return false,
    }
    true
}

/// One object, of a namespace or of the cluster, as the API server has it.
pub(super) async fn get<K: Object + DeserializeOwned + Debug>(client: &Client, key: &Key) -> kube::Result<Option<K>> {
    let namespace = Some(key.namespace.as_str()).filter(|n| !n.is_empty());
    let request = Request::new(K::url_path(&(), namespace)).get(&key.name, &GetParams::default());
    match client.request::<K>(request.map_err(kube::Error::BuildRequest)?).await {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}
