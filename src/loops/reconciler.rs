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
    // an alert sees a counter grow only if it was there before
    drop(context.metrics.panics.get_or_create(&telemetry::Kind { kind: R::KIND.to_owned() }));
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

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use tokio::time::{Instant, sleep};

    use super::*;

    /// Looks at `bad` panic this many times.
    struct Trap {
        left: Mutex<u32>,
        looks: Mutex<Vec<(String, Instant)>>,
    }

    impl Reconcile for Trap {
        const KIND: &'static str = "Trap";

        async fn reconcile(&self, key: &Key) -> Result<Option<Timestamp>, Error> {
            self.looks.lock().unwrap().push((key.name.clone(), Instant::now()));
            // also one that comes after the look has waited for something
            sleep(Duration::from_millis(5)).await;
            if key.name == "bad" {
                let left = {
                    let mut left = self.left.lock().unwrap();
                    *left = left.saturating_sub(1);
                    *left
                };
                assert!(left == 0, "on purpose");
            }
            Ok(None)
        }
    }

    impl Trap {
        fn looks_at(&self, name: &str) -> Vec<Instant> {
            self.looks.lock().unwrap().iter().filter(|(n, _)| n == name).map(|(_, at)| *at).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_whose_look_panics_waits_longer_each_time_and_stops_no_other() {
        const PANICS: u32 = 9;
        let trap = Arc::new(Trap { left: Mutex::new(PANICS + 1), looks: Mutex::default() });
        let queue = Arc::new(Queue::default());
        let context = Context {
            queue: Arc::clone(&queue),
            clock: Clock::simulated(Timestamp::UNIX_EPOCH),
            metrics: Metrics::default(),
            // one worker: were it lost, nothing would go on
            workers: 1,
        };
        let metrics = context.metrics.clone();
        let stop = CancellationToken::new();
        let loop_ = tokio::spawn(run(Arc::clone(&trap), context, stop.clone()));
        let key = |name: &str| Key::new("n", name);
        queue.add(key("bad"), false);
        for i in 0..10 {
            queue.add(key(&format!("good-{i}")), false);
        }
        sleep(Duration::from_secs(2)).await;
        for i in 0..10 {
            assert_eq!(trap.looks_at(&format!("good-{i}")).len(), 1, "good-{i} is looked at beside the bad one");
        }
        let panics = || metrics.panics.get_or_create(&telemetry::Kind { kind: "Trap".to_owned() }).get();
        assert!((2..9).contains(&panics()), "{}", panics());
        sleep(Duration::from_secs(600)).await;
        let looks = trap.looks_at("bad");
        assert_eq!((panics(), looks.len()), (u64::from(PANICS), PANICS as usize + 1), "until it goes well");
        let waits: Vec<Duration> = looks.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(waits[0] < Duration::from_millis(200), "{waits:?}");
        // each wait is chosen from the upper half of its step, and steps double
        assert!(waits.windows(2).skip(1).all(|w| w[1] > w[0]), "{waits:?}");
        assert!(waits[8] > Duration::from_secs(12), "{waits:?}");
        let panicked = telemetry::Reconcile { kind: "Trap", outcome: "panic" };
        assert_eq!(metrics.reconciles.get_or_create(&panicked).get(), u64::from(PANICS));
        stop.cancel();
        loop_.await.unwrap();
    }
}
