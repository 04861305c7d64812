//! A connection that notices when the other side does not take medley for who it is. In TLS 1.3 that is said after the handshake, in
//! place of the first answer (RFC 8446 §4.4.2.4, §6.2): whoever reads or writes then finds a broken connection.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use rustls::{AlertDescription, Error as TlsError};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::api::medical_service::EndpointReason;

/// What the other side said of who calls; all copies say the same.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    refused: Arc<AtomicBool>,
    shown: bool,
}

impl Verdict {
    /// That it does not want this caller, if it said so.
    pub(super) fn reason(&self) -> Option<EndpointReason> {
        self.refused.load(Ordering::Acquire).then(|| reason(self.shown))
    }

    fn note(&self, error: &io::Error) {
        let why = error.get_ref().and_then(|e| e.downcast_ref());
        if why.and_then(|why| refusal(why, self.shown)).is_some() {
            self.refused.store(true, Ordering::Release);
        }
    }
}

/// What an error of TLS says of who calls: the other side's word about the certificate that it was `shown`, or was not.
pub(super) const fn refusal(error: &TlsError, shown: bool) -> Option<EndpointReason> {
    use AlertDescription as A;
    let TlsError::AlertReceived(alert) = error else { return None };
    match alert {
        A::CertificateRequired
        | A::NoCertificate
        | A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::UnknownCA
        | A::AccessDenied => Some(reason(shown)),
        // its signature is not that of the authority which it names
        A::DecryptError if shown => Some(reason(shown)),
        _ => None,
    }
}

const fn reason(shown: bool) -> EndpointReason {
    if shown { EndpointReason::ClientCertificateRefused } else { EndpointReason::ClientCertificateMissing }
}

/// A connection inside TLS.
#[derive(Debug)]
pub(super) struct Secured {
    stream: TlsStream<TcpStream>,
    verdict: Verdict,
}

impl Secured {
    /// A connection whose handshake is over; `shown` says whether there was a client certificate for it.
    pub(super) fn new(stream: TlsStream<TcpStream>, shown: bool) -> Self {
        Self { stream, verdict: Verdict { refused: Arc::default(), shown } }
    }

    /// The connection.
    pub(super) const fn tls(&self) -> &TlsStream<TcpStream> {
        &self.stream
    }

    /// What the other side said of who calls.
    pub(super) const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Notes an error of writing. Who refuses a caller says why and closes, so the reason may be there to be read.
    fn broken(&mut self, context: &mut Context<'_>, error: io::Error) -> io::Error {
        self.verdict.note(&error);
        let mut scratch = [0; 64];
        if let Poll::Ready(Err(why)) = Pin::new(&mut self.stream).poll_read(context, &mut ReadBuf::new(&mut scratch)) {
            self.verdict.note(&why);
        }
        error
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        Poll::Ready(read.inspect_err(|e| self.verdict.note(e)))
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        Poll::Ready(written.map_err(|e| self.broken(context, e)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(context));
        Poll::Ready(flushed.map_err(|e| self.broken(context, e)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
