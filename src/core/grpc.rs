//! gRPC's health checking protocol as bytes. No I/O.
//!
//! Sources: "GRPC Health Checking Protocol" and "gRPC over HTTP2" (doc/health-checking.md, doc/PROTOCOL-HTTP2.md of github.com/grpc/grpc),
//! and "Protocol Buffers: Encoding". One message with one field each way needs no code generator.

/// What a request goes to.
pub const PATH: &str = "/grpc.health.v1.Health/Check";
/// Media type of requests and answers; an answer may add a suffix such as `+proto`.
pub const MEDIA_TYPE: &str = "application/grpc";
/// Largest answer that is taken in, in bytes: it has 7.
pub const MAX_ANSWER: usize = 4 * 1024;

/// Before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Tag of field 1 of `HealthCheckRequest`, a text.
const SERVICE: u8 = 0x0a;

/// What came is no answer to a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// `HealthCheckResponse.ServingStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// It serves.
    Serving,
    /// It does not, or does not know.
    NotServing,
    /// The server does not know the service that was asked for.
    ServiceUnknown,
}

/// What `grpc-status` says (doc/statuscodes.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 0: there is an answer.
    Ok,
    /// 5: the server does not know the service that was asked for.
    NotFound,
    /// 7, 16: the server wants to know who asks, or does not permit it.
    Unauthorized,
    /// 8, 14: the server cannot now.
    Overloaded,
    /// 12: the server has no health service.
    Unimplemented,
    /// Another one.
    Other,
}

impl Status {
    /// Reads the header.
    ///
    /// # Errors
    /// When it is no number.
    pub fn read(text: &[u8]) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > 3 || !text.iter().all(u8::is_ascii_digit) {
            return Err(Invalid);
        }
        Ok(match text.iter().fold(0_u16, |n, digit| n * 10 + u16::from(digit - b'0')) {
            0 => Self::Ok,
            5 => Self::NotFound,
            7 | 16 => Self::Unauthorized,
            8 | 14 => Self::Overloaded,
            12 => Self::Unimplemented,
            _ => Self::Other,
        })
    }
}

/// A `HealthCheckRequest` for a service; for the whole server where its name is empty.
#[must_use]
pub fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    // a field that has its default is left out
    if !service.is_empty() {
        message.push(SERVICE);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        message.push(u8::try_from(length).unwrap_or_default());
        message.extend_from_slice(service.as_bytes());
    }
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.append(&mut message);
    bytes
}

/// What a body says: one `HealthCheckResponse`.
///
/// # Errors
/// When it is none, more than one, or compressed, which was not offered.
pub fn read(body: &[u8]) -> Result<Serving, Invalid> {
    let (&[compressed, a, b, c, d], message) = body.split_first_chunk::<PREFIX>().ok_or(Invalid)?;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| Invalid)?;
    if compressed != 0 || message.len() != length {
        return Err(Invalid);
    }
    let (mut rest, mut status) = (message, 0);
    while !rest.is_empty() {
        let (tag, after) = varint(rest)?;
        // the number of the field, and how it is written
        rest = match (tag >> 3, tag & 7) {
            (0, _) => return Err(Invalid),
            (1, 0) => {
                // of a field that comes twice the last one counts
                let (value, after) = varint(after)?;
                status = value;
                after
            }
            (1, _) => return Err(Invalid),
            // fields of later versions
            (_, 0) => varint(after)?.1,
            (_, 1) => after.get(8..).ok_or(Invalid)?,
            (_, 2) => {
                let (length, after) = varint(after)?;
                after.get(usize::try_from(length).map_err(|_| Invalid)?..).ok_or(Invalid)?
            }
            (_, 5) => after.get(4..).ok_or(Invalid)?,
            _ => return Err(Invalid),
        };
    }
    Ok(match status {
        1 => Serving::Serving,
        3 => Serving::ServiceUnknown,
        _ => Serving::NotServing,
    })
}

/// A number of at most ten bytes, the lowest seven bits first, and what follows.
fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), Invalid> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(at).unwrap_or(u32::MAX)).unwrap_or_default();
        if byte & 0x80 == 0 {
            return Ok((value, &bytes[at + 1..]));
        }
    }
    Err(Invalid)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_as_protocol_buffers_write_it() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("a.b"), [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'b']);
        let long = request(&"x".repeat(200));
        assert_eq!((&long[..8], long.len()), (&[0, 0, 0, 0, 203, 0x0a, 0xc8, 0x01][..], 208));
    }

    #[test]
    fn an_answer_says_whether_it_serves() {
        for (body, wanted) in [
            (&[0, 0, 0, 0, 2, 0x08, 1][..], Ok(Serving::Serving)),
            (&[0, 0, 0, 0, 2, 0x08, 2], Ok(Serving::NotServing)),
            (&[0, 0, 0, 0, 2, 0x08, 3], Ok(Serving::ServiceUnknown)),
            (&[0, 0, 0, 0, 0], Ok(Serving::NotServing)),
            (&[0, 0, 0, 0, 2, 0x08, 9], Ok(Serving::NotServing)),
            // fields that a later version may have
            (&[0, 0, 0, 0, 7, 0x12, 3, b'a', b'b', b'c', 0x08, 1], Ok(Serving::Serving)),
            (&[0, 0, 0, 0, 7, 0x08, 1, 0x1d, 0, 0, 0, 0], Ok(Serving::Serving)),
            (&[0, 0, 0, 0, 4, 0x08, 2, 0x08, 1], Ok(Serving::Serving)),
            (&[], Err(Invalid)),
            (&[0, 0, 0, 0], Err(Invalid)),
            (&[1, 0, 0, 0, 2, 0x08, 1], Err(Invalid)),
            (&[0, 0, 0, 0, 3, 0x08, 1], Err(Invalid)),
            (&[0, 0, 0, 0, 1, 0x08, 1], Err(Invalid)),
            (&[0, 0, 0, 0, 1, 0x08], Err(Invalid)),
            (&[0, 0, 0, 0, 2, 0x0a, 0], Err(Invalid)),
            (&[0, 0, 0, 0, 2, 0x00, 1], Err(Invalid)),
            (&[0, 0, 0, 0, 2, 0x12, 9], Err(Invalid)),
            (b"<html>", Err(Invalid)),
        ] {
            assert_eq!(read(body), wanted, "{body:?}");
        }
    }

    #[test]
    fn a_status_is_a_number() {
        for (text, wanted) in [
            ("0", Ok(Status::Ok)),
            ("5", Ok(Status::NotFound)),
            ("7", Ok(Status::Unauthorized)),
            ("12", Ok(Status::Unimplemented)),
            ("14", Ok(Status::Overloaded)),
            ("16", Ok(Status::Unauthorized)),
            ("2", Ok(Status::Other)),
            ("999", Ok(Status::Other)),
            ("", Err(Invalid)),
            ("-1", Err(Invalid)),
            ("1000", Err(Invalid)),
            ("OK", Err(Invalid)),
        ] {
            assert_eq!(Status::read(text.as_bytes()), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(
            message in prop::collection::vec(prop_oneof![Just(0x08_u8), Just(0x12), Just(0xff), any::<u8>()], 0..40),
            prefixed in any::<bool>(),
        ) {
            let mut body = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
            if !prefixed {
                body.clear();
            }
            body.extend(message);
            let _ = read(&body);
            let _ = Status::read(&body);
        }
    }
}
