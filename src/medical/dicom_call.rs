//! C-ECHO and C-FIND of a workflow step.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout_at},
};

use super::{
    calls::{CONNECT, failed, late, unconnected},
    dicom::{Association, Failure},
    tls::Trust,
};
use crate::{
    api::vocabulary::ErrorClass,
    core::{
        coordination::outcome::CallResult,
        dicom::{
            self, Rejection, Titles,
            association::{Ask, Done},
        },
        discovery::target::TlsTarget,
    },
};

/// Connects and asks. Neither an echo nor a question has an effect, so it is always known what came of it.
pub(super) async fn call(
    trust: &Trust,
    endpoint: SocketAddr,
    tls: Option<&TlsTarget>,
    titles: &Titles,
    what: Ask,
    timeout: Duration,
) -> CallResult {
    let deadline = Instant::now() + timeout;
    let begin = deadline.min(Instant::now() + CONNECT);
    match timeout_at(begin, trust.connect(endpoint, tls)).await {
        Ok(Ok(mut stream)) => {
            let found = ask(&mut stream, titles, what, deadline, timeout).await;
            match stream.refusal() {
                Some(reason) if matches!(found, CallResult::Failed { .. }) => unconnected(reason, endpoint),
                _ => found,
            }
        }
        Ok(Err(reason)) => unconnected(reason, endpoint),
        Err(_) if begin == deadline => late(timeout),
        Err(_) => failed(ErrorClass::Connection, false, format!("cannot connect within {CONNECT:?} (to {endpoint})")),
    }
}

async fn ask<S>(stream: S, titles: &Titles, what: Ask, deadline: Instant, timeout: Duration) -> CallResult
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let refused = match &what {
        Ask::Echo(_) => "the service refuses the Verification SOP class, and so every echo",
        Ask::Find(..) => "the service does not take questions of this model: it refuses its SOP class for C-FIND",
    };
    let mut association = match Association::new(stream, titles, what) {
        Ok(association) => association,
        Err(failure) => return result(Err(failure), refused),
    };
    let found = timeout_at(deadline, association.ask()).await;
    // an association is ended, not dropped
    association.finish(deadline).await;
    found.map_or_else(|_| late(timeout), |found| result(found, refused))
}

/// What a step sees of it. Of what the service sent nothing is repeated in words but numbers of the standard.
fn result(found: Result<Done, Failure>, refused: &str) -> CallResult {
    use dicom::Failure as Why;
    let (class, sent, message) = match found {
        Ok(Done::Echoed(_)) => return CallResult::Echoed { status: 0 },
        Ok(Done::Found(found)) => return CallResult::Found(found),
        Err(Failure::Dicom(Why::Status(status))) => return CallResult::Echoed { status },
        Err(Failure::Io(_) | Failure::Dicom(Why::Closed)) => {
            (ErrorClass::Connection, true, "the connection broke before the answer")
        }
        Err(Failure::Dicom(Why::Aborted)) => (ErrorClass::Connection, true, "the service aborted the association"),
        Err(Failure::Dicom(Why::Invalid)) => {
            (ErrorClass::InvalidResult, true, "what answers does not speak DICOM as it must")
        }
        Err(Failure::Dicom(Why::Titles)) => {
            (ErrorClass::Configuration, false, "an AE title is not one: 1 to 16 characters, not only spaces")
        }
        Err(Failure::Dicom(Why::Rejected(why))) => match why {
            Rejection::Called => (
                ErrorClass::Configuration,
                false,
                "the service does not know the called AE title: check calledAeTitle of its interface",
            ),
            Rejection::Calling => (
                ErrorClass::Configuration,
                false,
                "the service does not know the calling AE title: register it there, or set another callingAeTitle",
            ),
            Rejection::Overloaded => (ErrorClass::Overloaded, false, "the service takes no association now"),
            Rejection::Other => (ErrorClass::Rejected, false, "the service rejects the association"),
        },
        Err(Failure::Dicom(Why::ContextRefused)) => (ErrorClass::Configuration, false, refused),
    };
    failed(class, sent, message.to_owned())
}

#[cfg(test)]
#[path = "dicom_call_tests.rs"]
mod tests;
