//! What a field of a `MedicalService` or `ServiceQuery` means when it is not set: here and nowhere else.

use std::ops::RangeInclusive;

use crate::{
    api::{
        MedicalServiceSpec, Protocol, ServiceQuerySpec, Span, Urgency,
        dicom::DicomInterface,
        instances::{Autoscaling, Identity},
        interface::{FhirInterface, Interface, ProbeLevel},
        medical_service::Workload,
    },
    core::{dicom::Titles, monitoring::health::Thresholds},
};

/// Time between two probes.
pub const INTERVAL: Span = Span::from_secs(10);
/// How long a probe waits for an answer.
pub const TIMEOUT: Span = Span::from_secs(3);
/// Failures in a row before an endpoint is taken out.
pub const FAILURES: u8 = 3;
/// Successes in a row before an endpoint is put in.
pub const SUCCESSES: u8 = 1;
/// What a probe of an HTTP interface asks for.
pub const HEALTH_PATH: &str = "/";
/// A study that no server has: whoever is asked for it has to search, and has nothing of a patient to tell. Made from a UUID (PS3.5 annex
/// B.2).
pub const NO_STUDY: &str = "2.25.193420517632041578829364103175550214876";
/// medley's AE title.
pub const CALLING_AE_TITLE: &str = "MEDLEY";
/// Urgency of a workload's pods.
pub const URGENCY: Urgency = Urgency::Routine;
/// Pods of a workload.
pub const REPLICAS: i32 = 1;

/// Who probes: each can do what the other cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prober {
    /// The kubelet probes a workload's pods.
    Kubelet,
    /// medley probes external hosts.
    Medley,
}

/// How an interface is probed, with every default applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// How deep it looks.
    pub level: ProbeLevel,
    /// Time between two probes.
    pub interval: Span,
    /// How long a probe waits.
    pub timeout: Span,
    /// How many outcomes in a row it takes.
    pub thresholds: Thresholds,
}

/// How an interface is probed.
#[must_use]
pub fn probe(interface: &Interface, prober: Prober) -> Probe {
    let set = interface.probe.as_ref();
    Probe {
        level: set.and_then(|p| p.level).unwrap_or_else(|| level(interface, prober)),
        interval: set.and_then(|p| p.interval).unwrap_or(INTERVAL),
        timeout: set.and_then(|p| p.timeout).unwrap_or(TIMEOUT),
        thresholds: Thresholds {
            failures: set.and_then(|p| p.failure_threshold).unwrap_or(FAILURES),
            successes: set.and_then(|p| p.success_threshold).unwrap_or(SUCCESSES),
        },
    }
}

/// Protocol where the prober speaks it, Transport otherwise.
const fn level(interface: &Interface, prober: Prober) -> ProbeLevel {
    match (interface.protocol, prober) {
        (Protocol::Http | Protocol::Fhir | Protocol::DicomWeb, _) => ProbeLevel::Protocol,
        // its gRPC probe speaks no TLS
        (Protocol::Grpc, Prober::Kubelet) if interface.tls.is_none() => ProbeLevel::Protocol,
        // not every server has a health service
        (Protocol::Grpc, Prober::Medley) if interface.grpc.is_some() => ProbeLevel::Protocol,
        // an echo names whom it calls
        (Protocol::Dicom, Prober::Medley) if interface.dicom.is_some() => ProbeLevel::Protocol,
        _ => ProbeLevel::Transport,
    }
}

/// Whether medley, besides the kubelet, probes this interface of a workload's pods: the kubelet speaks neither DICOM nor HL7 version 2,
/// and does not read what a FHIR server says that it can do.
#[must_use]
pub fn gated(interface: &Interface) -> bool {
    let level = interface.probe.as_ref().and_then(|p| p.level);
    match interface.protocol {
        Protocol::Dicom | Protocol::Hl7v2 => level == Some(ProbeLevel::Protocol),
        Protocol::Fhir => {
            level != Some(ProbeLevel::Transport) && interface.fhir.as_ref().is_some_and(FhirInterface::declares)
        }
        _ => false,
    }
}

