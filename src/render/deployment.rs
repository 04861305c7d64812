//! The Deployment that runs the pods of a workload.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Container, ContainerPort, GRPCAction, HTTPGetAction, PodSpec, PodTemplateSpec, Probe, TCPSocketAction,
        },
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{MANAGER, Owner, SERVICE_LABEL, gate, pod_template};
use crate::{
    api::{
        MedicalServiceSpec, Protocol,
        interface::{Interface, ProbeLevel},
        medical_service::{ImagePullPolicy, Workload},
    },
    core::{discovery::defaults, name},
};

/// Name of the container in every pod of a service.
pub const CONTAINER: &str = "service";
/// Annotation of the Deployment: hash of the spec that was applied. Tells a rollout that is done from one that has not begun.
pub const APPLIED: &str = "medley.health/applied";

/// The Deployment of a workload, with so many pods. A rollout starts new pods before it stops old ones, and never has fewer.
#[must_use]
pub fn deployment(owner: &Owner, spec: &MedicalServiceSpec, workload: &Workload, replicas: i32) -> Deployment {
    let scaled = spec.autoscaling.is_some();
    let mut spec = DeploymentSpec {
        // what an autoscaler changes is no other spec
        replicas: (!scaled).then_some(replicas),
        selector: LabelSelector { match_labels: Some(selector(&owner.name)), match_expressions: None },
        strategy: Some(DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateDeployment {
                max_surge: Some(IntOrString::String("25%".to_owned())),
                max_unavailable: Some(IntOrString::Int(0)),
            }),
        }),
        template: template(owner, spec, workload),
        ..DeploymentSpec::default()
    };
    let mut metadata = owner.metadata(&owner.name, &[(SERVICE_LABEL, &owner.name)]);
    metadata.annotations = Some([(APPLIED.to_owned(), fingerprint(&spec))].into());
    spec.replicas = Some(replicas);
    Deployment { metadata, spec: Some(spec), status: None }
}

/// The hash that [`APPLIED`] holds.
pub(super) fn fingerprint(spec: &impl serde::Serialize) -> String {
    // every field of the spec is a string, a number, a list or a map with string keys: it always serializes
    let text = serde_json::to_vec(spec).unwrap_or_default();
    name::digest([text.as_slice()])[..16].to_owned()
}

/// Labels by which the Deployment, the Service and the budget find the pods.
#[must_use]
pub fn selector(service: &str) -> BTreeMap<String, String> {
    [(SERVICE_LABEL.to_owned(), service.to_owned())].into()
}

/// The pods of a workload.
pub(super) fn template(owner: &Owner, spec: &MedicalServiceSpec, workload: &Workload) -> PodTemplateSpec {
    let mut labels = selector(&owner.name);
    labels.insert("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned());
    let gated = gate::fingerprint(&spec.interfaces);
    let gates = gated.is_some().then(|| vec![gate::gate()]);
    labels.extend(gated.map(|made_for| (gate::LABEL.to_owned(), made_for)));
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
        spec: Some(PodSpec {
            automount_service_account_token: Some(false),
            // the environment of a pod should not depend on which other services the namespace happens to have
            enable_service_links: Some(false),
            priority_class_name: Some(defaults::urgency(spec).priority_class().to_owned()),
            security_context: Some(pod_template::pod_security()),
            readiness_gates: gates,
            containers: vec![Container {
                name: CONTAINER.to_owned(),
                image: Some(workload.image.clone()),
                image_pull_policy: Some(
                    workload.image_pull_policy.unwrap_or(ImagePullPolicy::IfNotPresent).as_str().to_owned(),
                ),
                command: pod_template::words(&workload.command),
                args: pod_template::words(&workload.args),
                env: pod_template::env(&workload.env),
                resources: pod_template::resources(workload.resources.as_ref()),
                ports: Some(ports(&spec.interfaces)),
                readiness_probe: probed(&spec.interfaces).map(readiness),
                security_context: Some(pod_template::container_security()),
                ..Container::default()
            }],
            ..PodSpec::default()
        }),
    }
}

