//! Every function that an expression can call: how large its value is, and how many steps it takes.

use super::{
    pattern::Pattern,
    size::{Amount, Shape, Size},
};

/// Functions that are called with their library's name: `math.abs(x)`. The engine takes `name.function` for such a one
/// before it looks for a variable of that name.
const QUALIFIED: [(&str, &[&str]); 9] = [
    (
        "math",
        &[
            "ceil",
            "floor",
            "round",
            "trunc",
            "abs",
            "sign",
            "isInf",
            "isNaN",
            "isFinite",
            "bitAnd",
            "bitOr",
            "bitXor",
            "bitNot",
            "bitShiftLeft",
            "bitShiftRight",
            "sqrt",
            "greatest",
            "least",
        ],
    ),
    ("sets", &["contains", "equivalent", "intersects"]),
    ("lists", &["range"]),
    ("strings", &["quote"]),
    ("base64", &["decode", "encode"]),
    ("jsonpatch", &["escapeKey"]),
    ("ip", &["isCanonical"]),
    ("optional", &["none", "of", "ofNonZeroValue"]),
    (
        "format",
        &[
            "dns1123Label",
            "dns1123Subdomain",
            "dns1035Label",
            "dns1035LabelPrefix",
            "dns1123LabelPrefix",
            "dns1123SubdomainPrefix",
            "qualifiedName",
            "labelValue",
            "uri",
            "uuid",
            "byte",
            "date",
            "datetime",
            "named",
        ],
    ),
];

/// Whether `library.name` is a function rather than a method of a variable.
pub(in crate::core::expression) fn qualified(library: &str, name: &str) -> bool {
    QUALIFIED.iter().any(|(l, names)| *l == library && names.contains(&name))
}

/// Functions whose first argument is evaluated twice when they are not called as a method: `min(min(min(x)))` takes
/// time exponential in its length.
pub(super) fn evaluates_twice(name: &str) -> bool {
    matches!(
        name,
        "min"
            | "max"
            | "indexOf"
            | "lastIndexOf"
            | "replace"
            | "split"
            | "substring"
            | "join"
            | "flatten"
            | "findAll"
            | "semver"
            | "isSemver"
            | "ip"
            | "add"
            | "sub"
            | "isGreaterThan"
            | "isLessThan"
            | "compareTo"
    )
}

