//! What is somebody else's, cannot be or must not be reached is left alone and told of.

use super::*;

#[test]
fn a_service_that_is_somebody_elses_gets_none_of_our_endpoints() {
    let mut story = story(external(&["192.0.2.1"]));
    story.probed("192.0.2.1", ProbeOutcome::Answered, 1);
    story.pass();
    assert_eq!(story.published(), ["192.0.2.1"]);
    let ours = story.core_service.take();
    let mut theirs = ours.clone().unwrap();
    theirs.metadata.owner_references = None;
    story.core_service = Some(theirs);
    let decision = story.pass();
    assert_eq!((story.says("Ready"), story.says("Stalled")), ("False NameTaken".into(), "True NameTaken".into()));
    assert!(decision.wanted.is_empty());
    assert_eq!(decision.unwanted, [(OwnedKind::EndpointSlice, "pacs-dicom-v4".to_owned())]);
    assert_eq!(decision.notes[0].reason, "NameTaken");
    assert!(story.pass().notes.is_empty(), "said once");
    story.core_service = None;
    story.pass();
    story.pass();
    assert_eq!((story.says("Ready"), story.says("Stalled")), ("True Programmed".into(), "absent".into()));
    assert_eq!(story.published(), ["192.0.2.1"]);
}

#[test]
fn a_service_that_turns_external_is_made_anew_so_that_no_pod_keeps_its_traffic() {
    let mut story = story(workload(2));
    story.pass();
    let old = story.core_service.clone();
    story.apply(external(&["192.0.2.1"]));
    let mut gone = story.pass().unwanted;
    gone.sort();
    let pacs = || "pacs".to_owned();
    assert_eq!(
        gone,
        [(OwnedKind::Deployment, pacs()), (OwnedKind::Service, pacs()), (OwnedKind::PodDisruptionBudget, pacs())]
    );
    story.pass();
    assert_ne!(story.core_service, old);
    assert_eq!(story.core_service.as_ref().unwrap().spec.as_ref().unwrap().selector, None);
    story.pass();
    assert_eq!(story.says("Ready"), "True Programmed");
    // and back: the selector is added, our slices go
    story.apply(workload(1));
    assert_eq!(story.pass().unwanted, [(OwnedKind::EndpointSlice, "pacs-dicom-v4".to_owned())]);
}

#[test]
fn a_host_that_no_endpoint_can_have_is_named_and_the_others_go_on() {
    let mut story = story(external(&["127.0.0.1", "192.0.2.1"]));
    story.probed("192.0.2.1", ProbeOutcome::Answered, 1);
    story.pass();
    assert_eq!((story.says("Ready"), story.says("Stalled")), ("False InvalidSpec".into(), "True InvalidSpec".into()));
    assert!(story.condition("Ready").unwrap().message.contains("host 127.0.0.1 must not be"));
    assert_eq!(story.published(), ["192.0.2.1"]);
}

#[test]
fn an_address_that_medley_must_not_reach_is_told_of_and_neither_probed_nor_published() {
    let mut story = story(external(&["fd00:ec2::254", "metadata.example", "192.0.2.1"]));
    story.resolved("metadata.example", &["10.96.0.1", "198.51.100.1"], None);
    story.guard = AddressGuard::new(Vec::new(), Vec::new(), vec!["10.96.0.1".parse().unwrap()]);
    for address in ["192.0.2.1", "198.51.100.1"] {
        story.probed(address, ProbeOutcome::Answered, 1);
    }
    let decision = story.pass();
    let probed: Vec<_> = decision.probes.iter().map(|p| p.target.endpoint.address.to_string()).collect();
    assert_eq!(probed, ["192.0.2.1", "198.51.100.1"]);
    assert_eq!(story.published(), probed);
    let refused = story.status().endpoints.iter().filter(|e| e.reason == EndpointReason::AddressRefused);
    assert_eq!(refused.map(|e| e.address.as_str()).collect::<Vec<_>>(), ["10.96.0.1", "fd00:ec2::254"]);
    assert!(story.condition("Reachable").unwrap().message.contains("2 AddressRefused"));
    story.pass();
    assert!(story.pass().status.is_none(), "it is told once");
    // an administrator denies what was published
    story.guard = AddressGuard::new(Vec::new(), vec!["192.0.2.0/24".parse().unwrap()], Vec::new());
    story.pass();
    assert_eq!(story.published(), ["198.51.100.1"]);
    // and a name that leads nowhere else is no failure of DNS
    story.apply(external(&["local.example"]));
    story.resolved("local.example", &[], Some(LookupFailure::UnusableAddress));
    story.pass();
    assert_eq!(story.says("Reachable"), "False AddressRefused");
}

#[test]
fn a_slice_that_names_what_medley_must_not_reach_is_seen_through() {
    let mut story = story(json!({ "select": { "matchLabels": { "app": "orthanc" } }, "interfaces": [web()] }));
    story.pod_slice(&[("10.0.0.1", Some(true), None), ("169.254.169.254", Some(true), None)]);
    story.pass();
    let seen: Vec<_> = story.status().endpoints.iter().map(|e| (e.address.as_str(), e.ready, e.reason)).collect();
    assert_eq!(
        seen,
        [("10.0.0.1", true, EndpointReason::Healthy), ("169.254.169.254", false, EndpointReason::AddressRefused)]
    );
}

#[test]
fn a_spec_without_a_backend_touches_nothing() {
    let mut story = story(workload(2));
    story.pass();
    story.apply(json!({ "interfaces": [web()] }));
    let decision = story.pass();
    assert!(decision.wanted.is_empty() && decision.unwanted.is_empty());
    assert_eq!(story.says("Stalled"), "True InvalidSpec");
}

#[test]
fn a_service_that_is_being_deleted_asks_for_nothing() {
    let mut story = story(external(&["pacs.example"]));
    story.pass();
    story.service.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    assert_eq!(story.decide(), ServiceDecision::default());
}