/// Each port number once: Kubernetes merges a container's ports by number, and two interfaces may share one.
fn ports(interfaces: &[Interface]) -> Vec<ContainerPort> {
    let mut seen = BTreeSet::new();
    interfaces
        .iter()
        .filter(|i| seen.insert(defaults::target_port(i)))
        .map(|i| ContainerPort {
            container_port: i32::from(defaults::target_port(i)),
            // a Service's port may have `--` in its name, a container's may not
            name: (!i.name.contains("--")).then(|| i.name.clone()),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        })
        .collect()
}

/// A pod has one readiness probe: that of the interface which asks the kubelet for one, or of the first.
fn probed(interfaces: &[Interface]) -> Option<&Interface> {
    let asks = |i: &&Interface| i.probe.is_some() && (defaults::probe_path(i).is_some() || !defaults::gated(i));
    interfaces.iter().find(asks).or_else(|| interfaces.first())
}

fn readiness(interface: &Interface) -> Probe {
    let how = defaults::probe(interface, defaults::Prober::Kubelet);
    let port = i32::from(defaults::target_port(interface));
    let mut probe = Probe {
        period_seconds: Some(how.interval.whole_seconds()),
        timeout_seconds: Some(how.timeout.whole_seconds()),
        failure_threshold: Some(i32::from(how.thresholds.failures)),
        success_threshold: Some(i32::from(how.thresholds.successes)),
        ..Probe::default()
    };
    match (how.level, defaults::probe_path(interface)) {
        (ProbeLevel::Protocol, Some(path)) => {
            probe.http_get = Some(HTTPGetAction {
                path: Some(path),
                port: IntOrString::Int(port),
                // the kubelet does not check certificates
                scheme: interface.tls.as_ref().map(|_| "HTTPS".to_owned()),
                ..HTTPGetAction::default()
            });
        }
        (ProbeLevel::Protocol, None) if interface.protocol == Protocol::Grpc => {
            let service = interface.grpc.as_ref().and_then(|g| g.service.clone());
            probe.grpc = Some(GRPCAction { port, service });
        }
        _ => probe.tcp_socket = Some(TCPSocketAction { port: IntOrString::Int(port), host: None }),
    }
    probe
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::api::{
        Span, Urgency,
        interface::{FhirInterface, GrpcInterface, HttpInterface, Probe as Set},
    };

    pub(in crate::render) fn owner() -> Owner {
        Owner {
            kind: "MedicalService",
            namespace: "radiology".to_owned(),
            name: "reader".to_owned(),
            uid: "u1".to_owned(),
        }
    }

    pub(in crate::render) fn interface(name: &str, port: u16, protocol: Protocol) -> Interface {
        Interface {
            name: name.to_owned(),
            port,
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

    fn spec(interfaces: Vec<Interface>) -> MedicalServiceSpec {
        MedicalServiceSpec {
            workload: Some(Workload {
                image: "reader:1".to_owned(),
                image_pull_policy: None,
                command: vec![],
                args: vec![],
                env: vec![],
                resources: None,
                replicas: None,
                identity: None,
                volumes: vec![],
            }),
            select: None,
            external: None,
            autoscaling: None,
            capacity: None,
            interfaces,
            urgency: None,
            capabilities: vec![],
            attributes: BTreeMap::new(),
            data: None,
            objectives: None,
        }
    }

    fn rendered(spec: &MedicalServiceSpec) -> Deployment {
        deployment(&owner(), spec, spec.workload.as_ref().unwrap(), 1)
    }

    fn container(spec: &MedicalServiceSpec) -> Container {
        rendered(spec).spec.unwrap().template.spec.unwrap().containers.remove(0)
    }

    #[test]
    fn pods_meet_the_restricted_profile_and_carry_no_token() {
        let mut service = spec(vec![interface("web", 80, Protocol::Http)]);
        service.urgency = Some(Urgency::Stat);
        let pod = rendered(&service).spec.unwrap().template.spec.unwrap();
        assert_eq!(pod.automount_service_account_token, Some(false));
        assert_eq!(pod.priority_class_name.as_deref(), Some("medley-stat"));
        assert_eq!(pod.security_context.unwrap().run_as_non_root, Some(true));
        let security = pod.containers[0].security_context.clone().unwrap();
        assert_eq!(security.allow_privilege_escalation, Some(false));
        assert_eq!(security.capabilities.unwrap().drop, Some(vec!["ALL".to_owned()]));
    }

    #[test]
    fn each_protocol_gets_the_probe_that_the_kubelet_knows() {
        let http = container(&spec(vec![interface("web", 80, Protocol::Http)])).readiness_probe.unwrap();
        assert_eq!(http.http_get.unwrap().path.as_deref(), Some("/"));
        assert_eq!((http.period_seconds, http.timeout_seconds), (Some(10), Some(3)));
        assert_eq!((http.failure_threshold, http.success_threshold), (Some(3), Some(1)));

        let mut fhir = interface("fhir", 80, Protocol::Fhir);
        fhir.fhir = Some(FhirInterface { base_path: Some("/r4".to_owned()), ..FhirInterface::default() });
        let fhir = container(&spec(vec![fhir])).readiness_probe.unwrap();
        assert_eq!(fhir.http_get.unwrap().path.as_deref(), Some("/r4/metadata"));

        let mut grpc = interface("infer", 9000, Protocol::Grpc);
        grpc.grpc = Some(GrpcInterface { service: Some("triage.v1".to_owned()) });
        let grpc = container(&spec(vec![grpc])).readiness_probe.unwrap().grpc.unwrap();
        assert_eq!((grpc.port, grpc.service.as_deref()), (9000, Some("triage.v1")));

        let dicom = container(&spec(vec![interface("dicom", 104, Protocol::Dicom)])).readiness_probe.unwrap();
        assert_eq!(dicom.tcp_socket.unwrap().port, IntOrString::Int(104));
        assert!(dicom.http_get.is_none() && dicom.grpc.is_none());
    }

    #[test]
    fn the_interface_that_asks_for_a_probe_is_the_one_that_is_probed() {
        let mut web = interface("web", 80, Protocol::Http);
        web.target_port = Some(8042);
        web.http =
            Some(HttpInterface { base_path: Some("/app".to_owned()), health_path: Some("/ok?deep=1".to_owned()) });
        web.probe = Some(Set { interval: Some(Span::from_secs(120)), failure_threshold: Some(5), ..Set::default() });
        let probe = container(&spec(vec![interface("dicom", 104, Protocol::Dicom), web])).readiness_probe.unwrap();
        let get = probe.http_get.unwrap();
        assert_eq!((get.path.as_deref(), get.port), (Some("/ok?deep=1"), IntOrString::Int(8042)));
        assert_eq!((probe.period_seconds, probe.failure_threshold), (Some(120), Some(5)));
    }

    #[test]
    fn a_port_number_appears_once_and_its_name_is_one_that_containers_may_have() {
        let mut rest = interface("rest", 8080, Protocol::DicomWeb);
        rest.target_port = Some(80);
        let interfaces = vec![interface("web", 80, Protocol::Http), rest, interface("a--b", 104, Protocol::Dicom)];
        let ports: Vec<_> =
            container(&spec(interfaces)).ports.unwrap().into_iter().map(|p| (p.name, p.container_port)).collect();
        assert_eq!(ports, [(Some("web".to_owned()), 80), (None, 104)]);
    }

    #[test]
    fn the_fingerprint_follows_the_spec() {
        let first = spec(vec![interface("web", 80, Protocol::Http)]);
        let mut second = first.clone();
        second.workload.as_mut().unwrap().image = "reader:2".to_owned();
        let applied = |s: &MedicalServiceSpec| rendered(s).metadata.annotations.unwrap()[APPLIED].clone();
        assert_eq!(applied(&first), applied(&first));
        assert_ne!(applied(&first), applied(&second));
    }
}
