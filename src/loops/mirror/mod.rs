//! Mirrors of the registry, for programs that do not speak Kubernetes: Redis and Memcached.
//!
//! A mirror is a task beside the operator's work and nothing waits for it: one that is down, slow or wrong costs a metric and a line in the log.

mod dirty;
mod follow;
mod memcached;
mod redis;
mod redis_server;
mod state;
mod store;
pub mod wire;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::{dirty::Dirty, follow::Follower, state::Board, store::Server};
use crate::{
    cluster::observe::Caches,
    core::{
        name::Key,
        registry::{Item, needs_slices},
    },
    telemetry::Metrics,
};

pub use self::{
    follow::Term,
    memcached::Memcached,
    redis::hash as redis_hash,
    redis_server::Redis,
    state::{Health, State},
    store::Failure,
};

/// Which mirrors there are.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// A mirror into Redis.
    pub redis: Option<Redis>,
    /// A mirror into Memcached.
    pub memcached: Option<Memcached>,
    /// Time between two looks at everything, which renew expiries.
    pub renew: Duration,
}

/// All mirrors.
#[derive(Clone)]
pub struct Mirrors {
    caches: Caches,
    redis: Option<Arc<Follower<Redis>>>,
    memcached: Option<Arc<Follower<Memcached>>>,
}

impl Mirrors {
    /// Mirrors that do nothing yet.
    #[must_use]
    pub fn new(settings: &Settings, caches: &Caches, metrics: &Metrics) -> Self {
        fn follower<S: Server + Clone>(
            server: Option<&S>,
            renew: Duration,
            caches: &Caches,
            metrics: &Metrics,
        ) -> Option<Arc<Follower<S>>> {
            let board = Arc::new(Board::new(S::NAME, metrics.clone()));
            let (caches, dirty) = (caches.clone(), Arc::<Dirty>::default());
            server.map(|server| Arc::new(Follower { server: server.clone(), caches, dirty, board, renew }))
        }
        Self {
            caches: caches.clone(),
            redis: follower(settings.redis.as_ref(), settings.renew, caches, metrics),
            memcached: follower(settings.memcached.as_ref(), settings.renew, caches, metrics),
        }
    }

    fn dirty(&self) -> impl Iterator<Item = &Dirty> {
        let (redis, memcached) = (self.redis.as_ref(), self.memcached.as_ref());
        redis.map(|f| f.dirty.as_ref()).into_iter().chain(memcached.map(|f| f.dirty.as_ref()))
    }

    /// A service or the answer to a query has changed, or has gone.
    pub fn changed(&self, item: &Item) {
        self.dirty().for_each(|dirty| dirty.add(item));
    }

    /// Endpoints of a service have changed: its status tells of them, unless it has no room for all.
    pub fn endpoints_changed(&self, service: &Key) {
        if (self.redis.is_some() || self.memcached.is_some())
            && self.caches.services.get(service).is_some_and(|s| needs_slices(&s))
        {
            self.changed(&Item::service(service.clone()));
        }
    }

    /// Writes until stopped; for a replica that leads.
    pub fn start(&self, term: &Term, stop: &CancellationToken, tasks: &mut JoinSet<()>) {
        if let Some(follower) = &self.redis {
            tasks.spawn(Arc::clone(follower).run(term.clone(), stop.clone()));
        }
        if let Some(follower) = &self.memcached {
            tasks.spawn(Arc::clone(follower).run(term.clone(), stop.clone()));
        }
    }

    /// The mirrors there are, and how they do.
    #[must_use]
    pub fn states(&self) -> Vec<(&'static str, State)> {
        let redis = self.redis.iter().map(|f| (Redis::NAME, f.board.state()));
        redis.chain(self.memcached.iter().map(|f| (Memcached::NAME, f.board.state()))).collect()
    }

    /// The same as JSON, for who asks.
    #[must_use]
    pub fn report(&self) -> Value {
        let shown = |(name, state): (&'static str, State)| {
            let (health, failure) = match state.health {
                Health::Idle => ("Idle", None),
                Health::Up => ("Up", None),
                Health::Down(failure) => ("Down", Some(failure)),
            };
            let mut shown = json!({"name": name, "health": health, "services": state.services, "queries": state.queries,
                "foreign": state.foreign, "refused": state.refused});
            if let Some(failure) = failure {
                shown["reason"] = json!(failure.as_str());
                shown["advice"] = json!(failure.advice());
            }
            shown
        };
        json!({"mirrors": self.states().into_iter().map(shown).collect::<Vec<_>>()})
    }
}
