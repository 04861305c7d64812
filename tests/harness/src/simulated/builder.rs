//! What is a server built of? Its kinds, its clock, and what it may leave out.

use super::{ApiServer, Shared, clock::Clock, kinds::Definition, store::State};
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// 2026-01-01T00:00:00Z, when the wall clock of a simulated cluster starts.
const START: i64 = 1_767_225_600;

/// Settings of a server to be built.
#[derive(Debug, Clone)]
pub struct Builder {
    crds: Vec<CustomResourceDefinition>,
    definitions: Vec<Definition>,
    start: Timestamp,
    history: usize,
    gc_delay: Duration,
    owns_updates: bool,
}

impl Builder {
    /// Custom resources that are served from the start. More can be created through the API.
    #[must_use]
    pub fn crds(mut self, crds: impl IntoIterator<Item = CustomResourceDefinition>) -> Self {
        self.crds.extend(crds);
        self
    }

    /// Custom resources that are served from the start without a CustomResourceDefinition that a request could find: what a
    /// process that builds thousands of servers compiles once.
    #[must_use]
    pub fn definitions(mut self, definitions: impl IntoIterator<Item = Definition>) -> Self {
        self.definitions.extend(definitions);
        self
    }

    /// Wall-clock time at the start; by default 2026-01-01T00:00:00Z. It advances with tokio's clock.
    #[must_use]
    pub fn start(mut self, start: Timestamp) -> Self {
        self.start = start;
        self
    }

    /// How many changes of each kind are remembered (10,000 by default). A watch from before that gets 410 Gone.
    #[must_use]
    pub fn history(mut self, changes: usize) -> Self {
        self.history = changes;
        self
    }

    /// How long after an owner's end its dependents are deleted (50 ms by default).
    #[must_use]
    pub fn gc_delay(mut self, delay: Duration) -> Self {
        self.gc_delay = delay;
        self
    }

    /// Whether writes that are no server-side apply come to own what they change, as on the real server (they do by default).
    /// Without, `managedFields` tell of applies alone, and every write and every event takes less time: for those who run thousands of
    /// clusters and apply, with `force`, only what nobody else writes.
    #[must_use]
    pub fn owners_of_updates(mut self, kept: bool) -> Self {
        self.owns_updates = kept;
        self
    }

    /// Builds the server.
    ///
    /// # Panics
    /// If one of the definitions cannot be served; the message says why.
    #[must_use]
    pub fn build(self) -> ApiServer {
        let state = State::new(Clock::starting_at(self.start), self.history.max(1), self.owns_updates);
        let server = ApiServer {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                ledger: Mutex::default(),
                faults: Mutex::default(),
                watch_faults: Mutex::default(),
                gc_delay: self.gc_delay,
                sweeping: Mutex::new(false),
            }),
        };
        for crd in self.crds {
            server.install(&crd);
        }
        for definition in self.definitions {
            server.shared.lock().serve(definition.0);
        }
        server
    }
}

impl ApiServer {
    /// Starts the description of a server.
    #[must_use]
    pub fn builder() -> Builder {
        let start = Timestamp::from_second(START).unwrap_or(Timestamp::UNIX_EPOCH);
        Builder {
            crds: Vec::new(),
            definitions: Vec::new(),
            start,
            history: 10_000,
            gc_delay: Duration::from_millis(50),
            owns_updates: true,
        }
    }
}
