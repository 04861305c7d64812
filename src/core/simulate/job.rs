//! An Indexed Job as the Job controller runs it: which pods are at work when, and what its status says.
//!
//! Source: Kubernetes documentation, "Job", sections "Completion mode", "Backoff limit per index" and "Pod failure policy".

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use super::{later, plan::Plan};
use crate::{
    api::vocabulary::ErrorClass,
    core::coordination::{
        definition::StepDefinition,
        fan_out::indexes::Indexes,
        view::{Attempt, JobEnd, JobView, StartJob},
    },
};

/// The Job controller's wait after the first failure of an index; it doubles with each.
const BACKOFF: Duration = Duration::from_secs(10);
/// Its longest wait.
const LONGEST: Duration = Duration::from_secs(600);

/// One Job.
#[derive(Debug)]
pub(super) struct IndexedJob<'a> {
    plan: &'a Plan,
    pub(super) step: &'a StepDefinition,
    wish: StartJob,
    began: Timestamp,
    /// When each pod ends.
    running: BTreeSet<(Timestamp, u32)>,
    /// When the next pod of each index may start whose last one failed. It keeps its place among those that run.
    waiting: BTreeSet<(Timestamp, u32)>,
    /// Pods of an index that have failed, and those of them that count.
    failures: BTreeMap<u32, (u32, u32)>,
    /// The first index that has had no pod.
    next: u32,
    succeeded: Indexes,
    failed: Indexes,
    end: Option<JobEnd>,
    /// Pods that were not the first of their index.
    pub(super) repeated: u32,
}

impl<'a> IndexedJob<'a> {
    pub(super) fn new(plan: &'a Plan, step: &'a StepDefinition, wish: StartJob, now: Timestamp) -> Self {
        let mut job = Self {
            plan,
            step,
            wish,
            began: now,
            running: BTreeSet::new(),
            waiting: BTreeSet::new(),
            failures: BTreeMap::new(),
            next: 0,
            succeeded: Indexes::new(),
            failed: Indexes::new(),
            end: None,
            repeated: 0,
        };
        job.start(now);
        job
    }

    /// When something next happens.
    pub(super) fn next(&self) -> Option<Timestamp> {
        if self.end.is_some() {
            return None;
        }
        let first = |set: &BTreeSet<(Timestamp, u32)>| set.first().map(|(at, _)| *at);
        [first(&self.running), first(&self.waiting), later(self.began, self.wish.deadline)].into_iter().flatten().min()
    }

    /// All that happens until a moment.
    pub(super) fn advance(&mut self, now: Timestamp) {
        while let Some(at) = self.next().filter(|at| *at <= now) {
            while let Some((_, index)) = self.running.first().copied().filter(|(ends, _)| *ends <= at) {
                self.running.pop_first();
                self.ended(index, at);
            }
            if self.end.is_none() && later(self.began, self.wish.deadline).is_some_and(|limit| limit <= at) {
                self.stop("DeadlineExceeded");
            }
            self.start(at);
        }
    }

    /// A pod has ended.
    fn ended(&mut self, index: u32, at: Timestamp) {
        let (all, counted) = self.failures.get(&index).copied().unwrap_or_default();
        let Some(class) = self.failure(index, all + 1) else {
            self.succeeded.insert(index);
            return self.over();
        };
        // a pod that was taken away costs nothing where the step is interruptible
        let counts = !(class == ErrorClass::PodLost && self.wish.interruptible);
        let counted = counted + u32::from(counts);
        self.failures.insert(index, (all + 1, counted));
        if counted > self.wish.retries {
            self.failed.insert(index);
            return self.over();
        }
        let wait = BACKOFF.saturating_mul(2_u32.saturating_pow(all)).min(LONGEST);
        if let Some(at) = later(at, wait) {
            self.waiting.insert((at, index));
        }
    }

    /// An index is over, and perhaps the Job.
    fn over(&mut self) {
        if self.failed.len() > self.wish.tolerated {
            self.stop("MaxFailedIndexesExceeded");
        } else if self.succeeded.len() + self.failed.len() == self.wish.total {
            let failed = !self.failed.is_empty();
            self.end = Some(if failed { JobEnd::Failed("FailedIndexes".to_owned()) } else { JobEnd::Complete });
        }
    }

    /// The Job has failed: pods at work are stopped.
    fn stop(&mut self, reason: &str) {
        self.running.clear();
        self.waiting.clear();
        self.end = Some(JobEnd::Failed(reason.to_owned()));
    }

    /// Pods for which there is a place.
    fn start(&mut self, now: Timestamp) {
        if self.end.is_some() {
            return;
        }
        while let Some((_, index)) = self.waiting.first().copied().filter(|(at, _)| *at <= now) {
            self.waiting.pop_first();
            self.repeated += 1;
            self.pod(index, now);
        }
        let parallel = usize::try_from(self.wish.parallel).unwrap_or(usize::MAX);
        while self.next < self.wish.total && self.running.len() + self.waiting.len() < parallel {
            self.pod(self.next, now);
            self.next += 1;
        }
    }

    fn pod(&mut self, index: u32, now: Timestamp) {
        let attempt = self.attempt(index, self.failures.get(&index).map_or(0, |f| f.0) + 1);
        let hangs = matches!(self.plan.failure(&attempt), Some(ErrorClass::Timeout | ErrorClass::PodNotStarted));
        let works = if hangs { Duration::MAX } else { self.plan.duration(self.step, &attempt) };
        // the kubelet ends a pod that works for too long
        if let Some(ends) = later(now, works.min(self.wish.pod.deadline)) {
            self.running.insert((ends, index));
        }
    }

    fn attempt(&self, index: u32, number: u32) -> Attempt {
        Attempt { step: self.wish.pod.attempt.step.clone(), index: Some(index), number }
    }

    /// How a pod of an index fails.
    fn failure(&self, index: u32, number: u32) -> Option<ErrorClass> {
        let attempt = self.attempt(index, number);
        let late = self.plan.duration(self.step, &attempt) > self.wish.pod.deadline;
        self.plan.failure(&attempt).or(late.then_some(ErrorClass::Timeout))
    }

    /// What its status says.
    pub(super) fn view(&self) -> JobView {
        JobView {
            since: Some(self.began),
            active: u32::try_from(self.running.len()).unwrap_or(u32::MAX),
            succeeded: self.succeeded.text().unwrap_or_default(),
            failed: self.failed.text().unwrap_or_default(),
            end: self.end.clone(),
            stopping: false,
        }
    }
}
