//! Acknowledgements: did the other side take the message, and may it be sent again?

/// Longest acknowledgement, in bytes: one has a few hundred.
pub const MAX_ACK: usize = 64 * 1024;

/// What MSA-1 says (HL7 table 0008).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// AA: it was processed.
    Accepted,
    /// CA: it was stored, and will be processed.
    Committed,
    /// AE, CE: it could not be processed.
    Error,
    /// AR, CR: it is not taken.
    Rejected,
}

impl Code {
    /// As original mode (§2.9.2) writes it, and enhanced mode for what is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "AA",
            Self::Committed => "CA",
            Self::Error => "AE",
            Self::Rejected => "AR",
        }
    }
}

/// An acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// What it says.
    pub code: Code,
    /// MSA-2: MSH-10 of the message that it is about.
    pub control_id: String,
    /// ERR-3: why, by HL7 table 0357; `None` where it says nothing.
    pub error: Option<u16>,
}

/// Why something is no acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckError {
    /// It does not begin with a header segment.
    NoHeader,
    /// It has no acknowledgement segment, or one without a known code.
    NoCode,
}

/// The segments of a message. They end in CR; some send LF or both.
fn segments(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    message.split(|b| matches!(b, b'\r' | b'\n')).filter(|s| !s.is_empty())
}

/// Reads an acknowledgement.
///
/// # Errors
/// When it is none.
pub fn read(message: &[u8]) -> Result<Ack, AckError> {
    let mut all = segments(message);
    let header = all.next().filter(|s| s.starts_with(b"MSH") && s.len() > 8).ok_or(AckError::NoHeader)?;
    // MSH-1 is what separates fields, and MSH-2 begins with what separates components
    let (separator, component) = (header[3], header[4]);
    let field = |segment: &[u8], n: usize| -> String {
        let field = segment.split(|b| *b == separator).nth(n).unwrap_or_default();
        let first = field.split(|b| *b == component).next().unwrap_or_default();
        String::from_utf8_lossy(first).trim().to_owned()
    };
    let (mut found, mut error) = (None, None);
    for segment in all {
        match segment.get(..3) {
            Some(b"MSA") if found.is_none() => {
                let code = match field(segment, 1).as_str() {
                    "AA" => Code::Accepted,
                    "CA" => Code::Committed,
                    "AE" | "CE" => Code::Error,
                    "AR" | "CR" => Code::Rejected,
                    _ => return Err(AckError::NoCode),
                };
                found = Some((code, field(segment, 2)));
            }
            Some(b"ERR") if error.is_none() => error = field(segment, 3).parse().ok(),
            _ => {}
        }
    }
    let (code, control_id) = found.ok_or(AckError::NoCode)?;
    Ok(Ack { code, control_id, error })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ack(code: Code, control_id: &str, error: Option<u16>) -> Result<Ack, AckError> {
        Ok(Ack { code, control_id: control_id.to_owned(), error })
    }

    #[test]
    fn what_it_says_is_read_whatever_separates_its_fields() {
        let cases: [(&[u8], Result<Ack, AckError>); 8] = [
            (b"MSH|^~\\&|A|B|C|D|20260101||ACK|9|P|2.5\rMSA|AA|M-1\r", ack(Code::Accepted, "M-1", None)),
            (b"MSH|^~\\&|A\nMSA|CA|M-2", ack(Code::Committed, "M-2", None)),
            (b"MSH#^~\\&#A\r\nMSA#AE#7#text\r\nERR###207^Application error#E\r\n", ack(Code::Error, "7", Some(207))),
            (b"MSH|^~\\&|A\rMSA|CR|7\rERR||PID^1|200|E\rERR|||100|E\r", ack(Code::Rejected, "7", Some(200))),
            (b"HTTP/1.1 400 Bad Request\r\n", Err(AckError::NoHeader)),
            (b"", Err(AckError::NoHeader)),
            (b"MSH|^~\\&|A|B\rPID|1\r", Err(AckError::NoCode)),
            (b"MSH|^~\\&|A|B\rMSA|XX|1\r", Err(AckError::NoCode)),
        ];
        for (message, expected) in cases {
            assert_eq!(read(message), expected, "{}", String::from_utf8_lossy(message));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), begins in any::<bool>()) {
            let mut message = if begins { b"MSH|^~\\&|\rMSA|".to_vec() } else { Vec::new() };
            message.extend(bytes);
            let _ = read(&message);
        }
    }
}
