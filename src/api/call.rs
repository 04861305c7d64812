//! `call`: what a step says to a service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{dicom::DicomCall, fhir::FhirCall, rules, schema};

/// A request to a service of the same namespace: HTTP, an interaction of FHIR's REST API, a message of HL7 version 2, or DICOM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::call()))]
pub struct Call {
    /// Name of the `MedicalService`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"), extend("x-kubernetes-validations" = rules::dns_label()))]
    pub service: Option<String>,
    /// Name of the `ServiceQuery` that knows which services can do it: one of the services in its answer is called, each with the
    /// probability of its endpoints together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"), extend("x-kubernetes-validations" = rules::dns_label()))]
    pub query: Option<String>,
    /// Name of the interface of `service`. When not set: the first that speaks HTTP, for fhir the first of the protocol FHIR, for hl7v2 of
    /// HL7v2, and for dicom of DICOM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"), extend("x-kubernetes-validations" = rules::dns_label()))]
    pub interface: Option<String>,
    /// An HTTP request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCall>,
    /// An interaction with a FHIR server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fhir: Option<FhirCall>,
    /// A message of HL7 version 2, over MLLP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hl7v2: Option<Hl7v2Call>,
    /// An association with a DICOM service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dicom: Option<DicomCall>,
}

/// A message of HL7 version 2 and its acknowledgement. AA and CA are a success; AE and CE with the error 206 or 207 may be tried again;
/// all else is `Rejected`. The message is sent again with the same MSH-10, so that the receiver can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hl7v2Call {
    /// Template of the message, a segment a line, in UTF-8; what separates is escaped in each value put in. It begins with
    /// `MSH|^~\&|`. MSH-10 must be empty: it is filled in, as MSH-7 is where that is empty.
    #[schemars(length(min = 1, max = 16384), extend("x-kubernetes-validations" = rules::hl7_message()))]
    pub message: String,
}

/// An HTTP request. Redirects are not followed; the answer may have up to 256 KiB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::http_call()))]
pub struct HttpCall {
    /// Its method; GET when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
    /// Template of the path and query, such as `/studies/$( params.study )`; each value put in is percent-encoded.
    #[schemars(length(min = 1, max = 2048), regex(pattern = "^/"), extend("x-kubernetes-validations" = rules::url_path()))]
    pub path: String,
    /// Request headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<Header>,
    /// Template of the request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub body: Option<String>,
    /// Statuses that are a success; any from 200 to 299 when not set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(range(min = 100, max = 599)), extend("x-kubernetes-list-type" = "set"))]
    pub expect_status: Vec<u16>,
}

/// HTTP's methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
}

impl HttpMethod {
    /// As it is sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether sending it twice means the same as once (RFC 9110 §9.2.2).
    #[must_use]
    pub const fn is_idempotent(self) -> bool {
        !matches!(self, Self::Post | Self::Patch)
    }
}

/// One request header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::header()))]
pub struct Header {
    /// Its name.
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"))]
    pub name: String,
    /// Template of its value.
    #[schemars(length(max = 4096))]
    pub value: String,
}
