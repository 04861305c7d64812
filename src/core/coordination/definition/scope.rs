//! Which variables, parameters and steps may an expression use?

use std::collections::BTreeSet;

use super::reader::Reader;
use crate::core::{expression::References, suggest::nearest};

/// Which variables an expression may use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// `params`, `steps`, `run`.
    Flow,
    /// `result` besides.
    Result,
}

impl Scope {
    /// Names of the variables; `items` where `item` and `index` are there.
    fn names(self, items: bool) -> Vec<&'static str> {
        let more: &[&str] = match self {
            Self::Result => &["result"],
            Self::Flow if items => &["item", "index"],
            Self::Flow => &[],
        };
        ["params", "steps", "run"].iter().chain(more).copied().collect()
    }
}

impl Reader<'_> {
    /// Whether an expression uses only what is there; what is not becomes a fault of its field.
    pub(super) fn check(
        &mut self,
        field: &str,
        references: &References,
        known: &BTreeSet<String>,
        scope: Scope,
    ) -> bool {
        let before = self.faults.len();
        let fault = |reader: &mut Self, message: String| reader.fault(field.to_owned(), message);
        let names = scope.names(self.items);
        for name in references.variables.iter().filter(|n| !names.contains(&n.as_str())) {
            let more = match nearest(name, names.iter().copied()) {
                _ if matches!(name.as_str(), "item" | "index") => {
                    "; it is there in the action of a step with forEach, and nowhere else".to_owned()
                }
                Some(near) => format!("; did you mean `{near}`?"),
                None => String::new(),
            };
            let list = names.join(", ");
            fault(self, format!("there is no variable `{name}`; an expression here may use {list}{more}"));
        }
        if references.computed {
            fault(
                self,
                "use params.<name> and steps.<name> with the name written out, so that what a step needs can be told"
                    .to_owned(),
            );
        }
        for name in &references.parameters {
            if !self.spec.parameters.iter().any(|p| p.name == *name) {
                fault(self, format!("`params.{name}` is not declared in spec.parameters"));
            }
            if self.is_sensitive(name) {
                fault(
                    self,
                    format!(
                        "`params.{name}` is sensitive: it may only be the whole value of a variable in a container's \
                         env, as $( params.{name} ), or of a parameter of a child run"
                    ),
                );
            }
        }
        for name in &references.steps {
            if !known.contains(name) {
                let exists = self.spec.steps.iter().any(|s| s.name == *name);
                let absent = format!("`steps.{name}` is not a step of this workflow");
                let later = format!("`steps.{name}` may not be done yet: add `{name}` to after");
                fault(self, if exists { later } else { absent });
            }
        }
        self.faults.len() == before
    }
}
