//! The functions that expressions can call: what they take and give.

use super::Kind;

/// What a function is called on, or its first argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Takes {
    /// Anything that is not looked at here.
    Any,
    /// Text.
    Text,
    /// A list.
    List,
    /// Text or a list.
    TextOrList,
    /// Text, a list or an object.
    Sized,
    /// A number.
    Number,
}

impl Takes {
    pub(super) fn accepts(self, kind: &Kind) -> bool {
        let any = matches!(kind, Kind::Any | Kind::Other(_));
        any || match self {
            Self::Any => true,
            Self::Text => *kind == Kind::String,
            Self::List => matches!(kind, Kind::List(_)),
            Self::TextOrList => matches!(kind, Kind::String | Kind::List(_)),
            Self::Sized => matches!(kind, Kind::String | Kind::List(_) | Kind::Map(_)),
            Self::Number => kind.is_number(),
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::Text => "a string",
            Self::List => "a list",
            Self::TextOrList => "a string or a list",
            Self::Sized => "a string, a list or an object",
            Self::Number => "a number",
        }
    }
}

/// What a function gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Gives {
    /// It cannot be told.
    Any,
    /// true or false
    Bool,
    /// A whole number.
    Int,
    /// A number with a fraction.
    Double,
    /// A number.
    Number,
    /// Text.
    Text,
    /// A list of texts.
    Texts,
    /// A list of whole numbers.
    Ints,
    /// What it takes.
    Same,
    /// A value of the engine's own.
    Other(&'static str),
}

impl Gives {
    pub(super) fn kind(self, first: &Kind) -> Kind {
        match self {
            Self::Any => Kind::Any,
            Self::Bool => Kind::Bool,
            Self::Int => Kind::Int,
            Self::Double => Kind::Double,
            Self::Number => Kind::Number,
            Self::Text => Kind::String,
            Self::Texts => Kind::List(Box::new(Kind::String)),
            Self::Ints => Kind::List(Box::new(Kind::Int)),
            Self::Same => first.clone(),
            Self::Other(name) => Kind::Other(name),
        }
    }
}

/// A group of functions of the same form.
type Group = (Takes, Gives, &'static [&'static str]);

/// All functions of the engine; those of a library with its name before them.
const ALL: [Group; 26] = [
    (Takes::Sized, Gives::Int, &["size"]),
    (Takes::Text, Gives::Bool, &["contains", "startsWith", "endsWith", "matches"]),
    (Takes::Text, Gives::Text, &["lowerAscii", "upperAscii", "trim", "replace", "substring", "charAt", "find"]),
    (Takes::Text, Gives::Texts, &["split", "findAll"]),
    (Takes::Text, Gives::Text, &["format"]),
    (Takes::TextOrList, Gives::Int, &["indexOf", "lastIndexOf"]),
    (Takes::TextOrList, Gives::Same, &["reverse"]),
    (Takes::List, Gives::Text, &["join"]),
    (Takes::List, Gives::Bool, &["isSorted"]),
    (Takes::List, Gives::Same, &["sort", "distinct", "slice"]),
    (Takes::List, Gives::Any, &["sum", "flatten", "first", "last"]),
    (Takes::Any, Gives::Text, &["string", "strings.quote", "jsonpatch.escapeKey", "base64.encode"]),
    (Takes::Any, Gives::Int, &["int"]),
    (Takes::Any, Gives::Double, &["double"]),
    (Takes::Any, Gives::Any, &["min", "max", "value", "or", "orValue", "optional.none", "optional.of"]),
    (Takes::Any, Gives::Any, &["optional.ofNonZeroValue", "uint", "add", "sub", "validate"]),
    (Takes::Any, Gives::Bool, &["hasValue", "isQuantity", "isInteger", "isURL", "isIP", "isCIDR", "isSemver"]),
    (Takes::Any, Gives::Bool, &["isGreaterThan", "isLessThan", "containsIP", "containsCIDR", "ip.isCanonical"]),
    (Takes::Any, Gives::Bool, &["isLoopback", "isUnspecified", "isLinkLocalMulticast", "isLinkLocalUnicast"]),
    (Takes::Any, Gives::Bool, &["isGlobalUnicast", "sets.contains", "sets.equivalent", "sets.intersects"]),
    (
        Takes::Any,
        Gives::Int,
        &[
            "compareTo",
            "asInteger",
            "sign",
            "major",
            "minor",
            "patch",
            "family",
            "prefixLength",
            "getFullYear",
            "getMonth",
            "getDayOfYear",
            "getDayOfMonth",
            "getDate",
            "getDayOfWeek",
            "getHours",
            "getMinutes",
            "getSeconds",
            "getMilliseconds",
        ],
    ),
    (Takes::Any, Gives::Ints, &["lists.range"]),
    (
        Takes::Any,
        Gives::Other("a value that only its functions can read"),
        &["duration", "timestamp", "quantity", "url", "ip", "cidr", "semver", "masked", "bytes", "base64.decode"],
    ),
    (Takes::Any, Gives::Text, &["getScheme", "getHost", "getHostname", "getPort", "getEscapedPath"]),
    (Takes::Any, Gives::Any, &["getQuery", "asApproximateFloat", "isIPv4", "isIPv6", "isCIDRv4", "isCIDRv6"]),
    (
        Takes::Number,
        Gives::Number,
        &[
            "math.ceil",
            "math.floor",
            "math.round",
            "math.trunc",
            "math.abs",
            "math.sign",
            "math.sqrt",
            "math.bitAnd",
            "math.bitOr",
            "math.bitXor",
            "math.bitNot",
            "math.bitShiftLeft",
            "math.bitShiftRight",
        ],
    ),
];

/// The form of a function; `None` when the engine has none of that name.
pub(super) fn form(name: &str) -> Option<(Takes, Gives)> {
    if matches!(name, "math.greatest" | "math.least") {
        return Some((Takes::Any, Gives::Number));
    }
    if matches!(name, "math.isInf" | "math.isNaN" | "math.isFinite") {
        return Some((Takes::Number, Gives::Bool));
    }
    if name.starts_with("format.") {
        return Some((Takes::Any, Gives::Any));
    }
    ALL.iter().find(|(_, _, names)| names.contains(&name)).map(|(takes, gives, _)| (*takes, *gives))
}

/// All names without a library: what a misspelt one may have meant.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().flat_map(|(_, _, names)| names.iter().copied())
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use kube::core::cel::{
        KubeCelExt,
        cel::{Context, ExecutionError, Program},
    };

    use super::*;

    #[test]
    fn every_function_of_the_table_is_one_of_the_engine() {
        let context = Context::default().with_all();
        for name in names() {
            for text in [format!("{name}()"), format!("{name}('a')"), format!("'a'.{name}('b')")] {
                let result = catch_unwind(AssertUnwindSafe(|| Program::compile(&text).unwrap().execute(&context)));
                if let Ok(Err(ExecutionError::UndeclaredReference(what))) = result {
                    assert_ne!(*what, name, "{text}");
                }
            }
        }
        assert!(names().count() > 100);
        assert_eq!(form("sizeOf"), None);
    }
}
