//! A length of time as it is written in a spec: `500ms`, `10s`, `1m30s`, `2h`.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::rules;

/// A length of time: one to four numbers of up to six digits, each with its unit (`ms`, `s`, `m`, `h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(Duration);

/// A text that is not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a length of time: write numbers with units ms, s, m or h, such as 500ms, 10s or 1m30s")]
pub struct InvalidSpan(String);

impl Span {
    /// The pattern that the schema holds.
    pub const PATTERN: &'static str = "^([0-9]{1,6}(ms|s|m|h)){1,4}$";

    /// A span of whole milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(s: u64) -> Self {
        Self(Duration::from_secs(s))
    }

    /// As the standard library's type.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// Whole seconds, rounded up, at least 1: what a kubelet probe can hold.
    #[must_use]
    pub fn whole_seconds(self) -> i32 {
        let secs = self.0.as_millis().div_ceil(1000).max(1);
        i32::try_from(secs).unwrap_or(i32::MAX)
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let invalid = || InvalidSpan(text.chars().take(40).collect());
        let mut total = Duration::ZERO;
        let mut rest = text;
        let mut parts = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at(digits);
            if digits == 0 || digits > 6 || parts == 4 {
                return Err(invalid());
            }
            let number: u64 = number.parse().map_err(|_| invalid())?;
            let (unit, len) = if after.starts_with("ms") {
                (Duration::from_millis(number), 2)
            } else if after.starts_with('s') {
                (Duration::from_secs(number), 1)
            } else if after.starts_with('m') {
                (Duration::from_secs(number * 60), 1)
            } else if after.starts_with('h') {
                (Duration::from_secs(number * 3600), 1)
            } else {
                return Err(invalid());
            };
            total += unit;
            rest = &after[len..];
            parts += 1;
        }
        if parts == 0 { Err(invalid()) } else { Ok(Self(total)) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        if ms == 0 {
            return f.write_str("0s");
        }
        let (h, m, s, rest) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
        for (n, unit) in [(h, "h"), (m, "m"), (s, "s"), (rest, "ms")] {
            if n > 0 {
                write!(f, "{n}{unit}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "pattern": Self::PATTERN, "maxLength": 36, "x-kubernetes-validations": rules::span()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["500ms", "10s", "1m30s", "2h", "0s", "1h1m1s1ms"] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string(), text);
        }
        assert_eq!("90s".parse::<Span>().unwrap().to_string(), "1m30s");
    }

    #[test]
    fn refuses_what_has_no_unit_or_no_number() {
        for text in ["", "10", "s", "-1s", "1d", "1s ", "1.5s", "1234567s", "1s1s1s1s1s", "1m30"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn probes_get_whole_seconds() {
        assert_eq!(Span::from_millis(1).whole_seconds(), 1);
        assert_eq!(Span::from_millis(1001).whole_seconds(), 2);
        assert_eq!(Span::from_secs(10).whole_seconds(), 10);
    }
}
