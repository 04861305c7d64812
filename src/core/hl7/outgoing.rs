//! Messages that steps send: what they must have, and what is filled in (HL7 v2.5.1 §2.14.9, §2.15.9).

use std::fmt;

use jiff::{Timestamp, tz::TimeZone};

use crate::core::name;

/// What a message begins with: its separators are those that the standard recommends (§2.5.4).
pub const HEADER: &str = "MSH|^~\\&|";

/// Longest message, in bytes.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// It does not begin with [`HEADER`].
    NoHeader,
    /// A field of the header that must have a value has none.
    Without(&'static str),
    /// MSH-10 is filled in by medley.
    ControlId,
    /// MSH-15 and MSH-16 forbid every acknowledgement.
    NoAcknowledgement,
    /// It has a character that ends a frame of MLLP.
    FrameCharacter,
    /// It is longer than [`MAX_MESSAGE`].
    TooLong,
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHeader => write!(f, "must begin with `{HEADER}`"),
            Self::Without(field) => write!(f, "{field} must have a value"),
            Self::ControlId => f.write_str(
                "MSH-10 must be empty: medley fills it in, so that a message which is sent again has the same control id",
            ),
            Self::NoAcknowledgement => {
                f.write_str("MSH-15 and MSH-16 must not both be NE: without an acknowledgement nobody knows what came of it")
            }
            Self::FrameCharacter => f.write_str("must not have the characters 0x0B and 0x1C, which frame messages"),
            Self::TooLong => write!(f, "has more than {MAX_MESSAGE} bytes"),
        }
    }
}

/// The message with segments that end in CR, as it is written line by line.
///
/// # Errors
/// When something is wrong with it, named by field and never by value.
pub fn read(text: &str) -> Result<String, MessageError> {
    if text.len() > MAX_MESSAGE {
        return Err(MessageError::TooLong);
    }
    if text.contains(['\u{b}', '\u{1c}']) {
        return Err(MessageError::FrameCharacter);
    }
    let segments: Vec<&str> = text.split(['\r', '\n']).filter(|s| !s.is_empty()).collect();
    let header = segments.first().filter(|s| s.starts_with(HEADER)).ok_or(MessageError::NoHeader)?;
    // MSH-1 is the separator itself, so that the second part is MSH-2
    let field = |n: usize| header.split('|').nth(n - 1).unwrap_or_default();
    for (n, name) in [(9, "MSH-9 (message type)"), (11, "MSH-11 (processing id)"), (12, "MSH-12 (version)")] {
        if field(n).is_empty() {
            return Err(MessageError::Without(name));
        }
    }
    if !field(10).is_empty() {
        return Err(MessageError::ControlId);
    }
    if field(15) == "NE" && field(16) == "NE" {
        return Err(MessageError::NoAcknowledgement);
    }
    Ok(segments.iter().flat_map(|s| [s, "\r"]).collect())
}

/// The message as it is sent: MSH-10 filled in, MSH-7 (time) and, where there are characters outside ASCII, MSH-18 (character set,
/// table 0211) where they are empty.
#[must_use]
pub fn complete(message: &str, control_id: &str, at: Timestamp) -> Vec<u8> {
    let (header, rest) = message.split_once('\r').unwrap_or((message, ""));
    let mut fields: Vec<String> = header.split('|').map(str::to_owned).collect();
    let mut fill = |n: usize, value: &str| {
        if fields.len() < n {
            fields.resize(n, String::new());
        }
        if fields[n - 1].is_empty() {
            value.clone_into(&mut fields[n - 1]);
        }
    };
    fill(10, control_id);
    fill(7, &at.to_zoned(TimeZone::UTC).strftime("%Y%m%d%H%M%S%z").to_string());
    if !message.is_ascii() {
        fill(18, "UNICODE UTF-8");
    }
    format!("{}\r{rest}", fields.join("|")).into_bytes()
}

