//! Command sets of C-ECHO, C-FIND and C-CANCEL (PS3.7 §9.3). They are encoded as Implicit VR Little Endian, whatever a context says
//! (PS3.7 §6.3.1).

use super::{VERIFICATION, dataset::element, pdu::Invalid};

/// Largest command set that is taken in, in bytes: an answer has less than 200.
pub const MAX_COMMAND: usize = 16 * 1024;
/// (0000,0110) of the request. An association has one.
const MESSAGE_ID: u16 = 1;
/// (0000,0800) where no data set follows; any other value says that one does.
const NO_DATA_SET: u16 = 0x0101;
const CLASS: u32 = 0x0002;
const FIELD: u32 = 0x0100;
const ID: u32 = 0x0110;
const ANSWERS: u32 = 0x0120;
const PRIORITY: u32 = 0x0700;
const DATA_SET: u32 = 0x0800;
const STATUS: u32 = 0x0900;

/// (0000,0100) of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// C-ECHO-RSP.
    Echo = 0x8030,
    /// C-FIND-RSP.
    Find = 0x8020,
}

/// An answer to the request of the association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// 0 is success (PS3.7 annex C).
    pub status: u16,
    /// Whether a data set follows.
    pub data_set: bool,
}

impl Response {
    /// Whether further answers follow: a match is in this one (PS3.4 table C.4-1).
    #[must_use]
    pub const fn is_pending(self) -> bool {
        matches!(self.status, 0xFF00 | 0xFF01)
    }
}

/// C-ECHO-RQ.
#[must_use]
pub fn echo_request() -> Vec<u8> {
    let numbers = [(FIELD, 0x0030), (ID, MESSAGE_ID), (DATA_SET, NO_DATA_SET)];
    command(&[element(CLASS, VERIFICATION.as_bytes(), 0), shorts(&numbers)].concat())
}

/// C-FIND-RQ; its data set follows.
#[must_use]
pub fn find_request(class: &str, priority: u16) -> Vec<u8> {
    let numbers = [(FIELD, 0x0020), (ID, MESSAGE_ID), (PRIORITY, priority), (DATA_SET, 0x0001)];
    command(&[element(CLASS, class.as_bytes(), 0), shorts(&numbers)].concat())
}

/// C-CANCEL-RQ of the request before.
#[must_use]
pub fn cancel_request() -> Vec<u8> {
    command(&shorts(&[(FIELD, 0x0FFF), (ANSWERS, MESSAGE_ID), (DATA_SET, NO_DATA_SET)]))
}

fn shorts(list: &[(u32, u16)]) -> Vec<u8> {
    list.iter().flat_map(|(number, value)| element(*number, &value.to_le_bytes(), 0)).collect()
}

/// Its group's length comes first: that of all that follows.
fn command(rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
    [element(0x0000, &length.to_le_bytes(), 0).as_slice(), rest].concat()
}

