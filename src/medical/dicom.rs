//! One association over a connection, for one request.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

use crate::core::dicom::{
    self, Titles,
    association::{self, Ask, Done, Farewell, Next},
};

/// Longest time for the end of an association. What it was asked for is known by then.
pub const FAREWELL: Duration = Duration::from_secs(1);
/// Longest time to send an abort to who did not end in time.
const ABORT: Duration = Duration::from_millis(100);

/// Why there is no good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection broke.
    Io(io::ErrorKind),
    /// What DICOM says.
    Dicom(dicom::Failure),
}

/// An association on its connection.
pub struct Association<S> {
    stream: S,
    exchange: association::Association,
}

impl<S> Association<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Between these two on this connection.
    ///
    /// # Errors
    /// When one of the titles cannot be sent.
    pub fn new(stream: S, titles: &Titles, ask: Ask) -> Result<Self, Failure> {
        Ok(Self { stream, exchange: association::Association::new(titles, ask).map_err(Failure::Dicom)? })
    }

    /// Asks for an association, and in it what it is for.
    ///
    /// # Errors
    /// What failed, by its layer. The caller bounds the time.
    pub async fn ask(&mut self) -> Result<Done, Failure> {
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

    /// Ends the association, wherever it stands, within [`FAREWELL`] and until `deadline` at most. What comes of this changes nothing.
    pub async fn finish(mut self, deadline: Instant) {
        let until = deadline.min(Instant::now() + FAREWELL);
        if timeout_at(until, self.part()).await.is_err() {
            self.exchange.give_up();
            if let Farewell::Abort(bytes) = self.exchange.farewell() {
                let _ = timeout(ABORT, self.stream.write_all(&bytes)).await;
            }
        }
    }

    async fn part(&mut self) {
        let mut piece = [0; 4096];
        loop {
            let sent = match self.exchange.farewell() {
                Farewell::Nothing => return,
                Farewell::Abort(bytes) => {
                    let _ = self.stream.write_all(&bytes).await;
                    return;
                }
                Farewell::Release(bytes) => {
                    if self.stream.write_all(&bytes).await.is_ok() {
                        // who closes before the answer is read resets the connection, which peers log as a failure
                        let _ = self.stream.read(&mut piece).await;
                    }
                    return;
                }
                Farewell::Cancel(bytes) => {
                    self.exchange.cancelled();
                    self.stream.write_all(&bytes).await
                }
                Farewell::Receive => self.stream.read(&mut piece).await.map(|n| match n {
                    0 => self.exchange.closed(),
                    n => self.exchange.push(&piece[..n]),
                }),
            };
            if sent.is_err() {
                return;
            }
        }
    }
}
