//! One watch per kind, shared by all loops; each fails and recovers by itself.

use std::{fmt::Debug, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::cache::{Cache, Change, Kept, Object, Scope},
    core::name::{Key, chance},
    telemetry::{self, Metrics},
};

/// Seconds after which a watch is renewed: a connection that died silently is noticed 5 s later.
const WATCH_SECONDS: u32 = 50;
/// So many objects of a list are read at a time. They are whole until they are kept, and the process does not give that room back.
const PAGE: u32 = 100;
/// Wait after the first failure.
const FIRST: Duration = Duration::from_millis(200);
/// Longest wait after a failure: what is not watched is not known.
const LONGEST: Duration = Duration::from_secs(10);
/// A watch that held out for so long fails for the first time again.
const HELD_OUT: Duration = Duration::from_secs(30);

/// What a watch needs.
pub struct Watch<K, S> {
    /// How to reach the API server.
    pub client: Client,
    /// Where to watch: one namespace or all.
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
    K: Object + Resource<Scope = NamespaceResourceScope> + DeserializeOwned + Debug,
{
    let kind = K::kind(&()).into_owned();
    let label = telemetry::Kind { kind: kind.clone() };
    let mut config = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
    if let Some(labels) = watch.labels {
        config = config.labels(labels);
    }
    let api: Api<DeserializeGuard<K>> = match &watch.scope {
        Some(namespace) => Api::namespaced(watch.client.clone(), namespace),
        None => Api::all(watch.client.clone()),
    };
    let mut stream = watcher(api, config).backoff(Waits::new(&kind)).boxed();
    let mut malformed = std::collections::BTreeSet::<Key>::new();
    let mut listed_malformed = std::collections::BTreeSet::<Key>::new();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = stream.try_next() => event,
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
                for key in watch.cache.list_ends(&watch.scope) {
                    reread(&watch, &key).await;
                }
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

/// How long a watch waits after each failure. A list that succeeds before the next failure is no reason to hurry: a watch that breaks
/// each time would read everything again and again.
struct Waits {
    kind: String,
    failures: u32,
    last: Option<Instant>,
}

impl Waits {
    fn new(kind: &str) -> Self {
        Self { kind: kind.to_owned(), failures: 0, last: None }
    }
}

impl Iterator for Waits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        if self.last.is_some_and(|at| now.duration_since(at) > HELD_OUT) {
            self.failures = 0;
        }
        let wait = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        // spread over the upper half, so that the watches that a server has dropped do not come back together
        let wait = wait.mul_f64(0.5 + 0.5 * chance(&[&self.kind, &self.failures.to_string()]));
        self.last = Some(now + wait);
        Some(wait)
    }
}

impl Backoff for Waits {
    fn reset(&mut self) {}
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

async fn reread<K, S: Kept<K>>(watch: &Watch<K, S>, key: &Key)
where
    K: Object + Resource<Scope = NamespaceResourceScope> + DeserializeOwned + Debug,
{
    let live: Api<K> = Api::namespaced(watch.client.clone(), &key.namespace);
    let answer = tokio::time::timeout(std::time::Duration::from_secs(5), live.get_opt(&key.name)).await;
    match answer {
        Ok(Ok(Some(mut object))) => {
            object.managed_fields_mut().clear();
            (watch.prune)(&mut object);
            watch.cache.wrote(object);
        }
        Ok(Ok(None)) => watch.cache.gone(key),
        // not known: it stays, and the next event or list tells
        Ok(Err(_)) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_watch_waits_longer_with_each_failure_until_it_has_held_out() {
        let mut waits = Waits::new("Pod");
        let first: Vec<Duration> = (0..12)
            .map(|_| {
                waits.reset();
                waits.next().unwrap()
            })
            .collect();
        assert!(first[0] <= FIRST && first[11] > LONGEST / 2, "{first:?}");
        assert!(first.iter().all(|w| *w >= FIRST / 2 && *w <= LONGEST));
        assert_ne!(Waits::new("Job").next(), Waits::new("Pod").next());
        tokio::time::advance(LONGEST + HELD_OUT + Duration::from_secs(1)).await;
        assert!(waits.next().unwrap() <= FIRST);
    }
}
