//! Findings put into words: conditions, counts and events.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    capability,
    decision::OwnedKind,
    rollout::Rollout,
    view::{Ownership, ServiceView},
};
use crate::{
    api::{
        MedicalServiceStatus,
        measurements::Measurements,
        medical_service::{EndpointReason, EndpointStatus},
        status::{ANOMALOUS, CAPABILITY_DRIFT, CAPABILITY_MATCH, REACHABLE, READY, RECONCILING, STALLED},
    },
    core::{
        condition::{self, Conditions, State},
        monitoring::measurements,
        note::Note,
        refusal::Refusal,
    },
};

/// Most endpoints that the status lists.
const MAX_LISTED: usize = 100;
/// Most events about single endpoints from one decision.
const MAX_NOTES: usize = 10;

/// An object that has the name but is not this service's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub kind: OwnedKind,
    pub name: String,
    pub ownership: Ownership,
}

/// What was found out about one service.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What the user must change in the spec.
    pub problems: Vec<String>,
    /// Objects in the way.
    pub obstacles: Vec<Obstacle>,
    /// Whether the Service exists and is as it should be.
    pub programmed: bool,
    /// How far the pods are; `None` when medley does not run them.
    pub rollout: Option<Rollout>,
    /// All endpoints, in order.
    pub endpoints: Vec<EndpointStatus>,
    /// What people should know of the endpoints besides.
    pub remarks: Vec<String>,
}

/// What `Ready` says.
struct Verdict {
    ready: bool,
    /// Only a change by the user helps.
    stalled: bool,
    reason: &'static str,
    message: String,
}

/// The whole next status, but for the epoch of who writes it: that alone is no reason to write.
pub(super) fn status(
    view: &ServiceView<'_>,
    findings: &Findings,
    measured: Option<&Measurements>,
    now: Timestamp,
) -> MedicalServiceStatus {
    let metadata = &view.service.metadata;
    let present = view.service.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
    let mut conditions = Conditions::from(present, metadata.generation, now);
    let verdict = verdict(view, findings);
    conditions.set(READY, State::of(verdict.ready), verdict.reason, verdict.message.as_str());
    for (type_, holds) in [(RECONCILING, !verdict.ready && !verdict.stalled), (STALLED, verdict.stalled)] {
        if holds {
            conditions.set(type_, State::True, verdict.reason, verdict.message.as_str());
        } else {
            conditions.remove(type_);
        }
    }
    let (state, reason, message) = reachable(findings);
    conditions.set(REACHABLE, state, reason, message);
    let capability::report::Reported { fhir, dicom } =
        capability::report::report(view.service, view.facts, &mut conditions);
    measurements::report(measured, &mut conditions);

    let ready = findings.endpoints.iter().filter(|e| e.ready).count();
    let total = findings.endpoints.len();
    let (name, namespace) =
        (metadata.name.as_deref().unwrap_or_default(), metadata.namespace.as_deref().unwrap_or_default());
    MedicalServiceStatus {
        observed_generation: metadata.generation,
        leader_epoch: view.service.status.as_ref().and_then(|s| s.leader_epoch),
        conditions: conditions.into_list(),
        dns_name: Some(format!("{name}.{namespace}.svc.{}", view.cluster_domain)),
        endpoint_summary: Some(format!("{ready}/{total}")),
        ready: Some(u32::try_from(ready).unwrap_or(u32::MAX)),
        decided_by: view.decided_by.clone(),
        total: Some(u32::try_from(total).unwrap_or(u32::MAX)),
        endpoints: findings.endpoints.iter().take(MAX_LISTED).cloned().collect(),
        fhir,
        dicom,
        measurements: measured.filter(|m| **m != Measurements::default()).cloned(),
    }
}

