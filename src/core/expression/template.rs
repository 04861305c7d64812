//! Text with `$( CEL )` inside.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Expression, ExpressionError, References, Variables, json, value};
use crate::core::hl7::outgoing;

/// Where the text goes: it decides how a value is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateKind {
    /// As it is: bodies and headers.
    Plain,
    /// Into a URL's path and query: values are percent-encoded (RFC 3986 §2.1).
    Url,
    /// Into a JSON text (RFC 8259): escaped inside a string, a whole JSON value elsewhere, refused in a field's name. The
    /// text's structure is checked when it is compiled, and no value changes it.
    Json,
    /// Into the value of a FHIR search parameter: `\`, `,`, `$` and `|` are escaped (FHIR R4 search, "Escaping Search
    /// Parameters"), so that a value is one value; a list is a list of alternatives. Percent-encoding comes afterwards.
    Search,
    /// Into a field of an HL7 version 2 message: what separates there is escaped (HL7 v2.5.1 §2.7).
    Hl7,
    /// Into `command`, `args` or `env` of a container: `$(NAME)` of a declared variable stays the kubelet's, and a value
    /// can never become one.
    Container,
}

/// A compiled template.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    kind: TemplateKind,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Value(Expression),
    /// A value inside a string of a JSON text.
    Quoted(Expression),
}

impl Template {
    /// Compiles a text. `kubelet` holds the names of the container's variables (for [`TemplateKind::Container`]).
    ///
    /// # Errors
    /// When a `$(` has no end or its inside is not an expression.
    pub fn compile(text: &str, kind: TemplateKind, kubelet: &BTreeSet<&str>) -> Result<Self, ExpressionError> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            plain.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("$$(") {
                // the kubelet reads `$$(` as a literal `$(` too, so there it stays as it is
                plain.push_str(if kind == TemplateKind::Container { "$$(" } else { "$(" });
                rest = after;
            } else if let Some(after) = rest.strip_prefix("$(") {
                let end = closing(after).ok_or(ExpressionError::Unclosed)?;
                let inside = &after[..end];
                rest = &after[end + 1..];
                if kind == TemplateKind::Container && kubelet.contains(inside) {
                    plain.push_str("$(");
                    plain.push_str(inside);
                    plain.push(')');
                } else {
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Value(Expression::compile(inside.trim())?));
                }
            } else {
                plain.push('$');
                rest = &rest[1..];
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        let mut template = Self { kind, parts };
        if kind == TemplateKind::Json {
            template.place_in_json()?;
        }
        Ok(template)
    }

    /// Finds out which values stand inside strings, and whether the whole is JSON.
    fn place_in_json(&mut self) -> Result<(), ExpressionError> {
        let (mut cursor, mut inside) = (json::Cursor::default(), Vec::new());
        for part in &mut self.parts {
            match part {
                Part::Text(text) => cursor.pass(text),
                Part::Value(expression) if cursor.is_inside() => {
                    *part = Part::Quoted(expression.clone());
                    inside.push(true);
                }
                Part::Value(_) | Part::Quoted(_) => inside.push(false),
            }
        }
        // each gap between two values, before the first and after the last is one piece
        let mut pieces = vec![""];
        for part in &self.parts {
            match part {
                Part::Text(text) => *pieces.last_mut().unwrap_or(&mut "") = text,
                Part::Value(_) | Part::Quoted(_) => pieces.push(""),
            }
        }
        json::check(&pieces, &inside).map_err(ExpressionError::NotJson)
    }

    /// Its expressions, in order.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value(expression) | Part::Quoted(expression) => Some(expression),
            Part::Text(_) => None,
        })
    }

    /// What all its expressions refer to.
    #[must_use]
    pub fn references(&self) -> References {
        let mut all = References::default();
        for part in &self.parts {
            if let Part::Value(expression) | Part::Quoted(expression) = part {
                all.merge(expression.references());
            }
        }
        all
    }

    /// The parameter whose value it gives, where it is nothing but `$( params.<name> )`.
    #[must_use]
    pub fn sole_parameter(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Value(expression)] => expression.sole_parameter(),
            _ => None,
        }
    }

    /// The template with this text in place of every expression that is nothing but this variable.
    #[must_use]
    pub fn with_text(self, variable: &str, text: &str) -> Self {
        let put = |part| match part {
            Part::Value(expression) if expression.source() == variable => Part::Text(text.to_owned()),
            part => part,
        };
        Self { parts: self.parts.into_iter().map(put).collect(), ..self }
    }

    /// The text with all values put in. Strings go in as they are, numbers and booleans as text, lists and objects as JSON.
    ///
    /// # Errors
    /// As [`Expression::evaluate`], and when a value is null.
    pub fn render(&self, variables: &Variables) -> Result<String, ExpressionError> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Quoted(expression) => json::escape(&self::text(expression, variables)?, &mut text),
                Part::Value(expression) => match self.kind {
                    TemplateKind::Plain => text.push_str(&self::text(expression, variables)?),
                    TemplateKind::Url => percent_encode(&self::text(expression, variables)?, &mut text),
                    TemplateKind::Json => text.push_str(&present(expression, variables)?.to_string()),
                    TemplateKind::Search => search_value(expression, variables, &mut text)?,
                    TemplateKind::Hl7 => outgoing::escape(&self::text(expression, variables)?, &mut text),
                    TemplateKind::Container => text.push_str(&self::text(expression, variables)?.replace("$(", "$$(")),
                },
            }
        }
        if self.kind == TemplateKind::Url && has_dot_segment(&text) {
            return Err(ExpressionError::DotSegment);
        }
        Ok(text)
    }
}

