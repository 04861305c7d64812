//! The loop that all kinds share: take what is due, look at it, take note of how that went.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{
        clock::Clock,
        error::{Class, Error},
        queue::{Queue, Verdict},
    },
    core::name::Key,
    telemetry::{self, Metrics},
};

/// Looks at objects of one kind.
pub trait Reconcile: Send + Sync + 'static {
    /// Name of the kind.
    const KIND: &'static str;

    /// Brings one object as far as it goes now; when to look again without an event.
    fn reconcile(&self, key: &Key) -> impl Future<Output = Result<Option<Timestamp>, Error>> + Send;
}

/// What the loop needs besides.
#[derive(Clone)]
pub struct Context {
    /// What is due.
    pub queue: Arc<Queue>,
    /// The time.
    pub clock: Clock,
    /// Counters.
    pub metrics: Metrics,
    /// How many objects are looked at together.
    pub workers: usize,
}

/// Looks at objects until stopped; a look that has begun ends first.
pub async fn run<R: Reconcile>(reconciler: Arc<R>, context: Context, stop: CancellationToken) {
    let workers = (0..context.workers).map(|_| work(Arc::clone(&reconciler), context.clone(), stop.clone()));
    // one task: a look is waiting for the API server nearly all of its time
    futures::future::join_all(workers).await;
}

async fn work<R: Reconcile>(reconciler: Arc<R>, context: Context, stop: CancellationToken) {
    loop {
        let key = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            key = context.queue.next() => key,
        };
        let look = AssertUnwindSafe(reconciler.reconcile(&key)).catch_unwind().await;
        let (verdict, outcome) = match look {
            Ok(Ok(wake)) => (Verdict::Done(wake.map(|at| context.clock.instant(at))), "ok"),
            Ok(Err(error)) => {
                let verdict = match error.class() {
                    Class::Conflict => Verdict::Again,
                    Class::Gone => Verdict::Done(None),
                    // a renewal that comes late takes the same term up again, and nothing else would bring this object back
                    Class::NotLeader | Class::Retry | Class::User => Verdict::Failed,
                };
                if verdict == Verdict::Failed && error.class() != Class::NotLeader {
                    tracing::warn!(kind = R::KIND, object = %key, error = %error, "failed; trying again later");
                }
                (verdict, error.reason())
            }
            Err(_) => {
                // the panic hook has printed where; the others go on
                tracing::error!(kind = R::KIND, object = %key, "looking at this object panicked: a defect of medley");
                context.metrics.panics.get_or_create(&telemetry::Kind { kind: R::KIND.to_owned() }).inc();
                (Verdict::Failed, "panic")
            }
        };
        context.metrics.reconciles.get_or_create(&telemetry::Reconcile { kind: R::KIND, outcome }).inc();
        context.queue.done(key, verdict);
    }
}
