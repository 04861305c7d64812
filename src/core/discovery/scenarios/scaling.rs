//! Workloads that are scaled: who says how many pods there are?

use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus};

use super::*;
use crate::render::{autoscaler, deployment::APPLIED};

fn scaled(min: i32, max: i32) -> serde_json::Value {
    json!({
        "workload": { "image": "reader:1", "resources": { "requests": { "cpu": "500m" } } },
        "autoscaling": { "min": min, "max": max, "target": { "cpu": 70 } }, "interfaces": [web()],
    })
}

impl Story {
    fn replicas(&mut self) -> &mut Option<i32> {
        &mut self.deployment.as_mut().unwrap().spec.as_mut().unwrap().replicas
    }
}

#[test]
fn the_number_of_pods_is_the_autoscalers_within_the_bounds() {
    let mut story = story(scaled(2, 8));
    let first = story.pass();
    assert_eq!(
        kinds(&first),
        [OwnedKind::Service, OwnedKind::Deployment, OwnedKind::HorizontalPodAutoscaler, OwnedKind::PodDisruptionBudget]
    );
    assert_eq!(*story.replicas(), Some(2));
    let applied = |s: &Story| s.deployment.as_ref().unwrap().metadata.annotations.as_ref().unwrap()[APPLIED].clone();
    let before = applied(&story);
    story.pods(2, 2);
    story.pass();
    assert_eq!(story.says("Ready"), "True Programmed");
    // the autoscaler makes it five: no other spec, and nobody makes it two again
    *story.replicas() = Some(5);
    story.pass();
    assert_eq!((*story.replicas(), applied(&story)), (Some(5), before));
    assert_eq!(story.says("Ready"), "True Programmed");
    story.apply(scaled(2, 4));
    story.pass();
    assert_eq!(*story.replicas(), Some(4), "never beyond the bounds");
    // without an autoscaler the spec says it again
    story.apply(workload(3));
    let decision = story.pass();
    assert_eq!(*story.replicas(), Some(3));
    assert_eq!(decision.unwanted, [(OwnedKind::HorizontalPodAutoscaler, "pacs".to_owned())]);
}

#[test]
fn a_workload_that_was_not_scaled_keeps_its_pods_when_it_is() {
    let mut story = story(workload(6));
    story.pass();
    story.apply(scaled(1, 10));
    story.pass();
    assert_eq!(*story.replicas(), Some(6));
}

#[test]
fn an_autoscaler_that_cannot_measure_says_so() {
    let mut story = story(scaled(1, 3));
    story.pass();
    let wanted = story.autoscaler.clone().unwrap();
    let status = HorizontalPodAutoscalerStatus {
        conditions: Some(vec![HorizontalPodAutoscalerCondition {
            type_: "ScalingActive".to_owned(),
            status: "False".to_owned(),
            reason: Some("FailedGetResourceMetric".to_owned()),
            ..HorizontalPodAutoscalerCondition::default()
        }]),
        ..HorizontalPodAutoscalerStatus::default()
    };
    story.autoscaler.as_mut().unwrap().status = Some(status);
    assert!(autoscaler::is_as_wished(story.autoscaler.as_ref().unwrap(), &wanted), "a status is no change of it");
    story.pass();
    let message = &story.condition("Reachable").unwrap().message;
    assert!(message.contains("the autoscaler does not scale (FailedGetResourceMetric)"), "{message}");
    let mut other = wanted.clone();
    other.spec.max_replicas = 9;
    assert!(!autoscaler::is_as_wished(&other, &wanted));
}
