//! Which queries are concerned when a service has changed? Those that it may match, before or now, at once; all others of its namespace
//! learn in a while of one that has come, gone or changed, since their statuses may name it.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

use crate::{
    api::{MedicalService, medical_service::EndpointStatus},
    cluster::{
        cache::{Change, key},
        observe::Caches,
        queue::Queue,
    },
    core::{
        discovery::query::{filter, latency::Typical},
        name::Key,
    },
    render::SERVICE_LABEL,
};

/// How long a query waits before it tells why a service that it cannot match is not in its answer: many that are registered together
/// cost one look.
const OTHERS_WAIT: Duration = Duration::from_secs(2);

/// Looks at the queries that a change of a service concerns.
pub(crate) fn by_service(
    caches: &Caches,
    queries: &Arc<Queue>,
) -> impl Fn(&Change<MedicalService>) + Send + Sync + 'static + use<> {
    let (cache, queue) = (Arc::clone(&caches.queries), Arc::clone(queries));
    move |change| {
        let (before, after) = (change.before.as_deref(), change.after.as_deref());
        let Some(service) = after.or(before) else { return };
        let other = says(before) != says(after);
        let (same, moved) = (told(before).eq(told(after)), typical(before) != typical(after));
        if !other && same && !moved {
            return;
        }
        for query in cache.in_namespace(&service.namespace().unwrap_or_default()) {
            let matches = |s: Option<&MedicalService>| s.is_some_and(|s| filter::interface(&query.spec, s).is_ok());
            let reads = other || !same || query.spec.prefer.as_ref().is_some_and(|p| p.latency.is_some());
            if reads && (matches(before) || matches(after)) {
                queue.add(key(query.as_ref()), false);
            } else if other {
                queue.add_within(key(query.as_ref()), OTHERS_WAIT);
            }
        }
    }
}

/// Looks at the queries that a change of a service's endpoints concerns.
pub(crate) fn by_slice(
    caches: &Caches,
    queries: &Arc<Queue>,
) -> impl Fn(&Change<EndpointSlice>) + Send + Sync + 'static + use<> {
    let (caches, queue) = (caches.clone(), Arc::clone(queries));
    move |change| {
        let Some(slice) = change.after.as_ref().or(change.before.as_ref()) else { return };
        let (Some(namespace), Some(name)) = (slice.namespace(), slice.labels().get(SERVICE_LABEL)) else { return };
        let Some(service) = caches.services.get(&Key::new(&namespace, name)) else { return };
        for query in caches.queries.in_namespace(&namespace) {
            if filter::interface(&query.spec, &service).is_ok() {
                queue.add(key(query.as_ref()), false);
            }
        }
    }
}

/// What queries read of a service besides its endpoints: its spec, its labels, whether it is being deleted, what its probes found that it
/// can do.
fn says(service: Option<&MedicalService>) -> Option<impl PartialEq + use<'_>> {
    service.map(|s| {
        let found = s.status.as_ref().map(|t| (t.fhir.as_slice(), t.dicom.as_slice())).unwrap_or_default();
        (&s.metadata.uid, &s.spec, &s.metadata.labels, &s.metadata.deletion_timestamp, found)
    })
}

/// How long it takes, as far as that can move an answer.
fn typical(service: Option<&MedicalService>) -> Typical {
    service.map(Typical::of).unwrap_or_default()
}

/// The endpoints that its status tells of; slices say which of them are ready.
fn told(service: Option<&MedicalService>) -> impl Iterator<Item = (&String, &Option<String>, &Option<String>)> {
    let endpoints = service.and_then(|s| s.status.as_ref()).into_iter().flat_map(|s| &s.endpoints);
    endpoints.map(|e: &EndpointStatus| (&e.address, &e.interface, &e.zone))
}
