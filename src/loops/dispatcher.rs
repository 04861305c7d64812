//! Calls of workflow steps: started once, their outcome kept until the run's status holds it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::Notify, task::AbortHandle, time::Instant};
use tokio_util::task::TaskTracker;

use crate::{
    cluster::{clock::Clock, leader::Leadership},
    core::{
        coordination::{
            outcome::{CallOutcome, CallResult},
            view::{Attempt, StartCall},
        },
        monitoring::measurements::Source,
        name::Key,
    },
    loops::{lanes::Lanes, measures::Measures},
    medical::calls::CallIo,
    telemetry::{Metrics, ServiceCall},
};

/// Told when a run has an outcome that it does not know of.
pub type Report = Box<dyn Fn(&Key) + Send + Sync>;

/// Calls under way and outcomes that no status holds yet, by the run's UID.
pub struct Dispatcher<I> {
    io: I,
    lanes: Arc<Lanes>,
    measures: Arc<Measures>,
    leadership: Leadership,
    clock: Clock,
    report: Report,
    metrics: Metrics,
    tasks: TaskTracker,
    quiet: Notify,
    state: Mutex<HashMap<String, Calls>>,
}

#[derive(Default)]
struct Calls {
    in_flight: HashMap<Attempt, AbortHandle>,
    outcomes: HashMap<Attempt, CallOutcome>,
}

