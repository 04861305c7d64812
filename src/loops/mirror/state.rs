//! What is known of one mirror: for metrics, the log, and whoever asks.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, AtomicU64},
};

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

use super::store::Failure;
use crate::telemetry::{Metrics, MirrorLabel};

/// How a mirror does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// This replica does not write into it: it does not lead.
    #[default]
    Idle,
    /// It follows the registry.
    Up,
    /// It does not.
    Down(Failure),
}

/// What is known of a mirror.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// How it does.
    pub health: Health,
    /// Services that it held when everything was looked at last.
    pub services: usize,
    /// Answers to queries that it held then.
    pub queries: usize,
    /// Services and answers whose places in the store something takes that is not medley's.
    pub foreign: usize,
    /// Services and answers that the store had no room for.
    pub refused: usize,
}

/// The state of one mirror. Only changes are logged.
#[derive(Debug)]
pub(super) struct Board {
    name: &'static str,
    metrics: Metrics,
    state: Mutex<State>,
}

impl Board {
    pub(super) fn new(name: &'static str, metrics: Metrics) -> Self {
        Self { name, metrics, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn label(&self) -> MirrorLabel {
        MirrorLabel { mirror: self.name }
    }

    fn gauge(&self) -> Gauge<i64, AtomicI64> {
        self.metrics.mirror_up.get_or_create(&self.label()).clone()
    }

    fn failures(&self) -> Counter<u64, AtomicU64> {
        self.metrics.mirror_failures.get_or_create(&self.label()).clone()
    }

    pub(super) fn state(&self) -> State {
        *self.lock()
    }

    pub(super) fn up(&self) {
        self.gauge().set(1);
        if std::mem::replace(&mut self.lock().health, Health::Up) != Health::Up {
            tracing::info!(mirror = self.name, "the mirror follows the registry");
        }
    }

    pub(super) fn down(&self, failure: Failure) {
        self.gauge().set(0);
        self.failures().inc();
        let now = Health::Down(failure);
        if std::mem::replace(&mut self.lock().health, now) != now {
            tracing::warn!(
                mirror = self.name,
                reason = failure.as_str(),
                advice = failure.advice(),
                "the mirror does not follow the registry; trying again"
            );
        }
    }

    /// This replica has nothing to say of it any more.
    pub(super) fn idle(&self) {
        self.metrics.mirror_up.remove(&self.label());
        *self.lock() = State::default();
    }

    pub(super) fn wrote(&self, entries: u64) {
        self.metrics.mirror_written.get_or_create(&self.label()).inc_by(entries);
    }

    /// Everything was looked at.
    pub(super) fn whole(&self, services: usize, queries: usize, foreign: usize, refused: usize) {
        let before = {
            let mut state = self.lock();
            let before = *state;
            *state = State { services, queries, foreign, refused, ..before };
            before
        };
        if foreign > 0 && foreign != before.foreign {
            tracing::warn!(
                mirror = self.name,
                entries = foreign,
                "keys that are not medley's take the places of services or answers: they are left alone; choose another prefix, or remove them"
            );
        }
        if refused > 0 && refused != before.refused {
            tracing::warn!(
                mirror = self.name,
                entries = refused,
                "the server has no room for services or answers: raise its limit"
            );
        }
    }
}
