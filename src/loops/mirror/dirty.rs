//! Which services and answers a mirror has to look at. Each is there once however often it changes, and where there are too many of them all are
//! looked at: so what waits for a mirror that is slow or down is bounded.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::core::registry::Item;

/// Most of them that are remembered by name.
const MOST: usize = 10_000;

/// What has changed since the mirror looked at them.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    state: Mutex<State>,
    rung: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Nobody takes what is put here while it is not set.
    open: bool,
    items: BTreeSet<Item>,
    /// More than are remembered.
    all: bool,
}

/// What is to be looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Everything.
    All,
    /// These.
    Some(Vec<Item>),
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

    /// A service or an answer has changed.
    pub(super) fn add(&self, item: &Item) {
        let mut state = self.lock();
        if !state.open || state.all || !state.items.insert(item.clone()) {
            return;
        }
        if state.items.len() > MOST {
            state.items.clear();
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
                if state.all || !state.items.is_empty() {
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
            && let Some(item) = state.items.pop_first()
        {
            taken.push(item);
        }
        Work::Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::name::Key;

    fn item(name: &str) -> Item {
        Item::service(Key::new("a", name))
    }

    #[tokio::test]
    async fn a_service_is_there_once_and_too_many_are_all() {
        let dirty = Dirty::default();
        dirty.add(&item("closed"));
        assert_eq!(dirty.take(10), Work::Some(Vec::new()), "nobody would take it");
        dirty.open();
        for _ in 0..3 {
            dirty.add(&item("x"));
            dirty.add(&item("y"));
        }
        dirty.some().await;
        assert_eq!(dirty.take(1), Work::Some(vec![item("x")]));
        assert_eq!(dirty.take(10), Work::Some(vec![item("y")]));
        for i in 0..=MOST + 5 {
            dirty.add(&item(&i.to_string()));
        }
        assert!(dirty.lock().items.is_empty());
        dirty.some().await;
        assert_eq!(dirty.take(1), Work::All);
        assert_eq!(dirty.take(1), Work::Some(Vec::new()));
    }
}