fn verdict(view: &ServiceView<'_>, findings: &Findings) -> Verdict {
    let not = |stalled, reason, message| Verdict { ready: false, stalled, reason, message };
    if !findings.problems.is_empty() {
        return not(true, "InvalidSpec", findings.problems.join("; "));
    }
    if let Some(o) = findings.obstacles.iter().find(|o| o.ownership == Ownership::Foreign) {
        let message = format!(
            "a {} named {} exists that is not this MedicalService's: delete it, or give the MedicalService another name",
            o.kind, o.name
        );
        return not(true, "NameTaken", message);
    }
    if let Some(o) = findings.obstacles.first() {
        let message = format!("the {} of the deleted MedicalService of this name is still being removed", o.kind);
        return not(false, "FormerObjects", message);
    }
    if let Some(refused) = view.refused {
        return not(true, refused.reason(), refused.message().to_owned());
    }
    if !findings.programmed {
        return not(false, "Programming", "the Service is being made".to_owned());
    }
    match &findings.rollout {
        Some(Rollout::Going(message)) => not(false, "RollingOut", message.clone()),
        rollout => Verdict {
            ready: true,
            stalled: false,
            reason: "Programmed",
            message: if rollout.is_some() {
                "named in cluster DNS, workload rolled out"
            } else {
                "named in cluster DNS"
            }
            .to_owned(),
        },
    }
}

/// Whether anybody answers, and what fails.
fn reachable(findings: &Findings) -> (State, &'static str, String) {
    let total = findings.endpoints.len();
    let ready = findings.endpoints.iter().filter(|e| e.ready).count();
    let mut failing: BTreeMap<EndpointReason, usize> = BTreeMap::new();
    for endpoint in findings.endpoints.iter().filter(|e| !e.ready) {
        *failing.entry(endpoint.reason).or_default() += 1;
    }
    let list = failing.iter().map(|(reason, n)| format!("{n} {}", word(*reason))).collect::<Vec<_>>().join(", ");
    // the most common; of several the lowest layer, since what is above it cannot work without it
    let worst = failing.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0))).map(|(reason, _)| *reason);
    let (state, reason, mut message) = match worst {
        None if total == 0 => (State::False, "NoEndpoints", "the service has no endpoint".to_owned()),
        None => (State::True, "EndpointsReady", format!("{ready} of {total} endpoints answer")),
        Some(_) if ready > 0 => {
            (State::True, "EndpointsReady", format!("{ready} of {total} endpoints answer; the others: {list}"))
        }
        Some(EndpointReason::NotProbed) if failing.len() == 1 => {
            (State::Unknown, word(EndpointReason::NotProbed), "no probe has ended yet".to_owned())
        }
        Some(worst) => {
            (State::False, word(worst), format!("none of {total} endpoints answers ({list}): {}", advice(worst)))
        }
    };
    for remark in &findings.remarks {
        message.push_str("; ");
        message.push_str(remark);
    }
    (state, reason, message)
}

/// What people should know of the step from one status to the next.
pub(super) fn notes(old: Option<&MedicalServiceStatus>, new: &MedicalServiceStatus) -> Vec<Note> {
    let mut notes = Vec::new();
    let before =
        |type_| old.and_then(|s| condition::find(&s.conditions, type_)).map(|c| (c.status.as_str(), c.reason.as_str()));
    if let Some(ready) = condition::find(&new.conditions, READY) {
        let was = before(READY);
        match (ready.status.as_str(), ready.reason.as_str()) {
            ("True", _) if was.is_none_or(|(status, _)| status != "True") => {
                notes.push(Note::normal("Ready", ready.message.clone()));
            }
            ("False", "InvalidSpec") if was.is_none_or(|(_, reason)| reason != "InvalidSpec") => {
                notes.push(Note::warning("InvalidSpec", ready.message.clone()));
            }
            ("False", "NameTaken") if was.is_none_or(|(_, reason)| reason != "NameTaken") => {
                notes.push(Note::warning("NameTaken", ready.message.clone()));
            }
            ("False", "WriteRefused") => {
                let present = old.map(|s| s.conditions.as_slice()).unwrap_or_default();
                notes.extend(Refusal::stored(&new.conditions).and_then(|refused| refused.note(present)));
            }
            _ => {}
        }
    }
    if let Some(reachable) = condition::find(&new.conditions, REACHABLE) {
        let was = before(REACHABLE).map(|(status, _)| status);
        match reachable.status.as_str() {
            "True" if was != Some("True") => notes.push(Note::normal("Reachable", reachable.message.clone())),
            "False" if was == Some("True") => notes.push(Note::warning("Unreachable", reachable.message.clone())),
            _ => {}
        }
    }
    for (type_, bad, reason) in [
        (CAPABILITY_MATCH, "False", "CapabilityMismatch"),
        (CAPABILITY_DRIFT, "True", "CapabilityDrift"),
        (ANOMALOUS, "True", "Anomalous"),
    ] {
        let was = before(type_).map(|(status, _)| status);
        if let Some(now) = condition::find(&new.conditions, type_).filter(|c| c.status == bad && was != Some(bad)) {
            notes.push(Note::warning(reason, now.message.clone()));
        }
    }
    notes.extend(endpoint_notes(old, new));
    notes
}

