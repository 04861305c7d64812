//! PDUs of the upper layer (PS3.8 §9.3): cut out of what comes, and read. One may come in many pieces, and many in one.

use dicom_ul::pdu::{MAXIMUM_PDU_SIZE, PDataValueType, Pdu as Known, read_pdu};

use super::Rejection;

/// Largest PDU that is taken in, in bytes after its header. medley asks for 16 KiB at most, which binds data alone: an answer about 128
/// contexts, each with the longest names, has less than this.
pub const MAX_PDU: usize = 128 * 1024;
/// Type, a reserved byte, and the length.
const HEADER: usize = 6;
/// What stands in A-ASSOCIATE-AC before its items (PS3.8 table 9-17).
const BEFORE_ITEMS: usize = 68;

/// What came is no PDU that may come here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// What a service sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pdu {
    /// A-ASSOCIATE-AC.
    Accepted(Acceptance),
    /// A-ASSOCIATE-RJ.
    Rejected(Rejection),
    /// P-DATA-TF: pieces of a message.
    Data(Vec<Fragment>),
    /// A-RELEASE-RQ.
    ReleaseAsked,
    /// A-RELEASE-RP.
    Released,
    /// A-ABORT.
    Aborted,
}

/// What A-ASSOCIATE-AC says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acceptance {
    /// The ids of the contexts that are accepted, each with its transfer syntax; empty where that is none.
    pub contexts: Vec<(u8, String)>,
    /// Longest P-DATA-TF that the service takes, in bytes after its header; 0 where it sets no bound (PS3.8 annex D.1).
    pub max_length: u32,
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The context it belongs to.
    pub context: u8,
    /// Whether it is a piece of a data set, and not of a command.
    pub data_set: bool,
    /// Whether the command, or the data set, ends with it.
    pub last: bool,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Cuts PDUs out of what comes.
#[derive(Clone, Debug, Default)]
pub struct Pdus {
    held: Vec<u8>,
}

impl Pdus {
    /// Takes in a piece. No more is held than one PDU, and the piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
    }

    /// The next PDU, once it is whole.
    ///
    /// # Errors
    /// When what is there is none, a larger one than is taken in, or none that a service may send: nothing after it can be read.
    pub fn next_pdu(&mut self) -> Result<Option<Pdu>, Invalid> {
        // the first byte tells a web server from DICOM; its length would never come
        match self.held.first() {
            None => return Ok(None),
            Some(2..=7) => {}
            Some(_) => return Err(Invalid),
        }
        let Some(&[a, b, c, d]) = self.held.get(2..HEADER) else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > MAX_PDU {
            return Err(Invalid);
        }
        let end = HEADER + length;
        let Some(whole) = self.held.get(..end) else { return Ok(None) };
        let pdu = read(whole)?;
        self.held.drain(..end);
        Ok(Some(pdu))
    }
}

/// Reads one PDU with its header.
fn read(whole: &[u8]) -> Result<Pdu, Invalid> {
    let body = whole.get(HEADER..).ok_or(Invalid)?;
    match whole.first() {
        Some(2) => accepted(body).map(Pdu::Accepted),
        Some(3) => match body {
            [_, result, source, reason, ..] => Ok(Pdu::Rejected(Rejection::of(*result, *source, *reason))),
            _ => Err(Invalid),
        },
        Some(4) => data(whole).map(Pdu::Data),
        Some(5) => Ok(Pdu::ReleaseAsked),
        Some(6) => Ok(Pdu::Released),
        Some(7) => Ok(Pdu::Aborted),
        _ => Err(Invalid),
    }
}

/// What A-ASSOCIATE-AC accepts. Of a context that is refused nothing but its result is significant (PS3.8 table 9-18).
fn accepted(body: &[u8]) -> Result<Acceptance, Invalid> {
    let mut found = Acceptance::default();
    for (kind, value) in items(body.get(BEFORE_ITEMS..).ok_or(Invalid)?)? {
        match kind {
            0x21 => {
                let &[id, _, result, _, ref rest @ ..] = value else { return Err(Invalid) };
                if result == 0 {
                    let syntax = items(rest)?.into_iter().find(|(kind, _)| *kind == 0x40).map(|(_, uid)| uid);
                    found.contexts.push((id, uid(syntax.unwrap_or_default())));
                }
            }
            0x50 => {
                let length = items(value)?.into_iter().find(|(kind, _)| *kind == 0x51).map(|(_, length)| length);
                if let Some(&[a, b, c, d]) = length {
                    found.max_length = u32::from_be_bytes([a, b, c, d]);
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Items and sub-items: a kind, a reserved byte, a length, and so many bytes.
fn items(mut rest: &[u8]) -> Result<Vec<(u8, &[u8])>, Invalid> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let &[kind, _, high, low, ref after @ ..] = rest else { return Err(Invalid) };
        let (value, next) = after.split_at_checked(usize::from(u16::from_be_bytes([high, low]))).ok_or(Invalid)?;
        found.push((kind, value));
        rest = next;
    }
    Ok(found)
}

/// A UID, which some pad; empty where it is none.
fn uid(bytes: &[u8]) -> String {
    let text = str::from_utf8(bytes).unwrap_or_default().trim_end_matches(['\0', ' ']);
    let plain = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if plain { text.to_owned() } else { String::new() }
}

/// The pieces of a message. The crate takes no more than it is given: a whole PDU, whose length is bounded.
fn data(whole: &[u8]) -> Result<Vec<Fragment>, Invalid> {
    match read_pdu(whole, MAXIMUM_PDU_SIZE, true) {
        Ok(Some(Known::PData { data })) => Ok(data
            .into_iter()
            .map(|value| Fragment {
                context: value.presentation_context_id,
                data_set: value.value_type == PDataValueType::Data,
                last: value.is_last,
                bytes: value.data,
            })
            .collect()),
        _ => Err(Invalid),
    }
}

#[cfg(test)]
#[path = "pdu_tests.rs"]
mod tests;
