//! What a status says of what FHIR servers and DICOM services can do.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Contexts, Facts, Statement,
    compare::{self, missing},
    dicom::{self, proposal, refused},
};
use crate::{
    api::{
        MedicalService,
        dicom::DicomFacts,
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

/// What the interfaces could do when this generation was first probed.
#[derive(Debug, Default)]
pub(in crate::core::discovery) struct Reported {
    /// Of FHIR.
    pub fhir: Vec<FhirFacts>,
    /// Of DICOM.
    pub dicom: Vec<DicomFacts>,
}

/// What is not as it should be, each with its place.
#[derive(Default)]
struct Remarks {
    lacks: Vec<String>,
    drift: Vec<String>,
}

/// What the endpoints of one protocol tell.
trait Telling: Sized {
    /// As the status holds it.
    type Stored: Clone;
    /// What is kept in a status of this generation.
    fn stored(&self, interface: &str, generation: i64) -> Self::Stored;
    /// Its interface and generation.
    fn place(stored: &Self::Stored) -> (&str, i64);
    /// What of the declared is not there.
    fn lacks(&self, interface: &Interface) -> Vec<String>;
    /// What is not as it was.
    fn changes(&self, before: &Self::Stored) -> Vec<String>;
}

impl Telling for Statement {
    type Stored = FhirFacts;

    fn stored(&self, interface: &str, generation: i64) -> FhirFacts {
        self.stored(interface, generation)
    }

    fn place(stored: &FhirFacts) -> (&str, i64) {
        (&stored.interface, stored.generation)
    }

    fn lacks(&self, interface: &Interface) -> Vec<String> {
        interface.fhir.as_ref().map(|declared| missing(declared, self)).unwrap_or_default()
    }

    fn changes(&self, before: &FhirFacts) -> Vec<String> {
        compare::difference(&Self::of(before), self)
    }
}

impl Telling for Contexts {
    type Stored = DicomFacts;

    fn stored(&self, interface: &str, generation: i64) -> DicomFacts {
        self.stored(interface, generation)
    }

    fn place(stored: &DicomFacts) -> (&str, i64) {
        (&stored.interface, stored.generation)
    }

    fn lacks(&self, _: &Interface) -> Vec<String> {
        refused(self)
    }

    fn changes(&self, before: &DicomFacts) -> Vec<String> {
        dicom::difference(&dicom::accepted(before), &self.accepted)
    }
}

/// Sets the conditions about capabilities. What the interfaces could do when this generation was first probed: kept as the present
/// status has it, and taken from the first endpoint that tells where that is of another generation. While nothing is known, as after
/// a change of leader, all stays as it is.
pub(in crate::core::discovery) fn report(
    service: &MedicalService,
    facts: &BTreeMap<Endpoint, Arc<Facts>>,
    conditions: &mut Conditions,
) -> Reported {
    let generation = service.metadata.generation.unwrap_or_default();
    let present = service.status.as_ref();
    let mut interfaces: Vec<&Interface> = service.spec.interfaces.iter().collect();
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    let (mut next, mut remarks, mut heard) = (Reported::default(), Remarks::default(), false);
    for interface in &interfaces {
        let told = || facts.iter().filter(|(endpoint, _)| endpoint.interface == interface.name);
        let statements: Vec<(&Endpoint, &Statement)> = told().filter_map(|(e, f)| Some((e, statement(f)?))).collect();
        let stored = present.map(|s| s.fhir.as_slice()).unwrap_or_default();
        next.fhir.extend(look(interface, stored, &statements, generation, &mut remarks));
        // what was accepted of something else says nothing of what is declared now
        let declared = interface.dicom.as_ref().map(proposal).filter(|p| !p.is_empty());
        let of = |f| contexts(f).filter(|c| Some(&c.proposed) == declared.as_ref());
        let contexts: Vec<(&Endpoint, &Contexts)> = told().filter_map(|(e, f)| Some((e, of(f)?))).collect();
        if declared.is_some() {
            let stored = present.map(|s| s.dicom.as_slice()).unwrap_or_default();
            next.dicom.extend(look(interface, stored, &contexts, generation, &mut remarks));
        }
        heard |= !statements.is_empty() || !contexts.is_empty();
    }
    let Remarks { lacks, drift } = remarks;
    let declares = interfaces.iter().any(|i| {
        i.fhir.as_ref().is_some_and(|f| f.declares()) || i.dicom.as_ref().is_some_and(|d| !d.sop_classes.is_empty())
    });
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
    match (next.fhir.is_empty() && next.dicom.is_empty(), heard) {
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

fn statement(facts: &Facts) -> Option<&Statement> {
    if let Facts::Fhir(statement) = facts { Some(statement) } else { None }
}

fn contexts(facts: &Facts) -> Option<&Contexts> {
    if let Facts::Dicom(contexts) = facts { Some(contexts) } else { None }
}

/// What one interface could do at first, and what is to be said of what its endpoints tell.
fn look<T: Telling>(
    interface: &Interface,
    present: &[T::Stored],
    known: &[(&Endpoint, &T)],
    generation: i64,
    remarks: &mut Remarks,
) -> Option<T::Stored> {
    let stored = present.iter().find(|s| T::place(s).0 == interface.name);
    let fresh = || known.first().map(|(_, told)| told.stored(&interface.name, generation));
    let base = match stored.filter(|s| T::place(s).1 == generation) {
        Some(stored) => stored.clone(),
        None => fresh().or_else(|| stored.cloned())?,
    };
    for (endpoint, told) in known {
        let at = format!("{} at {}", interface.name, endpoint.address);
        let (without, changes) = (told.lacks(interface), told.changes(&base));
        if !without.is_empty() {
            remarks.lacks.push(format!("{at}: {}", named(&without)));
        }
        if !changes.is_empty() {
            remarks.drift.push(format!("{at}: {}", named(&changes)));
        }
    }
    Some(base)
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
