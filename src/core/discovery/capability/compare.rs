//! Of a FHIR server, what is declared and not there; what is not as it was before.

use std::collections::{BTreeMap, BTreeSet};

use super::Statement;
use crate::api::{
    fhir_capability::{FhirFacts, FhirInteraction, FhirResourceGroup},
    interface::FhirInterface,
};

/// What of the declared a server lacks, each in words; nothing when it can do all of it.
#[must_use]
pub fn missing(declared: &FhirInterface, facts: &Statement) -> Vec<String> {
    let mut lacks = Vec::new();
    if let Some(version) = declared.version
        && facts.version.strip_prefix(version.number()).is_none_or(|rest| !(rest.is_empty() || rest.starts_with('.')))
    {
        lacks.push(format!("fhirVersion is {} and not {}", facts.version, version.as_str()));
    }
    for resource in &declared.resources {
        let Some(can) = facts.resources.get(&resource.type_) else {
            lacks.push(format!("no {}", resource.type_));
            continue;
        };
        let without: Vec<&str> =
            resource.interactions.iter().filter(|i| !can.contains(i)).map(|i| i.as_str()).collect();
        if !without.is_empty() {
            lacks.push(format!("{} without {}", resource.type_, without.join(", ")));
        }
    }
    lacks.extend(declared.operations.iter().filter(|o| !facts.operations.contains(*o)).map(|o| format!("no {o}")));
    lacks
}

impl Statement {
    /// As a status holds them.
    pub(super) fn stored(&self, interface: &str, generation: i64) -> FhirFacts {
        let mut groups: BTreeMap<Vec<FhirInteraction>, Vec<String>> = BTreeMap::new();
        for (type_, interactions) in &self.resources {
            groups.entry(interactions.iter().copied().collect()).or_default().push(type_.clone());
        }
        FhirFacts {
            interface: interface.to_owned(),
            generation,
            fhir_version: self.version.clone(),
            resources: groups
                .into_iter()
                .map(|(interactions, types)| FhirResourceGroup { interactions, types })
                .collect(),
            operations: self.operations.iter().cloned().collect(),
        }
    }

    /// What a status holds.
    pub(super) fn of(stored: &FhirFacts) -> Self {
        let types = |group: &FhirResourceGroup| {
            let interactions: BTreeSet<FhirInteraction> = group.interactions.iter().copied().collect();
            group.types.iter().map(|t| (t.clone(), interactions.clone())).collect::<Vec<_>>()
        };
        Self {
            version: stored.fhir_version.clone(),
            resources: stored.resources.iter().flat_map(types).collect(),
            operations: stored.operations.iter().cloned().collect(),
        }
    }
}

/// What has changed, each in words.
pub(super) fn difference(before: &Statement, now: &Statement) -> Vec<String> {
    let mut words = Vec::new();
    if before.version != now.version {
        words.push(format!("fhirVersion {} is now {}", before.version, now.version));
    }
    let (was, is): (BTreeSet<&String>, BTreeSet<&String>) =
        (before.resources.keys().collect(), now.resources.keys().collect());
    words.extend(was.difference(&is).map(|t| format!("{t} is gone")));
    words.extend(is.difference(&was).map(|t| format!("{t} is new")));
    for (type_, then) in &before.resources {
        let Some(now) = now.resources.get(type_) else { continue };
        let signed = |sign: char, set: Vec<&FhirInteraction>| -> Vec<String> {
            set.into_iter().map(|i| format!("{sign}{}", i.as_str())).collect()
        };
        let mut changes = signed('-', then.difference(now).collect());
        changes.extend(signed('+', now.difference(then).collect()));
        if !changes.is_empty() {
            words.push(format!("{type_} {}", changes.join(" ")));
        }
    }
    words.extend(before.operations.difference(&now.operations).map(|o| format!("{o} is gone")));
    words.extend(now.operations.difference(&before.operations).map(|o| format!("{o} is new")));
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn facts(version: &str, resources: &[(&str, &[FhirInteraction])], operations: &[&str]) -> Statement {
        Statement {
            version: version.to_owned(),
            resources: resources.iter().map(|(t, i)| ((*t).to_owned(), i.iter().copied().collect())).collect(),
            operations: operations.iter().map(|o| (*o).to_owned()).collect(),
        }
    }

    #[test]
    fn what_is_declared_and_not_there_is_named() {
        use FhirInteraction::{Create, Read};
        let declared: FhirInterface = serde_json::from_value(json!({
            "version": "R4", "operations": ["$everything"],
            "resources": [{"type": "Patient", "interactions": ["read", "create"]}, {"type": "Task"}],
        }))
        .unwrap();
        let all = facts("4.0.1", &[("Patient", &[Read, Create]), ("Task", &[])], &["$everything", "$export"]);
        assert!(missing(&declared, &all).is_empty());
        let some = facts("4.3.0", &[("Patient", &[Read])], &[]);
        assert_eq!(
            missing(&declared, &some),
            ["fhirVersion is 4.3.0 and not R4", "Patient without create", "no Task", "no $everything"]
        );
        assert_eq!(missing(&declared, &Statement { version: "4.01.0".to_owned(), ..all.clone() }).len(), 1);
        assert!(missing(&declared, &Statement { version: "4.0".to_owned(), ..all }).is_empty());
    }

    #[test]
    fn what_has_changed_is_named_and_what_is_stored_is_what_was_found() {
        use FhirInteraction::{Create, Delete, Read};
        let before =
            facts("4.0.1", &[("Patient", &[Read, Create]), ("Task", &[Read]), ("Account", &[Read])], &["$export"]);
        let now = facts("5.0.0", &[("Patient", &[Read, Delete]), ("Task", &[Read]), ("Actor", &[])], &["$everything"]);
        assert_eq!(
            difference(&before, &now),
            [
                "fhirVersion 4.0.1 is now 5.0.0",
                "Account is gone",
                "Actor is new",
                "Patient -create +delete",
                "$export is gone",
                "$everything is new"
            ]
        );
        let stored = before.stored("fhir", 3);
        assert_eq!(stored.resources.len(), 2, "types with the same interactions are one group");
        assert_eq!(Statement::of(&stored), before);
        assert!(difference(&before, &Statement::of(&stored)).is_empty());
    }
}
