//! Readiness gates: which pods are told what, and when nothing is said?

use std::collections::BTreeSet;

use super::*;
use crate::{
    core::discovery::gate::Gate,
    render::{deployment, gate},
};

fn dicom(title: &str) -> serde_json::Value {
    json!({ "workload": { "image": "archive:1", "replicas": 2 }, "interfaces": [{
        "name": "dicom", "port": 104, "targetPort": 11112, "protocol": "DICOM", "dicom": { "calledAeTitle": title },
        "probe": { "level": "Protocol", "failureThreshold": 3, "successThreshold": 2 },
    }] })
}

/// A workload that speaks DICOM, rolled out but for its pods.
fn archive() -> Story {
    let mut story = story(dicom("ARCHIVE"));
    story.pass();
    story.pods(2, 0);
    story
}

impl Story {
    /// The kubelet runs a pod of the present template.
    fn pod(&mut self, name: &str, uid: &str, address: &str) {
        let template = self.deployment.as_ref().unwrap().spec.as_ref().unwrap().template.clone();
        let mut labels = template.metadata.unwrap().labels.unwrap();
        labels.retain(|key, _| key == gate::LABEL || key == SERVICE_LABEL);
        let pod = json!({
            "metadata": { "name": name, "namespace": "radiology", "uid": uid, "resourceVersion": "7", "labels": labels },
            "status": { "phase": "Running", "podIP": address, "conditions": [{ "type": "ContainersReady", "status": "True" }] },
        });
        self.pods.push(serde_json::from_value(pod).unwrap());
    }

    /// The API server takes in what pods are told.
    fn told(&mut self, gates: &[Gate]) {
        for said in gates {
            let wish = gate::wish("radiology", said);
            let pod = self.pods.iter_mut().find(|p| p.metadata.uid == wish.metadata.uid).unwrap();
            let conditions = pod.status.as_mut().unwrap().conditions.as_mut().unwrap();
            conditions.retain(|c| c.type_ != gate::CONDITION);
            conditions.extend(wish.status.unwrap().conditions.unwrap());
        }
    }

    /// A pass whose gates are told, as `name holds reason`.
    fn tells(&mut self) -> Vec<String> {
        let decision = self.pass();
        self.told(&decision.gates);
        decision.gates.iter().map(|g| format!("{} {} {}", g.pod, g.holds, g.reason)).collect()
    }
}

const REJECTED: ProbeOutcome = ProbeOutcome::Failed(EndpointReason::AeTitleRejected);

#[test]
fn a_pod_is_told_at_its_thresholds_and_only_when_something_is_new() {
    let mut story = archive();
    story.pod("a", "p1", "10.0.0.1");
    assert!(story.tells().is_empty(), "nothing is known yet");
    story.probed("10.0.0.1", ProbeOutcome::Answered, 1);
    assert!(story.tells().is_empty(), "one success of two");
    story.probed("10.0.0.1", ProbeOutcome::Answered, 1);
    assert_eq!(story.tells(), ["a true Healthy"]);
    assert!(story.tells().is_empty());
    story.probed("10.0.0.1", REJECTED, 2);
    assert!(story.tells().is_empty(), "two failures of three");
    story.probed("10.0.0.1", REJECTED, 1);
    assert_eq!(story.tells(), ["a false AeTitleRejected"]);
    let told = &story.pods[0].status.as_ref().unwrap().conditions.as_ref().unwrap()[1];
    assert!(
        told.message.as_ref().unwrap().starts_with("interface dicom: the service does not know one of the AE titles")
    );
    assert!(story.tells().is_empty());
}

#[test]
fn the_template_has_the_gate_and_probes_go_to_the_pods_port_in_its_own_name() {
    let mut story = archive();
    let template = story.deployment.as_ref().unwrap().spec.as_ref().unwrap().template.clone();
    assert_eq!(template.spec.unwrap().readiness_gates, Some(vec![gate::gate()]));
    story.pod("a", "p1", "10.0.0.1");
    let target = &story.decide().probes[0].target;
    assert_eq!((target.endpoint.port, target.endpoint.pod.as_deref()), (11112, Some("p1")));
    assert!(matches!(&target.kind, ProbeKind::Dicom { titles, .. } if titles.called == "ARCHIVE"));
    // what the kubelet can do itself needs no gate
    let mut plain = super::story(workload(1));
    plain.pass();
    let template = plain.deployment.as_ref().unwrap().spec.as_ref().unwrap().template.clone();
    assert_eq!(template.spec.unwrap().readiness_gates, None);
    assert!(!template.metadata.unwrap().labels.unwrap().contains_key(gate::LABEL));
}

#[test]
fn a_fhir_server_of_a_workload_is_held_by_what_it_cannot_do() {
    let mut story = story(json!({ "workload": { "image": "fhir:1" }, "interfaces": [
        { "name": "fhir", "port": 80, "targetPort": 8080, "protocol": "FHIR", "fhir": { "version": "R4" } }] }));
    story.pass();
    story.pods(1, 0);
    let container = story.deployment.as_ref().unwrap().spec.as_ref().unwrap().template.spec.clone().unwrap();
    let path = container.containers[0].readiness_probe.clone().unwrap().http_get.unwrap().path;
    assert_eq!(path.as_deref(), Some("/metadata"), "the kubelet still probes it as it can");
    story.pod("a", "p1", "10.0.0.1");
    story.probed("10.0.0.1", ProbeOutcome::Failed(EndpointReason::CapabilityMismatch), 1);
    assert_eq!(story.tells(), ["a false CapabilityMismatch"]);
}

