//! What an endpoint can do: observed, and compared with what is declared and with what it could do before.

mod compare;
mod dicom;
mod fhir;
mod held;
pub(super) mod report;

use std::collections::{BTreeMap, BTreeSet};

pub use compare::missing;
pub use dicom::{Contexts, proposal, refused};
pub use fhir::{Invalid, MAX_STATEMENT, read};
pub use held::Held;

use crate::api::fhir_capability::FhirInteraction;

/// What an endpoint can do, by its protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Facts {
    /// A FHIR server.
    Fhir(Statement),
    /// A DICOM service.
    Dicom(Contexts),
}

impl Facts {
    /// Whether a difference between the two says that the endpoint has changed, and not that it was asked something else.
    pub(super) fn comparable(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fhir(_), Self::Fhir(_)) => true,
            (Self::Dicom(one), Self::Dicom(other)) => one.proposed == other.proposed,
            _ => false,
        }
    }
}

/// What a FHIR server tells that it can do: as much of its `CapabilityStatement` as is compared. Nothing in it is free text of the
/// server's: names are those of the standard's form, all else is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// `fhirVersion`, such as `4.0.1`.
    pub version: String,
    /// What it does with resources of each type.
    pub resources: BTreeMap<String, BTreeSet<FhirInteraction>>,
    /// Names of operations, with `$`.
    pub operations: BTreeSet<String>,
}
