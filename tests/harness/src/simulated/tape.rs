//! What became of the objects of a kind, version by version? For those who play the rest of the world or judge the outcome:
//! no request is made, no fault hits them, and nothing is forgotten.

use super::{ApiServer, store::Stored};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// One version of an object.
#[derive(Debug, Clone)]
pub struct Version {
    pub(super) stored: Arc<Stored>,
    /// Time since the server was built.
    pub at: Duration,
    /// The object is gone; this is what it was last.
    pub deleted: bool,
}

impl Version {
    /// The object, without `managedFields`.
    #[must_use]
    pub fn object(&self) -> &Value {
        &self.stored.value
    }
}

/// Every version of the objects of one kind: those that are there when it begins, then all that follow, in order.
#[derive(Debug)]
pub struct Tape {
    versions: mpsc::UnboundedReceiver<Version>,
}

impl Tape {
    /// Waits for the next version; `None` once the server is gone.
    pub async fn next(&mut self) -> Option<Version> {
        self.versions.recv().await
    }

    /// The next version, if there is one already.
    pub fn try_next(&mut self) -> Option<Version> {
        self.versions.try_recv().ok()
    }
}

impl ApiServer {
    /// Begins a tape of a kind. `kind` is a kind or a plural name.
    ///
    /// # Panics
    /// If no such kind is served.
    #[must_use]
    pub fn tape(&self, kind: &str) -> Tape {
        let (sender, versions) = mpsc::unbounded_channel();
        let mut state = self.shared.lock();
        let table = Self::named(&state, kind);
        let at = state.clock.elapsed();
        let table = &mut state.tables[table];
        for stored in table.objects.values() {
            // its receiver is a few lines above
            let _ = sender.send(Version { stored: stored.clone(), at, deleted: false });
        }
        table.tapes.push(sender);
        Tape { versions }
    }

    /// Looks at all objects of a kind, in order of namespace and name, without `managedFields`.
    ///
    /// # Panics
    /// If no such kind is served.
    pub fn for_each(&self, kind: &str, mut look: impl FnMut(&Value)) {
        let state = self.shared.lock();
        state.tables[Self::named(&state, kind)].objects.values().for_each(|object| look(&object.value));
    }

    /// Looks at one object, without `managedFields`.
    ///
    /// # Panics
    /// If no such kind is served.
    pub fn look<T>(&self, kind: &str, namespace: &str, name: &str, look: impl FnOnce(Option<&Value>) -> T) -> T {
        let state = self.shared.lock();
        let object = state.get(Self::named(&state, kind), namespace, name).ok();
        look(object.as_deref().map(|o| &o.value))
    }
}
