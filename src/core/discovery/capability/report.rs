//! What a status says of what FHIR servers can do.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Facts,
    compare::{difference, missing},
};
use crate::{
    api::{
        MedicalService,
        fhir_capability::FhirFacts,
        interface::Interface,
        status::{CAPABILITY_DRIFT, CAPABILITY_MATCH},
    },
    core::{
        condition::{Conditions, State},
        discovery::target::Endpoint,
    },
};

/// Most differences that a message names.
const MAX_NAMED: usize = 12;

/// Sets the conditions about capabilities. What FHIR interfaces could do when this generation was first probed: kept as the present
/// status has it, and taken from the first endpoint that tells where that is of another generation. While nothing is known, as after
/// a change of leader, all stays as it is.
pub(in crate::core::discovery) fn report(
    service: &MedicalService,
    facts: &BTreeMap<Endpoint, Arc<Facts>>,
    conditions: &mut Conditions,
) -> Vec<FhirFacts> {
    let generation = service.metadata.generation.unwrap_or_default();
    let present = service.status.as_ref().map(|s| s.fhir.as_slice()).unwrap_or_default();
    let mut next = Vec::new();
    let (mut lacks, mut drift) = (Vec::new(), Vec::new());
    let mut interfaces: Vec<&Interface> = service.spec.interfaces.iter().collect();
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    let known = |interface: &Interface| {
        let name = interface.name.clone();
        facts.iter().filter(move |(endpoint, _)| endpoint.interface == name)
    };
    for interface in &interfaces {
        let stored = present.iter().find(|f| f.interface == interface.name);
        let fresh = || known(interface).next().map(|(_, facts)| facts.stored(&interface.name, generation));
        let base = match stored.filter(|f| f.generation == generation) {
            Some(stored) => Some(stored.clone()),
            None => fresh().or_else(|| stored.cloned()),
        };
        let Some(base) = base else { continue };
        let before = Facts::of(&base);
        for (endpoint, now) in known(interface) {
            let at = format!("{} at {}", interface.name, endpoint.address);
            if let Some(without) = interface.fhir.as_ref().map(|d| missing(d, now)).filter(|m| !m.is_empty()) {
                lacks.push(format!("{at}: {}", named(&without)));
            }
            let changes = difference(&before, now);
            if !changes.is_empty() {
                drift.push(format!("{at}: {}", named(&changes)));
            }
        }
        next.push(base);
    }
    let declares = interfaces.iter().any(|i| i.fhir.as_ref().is_some_and(|f| f.declares()));
    let heard = interfaces.iter().any(|i| known(i).next().is_some());
    match (declares, heard) {
        (false, _) => conditions.remove(CAPABILITY_MATCH),
        (true, false) => {}
        (true, true) if lacks.is_empty() => {
            conditions.set(CAPABILITY_MATCH, State::True, "CapabilitiesMatch", "the servers can do what is declared");
        }
        (true, true) => {
            conditions.set(CAPABILITY_MATCH, State::False, "CapabilityMismatch", lacks.join("; "));
        }
    }
    match (next.is_empty(), heard) {
        (true, _) => conditions.remove(CAPABILITY_DRIFT),
        (false, false) => {}
        (false, true) if drift.is_empty() => {
            let message = "the servers can do what they could when this generation was first probed";
            conditions.set(CAPABILITY_DRIFT, State::False, "Unchanged", message);
        }
        (false, true) => {
            let advice = "a change of the spec takes this as the new state";
            conditions.set(CAPABILITY_DRIFT, State::True, "Changed", format!("{}; {advice}", drift.join("; ")));
        }
    }
    next
}

/// The first of them, and how many more there are.
fn named(words: &[String]) -> String {
    let first = words.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
    match words.len().saturating_sub(MAX_NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
