//! All objects of one kind as last seen, own writes included.
//!
//! Read your own writes: what a write answers goes into the cache at once, by resource version (comparable numbers since
//! Kubernetes 1.35). A watch that lags behind cannot bring back an older version, and a relist cannot lose a newer one.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use kube::{Resource, ResourceExt};
use tokio::sync::watch;

use crate::core::name::Key;

/// An object of a kind that is cached.
pub trait Object: Resource<DynamicType = ()> + Clone + Send + Sync + 'static {}
impl<K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static> Object for K {}

/// All objects of one kind.
#[derive(Debug)]
pub struct Cache<K> {
    inner: RwLock<Inner<K>>,
    ready: watch::Sender<bool>,
}

#[derive(Debug)]
struct Inner<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// Objects of lists that are under way, by scope.
    listing: HashMap<Scope, BTreeMap<Key, Arc<K>>>,
    /// The highest resource version in each list that is under way.
    newest: HashMap<Scope, u64>,
    /// Scopes that are watched and whose first list has not been read.
    awaited: HashSet<Scope>,
    /// Own writes that no watch event has confirmed: their resource versions.
    unconfirmed: HashMap<Key, u64>,
    /// The highest resource version that a watch has brought, by namespace.
    seen: HashMap<String, u64>,
}

impl<K> Inner<K> {
    fn saw(&mut self, key: &Key, version: u64) {
        let seen = self.seen.entry(key.namespace.clone()).or_insert(0);
        *seen = version.max(*seen);
    }
}

/// What one watch covers: one namespace, or all when `None`.
pub type Scope = Option<String>;

fn covers(scope: &Scope, key: &Key) -> bool {
    scope.as_ref().is_none_or(|namespace| *namespace == key.namespace)
}

/// What an event changed.
#[derive(Clone, Debug)]
pub struct Change<K> {
    /// The object before, if there was one.
    pub before: Option<Arc<K>>,
    /// The object now; `None` when it is gone.
    pub after: Option<Arc<K>>,
}

/// Key of an object.
#[must_use]
pub fn key<K: Resource>(object: &K) -> Key {
    Key::new(object.meta().namespace.clone().unwrap_or_default(), object.meta().name.clone().unwrap_or_default())
}

/// Resource version as a number; 0 when there is none.
#[must_use]
pub fn version<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0)
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        let inner = Inner {
            objects: BTreeMap::new(),
            listing: HashMap::new(),
            newest: HashMap::new(),
            awaited: HashSet::new(),
            unconfirmed: HashMap::new(),
            seen: HashMap::new(),
        };
        Self { inner: RwLock::new(inner), ready: watch::Sender::new(false) }
    }
}

impl<K: Object> Cache<K> {
    fn read<T>(&self, f: impl FnOnce(&Inner<K>) -> T) -> T {
        // a panic while the lock was held leaves whole values behind: each change is one insertion or removal
        f(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, f: impl FnOnce(&mut Inner<K>) -> T) -> T {
        f(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// One object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.read(|i| i.objects.get(key).cloned())
    }

    /// All objects of a namespace.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let from = Key::new(namespace, "");
        self.read(|i| {
            i.objects.range(from..).take_while(|(k, _)| k.namespace == namespace).map(|(_, o)| o.clone()).collect()
        })
    }

    /// All objects.
    #[must_use]
    pub fn all(&self) -> BTreeMap<Key, Arc<K>> {
        self.read(|i| i.objects.clone())
    }

    /// All keys.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.read(|i| i.objects.keys().cloned().collect())
    }

    /// How many objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read(|i| i.objects.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for the first complete list.
    pub async fn wait_ready(&self) {
        let mut ready = self.ready.subscribe();
        // the sender lives as long as self
        let _ = ready.wait_for(|r| *r).await;
    }

    /// Whether the first complete list has been read.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Takes in what an own write or a live read answered.
    pub fn wrote(&self, object: K) {
        let (key, version) = (key(&object), version(&object));
        self.write(|i| {
            let newer = match i.objects.get(&key) {
                Some(present) => self::version(present.as_ref()) < version,
                // not there although the watch is further on: deleted since
                None => i.seen.get(&key.namespace).is_none_or(|&seen| seen < version),
            };
            if newer {
                i.objects.insert(key.clone(), Arc::new(object));
                i.unconfirmed.insert(key, version);
            }
        });
    }

    /// Takes out an object that a live read did not find.
    pub fn gone(&self, key: &Key) {
        self.write(|i| {
            i.objects.remove(key);
            i.unconfirmed.remove(key);
        });
    }

    /// A watch event: the object is there.
    pub fn applied(&self, object: K) -> Option<Change<K>> {
        let (key, version) = (key(&object), version(&object));
        self.write(|i| {
            i.saw(&key, version);
            if i.unconfirmed.get(&key).is_some_and(|&v| v <= version) {
                i.unconfirmed.remove(&key);
            }
            let before = i.objects.get(&key).cloned();
            if before.as_ref().is_some_and(|b| self::version(b.as_ref()) > version) {
                return None;
            }
            let after = Arc::new(object);
            i.objects.insert(key, after.clone());
            Some(Change { before, after: Some(after) })
        })
    }

