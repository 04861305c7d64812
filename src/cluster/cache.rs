//! All objects of one kind as last seen, own writes included.
//!
//! Read your own writes: what a write answers goes into the cache at once, by resource version (comparable numbers since
//! Kubernetes 1.35). A watch that lags behind cannot bring back an older version, and a relist cannot lose a newer one.
//!
//! A change is told once, when it is known first: by the answer of an own write, or by the watch, whose event of that write then
//! tells nothing new.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::{self, Debug, Formatter},
    sync::{Arc, PoisonError, RwLock},
};

use kube::{Resource, ResourceExt};
use tokio::sync::watch;

use crate::core::name::Key;

/// An object of a kind that is cached.
pub trait Object: Resource<DynamicType = ()> + Clone + Send + Sync + 'static {}
impl<K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static> Object for K {}

/// The form in which objects of a kind are kept: whole, or as little as is read where there are many of them.
pub trait Kept<K>: Clone + Send + Sync + 'static {
    /// What is kept of an object.
    fn of(object: K) -> Self;

    /// The object of this key, as far as it is kept.
    fn whole(&self, key: &Key) -> Arc<K>;

    /// Its resource version.
    fn version(&self) -> u64;
}

impl<K: Object> Kept<K> for Arc<K> {
    fn of(object: K) -> Self {
        Self::new(object)
    }

    fn whole(&self, _: &Key) -> Self {
        Self::clone(self)
    }

    fn version(&self) -> u64 {
        version(self.as_ref())
    }
}

/// All objects of one kind, each in the form `S`.
pub struct Cache<K, S = Arc<K>> {
    inner: RwLock<Inner<S>>,
    ready: watch::Sender<bool>,
    group_of: GroupOf<S>,
    changed: RwLock<Option<Changed<K>>>,
}

impl<K, S> Debug for Cache<K, S> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

/// Told of every change; must not block.
pub type Changed<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// Objects by key; the same object has the same key in each of these, so that its text is there once.
pub type Objects<S> = BTreeMap<Arc<Key>, S>;

#[derive(Debug)]
struct Inner<S> {
    objects: Objects<S>,
    /// The objects of each group of a namespace.
    groups: HashMap<Key, Objects<S>>,
    /// Objects of lists that are under way, by scope.
    listing: HashMap<Scope, Objects<S>>,
    /// The highest resource version in each list that is under way.
    newest: HashMap<Scope, u64>,
    /// Scopes that are watched and whose first list has not been read.
    awaited: HashSet<Scope>,
    /// Own writes that no watch event has confirmed: their resource versions.
    unconfirmed: HashMap<Key, u64>,
    /// The highest resource version that a watch has brought, by namespace.
    seen: HashMap<String, u64>,
}

/// How a cache's objects are grouped.
type GroupOf<S> = Option<fn(&S) -> Option<String>>;

impl<S: Clone> Inner<S> {
    fn put(&mut self, key: Arc<Key>, object: S, group_of: GroupOf<S>) -> Option<S> {
        let known = self.objects.get_key_value(&key).map(|(known, _)| Arc::clone(known));
        let key = known.unwrap_or(key);
        let before = self.take(&key, group_of);
        if let Some(group) = group_of.and_then(|g| g(&object)) {
            let place = Key::new(&key.namespace, group);
            self.groups.entry(place).or_default().insert(Arc::clone(&key), object.clone());
        }
        self.objects.insert(key, object);
        before
    }

    fn take(&mut self, key: &Key, group_of: GroupOf<S>) -> Option<S> {
        let before = self.objects.remove(key)?;
        if let Some(group) = group_of.and_then(|g| g(&before)) {
            let place = Key::new(&key.namespace, group);
            if let Some(members) = self.groups.get_mut(&place) {
                members.remove(key);
                if members.is_empty() {
                    self.groups.remove(&place);
                }
            }
        }
        Some(before)
    }

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
    /// This process made it, or read it by itself.
    pub by_us: bool,
}

impl<K> Change<K> {
    /// The change of the object of this key, each side as far as it is kept.
    pub fn of<S: Kept<K>>(key: &Key, before: Option<&S>, after: Option<&S>, by_us: bool) -> Self {
        Self { before: before.map(|o| o.whole(key)), after: after.map(|o| o.whole(key)), by_us }
    }
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

impl<K, S> Default for Cache<K, S> {
    fn default() -> Self {
        let inner = Inner {
            objects: BTreeMap::new(),
            groups: HashMap::new(),
            listing: HashMap::new(),
            newest: HashMap::new(),
            awaited: HashSet::new(),
            unconfirmed: HashMap::new(),
            seen: HashMap::new(),
        };
        Self { inner: RwLock::new(inner), ready: watch::Sender::new(false), group_of: None, changed: RwLock::default() }
    }
}

impl<K: Object, S: Kept<K>> Cache<K, S> {
    /// An empty cache whose objects can be asked for by group; an object may be in none.
    #[must_use]
    pub fn grouped(group_of: fn(&S) -> Option<String>) -> Self {
        Self { group_of: Some(group_of), ..Self::default() }
    }

