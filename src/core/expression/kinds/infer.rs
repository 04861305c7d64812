//! The walk over an expression that finds its kind.

use std::collections::BTreeMap;

use kube::core::cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr, SelectExpr, operators,
};

use super::{
    Doubt, Field, Fields, Kind,
    functions::{form, names},
    guard::{Guards, text},
};
use crate::core::{
    expression::{collect, cost::functions::qualified},
    suggest::nearest,
};

/// One walk.
pub(super) struct Walk<'a> {
    variables: &'a BTreeMap<String, Kind>,
    /// Variables that a macro binds, innermost last.
    bound: Vec<(String, Kind)>,
    guards: Guards,
    doubts: Vec<Doubt>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(variables: &'a BTreeMap<String, Kind>, local: &[(String, Kind)], guards: Guards) -> Self {
        Self { variables, bound: local.to_vec(), guards, doubts: Vec::new() }
    }

    pub(super) fn into_doubts(self) -> Vec<Doubt> {
        self.doubts
    }

    fn doubt(&mut self, certain: bool, message: String) {
        let doubt = Doubt { certain, absent: false, message };
        if !self.doubts.contains(&doubt) {
            self.doubts.push(doubt);
        }
    }

    pub(super) fn kind(&mut self, node: &IdedExpr) -> Kind {
        match &node.expr {
            Expr::Unspecified | Expr::Struct(_) => Kind::Any,
            Expr::Literal(literal) => of_literal(literal),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => self.select(node, select),
            Expr::Call(call) => self.call(node, call),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(map),
            Expr::Comprehension(c) => self.comprehension(c),
        }
    }

    fn variable(&self, name: &str) -> Kind {
        let bound = self.bound.iter().rev().find(|(n, _)| n == name).map(|(_, kind)| kind);
        bound.or_else(|| self.variables.get(name)).cloned().unwrap_or(Kind::Any)
    }

    fn select(&mut self, node: &IdedExpr, select: &SelectExpr) -> Kind {
        let of = self.kind(&select.operand);
        let field = self.field(node, &select.operand, &of, &select.field, select.test);
        if select.test { Kind::Bool } else { field }
    }

    /// A field of a value; `test` when it is only asked whether it is there.
    fn field(&mut self, node: &IdedExpr, operand: &IdedExpr, of: &Kind, name: &str, test: bool) -> Kind {
        let fields = match of {
            Kind::Any | Kind::Other(_) => return Kind::Any,
            Kind::Map(fields) => fields,
            other => {
                self.doubt(true, format!("`{}` is {} and has no field `{name}`", text(operand), other.name()));
                return Kind::Any;
            }
        };
        match fields.known.get(name) {
            Some(field) if test => field.kind.clone(),
            Some(Field { kind, absence }) => {
                let place = text(node);
                if let Some(absence) = absence
                    && (absence.certain || !self.guards.clear(&place, absence))
                {
                    let message = if absence.certain {
                        format!("`{place}` is never there: {}", absence.why)
                    } else {
                        format!(
                            "`{place}` may be absent, since {}: ask with has({place}) ? … : …, or in the step's when",
                            absence.why
                        )
                    };
                    let doubt = Doubt { certain: absence.certain, absent: true, message };
                    if !self.doubts.contains(&doubt) {
                        self.doubts.push(doubt);
                    }
                }
                kind.clone()
            }
            None if fields.open => Kind::Any,
            None => {
                let mut message = format!("`{}` has no `{name}`", text(operand));
                let all: Vec<&str> = fields.known.keys().map(String::as_str).collect();
                if let Some(near) = nearest(name, all.iter().copied()) {
                    message.push_str(&format!("; did you mean `{near}`?"));
                } else if all.is_empty() {
                    message.push_str("; it has no fields");
                } else if all.len() <= 12 {
                    message.push_str(&format!("; it has {}", all.join(", ")));
                }
                self.doubt(true, message);
                Kind::Any
            }
        }
    }

    fn call(&mut self, node: &IdedExpr, call: &CallExpr) -> Kind {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::CONDITIONAL, [condition, yes, no]) => {
                self.condition(condition, "the condition before `?`");
                let yes = self.assuming(condition, true, yes);
                let no = self.assuming(condition, false, no);
                yes.or(no)
            }
            (name @ (operators::LOGICAL_AND | operators::LOGICAL_OR), [a, b]) => {
                let sign = if name == operators::LOGICAL_AND { "&&" } else { "||" };
                self.condition(a, &format!("what stands before `{sign}`"));
                let right = self.assuming(a, name == operators::LOGICAL_AND, b);
                self.must_be_bool(b, &right, &format!("what stands after `{sign}`"));
                Kind::Bool
            }
            (operators::LOGICAL_NOT, [a]) => {
                self.condition(a, "what stands after `!`");
                Kind::Bool
            }
            (operators::NEGATE, [a]) => self.kind(a),
            (operators::EQUALS | operators::NOT_EQUALS, [a, b]) => {
                let (left, right) = (self.kind(a), self.kind(b));
                if left.differs(&right) {
                    let message = format!(
                        "`{}` is {} and `{}` is {}: they are never equal",
                        text(a),
                        left.name(),
                        shown(b),
                        right.name()
                    );
                    self.doubt(true, message);
                }
                Kind::Bool
            }
            (operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS, [a, b]) => {
                let (left, right) = (self.kind(a), self.kind(b));
                let orderless = |k: &Kind| matches!(k, Kind::List(_) | Kind::Map(_) | Kind::Null);
                if left.differs(&right) || orderless(&left) || orderless(&right) {
                    let message = format!(
                        "`{}` is {} and `{}` is {}: they cannot be compared",
                        shown(a),
                        left.name(),
                        shown(b),
                        right.name()
                    );
                    self.doubt(true, message);
                }
                Kind::Bool
            }
            (operators::IN, [a, b]) => {
                let (item, within) = (self.kind(a), self.kind(b));
                match &within {
                    Kind::List(of) if item.differs(of) => {
                        let message = format!(
                            "`{}` is {} and the list holds {}: it is never in it",
                            shown(a),
                            item.name(),
                            of.name()
                        );
                        self.doubt(true, message);
                    }
                    Kind::Any | Kind::Other(_) | Kind::List(_) | Kind::Map(_) => {}
                    other => self.doubt(
                        true,
                        format!(
                            "`in` needs a list or an object, and `{}` is {}; of text write text.contains(part)",
                            shown(b),
                            other.name()
                        ),
                    ),
                }
                Kind::Bool
            }
            (operators::INDEX, [of, key]) => self.index(node, of, key),
            (
                name @ (operators::ADD
                | operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO),
                [a, b],
            ) => self.arithmetic(name, a, b),
            (operators::OPT_INDEX | operators::OPT_SELECT, args) => {
                args.iter().for_each(|a| drop(self.kind(a)));
                Kind::Any
            }
            (name, args) => self.function(name, call.target.as_deref(), args),
        }
    }

    fn assuming(&mut self, condition: &IdedExpr, truth: bool, node: &IdedExpr) -> Kind {
        let before = self.guards.len();
        self.guards.assume(condition, truth);
        let kind = self.kind(node);
        self.guards.forget(before);
        kind
    }

    fn condition(&mut self, node: &IdedExpr, what: &str) {
        let kind = self.kind(node);
        self.must_be_bool(node, &kind, what);
    }

    fn must_be_bool(&mut self, node: &IdedExpr, kind: &Kind, what: &str) {
        if kind.differs(&Kind::Bool) {
            self.doubt(true, format!("{what} must be true or false, and `{}` is {}", shown(node), kind.name()));
        }
    }

    fn index(&mut self, node: &IdedExpr, of: &IdedExpr, key: &IdedExpr) -> Kind {
        let (within, with) = (self.kind(of), self.kind(key));
        if let Expr::Literal(LiteralValue::String(name)) = &key.expr {
            return match within {
                Kind::List(_) => {
                    self.doubt(true, format!("`{}` is a list: its elements have numbers from 0, not names", shown(of)));
                    Kind::Any
                }
                other => self.field(node, of, &other, name.inner(), false),
            };
        }
        match within {
            Kind::List(kind) if !with.differs(&Kind::Int) => *kind,
            Kind::Any | Kind::Other(_) | Kind::Map(_) => Kind::Any,
            Kind::List(_) => {
                self.doubt(true, format!("`{}` is a list: its elements have numbers from 0", shown(of)));
                Kind::Any
            }
            other => {
                self.doubt(true, format!("`{}` is {} and has no elements", shown(of), other.name()));
                Kind::Any
            }
        }
    }

    fn arithmetic(&mut self, name: &str, a: &IdedExpr, b: &IdedExpr) -> Kind {
        let sign = name.trim_matches('_');
        let (left, right) = (self.kind(a), self.kind(b));
        match (&left, &right) {
            (Kind::Any | Kind::Other(_), _) | (_, Kind::Any | Kind::Other(_)) => Kind::Any,
            (Kind::Int, Kind::Int) => Kind::Int,
            (Kind::Double, Kind::Double) if name != operators::MODULO => Kind::Double,
            (Kind::String, Kind::String) if name == operators::ADD => Kind::String,
            (Kind::List(x), Kind::List(y)) if name == operators::ADD => {
                Kind::List(Box::new(x.as_ref().clone().or(y.as_ref().clone())))
            }
            (x, y) if x.is_number() && y.is_number() && name != operators::MODULO => {
                let certain = *x != Kind::Number && *y != Kind::Number;
                let (does, kind) = if certain { ("does not take", Kind::Any) } else { ("may not take", Kind::Number) };
                let message = format!(
                    "`{sign}` {does} `{}`, {}, together with `{}`, {}: write double(…) around each that may be whole",
                    shown(a),
                    x.name(),
                    shown(b),
                    y.name()
                );
                self.doubt(certain, message);
                kind
            }
            (x, y) => {
                let advice = if *x == Kind::String || *y == Kind::String {
                    ": write string(…) around what is no string"
                } else {
                    ""
                };
                let message = format!(
                    "`{sign}` does not take `{}`, {}, together with `{}`, {}{advice}",
                    shown(a),
                    x.name(),
                    shown(b),
                    y.name()
                );
                self.doubt(true, message);
                Kind::Any
            }
        }
    }

    fn function(&mut self, name: &str, target: Option<&IdedExpr>, args: &[IdedExpr]) -> Kind {
        let library = match target.map(|t| &t.expr) {
            Some(Expr::Ident(library)) if qualified(library, name) => Some(format!("{library}.{name}")),
            _ => None,
        };
        let on = if library.is_some() { None } else { target };
        let kinds: Vec<(&IdedExpr, Kind)> = on.into_iter().chain(args).map(|a| (a, self.kind(a))).collect();
        let name = library.as_deref().unwrap_or(name);
        if name.starts_with('@') {
            return Kind::Any;
        }
        let Some((takes, gives)) = form(name) else {
            let mut message = format!("there is no function `{name}`");
            if let Some(near) = nearest(name, names()) {
                message.push_str(&format!("; did you mean `{near}`?"));
            }
            self.doubt(true, message);
            return Kind::Any;
        };
        let Some((node, first)) = kinds.first() else { return gives.kind(&Kind::Any) };
        if !takes.accepts(first) {
            let message = format!("{name} works on {}, and `{}` is {}", takes.name(), shown(node), first.name());
            self.doubt(true, message);
        }
        gives.kind(first)
    }

    fn list(&mut self, list: &ListExpr) -> Kind {
        let mut all = list.elements.iter().map(|e| self.kind(e)).collect::<Vec<_>>().into_iter();
        let first = all.next().unwrap_or(Kind::Any);
        Kind::List(Box::new(all.fold(first, Kind::or)))
    }

    fn map(&mut self, map: &MapExpr) -> Kind {
        let mut fields = Fields::default();
        for entry in &map.entries {
            let EntryExpr::MapEntry(pair) = &entry.expr else { continue };
            let kind = self.kind(&pair.value);
            match &pair.key.expr {
                Expr::Literal(LiteralValue::String(name)) if !pair.optional => {
                    fields.known.insert(name.inner().to_owned(), Field { kind, absence: None });
                }
                _ => fields.open = true,
            }
        }
        Kind::Map(fields)
    }

    /// `map`, `filter`, `all`, `exists`, `exists_one`, as the parser spells them out.
    fn comprehension(&mut self, c: &ComprehensionExpr) -> Kind {
        let item = match self.kind(&c.iter_range) {
            Kind::List(of) => *of,
            Kind::Map(_) => Kind::String,
            Kind::Any | Kind::Other(_) => Kind::Any,
            other => {
                let message = format!(
                    "map, filter, all and exists go over a list or an object, and `{}` is {}",
                    shown(&c.iter_range),
                    other.name()
                );
                self.doubt(true, message);
                Kind::Any
            }
        };
        let start = self.kind(&c.accu_init);
        let before = self.bound.len();
        self.bound.push((c.iter_var.clone(), item));
        if let Some(second) = &c.iter_var2 {
            self.bound.push((second.clone(), Kind::Any));
        }
        let kind = if let Some((condition, element)) = collect::added(c) {
            self.condition(&condition, "the condition of filter");
            Kind::List(Box::new(self.assuming(&condition, true, &element)))
        } else {
            self.bound.push((c.accu_var.clone(), start.clone()));
            self.kind(&c.loop_step);
            match start {
                Kind::Bool | Kind::Int => Kind::Bool,
                _ => Kind::Any,
            }
        };
        self.bound.truncate(before);
        kind
    }
}

