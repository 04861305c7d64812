//! `MedicalService`: registers one service — who runs it, how to talk to it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    call_limits::CallLimits,
    data_use::DataUse,
    dicom::DicomFacts,
    fhir_capability::FhirFacts,
    instances::{Autoscaling, Identity, InstanceVolume},
    interface::Interface,
    measurements::Measurements,
    objectives::Objectives,
    rules, schema,
    vocabulary::Urgency,
};

/// Shown by `kubectl explain msvc`.
pub const DESCRIPTION: &str =
    "Registers one medical service: who runs it and how to talk to it. Its name resolves in cluster DNS.";

/// What the service is. Exactly one of `workload`, `select` and `external` says who runs it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "medley.health",
    version = "v1alpha1",
    kind = "MedicalService",
    namespaced,
    status = "MedicalServiceStatus",
    derive = "PartialEq",
    shortname = "msvc",
    category = "medley",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reachable", type_ = "string", json_path = ".status.conditions[?(@.type=='Reachable')].status"),
    printcolumn(name = "Endpoints", type_ = "string", json_path = ".status.endpointSummary"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Reachable')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "DNS", type_ = "string", json_path = ".status.dnsName", priority = "1")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::medical_service_spec()))]
pub struct MedicalServiceSpec {
    /// medley runs it: pods under restricted pod security, of a Deployment or a `StatefulSet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// Pods that somebody else deploys in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<Select>,
    /// Hosts outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
    /// How to talk to it: each becomes a named port of the Service, and so an SRV record in cluster DNS.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub interfaces: Vec<Interface>,
    /// `PriorityClass` of the workload's pods; routine when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgency: Option<Urgency>,
    /// How many pods the workload has, by what they have to do; instead of `workload.replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// How many calls it can take from workflows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::service_capacity()))]
    pub capacity: Option<CallLimits>,
    /// What it can do, such as `ct-stroke-triage`: a `ServiceQuery` asks for one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub capabilities: Vec<String>,
    /// Facts that a `ServiceQuery` matches, such as `modality: CT` or `site: north`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::attributes")]
    pub attributes: BTreeMap<String, String>,
    /// What data it may be given, and what for: a `ServiceQuery` that asks for a purpose or a class finds only services that say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataUse>,
    /// How well it should do: alerts tell when it does worse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives: Option<Objectives>,
}

/// Pods that medley runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Container image. It must run as a user other than root.
    #[schemars(length(min = 1, max = 512), regex(pattern = "^[^ \\t\\r\\n]+$"), extend("x-kubernetes-validations" = rules::image()))]
    pub image: String,
    /// When the image is pulled; `IfNotPresent` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Replaces the image's entry point. `$(NAME)` is the kubelet's: a variable of `env`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)), extend("x-kubernetes-list-type" = "atomic"))]
    pub command: Vec<String>,
    /// Replaces the image's arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)), extend("x-kubernetes-list-type" = "atomic"))]
    pub args: Vec<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
    /// Requests and limits of each pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// How many pods; 1 when not set, unless there is `autoscaling`. From 2 on a `PodDisruptionBudget` keeps all but one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,
    /// Whether pods are told apart; `Interchangeable` when not set. It cannot be changed afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Volumes that each instance has for itself, with `identity: Stable`. They cannot be changed afterwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub volumes: Vec<InstanceVolume>,
}

/// When the kubelet pulls an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
pub enum ImagePullPolicy {
    /// At every start.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Never: it must be on the node.
    Never,
}

impl ImagePullPolicy {
    /// As Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// One environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvVar {
    /// Its name.
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"), extend("x-kubernetes-validations" = rules::variable()))]
    pub name: String,
    /// Its value.
    #[schemars(length(max = 4096))]
    pub value: String,
}

/// Kubernetes resource quantities, such as `cpu: 500m` and `memory: 1Gi`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::resources()))]
pub struct Resources {
    /// What the scheduler keeps free for the container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::container_quantities")]
    pub requests: BTreeMap<String, String>,
    /// What the container may use at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::container_quantities")]
    pub limits: BTreeMap<String, String>,
}

/// Pods chosen by their labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Select {
    /// Labels that a pod must carry, all of them.
    #[schemars(schema_with = "match_labels")]
    pub match_labels: BTreeMap<String, String>,
}

fn match_labels(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 16,
        "x-kubernetes-validations": rules::label_keys(),
        "additionalProperties": { "type": "string", "maxLength": 63, "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$" }
    })
}

/// Hosts outside the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct External {
    /// Where it listens. Each address that answers its probe is an endpoint of the Service.
    #[schemars(length(min = 1, max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["host"]))]
    pub endpoints: Vec<ExternalEndpoint>,
}

/// One host outside the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::external_endpoint()))]
pub struct ExternalEndpoint {
    /// IP address, or a DNS name that is looked up again when its time to live has passed.
    #[schemars(
        length(min = 1, max = 253),
        regex(
            pattern = "^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)$"
        )
    )]
    pub host: String,
    /// Topology zone of the host, as in the label `topology.kubernetes.io/zone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$"))]
    pub zone: Option<String>,
}