/// Reads an answer to the request of the association.
///
/// # Errors
/// When it is no command set, or none that answers the request.
pub fn response(command: &[u8], answers: Answers) -> Result<Response, Invalid> {
    let (mut field, mut id, mut status, mut data_set) = (None, None, None, None);
    let mut rest = command;
    while !rest.is_empty() {
        let &[g0, g1, e0, e1, a, b, c, d, ref after @ ..] = rest else { return Err(Invalid) };
        if [g0, g1] != [0, 0] {
            return Err(Invalid);
        }
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).map_err(|_| Invalid)?;
        let (value, next) = after.split_at_checked(length).ok_or(Invalid)?;
        let short = || <[u8; 2]>::try_from(value).map(u16::from_le_bytes).map_err(|_| Invalid);
        match u32::from(u16::from_le_bytes([e0, e1])) {
            FIELD => field = Some(short()?),
            ANSWERS => id = Some(short()?),
            DATA_SET => data_set = Some(short()?),
            STATUS => status = Some(short()?),
            _ => {}
        }
        rest = next;
    }
    match (field, id, status) {
        (Some(field), Some(MESSAGE_ID), Some(status)) if field == answers as u16 => {
            Ok(Response { status, data_set: data_set.is_some_and(|d| d != NO_DATA_SET) })
        }
        _ => Err(Invalid),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer with this status, without a data set.
    fn answer(field: u16, id: u16, status: u16) -> Vec<u8> {
        shorts(&[(FIELD, field), (ANSWERS, id), (DATA_SET, NO_DATA_SET), (STATUS, status)])
    }

    fn echo_status(bytes: &[u8]) -> Result<u16, Invalid> {
        response(bytes, Answers::Echo).map(|r| r.status)
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
    fn a_question_says_its_class_and_priority_and_a_cancel_whom_it_is_for() {
        #[rustfmt::skip]
        let wanted = [
            0, 0, 0x00, 0x00, 4, 0, 0, 0, 76, 0, 0, 0,
            0, 0, 0x02, 0x00, 28, 0, 0, 0,
            b'1', b'.', b'2', b'.', b'8', b'4', b'0', b'.', b'1', b'0', b'0', b'0', b'8', b'.',
            b'5', b'.', b'1', b'.', b'4', b'.', b'1', b'.', b'2', b'.', b'2', b'.', b'1', 0,
            0, 0, 0x00, 0x01, 2, 0, 0, 0, 0x20, 0,
            0, 0, 0x10, 0x01, 2, 0, 0, 0, 1, 0,
            0, 0, 0x00, 0x07, 2, 0, 0, 0, 2, 0,
            0, 0, 0x00, 0x08, 2, 0, 0, 0, 1, 0,
        ];
        assert_eq!(find_request("1.2.840.10008.5.1.4.1.2.2.1", 2), wanted);
        #[rustfmt::skip]
        let wanted = [
            0, 0, 0x00, 0x00, 4, 0, 0, 0, 30, 0, 0, 0,
            0, 0, 0x00, 0x01, 2, 0, 0, 0, 0xff, 0x0f,
            0, 0, 0x20, 0x01, 2, 0, 0, 0, 1, 0,
            0, 0, 0x00, 0x08, 2, 0, 0, 0, 0x01, 0x01,
        ];
        assert_eq!(cancel_request(), wanted);
    }

    #[test]
    fn an_answer_with_a_match_says_that_its_data_set_follows() {
        let pending = shorts(&[(FIELD, 0x8020), (ANSWERS, 1), (DATA_SET, 0), (STATUS, 0xFF00)]);
        let found = response(&pending, Answers::Find).unwrap();
        assert_eq!((found, found.is_pending()), (Response { status: 0xFF00, data_set: true }, true));
        assert_eq!(response(&pending, Answers::Echo), Err(Invalid));
        let last = response(&answer(0x8020, 1, 0), Answers::Find).unwrap();
        assert_eq!((last, last.is_pending()), (Response { status: 0, data_set: false }, false));
    }

    #[test]
    fn the_status_is_read_and_only_of_an_answer_to_the_request() {
        assert_eq!(echo_status(&answer(0x8030, 1, 0)), Ok(0));
        assert_eq!(echo_status(&answer(0x8030, 1, 0x0122)), Ok(0x0122));
        assert_eq!(echo_status(&answer(0x8001, 1, 0)), Err(Invalid), "C-STORE-RSP");
        assert_eq!(echo_status(&answer(0x8030, 2, 0)), Err(Invalid), "of another request");
        assert_eq!(echo_status(&echo_request()), Err(Invalid), "a request");
        assert_eq!(echo_status(b""), Err(Invalid));
        let whole = answer(0x8030, 1, 0);
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
            let mut command = if valid { answer(0x8030, 1, 0) } else { Vec::new() };
            let at = at.min(command.len());
            command.splice(at..at, bytes);
            let _ = echo_status(&command);
        }
    }
}
