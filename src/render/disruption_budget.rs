//! The `PodDisruptionBudget` of a workload with several pods.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{Owner, SERVICE_LABEL};

/// One pod at a time may be drained. Pods that are not ready may always go: they serve nobody, and a broken workload must
/// not keep a node from being drained.
#[must_use]
pub fn disruption_budget(owner: &Owner) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: owner.metadata(&owner.name, &[(SERVICE_LABEL, &owner.name)]),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some([(SERVICE_LABEL.to_owned(), owner.name.clone())].into()),
                match_expressions: None,
            }),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            min_available: None,
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::deployment::tests::owner;

    #[test]
    fn it_covers_the_pods_of_the_service_and_nothing_else() {
        let spec = disruption_budget(&owner()).spec.unwrap();
        let labels = spec.selector.unwrap().match_labels.unwrap();
        assert_eq!(labels.into_iter().collect::<Vec<_>>(), [(SERVICE_LABEL.to_owned(), "reader".to_owned())]);
        assert_eq!(spec.max_unavailable, Some(IntOrString::Int(1)));
    }
}
