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
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            EndpointReason::TcpUnreachable
        }
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
    fn the_kernel_giving_up_no_route_and_a_broken_connection_are_told_apart() {
        assert_eq!(classify(io::ErrorKind::TimedOut), EndpointReason::TcpTimeout);
        assert_eq!(classify(io::ErrorKind::HostUnreachable), EndpointReason::TcpUnreachable);
        assert_eq!(classify(io::ErrorKind::ConnectionReset), EndpointReason::TcpFailed);
    }
}
