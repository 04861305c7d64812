//! Looks up the names of external hosts for as long as this replica leads, again whenever their time to live has passed.
//!
//! A name that several services use is looked up once. The last good addresses stay known while lookups fail.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::core::{
    discovery::{
        address::usable,
        lookup::{Lookup, LookupFailure},
    },
    name::Key,
};

/// Shortest and longest time from one lookup that succeeded to the next.
const TTL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));
/// First and longest time from one lookup that failed to the next.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// Lookups under way at once.
const CONCURRENCY: usize = 32;

/// What the name servers answered for one name, each address family for itself: a server that fails for one must not take
/// away what is known of the other. An empty list means that there is no address of this family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// IPv4 addresses.
    pub v4: Result<Vec<Ipv4Addr>, LookupFailure>,
    /// IPv6 addresses.
    pub v6: Result<Vec<Ipv6Addr>, LookupFailure>,
    /// How long the answer holds.
    pub ttl: Duration,
}

/// How a name is looked up. Tests give answers of their own.
pub trait LookupIo: Send + Sync + 'static {
    /// Looks up a name once, within a bounded time.
    fn lookup(&self, host: &str) -> impl Future<Output = Answer> + Send;
}

/// Who is told that the addresses of a service's hosts changed.
pub type Report = Box<dyn Fn(&Key) + Send + Sync>;

/// The task and what it knows. Shared: the reconciler sets hosts and reads lookups, [`Resolver::run`] looks up.
pub struct Resolver<I> {
    io: I,
    report: Report,
    slots: Semaphore,
    state: Mutex<State>,
    /// Rung when `State::dirty` has something.
    changed: Notify,
}

#[derive(Default)]
struct State {
    services: HashMap<Key, BTreeSet<String>>,
    hosts: HashMap<String, Host>,
    /// Hosts that are new or gone.
    dirty: BTreeSet<String>,
}

#[derive(Default)]
struct Host {
    users: BTreeSet<Key>,
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    lookup: Option<Lookup>,
    /// Lookups that failed in a row.
    failures: u32,
}

impl<I> std::fmt::Debug for Resolver<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("hosts", &self.lock().hosts.len()).finish_non_exhaustive()
    }
}

impl<I> Resolver<I> {
    fn lock(&self) -> MutexGuard<'_, State> {
        // every change under the lock is whole before anything that could panic
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes these the hosts of a service. A new one is looked up at once; one that is known already, from another service, is
    /// reported at once. Setting the same again does nothing.
    pub fn set_hosts(&self, key: &Key, hosts: BTreeSet<String>) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let old = if hosts.is_empty() {
            state.services.remove(key)
        } else {
            state.services.insert(key.clone(), hosts.clone())
        };
        let old = old.unwrap_or_default();
        for gone in old.difference(&hosts) {
            if let Some(host) = state.hosts.get_mut(gone) {
                host.users.remove(key);
                if host.users.is_empty() {
                    state.hosts.remove(gone);
                    state.dirty.insert(gone.clone());
                }
            }
        }
        let mut known = false;
        for new in hosts.difference(&old) {
            let host = state.hosts.entry(new.clone()).or_insert_with(|| {
                state.dirty.insert(new.clone());
                Host::default()
            });
            known |= host.lookup.is_some();
            host.users.insert(key.clone());
        }
        let dirty = !state.dirty.is_empty();
        drop(guard);
        if dirty {
            self.changed.notify_one();
        }
        if known {
            (self.report)(key);
        }
    }

    /// Stops looking up for a service.
    pub fn forget(&self, key: &Key) {
        self.set_hosts(key, BTreeSet::new());
    }

    /// What is known of a service's hosts. A host that has not been looked up yet is absent.
    #[must_use]
    pub fn lookups(&self, key: &Key) -> BTreeMap<String, Lookup> {
        let state = self.lock();
        let hosts = state.services.get(key).into_iter().flatten();
        hosts.filter_map(|host| Some((host.clone(), state.hosts.get(host)?.lookup.clone()?))).collect()
    }

    /// Takes in an answer: who must be told, and when to look again. `None` when nobody asks for this host any more.
    fn observe(&self, name: &str, answer: &Answer) -> Option<(Vec<Key>, Duration)> {
        let mut state = self.lock();
        let host = state.hosts.get_mut(name)?;
        let changed = host.observe(answer);
        let pause = host.pause(answer);
        let tell = if changed { host.users.iter().cloned().collect() } else { Vec::new() };
        Some((tell, pause))
    }
}

