//! Where a value stands in a JSON text, and how it is written there (RFC 8259).
//!
//! A value of a template never changes the text's structure: inside a string it becomes part of that string, elsewhere it is
//! one whole JSON value. So the structure is known before any value is, and is checked when the template is compiled.

use serde_json::Value;

/// Follows a JSON text piece by piece: is the next character inside a string?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    inside: bool,
    escaped: bool,
}

impl Cursor {
    /// Goes on over a piece of literal text.
    pub(super) fn pass(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                _ if self.escaped => self.escaped = false,
                '\\' if self.inside => self.escaped = true,
                '"' => self.inside = !self.inside,
                _ => {}
            }
        }
    }

    /// Whether what comes next stands inside a string.
    pub(super) const fn is_inside(self) -> bool {
        self.inside
    }
}

/// Whether a text with gaps is JSON once each gap is filled; `inside` tells of each gap whether it is part of a string.
///
/// # Errors
/// What is wrong: the text is not JSON, or a gap is in the name of a field.
pub(super) fn check(pieces: &[&str], inside: &[bool]) -> Result<(), String> {
    let mut mark = "value".to_owned();
    while pieces.iter().any(|p| p.contains(&mark)) {
        mark.push('_');
    }
    let mut text = String::new();
    for (i, piece) in pieces.iter().enumerate() {
        text.push_str(piece);
        if let Some(inside) = inside.get(i) {
            text.push_str(if *inside { &mark } else { "null" });
        }
    }
    let value: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    if names_hold(&value, &mark) {
        return Err("a value may not be part of a field's name".to_owned());
    }
    Ok(())
}

/// Whether the name of any field holds the text. As deep as the parser goes (128 levels).
fn names_hold(value: &Value, text: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|v| names_hold(v, text)),
        Value::Object(fields) => fields.iter().any(|(name, v)| name.contains(text) || names_hold(v, text)),
        _ => false,
    }
}

/// A text as part of a JSON string.
pub(super) fn escape(text: &str, out: &mut String) {
    let quoted = Value::from(text).to_string();
    // a string's JSON form always has its two quotes
    out.push_str(&quoted[1..quoted.len() - 1]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_escapes_are_followed_over_pieces() {
        for (text, inside) in
            [("", false), (r#"{"a"#, true), (r#"{"a""#, false), (r#"{"a\""#, true), (r#"{"a\\""#, false)]
        {
            let mut cursor = Cursor::default();
            text.chars().for_each(|c| cursor.pass(c.encode_utf8(&mut [0; 4])));
            assert_eq!(cursor.is_inside(), inside, "{text}");
        }
    }

    #[test]
    fn the_structure_is_checked_without_values() {
        assert_eq!(check(&[r#"{"a": "value "#, r#"", "b": "#, "}"], &[true, false]), Ok(()));
        for (pieces, inside, problem) in [
            (&[r#"{"a": "#, ",}"][..], &[false][..], "trailing comma"),
            (&[r#"{"a": "\"#, r#""}"#], &[true], "escape"),
            (&[r#"{"a": "\u00"#, r#""}"#], &[true], "escape"),
            (&[r#"{"a"#, r#"": 1}"#], &[true], "name"),
            (&[r#"{"a": 1"#, "}"], &[false], "expected"),
        ] {
            let got = check(pieces, inside).expect_err(pieces[0]);
            assert!(got.contains(problem), "{pieces:?}: {got}");
        }
    }
}
