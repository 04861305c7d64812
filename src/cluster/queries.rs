//! What is known of a service, as queries see it.

use crate::{
    api::{MedicalService, ServiceQuerySpec},
    cluster::observe::Caches,
    core::discovery::{
        guard::AddressGuard,
        query::{filter, known, view::ServiceFacts},
    },
};

impl Caches {
    /// A service and the endpoints of its interface that answers; these are not looked for where the service cannot match.
    #[must_use]
    pub fn facts<'s>(
        &self,
        spec: &ServiceQuerySpec,
        service: &'s MedicalService,
        guard: &AddressGuard,
    ) -> ServiceFacts<'s> {
        let (namespace, name) = (service.metadata.namespace.as_deref(), service.metadata.name.as_deref());
        let known = filter::interface(spec, service).map_or_else(
            |_| Vec::new(),
            |interface| {
                let slices = self.slices_of(namespace.unwrap_or_default(), name.unwrap_or_default());
                known::endpoints(service, interface, slices.iter().map(AsRef::as_ref), guard)
            },
        );
        ServiceFacts { service, known }
    }
}
