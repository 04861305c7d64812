//! Data sets in Implicit VR Little Endian (PS3.5 annex A.1), which every service must take (PS3.5 §10.1).

use super::pdu::Invalid;

/// Deepest nesting that is read.
const MAX_DEPTH: u8 = 8;
/// A length that is not told: a delimiter ends it (PS3.5 §7.5).
const UNDEFINED: u32 = u32::MAX;
const ITEM: u32 = 0xFFFE_E000;
const ITEM_END: u32 = 0xFFFE_E00D;
const SEQUENCE_END: u32 = 0xFFFE_E0DD;

/// One element; `padding` makes its length even.
pub(super) fn element(tag: u32, value: &[u8], padding: u8) -> Vec<u8> {
    let odd = value.len() % 2;
    let mut bytes = header(tag, value.len() + odd);
    bytes.extend_from_slice(value);
    bytes.extend(std::iter::repeat_n(padding, odd));
    bytes
}

/// A sequence of one item.
pub(super) fn sequence(tag: u32, item: &[u8]) -> Vec<u8> {
    let mut bytes = header(tag, item.len() + 8);
    bytes.extend(header(ITEM, item.len()));
    bytes.extend_from_slice(item);
    bytes
}

fn header(tag: u32, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + length);
    for half in [tag >> 16, tag & 0xFFFF] {
        bytes.extend(u16::try_from(half).unwrap_or_default().to_le_bytes());
    }
    bytes.extend(u32::try_from(length).unwrap_or(UNDEFINED - 1).to_le_bytes());
    bytes
}

/// What an element holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// So many bytes: a value, or a sequence whose length is told.
    Bytes(&'a [u8]),
    /// The items of a sequence without a told length.
    Items(Vec<&'a [u8]>),
}

impl<'a> Content<'a> {
    /// The items, where it is a sequence.
    pub(super) fn items(self) -> Result<Vec<&'a [u8]>, Invalid> {
        match self {
            Self::Items(items) => Ok(items),
            Self::Bytes(mut bytes) => items(&mut bytes, false, 0),
        }
    }
}

/// All elements of a data set, each with its tag.
///
/// # Errors
/// When it is none.
pub(super) fn elements(mut bytes: &[u8]) -> Result<Vec<(u32, Content<'_>)>, Invalid> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (tag, length) = take_header(&mut bytes)?;
        found.push((tag, content(&mut bytes, length, 0)?));
    }
    Ok(found)
}

fn take_header(rest: &mut &[u8]) -> Result<(u32, u32), Invalid> {
    let &[g0, g1, e0, e1, a, b, c, d, ref after @ ..] = *rest else { return Err(Invalid) };
    *rest = after;
    let [group, element] = [[g0, g1], [e0, e1]].map(|half| u32::from(u16::from_le_bytes(half)));
    Ok((group << 16 | element, u32::from_le_bytes([a, b, c, d])))
}

fn take<'a>(rest: &mut &'a [u8], length: u32) -> Result<&'a [u8], Invalid> {
    let length = usize::try_from(length).map_err(|_| Invalid)?;
    let (value, after) = rest.split_at_checked(length).ok_or(Invalid)?;
    *rest = after;
    Ok(value)
}

fn content<'a>(rest: &mut &'a [u8], length: u32, depth: u8) -> Result<Content<'a>, Invalid> {
    if length == UNDEFINED {
        return items(rest, true, depth).map(Content::Items);
    }
    take(rest, length).map(Content::Bytes)
}

/// The items of a sequence, up to its delimiter or to the end.
fn items<'a>(rest: &mut &'a [u8], delimited: bool, depth: u8) -> Result<Vec<&'a [u8]>, Invalid> {
    if depth > MAX_DEPTH {
        return Err(Invalid);
    }
    let mut found = Vec::new();
    while delimited || !rest.is_empty() {
        match take_header(rest)? {
            (ITEM, UNDEFINED) => found.push(open_item(rest, depth)?),
            (ITEM, length) => found.push(take(rest, length)?),
            (SEQUENCE_END, _) if delimited => break,
            _ => return Err(Invalid),
        }
    }
    Ok(found)
}

