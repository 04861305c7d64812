//! A Kubernetes API server inside the test process.
//!
//! [`ApiServer::client`] gives a `kube::Client` whose requests never leave the process. Together with tokio's
//! paused clock whole operators run on it deterministically, thousands of virtual hours a minute, while a
//! [fault plan](ApiServer::set_faults) breaks calls and watches at chosen points.
//!
//! It serves lists, watches, creates, replaces, merge and JSON patches, server-side apply, deletes, the status
//! subresource, custom resources with their schemas and CEL rules, and the garbage collector. It runs no other
//! controller: pods stay as they are until a test moves them ([`ApiServer::patch_status`]). What it models is held
//! to the real server by the cases in [`crate::conformance`].
//!
//! Known differences: namespaces need not exist, nothing is authorised, built-in kinds are neither defaulted nor
//! validated beyond their metadata (so unknown fields in them are kept), one version of a kind is served, both groups
//! of `events` are stored apart, there is no strategic merge patch, and of the subresources there is only `status`.

mod admit;
mod apply;
mod builder;
mod clock;
mod define;
mod delete;
mod discovery;
mod error;
mod faults;
mod fields;
mod http;
mod kinds;
mod ledger;
mod list;
mod meta;
mod route;
mod selector;
mod shape;
mod store;
mod tape;
mod typed;
mod watch;
mod write;

pub use builder::Builder;
pub use error::{ApiError, Cause};
pub use faults::{Call, Fault, Hook, WatchEventInfo, WatchFault};
pub use kinds::Definition;
pub use ledger::{Ledger, Record};
pub use tape::{Tape, Version};

use faults::{FaultPlan, WatchPlan};
use http::Connection;
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use store::State;
use write::{Patch, WriteOptions};

/// The server. Clones are the same server.
#[derive(Clone)]
pub struct ApiServer {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer").finish_non_exhaustive()
    }
}

struct Shared {
    state: Mutex<State>,
    ledger: Mutex<Books>,
    faults: Mutex<Option<FaultPlan>>,
    watch_faults: Mutex<Option<WatchPlan>>,
    gc_delay: Duration,
    sweeping: Mutex<bool>,
}

#[derive(Default)]
struct Books {
    calls: u64,
    writes: u64,
    records: Vec<Record>,
}

/// A test that panicked while it held a lock has failed already; what it left is still readable.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    fn fate(&self, call: &Call) -> Fault {
        locked(&self.faults).as_mut().map_or(Fault::None, |plan| plan(call))
    }

    fn watch_fate(&self, event: &WatchEventInfo) -> WatchFault {
        locked(&self.watch_faults).as_mut().map_or(WatchFault::Deliver, |plan| plan(event))
    }

    /// Lets the garbage collector look after its delay, as often as it finds something.
    fn collect_garbage_soon(self: &Arc<Self>) {
        if !self.lock().needs_sweep() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            while self.lock().needs_sweep() {
                self.lock().sweep();
            }
            return;
        };
        if std::mem::replace(&mut *locked(&self.sweeping), true) {
            return;
        }
        let shared = self.clone();
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(shared.gc_delay).await;
                let mut state = shared.lock();
                state.sweep();
                if !state.needs_sweep() {
                    // Under the lock, so that no write finds work and believes this task will do it.
                    *locked(&shared.sweeping) = false;
                    return;
                }
            }
        });
    }
}