/// What medley found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::reporting_status()))]
pub struct MedicalServiceStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Lease transitions of the leader that wrote this: a former leader's write is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::leader_epoch()))]
    pub leader_epoch: Option<i64>,
    /// `Ready`: accepted, programmed and, for a workload, rolled out. `Reachable`: at least one endpoint answers. Of FHIR and DICOM
    /// services that medley probes, `CapabilityMatch`: they can do what is declared; `CapabilityDrift`: what they can do has changed.
    /// `Anomalous`: measurements are slower, or fail more often, than before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The service's name in cluster DNS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub dns_name: Option<String>,
    /// `<ready>/<total>` endpoints, for the eye.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub endpoint_summary: Option<String>,
    /// Endpoints that answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<u32>,
    /// All endpoints known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u32>,
    /// The `ServicePolicy` that decided, by the field of `capacity`, where it is stricter than the service itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::deciders")]
    pub decided_by: BTreeMap<String, String>,
    /// Each endpoint and what is known of it; the first 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub endpoints: Vec<EndpointStatus>,
    /// What FHIR interfaces could do when this generation was first probed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["interface"]))]
    pub fhir: Vec<FhirFacts>,
    /// What DICOM interfaces accepted when this generation was first probed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["interface"]))]
    pub dicom: Vec<DicomFacts>,
    /// How its answers are distributed, and how surprising the last ones are. Written seldom, once a day
    /// in the end, and when an anomaly begins or ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measurements: Option<Measurements>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// IP address; the host name while it has none.
    #[schemars(length(max = 253))]
    pub address: String,
    /// The interface that was probed; absent where the pod as a whole is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 15))]
    pub interface: Option<String>,
    /// Name of the instance in cluster DNS, of a workload with `identity: Stable`: it resolves while the instance is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub dns_name: Option<String>,
    /// The host name it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub host: Option<String>,
    /// Topology zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub zone: Option<String>,
    /// Whether it gets traffic.
    pub ready: bool,
    /// Why: `Healthy`, or the layer that failed.
    pub reason: EndpointReason,
    /// Since when `ready` is what it is.
    #[schemars(schema_with = "schema::moment")]
    pub since: Timestamp,
    /// Until when its TLS certificate is valid, as last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub certificate_expires: Option<Timestamp>,
}

/// What an endpoint's health says, by the layer that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum EndpointReason {
    /// It answers.
    Healthy,
    /// No probe has ended yet.
    NotProbed,
    /// The host name has no address.
    DnsFailed,
    /// The address is one that medley must not reach, such as a loopback one.
    AddressRefused,
    /// Nothing listens.
    TcpRefused,
    /// No connection within the timeout.
    TcpTimeout,
    /// The network says that there is no way there.
    TcpUnreachable,
    /// The connection broke.
    TcpFailed,
    /// Connected, but TLS does not come about: the other side does not speak it, or no version and cipher that medley does.
    TlsFailed,
    /// The certificate is not valid at this time.
    CertificateExpired,
    /// The certificate is for another name.
    CertificateNameMismatch,
    /// The certificate is not from `tls.caBundle`.
    CertificateUntrusted,
    /// The service wants a client certificate, and there is none: `tls.clientCertificate` is not set, or the operator has none of that
    /// name for this namespace that can be used.
    ClientCertificateMissing,
    /// The client certificate of `tls.clientCertificate` is not valid at this time.
    ClientCertificateExpired,
    /// The service does not accept the client certificate.
    ClientCertificateRefused,
    /// Connected, but the answer did not come in time.
    HttpTimeout,
    /// Connected, but what came is not HTTP.
    HttpInvalid,
    /// An HTTP status outside 200 to 399.
    HttpStatus,
    /// The server wants to know who asks (HTTP status 401 or 403, gRPC status 7 or 16).
    Unauthorized,
    /// Connected, but what came is no `CapabilityStatement`.
    MetadataInvalid,
    /// Connected, but what came of a search for studies is no list in DICOM JSON.
    DicomJsonInvalid,
    /// The server cannot do what is declared.
    CapabilityMismatch,
    /// Connected, but no acknowledgement of the message came in time.
    AckTimeout,
    /// Connected, but what came is no acknowledgement of the message, or nothing came before the connection was closed.
    AckInvalid,
    /// Connected, but no answer to the request for an association, or to C-ECHO, came in time.
    AssociationTimeout,
    /// Connected, but what came is not DICOM, or not what may come there.
    DicomInvalid,
    /// The service rejects associations for a reason that is neither an AE title nor its load.
    AssociationRejected,
    /// The service does not know the called or the calling AE title.
    AeTitleRejected,
    /// The service takes no association now, or a gRPC server no request: congestion, a limit, or another reason that passes.
    Overloaded,
    /// The service aborted or ended the association, or closed the connection, before C-ECHO was answered.
    AssociationAborted,
    /// The service does not accept the Verification SOP class, which C-ECHO belongs to.
    PresentationContextRefused,
    /// C-ECHO was answered with a status other than 0.
    EchoFailed,
    /// Connected, but what came is not gRPC, or no answer to a health check.
    GrpcInvalid,
    /// The gRPC server answered with another status than OK.
    GrpcStatus,
    /// The gRPC server has no health service (`grpc.health.v1.Health`).
    HealthUnimplemented,
    /// The gRPC server says that it, or `grpc.service`, does not serve.
    NotServing,
    /// The gRPC server does not know `grpc.service`.
    ServiceUnknown,
    /// The pod's own readiness probe fails, or has not passed yet.
    PodNotReady,
    /// The pod is being stopped.
    Terminating,
}
