//! Points that wait to be written. There is room for so many; beyond it the oldest go, since what is now matters more.

use std::collections::VecDeque;

/// Points that are written by one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// One line each.
    pub text: String,
    /// How many.
    pub points: usize,
}

/// Batches in the order of time.
#[derive(Debug)]
pub struct Backlog {
    batches: VecDeque<Batch>,
    /// Points of all batches.
    held: usize,
    /// Most points that may wait.
    limit: usize,
    /// Most points of a batch.
    batch: usize,
}

impl Backlog {
    /// Room for `limit` points, in batches of at most `batch`.
    #[must_use]
    pub const fn new(limit: usize, batch: usize) -> Self {
        Self { batches: VecDeque::new(), held: 0, limit, batch: if batch == 0 { 1 } else { batch } }
    }

    /// Takes in the newest points; how many old ones had to go.
    #[must_use]
    pub fn push(&mut self, points: &[String]) -> usize {
        for lines in points.chunks(self.batch) {
            self.held += lines.len();
            self.batches.push_back(Batch { text: lines.join("\n"), points: lines.len() });
        }
        let mut dropped = 0;
        while self.held > self.limit {
            dropped += self.pop().map_or(0, |batch| batch.points);
        }
        dropped
    }

    /// The oldest batch.
    pub fn pop(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.held -= batch.points;
        Some(batch)
    }

    /// Takes back a batch that could not be written: it is the oldest again. How many points had to go, since there is no room left.
    #[must_use]
    pub fn put_back(&mut self, batch: Batch) -> usize {
        if self.held + batch.points > self.limit {
            return batch.points;
        }
        self.held += batch.points;
        self.batches.push_front(batch);
        0
    }

    /// How many points wait.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(from: usize, to: usize) -> Vec<String> {
        (from..to).map(|n| n.to_string()).collect()
    }

    #[test]
    fn points_go_in_batches_in_the_order_in_which_they_came() {
        let mut backlog = Backlog::new(10, 3);
        assert_eq!(backlog.push(&points(0, 4)), 0);
        assert_eq!(backlog.held(), 4);
        assert_eq!(backlog.pop(), Some(Batch { text: "0\n1\n2".to_owned(), points: 3 }));
        assert_eq!(backlog.pop(), Some(Batch { text: "3".to_owned(), points: 1 }));
        assert_eq!((backlog.pop(), backlog.held()), (None, 0));
    }

    #[test]
    fn the_oldest_go_when_there_is_no_room() {
        let mut backlog = Backlog::new(10, 3);
        assert_eq!(backlog.push(&points(0, 9)), 0);
        assert_eq!(backlog.push(&points(9, 12)), 3);
        assert_eq!((backlog.held(), backlog.pop().unwrap().text), (9, "3\n4\n5".to_owned()));
        assert_eq!(backlog.push(&points(0, 100)), 6 + 90, "the newest batches of it fit");
    }

    #[test]
    fn what_is_taken_back_comes_first_or_goes() {
        let mut backlog = Backlog::new(6, 3);
        assert_eq!(backlog.push(&points(0, 6)), 0);
        let oldest = backlog.pop().unwrap();
        assert_eq!(backlog.put_back(oldest.clone()), 0);
        assert_eq!(backlog.pop(), Some(oldest.clone()));
        assert_eq!(backlog.push(&points(6, 9)), 0);
        assert_eq!((backlog.put_back(oldest), backlog.held()), (3, 6));
    }
}