    fn read<T>(&self, f: impl FnOnce(&Inner<S>) -> T) -> T {
        // a panic while the lock was held leaves whole values behind: each change is one insertion or removal
        f(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, f: impl FnOnce(&mut Inner<S>) -> T) -> T {
        f(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// One object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.read(|i| i.objects.get(key).cloned()).map(|object| object.whole(key))
    }

    /// All objects of a namespace, as they are kept.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Vec<S> {
        let from = Key::new(namespace, "");
        self.read(|i| {
            i.objects.range(from..).take_while(|(k, _)| k.namespace == namespace).map(|(_, o)| o.clone()).collect()
        })
    }

    /// The objects of a group of a namespace, by name and as they are kept.
    #[must_use]
    pub fn in_group(&self, namespace: &str, group: &str) -> Vec<(Arc<Key>, S)> {
        let place = Key::new(namespace, group);
        self.read(|i| i.groups.get(&place).into_iter().flatten().map(|(k, o)| (Arc::clone(k), o.clone())).collect())
    }

    /// All objects, as they are kept.
    #[must_use]
    pub fn all(&self) -> Objects<S> {
        self.read(|i| i.objects.clone())
    }

    /// All keys.
    #[must_use]
    pub fn keys(&self) -> Vec<Arc<Key>> {
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

    /// Who is told of every change from now on; `None` for nobody.
    pub fn on_change(&self, changed: Option<Changed<K>>) {
        *self.changed.write().unwrap_or_else(PoisonError::into_inner) = changed;
    }

    /// Tells of a change.
    pub fn tell(&self, change: &Change<K>) {
        if let Some(changed) = self.changed.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            changed(change);
        }
    }

    /// Takes in what an own write or a live read answered; false when the object has gone since.
    pub fn wrote(&self, object: K) -> bool {
        let (key, version) = (Arc::new(key(&object)), version(&object));
        let after = S::of(object);
        let (there, news) = self.write(|i| {
            let (there, newer) = match i.objects.get(&key) {
                Some(present) => (true, present.version() < version),
                // not there although the watch is further on: deleted since
                None => {
                    let there = i.seen.get(&key.namespace).is_none_or(|&seen| seen < version);
                    (there, there)
                }
            };
            let news = newer.then(|| {
                i.unconfirmed.insert(Key::clone(&key), version);
                i.put(Arc::clone(&key), after.clone(), self.group_of)
            });
            (there, news)
        });
        if let Some(before) = news {
            self.tell(&Change::of(&key, before.as_ref(), Some(&after), true));
        }
        there
    }

    /// Takes out an object that a live read did not find.
    pub fn gone(&self, key: &Key) {
        let before = self.write(|i| {
            i.unconfirmed.remove(key);
            i.take(key, self.group_of)
        });
        if before.is_some() {
            self.tell(&Change::of(key, before.as_ref(), None, true));
        }
    }

    /// A watch event: the object is there.
    pub fn applied(&self, object: K) -> Option<Change<K>> {
        let (key, version) = (Arc::new(key(&object)), version(&object));
        let after = S::of(object);
        let before = self.write(|i| {
            i.saw(&key, version);
            if i.unconfirmed.get(key.as_ref()).is_some_and(|&v| v <= version) {
                i.unconfirmed.remove(key.as_ref());
            }
            let known = i.objects.get(&key).map(S::version);
            if known.is_some_and(|known| known >= version) {
                return None;
            }
            Some(i.put(Arc::clone(&key), after.clone(), self.group_of))
        })?;
        Some(Change::of(&key, before.as_ref(), Some(&after), false))
    }

    /// A watch event: the object is gone.
    pub fn deleted(&self, object: &K) -> Option<Change<K>> {
        let (key, version) = (key(object), version(object));
        let before = self.write(|i| {
            i.saw(&key, version);
            let present = i.objects.get(&key)?;
            // an object of the same name may have been made since
            if present.version() > version && present.whole(&key).uid() != object.uid() {
                return None;
            }
            i.unconfirmed.remove(&key);
            i.take(&key, self.group_of)
        })?;
        Some(Change::of(&key, Some(&before), None, false))
    }

    /// Nothing will fill the cache: it stays empty, and is ready.
    pub fn leave_empty(&self) {
        self.ready.send_replace(true);
    }

    /// A watch of this scope will fill the cache: it is not ready before that watch's first list.
    pub fn expect(&self, scope: &Scope) {
        self.write(|i| i.awaited.insert(scope.clone()));
    }

    /// A list begins.
    pub fn list_begins(&self, scope: &Scope) {
        self.write(|i| {
            i.newest.insert(scope.clone(), 0);
            i.listing.insert(scope.clone(), Objects::new());
        });
    }

    /// One object of the list.
    pub fn listed(&self, scope: &Scope, object: K) {
        let (key, version) = (key(&object), version(&object));
        let object = S::of(object);
        self.write(|i| {
            i.saw(&key, version);
            let highest = i.newest.entry(scope.clone()).or_insert(0);
            *highest = version.max(*highest);
            let (key, newest) = match i.objects.get_key_value(&key) {
                Some((known, present)) if present.version() >= version => (Arc::clone(known), present.clone()),
                Some((known, _)) => (Arc::clone(known), object),
                None => (Arc::new(key), object),
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
            let fresh = i.listing.remove(scope).unwrap_or_default();
            let newest = i.newest.remove(scope).unwrap_or(0);
            let (mut doubtful, mut old) = (Vec::new(), Vec::new());
            for (key, known) in i.objects.iter().filter(|(k, _)| covers(scope, k) && !fresh.contains_key(*k)) {
                let stays = known.version() > newest || i.unconfirmed.contains_key(key.as_ref());
                let list = if stays { &mut doubtful } else { &mut old };
                list.push(Key::clone(key));
            }
            for key in old {
                i.take(&key, self.group_of);
            }
            for (key, object) in fresh {
                // what was written while the list was under way is newer than what it shows
                if i.objects.get(&key).is_none_or(|known| known.version() < object.version()) {
                    i.put(key, object, self.group_of);
                }
            }
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
#[path = "cache_tests.rs"]
mod tests;