/// External endpoints that came or went. Pods have events of their own.
fn endpoint_notes(old: Option<&MedicalServiceStatus>, new: &MedicalServiceStatus) -> Vec<Note> {
    let was: BTreeMap<_, bool> =
        old.iter().flat_map(|s| &s.endpoints).map(|e| ((&e.address, &e.interface), e.ready)).collect();
    let mut notes = Vec::new();
    for endpoint in &new.endpoints {
        let (Some(interface), Some(&ready)) = (&endpoint.interface, was.get(&(&endpoint.address, &endpoint.interface)))
        else {
            continue;
        };
        let place = format!("interface {interface} at {}", endpoint.address);
        match (ready, endpoint.ready) {
            (true, false) => {
                let message = format!("{place} was taken out: {}", word(endpoint.reason));
                notes.push(Note::warning("EndpointUnhealthy", message));
            }
            (false, true) => notes.push(Note::normal("EndpointHealthy", format!("{place} was put in"))),
            _ => {}
        }
    }
    notes.truncate(MAX_NOTES);
    notes
}

pub(super) const fn word(reason: EndpointReason) -> &'static str {
    match reason {
        EndpointReason::Healthy => "Healthy",
        EndpointReason::NotProbed => "NotProbed",
        EndpointReason::DnsFailed => "DnsFailed",
        EndpointReason::AddressRefused => "AddressRefused",
        EndpointReason::TcpRefused => "TcpRefused",
        EndpointReason::TcpTimeout => "TcpTimeout",
        EndpointReason::TcpUnreachable => "TcpUnreachable",
        EndpointReason::TcpFailed => "TcpFailed",
        EndpointReason::TlsFailed => "TlsFailed",
        EndpointReason::CertificateExpired => "CertificateExpired",
        EndpointReason::CertificateNameMismatch => "CertificateNameMismatch",
        EndpointReason::CertificateUntrusted => "CertificateUntrusted",
        EndpointReason::ClientCertificateMissing => "ClientCertificateMissing",
        EndpointReason::ClientCertificateExpired => "ClientCertificateExpired",
        EndpointReason::ClientCertificateRefused => "ClientCertificateRefused",
        EndpointReason::HttpTimeout => "HttpTimeout",
        EndpointReason::HttpInvalid => "HttpInvalid",
        EndpointReason::HttpStatus => "HttpStatus",
        EndpointReason::Unauthorized => "Unauthorized",
        EndpointReason::MetadataInvalid => "MetadataInvalid",
        EndpointReason::DicomJsonInvalid => "DicomJsonInvalid",
        EndpointReason::CapabilityMismatch => "CapabilityMismatch",
        EndpointReason::AckTimeout => "AckTimeout",
        EndpointReason::AckInvalid => "AckInvalid",
        EndpointReason::AssociationTimeout => "AssociationTimeout",
        EndpointReason::DicomInvalid => "DicomInvalid",
        EndpointReason::AssociationRejected => "AssociationRejected",
        EndpointReason::AeTitleRejected => "AeTitleRejected",
        EndpointReason::Overloaded => "Overloaded",
        EndpointReason::AssociationAborted => "AssociationAborted",
        EndpointReason::PresentationContextRefused => "PresentationContextRefused",
        EndpointReason::EchoFailed => "EchoFailed",
        EndpointReason::GrpcInvalid => "GrpcInvalid",
        EndpointReason::GrpcStatus => "GrpcStatus",
        EndpointReason::HealthUnimplemented => "HealthUnimplemented",
        EndpointReason::NotServing => "NotServing",
        EndpointReason::ServiceUnknown => "ServiceUnknown",
        EndpointReason::PodNotReady => "PodNotReady",
        EndpointReason::Terminating => "Terminating",
    }
}

