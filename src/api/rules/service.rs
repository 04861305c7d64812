//! Rules of `MedicalService`.

use serde_json::Value;

use super::{Rule, SPAN, extension, rule};

/// Rules that see a whole `MedicalService`.
pub(in crate::api) fn medical_service() -> Vec<Rule> {
    vec![
        rule(
            // The owned Service has the same name, and a Service's name must be a DNS-1035 label.
            "",
            "self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "metadata.name: must be a DNS label of at most 63 characters that starts with a letter, since the Service in cluster DNS has the same name",
        ),
        rule(
            // The label `controller-revision-hash` of a StatefulSet's pods holds its name and a hash, in 63 characters.
            "",
            "!has(self.spec.workload) || !has(self.spec.workload.identity) || self.spec.workload.identity != 'Stable' || self.metadata.name.size() <= 52",
            "metadata.name: must be at most 52 characters long with workload.identity Stable, since names of instances are made from it",
        ),
    ]
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
            ".autoscaling",
            "!has(self.autoscaling) || has(self.workload)",
            "autoscaling is of the workload's pods: remove it, or set workload",
        ),
        rule(
            ".autoscaling",
            "!has(self.autoscaling) || !has(self.workload) || !has(self.workload.replicas)",
            "autoscaling and workload.replicas both say how many pods there are: remove one of them",
        ),
        rule(
            ".autoscaling.target.cpu",
            "!has(self.autoscaling) || !has(self.workload) || (has(self.workload.resources) && ((has(self.workload.resources.requests) && 'cpu' in self.workload.resources.requests) || (has(self.workload.resources.limits) && 'cpu' in self.workload.resources.limits)))",
            "is a share of the CPU that a pod requests: set workload.resources.requests.cpu",
        ),
        rule(
            ".workload.volumes",
            "!has(self.workload) || !has(self.workload.volumes) || (has(self.workload.identity) && self.workload.identity == 'Stable')",
            "volumes are those of single instances: set identity Stable, or remove volumes",
        ),
        rule(
            ".workload.volumes",
            "!has(self.workload) || !has(self.workload.volumes) || self.workload.volumes.all(a, self.workload.volumes.exists_one(b, b.mountPath == a.mountPath))",
            "each volume must have a mountPath of its own: change one of them",
        ),
        rule(
            ".workload.identity",
            "!has(self.workload) || !has(oldSelf.workload) || (has(self.workload.identity) ? self.workload.identity : 'Interchangeable') == (has(oldSelf.workload.identity) ? oldSelf.workload.identity : 'Interchangeable')",
            "cannot be changed, since all pods would be replaced at once and lose their names: make another MedicalService, or remove this one first",
        ),
        rule(
            ".workload.volumes",
            "!has(self.workload) || !has(oldSelf.workload) || (has(self.workload.volumes) ? self.workload.volumes : []) == (has(oldSelf.workload.volumes) ? oldSelf.workload.volumes : [])",
            "cannot be changed, since a StatefulSet keeps the claims that it began with: make another MedicalService, or remove this one first",
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
            "!has(self.workload) || self.interfaces.filter(i, has(i.probe) && !(i.protocol in ['HL7v2', 'DICOM'] && has(i.probe.level) && i.probe.level == 'Protocol')).size() <= 1",
            "a workload's pod has one readiness probe of the kubelet: set probe on one interface only, besides those of HL7v2 and DICOM with level Protocol, which medley probes",
        ),
        rule(
            ".interfaces",
            "!has(self.workload) || !self.interfaces.exists(i, has(i.tls) && i.protocol == 'GRPC' && has(i.probe) && has(i.probe.level) && i.probe.level == 'Protocol')",
            "the kubelet does not speak TLS in its gRPC probe: set level Transport",
        ),
        rule(
            ".interfaces",
            "!has(self.select) || !self.interfaces.exists(i, has(i.fhir) && (has(i.fhir.version) || has(i.fhir.resources) || has(i.fhir.operations)))",
            "fhir.version, resources and operations are found by medley's own probes, and with select the pods' readiness probes decide: remove them, or set workload or external",
        ),
        rule(
            ".interfaces",
            "has(self.external) || !self.interfaces.exists(i, has(i.dicom) && (has(i.dicom.sopClasses) || has(i.dicom.transferSyntaxes)))",
            "dicom.sopClasses and transferSyntaxes are matched with what hosts outside the cluster accept: remove them, or set external",
        ),
        rule(
            ".interfaces",
            "!has(self.external) || !self.interfaces.exists(i, has(i.targetPort))",
            "targetPort is for workload and select, an external service listens on port itself: remove targetPort",
        ),
        rule(
            ".objectives.latency",
            "!has(self.objectives) || !has(self.objectives.latency) || (has(self.objectives.latency.source) && self.objectives.latency.source == 'Probes') || self.interfaces.exists(i, i.protocol in ['HTTP', 'FHIR', 'DICOMweb', 'HL7v2'] || has(i.dicom))",
            "no step can call an interface of this service (HTTP, FHIR, DICOMweb, HL7v2, or DICOM with dicom.calledAeTitle): set source Probes where medley probes it, or remove latency",
        ),
        rule(
            ".objectives.latency.source",
            "!has(self.objectives) || !has(self.objectives.latency) || !has(self.objectives.latency.source) || self.objectives.latency.source != 'Probes' || has(self.external) || (has(self.workload) && self.interfaces.exists(i, (i.protocol in ['HL7v2', 'DICOM'] && has(i.probe) && has(i.probe.level) && i.probe.level == 'Protocol') || (has(i.fhir) && (has(i.fhir.version) || has(i.fhir.resources) || has(i.fhir.operations)))))",
            "medley itself probes hosts of external, and pods of a workload over DICOM and HL7v2 with level Protocol, or FHIR with declared capabilities: set source Calls, or one of these",
        ),
    ])
}