/// An item that a delimiter ends.
fn open_item<'a>(rest: &mut &'a [u8], depth: u8) -> Result<&'a [u8], Invalid> {
    let whole = *rest;
    loop {
        let before = rest.len();
        let (tag, length) = take_header(rest)?;
        if tag == ITEM_END {
            return whole.get(..whole.len() - before).ok_or(Invalid);
        }
        content(rest, length, depth + 1)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open(tag: u32) -> Vec<u8> {
        let mut bytes = header(tag, 0);
        bytes.splice(4.., UNDEFINED.to_le_bytes());
        bytes
    }

    #[test]
    fn elements_are_written_as_the_standard_says() {
        assert_eq!(element(0x0008_0052, b"STUDY", b' '), b"\x08\0\x52\0\x06\0\0\0STUDY ");
        assert_eq!(element(0x0020_000D, b"", 0), b"\x20\0\x0d\0\0\0\0\0");
        assert_eq!(sequence(0x0040_0100, b"ab"), b"\x40\0\0\x01\x0a\0\0\0\xfe\xff\0\xe0\x02\0\0\0ab");
    }

    #[test]
    fn a_sequence_is_read_with_and_without_its_length() {
        let inner = element(0x0008_0060, b"CT", b' ');
        let deeper =
            [open(0x0040_0008), open(ITEM), inner.clone(), header(ITEM_END, 0), header(SEQUENCE_END, 0)].concat();
        let item = [inner.clone(), deeper].concat();
        let told = sequence(0x0040_0100, &item);
        let untold =
            [open(0x0040_0100), open(ITEM), item.clone(), header(ITEM_END, 0), header(SEQUENCE_END, 0)].concat();
        let half = [open(0x0040_0100), header(ITEM, item.len()), item.clone(), header(SEQUENCE_END, 0)].concat();
        for bytes in [told, untold, half] {
            let all = [bytes.clone(), inner.clone()].concat();
            let mut found = elements(&all).unwrap();
            assert_eq!(found.pop(), Some((0x0008_0060, Content::Bytes(b"CT"))));
            assert_eq!(found.pop().unwrap().1.items(), Ok(vec![item.as_slice()]));
            for cut in 1..bytes.len() {
                let read = elements(&bytes[..cut])
                    .and_then(|found| found.into_iter().map(|(_, c)| c.items()).collect::<Result<Vec<_>, _>>());
                assert_eq!(read, Err(Invalid), "cut at {cut}");
            }
        }
        assert_eq!(elements(b""), Ok(Vec::new()));
    }

    #[test]
    fn nesting_has_an_end() {
        let deep = |levels: usize| {
            let begins = [open(0x0040_0100), open(ITEM)].concat().repeat(levels);
            [begins, [header(ITEM_END, 0), header(SEQUENCE_END, 0)].concat().repeat(levels)].concat()
        };
        assert!(elements(&deep(usize::from(MAX_DEPTH) + 1)).is_ok());
        assert_eq!(elements(&deep(usize::from(MAX_DEPTH) + 2)), Err(Invalid));
        assert_eq!(elements(&deep(100_000)), Err(Invalid));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(parts in prop::collection::vec(prop_oneof![
            Just(open(0x0040_0100)), Just(open(ITEM)), Just(header(ITEM_END, 0)), Just(header(SEQUENCE_END, 0)),
            Just(element(0x0008_0060, b"CT", b' ')), prop::collection::vec(any::<u8>(), 0..12),
        ], 0..40)) {
            let bytes = parts.concat();
            if let Ok(found) = elements(&bytes) {
                for (_, content) in found {
                    let _ = content.items();
                }
            }
        }
    }
}
