//! Rules of `MedicalService`.

use serde_json::Value;

use super::{Rule, extension, rule};

/// Rules that see a whole `MedicalService`.
pub(in crate::api) fn medical_service() -> Vec<Rule> {
    vec![rule(
        // The owned Service has the same name, and a Service's name must be a DNS-1035 label.
        "",
        "self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name: must be a DNS label of at most 63 characters that starts with a letter, since the Service in cluster DNS has the same name",
    )]
}

/// Rules of a `MedicalService`'s spec.
pub fn medical_service_spec() -> Value {
    extension(&[
        rule(
            "",
            "[has(self.workload), has(self.select), has(self.external)].filter(b, b).size() == 1",
            "exactly one of workload, select and external must be set: it says who runs the service",
        ),
        rule(
            ".urgency",
            "!has(self.urgency) || has(self.workload)",
            "urgency is the PriorityClass of the workload's pods: remove it, or set workload",
        ),
        rule(
            // A Service holds each port number once.
            ".interfaces",
            "self.interfaces.all(a, self.interfaces.exists_one(b, b.port == a.port))",
            "each interface must have a port of its own, since a Service holds each port once: change one port (and set targetPort where the pods listen on another)",
        ),
        rule(
            ".interfaces",
            "!has(self.select) || !self.interfaces.exists(i, has(i.probe))",
            "probe has no effect with select, where the pods' own readiness probes decide: remove probe",
        ),
        rule(
            ".interfaces",
            "!has(self.workload) || self.interfaces.filter(i, has(i.probe)).size() <= 1",
            "a workload's pod has one readiness probe: set probe on one interface only",
        ),
        rule(
            ".interfaces",
            "!has(self.external) || !self.interfaces.exists(i, has(i.probe) && has(i.probe.level) && i.probe.level == 'Protocol' && !(i.protocol in ['HTTP', 'FHIR', 'HL7v2', 'DICOM']))",
            "probe.level Protocol of an external service works for the protocols HTTP, FHIR, HL7v2 and DICOM: set level Transport",
        ),
        rule(
            ".interfaces",
            "!has(self.workload) || !self.interfaces.exists(i, i.protocol in ['HL7v2', 'DICOM'] && has(i.probe) && has(i.probe.level) && i.probe.level == 'Protocol')",
            "the kubelet, which probes a workload's pods, speaks neither HL7v2 nor DICOM: set probe.level Transport",
        ),
        rule(
            ".interfaces",
            "has(self.external) || !self.interfaces.exists(i, has(i.fhir) && (has(i.fhir.version) || has(i.fhir.resources) || has(i.fhir.operations)))",
            "fhir.version, resources and operations are matched with what hosts outside the cluster tell: remove them, or set external",
        ),
        rule(
            ".interfaces",
            "!has(self.external) || !self.interfaces.exists(i, has(i.targetPort))",
            "targetPort is for workload and select, an external service listens on port itself: remove targetPort",
        ),
    ])
}

/// A host outside the cluster.
pub fn external_endpoint() -> Value {
    extension(&[
        rule(
            ".host",
            "!isIP(self.host) || !(ip(self.host).isLoopback() || ip(self.host).isUnspecified() || ip(self.host).isLinkLocalUnicast() || ip(self.host).isLinkLocalMulticast())",
            "must not be a loopback, link-local or unspecified address, since Kubernetes refuses these as endpoints: give the host's address in the network",
        ),
        rule(
            ".host",
            "isIP(self.host) || (self.host.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$') && !self.host.matches('^[0-9.]+$'))",
            "must be an IPv4 address such as 192.0.2.7, an IPv6 address such as 2001:db8::7, or a DNS name in lower case; without scheme and port",
        ),
    ])
}

/// Certificates in PEM.
pub fn ca_bundle() -> Value {
    extension(&[rule(
        "",
        "self.contains('-----BEGIN CERTIFICATE-----')",
        "must hold a certificate in PEM: put in the text from BEGIN CERTIFICATE to END CERTIFICATE",
    )])
}

/// The name in a certificate.
pub fn server_name() -> Value {
    extension(&[rule(
        "",
        "isIP(self) || self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\\\\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$')",
        "must be a DNS name in lower case or an IP address, as the server's certificate has it",
    )])
}

/// One way to talk to a service.
pub fn interface() -> Value {
    extension(&[
        rule(
            ".probe",
            "!has(self.tls) || self.protocol != 'GRPC' || !has(self.probe) || !has(self.probe.level) || self.probe.level == 'Transport'",
            "the kubelet does not speak TLS in its gRPC probe: set level Transport",
        ),
        rule(
            ".http",
            "!has(self.http) || self.protocol in ['HTTP', 'DICOMweb']",
            "http is for the protocols HTTP and DICOMweb: remove it or change protocol",
        ),
        rule(
            ".fhir",
            "!has(self.fhir) || self.protocol == 'FHIR'",
            "fhir is for the protocol FHIR: remove it or change protocol",
        ),
        rule(
            ".fhir",
            "!has(self.fhir) || !(has(self.fhir.version) || has(self.fhir.resources) || has(self.fhir.operations)) || !has(self.probe) || !has(self.probe.level) || self.probe.level == 'Protocol'",
            "fhir.version, resources and operations are found by a probe of level Protocol: set that level, or remove them",
        ),
        rule(
            ".grpc",
            "!has(self.grpc) || self.protocol == 'GRPC'",
            "grpc is for the protocol GRPC: remove it or change protocol",
        ),
        rule(
            ".hl7v2",
            "!has(self.hl7v2) || (self.protocol == 'HL7v2' && has(self.probe) && has(self.probe.level) && self.probe.level == 'Protocol')",
            "hl7v2 says whom the message of a probe is for: set protocol HL7v2 and probe.level Protocol, or remove it",
        ),
        rule(
            ".dicom",
            "!has(self.dicom) || self.protocol == 'DICOM'",
            "dicom is for the protocol DICOM: remove it or change protocol",
        ),
        rule(
            ".http",
            "!has(self.http) || !has(self.http.healthPath) || self.protocol != 'DICOMweb'",
            "healthPath is for the protocol HTTP, DICOMweb is probed on the transport level: remove healthPath",
        ),
        rule(
            ".probe",
            "!has(self.probe) || !has(self.probe.level) || self.probe.level == 'Transport' || self.protocol in ['HTTP', 'FHIR', 'GRPC', 'HL7v2', 'DICOM']",
            "level Protocol works for the protocols HTTP, FHIR, GRPC, HL7v2 and DICOM: set level Transport",
        ),
        rule(
            ".probe",
            "self.protocol != 'DICOM' || has(self.dicom) || !has(self.probe) || !has(self.probe.level) || self.probe.level == 'Transport'",
            "level Protocol of DICOM is an echo, which names whom it calls: set dicom.calledAeTitle, or level Transport",
        ),
    ])
}
