//! How Redis is reached: its address, its login, TLS, and what the errors of its client mean.

use std::{path::PathBuf, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError,
    TlsCertificates, io::tcp::TcpSettings,
};

use super::{
    redis::Connected,
    store::{Failure, Server},
};
use crate::core::registry::Holder;

/// How Redis is reached.
#[derive(Clone, Debug)]
pub struct Redis {
    /// Where it is, with the user and the number of the database but without a password.
    pub(super) address: ConnectionInfo,
    /// Beginning of every key.
    pub(super) prefix: String,
    /// Where the password is; read anew for each connection.
    pub(super) password_file: Option<PathBuf>,
    /// Certificates of the authorities that vouch for the server, in PEM; read anew for each connection.
    pub(super) ca_file: Option<PathBuf>,
    /// How long entries stay that nobody renews.
    pub(super) ttl: Duration,
}

impl Redis {
    /// A server at `redis://[user@]host[:port][/database]`, or `rediss://…` for TLS.
    ///
    /// # Errors
    /// What is wrong with the address, without saying it: it may hold what should not be told.
    pub fn new(
        url: &str,
        prefix: String,
        password_file: Option<PathBuf>,
        ca_file: Option<PathBuf>,
        ttl: Duration,
    ) -> Result<Self, &'static str> {
        let address = url
            .into_connection_info()
            .map_err(|_| "must be redis://[user@]host[:port][/database], or rediss://… for TLS; look at its form")?;
        if address.redis_settings().password().is_some() {
            return Err(
                "must not hold a password, which would show in lists of processes: name a file with --redis-password-file",
            );
        }
        let tls = match address.addr() {
            ConnectionAddr::Tcp(..) => false,
            ConnectionAddr::TcpTls { insecure: false, .. } => true,
            _ => return Err("must be redis:// or rediss:// with a host, and a server's certificate is always checked"),
        };
        if tls != ca_file.is_some() {
            return Err(
                "rediss:// and --redis-ca-file belong together: the file holds the authority of the server's certificate",
            );
        }
        let address = address.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        Ok(Self { address, prefix, password_file, ca_file, ttl })
    }
}

impl Server for Redis {
    type Store = Connected;

    const NAME: &'static str = "redis";

    async fn connect(&self, holder: &Holder) -> Result<Connected, Failure> {
        let mut address = self.address.clone();
        if let Some(file) = &self.password_file {
            let text = tokio::fs::read_to_string(file).await.map_err(|_| Failure::FileUnreadable)?;
            let settings = address.redis_settings().clone().set_password(text.trim_end_matches(['\r', '\n']));
            address = address.set_redis_settings(settings);
        }
        let client = match &self.ca_file {
            None => Client::open(address),
            Some(file) => {
                let authority = tokio::fs::read(file).await.map_err(|_| Failure::FileUnreadable)?;
                Client::build_with_tls(address, TlsCertificates { client_tls: None, root_cert: Some(authority) })
            }
        };
        // the caller bounds the time of each step
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let client = client.map_err(|e| classify(&e))?;
        let connection = client.get_multiplexed_async_connection_with_config(&config).await.map_err(|e| {
            let tls = matches!(self.address.addr(), ConnectionAddr::TcpTls { .. });
            // what rustls finds comes as an I/O error of its own kind
            if tls && e.is_io_error() && !e.is_connection_refusal() && !e.is_timeout() {
                Failure::TlsFailed
            } else {
                classify(&e)
            }
        })?;
        Ok(Connected::new(connection, holder, self))
    }
}

/// What an error of the client means.
pub(super) fn classify(error: &RedisError) -> Failure {
    match error.code() {
        Some("NOAUTH" | "WRONGPASS") => Failure::LoginRefused,
        Some("NOPERM") => Failure::Forbidden,
        Some("READONLY") => Failure::ReadOnly,
        Some("OOM" | "MISCONF") => Failure::Full,
        Some("LOADING" | "BUSY" | "TRYAGAIN" | "MASTERDOWN" | "CLUSTERDOWN") => Failure::Busy,
        _ => match error.kind() {
            ErrorKind::AuthenticationFailed => Failure::LoginRefused,
            _ if error.is_timeout() => Failure::TimedOut,
            _ if error.is_io_error() || error.is_connection_dropped() || error.is_connection_refusal() => {
                Failure::Unreachable
            }
            _ => Failure::Unexpected,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str, ca: bool) -> &'static str {
        let ca = ca.then(|| PathBuf::from("/ca"));
        Redis::new(url, "p".to_owned(), None, ca, Duration::from_secs(60)).map(|_| ()).unwrap_err()
    }

    #[test]
    fn an_address_with_a_password_or_without_a_checked_server_is_refused_and_never_repeated() {
        for url in ["redis://:secret@127.0.0.1", "redis://user:secret@127.0.0.1/2", "rediss://u:secret@h/#insecure"] {
            let message = refused(url, url.starts_with("rediss"));
            assert!(message.contains("--redis-password-file") && !message.contains("secret"), "{message}");
        }
        assert!(refused("rediss://h:6379/#insecure", true).contains("certificate"));
        assert!(refused("rediss://h:6379", false).contains("--redis-ca-file"));
        assert!(refused("redis://h:6379", true).contains("belong together"));
        assert!(refused("unix:///run/redis.sock", false).contains("redis://"));
        assert!(refused("http://h", false).contains("redis://"));
        assert!(Redis::new("redis://user@h:6380/2", "p".to_owned(), None, None, Duration::from_secs(60)).is_ok());
    }
}
