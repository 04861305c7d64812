//! The claim of the volume that the pods of a run share.

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{Owner, RUN_LABEL, WORKFLOW_LABEL};
use crate::core::coordination::view::StartClaim;

/// The claim that fulfils a wish.
#[must_use]
pub fn claim(owner: &Owner, wish: &StartClaim) -> PersistentVolumeClaim {
    let labels = [(RUN_LABEL, owner.name.as_str()), (WORKFLOW_LABEL, wish.workflow.as_str())];
    PersistentVolumeClaim {
        metadata: owner.metadata(&wish.name, &labels),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec![wish.volume.access_mode.as_str().to_owned()]),
            storage_class_name: wish.volume.storage_class.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(wish.volume.size.clone()))].into()),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}
