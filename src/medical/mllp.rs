//! One message over MLLP, and its acknowledgement: probes and steps send with this.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::core::hl7::{
    ack::{self, Ack, MAX_ACK},
    mllp::{Frames, frame},
};

/// Why no acknowledgement came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAck {
    /// The connection broke, or could not be made.
    Broken(io::ErrorKind),
    /// The other side closed without a word, or in the middle of one.
    Closed,
    /// What came is no acknowledgement, or that of another message.
    Invalid,
}

/// Sends `message`, of which MSH-10 is `control_id`, and waits for its acknowledgement.
///
/// # Errors
/// When none came. The caller bounds the time.
pub async fn exchange<S>(mut stream: S, message: &[u8], control_id: &str) -> Result<Ack, NoAck>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broken = |e: io::Error| NoAck::Broken(e.kind());
    stream.write_all(&frame(message)).await.map_err(broken)?;
    let (mut frames, mut piece) = (Frames::new(MAX_ACK), [0; 4096]);
    loop {
        if let Some(answer) = frames.next_message().map_err(|_| NoAck::Invalid)? {
            let ack = ack::read(&answer).map_err(|_| NoAck::Invalid)?;
            return if ack.control_id == control_id { Ok(ack) } else { Err(NoAck::Invalid) };
        }
        match stream.read(&mut piece).await.map_err(broken)? {
            0 => return Err(NoAck::Closed),
            n => frames.push(&piece[..n]),
        }
    }
}
