//! What kind of value does an expression give, as far as its text and the declared kinds tell? For people who write
//! workflows: nothing that runs depends on it, and what cannot be told is let through.

mod functions;
mod guard;
mod infer;
mod read;

use std::collections::BTreeMap;

use super::Expression;
use guard::Guards;
use infer::Walk;

/// A kind of value.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// It cannot be told.
    Any,
    /// null
    Null,
    /// true or false
    Bool,
    /// A whole number.
    Int,
    /// A number with a fraction.
    Double,
    /// A number, whole or not: which one is known only when the value is there.
    Number,
    /// Text.
    String,
    /// A list of values of one kind.
    List(Box<Kind>),
    /// An object.
    Map(Fields),
    /// A value of the engine's own, such as a duration, by its name.
    Other(&'static str),
}

/// The fields of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields {
    /// Those that are known.
    pub known: BTreeMap<String, Field>,
    /// There may be others.
    pub open: bool,
}

/// One field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// What it holds.
    pub kind: Kind,
    /// Set where it may be absent.
    pub absence: Option<Absence>,
}

/// Why a field may be absent, and what shows that it is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Absence {
    /// Why, for people: "the run need not give it".
    pub why: String,
    /// It is surely absent.
    pub certain: bool,
    /// It is there where this holds.
    pub present_if: Option<Expression>,
    /// An expression that asks for this place knows what it does: `steps.x.phase`.
    pub asked_by: Option<String>,
}

impl Kind {
    /// An object of any fields.
    #[must_use]
    pub const fn object() -> Self {
        Self::Map(Fields { known: BTreeMap::new(), open: true })
    }

    /// In the words of a user.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Int => "a whole number",
            Self::Double => "a number with a fraction",
            Self::Number => "a number",
            Self::String => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
            Self::Other(name) => name,
        }
    }

    /// Whether it is a number of some kind.
    #[must_use]
    pub const fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Double | Self::Number)
    }

    /// Whether no value can be of both kinds, or equal across them.
    #[must_use]
    pub fn differs(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any | Self::Other(_), _) | (_, Self::Any | Self::Other(_)) => false,
            (a, b) if a.is_number() && b.is_number() => false,
            (Self::List(a), Self::List(b)) => a.differs(b),
            (Self::Map(_), Self::Map(_)) => false,
            (a, b) => a != b,
        }
    }

    /// What a value is that is of one kind or the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (a, b) if a.is_number() && b.is_number() => Self::Number,
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.or(*b))),
            (Self::Map(a), Self::Map(b)) => Self::Map(a.or(b)),
            _ => Self::Any,
        }
    }
}

impl Fields {
    /// Fields that are always there.
    #[must_use]
    pub fn of(known: impl IntoIterator<Item = (String, Kind)>) -> Self {
        let known = known.into_iter().map(|(name, kind)| (name, Field { kind, absence: None })).collect();
        Self { known, open: false }
    }

    fn or(self, mut other: Self) -> Self {
        let mut known = BTreeMap::new();
        let sometimes = |mut field: Field, open: bool| {
            if field.absence.is_none() && !open {
                let why = "the other branch of the condition does not give it".to_owned();
                field.absence = Some(Absence { why, certain: false, present_if: None, asked_by: None });
            }
            field
        };
        for (name, field) in self.known {
            let both = match other.known.remove(&name) {
                Some(more) => Field { kind: field.kind.or(more.kind), absence: field.absence.or(more.absence) },
                None if other.open => Field { kind: Kind::Any, absence: field.absence },
                None => sometimes(field, self.open),
            };
            known.insert(name, both);
        }
        for (name, field) in other.known {
            let kind = if self.open { Kind::Any } else { field.kind.clone() };
            known.insert(name, sometimes(Field { kind, ..field }, self.open));
        }
        Self { known, open: self.open || other.open }
    }
}

/// Something about an expression that will fail, or may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// It fails whenever this part is evaluated.
    pub certain: bool,
    /// It is about a value that may be absent.
    pub absent: bool,
    /// What is wrong and what to do.
    pub message: String,
}

/// The kind of an expression's value, and what is wrong in it. `variables` are the kinds of the variables, `local` of those
/// that are there besides; `given` are expressions that are known to be true when it is evaluated.
#[must_use]
pub fn infer(
    expression: &Expression,
    variables: &BTreeMap<String, Kind>,
    local: &[(String, Kind)],
    given: &[&Expression],
) -> (Kind, Vec<Doubt>) {
    let mut guards = Guards::default();
    for condition in given {
        guards.assume(&condition.written(), true);
    }
    let mut walk = Walk::new(variables, local, guards);
    let kind = walk.kind(&expression.written());
    (kind, walk.into_doubts())
}

/// The steps whose outputs an expression reads: step and output; an output of `None` is all of them.
#[must_use]
pub fn outputs_read(expression: &Expression) -> Vec<(String, Option<String>)> {
    read::outputs_read(&expression.written())
}
