//! What an expression refers to, found without evaluating it.

use std::collections::BTreeSet;

use kube::core::cel::cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};

use super::cost::functions::qualified;

/// The names that an expression uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Free variables: names that no macro binds.
    pub variables: BTreeSet<String>,
    /// `params.<name>` and `params["<name>"]`.
    pub parameters: BTreeSet<String>,
    /// `steps.<name>` and `steps["<name>"]`.
    pub steps: BTreeSet<String>,
    /// `params` or `steps` used as a whole or indexed by a computed key: what they need cannot be told from the text.
    pub computed: bool,
    /// A message literal, such as `Study{id: 1}`: there are no message types here.
    pub messages: bool,
    /// How deep macros are nested.
    pub nesting: usize,
}

impl References {
    /// Walks the syntax tree; whoever compiles bounds its depth.
    #[must_use]
    pub fn of(root: &IdedExpr) -> Self {
        let mut found = Self::default();
        walk(root, &mut Vec::new(), 0, &mut found);
        found
    }

    /// Adds another expression's references.
    pub fn merge(&mut self, other: &Self) {
        self.variables.extend(other.variables.iter().cloned());
        self.parameters.extend(other.parameters.iter().cloned());
        self.steps.extend(other.steps.iter().cloned());
        self.computed |= other.computed;
        self.messages |= other.messages;
        self.nesting = self.nesting.max(other.nesting);
    }
}

/// The parameter whose value an expression gives, where it is nothing but `params.<name>` or `params["<name>"]`.
pub(super) fn sole_parameter(root: &IdedExpr) -> Option<&str> {
    // `has(params.x)` has the same shape and asks something else
    let asks = matches!(&root.expr, Expr::Select(select) if select.test);
    member(root).filter(|(root, _)| *root == "params" && !asks).map(|(_, name)| name)
}

fn walk<'a>(node: &'a IdedExpr, bound: &mut Vec<&'a str>, depth: usize, found: &mut References) {
    if let Some((root, key)) = member(node)
        && !bound.contains(&root)
    {
        match root {
            "params" => {
                found.variables.insert(root.to_owned());
                found.parameters.insert(key.to_owned());
                return;
            }
            "steps" => {
                found.variables.insert(root.to_owned());
                found.steps.insert(key.to_owned());
                return;
            }
            _ => {}
        }
    }
    match &node.expr {
        Expr::Unspecified | Expr::Literal(_) => {}
        Expr::Ident(name) => {
            if !bound.contains(&name.as_str()) {
                found.computed |= matches!(name.as_str(), "params" | "steps");
                found.variables.insert(name.clone());
            }
        }
        Expr::Select(select) => walk(&select.operand, bound, depth, found),
        Expr::Call(call) => {
            // `math.abs(x)` is a function of that name, whatever `math` is
            let target = call.target.as_deref().filter(|t| match &t.expr {
                Expr::Ident(library) => !qualified(library, &call.func_name),
                _ => true,
            });
            for part in target.into_iter().chain(&call.args) {
                walk(part, bound, depth, found);
            }
        }
        Expr::List(list) => list.elements.iter().for_each(|e| walk(e, bound, depth, found)),
        Expr::Map(map) => map.entries.iter().for_each(|e| entry(&e.expr, bound, depth, found)),
        Expr::Struct(s) => {
            found.messages = true;
            s.entries.iter().for_each(|e| entry(&e.expr, bound, depth, found));
        }
        Expr::Comprehension(c) => {
            found.nesting = found.nesting.max(depth + 1);
            walk(&c.iter_range, bound, depth, found);
            walk(&c.accu_init, bound, depth, found);
            let before = bound.len();
            bound.push(&c.iter_var);
            bound.extend(c.iter_var2.as_deref());
            bound.push(&c.accu_var);
            for part in [&c.loop_cond, &c.loop_step, &c.result] {
                walk(part, bound, depth + 1, found);
            }
            bound.truncate(before);
        }
    }
}

fn entry<'a>(entry: &'a EntryExpr, bound: &mut Vec<&'a str>, depth: usize, found: &mut References) {
    match entry {
        EntryExpr::StructField(field) => walk(&field.value, bound, depth, found),
        EntryExpr::MapEntry(pair) => {
            walk(&pair.key, bound, depth, found);
            walk(&pair.value, bound, depth, found);
        }
    }
}

/// `root.key` or `root["key"]`.
fn member(node: &IdedExpr) -> Option<(&str, &str)> {
    match &node.expr {
        Expr::Select(select) => match &select.operand.expr {
            Expr::Ident(root) => Some((root, &select.field)),
            _ => None,
        },
        Expr::Call(call) if call.func_name == "_[_]" && call.args.len() == 2 => {
            match (&call.args[0].expr, &call.args[1].expr) {
                (Expr::Ident(root), Expr::Literal(LiteralValue::String(key))) => Some((root, key.inner())),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Expression;
    use super::*;

    fn of(text: &str) -> References {
        Expression::compile(text).unwrap().references().clone()
    }

    #[test]
    fn members_are_told_apart_from_the_whole() {
        let r = of(r#"params.a + steps.x.outputs.y + steps["b-c"].outputs.z"#);
        assert_eq!(r.parameters, BTreeSet::from(["a".to_owned()]));
        assert_eq!(r.steps, BTreeSet::from(["x".to_owned(), "b-c".to_owned()]));
        assert!(!r.computed);
        assert!(of("size(steps) > 1").computed);
        assert!(of("steps[params.a].outputs.x").computed);
    }

    #[test]
    fn a_library_is_no_variable() {
        assert_eq!(of("math.abs(params.n) + lists.range(3).size()").variables, BTreeSet::from(["params".to_owned()]));
        assert!(of("math.none(1)").variables.contains("math"));
    }

    #[test]
    fn a_parameter_by_itself_is_told_from_all_else() {
        let sole = |text: &str| Expression::compile(text).unwrap().sole_parameter().map(str::to_owned);
        assert_eq!(sole("params.a"), Some("a".to_owned()));
        assert_eq!(sole(r#"params["a"]"#), Some("a".to_owned()));
        for text in ["has(params.a)", "params.a + params.a", "params.a.b", "[params.a][0]", "steps.a", "params"] {
            assert_eq!(sole(text), None, "{text}");
        }
    }

    #[test]
    fn macro_variables_are_not_free() {
        let r = of("params.list.all(i, i > result.min)");
        assert_eq!(r.variables, BTreeSet::from(["params".to_owned(), "result".to_owned()]));
        assert_eq!(r.nesting, 1);
        assert_eq!(of("has(steps.x.outputs.y)").steps, BTreeSet::from(["x".to_owned()]));
    }
}
