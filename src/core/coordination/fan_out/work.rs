//! What is known of a step's items, between two statuses.
//!
//! A status holds sets of indexes, and for those items that are not in their first attempt groups of the same attempt. An item
//! keeps its place among `maxParallel` until it is over, waits between attempts included: so there are never more groups than
//! places, and a service that is down is not asked for item after item.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::indexes::Indexes;
use crate::{
    api::{
        fan_out::{ItemAttempts, ItemFailure, ItemIndexes, ItemsStatus},
        vocabulary::ErrorClass,
    },
    core::coordination::step::later,
};

/// Failures that a status lists.
const LISTED: usize = 10;
/// Longest message of one of them, in bytes.
const MESSAGE: usize = 256;

/// Which attempt an item is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Try {
    /// From 1.
    pub(super) attempt: u32,
    /// Attempts that are known to have failed.
    pub(super) known: u32,
    /// Its request was sent before, by a leader that was interrupted.
    pub(super) resent: bool,
}

const FIRST: Try = Try { attempt: 1, known: 0, resent: false };

/// All items of a step.
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    pub(super) total: u32,
    pub(super) succeeded: Indexes,
    pub(super) failed: Indexes,
    pub(super) running: Indexes,
    pub(super) stopping: Indexes,
    pub(super) unknown: Indexes,
    pub(super) canceled: Indexes,
    /// Items that wait for their next attempt, and until when.
    pub(super) retrying: BTreeMap<u32, Timestamp>,
    pub(super) failures: Vec<ItemFailure>,
    /// Attempts of items that are not in their first.
    tries: BTreeMap<u32, Try>,
    /// The first item that has not begun.
    next: u32,
}

impl Work {
    pub(super) fn new(total: u32) -> Self {
        Self { total, ..Self::default() }
    }

    pub(super) fn read(status: &ItemsStatus) -> Self {
        let set = |text: &Option<String>| Indexes::parse(text.as_deref());
        let at = &status.indexes;
        let mut work = Self {
            total: status.total,
            succeeded: set(&at.succeeded),
            failed: set(&at.failed),
            running: set(&at.running),
            stopping: set(&at.stopping),
            unknown: set(&at.unknown),
            canceled: set(&at.canceled),
            failures: status.failures.clone(),
            ..Self::default()
        };
        for group in &status.attempts {
            for index in Indexes::parse(Some(&group.indexes)).iter() {
                let known = group.known_failures.unwrap_or(0);
                let present = Try { attempt: group.attempt, known, resent: group.resent == Some(true) };
                work.tries.insert(index, present);
                if let Some(at) = group.wake_at {
                    work.retrying.insert(index, at);
                }
            }
        }
        let sets = [&work.succeeded, &work.failed, &work.running, &work.stopping, &work.unknown, &work.canceled];
        let last = sets.iter().filter_map(|s| s.last()).chain(work.retrying.keys().copied()).max();
        work.next = last.map_or(0, |i| i + 1);
        work
    }

    pub(super) fn status(&self) -> ItemsStatus {
        let mut groups: BTreeMap<(Try, Option<Timestamp>), Indexes> = BTreeMap::new();
        for (&index, &present) in &self.tries {
            groups.entry((present, self.retrying.get(&index).copied())).or_default().insert(index);
        }
        let group = |((at, wake_at), set): ((Try, Option<Timestamp>), Indexes)| ItemAttempts {
            attempt: at.attempt,
            known_failures: Some(at.known).filter(|&k| k > 0),
            resent: at.resent.then_some(true),
            wake_at,
            indexes: set.text().unwrap_or_default(),
        };
        ItemsStatus {
            total: self.total,
            succeeded: self.succeeded.len(),
            failed: self.failed.len(),
            active: self.active(),
            indexes: ItemIndexes {
                succeeded: self.succeeded.text(),
                failed: self.failed.text(),
                running: self.running.text(),
                stopping: self.stopping.text(),
                unknown: self.unknown.text(),
                canceled: self.canceled.text(),
            },
            attempts: groups.into_iter().map(group).collect(),
            failures: self.failures.clone(),
        }
    }

    /// How many items are under way.
    pub(super) fn active(&self) -> u32 {
        self.at_work() + u32::try_from(self.retrying.len()).unwrap_or(u32::MAX)
    }

    /// How many items are at work elsewhere.
    pub(super) const fn at_work(&self) -> u32 {
        self.running.len() + self.stopping.len()
    }

    /// Whether an item has not begun, or waits for another attempt.
    pub(super) fn has_more(&self) -> bool {
        self.next < self.total || !self.retrying.is_empty()
    }

    /// Whether no item has begun.
    pub(super) fn is_untouched(&self) -> bool {
        self.next == 0
    }

    /// The attempt of an item.
    pub(super) fn attempt(&self, index: u32) -> Try {
        self.tries.get(&index).copied().unwrap_or(FIRST)
    }