/// MSH-10 for a request: 20 characters, the most that versions before 2.6 allow.
#[must_use]
pub fn control_id(idempotency_key: &str) -> String {
    let mut id = name::digest([idempotency_key.as_bytes()]);
    id.truncate(19);
    format!("M{id}")
}

/// Writes a value into a field (§2.7): what separates is escaped, and line ends with it, so that a value can add no field and no
/// segment. The characters that frame messages are left out.
pub fn escape(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '|' => out.push_str("\\F\\"),
            '^' => out.push_str("\\S\\"),
            '&' => out.push_str("\\T\\"),
            '~' => out.push_str("\\R\\"),
            '\\' => out.push_str("\\E\\"),
            '\r' => out.push_str("\\X0D\\"),
            '\n' => out.push_str("\\X0A\\"),
            '\u{b}' | '\u{1c}' => {}
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    #[test]
    fn a_message_written_line_by_line_is_filled_in() {
        let text = "MSH|^~\\&|MEDLEY|OPS|LAB|NORTH|||ORU^R01^ORU_R01||P|2.5.1\nPID|1\n\nOBX|1|TX|x||caf\u{e9}\n";
        let message = read(text).unwrap();
        assert_eq!(
            String::from_utf8(complete(&message, "M1", at())).unwrap(),
            "MSH|^~\\&|MEDLEY|OPS|LAB|NORTH|20270115080000+0000||ORU^R01^ORU_R01|M1|P|2.5.1||||||UNICODE UTF-8\rPID|1\r\
             OBX|1|TX|x||caf\u{e9}\r"
        );
        let own = read("MSH|^~\\&|A|B|C|D|20260101||ADT^A08||P|2.3\r").unwrap();
        assert_eq!(complete(&own, "M1", at()), b"MSH|^~\\&|A|B|C|D|20260101||ADT^A08|M1|P|2.3\r");
    }

    #[test]
    fn what_is_wrong_with_a_message_is_named() {
        let header = "MSH|^~\\&|A|B|C|D|||ADT^A08||P|2.5";
        for (text, wrong) in [
            ("PID|1".to_owned(), MessageError::NoHeader),
            (String::new(), MessageError::NoHeader),
            ("MSH#^~\\&#A".to_owned(), MessageError::NoHeader),
            (header.replace("ADT^A08", ""), MessageError::Without("MSH-9 (message type)")),
            (header.replace("|P|", "||"), MessageError::Without("MSH-11 (processing id)")),
            (header.replace("|2.5", ""), MessageError::Without("MSH-12 (version)")),
            (header.replace("A08||", "A08|7|"), MessageError::ControlId),
            (format!("{header}|||NE|NE"), MessageError::NoAcknowledgement),
            (format!("{header}\rZZZ|\u{1c}"), MessageError::FrameCharacter),
            (format!("{header}\rZZZ|{}", "x".repeat(MAX_MESSAGE)), MessageError::TooLong),
        ] {
            assert_eq!(read(&text), Err(wrong), "{wrong}");
        }
        assert!(read(&format!("{header}|||NE|AL")).is_ok(), "the application answers");
    }

    #[test]
    fn the_control_id_is_the_same_for_the_same_key_and_fits_old_versions() {
        let id = control_id("u1-send-0");
        assert_eq!((id.len(), id == control_id("u1-send-0"), id == control_id("u1-send-1")), (20, true, false));
    }

    proptest! {
        #[test]
        fn a_value_stays_in_its_field(value in "\\PC*|[|^&~\\\\\r\n\u{b}\u{1c}]{0,20}") {
            let mut message = format!("{HEADER}A|B|C|D|||ADT^A08||P|2.5\rZZZ|");
            escape(&value, &mut message);
            message.push_str("|end\r");
            let sent = String::from_utf8(complete(&read(&message).unwrap(), "M1", at())).unwrap();
            let segments: Vec<&str> = sent.split_terminator('\r').collect();
            prop_assert_eq!(segments.len(), 2);
            prop_assert_eq!(segments[1].split('|').count(), 3);
        }
    }
}
