//! What a decision about one `ServiceQuery` sees, and what it answers.

use std::collections::BTreeMap;

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};

use super::known::Known;
use crate::{
    api::{MedicalService, ServiceQuery, ServiceQueryStatus},
    core::{
        discovery::decision::{OwnedKind, Wanted},
        note::Note,
        refusal::Refusal,
    },
    render::{Owner, endpoint_slice},
};

/// Kind of the owner of everything that is decided here.
pub const KIND: &str = "ServiceQuery";

/// A snapshot of what one query depends on.
#[derive(Clone, Debug)]
pub struct QueryView<'a> {
    /// The query itself.
    pub query: &'a ServiceQuery,
    /// Domain of cluster DNS, such as `cluster.local`.
    pub cluster_domain: &'a str,
    /// All services of its namespace.
    pub services: &'a [ServiceFacts<'a>],
    /// The signals that it names.
    pub signals: &'a [SignalFacts],
    /// The Service of the query's name, whoever made it.
    pub core_service: Option<&'a Service>,
    /// The `EndpointSlice`s in the namespace that carry the label `medley.health/query` with the query's name, whoever made them.
    pub slices: Vec<&'a EndpointSlice>,
    /// What the API server refused to write for it.
    pub refused: Option<&'a Refusal>,
    /// Lease transitions of this leader.
    pub epoch: i64,
}

/// A service, as queries see it.
#[derive(Clone, Debug)]
pub struct ServiceFacts<'a> {
    /// The service.
    pub service: &'a MedicalService,
    /// The endpoints of the interface that answers; not asked for where it does not match.
    pub known: Vec<Known>,
}

/// A signal, as queries see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalFacts {
    /// Its name.
    pub name: String,
    /// Whether it is read.
    pub state: SignalState,
    /// What it says of the services of the namespace, by name, in hundredths from 0 to 100.
    pub values: BTreeMap<String, u8>,
}

/// Whether a signal is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalState {
    /// The operator knows no such signal.
    Unknown,
    /// It has not been read for long.
    NotRead,
    /// It has.
    Read,
}

impl ServiceFacts<'_> {
    pub(super) fn name(&self) -> &str {
        self.service.metadata.name.as_deref().unwrap_or_default()
    }
}

impl QueryView<'_> {
    /// The query as the owner of its objects.
    pub(super) fn owner(&self) -> Owner {
        let metadata = &self.query.metadata;
        Owner {
            kind: KIND,
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
        }
    }

    /// The slices that medley keeps for this very query.
    pub(super) fn own_slices<'s>(&'s self, owner: &'s Owner) -> impl Iterator<Item = &'s EndpointSlice> {
        self.slices.iter().copied().filter(|s| endpoint_slice::is_ours(s) && owner.controls(&s.metadata))
    }
}

/// Everything that should be. Objects come first, then the status: it only reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryDecision {
    /// The whole next status; `None` when the present one is right.
    pub status: Option<ServiceQueryStatus>,
    /// Objects that should be as they are here. Only fields that medley owns are set.
    pub wanted: Vec<Wanted>,
    /// Objects of this query that should not be.
    pub unwanted: Vec<(OwnedKind, String)>,
    /// What people should know. Empty when nothing changed.
    pub notes: Vec<Note>,
}