impl<I: CallIo> Dispatcher<I> {
    /// A dispatcher without calls. Who queues them and who learns of them are told how each ends. `report` must not block.
    #[must_use]
    pub fn new(
        io: I,
        (lanes, measures): (Arc<Lanes>, Arc<Measures>),
        leadership: Leadership,
        clock: Clock,
        metrics: Metrics,
        report: Report,
    ) -> Arc<Self> {
        Arc::new(Self {
            io,
            lanes,
            measures,
            leadership,
            clock,
            report,
            metrics,
            tasks: TaskTracker::new(),
            quiet: Notify::new(),
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Calls>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Attempts under way, and outcomes.
    #[must_use]
    pub fn known(&self, uid: &str) -> (Vec<Attempt>, std::collections::BTreeMap<Attempt, CallOutcome>) {
        let state = self.lock();
        state.get(uid).map_or_else(Default::default, |calls| {
            let mut in_flight: Vec<Attempt> = calls.in_flight.keys().cloned().collect();
            in_flight.sort();
            (in_flight, calls.outcomes.iter().map(|(a, o)| (a.clone(), o.clone())).collect())
        })
    }

    /// Starts a call, unless it is under way or over. It goes out when its turn has come.
    pub fn start(self: &Arc<Self>, key: &Key, uid: &str, mut call: StartCall) {
        let mut state = self.lock();
        let calls = state.entry(uid.to_owned()).or_default();
        let attempt = call.attempt.clone();
        if calls.in_flight.contains_key(&attempt) || calls.outcomes.contains_key(&attempt) {
            return;
        }
        let mut boarding = self.lanes.board(&key.namespace, uid, &call);
        let (this, key, uid) = (Arc::clone(self), key.clone(), uid.to_owned());
        let task = self.tasks.spawn(async move {
            let moved = boarding.opens().await;
            // it may have stood at the gate for long. Whoever leads no more is about to drop it
            if this.leadership.clone().won().await.is_none() {
                return;
            }
            if let Some(chosen) = moved {
                call.endpoint = chosen.endpoint;
            }
            let began = Instant::now();
            let what = this.io.call(&call).await;
            let took = began.elapsed();
            let tells = what.tells(took.as_secs_f64());
            boarding.ended(tells);
            if let Some(ended) = tells {
                let service = Key::new(&key.namespace, &call.lane.service);
                this.measures.take(&service, Source::Calls, ended.well.then_some(took));
            }
            let outcome = match &what {
                CallResult::Answered(_)
                | CallResult::Acknowledged(_)
                | CallResult::Echoed { .. }
                | CallResult::Found(_) => "answered",
                CallResult::Failed { class, .. } => word(*class),
            };
            this.metrics.calls.get_or_create(&ServiceCall { outcome }).inc();
            let at = this.clock.now();
            let told = {
                let mut state = this.lock();
                state.get_mut(&uid).is_some_and(|calls| {
                    let wanted = calls.in_flight.remove(&call.attempt).is_some();
                    if wanted {
                        calls.outcomes.insert(call.attempt.clone(), CallOutcome { at, what, moved });
                    }
                    wanted
                })
            };
            if told {
                (this.report)(&key);
            }
        });
        calls.in_flight.insert(attempt, task.abort_handle());
    }

    /// Drops a call: nobody waits for its outcome.
    pub fn stop(&self, uid: &str, attempt: &Attempt) {
        if let Some(handle) = self.lock().get_mut(uid).and_then(|c| c.in_flight.remove(attempt)) {
            handle.abort();
        }
    }

    /// Forgets outcomes that a status holds now.
    pub fn settled<'a>(&self, uid: &str, attempts: impl IntoIterator<Item = &'a Attempt>) {
        let mut state = self.lock();
        if let Some(calls) = state.get_mut(uid) {
            for attempt in attempts {
                calls.outcomes.remove(attempt);
            }
            if calls.in_flight.is_empty() && calls.outcomes.is_empty() {
                state.remove(uid);
                self.quiet.notify_waiters();
            }
        }
    }

    /// Drops all calls of a run that is gone.
    pub fn forget(&self, uid: &str) {
        if let Some(calls) = self.lock().remove(uid) {
            calls.in_flight.values().for_each(AbortHandle::abort);
        }
    }

    /// Drops all calls: this process no longer leads.
    pub fn clear(&self) {
        for (_, calls) in self.lock().drain() {
            calls.in_flight.values().for_each(AbortHandle::abort);
        }
    }

    /// Waits until nothing is under way and all outcomes are settled.
    pub async fn idle(&self) {
        loop {
            let quiet = self.quiet.notified();
            if self.lock().values().all(|c| c.in_flight.is_empty() && c.outcomes.is_empty()) {
                return;
            }
            quiet.await;
        }
    }
}

const fn word(class: crate::api::ErrorClass) -> &'static str {
    use crate::api::ErrorClass as E;
    match class {
        E::Connection => "connection",
        E::Timeout => "timeout",
        E::Overloaded => "overloaded",
        E::ServerError => "server_error",
        E::Rejected => "rejected",
        E::InvalidResult => "invalid_result",
        E::ContainerFailed => "container_failed",
        E::PodNotStarted => "pod_not_started",
        E::PodLost => "pod_lost",
        E::ChildFailed => "child_failed",
        E::Configuration => "configuration",
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;
    use crate::{
        api::Urgency,
        cluster::observe::Caches,
        core::coordination::{
            outcome::Answer,
            view::{HttpRequest, LaneKey, Wire},
        },
    };

    /// Answers after a second, and counts.
    struct Counted(Arc<AtomicUsize>);

    impl CallIo for Counted {
        async fn call(&self, _: &StartCall) -> CallResult {
            self.0.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
            CallResult::Answered(Answer { status: 200, headers: Vec::new(), body: serde_json::Value::Null })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_under_way_or_over_is_not_started_again() {
        let count = Arc::new(AtomicUsize::new(0));
        let clock = Clock::simulated(jiff::Timestamp::UNIX_EPOCH);
        let (metrics, caches, runs) = (Metrics::default(), Caches::default(), Arc::default());
        let lanes = Lanes::new(caches, Arc::default(), runs, clock, metrics.clone());
        let measures = Measures::new(clock, metrics.clone(), Box::new(|_| {}));
        let dispatcher = Dispatcher::new(
            Counted(Arc::clone(&count)),
            (lanes, measures),
            Leadership::forever(),
            clock,
            metrics,
            Box::new(|_| {}),
        );
        let call = StartCall {
            attempt: Attempt { step: "s".to_owned(), index: None, number: 1 },
            lane: LaneKey::default(),
            urgency: Urgency::Routine,
            turn: None,
            endpoint: ([10, 0, 0, 1], 80).into(),
            tls: None,
            wire: Wire::Http(HttpRequest {
                host: "h".to_owned(),
                method: "GET",
                path: "/".to_owned(),
                headers: Vec::new(),
                body: None,
            }),
            idempotency_key: "k".to_owned(),
            timeout: Duration::from_secs(5),
        };
        let key = Key::new("n", "r");
        for _ in 0..4 {
            dispatcher.start(&key, "u", call.clone());
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        assert_eq!(count.load(Ordering::Relaxed), 1);
        dispatcher.settled("u", [&call.attempt]);
        dispatcher.start(&key, "u", call);
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(count.load(Ordering::Relaxed), 2, "what is settled is forgotten");
    }
}
