//! `call.fhir`: one interaction of FHIR's REST API.
//!
//! Source: HL7 FHIR R4 (4.0.1), http.html §3.1.0 "RESTful API", search.html §3.1.1, operations.html §3.2.0.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// An interaction with a FHIR server, in JSON. Redirects are not followed; the answer may have up to 256 KiB and must be
/// `application/fhir+json` or `application/json`. Any status from 200 to 299 is a success.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::fhir_call()))]
pub struct FhirCall {
    /// Reads one resource (FHIR R4 §3.1.0.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<FhirRead>,
    /// Searches resources of one type (§3.1.0.9). The result is the Bundle of the first page; further pages are not
    /// fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<FhirSearch>,
    /// Creates a resource under an id of the server's (§3.1.0.8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<FhirCreate>,
    /// Replaces a resource, or creates it under this id where the server permits that (§3.1.0.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<FhirUpdate>,
    /// Several changes, of which all or none take effect (§3.1.0.11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<FhirTransaction>,
    /// An operation such as `$everything` (operations.html §3.2.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<FhirOperation>,
}

/// Reads one resource: GET `[base]/[type]/[id]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FhirRead {
    /// The resource's type, such as `ServiceRequest`.
    #[serde(rename = "type")]
    #[schemars(schema_with = "resource_type")]
    pub type_: String,
    /// Template of the resource's id: 1 to 64 letters, digits, `-` and `.`.
    #[schemars(length(min = 1, max = 1024))]
    pub id: String,
}

/// Searches resources of one type: GET `[base]/[type]?name=value&…`, with `Prefer: handling=strict`, so that a server refuses a
/// parameter that it does not know instead of leaving it out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FhirSearch {
    /// The resources' type, such as `ImagingStudy`.
    #[serde(rename = "type")]
    #[schemars(schema_with = "resource_type")]
    pub type_: String,
    /// What they must match, all of it; the same name may be given again. Result parameters such as `_count` and
    /// `_include` go here too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub parameters: Vec<FhirParameter>,
}

/// One parameter of a search or an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FhirParameter {
    /// Its name, with modifier or chain where needed, such as `status`, `code:in` or `subject:Patient.identifier`.
    #[schemars(length(min = 1, max = 128), extend("x-kubernetes-validations" = rules::fhir_parameter_name()))]
    pub name: String,
    /// Template of its value. In the text `,` separates alternatives and `|` system and code; in a value put in, these, `$`
    /// and `\` are escaped, and a list becomes alternatives. All is percent-encoded.
    #[schemars(length(max = 1024))]
    pub value: String,
}

/// Creates a resource: POST `[base]/[type]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FhirCreate {
    /// Template of the resource as JSON text. In a string a value is escaped, elsewhere it is put in as JSON. Its
    /// `resourceType` is the type.
    #[schemars(length(min = 1, max = 32768))]
    pub resource: String,
    /// Search parameters (§3.1.0.8.1): if one resource matches, nothing is created and that one is the result; if several
    /// match, the step fails with `Rejected`. With it the step is Idempotent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub if_none_exist: Vec<FhirParameter>,
}

/// Replaces a resource: PUT `[base]/[type]/[id]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FhirUpdate {
    /// The resource's type.
    #[serde(rename = "type")]
    #[schemars(schema_with = "resource_type")]
    pub type_: String,
    /// Template of the resource's id: 1 to 64 letters, digits, `-` and `.`.
    #[schemars(length(min = 1, max = 1024))]
    pub id: String,
    /// Template of the whole resource as JSON text. Its `resourceType` must be `type`; its `id` must be `id`, and is put in
    /// where it is missing.
    #[schemars(length(min = 1, max = 32768))]
    pub resource: String,
    /// Template of the version that is replaced (§3.1.0.5), such as `$( steps.read.outputs.version )`: a version id, or an
    /// ETag. If the server has another one, the step fails with `Rejected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub if_match: Option<String>,
}

/// Several changes at once: POST `[base]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FhirTransaction {
    /// Template of a Bundle of type `transaction` as JSON text.
    #[schemars(length(min = 1, max = 32768))]
    pub bundle: String,
}

/// An operation: GET or POST `[base]/[type]/[id]/$name`, with `type` and `id` where they are set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::fhir_operation()))]
pub struct FhirOperation {
    /// Its name with `$`, such as `$everything`.
    #[schemars(length(min = 2, max = 65), extend("x-kubernetes-validations" = rules::fhir_operation_name()))]
    pub name: String,
    /// The type that it works on.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "resource_type")]
    pub type_: Option<String>,
    /// Template of the id of the resource that it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub id: Option<String>,
    /// Parameters in the URL, for an operation that is sent with GET.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub parameters: Vec<FhirParameter>,
    /// Template of a Parameters resource, or of the one resource that it takes, as JSON text. It is sent with POST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32768))]
    pub body: Option<String>,
    /// Whether it changes anything, as its OperationDefinition says. true: it is sent with POST, and the step is AtMostOnce.
    /// false: the step is Idempotent. When not set, it is false without `body` and true with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affects_state: Option<bool>,
}

/// The name of a resource type.
pub(super) fn resource_type(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string", "minLength": 1, "maxLength": 64, "x-kubernetes-validations": rules::fhir_type()
    })
}
