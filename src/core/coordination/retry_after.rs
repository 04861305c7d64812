//! When may a service be asked again that says so itself? Reads `Retry-After` (RFC 9110 §10.2.3).

use std::time::Duration;

use jiff::{Timestamp, civil, tz::TimeZone};

use crate::core::coordination::outcome::Answer;

/// The forms of a date in HTTP, of which those after the first are obsolete and read all the same (RFC 9110 §5.6.7).
const FORMS: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// How long a service that is overloaded asks to be left alone; `None` where it does not say, or not in a way that can be read.
#[must_use]
pub fn asked(answer: &Answer, now: Timestamp) -> Option<Duration> {
    if !matches!(answer.status, 429 | 503) {
        return None;
    }
    let text = answer.header("retry-after")?.trim();
    let wait = if text.bytes().all(|b| b.is_ascii_digit()) {
        // more digits than a number holds are a long time
        (!text.is_empty()).then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
    } else {
        date(text).map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default())
    };
    wait.filter(|w| !w.is_zero())
}

fn date(text: &str) -> Option<Timestamp> {
    let read = |form: &&str| civil::DateTime::strptime(form, text).ok();
    let at = FORMS.iter().find_map(read)?;
    at.to_zoned(TimeZone::UTC).ok().map(|z| z.timestamp())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What is read 37 s before the date of the RFC's examples.
    fn read(status: u16, text: &str) -> Option<u64> {
        let headers = vec![("retry-after".to_owned(), text.to_owned())];
        let now = "1994-11-06T08:49:00Z".parse().unwrap();
        asked(&Answer { status, headers, body: Value::Null }, now).map(|d| d.as_secs())
    }

    #[test]
    fn seconds_and_all_forms_of_a_date_are_read() {
        for (text, want) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("0", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(37)),
            ("Sun Nov  6 08:49:37 1994", Some(37)),
            // it has passed
            ("Sun, 06 Nov 1994 08:48:00 GMT", None),
            ("99999999999999999999999999", Some(u64::MAX)),
        ] {
            assert_eq!(read(503, text), want, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        for text in ["", "soon", "-5", "1.5", "120s", "Sun, 06 Nov 1994 08:49:37", "Mon, 32 Nov 1994 08:49:37 GMT"] {
            assert_eq!(read(429, text), None, "{text}");
        }
    }

    #[test]
    fn only_an_overloaded_service_is_heard() {
        assert_eq!(read(429, "5"), Some(5));
        for status in [200, 301, 404, 500, 502] {
            assert_eq!(read(status, "5"), None, "{status}");
        }
        assert_eq!(asked(&Answer { status: 503, headers: Vec::new(), body: Value::Null }, Timestamp::UNIX_EPOCH), None);
    }
}