/// Where to look.
pub(super) const fn advice(reason: EndpointReason) -> &'static str {
    match reason {
        EndpointReason::Healthy | EndpointReason::NotProbed => "wait for the first probes to end",
        EndpointReason::DnsFailed => "check the host name and the cluster's name servers",
        EndpointReason::AddressRefused => {
            "medley does not connect to such addresses; register another one, or have an administrator allow the range"
        }
        EndpointReason::TcpRefused => "nothing listens on the port; check that the process runs and the port is right",
        EndpointReason::TcpTimeout => "no connection within the timeout; check firewalls and the host",
        EndpointReason::TcpUnreachable => "the network says that there is no way; check routes and the host",
        EndpointReason::TcpFailed => {
            "the connection broke; look at the service's log, and check that the port is right"
        }
        EndpointReason::TlsFailed => {
            "connected, but no TLS 1.2 or 1.3 came about in time; check that the port speaks TLS, or remove tls"
        }
        EndpointReason::CertificateExpired => {
            "the certificate is not valid at this time; renew it, and check the clocks"
        }
        EndpointReason::CertificateNameMismatch => {
            "the certificate is for another name than the host; correct it, or set tls.serverName to its name"
        }
        EndpointReason::CertificateUntrusted => {
            "the certificate is not from tls.caBundle; put the certificate of the authority that issued it there"
        }
        EndpointReason::ClientCertificateMissing => {
            "a client certificate is wanted; name one in tls.clientCertificate that the operator has for this namespace"
        }
        EndpointReason::ClientCertificateExpired => {
            "the client certificate is not valid at this time; renew it where the operator has it from"
        }
        EndpointReason::ClientCertificateRefused => {
            "the service does not accept the client certificate; have its authority or its name permitted there"
        }
        EndpointReason::HttpTimeout => {
            "connected, but no answer within the timeout; check the service's load, or set probe.timeout"
        }
        EndpointReason::HttpInvalid => "what answers does not speak HTTP; check port and protocol",
        EndpointReason::HttpStatus => {
            "the answer's status is not from 200 to 399; check the probe's path and the service"
        }
        EndpointReason::Unauthorized => {
            "the server wants to know who asks; let everybody ask for the metadata of FHIR and the health of gRPC, and medley for studies of DICOMweb, or set probe.level Transport"
        }
        EndpointReason::MetadataInvalid => {
            "what answers is no CapabilityStatement in JSON of at most 8 MiB; check port and fhir.basePath"
        }
        EndpointReason::DicomJsonInvalid => {
            "what answers a search for studies is no list in DICOM JSON; check port and http.basePath"
        }
        EndpointReason::CapabilityMismatch => {
            "the servers cannot do what is declared, see the condition CapabilityMatch; correct the server or the spec"
        }
        EndpointReason::AckTimeout => {
            "connected, but no acknowledgement within the timeout; check the interface's load, or set probe.timeout"
        }
        EndpointReason::AckInvalid => {
            "what answers is no HL7 acknowledgement of the probe's message; check that the port speaks MLLP"
        }
        EndpointReason::AssociationTimeout => {
            "connected, but no answer in DICOM within the timeout; check the service's load, or set probe.timeout"
        }
        EndpointReason::DicomInvalid => "what answers does not speak DICOM; check the port, and whether it wants TLS",
        EndpointReason::AssociationRejected => {
            "the service rejects associations; look at its log and at the hosts that it permits"
        }
        EndpointReason::AeTitleRejected => {
            "the service does not know one of the AE titles; check dicom.calledAeTitle, and register dicom.callingAeTitle there"
        }
        EndpointReason::Overloaded => {
            "the service takes no association or request now; check its limits, its storage and its load"
        }
        EndpointReason::AssociationAborted => {
            "the service ended the association or the connection before its answer; look at its log, and whether it wants TLS"
        }
        EndpointReason::PresentationContextRefused => {
            "the service does not accept the Verification SOP class; permit it there, or set probe.level Transport"
        }
        EndpointReason::EchoFailed => "the service answers C-ECHO with an error; look at its log",
        EndpointReason::GrpcInvalid => "what answers does not speak gRPC; check the port, and whether it wants TLS",
        EndpointReason::GrpcStatus => "the gRPC server answers the health check with an error; look at its log",
        EndpointReason::HealthUnimplemented => {
            "the gRPC server has no grpc.health.v1.Health; add it there, or set probe.level Transport"
        }
        EndpointReason::NotServing => "the gRPC server says that it does not serve; look at its log",
        EndpointReason::ServiceUnknown => {
            "the gRPC server's health service does not know the service; check grpc.service"
        }
        EndpointReason::PodNotReady => "the pods' readiness probes fail or have not passed yet; look at the pods",
        EndpointReason::Terminating => "the pods are being stopped",
    }
}