#[test]
fn a_rollout_that_is_held_says_by_what() {
    let mut story = archive();
    for (name, uid, address) in [("a", "p1", "10.0.0.1"), ("b", "p2", "10.0.0.2")] {
        story.pod(name, uid, address);
        story.probed(address, REJECTED, 1);
    }
    story.pod_slice(&[("10.0.0.1", Some(false), None), ("10.0.0.2", Some(false), None)]);
    assert_eq!(story.tells(), ["a false AeTitleRejected", "b false AeTitleRejected"]);
    story.pass();
    let ready = story.condition("Ready").unwrap();
    assert_eq!(ready.message, "2 of 2 pods are up to date, 0 available; held by the readiness gate: 2 AeTitleRejected");
    assert_eq!(story.says("Reachable"), "False AeTitleRejected");
    assert!(story.status().endpoints.iter().all(|e| e.reason == EndpointReason::AeTitleRejected));
}

#[test]
fn a_pod_is_not_probed_before_its_containers_are_ready_nor_when_it_ends() {
    let mut story = archive();
    story.pod("a", "p1", "10.0.0.1");
    let pod = story.pods[0].clone();
    let with = |change: &dyn Fn(&mut Pod)| {
        let mut pod = pod.clone();
        change(&mut pod);
        pod
    };
    let starting = with(&|p| p.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].status = "False".to_owned());
    let ending = with(&|p| p.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH)));
    let ended = with(&|p| p.status.as_mut().unwrap().phase = Some("Failed".to_owned()));
    let nowhere = with(&|p| p.status.as_mut().unwrap().pod_ip = None);
    let refused = with(&|p| p.status.as_mut().unwrap().pod_ip = Some("127.0.0.1".to_owned()));
    for other in [starting, ending, ended, nowhere, refused] {
        story.pods = vec![other];
        assert!(story.decide().probes.is_empty(), "{:?}", story.pods);
    }
}

#[test]
fn a_pod_of_another_template_stays_as_it_is() {
    let mut story = archive();
    story.pod("old", "p1", "10.0.0.1");
    story.probed("10.0.0.1", ProbeOutcome::Answered, 2);
    assert_eq!(story.tells(), ["old true Healthy"]);
    story.apply(dicom("OTHER"));
    story.pass();
    story.pod("new", "p2", "10.0.0.2");
    let probed: BTreeSet<_> = story.decide().probes.iter().filter_map(|p| p.target.endpoint.pod.clone()).collect();
    assert_eq!(probed, ["p2".to_owned()].into(), "the old pod knows nothing of the new title");
    story.apply(workload(2));
    story.pass();
    assert!(story.decide().probes.is_empty() && story.decide().gates.is_empty());
}

#[test]
fn another_pod_at_the_same_address_starts_from_nothing() {
    let mut story = archive();
    story.pod("a", "p1", "10.0.0.1");
    story.probed("10.0.0.1", ProbeOutcome::Answered, 2);
    assert_eq!(story.tells(), ["a true Healthy"]);
    story.pods.clear();
    story.pod("a", "p2", "10.0.0.1");
    assert!(story.tells().is_empty(), "what is known is of its predecessor");
    let seed = story.decide().probes[0].seed;
    assert_eq!(seed.state(), crate::core::monitoring::health::State::Unknown);
}

#[test]
fn who_is_in_is_not_taken_out_because_medley_is_cut_off() {
    let mut story = archive();
    story.pod("a", "p1", "10.0.0.1");
    story.probed("10.0.0.1", ProbeOutcome::Answered, 2);
    story.tells();
    story.pod_slice(&[("10.0.0.1", Some(true), None)]);
    story.probed("10.0.0.1", ProbeOutcome::Failed(EndpointReason::TcpTimeout), 3);
    assert!(story.tells().is_empty());
    assert!(story.condition("Reachable").unwrap().message.contains("medley cannot reach 1 of the pods"));
    assert_eq!(story.says("Reachable"), "True EndpointsReady");
    // one that is not in learns why
    story.pod("b", "p2", "10.0.0.2");
    story.probed("10.0.0.2", ProbeOutcome::Failed(EndpointReason::TcpTimeout), 1);
    assert_eq!(story.tells(), ["b false TcpTimeout"]);
    // that it breaks off, and what it says, counts
    story.probed("10.0.0.1", REJECTED, 3);
    assert_eq!(story.tells(), ["a false AeTitleRejected"]);
}

#[test]
fn a_new_leader_starts_from_what_the_pods_say() {
    let mut story = archive();
    for (name, uid, address) in [("a", "p1", "10.0.0.1"), ("b", "p2", "10.0.0.2")] {
        story.pod(name, uid, address);
    }
    story.probed("10.0.0.1", ProbeOutcome::Answered, 2);
    story.probed("10.0.0.2", REJECTED, 1);
    story.pod_slice(&[("10.0.0.1", Some(true), None), ("10.0.0.2", Some(false), None)]);
    assert_eq!(story.tells().len(), 2);
    story.pass();
    story.health.clear();
    assert!(story.tells().is_empty());
    assert_eq!(story.pass().status, None, "nothing is known anew, and nothing new is said");
    story.probed("10.0.0.1", REJECTED, 2);
    assert!(story.tells().is_empty(), "below the threshold");
}

#[test]
fn another_port_of_the_service_alone_makes_no_new_pods() {
    let spec = |port: u16, title: &str| {
        let mut spec = dicom(title);
        spec["interfaces"][0]["port"] = port.into();
        story(spec).service.spec
    };
    let made = |spec: &crate::api::MedicalServiceSpec| gate::fingerprint(&spec.interfaces);
    assert_eq!(made(&spec(104, "A")), made(&spec(105, "A")));
    assert_ne!(made(&spec(104, "A")), made(&spec(104, "B")));
    assert_eq!(deployment::selector("pacs").len(), 1, "the label of the gate chooses no pods");
}
