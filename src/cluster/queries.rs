//! What is known of a service, as queries see it, and of the answers of queries, as steps see them.

use std::collections::BTreeMap;

use crate::{
    api::{MedicalService, ServiceQuerySpec},
    cluster::observe::Caches,
    core::{
        coordination::{
            definition::{Action, Callee},
            view::{DefinitionView, ServiceShare},
        },
        discovery::{
            guard::AddressGuard,
            query::{filter, known, view::ServiceFacts},
        },
        name::Key,
    },
};

impl Caches {
    /// The answers of the queries that a definition's calls go to. An answer to what the query asked before its last change is none, and
    /// a service that must not be asked any more is in none.
    #[must_use]
    pub fn answers_of(&self, namespace: &str, definition: &DefinitionView) -> BTreeMap<String, Vec<ServiceShare>> {
        let DefinitionView::Found { definition, .. } = definition else { return BTreeMap::new() };
        let names = definition.every_step().filter_map(|s| match &s.action {
            Action::Call(call) => match &call.callee {
                Callee::Query(name) => Some(name),
                Callee::Service { .. } => None,
            },
            _ => None,
        });
        names.filter_map(|name| Some((name.clone(), self.answer(namespace, name)?))).collect()
    }

    fn answer(&self, namespace: &str, name: &str) -> Option<Vec<ServiceShare>> {
        let query = self.queries.get(&Key::new(namespace, name))?;
        let status = query.status.as_ref().filter(|s| s.observed_generation == query.metadata.generation)?;
        let mut shares = ServiceShare::of(&status.matches);
        shares.retain(|share| {
            let service = self.services.get(&Key::new(namespace, &share.service));
            service.is_some_and(|s| filter::interface(&query.spec, &s).is_ok_and(|i| i.name == share.interface))
        });
        Some(shares)
    }

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
