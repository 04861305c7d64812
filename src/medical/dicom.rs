//! C-ECHO over a connection.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::core::dicom::{
    self, Titles,
    association::{self, Farewell, Next},
};

/// Why there is no good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection broke.
    Io(io::ErrorKind),
    /// What DICOM says.
    Dicom(dicom::Failure),
}

/// An echo on its connection.
pub struct Echo<S> {
    stream: S,
    exchange: association::Echo,
}

impl<S> Echo<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Between these two on this connection.
    ///
    /// # Errors
    /// When one of the titles cannot be sent.
    pub fn new(stream: S, titles: &Titles) -> Result<Self, Failure> {
        Ok(Self { stream, exchange: association::Echo::new(titles).map_err(Failure::Dicom)? })
    }

    /// Asks for an association and sends C-ECHO; well when the status of the answer is 0.
    ///
    /// # Errors
    /// What failed, by its layer. The caller bounds the time.
    pub async fn ask(&mut self) -> Result<(), Failure> {
        let mut piece = [0; 4096];
        loop {
            match self.exchange.step() {
                Next::Send(bytes) => self.stream.write_all(&bytes).await.map_err(|e| Failure::Io(e.kind()))?,
                Next::Receive => match self.stream.read(&mut piece).await.map_err(|e| Failure::Io(e.kind()))? {
                    0 => self.exchange.closed(),
                    n => self.exchange.push(&piece[..n]),
                },
                Next::Ended(what) => return what.map_err(Failure::Dicom),
            }
        }
    }

    /// Ends the association, wherever it stands. What comes of this changes nothing; the caller bounds the time.
    pub async fn finish(mut self) {
        let (bytes, answered) = match self.exchange.farewell() {
            Farewell::Nothing => return,
            Farewell::Abort(bytes) => (bytes, false),
            Farewell::Release(bytes) => (bytes, true),
        };
        if self.stream.write_all(&bytes).await.is_ok() && answered {
            // who closes before the answer is read resets the connection, which peers log as a failure
            let _ = self.stream.read(&mut [0; 64]).await;
        }
    }
}
