//! The `StatefulSet` that runs the instances of a workload, and the headless Service that gives each a name.

use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy},
        core::v1::{
            PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSecurityContext, PodTemplateSpec, Service,
            ServicePort, ServiceSpec, VolumeMount, VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{
    Owner, SERVICE_LABEL,
    deployment::{APPLIED, fingerprint, selector, template},
};
use crate::{
    api::{MedicalServiceSpec, instances::InstanceVolume, interface::Interface, medical_service::Workload},
    core::discovery::defaults,
};

/// Group of the volumes' files; the number is that of `nonroot` in common images, and means nothing else.
const VOLUME_GROUP: i64 = 65532;

/// Name of the headless Service of a service's instances.
#[must_use]
pub fn instances(service: &str) -> String {
    format!("{service}-instances")
}

/// The `StatefulSet` of a workload, with so many instances. All instances start together, and a rollout replaces one at a time.
#[must_use]
pub fn stateful_set(owner: &Owner, spec: &MedicalServiceSpec, workload: &Workload, replicas: i32) -> StatefulSet {
    let scaled = spec.autoscaling.is_some();
    let mut volumes: Vec<&InstanceVolume> = workload.volumes.iter().collect();
    // the order in which they are declared is nothing that the API server would let change
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    let mut pods = template(owner, spec, workload);
    mount(&mut pods, &volumes);
    let mut spec = StatefulSetSpec {
        // what an autoscaler changes is no other spec
        replicas: (!scaled).then_some(replicas),
        selector: LabelSelector { match_labels: Some(selector(&owner.name)), match_expressions: None },
        service_name: Some(instances(&owner.name)),
        pod_management_policy: Some("Parallel".to_owned()),
        update_strategy: Some(StatefulSetUpdateStrategy {
            type_: Some("RollingUpdate".to_owned()),
            ..StatefulSetUpdateStrategy::default()
        }),
        volume_claim_templates: (!volumes.is_empty()).then(|| volumes.iter().map(|v| claim(v)).collect()),
        template: pods,
        ..StatefulSetSpec::default()
    };
    let mut metadata = owner.metadata(&owner.name, &[(SERVICE_LABEL, &owner.name)]);
    metadata.annotations = Some([(APPLIED.to_owned(), fingerprint(&spec))].into());
    spec.replicas = Some(replicas);
    StatefulSet { metadata, spec: Some(spec), status: None }
}

/// The headless Service: `<service>-<n>.<service>-instances` is the address of instance n while it is ready.
#[must_use]
pub fn headless(owner: &Owner, interfaces: &[Interface]) -> Service {
    Service {
        metadata: owner.metadata(&instances(&owner.name), &[(SERVICE_LABEL, &owner.name)]),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            cluster_ip: Some("None".to_owned()),
            selector: Some(selector(&owner.name)),
            ports: Some(interfaces.iter().map(port).collect()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// Nobody forwards to another port: who calls an instance by its name calls the pod's own.
fn port(interface: &Interface) -> ServicePort {
    let port = i32::from(defaults::target_port(interface));
    ServicePort {
        name: Some(interface.name.clone()),
        port,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(port)),
        app_protocol: interface.app_protocol().map(str::to_owned),
        node_port: None,
    }
}

fn mount(pods: &mut PodTemplateSpec, volumes: &[&InstanceVolume]) {
    let Some(spec) = pods.spec.as_mut().filter(|_| !volumes.is_empty()) else { return };
    let security = spec.security_context.get_or_insert_with(PodSecurityContext::default);
    security.fs_group = Some(VOLUME_GROUP);
    // an archive's volume has more files than a start should walk through
    security.fs_group_change_policy = Some("OnRootMismatch".to_owned());
    for container in &mut spec.containers {
        let mounts = volumes.iter().map(|v| VolumeMount {
            name: v.name.clone(),
            mount_path: v.mount_path.clone(),
            ..VolumeMount::default()
        });
        container.volume_mounts = Some(mounts.collect());
    }
}

fn claim(volume: &InstanceVolume) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(volume.name.clone()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: volume.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(volume.size.clone()))].into()),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::render::deployment::tests::owner;

    fn spec() -> MedicalServiceSpec {
        let volume = |name: &str| json!({"name": name, "mountPath": format!("/var/{name}"), "size": "10Gi"});
        serde_json::from_value(json!({
            "workload": {"image": "archive:1", "replicas": 2, "identity": "Stable", "volumes": [volume("index"), volume("data")]},
            "interfaces": [{"name": "dicom", "port": 104, "targetPort": 11112, "protocol": "DICOM"}],
        }))
        .unwrap()
    }

    #[test]
    fn each_instance_has_the_volumes_whatever_their_order() {
        let spec = spec();
        let set = stateful_set(&owner(), &spec, spec.workload.as_ref().unwrap(), 2);
        let inner = set.spec.clone().unwrap();
        assert_eq!(inner.service_name.as_deref(), Some("reader-instances"));
        let claims = inner.volume_claim_templates.unwrap();
        assert_eq!(claims.iter().filter_map(|c| c.metadata.name.as_deref()).collect::<Vec<_>>(), ["data", "index"]);
        let pod = inner.template.spec.unwrap();
        assert_eq!(pod.security_context.unwrap().fs_group, Some(VOLUME_GROUP));
        let mounts = pod.containers[0].volume_mounts.clone().unwrap();
        assert_eq!((mounts[0].name.as_str(), mounts[0].mount_path.as_str()), ("data", "/var/data"));
        let mut turned = spec.clone();
        turned.workload.as_mut().unwrap().volumes.reverse();
        assert_eq!(stateful_set(&owner(), &turned, turned.workload.as_ref().unwrap(), 2), set);
    }

    #[test]
    fn the_headless_service_has_the_ports_of_the_pods() {
        let service = headless(&owner(), &spec().interfaces).spec.unwrap();
        assert_eq!(service.cluster_ip.as_deref(), Some("None"));
        assert_eq!(service.publish_not_ready_addresses, None, "a name leads only to an instance that is ready");
        let ports = service.ports.unwrap();
        assert_eq!((ports[0].name.as_deref(), ports[0].port), (Some("dicom"), 11112));
    }
}
