//! A bound on what an expression can take, before it is evaluated: the engine has none, and tenants write expressions.
//!
//! The bound follows the engine as it is, above all where it copies: selecting a field copies its value, calling a
//! function copies what it takes and gives. It starts from the actual values, so that small data allows what large data
//! does not.

pub(super) mod functions;
mod pattern;
mod size;

#[cfg(test)]
mod tests;

use kube::core::cel::cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue};

use self::size::{Amount, Shape, Size};
use super::{Variables, collect::COLLECT};

/// Steps that an evaluation may take: about 50 ns each, so a second at most.
pub(super) const MAX_STEPS: u64 = 20_000_000;
/// Memory of one value that an evaluation makes (bytes).
const MAX_MEMORY: u64 = 8 << 20;
/// Memory of all values that an evaluation holds at once (bytes).
const MAX_HELD: u64 = 2 * MAX_MEMORY;
/// Levels of lists and maps in a value: readers of JSON stop at 128.
const MAX_DEPTH: u64 = 100;

/// The steps that the expression may take for these values.
///
/// # Errors
/// The bound that may not hold, without any value.
pub(super) fn steps(expr: &IdedExpr, variables: &Variables) -> Result<u64, String> {
    estimate(expr, variables).map(|(_, steps)| steps)
}

/// The largest size that the value may have, and the steps to it.
fn estimate(expr: &IdedExpr, variables: &Variables) -> Result<(Size, u64), String> {
    let mut walk = Walk { variables, bound: Vec::new(), count: 1, steps: 0, held: 0 };
    let value = walk.node(expr)?.size;
    // from the engine's values over its other kind to JSON
    walk.charge(value.copy().by(4))?;
    Ok((value, walk.steps))
}

struct Walk<'a> {
    variables: &'a Variables,
    /// Variables of loops, innermost last, with how unevenly they are visited.
    bound: Vec<(&'a str, Shape<'a>, u64)>,
    /// How often the node at hand is evaluated.
    count: u64,
    steps: u64,
    /// Memory of the values that wait for the node at hand.
    held: u64,
}

/// What a loop puts back when it ends.
struct Outer {
    count: u64,
    factors: Vec<u64>,
    /// Elements that it visits.
    times: Amount,
}