    /// A watch event: the object is gone.
    pub fn deleted(&self, object: &K) -> Option<Change<K>> {
        let (key, version) = (key(object), version(object));
        self.write(|i| {
            i.saw(&key, version);
            let present = i.objects.get(&key)?;
            // an object of the same name may have been made since
            if present.uid() != object.uid() && self::version(present.as_ref()) > version {
                return None;
            }
            i.unconfirmed.remove(&key);
            let before = i.objects.remove(&key);
            Some(Change { before, after: None })
        })
    }

    /// A watch of this scope will fill the cache: it is not ready before that watch's first list.
    pub fn expect(&self, scope: &Scope) {
        self.write(|i| i.awaited.insert(scope.clone()));
    }

    /// A list begins.
    pub fn list_begins(&self, scope: &Scope) {
        self.write(|i| {
            i.newest.insert(scope.clone(), 0);
            i.listing.insert(scope.clone(), BTreeMap::new());
        });
    }

    /// One object of the list.
    pub fn listed(&self, scope: &Scope, object: K) {
        self.write(|i| {
            let key = key(&object);
            i.saw(&key, version(&object));
            let highest = i.newest.entry(scope.clone()).or_insert(0);
            *highest = version(&object).max(*highest);
            let newest = match i.objects.get(&key) {
                Some(present) if version(present.as_ref()) > version(&object) => present.clone(),
                _ => Arc::new(object),
            };
            if let Some(listing) = i.listing.get_mut(scope) {
                listing.insert(key, newest);
            }
        });
    }

    /// The list is complete. Objects that it does not hold and that are newer than all that it holds are deleted, or the
    /// list is older than they are (own writes; a server that lags): they stay, and their keys are given back for a live read.
    pub fn list_ends(&self, scope: &Scope) -> Vec<Key> {
        let (doubtful, complete) = self.write(|i| {
            let mut fresh = i.listing.remove(scope).unwrap_or_default();
            let mut doubtful = Vec::new();
            let newest = i.newest.remove(scope).unwrap_or(0);
            for (key, known) in i.objects.iter().filter(|(k, _)| covers(scope, k)) {
                let newer = version(known.as_ref()) > newest;
                if !fresh.contains_key(key) && (newer || i.unconfirmed.contains_key(key)) {
                    fresh.insert(key.clone(), known.clone());
                    doubtful.push(key.clone());
                }
            }
            i.objects.retain(|k, _| !covers(scope, k));
            i.objects.extend(fresh);
            i.unconfirmed.retain(|k, _| !covers(scope, k) || doubtful.contains(k));
            i.awaited.remove(scope);
            (doubtful, i.awaited.is_empty())
        });
        if complete {
            self.ready.send_replace(true);
        }
        doubtful
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn object(name: &str, uid: &str, version: u64) -> ConfigMap {
        serde_json::from_value(
            json!({"metadata": {"namespace": "n", "name": name, "uid": uid, "resourceVersion": version.to_string()}}),
        )
        .unwrap()
    }

    fn held(cache: &Cache<ConfigMap>, name: &str) -> Option<u64> {
        cache.get(&Key::new("n", name)).map(|o| version(o.as_ref()))
    }

    #[test]
    fn a_late_event_does_not_bring_back_an_older_version() {
        let cache = Cache::default();
        cache.applied(object("a", "1", 10));
        cache.wrote(object("a", "1", 20));
        assert!(cache.applied(object("a", "1", 15)).is_none());
        assert_eq!(held(&cache, "a"), Some(20));
    }

    #[test]
    fn a_write_after_its_own_deletion_event_does_not_revive_the_object() {
        let cache = Cache::default();
        cache.applied(object("a", "1", 10));
        cache.deleted(&object("a", "1", 30));
        cache.wrote(object("a", "1", 20));
        assert_eq!(held(&cache, "a"), None);
    }

    #[test]
    fn a_relist_keeps_newer_own_writes_and_asks_about_them() {
        let cache = Cache::default();
        cache.list_begins(&None);
        cache.list_ends(&None);
        cache.wrote(object("mine", "1", 105));
        cache.list_begins(&None);
        cache.listed(&None, object("other", "2", 90));
        assert_eq!(cache.list_ends(&None), [Key::new("n", "mine")]);
        assert_eq!(held(&cache, "mine"), Some(105));
        cache.gone(&Key::new("n", "mine"));
        assert_eq!(held(&cache, "mine"), None);
    }

    #[test]
    fn a_relist_drops_what_is_gone_and_never_goes_back_in_time() {
        let cache = Cache::default();
        cache.applied(object("a", "1", 10));
        cache.applied(object("b", "2", 11));
        cache.wrote(object("b", "2", 20));
        cache.list_begins(&None);
        cache.listed(&None, object("b", "2", 11));
        cache.list_ends(&None);
        assert_eq!((held(&cache, "a"), held(&cache, "b")), (None, Some(20)));
    }

    #[test]
    fn a_namespace_is_read_by_itself() {
        let cache = Cache::default();
        cache.applied(object("a", "1", 1));
        assert_eq!(cache.in_namespace("n").len(), 1);
        assert!(cache.in_namespace("m").is_empty());
        assert!(cache.in_namespace("nn").is_empty());
    }
}
