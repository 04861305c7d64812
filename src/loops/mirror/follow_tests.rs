//! Timing under paused time, against a store in this process: only what a real server cannot be made to do at a chosen moment. What stores
//! really do is in `tests/mirrors.rs`.

use std::sync::{Mutex, PoisonError};

use tokio::time::advance;

use super::*;
use crate::{
    api::MedicalService,
    core::name::Key,
    loops::mirror::state::{Board, Health},
    telemetry::Metrics,
};

/// What the store does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    Refuses,
    Hangs,
    /// Answers each thing just in time.
    Slow,
}

#[derive(Clone)]
struct Fake(Arc<Mutex<Inner>>);

struct Inner {
    mood: Mood,
    connections: Vec<Instant>,
    puts: Vec<usize>,
    at_once: usize,
    most_at_once: usize,
}

impl Fake {
    fn new(mood: Mood) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            mood,
            connections: Vec::new(),
            puts: Vec::new(),
            at_once: 0,
            most_at_once: 0,
        })))
    }

    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn answer(&self) -> Result<(), Failure> {
        match self.with(|i| i.mood) {
            Mood::Well => Ok(()),
            Mood::Refuses => Err(Failure::Unreachable),
            Mood::Hangs => std::future::pending().await,
            Mood::Slow => {
                sleep(CALL - Duration::from_millis(1)).await;
                Ok(())
            }
        }
    }
}

impl Server for Fake {
    type Store = Self;

    const NAME: &'static str = "fake";

    async fn connect(&self, _: &Holder) -> Result<Self, Failure> {
        self.with(|i| i.connections.push(Instant::now()));
        self.answer().await?;
        Ok(self.clone())
    }
}

impl Store for Fake {
    async fn claim(&mut self) -> Result<(), Failure> {
        self.answer().await
    }

    async fn check(&mut self) -> Result<(), Failure> {
        self.answer().await
    }

    async fn known(&mut self) -> Result<Vec<Item>, Failure> {
        Ok(Vec::new())
    }

    async fn put(&mut self, batch: &super::super::store::Batch, _: bool) -> Result<Done, Failure> {
        self.with(|i| {
            i.puts.push(batch.len());
            i.at_once += 1;
            i.most_at_once = i.most_at_once.max(i.at_once);
        });
        let answer = self.answer().await;
        self.with(|i| i.at_once -= 1);
        answer.map(|()| Done::default())
    }

    async fn index(&mut self, _: &BTreeMap<String, BTreeSet<String>>) -> Result<u64, Failure> {
        Ok(0)
    }
}

fn follower(fake: &Fake, services: usize) -> Arc<Follower<Fake>> {
    let caches = Caches::default();
    caches.services.list_begins(&None);
    for i in 0..services {
        let mut service: MedicalService = serde_json::from_value(serde_json::json!({
            "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService", "metadata": {"namespace": "a"},
            "spec": {"interfaces": []}
        }))
        .unwrap();
        service.metadata.name = Some(format!("s-{i}"));
        caches.services.listed(&None, service);
    }
    caches.services.list_ends(&None);
    caches.leave_empty_but_services();
    let board = Arc::new(Board::new("fake", Metrics::default()));
    Arc::new(Follower { server: fake.clone(), caches, dirty: Arc::default(), board, renew: Duration::from_secs(20) })
}

fn item(name: &str) -> Item {
    Item::service(Key::new("a", name))
}

fn term() -> Term {
    Term { holder: Holder { lease: "l".to_owned(), epoch: 1 }, lasts: Arc::new(|| true) }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_is_tried_again_within_two_seconds_for_ever_and_not_all_the_time() {
    let fake = Fake::new(Mood::Refuses);
    let stop = CancellationToken::new();
    let follower = follower(&fake, 1);
    let task = tokio::spawn(Arc::clone(&follower).run(term(), stop.clone()));
    sleep(Duration::from_secs(600)).await;
    let tries = fake.with(|i| i.connections.clone());
    let gaps: Vec<Duration> = tries.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(gaps.iter().all(|g| *g <= LONGEST), "{gaps:?}");
    assert!(gaps[8..].iter().all(|g| *g >= LONGEST / 2), "{gaps:?}");
    assert_eq!(follower.board.state().health, Health::Down(Failure::Unreachable));
    fake.with(|i| i.mood = Mood::Well);
    sleep(LONGEST).await;
    assert_eq!(follower.board.state().health, Health::Up);
    stop.cancel();
    task.await.unwrap();
    assert_eq!(follower.board.state().health, Health::Idle);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_in_the_middle_is_left_and_what_changed_meanwhile_is_not_queued() {
    let fake = Fake::new(Mood::Well);
    let stop = CancellationToken::new();
    let follower = follower(&fake, 300);
    let task = tokio::spawn(Arc::clone(&follower).run(term(), stop.clone()));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(fake.with(|i| std::mem::take(&mut i.puts)), [BATCH, BATCH, 300 - 2 * BATCH]);
    fake.with(|i| i.mood = Mood::Hangs);
    for _ in 0..5 {
        for i in 0..300 {
            follower.dirty.add(&item(&format!("s-{i}")));
        }
        advance(Duration::from_millis(100)).await;
    }
    sleep(BEAT + CALL).await;
    assert_eq!(follower.board.state().health, Health::Down(Failure::TimedOut));
    fake.with(|i| {
        i.mood = Mood::Well;
        i.puts.clear();
        i.at_once = 0;
    });
    sleep(CALL + LONGEST).await;
    assert_eq!(follower.board.state().health, Health::Up);
    assert_eq!(fake.with(|i| i.puts.clone()), [BATCH, BATCH, 300 - 2 * BATCH], "everything once");
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_just_in_time_is_followed_one_batch_after_the_other() {
    let fake = Fake::new(Mood::Slow);
    let stop = CancellationToken::new();
    let follower = follower(&fake, 3 * BATCH);
    let task = tokio::spawn(Arc::clone(&follower).run(term(), stop.clone()));
    for i in 0..600 {
        follower.dirty.add(&item(&format!("s-{}", i % 7)));
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(follower.board.state().health, Health::Up);
    assert_eq!(fake.with(|i| (i.connections.len(), i.most_at_once)), (1, 1));
    assert!(fake.with(|i| i.puts.len()) < 60, "changes are gathered");
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn everything_is_renewed_at_its_interval_however_much_changes() {
    let fake = Fake::new(Mood::Well);
    let stop = CancellationToken::new();
    let follower = follower(&fake, 10);
    let task = tokio::spawn(Arc::clone(&follower).run(term(), stop.clone()));
    for _ in 0..6100 {
        follower.dirty.add(&item("s-1"));
        sleep(Duration::from_millis(10)).await;
    }
    let renewals = fake.with(|i| i.puts.iter().filter(|n| **n == 10).count());
    assert_eq!(renewals, 4, "at the beginning and after 20, 40 and 60 s");
    stop.cancel();
    task.await.unwrap();
}
