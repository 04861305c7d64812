//! Instances that are told apart: their names, their rollout, and what is in the way of them.

use super::*;

fn stable(replicas: i32) -> serde_json::Value {
    json!({ "workload": { "image": "archive:1", "replicas": replicas, "identity": "Stable" }, "interfaces": [web()] })
}

impl Story {
    /// The `StatefulSet`'s controller reports.
    fn instances_report(&mut self, updated: i32, available: i32) {
        let set = self.stateful_set.as_mut().unwrap();
        set.status = Some(StatefulSetStatus {
            replicas: updated,
            updated_replicas: Some(updated),
            available_replicas: Some(available),
            ..StatefulSetStatus::default()
        });
    }
}

#[test]
fn each_instance_has_a_name_and_the_rollout_is_read() {
    let mut story = story(stable(2));
    let first = story.pass();
    assert_eq!(
        kinds(&first),
        [OwnedKind::Service, OwnedKind::Service, OwnedKind::StatefulSet, OwnedKind::PodDisruptionBudget]
    );
    assert_eq!(first.wanted[1].name(), "pacs-instances");
    story.pass();
    story.instances_report(2, 1);
    story.pass();
    assert_eq!(story.condition("Ready").unwrap().message, "2 of 2 pods are up to date, 1 available");
    story.instances_report(2, 2);
    story.pod_slice(&[("10.0.0.1", Some(true), None), ("10.0.0.2", Some(true), None)]);
    for (n, endpoint) in story.slices[0].endpoints.as_mut().unwrap().iter_mut().enumerate() {
        endpoint.target_ref =
            Some(serde_json::from_value(json!({ "kind": "Pod", "name": format!("pacs-{n}") })).unwrap());
    }
    story.pass();
    assert_eq!(story.says("Ready"), "True Programmed");
    let names: Vec<_> = story.status().endpoints.iter().filter_map(|e| e.dns_name.as_deref()).collect();
    assert_eq!(
        names,
        ["pacs-0.pacs-instances.radiology.svc.cluster.local", "pacs-1.pacs-instances.radiology.svc.cluster.local"]
    );
    assert_eq!(story.pass().status, None);
}

#[test]
fn what_is_no_longer_asked_for_goes() {
    let mut story = story(stable(2));
    story.pass();
    story.apply(external(&["192.0.2.1"]));
    let mut gone = story.pass().unwanted;
    gone.retain(|(_, name)| name == "pacs-instances");
    assert_eq!(gone, [(OwnedKind::Service, "pacs-instances".to_owned())]);
    assert!(story.stateful_set.is_none() && story.instances.is_none());
}

#[test]
fn a_strangers_service_with_the_name_of_the_instances_is_left_alone_and_named() {
    let mut story = story(stable(1));
    story.instances = Some(Service::default());
    story.instances.as_mut().unwrap().metadata.name = Some("pacs-instances".to_owned());
    let decision = story.pass();
    assert_eq!(kinds(&decision), [OwnedKind::Service, OwnedKind::StatefulSet]);
    let ready = story.condition("Ready").unwrap();
    assert_eq!(ready.reason, "NameTaken");
    assert!(ready.message.starts_with("a Service named pacs-instances exists"), "{}", ready.message);
}
