//! Words that several kinds share, with the meaning they have in the field's standards.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How soon a result is needed, in the order of FHIR R4 `request-priority` (asap is above urgent), with `batch` below all.
///
/// Source: HL7 FHIR R4, value set `request-priority`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::field_speaks)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// Work that nobody waits for: old studies, research.
    Batch,
    /// The usual order of work.
    Routine,
    /// Before routine work.
    Urgent,
    /// As soon as possible: the highest priority short of an emergency.
    Asap,
    /// At once: an emergency.
    Stat,
}

impl Urgency {
    /// All values, lowest first.
    pub const ALL: [Self; 5] = [Self::Batch, Self::Routine, Self::Urgent, Self::Asap, Self::Stat];

    /// The word as it is written in a spec.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Routine => "routine",
            Self::Urgent => "urgent",
            Self::Asap => "asap",
            Self::Stat => "stat",
        }
    }

    /// Name of the `PriorityClass` that pods of this urgency carry; the chart installs the five.
    #[must_use]
    pub const fn priority_class(self) -> &'static str {
        match self {
            Self::Batch => "medley-batch",
            Self::Routine => "medley-routine",
            Self::Urgent => "medley-urgent",
            Self::Asap => "medley-asap",
            Self::Stat => "medley-stat",
        }
    }
}

/// What an interface speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// HTTP/1.1 without TLS.
    #[serde(rename = "HTTP")]
    Http,
    /// gRPC over HTTP/2 without TLS.
    #[serde(rename = "GRPC")]
    Grpc,
    /// Any protocol over TCP.
    #[serde(rename = "TCP")]
    Tcp,
    /// HL7 FHIR's REST API.
    #[serde(rename = "FHIR")]
    Fhir,
    /// HL7 version 2 over MLLP.
    #[serde(rename = "HL7v2")]
    Hl7v2,
    /// DICOM upper layer (PS3.8).
    #[serde(rename = "DICOM")]
    Dicom,
    /// DICOMweb (PS3.18).
    #[serde(rename = "DICOMweb")]
    DicomWeb,
}

impl Protocol {
    /// As it is written in a spec.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Grpc => "GRPC",
            Self::Tcp => "TCP",
            Self::Fhir => "FHIR",
            Self::Hl7v2 => "HL7v2",
            Self::Dicom => "DICOM",
            Self::DicomWeb => "DICOMweb",
        }
    }

    /// Whether an HTTP request can be sent to this interface.
    #[must_use]
    pub const fn speaks_http(self) -> bool {
        matches!(self, Self::Http | Self::Fhir | Self::DicomWeb)
    }

    /// Whether a step can call this interface.
    #[must_use]
    pub const fn takes_calls(self) -> bool {
        self.speaks_http() || matches!(self, Self::Dicom | Self::Hl7v2)
    }

    /// The Service port's `appProtocol`: a hint for proxies and meshes. `None` where no name is in use.
    #[must_use]
    pub const fn app_protocol(self) -> Option<&'static str> {
        match self {
            Self::Http | Self::Fhir | Self::DicomWeb => Some("http"),
            Self::Grpc => Some("grpc"),
            Self::Tcp => Some("tcp"),
            Self::Hl7v2 | Self::Dicom => None,
        }
    }
}

/// Whether a step may be repeated when nobody knows if it took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::field_speaks)]
pub enum Safety {
    /// Doing it twice is as good as once: an unknown outcome is tried again.
    Idempotent,
    /// It may take effect once at most: an unknown outcome is never tried again.
    AtMostOnce,
}

/// Why an attempt of a step failed; a `retry` names the classes that are worth another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::field_speaks)]
pub enum ErrorClass {
    /// No connection, or one that broke: name not found, refused, reset.
    Connection,
    /// The step's timeout passed.
    Timeout,
    /// The service said that it has no capacity: HTTP 429 or 503; DICOM associations rejected for now.
    Overloaded,
    /// The service failed: any other HTTP 5xx.
    ServerError,
    /// The service refused the request: any other unexpected HTTP status; a status of C-ECHO, or a rejected DICOM association.
    Rejected,
    /// The result is not what `outputs` declares.
    InvalidResult,
    /// The container ended with an exit code other than 0.
    ContainerFailed,
    /// The pod could not be started: its image cannot be pulled, its configuration is refused.
    PodNotStarted,
    /// The pod was taken away: evicted, preempted, deleted, its node lost.
    PodLost,
    /// The child run failed, was cancelled or was deleted.
    ChildFailed,
    /// The step's own text is wrong, or what it says of the service: an expression that fails, a service that does not exist, an AE
    /// title that the service does not know.
    Configuration,
}

impl ErrorClass {
    /// All classes.
    pub const ALL: [Self; 11] = [
        Self::Connection,
        Self::Timeout,
        Self::Overloaded,
        Self::ServerError,
        Self::Rejected,
        Self::InvalidResult,
        Self::ContainerFailed,
        Self::PodNotStarted,
        Self::PodLost,
        Self::ChildFailed,
        Self::Configuration,
    ];

    /// The classes that are tried again when a `retry` names none: those where the same request may well succeed later.
    pub const RETRIED_BY_DEFAULT: [Self; 5] =
        [Self::Connection, Self::Timeout, Self::Overloaded, Self::ServerError, Self::PodLost];
}
