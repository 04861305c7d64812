//! Which services a mirror has to look at. A service is there once however often it changes, and where there are too many of them all are
//! looked at: so what waits for a mirror that is slow or down is bounded.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::core::name::Key;

/// Most services that are remembered by name.
const MOST: usize = 10_000;

/// Services that have changed since the mirror looked at them.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    state: Mutex<State>,
    rung: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Nobody takes what is put here while it is not set.
    open: bool,
    keys: BTreeSet<Key>,
    /// More than are remembered.
    all: bool,
}

/// What is to be looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Everything.
    All,
    /// These.
    Some(Vec<Key>),
}

impl Dirty {
    fn lock(&self) -> MutexGuard<'_, State> {
        // every change under the lock is whole before anything that could panic
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to remember, with nothing: whoever opens looks at everything.
    pub(super) fn open(&self) {
        *self.lock() = State { open: true, ..State::default() };
    }

    /// Remembers nothing from now on.
    pub(super) fn close(&self) {
        *self.lock() = State::default();
    }

    /// A service has changed.
    pub(super) fn add(&self, key: &Key) {
        let mut state = self.lock();
        if !state.open || state.all || !state.keys.insert(key.clone()) {
            return;
        }
        if state.keys.len() > MOST {
            state.keys.clear();
            state.all = true;
        }
        drop(state);
        self.rung.notify_one();
    }

    /// Waits until there is something.
    pub(super) async fn some(&self) {
        loop {
            let rung = self.rung.notified();
            {
                let state = self.lock();
                if state.all || !state.keys.is_empty() {
                    return;
                }
            }
            rung.await;
        }
    }

    /// Takes so many.
    pub(super) fn take(&self, most: usize) -> Work {
        let mut state = self.lock();
        if std::mem::take(&mut state.all) {
            return Work::All;
        }
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(key) = state.keys.pop_first()
        {
            taken.push(key);
        }
        Work::Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_service_is_there_once_and_too_many_are_all() {
        let dirty = Dirty::default();
        dirty.add(&Key::new("a", "closed"));
        assert_eq!(dirty.take(10), Work::Some(Vec::new()), "nobody would take it");
        dirty.open();
        for _ in 0..3 {
            dirty.add(&Key::new("a", "x"));
            dirty.add(&Key::new("a", "y"));
        }
        dirty.some().await;
        assert_eq!(dirty.take(1), Work::Some(vec![Key::new("a", "x")]));
        assert_eq!(dirty.take(10), Work::Some(vec![Key::new("a", "y")]));
        for i in 0..=MOST + 5 {
            dirty.add(&Key::new("a", i.to_string()));
        }
        assert!(dirty.lock().keys.is_empty());
        dirty.some().await;
        assert_eq!(dirty.take(1), Work::All);
        assert_eq!(dirty.take(1), Work::Some(Vec::new()));
    }
}
