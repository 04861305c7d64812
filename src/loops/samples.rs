//! What finished runs have shown, on its way from the loop of runs to that of workflows: bounded, in memory, each once.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    core::{
        coordination::forecast::{Sample, history},
        name::Key,
    },
    telemetry::Metrics,
};

/// Cells of all samples that wait, together: 4 bytes each.
const MOST_CELLS: usize = 2_000_000;

/// Samples that no workflow's status holds yet, of one term: a leader begins with none.
#[derive(Debug)]
pub struct Samples {
    inner: Mutex<Inner>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Inner {
    /// How many samples there have been.
    number: i64,
    cells: usize,
    waiting: HashMap<Key, VecDeque<(i64, Sample)>>,
}

impl Samples {
    /// None yet.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self { inner: Mutex::default(), metrics }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run of this workflow has ended. Of more than a history keeps, the oldest goes; where all workflows together have too
    /// many, those that wait longest go.
    pub fn add(&self, workflow: Key, sample: Sample) {
        let mut inner = self.lock();
        inner.number += 1;
        let (number, size) = (inner.number, sample.cells.len());
        let most = history::kept(size);
        let waiting = inner.waiting.entry(workflow).or_default();
        let mut freed = 0;
        if waiting.len() >= most {
            freed = waiting.pop_front().map_or(0, |(_, s)| s.cells.len());
            self.metrics.samples_dropped.inc();
        }
        waiting.push_back((number, sample));
        inner.cells = inner.cells + size - freed;
        while inner.cells > MOST_CELLS && inner.drop_longest_waiting() {
            self.metrics.samples_dropped.inc();
        }
    }

    /// What waits for this workflow, in the order in which it came.
    #[must_use]
    pub fn of(&self, workflow: &Key) -> Vec<(i64, Sample)> {
        self.lock().waiting.get(workflow).map(|w| w.iter().cloned().collect()).unwrap_or_default()
    }

    /// The workflow's status holds all up to this one.
    pub fn counted(&self, workflow: &Key, number: i64) {
        let mut inner = self.lock();
        let Some(waiting) = inner.waiting.get_mut(workflow) else { return };
        let mut freed = 0;
        while let Some((_, sample)) = waiting.pop_front_if(|(n, _)| *n <= number) {
            freed += sample.cells.len();
        }
        if waiting.is_empty() {
            inner.waiting.remove(workflow);
        }
        inner.cells -= freed;
    }

    /// Forgets all of a workflow that is gone.
    pub fn forget(&self, workflow: &Key) {
        self.counted(workflow, i64::MAX);
    }
}

impl Inner {
    /// Whether there was one.
    fn drop_longest_waiting(&mut self) -> bool {
        let first = |w: &VecDeque<(i64, Sample)>| w.front().map(|(n, _)| *n);
        let Some(key) = self.waiting.iter().min_by_key(|(_, w)| first(w)).map(|(k, _)| k.clone()) else { return false };
        let Some(waiting) = self.waiting.get_mut(&key) else { return false };
        self.cells -= waiting.pop_front().map_or(0, |(_, s)| s.cells.len());
        if waiting.is_empty() {
            self.waiting.remove(&key);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::coordination::forecast::Cell;

    fn sample(steps: usize) -> Sample {
        Sample { revision: "rev".to_owned(), cells: vec![Cell::Skipped; steps].into() }
    }

    fn numbers(samples: &Samples, name: &str) -> Vec<i64> {
        samples.of(&Key::new("n", name)).iter().map(|(n, _)| *n).collect()
    }

    #[test]
    fn what_is_counted_goes_and_what_came_meanwhile_stays() {
        let samples = Samples::new(Metrics::default());
        let key = Key::new("n", "ct");
        samples.add(key.clone(), sample(3));
        samples.add(key.clone(), sample(3));
        let taken = numbers(&samples, "ct");
        samples.add(key.clone(), sample(3));
        samples.counted(&key, *taken.last().unwrap());
        assert_eq!(numbers(&samples, "ct"), [3]);
        samples.forget(&key);
        assert_eq!(samples.lock().cells, 0);
    }

    #[test]
    fn of_too_many_the_oldest_go_and_are_counted() {
        let metrics = Metrics::default();
        let samples = Samples::new(metrics.clone());
        for _ in 0..70 {
            samples.add(Key::new("n", "small"), sample(1));
        }
        assert_eq!(numbers(&samples, "small"), (7..=70).collect::<Vec<_>>());
        assert_eq!(metrics.samples_dropped.get(), 6);
        for workflow in 0..400 {
            for _ in 0..24 {
                samples.add(Key::new("n", workflow.to_string()), sample(500));
            }
        }
        assert!(samples.lock().cells <= MOST_CELLS);
        assert!(numbers(&samples, "small").is_empty(), "it waited longest");
        assert_eq!(numbers(&samples, "399").len(), 24);
    }
}
