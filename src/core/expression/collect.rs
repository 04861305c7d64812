//! `map` and `filter` in one pass: as the parser spells them out they copy the list so far at every element, which takes
//! seconds for 2,000 small objects.

use kube::core::cel::cel::{
    Context, ExecutionError, FunctionContext, ResolveResult, Value,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue},
    extractors::This,
};

/// The function that such a loop becomes: `range.@collect(name, condition, element)`. No text can name it.
pub(super) const COLLECT: &str = "@collect";

/// The expression with every `map` and `filter` as one call.
pub(super) fn rewrite(node: &IdedExpr) -> IdedExpr {
    let mut node = node.clone();
    visit(&mut node);
    node
}

/// Makes the function known.
pub(super) fn register(context: &mut Context<'_>) {
    context.add_function(COLLECT, collect);
}

fn visit(node: &mut IdedExpr) {
    match &mut node.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => {}
        Expr::Select(select) => visit(&mut select.operand),
        Expr::Call(call) => call.target.as_deref_mut().into_iter().chain(&mut call.args).for_each(visit),
        Expr::List(list) => list.elements.iter_mut().for_each(visit),
        Expr::Map(map) => map.entries.iter_mut().for_each(|e| entry(&mut e.expr)),
        Expr::Struct(message) => message.entries.iter_mut().for_each(|e| entry(&mut e.expr)),
        Expr::Comprehension(c) => {
            for part in [&mut c.iter_range, &mut c.accu_init, &mut c.loop_cond, &mut c.loop_step, &mut c.result] {
                visit(part);
            }
        }
    }
    let Expr::Comprehension(c) = &node.expr else { return };
    let Some((condition, element)) = added(c) else { return };
    let name = IdedExpr { id: node.id, expr: Expr::Ident(c.iter_var.clone()) };
    node.expr = Expr::Call(CallExpr {
        func_name: COLLECT.to_owned(),
        target: Some(Box::new(c.iter_range.clone())),
        args: vec![name, condition, element],
    });
}

fn entry(entry: &mut EntryExpr) {
    match entry {
        EntryExpr::StructField(field) => visit(&mut field.value),
        EntryExpr::MapEntry(pair) => {
            visit(&mut pair.key);
            visit(&mut pair.value);
        }
    }
}

/// The condition and the element of a loop that starts from `[]` and at each step does `list + [element]`, or
/// `condition ? list + [element] : list`.
pub(super) fn added(c: &ComprehensionExpr) -> Option<(IdedExpr, IdedExpr)> {
    let is_list = |e: &IdedExpr| matches!(&e.expr, Expr::Ident(name) if *name == c.accu_var);
    let always = IdedExpr { id: c.loop_cond.id, expr: Expr::Literal(LiteralValue::Boolean(true.into())) };
    let starts_empty = matches!(&c.accu_init.expr, Expr::List(list) if list.elements.is_empty());
    if !starts_empty || c.iter_var2.is_some() || c.loop_cond.expr != always.expr || !is_list(&c.result) {
        return None;
    }
    let (condition, step) = match &c.loop_step.expr {
        Expr::Call(call) if call.func_name == "_?_:_" => match call.args.as_slice() {
            [condition, add, keep] if is_list(keep) => (condition.clone(), add),
            _ => return None,
        },
        _ => (always, &c.loop_step),
    };
    let Expr::Call(add) = &step.expr else { return None };
    match (add.func_name.as_str(), add.args.as_slice()) {
        ("_+_", [list, IdedExpr { expr: Expr::List(one), .. }]) if is_list(list) && one.elements.len() == 1 => {
            Some((condition, one.elements[0].clone()))
        }
        _ => None,
    }
}

fn collect(call: &FunctionContext<'_, '_>, This(range): This<Value>) -> ResolveResult {
    let [IdedExpr { expr: Expr::Ident(name), .. }, condition, element] = call.args else {
        return Err(ExecutionError::NoSuchOverload);
    };
    let items: Vec<Value> = match &range {
        Value::List(items) => items.to_vec(),
        Value::Map(map) => map.map.keys().map(Value::from).collect(),
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    let mut scope = call.ptx.new_inner_scope();
    let mut found = Vec::new();
    for item in items {
        scope.add_variable_from_value(name.as_str(), item);
        match scope.resolve(condition)? {
            Value::Bool(true) => found.push(scope.resolve(element)?),
            Value::Bool(false) => {}
            _ => return Err(ExecutionError::NoSuchOverload),
        }
    }
    Ok(Value::List(found.into()))
}

#[cfg(test)]
mod tests {
    use kube::core::cel::{KubeCelExt, cel::Program};

    use super::*;

    #[test]
    fn one_pass_gives_what_the_engine_gives() {
        for text in [
            "[1, 2, 3].map(x, x * 2)",
            "[1, 2, 3].filter(x, x > 1)",
            "[1, 2, 3].map(x, x > 1, x + 10)",
            "{'a': 1}.map(k, k)",
            "[[1, 2], [3]].map(x, x.map(y, [x, y]))",
            "[[1, 2], [3]].filter(x, x.exists(y, y == 3)).map(x, x[0])",
            "[1].map(x, [2].map(x, x) + [x])",
            "[].map(x, x.y)",
            "size([1, 2].filter(x, x == 1)) == 1 ? [3].map(x, {'k': [x].map(y, y)}) : []",
            "[1, 2].filter(x, x)",
            "[1, 2].map(x, z)",
            "'text'.map(x, x)",
            "[1].map(x, false && z, x)",
            "[1].map(x, x / 0 == 1 || true, x)",
        ] {
            let program = Program::compile(text).unwrap();
            let mut context = Context::default().with_all();
            let engine = program.execute(&context);
            register(&mut context);
            let rewritten = rewrite(program.expression());
            assert_eq!(context.resolve(&rewritten).ok(), engine.ok(), "{text}");
            let spelled_out = format!("{rewritten:?}").contains("ListExpr { elements: [], optional_indices: [] }");
            assert!(!spelled_out || text.contains("[]"), "{text}");
        }
    }
}
