//! Presentation contexts that a DICOM service accepts: what is proposed, what is lacking, what has changed.

use std::collections::BTreeSet;

use crate::{
    api::dicom::{DicomContext, DicomFacts, DicomInterface},
    core::dicom::contexts::{Accepted, Proposal},
};

/// What a DICOM service accepts of what it was asked to take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contexts {
    /// What it was asked.
    pub proposed: Proposal,
    /// What it accepts.
    pub accepted: Accepted,
}

/// What a probe of this interface proposes: all that is declared.
#[must_use]
pub fn proposal(declared: &DicomInterface) -> Proposal {
    let set = |list: &[String]| list.iter().cloned().collect();
    Proposal { classes: set(&declared.sop_classes), syntaxes: set(&declared.transfer_syntaxes) }
}

/// What of the proposed was not accepted, each in words; nothing when all of it was.
#[must_use]
pub fn refused(contexts: &Contexts) -> Vec<String> {
    let mut words = Vec::new();
    for class in &contexts.proposed.classes {
        let Some(taken) = contexts.accepted.get(class) else {
            words.push(format!("no {class}"));
            continue;
        };
        let without: Vec<&str> = contexts.proposed.syntaxes.difference(taken).map(String::as_str).collect();
        if !without.is_empty() {
            words.push(format!("{class} without {}", without.join(", ")));
        }
    }
    words
}

impl Contexts {
    /// As a status holds them.
    pub(super) fn stored(&self, interface: &str, generation: i64) -> DicomFacts {
        let context = |(class, syntaxes): (&String, &BTreeSet<String>)| DicomContext {
            sop_class: class.clone(),
            transfer_syntaxes: syntaxes.iter().cloned().collect(),
        };
        DicomFacts {
            interface: interface.to_owned(),
            generation,
            contexts: self.accepted.iter().map(context).collect(),
        }
    }
}

/// What a status holds.
pub(super) fn accepted(stored: &DicomFacts) -> Accepted {
    let context = |c: &DicomContext| (c.sop_class.clone(), c.transfer_syntaxes.iter().cloned().collect());
    stored.contexts.iter().map(context).collect()
}

/// What has changed, each in words.
pub(super) fn difference(before: &Accepted, now: &Accepted) -> Vec<String> {
    let (was, is): (BTreeSet<&String>, BTreeSet<&String>) = (before.keys().collect(), now.keys().collect());
    let mut words: Vec<String> = was.difference(&is).map(|c| format!("{c} is gone")).collect();
    words.extend(is.difference(&was).map(|c| format!("{c} is new")));
    for (class, then) in before {
        let Some(now) = now.get(class) else { continue };
        let lost = then.difference(now).map(|s| format!("-{s}"));
        let changes: Vec<String> = lost.chain(now.difference(then).map(|s| format!("+{s}"))).collect();
        if !changes.is_empty() {
            words.push(format!("{class} {}", changes.join(" ")));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    fn accepts(list: &[(&str, &[&str])]) -> Accepted {
        list.iter().map(|(class, syntaxes)| ((*class).to_owned(), set(syntaxes))).collect()
    }

    #[test]
    fn what_was_proposed_and_is_not_accepted_is_named() {
        let proposed = Proposal { classes: set(&["1.1", "1.2", "1.3"]), syntaxes: set(&["9.1", "9.2"]) };
        let told = |accepted| refused(&Contexts { proposed: proposed.clone(), accepted });
        let both = &["9.1", "9.2"][..];
        assert!(told(accepts(&[("1.1", both), ("1.2", both), ("1.3", both)])).is_empty());
        assert_eq!(told(accepts(&[("1.1", both), ("1.2", &["9.2"])])), ["1.2 without 9.1", "no 1.3"]);
        let any = Proposal { classes: set(&["1.1"]), syntaxes: set(&[]) };
        let one = accepts(&[("1.1", &["1.2.840.10008.1.2"])]);
        assert!(refused(&Contexts { proposed: any, accepted: one }).is_empty());
    }

    #[test]
    fn what_has_changed_is_named_and_what_is_stored_is_what_was_found() {
        let before = accepts(&[("1.1", &["9.1"]), ("1.2", &["9.1", "9.2"]), ("1.4", &["9.1"])]);
        let now = accepts(&[("1.2", &["9.2", "9.3"]), ("1.3", &["9.1"]), ("1.4", &["9.1"])]);
        assert_eq!(difference(&before, &now), ["1.1 is gone", "1.3 is new", "1.2 -9.1 +9.3"]);
        assert!(difference(&before, &before).is_empty());
        let contexts = Contexts { proposed: Proposal::default(), accepted: before.clone() };
        assert_eq!(accepted(&contexts.stored("dicom", 3)), before);
    }
}
