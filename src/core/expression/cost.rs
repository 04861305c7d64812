//! An upper bound of what an evaluation costs, from the expression and the sizes of its values, before it is made.
//!
//! The unit is one value that is looked at or copied; 32 bytes of text count as one. Macros copy what they have collected so far
//! at each turn, so `map` and `filter` over n values cost n². An evaluation runs to its end once it has begun, and a worker
//! with it: hence the bound.

use std::collections::HashMap;

use kube::core::cel::cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};
use serde_json::Value;

use super::Variables;

/// Dearest evaluation that is made: well below a second.
const MAX_COST: u64 = 5_000_000;
/// Bytes of text that count as one value.
const TEXT: u64 = 32;

/// How large a value may be.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    /// The longest list or map in it, or text in bytes.
    length: u64,
    /// All values in it.
    weight: u64,
}

impl Size {
    const ONE: Self = Self { length: 1, weight: 1 };

    fn text(bytes: usize) -> Self {
        let bytes = bytes as u64;
        Self { length: bytes, weight: 1 + bytes / TEXT }
    }

    fn of(value: &Value) -> Self {
        let all = |parts: &mut dyn Iterator<Item = Self>, length: usize| {
            parts.fold(Self { length: length as u64, weight: 1 }, |all, part| Self {
                length: all.length.max(part.length),
                weight: all.weight + part.weight,
            })
        };
        match value {
            Value::String(text) => Self::text(text.len()),
            Value::Array(items) => all(&mut items.iter().map(Self::of), items.len()),
            Value::Object(fields) => all(
                &mut fields.iter().map(|(key, value)| {
                    let size = Self::of(value);
                    Self { weight: size.weight + Self::text(key.len()).weight, ..size }
                }),
                fields.len(),
            ),
            _ => Self::ONE,
        }
    }

    fn and(self, other: Self) -> Self {
        Self { length: self.length.saturating_add(other.length), weight: self.weight.saturating_add(other.weight) }
    }

    fn or(self, other: Self) -> Self {
        Self { length: self.length.max(other.length), weight: self.weight.max(other.weight) }
    }
}

/// Whether evaluating `root` over these variables stays within bounds.
///
/// # Errors
/// The bound that it might exceed; no value is named.
pub(super) fn check(root: &IdedExpr, variables: &Variables) -> Result<(), String> {
    let sizes = variables.iter().map(|(name, value)| (name.as_str(), Size::of(value))).collect();
    let mut meter = Meter { sizes, cost: 0 };
    meter.measure(root, 1);
    if meter.cost > MAX_COST {
        return Err(format!("up to {} steps, at most {MAX_COST} are allowed", meter.cost));
    }
    Ok(())
}

struct Meter<'a> {
    /// What names may stand for here.
    sizes: HashMap<&'a str, Size>,
    cost: u64,
}

impl<'a> Meter<'a> {
    fn pay(&mut self, turns: u64, each: u64) {
        self.cost = self.cost.saturating_add(turns.saturating_mul(each));
    }

    /// How large the value of `node` may be; pays for `turns` evaluations of it.
    fn measure(&mut self, node: &'a IdedExpr, turns: u64) -> Size {
        self.pay(turns, 1);
        match &node.expr {
            Expr::Unspecified => Size::ONE,
            Expr::Literal(LiteralValue::String(text)) => Size::text(text.inner().len()),
            Expr::Literal(_) => Size::ONE,
            Expr::Ident(name) => self.sizes.get(name.as_str()).copied().unwrap_or(Size::ONE),
            Expr::Select(select) => self.measure(&select.operand, turns),
            Expr::List(list) => {
                let parts = list.elements.iter().map(|e| self.measure(e, turns)).collect();
                self.built(parts, turns)
            }
            Expr::Map(map) => {
                let parts = map.entries.iter().map(|e| self.entry(&e.expr, turns)).collect();
                self.built(parts, turns)
            }
            Expr::Struct(made) => {
                let parts = made.entries.iter().map(|e| self.entry(&e.expr, turns)).collect();
                self.built(parts, turns)
            }
            Expr::Call(call) => {
                let parts: Vec<Size> =
                    call.target.as_deref().into_iter().chain(&call.args).map(|p| self.measure(p, turns)).collect();
                self.called(&call.func_name, &parts, turns)
            }
            Expr::Comprehension(c) => {
                let range = self.measure(&c.iter_range, turns);
                let start = self.measure(&c.accu_init, turns);
                let inside = turns.saturating_mul(range.length);
                // all turns together see each part of the range once, so one sees its share
                let item = Size { length: range.length, weight: range.weight / range.length.max(1) + 1 };
                let mut shadowed = Vec::new();
                for (name, size) in [Some(&c.iter_var), c.iter_var2.as_ref(), Some(&c.accu_var)]
                    .into_iter()
                    .flatten()
                    .zip([item, item, start])
                {
                    shadowed.push((name.as_str(), self.sizes.insert(name, size)));
                }
                self.sizes.insert(&c.accu_var, start);
                self.measure(&c.loop_cond, inside);
                let step = self.measure(&c.loop_step, inside);
                // what one turn adds may be added by each
                let full = Size {
                    length: start.length.saturating_add(range.length).saturating_add(step.length),
                    weight: start.weight.saturating_add(step.weight.saturating_mul(range.length)),
                };
                let collects = matches!(&c.accu_init.expr, Expr::List(_) | Expr::Map(_));
                let end = if collects { full } else { step.or(start) };
                if collects {
                    self.pay(inside, end.weight);
                }
                self.sizes.insert(&c.accu_var, end);
                let result = self.measure(&c.result, turns);
                for (name, before) in shadowed.into_iter().rev() {
                    match before {
                        Some(size) => self.sizes.insert(name, size),
                        None => self.sizes.remove(name),
                    };
                }
                result
            }
        }
    }