fn of_literal(literal: &LiteralValue) -> Kind {
    match literal {
        LiteralValue::Boolean(_) => Kind::Bool,
        LiteralValue::Bytes(_) => Kind::Other("bytes"),
        LiteralValue::Double(_) => Kind::Double,
        LiteralValue::Int(_) => Kind::Int,
        LiteralValue::Null => Kind::Null,
        LiteralValue::String(_) => Kind::String,
        LiteralValue::UInt(_) => Kind::Other("an unsigned number"),
    }
}

/// A part of an expression for people: short, and readable where it is a name or a literal.
fn shown(node: &IdedExpr) -> String {
    match &node.expr {
        Expr::Literal(LiteralValue::String(s)) => format!("{:?}", s.inner()),
        Expr::Literal(LiteralValue::Int(i)) => i.inner().to_string(),
        Expr::Literal(LiteralValue::Double(d)) => format!("{:?}", d.inner()),
        Expr::Literal(LiteralValue::Boolean(b)) => b.inner().to_string(),
        Expr::Literal(LiteralValue::Null) => "null".to_owned(),
        Expr::Ident(_) | Expr::Select(_) => text(node),
        Expr::Call(call) if call.func_name == operators::INDEX => text(node),
        Expr::Call(call) if call.func_name.starts_with(char::is_alphabetic) => format!("{}(…)", call.func_name),
        _ => "(…)".to_owned(),
    }
}
