//! What can go wrong when talking to the API server, and what follows.

use kube::core::Status;

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This process is not the leader, or its lease may end before the call does.
    #[error("this process does not lead (any more): nothing was written")]
    NotLeader,
    /// The API server did not answer in time; the call may have taken effect.
    #[error("{verb} {kind}: no answer within {seconds} s")]
    Timeout {
        /// The verb.
        verb: &'static str,
        /// The kind of object.
        kind: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The API server said no, or could not be reached.
    #[error("{verb} {kind}: {source}")]
    Api {
        /// The verb.
        verb: &'static str,
        /// The kind of object.
        kind: String,
        /// What came.
        source: Box<kube::Error>,
    },
    /// An object of the name that is needed belongs to somebody else.
    #[error("{kind} {name} exists and is not ours: delete or rename it")]
    NameTaken {
        /// The kind of object.
        kind: String,
        /// Its name.
        name: String,
    },
}

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Try again, later and later.
    Retry,
    /// The object has changed meanwhile: read it again and decide anew.
    Conflict,
    /// The object is gone: nothing to do.
    Gone,
    /// Only a change by somebody else helps; tried again rarely.
    User,
    /// Stop: this process may not write.
    NotLeader,
}

impl Error {
    /// What follows.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::NotLeader => Class::NotLeader,
            Self::Timeout { .. } => Class::Retry,
            Self::NameTaken { .. } => Class::User,
            Self::Api { .. } => match self.status() {
                Some(s) if s.is_conflict() => Class::Conflict,
                Some(s) if s.is_not_found() => Class::Gone,
                // nothing can be made in a namespace that is being deleted, and what is in it goes too
                Some(s) if has_cause(s, "NamespaceTerminating") => Class::Gone,
                Some(s) if s.is_forbidden() || s.is_invalid() => Class::User,
                _ => Class::Retry,
            },
        }
    }

    /// A word for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotLeader => "not_leader",
            Self::Timeout { .. } => "timeout",
            Self::NameTaken { .. } => "name_taken",
            Self::Api { .. } => match self.status() {
                Some(s) if s.is_conflict() => "conflict",
                Some(s) if s.is_already_exists() => "already_exists",
                Some(s) if s.is_not_found() => "not_found",
                Some(s) if s.is_forbidden() => "forbidden",
                Some(s) if s.is_invalid() => "invalid",
                Some(_) => "api",
                None => "transport",
            },
        }
    }

    /// What the API server said.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether an object of this name exists already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.status().is_some_and(Status::is_already_exists)
    }

    /// Whether there is no such object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(Status::is_not_found)
    }
}

fn has_cause(status: &Status, cause: &str) -> bool {
    status.details.iter().flat_map(|d| &d.causes).any(|c| c.reason == cause)
}
