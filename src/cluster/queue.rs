//! Which objects are to be looked at, and when: each once at a time, failing ones later and later, each by itself.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{
    cluster::waits::{doubled, spread},
    core::name::Key,
};

/// Wait after the first failure.
const FIRST: Duration = Duration::from_millis(100);
/// An empty queue keeps room for so many keys: a term begins with those of all objects.
const EMPTY: usize = 64;
/// Longest wait after a failure.
const LONGEST: Duration = Duration::from_secs(60);

/// A queue of keys, ordered by when they are due.
#[derive(Debug, Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// Nobody takes anything: nothing is added.
    closed: bool,
    due: BTreeSet<(Instant, Arc<Key>)>,
    at: HashMap<Arc<Key>, Instant>,
    busy: HashSet<Arc<Key>>,
    /// Keys that were added while they were being looked at: the earliest time.
    again: HashMap<Arc<Key>, Instant>,
    failures: HashMap<Arc<Key>, u32>,
}

/// How a look at an object ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Well; the next look is at this time, or when something happens.
    Done(Option<Instant>),
    /// The object has changed meanwhile: look again now, and with growing waits while that goes on.
    Again,
    /// It failed: look again after a wait that grows with each failure in a row.
    Failed,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Look at this object now. A failing object is not looked at before its wait is over, unless `fresh` says that
    /// its own spec has changed.
    pub fn add(&self, key: impl Into<Arc<Key>>, fresh: bool) {
        let key = key.into();
        if fresh {
            self.lock().failures.remove(&key);
        }
        self.add_within(key, Duration::ZERO);
    }

    /// Look at this object when this time has passed: whatever else happens meanwhile is looked at with it.
    pub fn add_within(&self, key: impl Into<Arc<Key>>, wait: Duration) {
        let key = key.into();
        let mut inner = self.lock();
        if inner.closed {
            return;
        }
        if inner.failures.contains_key(&key) && inner.at.contains_key(&key) {
            return;
        }
        inner.schedule(key, Instant::now() + wait);
        drop(inner);
        self.changed.notify_one();
    }

    /// Look once more at this object if it is being looked at now: what that look does not know of may concern it.
    pub fn again(&self, key: &Key) {
        let mut inner = self.lock();
        if let Some(key) = inner.busy.get(key).cloned() {
            inner.schedule(key, Instant::now());
        }
    }

    /// The next object that is due. It is not given again before [`Queue::done`].
    pub async fn next(&self) -> Arc<Key> {
        loop {
            let wait = {
                let mut inner = self.lock();
                let now = Instant::now();
                match inner.due.first().cloned() {
                    Some((at, key)) if at <= now => {
                        inner.due.pop_first();
                        inner.at.remove(&key);
                        if inner.at.is_empty() {
                            inner.at.shrink_to(EMPTY);
                        }
                        inner.busy.insert(Arc::clone(&key));
                        let more = inner.due.first().is_some_and(|(at, _)| *at <= now);
                        drop(inner);
                        if more {
                            self.changed.notify_one();
                        }
                        return key;
                    }
                    Some((at, _)) => Some(at),
                    None => None,
                }
            };
            match wait {
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = self.changed.notified() => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    /// An object has been looked at.
    pub fn done(&self, key: Arc<Key>, verdict: Verdict) {
        let mut inner = self.lock();
        inner.busy.remove(&key);
        let again = inner.again.remove(&key);
        match verdict {
            Verdict::Done(wake) => {
                inner.failures.remove(&key);
                if let Some(at) = again.into_iter().chain(wake).min() {
                    inner.schedule(key, at);
                }
            }
            Verdict::Again | Verdict::Failed => {
                let failures = inner.failures.entry(Arc::clone(&key)).or_insert(0);
                *failures += 1;
                // a conflict is looked at again at once, but one that does not go away must not spin
                let step = if verdict == Verdict::Again { failures.saturating_sub(2) } else { *failures - 1 };
                let wait = doubled(FIRST, step, LONGEST);
                let wait = if verdict == Verdict::Again && *failures == 1 { Duration::ZERO } else { wait };
                let wait = spread(wait, &[&key.namespace, &key.name, &failures.to_string()]);
                let at = Instant::now() + wait;
                inner.schedule(key, at);
            }
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Begins to take in what is added.
    pub fn open(&self) {
        self.lock().closed = false;
    }

    /// Forgets everything, and what is added from now on: nobody takes it.
    pub fn close(&self) {
        *self.lock() = Inner { closed: true, ..Inner::default() };
    }
}

impl Inner {
    /// The earlier of two times wins.
    fn schedule(&mut self, key: Arc<Key>, at: Instant) {
        if self.busy.contains(&key) {
            let earliest = self.again.get(&key).map_or(at, |&a| a.min(at));
            self.again.insert(key, earliest);
            return;
        }
        match self.at.get(&key) {
            Some(&present) if present <= at => {}
            present => {
                if let Some(&present) = present {
                    self.due.remove(&(present, Arc::clone(&key)));
                }
                self.at.insert(Arc::clone(&key), at);
                self.due.insert((at, key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Arc<Key> {
        Arc::new(Key::new("n", name))
    }

    #[tokio::test(start_paused = true)]
    async fn one_object_is_looked_at_once_at_a_time() {
        let queue = Queue::default();
        queue.add(key("a"), false);
        queue.add(key("a"), false);
        assert_eq!(queue.next().await, key("a"));
        queue.add(key("a"), false);
        assert!(tokio::time::timeout(Duration::from_secs(1), queue.next()).await.is_err());
        queue.done(key("a"), Verdict::Done(None));
        assert_eq!(queue.next().await, key("a"));
        queue.done(key("a"), Verdict::Done(None));
        assert!(tokio::time::timeout(Duration::from_secs(3600), queue.next()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_object_that_is_being_looked_at_is_looked_at_again() {
        let queue = Queue::default();
        queue.add(key("a"), false);
        let a = queue.next().await;
        queue.again(&a);
        queue.again(&key("b"));
        queue.done(a, Verdict::Done(None));
        assert_eq!(queue.next().await, key("a"));
        queue.done(key("a"), Verdict::Done(None));
        assert!(tokio::time::timeout(Duration::from_secs(3600), queue.next()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_object_waits_alone_and_longer_each_time() {
        let queue = Queue::default();
        let mut waits = Vec::new();
        queue.add(key("bad"), false);
        for _ in 0..12 {
            let start = Instant::now();
            assert_eq!(queue.next().await, key("bad"));
            waits.push(start.elapsed());
            queue.done(key("bad"), Verdict::Failed);
            queue.add(key("good"), false);
            let start = Instant::now();
            assert_eq!(queue.next().await, key("good"));
            assert_eq!(start.elapsed(), Duration::ZERO);
            queue.done(key("good"), Verdict::Done(None));
        }
        assert!(waits[11] > Duration::from_secs(29) && waits[11] <= LONGEST, "{waits:?}");
        queue.add(key("bad"), true);
        let start = Instant::now();
        queue.next().await;
        assert_eq!(start.elapsed(), Duration::ZERO, "a new spec is looked at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wake_up_comes_at_its_time() {
        let queue = Queue::default();
        queue.add(key("a"), false);
        queue.next().await;
        let at = Instant::now() + Duration::from_secs(90);
        queue.done(key("a"), Verdict::Done(Some(at)));
        queue.next().await;
        assert!(Instant::now() >= at && Instant::now() < at + Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_queue_remembers_nothing() {
        let queue = Queue::default();
        queue.add(key("a"), false);
        queue.close();
        queue.add(key("b"), true);
        queue.open();
        queue.add(key("c"), false);
        assert_eq!(queue.next().await, key("c"));
        assert!(tokio::time::timeout(Duration::from_secs(3600), queue.next()).await.is_err());
    }
}
