//! Keeps one store like the registry, for as long as this replica leads.
//!
//! A session begins with everything: what the store holds is read, compared with the caches, and set right. Then services and answers are looked
//! at as they change, everything again at an interval that renews expiries, and once a second the mark of ownership, which shows a server that
//! was emptied or began anew. Any failure ends the session, and another connection begins another one.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    dirty::{Dirty, Work},
    state::Board,
    store::{Done, Failure, Server, Store},
};
use crate::{
    cluster::{
        observe::Caches,
        waits::{doubled, spread},
    },
    core::registry::{Content, Holder, Item, Kind, QUERIES, SERVICES, Told},
};

/// How long a store may take for one thing. Shorter than what is left of a lease when its holder stops writing.
pub(super) const CALL: Duration = Duration::from_secs(2);
/// Services and answers in one batch.
pub(super) const BATCH: usize = 128;
/// How long is waited for further changes after one.
const GATHER: Duration = Duration::from_millis(20);
/// Time between two looks at the mark of ownership.
const BEAT: Duration = Duration::from_secs(1);
/// Wait after the first failure.
const FIRST: Duration = Duration::from_millis(100);
/// Longest wait after a failure: what comes back is to be whole again within seconds.
const LONGEST: Duration = Duration::from_secs(2);

/// What a mirror reads and tells.
pub(super) struct Follower<S> {
    pub(super) server: S,
    pub(super) caches: Caches,
    pub(super) dirty: Arc<Dirty>,
    pub(super) board: Arc<Board>,
    /// Time between two looks at everything.
    pub(super) renew: Duration,
}

/// The term in which a mirror writes.
#[derive(Clone)]
pub struct Term {
    /// Who writes.
    pub holder: Holder,
    /// Whether it may still.
    pub lasts: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl<S: Server> Follower<S> {
    /// Follows the registry until stopped.
    pub(super) async fn run(self: Arc<Self>, term: Term, stop: CancellationToken) {
        stop.run_until_cancelled(self.follow(&term)).await;
        self.dirty.close();
        self.board.idle();
    }

    async fn follow(&self, term: &Term) {
        // nothing is decided, and so nothing deleted, before every kind's first complete list
        self.caches.wait_ready().await;
        let mut failures = 0;
        // what was told in this term: a store that cannot list its keys is still rid of what went while it was away
        let mut told = BTreeSet::new();
        loop {
            self.dirty.open();
            let begun = Instant::now();
            let failure = match self.session(term, &mut told).await {
                Ok(never) => match never {},
                Err(failure) => failure,
            };
            // a session that held out shows that the server was well: the next failure is a first one
            failures = if begun.elapsed() > LONGEST * 2 { 0 } else { failures };
            self.board.down(failure);
            let wait = doubled(FIRST, failures, LONGEST);
            failures += 1;
            sleep(spread(wait, &[S::NAME, &term.holder.lease, &failures.to_string()])).await;
        }
    }

    /// One connection, until it fails.
    async fn session(&self, term: &Term, told: &mut BTreeSet<Item>) -> Result<std::convert::Infallible, Failure> {
        lasts(term)?;
        let mut store = bounded(self.server.connect(&term.holder)).await?;
        self.everything(&mut store, term, told).await?;
        self.board.up();
        let mut renew = interval_at(Instant::now() + self.renew, self.renew);
        let mut beat = interval_at(Instant::now() + BEAT, BEAT);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = renew.tick() => self.everything(&mut store, term, told).await?,
                _ = beat.tick() => bounded(store.check()).await?,
                () = self.dirty.some() => {
                    sleep(GATHER).await;
                    match self.dirty.take(BATCH) {
                        Work::All => self.everything(&mut store, term, told).await?,
                        Work::Some(items) => {
                            self.batch(&mut store, term, &items, false, told).await?;
                        }
                    }
                }
            }
        }
    }

    /// Looks at all that there is, here or there.
    async fn everything(&self, store: &mut S::Store, term: &Term, told: &mut BTreeSet<Item>) -> Result<(), Failure> {
        lasts(term)?;
        bounded(store.claim()).await?;
        let mut items: BTreeSet<Item> = bounded(store.known()).await?.into_iter().collect();
        items.extend(told.iter().cloned());
        items.extend([Kind::Service, Kind::Query].into_iter().flat_map(|kind| self.caches.items(kind)));
        let items: Vec<Item> = items.into_iter().collect();
        let mut sets: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let (mut foreign, mut refused) = (0, 0);
        for items in items.chunks(BATCH) {
            let (shown, done) = self.batch(store, term, items, true, told).await?;
            let there = shown.iter().filter(|t| !done.foreign.contains(&t.item()));
            for (set, members) in Content::of(there).sets {
                sets.entry(set).or_default().extend(members);
            }
            foreign += done.foreign.len();
            refused += done.refused.len();
        }
        lasts(term)?;
        self.board.wrote(bounded(store.index(&sets)).await?);
        let size = |set: &str| sets.get(set).map_or(0, BTreeSet::len);
        self.board.whole(size(SERVICES), size(QUERIES), foreign, refused);
        Ok(())
    }

    async fn batch(
        &self,
        store: &mut S::Store,
        term: &Term,
        items: &[Item],
        renew: bool,
        told: &mut BTreeSet<Item>,
    ) -> Result<(Vec<Told>, Done), Failure> {
        lasts(term)?;
        let batch: Vec<(Item, Option<Told>)> = items.iter().map(|item| (item.clone(), self.now(item))).collect();
        // known before it is sent: an answer may be lost after the effect
        told.extend(batch.iter().filter(|(_, now)| now.is_some()).map(|(item, _)| item.clone()));
        let done = bounded(store.put(&batch, renew)).await?;
        for (item, _) in batch.iter().filter(|(item, now)| now.is_none() && !done.again.contains(item)) {
            told.remove(item);
        }
        self.board.wrote(done.written);
        done.again.iter().for_each(|item| self.dirty.add(item));
        Ok((batch.into_iter().filter_map(|(_, now)| now).collect(), done))
    }

    /// What there should be of it. Services that are not in an answer are for people, and no program waits for them.
    fn now(&self, item: &Item) -> Option<Told> {
        Some(match self.caches.told(item)? {
            Told::Answer(reply) => Told::Answer(reply.short()),
            service @ Told::Service(_) => service,
        })
    }
}

fn lasts(term: &Term) -> Result<(), Failure> {
    if (term.lasts)() { Ok(()) } else { Err(Failure::NotLeading) }
}

async fn bounded<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(CALL, work).await.unwrap_or(Err(Failure::TimedOut))
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