    fn entry(&mut self, entry: &'a EntryExpr, turns: u64) -> Size {
        match entry {
            EntryExpr::StructField(field) => self.measure(&field.value, turns),
            EntryExpr::MapEntry(pair) => {
                let key = self.measure(&pair.key, turns);
                let value = self.measure(&pair.value, turns);
                Size { length: key.length.max(value.length), weight: key.weight.saturating_add(value.weight) }
            }
        }
    }

    fn built(&mut self, parts: Vec<Size>, turns: u64) -> Size {
        let count = parts.len() as u64;
        let all = parts.into_iter().fold(Size { length: count, weight: 1 }, |all, part| Size {
            length: all.length.max(part.length),
            weight: all.weight.saturating_add(part.weight),
        });
        self.pay(turns, all.weight);
        all
    }

    fn called(&mut self, name: &str, parts: &[Size], turns: u64) -> Size {
        let all = parts.iter().fold(Size::default(), |all, part| all.and(*part));
        match name {
            "_[_]" => parts.first().copied().unwrap_or(Size::ONE),
            "_?_:_" => parts.iter().skip(1).fold(Size::ONE, |all, part| all.or(*part)),
            "_+_" => {
                self.pay(turns, all.weight);
                all
            }
            "string" => {
                self.pay(turns, all.weight);
                Size { length: all.length.max(32), weight: all.weight }
            }
            // other operators, and functions that give a number or a truth value
            _ if name.starts_with(['_', '!', '@', '-']) => {
                self.pay(turns, all.weight);
                Size::ONE
            }
            "size" | "int" | "uint" | "double" | "bool" | "contains" | "startsWith" | "endsWith" => {
                self.pay(turns, all.weight);
                Size::ONE
            }
            // whatever else: each part with each other
            _ => {
                let product = parts.iter().fold(1_u64, |product, part| {
                    product.saturating_mul(part.length.max(part.weight.saturating_mul(TEXT)).saturating_add(1))
                });
                self.pay(turns, product / TEXT + 1);
                Size { length: product, weight: product }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Expression, ExpressionError};
    use super::*;

    fn evaluate(text: &str, list: usize) -> Result<Value, ExpressionError> {
        let items: Vec<Value> = (0..list).map(|i| json!({"id": i, "status": "Complete"})).collect();
        let variables = Variables::from([("result".to_owned(), json!({"body": items, "text": "x".repeat(list)}))]);
        Expression::compile(text).unwrap().evaluate(&variables)
    }

    #[test]
    fn everyday_expressions_are_let_through() {
        for text in [
            "result.body.all(s, s.status == \"Complete\")",
            "result.body.exists(s, s.id == 199)",
            "size(result.body.filter(s, s.id > 10))",
            "result.body.map(s, s.id)",
            "result.text.matches(\"^x+$\")",
            "\"n = \" + string(size(result.body))",
        ] {
            assert!(evaluate(text, 200).is_ok(), "{text}: {:?}", evaluate(text, 200));
        }
        let whole = evaluate("result.body.all(s, s.status == \"Complete\")", 5000);
        assert_eq!(whole, Ok(json!(true)), "an answer of 256 KiB is read from end to end");
    }

    #[test]
    fn what_grows_faster_than_its_input_is_refused_before_it_starts() {
        for text in [
            "result.body.all(a, result.body.all(b, a.id != b.id || a == b))",
            "result.body.map(a, result.body)",
            "result.body.map(a, result.body.map(b, b.id))",
            "size(result.text.replace(\"x\", result.text))",
        ] {
            let refused = evaluate(text, 5000);
            assert!(matches!(refused, Err(ExpressionError::TooCostly { .. })), "{text}: {:?}", refused.map(|_| ()));
        }
    }
}