impl ApiServer {
    /// A client of the user `test`, default namespace `default`.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.client_as("test")
    }

    /// A client of a named user: fault plan and ledger see the name.
    /// There is no retry layer in it. Must be called within a tokio runtime.
    #[must_use]
    pub fn client_as(&self, user: &str) -> kube::Client {
        kube::Client::new(Connection { shared: self.shared.clone(), user: user.to_owned() }, "default")
    }

    /// Installs a definition, or replaces the one of the same name (for instance by a laxer one).
    ///
    /// # Panics
    /// If it cannot be served; the message says why.
    pub fn install(&self, crd: &CustomResourceDefinition) {
        let name = crd.metadata.name.clone().unwrap_or_default();
        if let Err(why) = self.shared.lock().install(crd) {
            panic!("the definition {name} cannot be served: {why}");
        }
    }

    /// Decides from now on what happens to each call. The plan is asked once a call, in order of arrival, and must
    /// not call the server itself; hooks in the faults it returns may.
    pub fn set_faults(&self, plan: impl FnMut(&Call) -> Fault + Send + 'static) {
        *locked(&self.shared.faults) = Some(Box::new(plan));
    }

    /// Every call works again.
    pub fn clear_faults(&self) {
        *locked(&self.shared.faults) = None;
    }

    /// Decides from now on what happens to each watch event, once for each watch that it goes to.
    pub fn set_watch_faults(&self, plan: impl FnMut(&WatchEventInfo) -> WatchFault + Send + 'static) {
        *locked(&self.shared.watch_faults) = Some(Box::new(plan));
    }

    /// Every watch event arrives again.
    pub fn clear_watch_faults(&self) {
        *locked(&self.shared.watch_faults) = None;
    }

    /// Ends every open watch of a kind in good order, as a server that restarts does. `kind` is a kind or a plural name.
    ///
    /// # Panics
    /// If no such kind is served.
    pub fn cut_watches(&self, kind: &str) {
        self.end_watches(kind, false);
    }

    /// Breaks the connection of every open watch of a kind.
    ///
    /// # Panics
    /// If no such kind is served.
    pub fn reset_watches(&self, kind: &str) {
        self.end_watches(kind, true);
    }

    fn end_watches(&self, kind: &str, reset: bool) {
        let mut state = self.shared.lock();
        let table = Self::named(&state, kind);
        let table = &mut state.tables[table];
        table.cuts += 1;
        table.cut_was_reset = reset;
        table.notify.notify_waiters();
    }

    /// Forgets the history of all kinds: watches and pages from before now get 410 Gone.
    pub fn compact(&self) {
        self.shared.lock().compact();
    }

    /// As [`Self::compact`], after a version of some other kind has passed: now is after all that any watch has told of, and so every
    /// one that begins anew gets 410 Gone.
    pub fn forget_everything(&self) {
        let mut state = self.shared.lock();
        state.rv += 1;
        state.compact();
    }

    /// All calls so far, in order of arrival. [`Ledger`] counts them.
    #[must_use]
    pub fn calls(&self) -> Vec<Record> {
        locked(&self.shared.ledger).records.clone()
    }

    /// Writes that reached the store, events left out.
    #[must_use]
    pub fn writes(&self) -> usize {
        locked(&self.shared.ledger).records.writes()
    }

    /// The version of the last change.
    #[must_use]
    pub fn resource_version(&self) -> u64 {
        self.shared.lock().rv
    }

    /// What the simulated wall clock shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.lock().clock.now()
    }

    /// An object as stored. `kind` is a kind or a plural name, the namespace is empty for kinds without.
    ///
    /// # Panics
    /// If no such kind is served.
    #[must_use]
    pub fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let state = self.shared.lock();
        state.get(Self::named(&state, kind), namespace, name).ok().map(|object| object.json())
    }

    /// All objects of a kind, in order of namespace and name.
    ///
    /// # Panics
    /// If no such kind is served.
    #[must_use]
    pub fn objects(&self, kind: &str) -> Vec<Value> {
        let state = self.shared.lock();
        state.tables[Self::named(&state, kind)].objects.values().map(|object| object.json()).collect()
    }

    /// Merges `status` into an object's status, as a kubelet or another controller would, past faults and ledger.
    ///
    /// # Errors
    /// What the server would answer, for instance 404.
    ///
    /// # Panics
    /// If no such kind is served.
    pub fn patch_status(&self, kind: &str, namespace: &str, name: &str, status: &Value) -> Result<Value, ApiError> {
        self.patch_past_faults(kind, namespace, name, &serde_json::json!({"status": status}), "status")
    }

    /// Merges `patch` into an object, past faults and ledger; for instance to give a pod its node.
    ///
    /// # Errors
    /// What the server would answer, for instance 404.
    ///
    /// # Panics
    /// If no such kind is served.
    pub fn patch(&self, kind: &str, namespace: &str, name: &str, patch: &Value) -> Result<Value, ApiError> {
        self.patch_past_faults(kind, namespace, name, patch, "")
    }

    fn patch_past_faults(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
        subresource: &str,
    ) -> Result<Value, ApiError> {
        let options = WriteOptions {
            manager: "world".to_owned(),
            subresource: subresource.to_owned(),
            ..WriteOptions::default()
        };
        let written = {
            let mut state = self.shared.lock();
            let table = Self::named(&state, kind);
            state.patch(table, namespace, name, Patch::Merge(patch.clone()), &options)?
        };
        self.shared.collect_garbage_soon();
        Ok(written.object.json())
    }

    /// Deletes an object past faults and ledger, giving a pod `grace_seconds` (0 ends it as its kubelet would).
    ///
    /// # Errors
    /// What the server would answer, for instance 404.
    ///
    /// # Panics
    /// If no such kind is served.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str, grace_seconds: u32) -> Result<(), ApiError> {
        let options = serde_json::json!({"gracePeriodSeconds": grace_seconds});
        {
            let mut state = self.shared.lock();
            let table = Self::named(&state, kind);
            state.delete(table, namespace, name, &options)?;
        }
        self.shared.collect_garbage_soon();
        Ok(())
    }

    fn named(state: &State, kind: &str) -> usize {
        state.find_named(kind).unwrap_or_else(|| panic!("the simulated server does not serve {kind}"))
    }
}