/// How many pods.
pub fn autoscaling() -> Value {
    extension(&[rule(
        ".max",
        "!has(self.min) || self.min <= self.max",
        "must not be less than min: raise max or lower min",
    )])
}

/// How well a service should do.
pub fn objectives() -> Value {
    extension(&[rule(
        "",
        "has(self.availability) || has(self.latency)",
        "must have availability or latency: set one of them, or remove objectives",
    )])
}

/// How many of something should be well. No maximum of the schema: of a whole number the API server would say that it must not exceed 99.
pub fn objective_percent() -> Value {
    extension(&[rule(
        "",
        "self <= 99.999",
        "must be at most 99.999, or nothing at all could be allowed: write 99.9 for one in a thousand",
    )])
}

/// How soon an answer should come.
pub fn latency_within() -> Value {
    extension(&[SPAN, rule("", "self.matches('[1-9]')", "must be longer than zero, or no answer could be in time")])
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
            ".dicom",
            "!has(self.dicom) || !(has(self.dicom.sopClasses) || has(self.dicom.transferSyntaxes)) || !has(self.probe) || !has(self.probe.level) || self.probe.level == 'Protocol'",
            "dicom.sopClasses and transferSyntaxes are found by a probe of level Protocol: set that level, or remove them",
        ),
        rule(
            ".http",
            "!has(self.http) || !has(self.http.healthPath) || self.protocol != 'DICOMweb'",
            "healthPath is for the protocol HTTP, DICOMweb is probed by a search for studies: remove healthPath",
        ),
        rule(
            ".probe",
            "!has(self.probe) || !has(self.probe.level) || self.probe.level == 'Transport' || self.protocol in ['HTTP', 'FHIR', 'GRPC', 'HL7v2', 'DICOM', 'DICOMweb']",
            "level Protocol works for the protocols HTTP, FHIR, GRPC, HL7v2, DICOM and DICOMweb: set level Transport",
        ),
        rule(
            ".probe",
            "self.protocol != 'DICOM' || has(self.dicom) || !has(self.probe) || !has(self.probe.level) || self.probe.level == 'Transport'",
            "level Protocol of DICOM is an echo, which names whom it calls: set dicom.calledAeTitle, or level Transport",
        ),
    ])
}