impl<'a> Walk<'a> {
    fn node(&mut self, node: &'a IdedExpr) -> Result<Shape<'a>, String> {
        self.charge(Amount::new(2))?;
        let held = self.held;
        let shape = match &node.expr {
            Expr::Literal(literal) => literal_shape(literal),
            Expr::Ident(name) => return self.variable(name), // borrowed: no copy
            Expr::Select(select) => {
                let operand = self.hold(&select.operand)?;
                if select.test {
                    Shape::of(Size { whole: 0, ..Size::SCALAR })
                } else {
                    let value = self.looked(|seen| operand.member(&select.field, seen))?;
                    self.charge(value.size.copy())?;
                    value
                }
            }
            Expr::Call(call) => self.call(call)?,
            Expr::List(list) => self.list(&list.elements)?,
            Expr::Map(map) => {
                let mut sum = Size { nodes: Amount::new(1), depth: 1, ..Size::default() };
                for entry in &map.entries {
                    let EntryExpr::MapEntry(pair) = &entry.expr else { return Err(unknown("such an entry")) };
                    for part in [&pair.key, &pair.value] {
                        let part = self.hold(part)?.size;
                        self.charge(part.copy())?;
                        sum = gather(sum, part);
                    }
                }
                let len = Amount::new(map.entries.len() as u64);
                Shape::of(Size { len, ..sum })
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension)?,
            Expr::Struct(_) | Expr::Unspecified => return Err(unknown("a message such as `Type{field: value}`")),
        };
        self.held = held;
        self.fits(&shape.size)?;
        Ok(shape)
    }

    /// A node whose value is kept while its siblings are evaluated.
    fn hold(&mut self, node: &'a IdedExpr) -> Result<Shape<'a>, String> {
        let shape = self.node(node)?;
        if !matches!(node.expr, Expr::Ident(_)) {
            self.held = self.held.saturating_add(shape.size.memory());
        }
        Ok(shape)
    }

    fn variable(&mut self, name: &'a str) -> Result<Shape<'a>, String> {
        if let Some((_, shape, factor)) = self.bound.iter().rev().find(|(bound, ..)| *bound == name) {
            return Ok(shape.uneven(*factor));
        }
        let value = self.variables.get(name);
        self.looked(|seen| Shape::variable(value, seen))
    }

    fn list(&mut self, elements: &'a [IdedExpr]) -> Result<Shape<'a>, String> {
        let mut sum = Size { nodes: Amount::new(1), depth: 1, ..Size::default() };
        let mut each: Option<Shape<'a>> = None;
        for element in elements {
            let element = self.hold(element)?;
            self.charge(element.size.copy())?;
            sum = gather(sum, element.size);
            each = Some(each.map_or_else(|| element.clone(), |e| e.mix(&element)));
        }
        let len = Amount::new(elements.len() as u64);
        let mut list = Shape::list(len, each.unwrap_or_default(), self.count);
        list.size = Size { len, ..sum };
        Ok(list)
    }

    fn call(&mut self, call: &'a CallExpr) -> Result<Shape<'a>, String> {
        let truth = || Shape::of(Size { whole: 0, ..Size::SCALAR });
        match (call.func_name.as_str(), call.args.as_slice()) {
            ("_?_:_", [condition, yes, no]) => {
                self.node(condition)?;
                let (yes, no) = (self.node(yes)?, self.node(no)?);
                return Ok(yes.either(&no));
            }
            ("_||_" | "_&&_" | "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" | "@in", [left, right]) => {
                let (left, right) = (self.hold(left)?, self.hold(right)?);
                // a list is searched element by element, each comparison as long as the element at most
                self.charge(left.size.copy().plus(right.size.copy()))?;
                return Ok(truth());
            }
            ("!_" | "@not_strictly_false", [operand]) => {
                self.node(operand)?;
                return Ok(truth());
            }
            ("_[_]" | "_[?_]", [operand, index]) => {
                let operand = self.hold(operand)?;
                let key = self.hold(index)?;
                self.charge(key.size.copy())?;
                return match (&index.expr, &key.text) {
                    (_, Some(key)) => self.looked(|seen| operand.member(key, seen)),
                    (Expr::Literal(LiteralValue::Int(i)), _) => {
                        let index = usize::try_from(*i.inner()).ok();
                        self.looked(|seen| operand.element(index, seen))
                    }
                    _ => self.looked(|seen| operand.element(None, seen)),
                };
            }
            ("_+_" | "_-_" | "_*_" | "_/_" | "_%_", [left, right]) => {
                let (left, right) = (self.hold(left)?, self.hold(right)?);
                let mut sum = self.looked(|seen| left.sum(&right, seen))?;
                if call.func_name == "_*_" {
                    sum.size.whole = left.size.whole.saturating_mul(right.size.whole);
                }
                self.charge(sum.size.copy())?;
                return Ok(sum);
            }
            ("-_", [operand]) => return self.node(operand),
            (COLLECT, [IdedExpr { expr: Expr::Ident(name), .. }, condition, element]) => {
                return self.collect(call.target.as_deref(), name, condition, element);
            }
            _ => {}
        }
        let mut inputs = Vec::with_capacity(call.args.len() + 1);
        let mut name = call.func_name.clone();
        let library = call.target.as_deref().and_then(|target| match &target.expr {
            Expr::Ident(library) if functions::qualified(library, &name) => Some(library),
            _ => None,
        });
        match (library, call.target.as_deref()) {
            (Some(library), _) => name = format!("{library}.{name}"),
            (None, Some(target)) => inputs.push(self.hold(target)?),
            (None, None) => {}
        }
        let twice = call.target.is_none() && functions::evaluates_twice(&name);
        for (at, arg) in call.args.iter().enumerate() {
            let count = self.count;
            if twice && at == 0 {
                self.count = count.saturating_mul(2);
            }
            inputs.push(self.hold(arg)?);
            self.count = count;
        }
        let mut steps = Amount::default();
        let result = self.looked(|seen| {
            let (result, taken) = functions::call(&name, &inputs, seen);
            steps = taken;
            result
        })?;
        self.charge(steps.plus(result.size.copy().by(4)))?;
        Ok(result)
    }

    /// `map` and `filter`.
    fn collect(
        &mut self,
        range: Option<&'a IdedExpr>,
        name: &'a str,
        condition: &'a IdedExpr,
        element: &'a IdedExpr,
    ) -> Result<Shape<'a>, String> {
        let range = range.map_or_else(|| Ok(Shape::default()), |range| self.hold(range))?;
        let outer = self.enter(name, &range)?;
        self.node(condition)?;
        let element = self.node(element)?;
        // to the engine's other kind of values
        self.charge(element.size.copy())?;
        let list = Shape::list(outer.times, element, outer.count);
        self.leave(outer, 1);
        // and back: twice with what is dropped
        self.charge(list.size.copy().plus(range.size.copy()).by(2))?;
        self.held = self.held.saturating_add(list.size.memory());
        Ok(list)
    }

    /// `all`, `exists` and `exists_one`: what they carry from one element to the next stays one truth value or number.
    fn comprehension(&mut self, c: &'a ComprehensionExpr) -> Result<Shape<'a>, String> {
        let init = self.hold(&c.accu_init)?;
        let range = self.hold(&c.iter_range)?;
        let outer = self.enter(&c.iter_var, &range)?;
        if let Some(second) = &c.iter_var2 {
            self.bound.push((second, range.part().uneven(u64::MAX), 1));
        }
        self.bound.push((&c.accu_var, Shape::of(Size { whole: u64::MAX, ..init.size }), 1));
        self.node(&c.loop_cond)?;
        let step = self.node(&c.loop_step)?;
        if [init.size, step.size].iter().any(|s| s.nodes.most > 1 || s.bytes.most > 0) {
            return Err(unknown("a loop that builds a value in another way than `map` and `filter`"));
        }
        let value = self.node(&c.result)?;
        self.leave(outer, 2 + usize::from(c.iter_var2.is_some()));
        Ok(value)
    }

    /// Into a loop over a value.
    fn enter(&mut self, name: &'a str, range: &Shape<'a>) -> Result<Outer, String> {
        let item = self.looked(|seen| range.each(seen))?;
        let times = Amount { mean: range.size.len.mean.max(1), most: range.size.len.most.max(1) };
        let factors = self.bound.iter().map(|(.., factor)| *factor).collect();
        let uneven = times.most.div_ceil(times.mean);
        for (.., factor) in &mut self.bound {
            *factor = factor.saturating_mul(uneven);
        }
        let outer = Outer { count: self.count, factors, times };
        self.count = self.count.saturating_mul(times.mean);
        // two variables set by name, the condition, the element copied
        self.charge(item.size.copy().by(2).add(12))?;
        self.held = self.held.saturating_add(item.size.memory());
        self.bound.push((name, item, 1));
        Ok(outer)
    }

    /// Out of it, and its variables with it.
    fn leave(&mut self, outer: Outer, variables: usize) {
        self.bound.truncate(self.bound.len() - variables);
        for ((.., factor), before) in self.bound.iter_mut().zip(outer.factors) {
            *factor = before;
        }
        self.count = outer.count;
    }

    /// Runs something that looks at actual values; looking is a few times cheaper than evaluating.
    fn looked<T>(&mut self, look: impl FnOnce(&mut u64) -> T) -> Result<T, String> {
        let mut seen = 0;
        let found = look(&mut seen);
        self.steps = self.steps.saturating_add(seen / 8);
        self.charge(Amount::default())?;
        Ok(found)
    }

    fn charge(&mut self, steps: Amount) -> Result<(), String> {
        self.steps = self.steps.saturating_add(self.count.saturating_mul(steps.mean));
        if self.steps <= MAX_STEPS {
            return Ok(());
        }
        Err(format!("it could take more than {} million steps", MAX_STEPS / 1_000_000))
    }

    fn fits(&self, size: &Size) -> Result<(), String> {
        if size.depth > MAX_DEPTH {
            return Err(format!("it could nest lists and maps more than {MAX_DEPTH} levels deep"));
        }
        if size.memory() > MAX_MEMORY {
            return Err(format!("a value in it could need more than {} MiB of memory", MAX_MEMORY >> 20));
        }
        if self.held.saturating_add(size.memory()) > MAX_HELD {
            return Err(format!("its values could need more than {} MiB of memory together", MAX_HELD >> 20));
        }
        Ok(())
    }
}

fn unknown(what: &str) -> String {
    format!("what {what} takes is not known")
}

fn gather(sum: Size, part: Size) -> Size {
    Size {
        len: sum.len,
        bytes: sum.bytes.plus(part.bytes),
        nodes: sum.nodes.plus(part.nodes),
        depth: sum.depth.max(part.depth.saturating_add(1)),
        whole: sum.whole.max(part.whole),
    }
}

fn literal_shape<'a>(literal: &LiteralValue) -> Shape<'a> {
    let whole = |whole: u64| Shape::of(Size { whole, ..Size::SCALAR });
    match literal {
        LiteralValue::String(s) => Shape::known(s.inner()),
        LiteralValue::Bytes(b) => Shape::of(Size::text(Amount::new(b.inner().len() as u64))),
        LiteralValue::Int(i) => whole(i.inner().unsigned_abs()),
        LiteralValue::UInt(u) => whole(*u.inner()),
        // truncated when it becomes a whole number; the cast saturates
        LiteralValue::Double(d) => whole(d.inner().abs().ceil() as u64),
        LiteralValue::Boolean(_) | LiteralValue::Null => whole(0),
    }
}
