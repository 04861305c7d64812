//! Command sets of C-ECHO (PS3.7 §9.3.5). They are encoded as Implicit VR Little Endian, whatever a context says (PS3.7 §6.3.1).

use super::{VERIFICATION, pdu::Invalid};

/// Largest command set that is taken in, in bytes: an answer to C-ECHO has less than 100.
pub const MAX_COMMAND: usize = 16 * 1024;
/// (0000,0110) of the request. An association has one.
const MESSAGE_ID: u16 = 1;

/// C-ECHO-RQ.
#[must_use]
pub fn echo_request() -> Vec<u8> {
    let mut class = VERIFICATION.as_bytes().to_vec();
    if class.len() % 2 == 1 {
        class.push(0); // a UID of odd length is padded so (PS3.5 §9.1)
    }
    let mut rest = element(0x0002, &class);
    for (number, value) in [(0x0100, 0x0030_u16), (0x0110, MESSAGE_ID), (0x0800, 0x0101)] {
        rest.extend(element(number, &value.to_le_bytes()));
    }
    // the group's length: of all that follows it
    let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
    let mut command = element(0x0000, &length.to_le_bytes());
    command.append(&mut rest);
    command
}

/// One element of group 0000.
fn element(number: u16, value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    let mut bytes = vec![0, 0];
    bytes.extend(number.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// The status of a C-ECHO-RSP to [`echo_request`]: 0 is success.
///
/// # Errors
/// When it is no command set, or none that answers the request.
pub fn echo_status(command: &[u8]) -> Result<u16, Invalid> {
    let (mut field, mut answers, mut status) = (None, None, None);
    let mut rest = command;
    while !rest.is_empty() {
        let &[g0, g1, e0, e1, a, b, c, d, ref after @ ..] = rest else { return Err(Invalid) };
        if [g0, g1] != [0, 0] {
            return Err(Invalid);
        }
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).map_err(|_| Invalid)?;
        let (value, next) = after.split_at_checked(length).ok_or(Invalid)?;
        let short = || <[u8; 2]>::try_from(value).map(u16::from_le_bytes).map_err(|_| Invalid);
        match u16::from_le_bytes([e0, e1]) {
            0x0100 => field = Some(short()?),
            0x0120 => answers = Some(short()?),
            0x0900 => status = Some(short()?),
            _ => {}
        }
        rest = next;
    }
    match (field, answers, status) {
        (Some(0x8030), Some(MESSAGE_ID), Some(status)) => Ok(status),
        _ => Err(Invalid),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// C-ECHO-RSP with this status, as [`echo_request`] writes its request.
    fn response(field: u16, answers: u16, status: u16) -> Vec<u8> {
        [(0x0100, field), (0x0120, answers), (0x0800, 0x0101), (0x0900, status)]
            .into_iter()
            .flat_map(|(number, value)| element(number, &value.to_le_bytes()))
            .collect()
    }

    #[test]
    fn a_request_is_as_the_standard_writes_it() {
        #[rustfmt::skip]
        let wanted = [
            0, 0, 0x00, 0x00, 4, 0, 0, 0, 56, 0, 0, 0,
            0, 0, 0x02, 0x00, 18, 0, 0, 0,
            b'1', b'.', b'2', b'.', b'8', b'4', b'0', b'.', b'1', b'0', b'0', b'0', b'8', b'.', b'1', b'.', b'1', 0,
            0, 0, 0x00, 0x01, 2, 0, 0, 0, 0x30, 0,
            0, 0, 0x10, 0x01, 2, 0, 0, 0, 1, 0,
            0, 0, 0x00, 0x08, 2, 0, 0, 0, 0x01, 0x01,
        ];
        assert_eq!(echo_request(), wanted);
    }

    #[test]
    fn the_status_is_read_and_only_of_an_answer_to_the_request() {
        assert_eq!(echo_status(&response(0x8030, 1, 0)), Ok(0));
        assert_eq!(echo_status(&response(0x8030, 1, 0x0122)), Ok(0x0122));
        assert_eq!(echo_status(&response(0x8001, 1, 0)), Err(Invalid), "C-STORE-RSP");
        assert_eq!(echo_status(&response(0x8030, 2, 0)), Err(Invalid), "of another request");
        assert_eq!(echo_status(&echo_request()), Err(Invalid), "a request");
        assert_eq!(echo_status(b""), Err(Invalid));
        let whole = response(0x8030, 1, 0);
        for cut in 0..whole.len() {
            assert_eq!(echo_status(&whole[..cut]), Err(Invalid), "cut at {cut}");
        }
        let endless = [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0];
        assert_eq!(echo_status(&endless), Err(Invalid));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(
            bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..40, valid in any::<bool>(),
        ) {
            let mut command = if valid { response(0x8030, 1, 0) } else { Vec::new() };
            let at = at.min(command.len());
            command.splice(at..at, bytes);
            let _ = echo_status(&command);
        }
    }
}
