//! Which fields of `self` and `oldSelf` does a rule look at? A rule of a whole object mostly looks at a few of them, and the
//! engine copies what it is given: the rest need not be converted for it.

use std::collections::BTreeMap;

use kube::core::cel::cel::{
    IdedExpr,
    common::ast::{EntryExpr, Expr},
};

/// What of a value is looked at.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// All of it.
    pub(crate) whole: bool,
    /// Of fields, by their names in the expression. One with nothing in it is only asked for (`has`).
    pub(crate) below: BTreeMap<String, Reads>,
}

impl Reads {
    fn add(&mut self, path: &[&str], only_asked_for: bool) {
        match path.split_first() {
            Some((first, rest)) => self.below.entry((*first).to_owned()).or_default().add(rest, only_asked_for),
            None => self.whole |= !only_asked_for,
        }
    }
}

/// What expressions look at of `self` and of `oldSelf`.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    pub(crate) now: Reads,
    pub(crate) old: Reads,
}

impl Scope {
    /// Adds what an expression looks at.
    pub(crate) fn take_in(&mut self, expression: &IdedExpr) {
        if let Some(path) = path(expression) {
            self.note(&path, matches!(&expression.expr, Expr::Select(select) if select.test));
            return;
        }
        match &expression.expr {
            Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(|e| self.take_in(e)),
            Expr::Comprehension(all) => {
                for part in [&all.iter_range, &all.accu_init, &all.loop_cond, &all.loop_step, &all.result] {
                    self.take_in(part);
                }
            }
            Expr::List(list) => list.elements.iter().for_each(|e| self.take_in(e)),
            Expr::Map(map) => map.entries.iter().for_each(|e| self.entry(&e.expr)),
            Expr::Struct(of) => of.entries.iter().for_each(|e| self.entry(&e.expr)),
            Expr::Select(select) => self.take_in(&select.operand),
            Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    fn entry(&mut self, entry: &EntryExpr) {
        match entry {
            EntryExpr::StructField(field) => self.take_in(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.take_in(&entry.key);
                self.take_in(&entry.value);
            }
        }
    }

    fn note(&mut self, path: &[&str], only_asked_for: bool) {
        match path.split_first() {
            Some((&"self", rest)) => self.now.add(rest, only_asked_for),
            Some((&"oldSelf", rest)) => self.old.add(rest, only_asked_for),
            _ => {}
        }
    }
}

/// `self.a.b` as its names, `dyn(self).a` too; `None` for what is no chain of fields.
fn path(expression: &IdedExpr) -> Option<Vec<&str>> {
    match &expression.expr {
        Expr::Ident(name) => Some(vec![name]),
        Expr::Select(select) => {
            let mut path = path(&select.operand)?;
            path.push(&select.field);
            Some(path)
        }
        Expr::Call(call) if call.func_name == "dyn" && call.target.is_none() => match call.args.as_slice() {
            [of] => path(of),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
mod tests {
    use kube::core::cel::cel::Program;

    use super::*;

    fn shown(reads: &Reads) -> String {
        let below: Vec<String> = reads.below.iter().map(|(name, sub)| format!("{name}{}", shown(sub))).collect();
        let whole = if reads.whole { "*" } else { "" };
        if below.is_empty() { whole.to_owned() } else { format!("{whole}({})", below.join(" ")) }
    }

    fn reads(text: &str) -> (String, String) {
        let mut scope = Scope::default();
        scope.take_in(Program::compile(text).unwrap().expression());
        (shown(&scope.now), shown(&scope.old))
    }

    fn of(now: &str, old: &str) -> (String, String) {
        (now.to_owned(), old.to_owned())
    }

    #[test]
    fn chains_of_fields_end_at_what_is_looked_at() {
        assert_eq!(reads("self.spec.a == oldSelf.spec.a"), of("(spec(a*))", "(spec(a*))"));
        assert_eq!(reads("dyn(self.spec).a == 1 && dyn(self).b.c > 2"), of("(b(c*) spec(a*))", ""));
        assert_eq!(reads("self >= oldSelf"), of("*", "*"));
        assert_eq!(reads("self.a.size() > 1 && self.b[0].c == 2"), of("(a* b*)", ""));
        assert_eq!(reads("self.a.all(x, x.y in self.b) && !(self.c in ['d'])"), of("(a* b* c*)", ""));
        assert_eq!(reads("[self].all(x, x.a) || {'k': self.v, self.w: 1}['k'] == 1"), of("*(v* w*)", ""));
        assert_eq!(reads("true"), of("", ""));
    }

    #[test]
    fn what_is_only_asked_for_is_named_and_no_more() {
        assert_eq!(reads("!has(oldSelf.status) || has(self.status)"), of("(status)", "(status)"));
        assert_eq!(reads("has(self.a.b) && self.a.b.c == 1"), of("(a(b(c*)))", ""));
        assert_eq!(reads("has(self.a.b) && self.a == oldSelf"), of("(a*(b))", "*"));
    }
}
