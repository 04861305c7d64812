//! Kubernetes events: told beside the work, never in its way.
//!
//! An event costs the API server as much as any other write. Thousands of runs that begin and end would double its load to say
//! what their status says too, so only so many are told; warnings have an allowance of their own.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{core::note::Note, telemetry::Metrics};

/// Events that may wait; more are dropped and counted.
const WAITING: usize = 1024;

/// Normal events that may be told at once, and how soon another one may be after that.
const NORMAL: (u32, Duration) = (100, Duration::from_millis(500));
/// The same of warnings.
const WARNINGS: (u32, Duration) = (500, Duration::from_millis(50));

/// Takes events and tells them when there is time.
#[derive(Clone, Debug)]
pub struct Notes {
    sender: mpsc::Sender<(ObjectReference, Note)>,
    allowances: Arc<Mutex<[Allowance; 2]>>,
    metrics: Metrics,
}

/// A token bucket.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    most: u32,
    each: Duration,
    /// When it will be full again.
    full_at: Instant,
}

impl Allowance {
    fn new((most, each): (u32, Duration)) -> Self {
        Self { most, each, full_at: Instant::now() }
    }

    /// Whether there is one left, which is taken.
    fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + self.each;
        let left = full_at - now <= self.each * self.most;
        if left {
            self.full_at = full_at;
        }
        left
    }
}

/// The half that tells them.
pub struct Teller {
    receiver: mpsc::Receiver<(ObjectReference, Note)>,
    recorder: Recorder,
}

impl Notes {
    /// Both halves.
    #[must_use]
    pub fn new(client: Client, instance: String, metrics: Metrics) -> (Self, Teller) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let reporter = Reporter { controller: "medley.health/medley".to_owned(), instance: Some(instance) };
        let allowances = Arc::new(Mutex::new([NORMAL, WARNINGS].map(Allowance::new)));
        (Self { sender, allowances, metrics }, Teller { receiver, recorder: Recorder::new(client, reporter) })
    }

    /// Tells an event about an object, if there is room; what is not told is counted.
    pub fn tell(&self, about: &ObjectReference, notes: &[Note]) {
        for note in notes {
            let allowed = self.allowances.lock().unwrap_or_else(PoisonError::into_inner)[usize::from(note.warning)]
                .take(Instant::now());
            if !allowed || self.sender.try_send((about.clone(), note.clone())).is_err() {
                self.metrics.notes_dropped.inc();
            }
        }
    }
}

impl Teller {
    /// Tells events until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let (about, note) = tokio::select! {
                () = stop.cancelled() => return,
                next = self.receiver.recv() => match next {
                    Some(next) => next,
                    None => return,
                },
            };
            let event = Event {
                type_: if note.warning { EventType::Warning } else { EventType::Normal },
                reason: note.reason.to_owned(),
                note: Some(note.message.chars().take(1000).collect()),
                action: note.reason.to_owned(),
                secondary: None,
            };
            let told =
                tokio::time::timeout(std::time::Duration::from_secs(5), self.recorder.publish(&event, &about)).await;
            if let Ok(Err(error)) = told {
                tracing::debug!(error = %error, "an event could not be told");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_allowed_comes_back_with_time() {
        let mut allowance = Allowance::new((3, Duration::from_secs(1)));
        let take = |a: &mut Allowance, n: usize| (0..n).filter(|_| a.take(Instant::now())).count();
        assert_eq!(take(&mut allowance, 10), 3);
        tokio::time::advance(Duration::from_millis(2500)).await;
        assert_eq!(take(&mut allowance, 10), 2);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(take(&mut allowance, 10), 3, "no more than at first");
    }
}
