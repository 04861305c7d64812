//! Presentation contexts (PS3.8 §7.1.1.13): which SOP classes a service takes, in which transfer syntaxes.

use std::collections::{BTreeMap, BTreeSet};

use super::pdu::Acceptance;

/// The id of the context of the request. Ids are odd (PS3.8 table 9-13).
pub(super) const CONTEXT: u8 = 1;
/// Implicit VR Little Endian, everybody's default (PS3.5 §10.1, annex A.1).
pub(super) const IMPLICIT: &str = "1.2.840.10008.1.2";
/// It and Explicit VR Little Endian (PS3.5 annex A.2).
pub(super) const USUAL: [&str; 2] = [IMPLICIT, "1.2.840.10008.1.2.1"];
/// Most contexts that can be proposed besides: their ids have one byte.
pub const MAX_PROPOSED: usize = 127;

/// SOP classes, each with the transfer syntaxes that it was accepted in.
pub type Accepted = BTreeMap<String, BTreeSet<String>>;

/// What a service is asked to take. Nothing is sent in these contexts.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Proposal {
    /// SOP classes, by their UIDs.
    pub classes: BTreeSet<String>,
    /// Transfer syntaxes, by their UIDs, that each must be taken in; one of the two usual ones where there is none.
    pub syntaxes: BTreeSet<String>,
}

impl Proposal {
    /// Whether nothing is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The contexts: id, SOP class, transfer syntaxes. A service chooses one syntax of a context, so each has one of its own.
    pub(super) fn contexts(&self) -> Vec<(u8, &str, Vec<&str>)> {
        let of = |class| -> Vec<(&str, Vec<&str>)> {
            if self.syntaxes.is_empty() {
                return vec![(class, USUAL.to_vec())];
            }
            self.syntaxes.iter().map(|s| (class, vec![s.as_str()])).collect()
        };
        let ids = (CONTEXT..=u8::MAX).step_by(2).skip(1);
        ids.zip(self.classes.iter().flat_map(|c| of(c))).map(|(id, (class, syntaxes))| (id, class, syntaxes)).collect()
    }

    /// What was accepted of it; an answer to what was not proposed is passed over.
    #[must_use]
    pub fn accepted(&self, answer: &Acceptance) -> Accepted {
        let mut found = Accepted::new();
        for (id, class, syntaxes) in self.contexts() {
            let taken = answer.contexts.iter().filter(|(i, s)| *i == id && syntaxes.contains(&s.as_str()));
            for (_, syntax) in taken {
                found.entry(class.to_owned()).or_default().insert(syntax.clone());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(classes: &[&str], syntaxes: &[&str]) -> Proposal {
        let set = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Proposal { classes: set(classes), syntaxes: set(syntaxes) }
    }

    #[test]
    fn each_class_is_proposed_with_each_syntax_by_itself() {
        let all = proposal(&["1.1", "1.2"], &["9.1", "9.2"]);
        assert_eq!(
            all.contexts(),
            [(3, "1.1", vec!["9.1"]), (5, "1.1", vec!["9.2"]), (7, "1.2", vec!["9.1"]), (9, "1.2", vec!["9.2"])]
        );
        assert_eq!(proposal(&["1.1"], &[]).contexts(), [(3, "1.1", USUAL.to_vec())]);
        assert!(proposal(&[], &["9.1"]).contexts().is_empty());
        let many: Vec<String> = (0..200).map(|n| format!("1.{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let contexts = proposal(&many, &[]);
        let contexts = contexts.contexts();
        assert_eq!((contexts.len(), contexts.last().map(|c| c.0)), (MAX_PROPOSED, Some(255)));
    }

    #[test]
    fn only_what_was_proposed_is_accepted() {
        let all = proposal(&["1.1", "1.2"], &["9.1", "9.2"]);
        let context = |id, syntax: &str| (id, syntax.to_owned());
        let contexts = vec![
            context(1, "9.1"),
            context(3, "9.1"),
            context(5, "9.2"),
            context(7, "9.2"),
            context(9, ""),
            context(11, "9.1"),
            context(4, "9.1"),
        ];
        let accepted = all.accepted(&Acceptance { contexts, max_length: 0 });
        let syntaxes = BTreeSet::from(["9.1".to_owned(), "9.2".to_owned()]);
        assert_eq!(accepted, Accepted::from([("1.1".to_owned(), syntaxes)]));
    }
}
