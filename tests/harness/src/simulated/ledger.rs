//! Who asked what, and what came of it? The record of every call.

use super::faults::Call;
use std::time::Duration;

/// A call and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The request.
    pub call: Call,
    /// Time since the server was built, when the request arrived (of tokio's clock).
    pub at: Duration,
    /// Status code that the server decided on; `None` while it is under way and when the call never reached the server's store.
    pub code: Option<u16>,
    /// It stored a new version of something or removed something.
    pub changed: bool,
    /// The caller got the answer.
    pub replied: bool,
}

/// Counting helpers over a list of records.
pub trait Ledger {
    /// Writes that reached the store, events of either group left out.
    fn writes(&self) -> usize;
    /// As `writes`, of one user.
    fn writes_of(&self, user: &str) -> usize;
    /// How many calls had this verb, resource and subresource (empty for the main one).
    fn count(&self, verb: &str, resource: &str, subresource: &str) -> usize;
}

impl Ledger for [Record] {
    fn writes(&self) -> usize {
        self.iter().filter(|r| is_counted(r)).count()
    }

    fn writes_of(&self, user: &str) -> usize {
        self.iter().filter(|r| is_counted(r) && r.call.user == user).count()
    }

    fn count(&self, verb: &str, resource: &str, subresource: &str) -> usize {
        self.iter()
            .filter(|r| r.call.verb == verb && r.call.resource == resource && r.call.subresource == subresource)
            .count()
    }
}

fn is_counted(record: &Record) -> bool {
    record.call.is_write() && !record.call.is_event() && record.code.is_some()
}
