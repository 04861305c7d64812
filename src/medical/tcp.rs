//! TCP connections, and what their failures mean.

use std::{io, net::SocketAddr};

use tokio::net::TcpStream;

use crate::api::medical_service::EndpointReason;

/// Connects.
///
/// # Errors
///
/// The reason when there is no connection. The caller bounds the time.
pub async fn connect(address: SocketAddr) -> Result<TcpStream, EndpointReason> {
    let stream = TcpStream::connect(address).await.map_err(|e| classify(e.kind()))?;
    // requests are small and sent whole: waiting for more to send would only delay them
    stream.set_nodelay(true).map_err(|e| classify(e.kind()))?;
    Ok(stream)
}

/// The layer that an I/O error speaks of.
#[must_use]
pub const fn classify(kind: io::ErrorKind) -> EndpointReason {
    match kind {
        io::ErrorKind::ConnectionRefused => EndpointReason::TcpRefused,
        io::ErrorKind::TimedOut => EndpointReason::TcpTimeout,
        _ => EndpointReason::TcpFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_where_nobody_listens_refuses() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(connect(address).await.is_ok());
        drop(listener);
        assert_eq!(connect(address).await.map(drop), Err(EndpointReason::TcpRefused));
    }

    #[test]
    fn the_kernel_giving_up_is_a_timeout_and_no_route_is_a_failure() {
        assert_eq!(classify(io::ErrorKind::TimedOut), EndpointReason::TcpTimeout);
        assert_eq!(classify(io::ErrorKind::HostUnreachable), EndpointReason::TcpFailed);
    }
}
