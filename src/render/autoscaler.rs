//! The `HorizontalPodAutoscaler` of a workload.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget,
    ResourceMetricSource,
};

use super::{Owner, SERVICE_LABEL};
use crate::{
    api::instances::{Autoscaling, Identity},
    core::discovery::defaults,
};

/// The autoscaler of the pods of this owner. It says what the API server would fill in, so that what is stored is what is wished.
#[must_use]
pub fn autoscaler(owner: &Owner, identity: Identity, autoscaling: &Autoscaling) -> HorizontalPodAutoscaler {
    let kind = match identity {
        Identity::Interchangeable => "Deployment",
        Identity::Stable => "StatefulSet",
    };
    let bounds = defaults::bounds(autoscaling);
    HorizontalPodAutoscaler {
        metadata: owner.metadata(&owner.name, &[(SERVICE_LABEL, &owner.name)]),
        spec: HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: kind.to_owned(),
                name: owner.name.clone(),
            },
            min_replicas: Some(*bounds.start()),
            max_replicas: *bounds.end(),
            metrics: Some(vec![MetricSpec {
                type_: "Resource".to_owned(),
                resource: Some(ResourceMetricSource {
                    name: "cpu".to_owned(),
                    target: MetricTarget {
                        type_: "Utilization".to_owned(),
                        average_utilization: Some(autoscaling.target.cpu),
                        ..MetricTarget::default()
                    },
                }),
                ..MetricSpec::default()
            }]),
            behavior: None,
        },
        status: None,
    }
}

/// Whether what is stored is what is wished. Its controller writes into its status again and again, and the kind counts no generations:
/// a look at the version alone would tell of changes that are none.
#[must_use]
pub fn is_as_wished(present: &HorizontalPodAutoscaler, wanted: &HorizontalPodAutoscaler) -> bool {
    let same_labels = |key: &String| {
        let value = |o: &HorizontalPodAutoscaler| o.metadata.labels.as_ref().and_then(|l| l.get(key)).cloned();
        value(present) == value(wanted)
    };
    present.spec == wanted.spec && wanted.metadata.labels.iter().flatten().all(|(key, _)| same_labels(key))
}
