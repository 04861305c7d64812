//! How deep the syntax tree of an expression is. All that walks it does so by calling itself, and a thread's stack has an end.

use kube::core::cel::cel::common::ast::{EntryExpr, Expr, IdedExpr};

/// Levels of the tree, found without a walk that calls itself.
pub(super) fn depth(root: &IdedExpr) -> usize {
    let (mut most, mut left) = (0, vec![(root, 1)]);
    while let Some((node, level)) = left.pop() {
        most = most.max(level);
        let mut below = |part| left.push((part, level + 1));
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => {}
            Expr::Select(select) => below(&select.operand),
            Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(below),
            Expr::List(list) => list.elements.iter().for_each(below),
            Expr::Map(map) => map.entries.iter().for_each(|e| entry(&e.expr, &mut below)),
            Expr::Struct(s) => s.entries.iter().for_each(|e| entry(&e.expr, &mut below)),
            Expr::Comprehension(c) => {
                [&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result].into_iter().for_each(below);
            }
        }
    }
    most
}

fn entry<'a>(entry: &'a EntryExpr, below: &mut impl FnMut(&'a IdedExpr)) {
    match entry {
        EntryExpr::StructField(field) => below(&field.value),
        EntryExpr::MapEntry(pair) => {
            below(&pair.key);
            below(&pair.value);
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::cel::cel::Program;

    use super::*;

    #[test]
    fn every_part_counts() {
        let of = |text: &str| depth(Program::compile(text).unwrap().expression());
        for (text, levels) in [
            ("1", 1),
            ("1 + 2 * 3", 3),
            ("a.b.c", 3),
            ("a[0].f(1 + 1)", 3),
            ("[[1], [[2]]]", 4),
            ("{'a': {'b': 1}}", 3),
            ("{f(f(1)): 1}", 4),
            ("S{a: f(1)}", 3),
        ] {
            assert_eq!(of(text), levels, "{text}");
        }
        assert!(of("[f(f(1))].map(x, x)") >= 5 && of("[1].map(x, f(f(f(x))))") >= 5, "of loops both parts");
    }
}