/// An expression's value, which may not be null.
fn present(expression: &Expression, variables: &Variables) -> Result<Value, ExpressionError> {
    match expression.evaluate(variables)? {
        Value::Null => Err(wrong(expression, &Value::Null, "a value")),
        value => Ok(value),
    }
}

/// An expression's value as text.
fn text(expression: &Expression, variables: &Variables) -> Result<String, ExpressionError> {
    Ok(plain(present(expression, variables)?))
}

fn plain(value: Value) -> String {
    match value {
        Value::String(s) => s,
        other => other.to_string(),
    }
}

fn wrong(expression: &Expression, got: &Value, want: &'static str) -> ExpressionError {
    ExpressionError::Type { expression: expression.source().to_owned(), got: value::kind(got), want }
}

/// Writes a value, or the alternatives of a list, into a search parameter.
fn search_value(expression: &Expression, variables: &Variables, out: &mut String) -> Result<(), ExpressionError> {
    let alternatives = match present(expression, variables)? {
        Value::Array(items) => items,
        one => vec![one],
    };
    for (i, one) in alternatives.into_iter().enumerate() {
        if matches!(one, Value::Null | Value::Array(_) | Value::Object(_)) {
            return Err(wrong(expression, &one, "a text, a number, true or false, or a list of these"));
        }
        if i > 0 {
            out.push(',');
        }
        for c in plain(one).chars() {
            if matches!(c, '\\' | ',' | '$' | '|') {
                out.push('\\');
            }
            out.push(c);
        }
    }
    Ok(())
}

/// Whether a path has a segment `.` or `..`, encoded or not: clients and servers resolve it, and the request would go
/// somewhere else than the template says (RFC 3986 §5.2.4).
fn has_dot_segment(path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    path.split(['/', '\\'])
        .any(|segment| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | ".."))
}

/// Place of the `)` that ends the expression: parentheses nest, and those inside string literals do not count.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(q), _) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') if depth == 0 => return Some(at),
            (None, ')') => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Everything but RFC 3986's unreserved characters, so that a value can add neither a path segment nor a query.
