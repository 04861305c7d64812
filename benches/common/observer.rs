//! Somebody who watches runs, as a person's terminal does: it tells when they have ended, without asking again and again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use kube::{
    ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use medley::api::workflow_run::RunPhase;
use tokio::{sync::watch, task::AbortHandle};

use crate::support::stage::Stage;

/// Watches the runs of one namespace until it is dropped.
pub(crate) struct Observer {
    seen: Arc<Mutex<HashMap<String, Seen>>>,
    ended: watch::Receiver<usize>,
    task: AbortHandle,
}

/// What was seen of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// When its end was seen.
    pub(crate) ended: Option<Instant>,
    /// Length of its longest version as JSON, in bytes.
    pub(crate) longest: usize,
}

impl Observer {
    /// Starts to watch. `measured` says whether lengths are wanted: that costs time.
    pub(crate) fn of(stage: &Stage, space: &str, measured: bool) -> Self {
        let seen: Arc<Mutex<HashMap<String, Seen>>> = Arc::default();
        let (sender, ended) = watch::channel(0);
        let (api, all) = (stage.runs(space), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            let mut stream =
                std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
            while let Some(run) = stream.try_next().await.unwrap() {
                let length = if measured { serde_json::to_vec(&run).unwrap().len() } else { 0 };
                let phase = run.status.as_ref().and_then(|s| s.phase);
                let over = phase.is_some_and(RunPhase::is_final);
                let name = run.name_any();
                assert!(!over || phase == Some(RunPhase::Succeeded), "{name}: {:#?}", run.status);
                let mut all = all.lock().unwrap();
                let seen = all.entry(name).or_insert_with(|| Seen { ended: None, longest: 0 });
                seen.longest = seen.longest.max(length);
                if over && seen.ended.is_none() {
                    seen.ended = Some(Instant::now());
                    sender.send_modify(|n| *n += 1);
                }
            }
        });
        Self { seen, ended, task: task.abort_handle() }
    }

    /// Waits until this many runs have succeeded.
    pub(crate) async fn ended(&mut self, count: usize, limit: Duration) {
        let all = tokio::time::timeout(limit, self.ended.wait_for(|n| *n >= count)).await.is_ok_and(|w| w.is_ok());
        assert!(all, "after {limit:?} {} runs of {count} have succeeded", *self.ended.borrow());
    }

    /// Waits until another run has succeeded.
    pub(crate) async fn next(&mut self, limit: Duration) {
        let waited = tokio::time::timeout(limit, self.ended.changed()).await;
        assert!(waited.is_ok_and(|w| w.is_ok()), "no run has ended for {limit:?}");
    }

    /// All runs seen, by name.
    pub(crate) fn seen(&self) -> HashMap<String, Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
