//! What the registry tells of: services, and the answers to queries.

use std::fmt;

use serde::{Serialize, Serializer};

use super::{record::Record, reply::Reply};
use crate::core::name::Key;

/// A kind of thing that the registry tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A `MedicalService`.
    Service,
    /// The answer to a `ServiceQuery`.
    Query,
}

impl Kind {
    /// The word for it in stores.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Query => "query",
        }
    }

    /// Kubernetes' name of the resource.
    #[must_use]
    pub const fn resource(self) -> &'static str {
        match self {
            Self::Service => "medicalservices",
            Self::Query => "servicequeries",
        }
    }
}

/// One thing that the registry tells of. A query and a service may have the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub key: Key,
}

impl Item {
    /// A service.
    #[must_use]
    pub const fn service(key: Key) -> Self {
        Self { kind: Kind::Service, key }
    }

    /// A query.
    #[must_use]
    pub const fn query(key: Key) -> Self {
        Self { kind: Kind::Query, key }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.key)
    }
}

/// What is told of one thing.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// A service.
    Service(Record),
    /// The answer to a query.
    Answer(Reply),
}

impl Told {
    /// What it is told of.
    #[must_use]
    pub fn item(&self) -> Item {
        match self {
            Self::Service(record) => Item::service(record.key()),
            Self::Answer(reply) => Item::query(reply.key()),
        }
    }
}

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Service(record) => record.serialize(serializer),
            Self::Answer(reply) => reply.serialize(serializer),
        }
    }
}
