//! Laws of escaping: no value, whatever it is, leaves the place where a template puts it.
#![allow(clippy::unwrap_used)] // helpers of tests: a failure is a failed test

use std::collections::BTreeSet;

use medley::core::expression::{Template, TemplateKind, Variables};
use proptest::prelude::*;
use serde_json::{Value, json};

fn render(text: &str, kind: TemplateKind, value: &Value) -> String {
    let variables = Variables::from([("params".to_owned(), json!({ "x": value }))]);
    Template::compile(text, kind, &BTreeSet::new()).unwrap().render(&variables).unwrap()
}

/// Any text, with the characters that have a meaning somewhere more often than chance would have them.
fn text() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "\"", "\\", "\\\"", "{", "}", ",", ":", "/", "..", "?", "&", "=", "#", "%", "%2e", "\u{0}", "\n", "\r\n", "$(",
        ")", "|", "$", "\u{2028}", "\u{202e}", "é", "😀", "<", ";", "+", " ",
    ]);
    prop::collection::vec(prop_oneof![2 => odd.prop_map(str::to_owned), 1 => any::<String>()], 0..12)
        .prop_map(|parts| parts.concat())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        text().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..4).prop_map(|m| json!(m)),
        ]
    })
}

/// RFC 3986 §2.1, as a server reads it.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if bytes[at] == b'%' {
            out.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_text_in_a_json_string_stays_in_it(x in text()) {
        let filled = render(r#"{"a": "[$( params.x )]", "b": 1}"#, TemplateKind::Json, &json!(x));
        prop_assert_eq!(serde_json::from_str::<Value>(&filled).unwrap(), json!({"a": format!("[{x}]"), "b": 1}));
    }

    #[test]
    fn a_value_in_json_is_that_value_and_changes_nothing_around_it(x in value()) {
        let filled = render(r#"{"a": [$( params.x ), "$( params.x )"], "b": 1}"#, TemplateKind::Json, &x);
        let text = x.as_str().map_or_else(|| x.to_string(), str::to_owned);
        prop_assert_eq!(serde_json::from_str::<Value>(&filled).unwrap(), json!({"a": [x, text], "b": 1}));
    }

    #[test]
    fn a_text_in_a_path_stays_one_segment(x in text()) {
        prop_assume!(!matches!(x.as_str(), "." | ".."));
        let filled = render("/a/$( params.x )/b?c=$( params.x )", TemplateKind::Url, &json!(x));
        let (path, query) = filled.split_once('?').unwrap();
        let segments: Vec<&str> = path.split('/').collect();
        prop_assert_eq!(segments.len(), 4);
        prop_assert_eq!(decoded(segments[2]), x.clone());
        prop_assert!(!query.contains(['&', '#', '?']) && query.is_ascii());
        prop_assert_eq!(decoded(query.strip_prefix("c=").unwrap()), x);
    }

    #[test]
    fn a_text_in_a_search_value_is_one_value(x in text()) {
        let filled = render("system|$( params.x )", TemplateKind::Search, &json!(x));
        // as a server reads it (FHIR R4 search, "Escaping Search Parameters")
        let (mut read, mut escaped) = (String::new(), false);
        for c in filled.strip_prefix("system|").unwrap().chars() {
            if !escaped && c == '\\' {
                escaped = true;
                continue;
            }
            prop_assert!(escaped || !matches!(c, ',' | '|' | '$'), "{filled} has a separator from the value");
            escaped = false;
            read.push(c);
        }
        prop_assert!(!escaped);
        prop_assert_eq!(read, x);
    }
}
