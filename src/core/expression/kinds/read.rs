//! Which steps' outputs does an expression read?

use kube::core::cel::cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators};

pub(super) fn outputs_read(node: &IdedExpr) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    read(node, &mut found);
    found
}

/// The name of a member: `of.name` or `of["name"]`.
fn member(node: &IdedExpr) -> Option<(&IdedExpr, &str)> {
    match &node.expr {
        Expr::Select(select) => Some((&select.operand, &select.field)),
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(key)), .. }] => Some((of, key.inner())),
            _ => None,
        },
        _ => None,
    }
}

fn step_of(node: &IdedExpr) -> Option<&str> {
    let (of, name) = member(node)?;
    matches!(&of.expr, Expr::Ident(root) if root == "steps").then_some(name)
}

fn read(node: &IdedExpr, found: &mut Vec<(String, Option<String>)>) {
    if let Some((of, name)) = member(node) {
        if let Some(step) = step_of(node) {
            found.push((step.to_owned(), None));
            return;
        }
        if let Some(step) = step_of(of) {
            if name == "outputs" {
                found.push((step.to_owned(), None));
            }
            return;
        }
        if let Some((steps, "outputs")) = member(of)
            && let Some(step) = step_of(steps)
        {
            found.push((step.to_owned(), Some(name.to_owned())));
            return;
        }
    }
    match &node.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => {}
        Expr::Select(select) => read(&select.operand, found),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(|a| read(a, found)),
        Expr::List(list) => list.elements.iter().for_each(|e| read(e, found)),
        Expr::Map(map) => map.entries.iter().for_each(|e| entry(&e.expr, found)),
        Expr::Struct(s) => s.entries.iter().for_each(|e| entry(&e.expr, found)),
        Expr::Comprehension(c) => {
            for part in [&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result] {
                read(part, found);
            }
        }
    }
}

fn entry(entry: &EntryExpr, found: &mut Vec<(String, Option<String>)>) {
    match entry {
        EntryExpr::StructField(field) => read(&field.value, found),
        EntryExpr::MapEntry(pair) => {
            read(&pair.key, found);
            read(&pair.value, found);
        }
    }
}
