//! One way to talk to a service: its protocol, what that needs to be told, and how its health is found.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    dicom::DicomInterface,
    fhir_capability::{self, FhirResource, FhirVersion},
    rules, schema,
    span::Span,
    tls::Tls,
    vocabulary::Protocol,
};

/// One way to talk to the service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::interface()))]
pub struct Interface {
    /// Name of the Service's port (a DNS label of at most 15 characters): `_<name>._tcp.<service>…` is its SRV record.
    #[schemars(length(min = 1, max = 15), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"), extend("x-kubernetes-validations" = rules::dns_label()))]
    pub name: String,
    /// Port of the Service, and of the pods or hosts where `targetPort` is not set.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Port of the pods, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub target_port: Option<u16>,
    /// What it speaks.
    pub protocol: Protocol,
    /// Its protocol is spoken inside TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// HTTP's settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpInterface>,
    /// FHIR's settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fhir: Option<FhirInterface>,
    /// gRPC's settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcInterface>,
    /// HL7 version 2's settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hl7v2: Option<Hl7v2Interface>,
    /// DICOM's settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dicom: Option<DicomInterface>,
    /// How its health is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

impl Interface {
    /// The Service port's `appProtocol`: a hint for proxies and meshes. `None` where no name is in use.
    #[must_use]
    pub fn app_protocol(&self) -> Option<&'static str> {
        match self.protocol.app_protocol() {
            Some("http") if self.tls.is_some() => Some("https"),
            // what else is inside TLS is nothing that a proxy could read
            Some(_) if self.tls.is_some() => None,
            plain => plain,
        }
    }
}

/// Settings of an HTTP interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpInterface {
    /// Put before the path of every call, such as `/api/v2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = "^/[A-Za-z0-9._~/%-]*$"), extend("x-kubernetes-validations" = rules::url_path()))]
    pub base_path: Option<String>,
    /// What a probe of level Protocol asks for; any status from 200 to 399 is healthy. `/` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = "^/[A-Za-z0-9._~/%?=&-]*$"), extend("x-kubernetes-validations" = rules::url_path()))]
    pub health_path: Option<String>,
}

/// Settings of a FHIR interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FhirInterface {
    /// Base path of the FHIR API, such as `/fhir`. A probe asks for `<basePath>/metadata`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = "^/[A-Za-z0-9._~/%-]*$"), extend("x-kubernetes-validations" = rules::url_path()))]
    pub base_path: Option<String>,
    /// The release that the server must speak: an endpoint that tells of another one has the reason `CapabilityMismatch`, as with all
    /// that is declared here. The pods of a workload get a readiness gate for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<FhirVersion>,
    /// Types of resources that it must know, and what it must do with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub resources: Vec<FhirResource>,
    /// Operations that it must have, such as `$everything`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "fhir_capability::operations")]
    pub operations: Vec<String>,
}

impl FhirInterface {
    /// Whether it says what the server must be able to do.
    #[must_use]
    pub const fn declares(&self) -> bool {
        self.version.is_some() || !self.resources.is_empty() || !self.operations.is_empty()
    }
}

/// Settings of a gRPC interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrpcInterface {
    /// Service name for `grpc.health.v1.Health/Check`; the whole server when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service: Option<String>,
}

/// Settings of an HL7 version 2 interface: whom the message of a probe of level Protocol is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hl7v2Interface {
    /// MSH-5 of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9._ -]+$"))]
    pub receiving_application: Option<String>,
    /// MSH-6 of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9._ -]+$"))]
    pub receiving_facility: Option<String>,
}

/// How health is found. For a workload it becomes the kubelet's readiness probe, and for DICOM and HL7v2 with level Protocol a readiness
/// gate that medley's own probes decide; external hosts are probed by medley.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Transport: a TCP connection. Protocol: an answer in the interface's protocol; for HL7v2 an acknowledgement of an `NMD^N02`
    /// message (network management) with the processing id `D`, for DICOM the status 0 of C-ECHO, for DICOMweb an answer to a
    /// search for a study that is not there, for GRPC `SERVING` of its health service (`grpc.health.v1.Health`). When not set: Protocol
    /// for HTTP, FHIR and DICOMweb, for GRPC of a workload, and for GRPC and DICOM of external hosts with `grpc` or `dicom`; Transport
    /// otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<ProbeLevel>,
    /// Time between two probes, in whole seconds or minutes; `10s` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "probe_span")]
    pub interval: Option<Span>,
    /// How long to wait for an answer; `3s` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "probe_span")]
    pub timeout: Option<Span>,
    /// Failures in a row before a healthy endpoint is taken out; 3 when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub failure_threshold: Option<u8>,
    /// Successes in a row before an endpoint is put in; 1 when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub success_threshold: Option<u8>,
}

/// Whole seconds or minutes, not zero: the kubelet's probes know nothing finer.
fn probe_span(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string", "maxLength": 5, "pattern": "^[1-9][0-9]{0,3}(s|m)$", "x-kubernetes-validations": rules::probe_span()
    })
}

/// How deep a probe looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
pub enum ProbeLevel {
    /// A TCP connection is enough.
    Transport,
    /// The protocol must answer.
    Protocol,
}
