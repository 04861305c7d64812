//! What is known to hold at a place inside an expression: the other side of `&&`, the condition of `? :`.

use kube::core::cel::cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};

use super::Absence;

/// Conditions that hold, and conditions that do not, by their canonical text.
#[derive(Clone, Debug, Default)]
pub(super) struct Guards {
    known: Vec<(String, bool)>,
}

impl Guards {
    /// How many there are: for `forget`.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Forgets all but the first.
    pub(super) fn forget(&mut self, len: usize) {
        self.known.truncate(len);
    }

    /// What follows from a condition that is true or false.
    pub(super) fn assume(&mut self, node: &IdedExpr, truth: bool) {
        if let Expr::Call(call) = &node.expr {
            match (call.func_name.as_str(), call.args.as_slice(), truth) {
                (operators::LOGICAL_AND, [a, b], true) | (operators::LOGICAL_OR, [a, b], false) => {
                    self.assume(a, truth);
                    self.assume(b, truth);
                }
                (operators::LOGICAL_NOT, [a], _) => self.assume(a, !truth),
                (operators::NOT_EQUALS, [a, b], _) => {
                    self.known.push((format!("{}({},{})", operators::EQUALS, text(a), text(b)), !truth));
                    return;
                }
                _ => {}
            }
        }
        self.known.push((text(node), truth));
    }

    /// Whether a value that may be absent is surely there, or whoever wrote this has asked.
    pub(super) fn clear(&self, place: &str, absence: &Absence) -> bool {
        let asked = |(text, truth): &(String, bool)| {
            let has = *truth && (*text == format!("has({place})") || text.starts_with(&format!("has({place}.")));
            has || absence.asked_by.as_ref().is_some_and(|phase| text.contains(phase.as_str()))
        };
        self.known.iter().any(asked) || absence.present_if.as_ref().is_some_and(|e| self.holds(&e.written(), true))
    }

    /// Whether a condition follows from what is known.
    fn holds(&self, node: &IdedExpr, truth: bool) -> bool {
        let own = || self.known.contains(&(text(node), truth));
        let Expr::Call(call) = &node.expr else { return own() };
        match (call.func_name.as_str(), call.args.as_slice(), truth) {
            (operators::LOGICAL_AND, [a, b], true) | (operators::LOGICAL_OR, [a, b], false) => {
                own() || (self.holds(a, truth) && self.holds(b, truth))
            }
            (operators::LOGICAL_AND, [a, b], false) | (operators::LOGICAL_OR, [a, b], true) => {
                own() || self.holds(a, truth) || self.holds(b, truth)
            }
            (operators::LOGICAL_NOT, [a], _) => self.holds(a, !truth),
            (operators::NOT_EQUALS, [a, b], _) => {
                self.known.contains(&(format!("{}({},{})", operators::EQUALS, text(a), text(b)), !truth))
            }
            _ => own(),
        }
    }
}

/// An expression as text that is the same however it is spaced, and whether a field is written `.x` or `["x"]`.
pub(super) fn text(node: &IdedExpr) -> String {
    match &node.expr {
        Expr::Ident(name) => name.clone(),
        Expr::Select(select) if select.test => format!("has({}.{})", text(&select.operand), select.field),
        Expr::Select(select) => format!("{}.{}", text(&select.operand), select.field),
        Expr::Literal(literal) => format!("{literal:?}"),
        Expr::Call(call) => {
            if let (operators::INDEX, [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(key)), .. }]) =
                (call.func_name.as_str(), call.args.as_slice())
            {
                return format!("{}.{}", text(of), key.inner());
            }
            let parts: Vec<String> = call.target.as_deref().into_iter().chain(&call.args).map(text).collect();
            format!("{}({})", call.func_name, parts.join(","))
        }
        // the rest is compared as it is, which includes the engine's own numbering
        other => format!("{other:?}"),
    }
}