fn percent_encode(text: &str, out: &mut String) {
    use std::fmt::Write as _;
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(text: &str, kind: TemplateKind) -> String {
        let vars =
            Variables::from([("params".to_owned(), json!({"id": "a/b ?ä", "n": 3, "o": {"x": [1]}, "k": "$(HOME)"}))]);
        Template::compile(text, kind, &BTreeSet::from(["HOME"])).unwrap().render(&vars).unwrap()
    }

    #[test]
    fn values_fit_their_place() {
        assert_eq!(render("/s/$( params.id )?n=$(params.n)", TemplateKind::Url), "/s/a%2Fb%20%3F%C3%A4?n=3");
        assert_eq!(render(r#"{"o": $( params.o )}"#, TemplateKind::Plain), r#"{"o": {"x":[1]}}"#);
        assert_eq!(render("price $5 and $$( x", TemplateKind::Plain), "price $5 and $( x");
    }

    #[test]
    fn a_value_in_an_hl7_message_is_one_field() {
        let vars = Variables::from([("params".to_owned(), json!({"name": "a|b^c\rPID", "n": 3}))]);
        let text = Template::compile("OBX|$( params.n )|$( params.name )", TemplateKind::Hl7, &BTreeSet::new());
        assert_eq!(text.unwrap().render(&vars).unwrap(), "OBX|3|a\\F\\b\\S\\c\\X0D\\PID");
    }

    #[test]
    fn a_value_cannot_climb_out_of_its_path() {
        for id in ["..", ".", "%2e%2e", "a/../b"] {
            let vars = Variables::from([("params".to_owned(), json!({"id": id}))]);
            let path = Template::compile("/studies/$( params.id )/x", TemplateKind::Url, &BTreeSet::new())
                .unwrap()
                .render(&vars);
            match id {
                "." | ".." => assert_eq!(path, Err(ExpressionError::DotSegment), "{id}"),
                // a percent sign and a slash are encoded themselves
                _ => assert!(path.unwrap().starts_with("/studies/"), "{id}"),
            }
        }
        let fixed = Template::compile("/a/%2E./b", TemplateKind::Url, &BTreeSet::new()).unwrap();
        assert_eq!(fixed.render(&Variables::new()), Err(ExpressionError::DotSegment));
    }

    #[test]
    fn a_value_in_json_is_a_value() {
        let text = r#"{"id": "x-$( params.id )", "n": $( params.n ), "o": $( params.o ), "all": "$( params.o )"}"#;
        let json: Value = serde_json::from_str(&render(text, TemplateKind::Json)).unwrap();
        assert_eq!(json, json!({"id": "x-a/b ?ä", "n": 3, "o": {"x": [1]}, "all": "{\"x\":[1]}"}));
        assert_eq!(render("$( params.o )", TemplateKind::Json), r#"{"x":[1]}"#);
        for text in [r#"{"a": $( params.n ),}"#, r#"{"$( params.id )": 1}"#, r#"{"a": "\$( params.id )"}"#, "{"] {
            let refused = Template::compile(text, TemplateKind::Json, &BTreeSet::new());
            assert!(matches!(refused, Err(ExpressionError::NotJson(_))), "{text}: {refused:?}");
        }
    }

    #[test]
    fn a_search_value_is_one_value_and_a_list_is_alternatives() {
        let vars = Variables::from([("params".to_owned(), json!({"odd": r"a,b|c$d\e", "list": ["x", 2, "y,z"]}))]);
        let render =
            |text| Template::compile(text, TemplateKind::Search, &BTreeSet::new()).and_then(|t| t.render(&vars));
        assert_eq!(render("http://loinc.org|$( params.odd )"), Ok(r"http://loinc.org|a\,b\|c\$d\\e".to_owned()));
        assert_eq!(render("$( params.list )"), Ok(r"x,2,y\,z".to_owned()));
        assert!(matches!(render("$( params )"), Err(ExpressionError::Type { .. })));
    }

    #[test]
    fn the_kubelets_own_references_stay() {
        assert_eq!(render("$(HOME)/$( params.n )", TemplateKind::Container), "$(HOME)/3");
        assert_eq!(render("$$(HOME)", TemplateKind::Container), "$$(HOME)");
        assert_eq!(render("$( params.k )", TemplateKind::Container), "$$(HOME)");
    }

    #[test]
    fn parentheses_inside_strings_do_not_end_it() {
        assert_eq!(render(r#"$( "a)" + (")" + "b") )"#, TemplateKind::Plain), "a))b");
        assert_eq!(
            Template::compile("$( size(", TemplateKind::Plain, &BTreeSet::new()),
            Err(ExpressionError::Unclosed)
        );
    }
}