impl Host {
    /// Takes in an answer; true when what is known of the host changed.
    fn observe(&mut self, answer: &Answer) -> bool {
        let failed = match sorted(answer) {
            Ok((v4, v6)) => {
                let failed = answer.v4.as_ref().err().or(answer.v6.as_ref().err()).copied();
                if let Some(v4) = v4 {
                    self.v4 = v4;
                }
                if let Some(v6) = v6 {
                    self.v6 = v6;
                }
                // one family that fails is no failure while the other has addresses
                failed.filter(|_| self.v4.is_empty() && self.v6.is_empty())
            }
            Err(failure) => Some(failure),
        };
        self.failures = if failed.is_some() { self.failures.saturating_add(1) } else { 0 };
        let next = Some(Lookup { addresses: self.v4.iter().chain(&self.v6).copied().collect(), failed });
        let changed = self.lookup != next;
        self.lookup = next;
        changed
    }

    /// When to look again.
    fn pause(&self, answer: &Answer) -> Duration {
        let ttl = answer.ttl.clamp(TTL.0, TTL.1);
        if self.failures > 0 {
            return BACKOFF.1.min(BACKOFF.0 * 2_u32.saturating_pow(self.failures - 1));
        }
        // one family failed: its addresses may be out of date for longer than their time to live says
        if answer.v4.is_err() || answer.v6.is_err() { ttl.min(BACKOFF.1) } else { ttl }
    }
}

/// Addresses of each family that answered.
type Families = (Option<Vec<IpAddr>>, Option<Vec<IpAddr>>);

/// The usable addresses of an answer in order; a failure when it has none, so that the last good ones stay.
fn sorted(answer: &Answer) -> Result<Families, LookupFailure> {
    if let (Err(failure), Err(_)) = (&answer.v4, &answer.v6) {
        return Err(*failure);
    }
    let v4: Option<Vec<IpAddr>> = answer.v4.as_ref().ok().map(|l| l.iter().map(|a| IpAddr::V4(*a)).collect());
    let v6: Option<Vec<IpAddr>> = answer.v6.as_ref().ok().map(|l| l.iter().map(|a| IpAddr::V6(*a)).collect());
    let answered = v4.iter().chain(&v6).any(|l| !l.is_empty());
    let clean = |list: Vec<IpAddr>| {
        let mut list: Vec<IpAddr> = list.into_iter().filter_map(usable).collect();
        list.sort();
        list.dedup();
        list
    };
    let (v4, v6) = (v4.map(clean), v6.map(clean));
    if v4.iter().chain(&v6).all(Vec::is_empty) {
        if answered {
            return Err(LookupFailure::UnusableAddress);
        }
        if answer.v4.is_ok() && answer.v6.is_ok() {
            return Err(LookupFailure::NotFound);
        }
    }
    Ok((v4, v6))
}

impl<I: LookupIo> Resolver<I> {
    /// A resolver without hosts. `report` is called from its tasks and must not block.
    #[must_use]
    pub fn new(io: I, report: Report) -> Arc<Self> {
        Arc::new(Self {
            io,
            report,
            slots: Semaphore::new(CONCURRENCY),
            state: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Looks up until `stop`. When it returns, no lookup is under way and nothing is known any more.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let mut running: HashMap<String, CancellationToken> = HashMap::new();
        {
            let mut state = self.lock();
            let hosts: Vec<String> = state.hosts.keys().cloned().collect();
            state.dirty.extend(hosts);
        }
        loop {
            self.follow(&mut running, &tasks, &stop);
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.changed.notified() => {}
            }
        }
        tasks.close();
        tasks.wait().await;
        *self.lock() = State::default();
    }

    /// Starts and stops tasks until each host has one.
    fn follow(
        self: &Arc<Self>,
        running: &mut HashMap<String, CancellationToken>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let dirty: Vec<(String, bool)> = {
            let mut state = self.lock();
            let dirty = std::mem::take(&mut state.dirty);
            dirty.into_iter().map(|host| (host.clone(), state.hosts.contains_key(&host))).collect()
        };
        for (host, wanted) in dirty {
            // a host that went and came back starts anew, as its entry did
            if let Some(task) = running.remove(&host) {
                task.cancel();
            }
            if wanted {
                let token = stop.child_token();
                running.insert(host.clone(), token.clone());
                let resolver = Arc::clone(self);
                tasks.spawn(async move {
                    let _ = token.run_until_cancelled(resolver.watch(host)).await;
                });
            }
        }
    }

    /// Looks up one host, again and again.
    async fn watch(self: Arc<Self>, host: String) {
        loop {
            let answer = {
                // never closed: without a permit the lookup would only be unbounded
                let _slot = self.slots.acquire().await.ok();
                self.io.lookup(&host).await
            };
            let Some((tell, pause)) = self.observe(&host, &answer) else { return };
            for key in &tell {
                (self.report)(key);
            }
            sleep(pause).await;
        }
    }
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
