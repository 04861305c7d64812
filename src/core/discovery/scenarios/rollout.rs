//! Pods: when is a service rolled out, and which of its pods are seen?

use super::*;

#[test]
fn a_workload_is_ready_when_it_is_rolled_out_and_stays_so_when_a_pod_fails() {
    let mut story = story(workload(2));
    let first = story.pass();
    assert_eq!(kinds(&first), [OwnedKind::Service, OwnedKind::Deployment, OwnedKind::PodDisruptionBudget]);
    assert_eq!(
        (story.says("Ready"), story.says("Reconciling")),
        ("False Programming".into(), "True Programming".into())
    );
    story.pass();
    assert_eq!(story.says("Ready"), "False RollingOut");
    story.pods(2, 1);
    story.pass();
    assert!(story.condition("Ready").unwrap().message.contains("2 of 2 pods are up to date, 1 available"));
    story.pods(2, 2);
    story.pod_slice(&[("10.0.0.1", Some(true), None), ("10.0.0.2", Some(true), None)]);
    let done = story.pass();
    assert_eq!((story.says("Ready"), story.says("Reconciling")), ("True Programmed".into(), "absent".into()));
    assert_eq!(story.says("Reachable"), "True EndpointsReady");
    assert_eq!(story.status().dns_name.as_deref(), Some("pacs.radiology.svc.cluster.local"));
    assert_eq!(story.status().endpoint_summary.as_deref(), Some("2/2"));
    assert_eq!(done.notes.iter().map(|n| n.reason).collect::<Vec<_>>(), ["Ready", "Reachable"]);
    assert_eq!(story.pass().status, None, "nothing more to say");

    story.pods(2, 0);
    story.pod_slice(&[("10.0.0.1", Some(false), None), ("10.0.0.2", Some(false), None)]);
    let down = story.pass();
    assert_eq!((story.says("Ready"), story.says("Reachable")), ("True Programmed".into(), "False PodNotReady".into()));
    assert_eq!(down.notes.iter().map(|n| (n.warning, n.reason)).collect::<Vec<_>>(), [(true, "Unreachable")]);
}

#[test]
fn a_new_spec_is_not_ready_before_the_deployment_has_it() {
    let mut story = story(workload(1));
    story.pass();
    story.pods(1, 1);
    story.pass();
    assert_eq!(story.says("Ready"), "True Programmed");
    story.apply(json!({ "workload": { "image": "reader:2" }, "interfaces": [web()] }));
    story.pass();
    assert_eq!(story.says("Ready"), "False RollingOut", "the cached Deployment is still that of the old spec");
    assert_eq!(story.status().observed_generation, Some(2));
    story.pass();
    assert_eq!(story.says("Ready"), "False RollingOut", "its controller has not looked yet");
    story.pods(1, 1);
    story.pass();
    assert_eq!(story.says("Ready"), "True Programmed");
}

#[test]
fn a_rollout_that_hangs_says_what_the_controller_says_and_is_not_stalled() {
    let mut story = story(workload(1));
    story.pass();
    story.pods(0, 0);
    story.deployment.as_mut().unwrap().status.as_mut().unwrap().conditions = Some(vec![DeploymentCondition {
        type_: "ReplicaFailure".to_owned(),
        status: "True".to_owned(),
        message: Some("exceeded quota: team".to_owned()),
        ..DeploymentCondition::default()
    }]);
    story.pass();
    let ready = story.condition("Ready").unwrap();
    assert!(ready.message.ends_with("0 available: exceeded quota: team"), "{}", ready.message);
    assert_eq!((story.says("Stalled"), story.says("Reconciling")), ("absent".into(), "True RollingOut".into()));
}

#[test]
fn one_pod_needs_no_budget_and_none_is_rolled_out_at_once() {
    let mut story = story(workload(2));
    story.pass();
    story.apply(workload(1));
    assert_eq!(story.pass().unwanted, [(OwnedKind::PodDisruptionBudget, "pacs".to_owned())]);
    story.apply(workload(0));
    story.pass();
    story.pods(0, 0);
    story.pass();
    assert_eq!((story.says("Ready"), story.says("Reachable")), ("True Programmed".into(), "False NoEndpoints".into()));
}

#[test]
fn pods_that_somebody_else_deploys_are_read_from_their_slices() {
    let mut story = story(json!({ "select": { "matchLabels": { "app": "orthanc" } }, "interfaces": [web()] }));
    let first = story.pass();
    let Wanted::Service(service) = &first.wanted[0] else { panic!("a Service comes first") };
    assert_eq!(service.spec.as_ref().unwrap().selector.as_ref().unwrap()["app"], "orthanc");
    story.pod_slice(&[
        ("10.0.0.3", Some(false), Some(true)),
        ("10.0.0.1", None, None),
        ("10.0.0.2", Some(false), None),
    ]);
    story.pass();
    let seen: Vec<_> = story.status().endpoints.iter().map(|e| (e.address.as_str(), e.ready, e.reason)).collect();
    assert_eq!(
        seen,
        [
            ("10.0.0.1", true, EndpointReason::Healthy),
            ("10.0.0.2", false, EndpointReason::PodNotReady),
            ("10.0.0.3", false, EndpointReason::Terminating)
        ]
    );
    let since = story.status().endpoints[0].since;
    story.pod_slice(&[("10.0.0.1", Some(true), None), ("10.0.0.2", Some(true), None)]);
    story.pass();
    let endpoints = &story.status().endpoints;
    assert_eq!(endpoints[0].since, since, "it was ready all the time");
    assert_ne!(endpoints[1].since, since, "it became ready now");
}

#[test]
fn a_new_leader_writes_its_epoch_with_the_next_news_and_not_for_its_own_sake() {
    let mut story = story(workload(1));
    story.pass();
    story.pods(1, 1);
    story.pass();
    assert_eq!((story.says("Ready").as_str(), story.status().leader_epoch), ("True Programmed", Some(1)));
    story.epoch = 2;
    assert_eq!(story.pass().status, None);
    story.apply(workload(2));
    story.pass();
    assert_eq!(story.status().leader_epoch, Some(2));
}