/// The path that a probe of level Protocol asks for; `None` where the protocol is not HTTP's.
#[must_use]
pub fn probe_path(interface: &Interface) -> Option<String> {
    match interface.protocol {
        Protocol::Http => {
            let set = interface.http.as_ref().and_then(|h| h.health_path.as_deref());
            Some(set.unwrap_or(HEALTH_PATH).to_owned())
        }
        Protocol::Fhir => {
            let base = interface.fhir.as_ref().and_then(|f| f.base_path.as_deref()).unwrap_or_default();
            Some(format!("{}/metadata", base.trim_end_matches('/')))
        }
        Protocol::DicomWeb => {
            let base = interface.http.as_ref().and_then(|h| h.base_path.as_deref()).unwrap_or_default();
            Some(format!("{}/studies?StudyInstanceUID={NO_STUDY}&limit=1", base.trim_end_matches('/')))
        }
        _ => None,
    }
}

/// Who calls whom on a DICOM interface; a step may say who calls.
#[must_use]
pub fn titles(interface: &DicomInterface, calling: Option<&str>) -> Titles {
    let calling = calling.or(interface.calling_ae_title.as_deref()).unwrap_or(CALLING_AE_TITLE);
    Titles { called: interface.called_ae_title.clone(), calling: calling.to_owned() }
}

/// Name of the port of a query's Service, and so of its SRV record: that of the interface, or the protocol in lower case.
#[must_use]
pub fn query_port(spec: &ServiceQuerySpec) -> String {
    let protocol = spec.protocol.map(|p| p.as_str().to_ascii_lowercase());
    spec.interface.clone().or(protocol).unwrap_or_default()
}

/// Port of the pods or hosts.
#[must_use]
pub fn target_port(interface: &Interface) -> u16 {
    interface.target_port.unwrap_or(interface.port)
}

/// Fewest and most pods of a workload that is scaled.
#[must_use]
pub fn bounds(autoscaling: &Autoscaling) -> RangeInclusive<i32> {
    let min = autoscaling.min.unwrap_or(REPLICAS).max(1);
    min..=autoscaling.max.max(min)
}

/// How many pods a workload has. One that is scaled has as many as it has now (`present`), within its bounds: how many is its
/// autoscaler's to say.
#[must_use]
pub fn replicas(spec: &MedicalServiceSpec, workload: &Workload, present: Option<i32>) -> i32 {
    match spec.autoscaling.as_ref().map(bounds) {
        Some(bounds) => present.unwrap_or(*bounds.start()).clamp(*bounds.start(), *bounds.end()),
        None => workload.replicas.unwrap_or(REPLICAS).max(0),
    }
}

/// How many pods a workload has at least, but for those that fail.
#[must_use]
pub fn fewest(spec: &MedicalServiceSpec, workload: &Workload) -> i32 {
    replicas(spec, workload, None)
}

/// Whether the pods of a workload are told apart.
#[must_use]
pub fn identity(workload: &Workload) -> Identity {
    workload.identity.unwrap_or(Identity::Interchangeable)
}

