//! Writes that the API server refuses until somebody changes something: the rest goes on, and the object's status says so.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{
    cluster::error::Error,
    core::{name::Key, refusal::Refusal},
};

/// Keeps the first refusal, or that an object is contended, and lets the work go on; every other error ends it.
///
/// # Errors
/// Any other.
pub fn set_aside<T>(result: Result<T, Error>, first: &mut Option<Error>) -> Result<Option<T>, Error> {
    match result {
        Err(error) if error.refusal().is_some() || matches!(error, Error::Contended { .. }) => {
            first.get_or_insert(error);
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// The latest refusal of each object whose status is written before its effects: the next status tells of it.
#[derive(Debug, Default)]
pub struct Refusals {
    /// `None`: granted since, though the status may still say otherwise.
    known: Mutex<HashMap<Key, Option<Refusal>>>,
}

impl Refusals {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Option<Refusal>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the object's status is to say. A leader that has just taken over goes by what it says already, so that nothing
    /// flickers.
    #[must_use]
    pub fn of(&self, key: &Key, conditions: &[Condition]) -> Option<Refusal> {
        self.lock().get(key).cloned().unwrap_or_else(|| Refusal::stored(conditions))
    }

    /// Takes note of how the effects of a decision went that was made with `before` in its view. Whether the status says
    /// something else now, so that the object has to be looked at again.
    pub fn note(&self, key: &Key, before: Option<&Refusal>, now: Option<&Error>) -> bool {
        let mut known = self.lock();
        let now = now.and_then(Error::refusal);
        let changed = before != now.as_ref();
        if changed || now.is_some() {
            known.insert(key.clone(), now);
        } else {
            known.remove(key);
        }
        changed
    }

    /// The object is gone.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }
}
