//! What is a plain YAML word? As kubectl reads it: a YAML 1.1 reader (go-yaml v2, under sigs.k8s.io/yaml) turns the file
//! into JSON, so `on` is true and `1.0` is 1.

use serde_json::{Number, Value};

/// The value of a plain word; the words of YAML 1.1 that look like text and are none come with `true`.
pub(super) fn resolve(word: &str) -> (Value, bool) {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => return (Value::Null, false),
        "true" | "True" | "TRUE" => return (Value::Bool(true), false),
        "false" | "False" | "FALSE" => return (Value::Bool(false), false),
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return (Value::Bool(true), true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return (Value::Bool(false), true),
        _ => {}
    }
    match number(word) {
        Some(number) => (Value::Number(number), false),
        None => (Value::String(word.to_owned()), false),
    }
}

fn number(word: &str) -> Option<Number> {
    if !word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return None;
    }
    let plain = word.replace('_', "");
    whole(&plain).or_else(|| fraction(&plain))
}

fn whole(word: &str) -> Option<Number> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let size = u64::from_str_radix(digits, radix).ok()?;
    if negative { 0_i64.checked_sub_unsigned(size).map(Number::from) } else { Some(Number::from(size)) }
}

fn fraction(word: &str) -> Option<Number> {
    let unsigned = word.strip_prefix(['-', '+']).unwrap_or(word);
    let (digits, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
    let numeric = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    if !(numeric(before) && numeric(after) && numeric(exponent))
        || exponent.is_empty()
        || digits.len() < 2 && digits == "."
    {
        return None;
    }
    let value: f64 = word.parse().ok()?;
    // JSON knows one kind of number: a whole one is written without a fraction
    #[allow(clippy::cast_possible_truncation, reason = "below 10^15 every whole number is exact")]
    if value.fract() == 0.0 && value.abs() < 1e15 { Some(Number::from(value as i64)) } else { Number::from_f64(value) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_read_as_kubectl_reads_them() {
        for (word, value) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("true", json!(true)),
            ("on", json!(true)),
            ("No", json!(false)),
            ("12", json!(12)),
            ("-7", json!(-7)),
            ("0x1F", json!(31)),
            ("010", json!(8)),
            ("1_000", json!(1000)),
            ("1.0", json!(1)),
            ("2.5", json!(2.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000)),
            ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            ("1.2.3", json!("1.2.3")),
            ("10s", json!("10s")),
            ("192.0.2.7", json!("192.0.2.7")),
            ("2001-01-01", json!("2001-01-01")),
            (".", json!(".")),
            ("-", json!("-")),
            ("+", json!("+")),
            ("08", json!(8)),
            ("e3", json!("e3")),
            ("1:30", json!("1:30")),
            ("trueish", json!("trueish")),
        ] {
            assert_eq!(resolve(word).0, value, "{word:?}");
        }
        assert!(resolve("yes").1);
        assert!(!resolve("true").1);
    }
}