/// Urgency of a workload's pods.
#[must_use]
pub fn urgency(spec: &MedicalServiceSpec) -> Urgency {
    spec.urgency.unwrap_or(URGENCY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::interface::{GrpcInterface, HttpInterface, Probe as Set};

    fn interface(protocol: Protocol) -> Interface {
        Interface {
            name: "main".to_owned(),
            port: 8080,
            target_port: None,
            protocol,
            tls: None,
            http: None,
            fhir: None,
            grpc: None,
            hl7v2: None,
            dicom: None,
            probe: None,
        }
    }

    #[test]
    fn the_level_is_as_deep_as_the_prober_can_look() {
        use Prober::{Kubelet, Medley};
        let level = |protocol, prober| probe(&interface(protocol), prober).level;
        for prober in [Kubelet, Medley] {
            assert_eq!(level(Protocol::Http, prober), ProbeLevel::Protocol);
            assert_eq!(level(Protocol::Fhir, prober), ProbeLevel::Protocol);
            assert_eq!(level(Protocol::DicomWeb, prober), ProbeLevel::Protocol);
            for other in [Protocol::Tcp, Protocol::Dicom, Protocol::Hl7v2] {
                assert_eq!(level(other, prober), ProbeLevel::Transport);
            }
        }
        assert_eq!(level(Protocol::Grpc, Kubelet), ProbeLevel::Protocol);
        assert_eq!(level(Protocol::Grpc, Medley), ProbeLevel::Transport);
        let mut grpc = interface(Protocol::Grpc);
        grpc.grpc = Some(GrpcInterface::default());
        assert_eq!(probe(&grpc, Medley).level, ProbeLevel::Protocol);
        let mut dicom = interface(Protocol::Dicom);
        dicom.dicom = Some(DicomInterface { called_ae_title: "ARCHIVE".to_owned(), ..DicomInterface::default() });
        assert_eq!(probe(&dicom, Medley).level, ProbeLevel::Protocol);
        assert_eq!(probe(&dicom, Kubelet).level, ProbeLevel::Transport);
    }

    #[test]
    fn who_calls_is_said_by_the_step_then_by_the_interface() {
        let mut dicom = DicomInterface { called_ae_title: "ARCHIVE".to_owned(), ..DicomInterface::default() };
        let calling = |dicom: &DicomInterface, step| titles(dicom, step).calling;
        assert_eq!(titles(&dicom, None), Titles { called: "ARCHIVE".to_owned(), calling: "MEDLEY".to_owned() });
        dicom.calling_ae_title = Some("WARD".to_owned());
        assert_eq!((calling(&dicom, None), calling(&dicom, Some("STEP"))), ("WARD".to_owned(), "STEP".to_owned()));
    }

    #[test]
    fn what_is_set_wins() {
        let mut interface = interface(Protocol::Http);
        interface.probe = Some(Set {
            level: Some(ProbeLevel::Transport),
            interval: Some(Span::from_secs(1)),
            timeout: None,
            failure_threshold: Some(7),
            success_threshold: None,
        });
        let probe = probe(&interface, Prober::Medley);
        assert_eq!((probe.level, probe.interval, probe.timeout), (ProbeLevel::Transport, Span::from_secs(1), TIMEOUT));
        assert_eq!(probe.thresholds, Thresholds { failures: 7, successes: SUCCESSES });
    }

    #[test]
    fn a_base_path_is_fhirs_and_not_https() {
        let mut http = interface(Protocol::Http);
        http.http = Some(HttpInterface { base_path: Some("/api".to_owned()), health_path: None });
        assert_eq!(probe_path(&http).as_deref(), Some("/"));
        let mut fhir = interface(Protocol::Fhir);
        assert_eq!(probe_path(&fhir).as_deref(), Some("/metadata"));
        for base in ["/fhir", "/fhir/"] {
            fhir.fhir = Some(FhirInterface { base_path: Some(base.to_owned()), ..FhirInterface::default() });
            assert_eq!(probe_path(&fhir).as_deref(), Some("/fhir/metadata"));
        }
        let mut web = interface(Protocol::DicomWeb);
        let asked = |base: &str| format!("{base}/studies?StudyInstanceUID={NO_STUDY}&limit=1");
        assert_eq!(probe_path(&web), Some(asked("")));
        web.http = Some(HttpInterface { base_path: Some("/dicom-web/".to_owned()), health_path: None });
        assert_eq!(probe_path(&web), Some(asked("/dicom-web")));
        assert_eq!(probe_path(&interface(Protocol::Dicom)), None);
    }
}
