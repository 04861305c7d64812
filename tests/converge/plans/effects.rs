//! The services of a plan: what each request gets, and which ones took effect. They keep their promise: a request that bears
//! a key that they know takes no effect again.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use medley::core::coordination::view::StartCall;
use tokio::time::Instant;

use super::{
    super::world::{Reply, answer, refused, request_of, reset},
    scenario::{Fare, Scenario, nth},
};

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    pub(crate) at: Duration,
    pub(crate) by: String,
    /// UID of the run.
    pub(crate) run: String,
    /// Path, which names the step.
    pub(crate) path: String,
    pub(crate) item: Option<u32>,
    pub(crate) attempt: u32,
    pub(crate) key: String,
    /// It took effect, or would have, had its key not been known.
    pub(crate) took: bool,
}

/// All requests of a plan.
#[derive(Clone)]
pub(crate) struct Effects {
    scenario: Arc<Scenario>,
    began: Instant,
    all: Arc<Mutex<Vec<Effect>>>,
}

impl Effects {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self { scenario: Arc::new(scenario.clone()), began: Instant::now(), all: Arc::default() }
    }

    /// What a request gets: it follows from step, item and attempt alone, so that a repeated one gets the same.
    pub(crate) fn answer(&self, call: &StartCall, by: &str) -> Reply {
        let fare = self.fare(call);
        let run = call.idempotency_key.splitn(6, '-').take(5).collect::<Vec<_>>().join("-");
        self.all.lock().unwrap().push(Effect {
            at: self.began.elapsed(),
            by: by.to_owned(),
            run,
            path: request_of(call).path.clone(),
            item: call.attempt.index,
            attempt: call.attempt.number,
            key: call.idempotency_key.clone(),
            took: takes_effect(fare),
        });
        let result =
            self.scenario.step(step_of(&request_of(call).path)).map(super::scenario::Step::result).unwrap_or_default();
        match fare {
            Fare::Status(code) => answer(code, serde_json::json!({})),
            Fare::Reset => reset(),
            Fare::Refused => refused(),
            Fare::Hang => answer(200, result).after(Duration::from_secs(100 * 24 * 3600)),
            Fare::Well(millis) => answer(200, result).after(Duration::from_millis(u64::from(millis))),
            _ => answer(200, result),
        }
    }

    fn fare(&self, call: &StartCall) -> Fare {
        let well = Fare::Well(50);
        let Some(step) = self.scenario.step(step_of(&request_of(call).path)) else { return well };
        match &step.undo {
            Some(undo) if request_of(call).path.ends_with("/undo") => {
                nth(&undo.fares, call.attempt.number).unwrap_or(well)
            }
            _ => step.fare(call.attempt.index, call.attempt.number),
        }
    }

    pub(crate) fn all(&self) -> Vec<Effect> {
        self.all.lock().unwrap().clone()
    }

    /// Whether an attempt of a call took effect.
    pub(crate) fn took(&self, run: &str, step: &str, attempt: u32) -> bool {
        let path = format!("/{step}");
        let all = self.all.lock().unwrap();
        all.iter().any(|e| e.took && e.run == run && e.path == path && e.attempt == attempt)
    }

    /// The items of an attempt of a call that took effect.
    pub(crate) fn items_took(&self, run: &str, step: &str) -> Vec<u32> {
        let path = format!("/{step}");
        let all = self.all.lock().unwrap();
        all.iter().filter(|e| e.took && e.run == run && e.path == path).filter_map(|e| e.item).collect()
    }
}

const fn takes_effect(fare: Fare) -> bool {
    matches!(fare, Fare::Well(_) | Fare::Reset | Fare::Hang)
}

/// The step that a path names.
pub(crate) fn step_of(path: &str) -> &str {
    path.trim_start_matches('/').split('/').next().unwrap_or_default()
}