    /// The next item that may start while at most `parallel` are under way: one whose wait is over, or a new one.
    pub(super) fn due(&self, parallel: u32, now: Timestamp) -> Option<u32> {
        // fewer may be at work than when they began
        let may = |_: &(&u32, &Timestamp)| self.at_work() < parallel;
        let retry = self.retrying.iter().find(|(_, at)| **at <= now).filter(may).map(|(&index, _)| index);
        retry.or_else(|| (self.next < self.total && self.active() < parallel).then_some(self.next))
    }

    /// How many items are not over.
    pub(super) const fn open(&self) -> u32 {
        self.total.saturating_sub(self.succeeded.len() + self.failed.len() + self.canceled.len())
    }

    /// How many items may start while at most `parallel` are under way.
    pub(super) fn room(&self, parallel: u32, now: Timestamp) -> u32 {
        let due = self.retrying.values().filter(|at| **at <= now).count();
        let fresh = (self.total - self.next.min(self.total)).min(parallel.saturating_sub(self.active()));
        fresh.saturating_add(u32::try_from(due).unwrap_or(u32::MAX))
    }

    /// An item starts, or would have.
    pub(super) fn start(&mut self, index: u32) {
        self.retrying.remove(&index);
        self.running.insert(index);
        self.next = self.next.max(index + 1);
    }

    /// An item's request is sent again, which a former leader may have sent.
    pub(super) fn resend(&mut self, index: u32) {
        let present = self.attempt(index);
        self.tries.insert(index, Try { resent: true, ..present });
    }

    /// What an item's request needs is not there: it waits for its turn again, in the same attempt.
    pub(super) fn postpone(&mut self, index: u32, now: Timestamp) {
        let present = self.attempt(index);
        self.running.remove(index);
        self.tries.insert(index, present);
        self.retrying.insert(index, now);
    }

    pub(super) fn succeed(&mut self, index: u32) {
        self.leave(index);
        self.succeeded.insert(index);
    }

    pub(super) fn fail(&mut self, index: u32, reason: ErrorClass, message: &str) {
        self.leave(index);
        self.failed.insert(index);
        self.list(index, reason, message);
    }

    /// Nobody knows whether the attempt took effect; its number is kept.
    pub(super) fn lose(&mut self, index: u32, reason: ErrorClass, message: &str) {
        self.running.remove(index);
        self.unknown.insert(index);
        self.list(index, reason, message);
    }

    pub(super) fn stop(&mut self, index: u32) {
        if self.running.remove(index) {
            self.stopping.insert(index);
        }
    }

    /// Items that only wait for their next attempt are given up.
    pub(super) fn cancel_waiting(&mut self) {
        for index in std::mem::take(&mut self.retrying).into_keys() {
            self.cancel(index);
        }
    }

    pub(super) fn cancel(&mut self, index: u32) {
        self.leave(index);
        self.canceled.insert(index);
    }

    /// Another attempt follows after about `wait`: items of the same attempt whose waits end within a quarter of it wait
    /// together, so that there are few groups however many items fail.
    pub(super) fn retry(&mut self, index: u32, known: bool, now: Timestamp, wait: Duration) {
        let before = self.attempt(index);
        // once nobody knows of an attempt, all that follow must be known as the same request: an effect may be there
        let known = if known && before.attempt == before.known + 1 { before.attempt } else { before.known };
        let next = Try { attempt: before.attempt + 1, known, resent: false };
        let (first, last) = (later(now, wait), later(now, wait + (wait / 4).max(Duration::from_millis(20))));
        let shared = self.retrying.iter().find(|(i, at)| **at >= first && **at <= last && self.attempt(**i) == next);
        let at = shared.map_or(last, |(_, at)| *at);
        self.running.remove(index);
        self.stopping.remove(index);
        self.unknown.remove(index);
        self.tries.insert(index, next);
        self.retrying.insert(index, at);
    }

    fn leave(&mut self, index: u32) {
        self.running.remove(index);
        self.stopping.remove(index);
        self.unknown.remove(index);
        self.retrying.remove(&index);
        self.tries.remove(&index);
        self.next = self.next.max(index + 1);
    }

    fn list(&mut self, index: u32, reason: ErrorClass, message: &str) {
        let listed = self.failures.iter_mut().find(|f| f.index == index);
        let message = cut(message);
        if let Some(failure) = listed {
            (failure.reason, failure.message) = (reason, message);
        } else if self.failures.len() < LISTED {
            self.failures.push(ItemFailure { index, reason, message });
        }
    }

    /// An item whose outcome was not known is known to have succeeded.
    pub(super) fn unlist(&mut self, index: u32) {
        self.failures.retain(|f| f.index != index);
    }
}

fn cut(message: &str) -> String {
    let mut end = message.len().min(MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].to_owned()
}