/// The value of a function and its steps, given what it is called on and with, in this order. `name` has its library's
/// name before it where it has one. `seen` counts the actual values looked at.
pub(super) fn call<'a>(name: &str, inputs: &[Shape<'a>], seen: &mut u64) -> (Shape<'a>, Amount) {
    let none = Shape::default();
    let this = inputs.first().unwrap_or(&none);
    let second = inputs.get(1).unwrap_or(&none);
    let all = inputs.iter().fold(Size::default(), |sum, s| Size {
        len: sum.len.plus(s.size.len),
        bytes: sum.bytes.plus(s.size.bytes),
        nodes: sum.nodes.plus(s.size.nodes),
        depth: sum.depth.max(s.size.depth),
        whole: sum.whole.max(s.size.whole),
    });
    // converting arguments between the engine's two kinds of values, and one pass over them
    let linear = all.nodes.by(4).plus(all.bytes).add(8);
    let Size { len, bytes, nodes, .. } = this.size;
    let text = |bytes: Amount| Shape::of(Size::text(bytes));
    let number = |whole: u64| Shape::of(Size { whole, ..Size::SCALAR });

    match name {
        "size" | "indexOf" | "lastIndexOf" => {
            let search = if name == "size" { Amount::default() } else { bytes.times(second.size.bytes).per(64) };
            (number(len.most.max(bytes.most)), linear.plus(search))
        }
        // of a text the number is unknown
        "int" | "uint" | "math.greatest" | "math.least" | "math.abs" if all.bytes.most == 0 => {
            (number(all.whole), linear)
        }
        "string" => (text(bytes.by(3).add(64)), linear),
        "bytes" | "trim" | "lowerAscii" | "upperAscii" | "substring" | "base64.decode" => (text(bytes), linear),
        "strings.quote" | "jsonpatch.escapeKey" | "base64.encode" => (text(bytes.by(2).add(4)), linear),
        "charAt" => (text(Amount::new(4)), linear),
        "url" | "getScheme" | "getHost" | "getHostname" | "getPort" | "getEscapedPath" => {
            // percent-encoding, and one character of a host name can stand for eighteen
            (text(bytes.by(12).add(64)), linear.by(2))
        }
        "getQuery" => {
            let pieces = bytes.by(3).add(4);
            (
                Shape::of(Size { len: bytes.add(1), nodes: pieces, depth: 2, ..Size::text(bytes) }),
                linear.plus(pieces.by(3)),
            )
        }
        "validate" => {
            // an error text for each label of a name, and a name can be all dots
            let problems = second.size.bytes.by(2).add(6);
            let value = Size { len: problems, nodes: problems.add(1), depth: 1, ..Size::text(problems.by(80)) };
            (Shape::of(value), linear.plus(problems.by(10)))
        }
        "replace" => {
            let found = this.occurrences(second, seen);
            let with = inputs.get(2).map_or(Amount::default(), |s| s.size.bytes);
            let result = bytes.plus(found.times(with));
            (text(result), linear.plus(result))
        }
        "split" => {
            let parts = this.occurrences(second, seen).add(1);
            let value = Size { len: parts, nodes: parts.add(1), depth: 1, ..Size::text(bytes) };
            (Shape::of(value), linear.plus(parts.by(6)))
        }
        "join" => {
            // what is not text is put in by its debug form, with every character escaped
            let plain = this.size.depth <= 1 && this.each(seen).is_json();
            let result = bytes.by(if plain { 1 } else { 8 }).plus(nodes.by(80)).plus(len.times(second.size.bytes));
            (text(result), linear.plus(result))
        }
        "format" => {
            let result = formatted(this, second);
            (text(result), linear.plus(result).plus(second.size.bytes.by(2)))
        }
        "matches" | "find" | "findAll" => {
            let pattern = Pattern::of(second.text.as_deref());
            let once = bytes.add(1).by(pattern.each_byte()).add(pattern.compile);
            match name {
                "matches" => (number(0), linear.plus(once)),
                "find" => (text(bytes), linear.plus(once)),
                // each search may look at all of the rest
                _ => {
                    let again = bytes.times(bytes).by(pattern.live / 8 + 1).per(32);
                    let found = bytes.add(2);
                    let value = Size { len: found, nodes: found, depth: 1, ..Size::text(bytes) };
                    (Shape::of(value), linear.plus(once).plus(again).plus(found.by(6)))
                }
            }
        }
        "lists.range" => {
            let count = Amount::new(if all.bytes.most == 0 { all.whole } else { u64::MAX });
            (Shape::list(count, number(all.whole), u64::MAX), linear.plus(count.by(3)))
        }
        "flatten" => (Shape::of(Size { len: nodes, ..this.size }), linear.plus(nodes.by(this.size.depth))),
        "sum" => {
            let whole = len.most.saturating_mul(this.size.whole);
            // texts and lists are copied anew at each addition
            let numbers = this.size.depth == 1 && bytes.most == 0;
            let copies = if numbers { Amount::default() } else { len.times(this.size.copy()) };
            (Shape::of(Size { whole, ..this.part().size }), linear.plus(copies))
        }
        "sort" => (this.subset(seen), linear.by(u64::from(len.most.max(2).ilog2()) + 1)),
        "reverse" if this.size.depth == 0 => (text(bytes), linear),
        "reverse" | "slice" => (this.subset(seen), linear.by(2)),
        "distinct" => (this.subset(seen), linear.by(2).plus(len.times(this.size.copy()))),
        "sets.contains" | "sets.equivalent" | "sets.intersects" => {
            let pairs = len.times(second.size.copy()).plus(second.size.len.times(this.size.copy()));
            (number(0), linear.plus(pairs))
        }
        "first" | "last" => (this.element(None, seen), linear),
        "or" | "orValue" => (this.either(second), linear),
        "value" | "optional.of" | "optional.ofNonZeroValue" => (this.clone(), linear),
        // bytes are searched without skipping
        "contains" => (number(0), linear.plus(bytes.times(second.size.bytes).per(512))),
        "startsWith" | "endsWith" | "hasValue" | "double" | "timestamp" | "duration" | "cidr" | "ip" | "masked"
        | "containsIP" | "containsCIDR" | "prefixLength" | "family" | "quantity" | "sign" | "add" | "sub"
        | "asInteger" | "asApproximateFloat" | "compareTo" | "major" | "minor" | "patch" | "getFullYear"
        | "getMonth" | "getDayOfYear" | "getDayOfMonth" | "getDate" | "getDayOfWeek" | "getHours" | "getMinutes"
        | "getSeconds" | "getMilliseconds" => (number(u64::MAX), linear),
        _ if ["is", "math.", "format.", "ip."].iter().any(|group| name.starts_with(group)) => {
            (number(u64::MAX), linear)
        }
        // `min`, `max`, `semver`, `optional.none`: at most what they take
        _ => (Shape::of(Size { len: all.nodes, whole: u64::MAX, ..all }), linear),
    }
}

/// Bytes of `text.format(values)`.
fn formatted(text: &Shape<'_>, values: &Shape<'_>) -> Amount {
    // the largest number has 309 digits; a precision can be asked for up to 65535
    let precise = text.text.as_deref().is_none_or(|t| t.contains("%."));
    let number = if precise { 66_000 } else { 330 };
    text.size.bytes.plus(values.size.bytes.by(6)).plus(values.size.nodes.by(80)).plus(values.size.len.by(number))
}
