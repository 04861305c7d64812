//! The message of a probe over MLLP, and its acknowledgement.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    mllp::{NoAck, exchange},
    tcp,
};
use crate::api::medical_service::EndpointReason;

/// Sends `message`, of which MSH-10 is `control_id`, and waits for its acknowledgement. Whatever that says, the other side reads
/// messages and answers them: network management itself is refused by most.
///
/// # Errors
/// `AckInvalid` for what is no acknowledgement of this message, or when the other side closes without one; a TCP reason when the
/// connection broke. The caller bounds the time.
pub async fn ask<S>(stream: S, message: &[u8], control_id: &str) -> Result<(), EndpointReason>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match exchange(stream, message, control_id).await {
        Ok(_) => Ok(()),
        Err(NoAck::Broken(kind)) => Err(tcp::classify(kind)),
        Err(NoAck::Closed | NoAck::Invalid) => Err(EndpointReason::AckInvalid),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::{sleep, timeout},
    };

    use super::*;
    use crate::core::hl7::mllp::frame;

    const MESSAGE: &[u8] = b"MSH|^~\\&|A|B|C|D|1||NMD^N02|42|D|2.5.1\rNST|N\r";

    /// What comes of it when the other side answers in these pieces, each after a second, and closes then where it is to.
    async fn answered(pieces: &[&[u8]], closes: bool) -> Option<Result<(), EndpointReason>> {
        let (here, mut there) = duplex(64 * 1024);
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|p| p.to_vec()).collect();
        let peer = async move {
            let mut sent = vec![0; MESSAGE.len() + 3];
            there.read_exact(&mut sent).await.unwrap();
            assert_eq!(sent, frame(MESSAGE));
            for piece in pieces {
                sleep(Duration::from_secs(1)).await;
                if there.write_all(&piece).await.is_err() {
                    return;
                }
            }
            if !closes {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            found = timeout(Duration::from_secs(3600), ask(here, MESSAGE, "42")) => found.ok(),
            () = async { peer.await; std::future::pending().await } => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn any_acknowledgement_of_the_message_is_an_answer() {
        for code in ["AA", "AE", "AR", "CA", "CE", "CR"] {
            let ack = frame(format!("MSH|^~\\&|C|D\rMSA|{code}|42\r").as_bytes());
            assert_eq!(answered(&[&ack], true).await, Some(Ok(())), "{code}");
        }
        let ack = frame(b"MSH|^~\\&|C|D\rMSA|AA|42\r");
        let cut: Vec<&[u8]> = ack.chunks(3).collect();
        assert_eq!(answered(&cut, false).await, Some(Ok(())), "in pieces");
        let merged = [ack.clone(), frame(b"MSH|^~\\&|C|D\rMSA|AA|43\r")].concat();
        assert_eq!(answered(&[&merged], false).await, Some(Ok(())), "with another one behind it");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_acknowledgement_of_it_is_invalid() {
        let large = [&b"\x0bMSH|"[..], &vec![b'x'; 128 * 1024]].concat();
        let cases: [&[u8]; 6] = [
            b"\x0bMSH|^~\\&|C|D\rMSA|AA|41\r\x1c\r",
            b"\x0bMSH|^~\\&|C|D\rPID|1\r\x1c\r",
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"MSH|^~\\&|C|D\rMSA|AA|42\r",
            b"\x0bMSH|^~\\&|C|D\rMSA|AA|42\r",
            &large,
        ];
        for case in cases {
            let found = answered(&[case], true).await;
            assert_eq!(found, Some(Err(EndpointReason::AckInvalid)), "{}", String::from_utf8_lossy(&case[..20]));
        }
        assert_eq!(answered(&[], true).await, Some(Err(EndpointReason::AckInvalid)), "it closes without a word");
        assert_eq!(answered(&[], false).await, None, "silence is the caller's to bound");
    }
}
