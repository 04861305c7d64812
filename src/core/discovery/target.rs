//! What is probed, and how.

use std::{net::IpAddr, time::Duration};

use jiff::Timestamp;

use crate::{
    api::{interface::FhirInterface, tls::Pem},
    core::{
        dicom::{Titles, contexts::Proposal},
        discovery::capability::Facts,
        hl7::probe_message::Receiver,
        monitoring::health::{Health, ProbeOutcome, Thresholds},
    },
};

/// One probed endpoint of a service. Another port is another endpoint: what was known of the old one says nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Name of the interface.
    pub interface: String,
    /// UID of the pod that has the address; absent outside the cluster. Another pod is another endpoint.
    pub pod: Option<String>,
}

/// What an answer is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// A TCP connection.
    Tcp,
    /// An HTTP/1.1 answer to a GET, with a status from 200 to 399.
    Http {
        /// Path, with its query.
        path: String,
        /// The Host header: the host as it was registered, with its port unless that is 80.
        host: String,
    },
    /// An answer in DICOM JSON to a search for a study that is not there.
    DicomWeb {
        /// Path, with its query.
        path: String,
        /// The Host header, as with HTTP.
        host: String,
    },
    /// The `CapabilityStatement` of a FHIR server that can do what is declared.
    Fhir {
        /// Path of the statement.
        path: String,
        /// The Host header, as with HTTP.
        host: String,
        /// What is declared.
        declared: FhirInterface,
    },
    /// An acknowledgement of a message of network management, over MLLP.
    Hl7(Receiver),
    /// The status 0 of C-ECHO in an association that accepts what is declared.
    Dicom {
        /// Who calls whom.
        titles: Titles,
        /// What is declared.
        proposal: Proposal,
    },
    /// SERVING of gRPC's health service.
    Grpc {
        /// The service that is asked for; the whole server when empty.
        service: String,
        /// The authority, as with HTTP's Host.
        host: String,
    },
}

/// Whom TLS must be spoken with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsTarget {
    /// Name or IP address that the certificate must have.
    pub name: String,
    /// Certificates in PEM, of which one must have issued it.
    pub ca_bundle: Pem,
    /// What medley shows, if that is wanted.
    pub client: Option<ClientName>,
}

/// A client certificate of the operator's. Each is for the services of one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientName {
    /// Namespace of the services that may name it.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl ProbeKind {
    /// A word for metrics.
    #[must_use]
    pub const fn protocol(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http { .. } => "http",
            Self::DicomWeb { .. } => "dicomweb",
            Self::Fhir { .. } => "fhir",
            Self::Hl7(_) => "hl7v2",
            Self::Dicom { .. } => "dicom",
            Self::Grpc { .. } => "grpc",
        }
    }
}

/// One endpoint and how it is probed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProbeTarget {
    /// What is probed.
    pub endpoint: Endpoint,
    /// What an answer is.
    pub kind: ProbeKind,
    /// It is given inside TLS.
    pub tls: Option<TlsTarget>,
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// Longest time for one probe, the connection included.
    pub timeout: Duration,
    /// How many outcomes in a row it takes.
    pub thresholds: Thresholds,
}

/// What a probe has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// How it ended.
    pub outcome: ProbeOutcome,
    /// What the endpoint can do, if it told.
    pub facts: Option<Facts>,
    /// Until when its certificate is valid, if it showed one.
    pub certificate_expires: Option<Timestamp>,
}

impl From<ProbeOutcome> for Probed {
    fn from(outcome: ProbeOutcome) -> Self {
        Self { outcome, facts: None, certificate_expires: None }
    }
}

/// A wish: probe this, and start from that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probing {
    /// What is probed, and how.
    pub target: ProbeTarget,
    /// Health to start from where nobody has probed this endpoint yet: what the status and the published slices say.
    pub seed: Health,
}
