//! What is held to be true of what an endpoint can do.

use std::sync::Arc;

use super::Facts;

/// The facts of one endpoint. The first are taken at once; others only when they were found so many times in a row, so that two
/// servers behind one address, which differ, do not cause a status write with every probe.
#[derive(Clone, Debug, Default)]
pub struct Held {
    facts: Option<Arc<Facts>>,
    next: Option<(Arc<Facts>, u8)>,
}

impl Held {
    /// What is held to be true; `None` while nothing was found.
    #[must_use]
    pub const fn facts(&self) -> Option<&Arc<Facts>> {
        self.facts.as_ref()
    }

    /// Takes in what a probe found. True when what is held to be true has changed.
    pub fn observe(&mut self, found: Facts, times: u8) -> bool {
        let Some(present) = self.facts.as_ref().filter(|present| present.comparable(&found)) else {
            self.facts = Some(Arc::new(found));
            self.next = None;
            return true;
        };
        if **present == found {
            self.next = None;
            return false;
        }
        let (next, seen) = match self.next.take() {
            Some((next, seen)) if *next == found => (next, seen.saturating_add(1)),
            _ => (Arc::new(found), 1),
        };
        if seen >= times.max(1) {
            self.facts = Some(next);
            return true;
        }
        self.next = Some((next, seen));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Contexts, Statement},
        *,
    };
    use crate::core::dicom::contexts::Proposal;

    fn version(text: &str) -> Facts {
        Facts::Fhir(Statement { version: text.to_owned(), ..Statement::default() })
    }

    #[test]
    fn other_facts_must_be_found_several_times_in_a_row() {
        let mut held = Held::default();
        assert!(held.observe(version("4.0.1"), 3));
        for _ in 0..10 {
            assert!(!held.observe(version("5.0.0"), 3));
            assert!(!held.observe(version("5.0.0"), 3));
            assert!(!held.observe(version("4.0.1"), 3));
        }
        let changes: Vec<bool> = (0..4).map(|_| held.observe(version("5.0.0"), 3)).collect();
        assert_eq!(changes, [false, false, true, false]);
        assert_eq!(held.facts().map(|f| (**f).clone()), Some(version("5.0.0")));
    }

    #[test]
    fn who_is_asked_something_else_is_believed_at_once() {
        let classes = |list: &[&str]| list.iter().map(|c| (*c).to_owned()).collect();
        let told = |proposed: &[&str]| {
            Facts::Dicom(Contexts {
                proposed: Proposal { classes: classes(proposed), ..Proposal::default() },
                ..Contexts::default()
            })
        };
        let mut held = Held::default();
        assert!(held.observe(told(&["1.1"]), 3));
        assert!(held.observe(told(&["1.1", "1.2"]), 3));
        assert!(!held.observe(told(&["1.1", "1.2"]), 3));
        assert!(held.observe(version("4.0.1"), 3), "another protocol");
    }
}
