//! What a FHIR server can do, as far as a `MedicalService` declares it and medley observes it.
//!
//! Source: HL7 FHIR R4 (4.0.1), capabilitystatement.html.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{fhir::resource_type, rules, schema};

/// A release of FHIR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
pub enum FhirVersion {
    /// 4.0
    R4,
    /// 4.3
    R4B,
    /// 5.0
    R5,
}

impl FhirVersion {
    /// What `CapabilityStatement.fhirVersion` of a server of this release begins with.
    #[must_use]
    pub const fn number(self) -> &'static str {
        match self {
            Self::R4 => "4.0",
            Self::R4B => "4.3",
            Self::R5 => "5.0",
        }
    }

    /// As the field is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::R4 => "R4",
            Self::R4B => "R4B",
            Self::R5 => "R5",
        }
    }
}

/// An interaction with resources of one type (value set type-restful-interaction).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FhirInteraction {
    /// Reads the present version.
    Read,
    /// Reads a version.
    Vread,
    /// Replaces.
    Update,
    /// Changes a part.
    Patch,
    /// Removes.
    Delete,
    /// The past of one resource.
    HistoryInstance,
    /// The past of all resources of the type.
    HistoryType,
    /// Creates.
    Create,
    /// Searches.
    SearchType,
}

impl FhirInteraction {
    /// All of them, in the order of the value set.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::Vread,
        Self::Update,
        Self::Patch,
        Self::Delete,
        Self::HistoryInstance,
        Self::HistoryType,
        Self::Create,
        Self::SearchType,
    ];

    /// Its code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Vread => "vread",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::HistoryInstance => "history-instance",
            Self::HistoryType => "history-type",
            Self::Create => "create",
            Self::SearchType => "search-type",
        }
    }
}

/// A type of resources that the server must know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct FhirResource {
    /// The type, such as `ImagingStudy`.
    #[serde(rename = "type")]
    #[schemars(schema_with = "resource_type")]
    pub type_: String,
    /// What the server must do with resources of the type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9), extend("x-kubernetes-list-type" = "set"))]
    pub interactions: Vec<FhirInteraction>,
}

/// What a FHIR interface could do when this generation of the service was first probed: what later probes find is compared with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FhirFacts {
    /// Name of the interface.
    #[schemars(length(max = 15))]
    pub interface: String,
    /// Generation of the service's spec under which this was found.
    pub generation: i64,
    /// `CapabilityStatement.fhirVersion`, such as `4.0.1`.
    #[schemars(length(max = 20))]
    pub fhir_version: String,
    /// The types of resources, those together with which the server does the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 250), extend("x-kubernetes-list-type" = "atomic"))]
    pub resources: Vec<FhirResourceGroup>,
    /// Names of operations, with `$`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 65)), extend("x-kubernetes-list-type" = "atomic"))]
    pub operations: Vec<String>,
}

/// Types of resources with which the server does the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FhirResourceGroup {
    /// What it does with them.
    #[schemars(length(max = 9), extend("x-kubernetes-list-type" = "atomic"))]
    pub interactions: Vec<FhirInteraction>,
    /// The types.
    #[schemars(length(max = 250), inner(length(max = 64)), extend("x-kubernetes-list-type" = "atomic"))]
    pub types: Vec<String>,
}

/// Names of operations, with `$`.
pub(super) fn operations(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array", "maxItems": 32, "x-kubernetes-list-type": "set",
        "items": { "type": "string", "minLength": 2, "maxLength": 65, "x-kubernetes-validations": rules::fhir_operation_name() }
    })
}
