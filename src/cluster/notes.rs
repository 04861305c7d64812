//! Kubernetes events: told beside the work, never in its way.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{core::note::Note, telemetry::Metrics};

/// Events that may wait; more are dropped and counted.
const WAITING: usize = 1024;

/// Takes events and tells them when there is time.
#[derive(Clone, Debug)]
pub struct Notes {
    sender: mpsc::Sender<(ObjectReference, Note)>,
    metrics: Metrics,
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
        (Self { sender, metrics }, Teller { receiver, recorder: Recorder::new(client, reporter) })
    }

    /// Tells an event about an object, if there is room.
    pub fn tell(&self, about: &ObjectReference, notes: Vec<Note>) {
        for note in notes {
            if self.sender.try_send((about.clone(), note)).is_err() {
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
