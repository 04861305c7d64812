//! Frames of the minimal lower layer protocol: `0x0B`, a message, `0x1C 0x0D`. A frame may come in many pieces, and many in one.

/// Begins a frame.
const START: u8 = 0x0b;
/// Ends a message; `CR` follows.
const END: u8 = 0x1c;
const CR: u8 = 0x0d;
const LF: u8 = 0x0a;

/// What is wrong with what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Something else than a frame.
    NotFramed,
    /// More bytes than are taken in.
    TooLarge,
}

/// Puts a message into a frame. It must hold neither [`START`] nor [`END`], which no character of a message is.
#[must_use]
pub fn frame(message: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(message.len() + 3);
    framed.push(START);
    framed.extend_from_slice(message);
    framed.extend([END, CR]);
    framed
}

/// Takes frames out of what comes.
#[derive(Clone, Debug)]
pub struct Frames {
    held: Vec<u8>,
    limit: usize,
}

impl Frames {
    /// Frames of so many bytes at most.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { held: Vec::new(), limit }
    }

    /// Takes in a piece. No more is held than one frame may have, and the piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
    }

    /// The next message, once it is whole.
    ///
    /// # Errors
    /// When what is there is no frame, or a larger one than is taken in: nothing after it can be read.
    pub fn next_message(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        // some send line ends between frames
        let skip = self.held.iter().take_while(|b| matches!(**b, CR | LF)).count();
        self.held.drain(..skip);
        match self.held.first() {
            None => return Ok(None),
            Some(&START) => {}
            Some(_) => return Err(FrameError::NotFramed),
        }
        let end = self.held.iter().position(|b| *b == END);
        if end.unwrap_or(self.held.len()) > self.limit {
            return Err(FrameError::TooLarge);
        }
        match end.map(|end| (end, self.held.get(end + 1))) {
            None | Some((_, None)) => Ok(None),
            Some((end, Some(&CR))) => {
                let message = self.held[1..end].to_vec();
                self.held.drain(..end + 2);
                if message.contains(&START) { Err(FrameError::NotFramed) } else { Ok(Some(message)) }
            }
            Some((_, Some(_))) => Err(FrameError::NotFramed),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8], pieces: &[usize], limit: usize) -> (Vec<Vec<u8>>, Option<FrameError>) {
        let (mut frames, mut found, mut rest) = (Frames::new(limit), Vec::new(), bytes);
        let mut sizes = pieces.iter().copied().cycle();
        while !rest.is_empty() {
            let size = sizes.next().unwrap_or(1).clamp(1, rest.len());
            frames.push(&rest[..size]);
            rest = &rest[size..];
            loop {
                match frames.next_message() {
                    Ok(Some(message)) => found.push(message),
                    Ok(None) => break,
                    Err(error) => return (found, Some(error)),
                }
            }
        }
        (found, None)
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for bytes in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\x0bMSH\x1cX", b"\x0bMSH\x0bMSH\x1c\r", b"\x15"] {
            assert_eq!(all(bytes, &[100], 100).1, Some(FrameError::NotFramed), "{bytes:?}");
        }
        assert_eq!(all(b"\x0b0123456789", &[1], 8), (vec![], Some(FrameError::TooLarge)));
        assert_eq!(all(b"\r\n\x0ba\x1c\r\n\x0bb\x1c\r\x0bc", &[3], 8), (vec![b"a".to_vec(), b"b".to_vec()], None));
    }

    proptest! {
        #[test]
        fn frames_come_back_however_they_are_cut(
            messages in prop::collection::vec(prop::collection::vec(0x20_u8..0xff, 0..40), 0..6),
            pieces in prop::collection::vec(1_usize..30, 1..8),
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|m| frame(m)).collect();
            prop_assert_eq!(all(&bytes, &pieces, 100), (messages, None));
        }

        #[test]
        fn any_bytes_are_read_without_harm_and_alike_however_they_are_cut(
            bytes in prop::collection::vec(prop_oneof![Just(START), Just(END), Just(CR), any::<u8>()], 0..200),
            pieces in prop::collection::vec(1_usize..30, 1..8),
        ) {
            prop_assert_eq!(all(&bytes, &pieces, 50), all(&bytes, &[1], 50));
        }
    }
}
