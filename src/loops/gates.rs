//! Tells pods of their readiness, and looks at services whose pods have changed.

use std::sync::Arc;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use kube::ResourceExt;

use crate::{
    cluster::{
        cache::{Cache, Change},
        error::{Class, Error},
        perform::Writer,
        queue::Queue,
    },
    core::discovery::gate::Gate,
    loops::{refusals::set_aside, turns::by_label},
    render::{SERVICE_LABEL, gate},
};

/// So many pods of a service are told at a time: a thousand that start together are told in seconds, and other writes go on.
const TOGETHER: usize = 16;

/// Tells all of them; one that cannot be told does not keep the others from it. What is refused goes to `refused`.
///
/// # Errors
/// [`Error::NotLeader`], or the first failure: the service is to be looked at again.
pub(crate) async fn tell(
    writer: &Writer,
    namespace: &str,
    gates: Vec<Gate>,
    cache: &Cache<Pod>,
    refused: &mut Option<Error>,
) -> Result<(), Error> {
    let mut first = Ok(());
    let tell = |told: Gate| async move { writer.tell_gate(namespace, &told, cache).await };
    let mut told = stream::iter(gates).map(tell).buffer_unordered(TOGETHER);
    while let Some(result) = told.next().await {
        match set_aside(result, refused) {
            Err(error) if error.class() == Class::NotLeader => return Err(error),
            // the watch tells that it is gone
            Err(error) if error.class() == Class::Gone => {}
            Err(error) if first.is_ok() => first = Err(error),
            _ => {}
        }
    }
    first
}

/// Looks at the service of a pod of which something has changed that is decided on.
pub(crate) fn by_gated_pod(services: &Arc<Queue>) -> impl Fn(&Change<Pod>) + Send + Sync + 'static + use<> {
    let tell = by_label(SERVICE_LABEL, services);
    move |change| {
        let (before, after) = (change.before.as_deref(), change.after.as_deref());
        // the slice that takes it in tells of it again
        let put_in = change.by_us && after.and_then(told).is_some_and(|c| c.status == "True");
        if counts(before) != counts(after) && !put_in {
            tell(change);
        }
    }
}

/// All of a pod but its version.
fn counts(pod: Option<&Pod>) -> Option<impl PartialEq + use<'_>> {
    pod.map(|p| (&p.metadata.uid, p.labels(), p.metadata.deletion_timestamp.is_some(), &p.status))
}

fn told(pod: &Pod) -> Option<&PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == gate::CONDITION)
}
