//! Lookups at the name servers that the machine is set up with.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use hickory_resolver::{TokioResolver, net::NetError, proto::rr::RecordType};
use tokio::time::timeout;

use super::resolver::{Answer, LookupIo};
use crate::core::discovery::lookup::LookupFailure;

/// Longest time for one lookup, whatever the machine's settings for retries are.
const DEADLINE: Duration = Duration::from_secs(15);

/// The machine's name servers, as `/etc/resolv.conf` and `/etc/hosts` name them when the program starts.
#[derive(Clone, Debug)]
pub struct NameServers {
    resolver: TokioResolver,
}

/// The machine's settings for name lookups cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the name servers from /etc/resolv.conf: {0}; host names of external services need at least one")]
pub struct NoNameServers(#[from] NetError);

impl NameServers {
    /// Reads the machine's settings.
    ///
    /// # Errors
    ///
    /// When `/etc/resolv.conf` is missing or malformed.
    pub fn from_system() -> Result<Self, NoNameServers> {
        let mut builder = TokioResolver::builder_tokio()?;
        // names are looked up again when their time to live has passed, and failures at their own pace: nothing to remember
        builder.options_mut().cache_size = 0;
        Ok(Self { resolver: builder.build()? })
    }

    /// One family of a name's addresses, and how long they hold.
    async fn family<T>(
        &self,
        name: &str,
        record: RecordType,
        pick: impl Fn(IpAddr) -> Option<T>,
    ) -> Result<(Vec<T>, Option<Duration>), LookupFailure> {
        match timeout(DEADLINE, self.resolver.lookup(name, record)).await {
            Ok(Ok(lookup)) => {
                let addresses = lookup.answers().iter().filter_map(|r| pick(r.data.ip_addr()?)).collect();
                Ok((addresses, Some(lookup.valid_until().saturating_duration_since(Instant::now()))))
            }
            Ok(Err(e)) if e.is_no_records_found() => Ok((Vec::new(), None)),
            Ok(Err(NetError::Timeout)) | Err(_) => Err(LookupFailure::Timeout),
            Ok(Err(_)) => Err(LookupFailure::ServerFailure),
        }
    }
}

impl LookupIo for NameServers {
    async fn lookup(&self, host: &str) -> Answer {
        // a name with a dot is whole: the search list of a pod would ask the cluster's DNS for every outside name thrice, and
        // could find another host
        let name = if host.contains('.') && !host.ends_with('.') { format!("{host}.") } else { host.to_owned() };
        let v4 = self.family::<Ipv4Addr>(&name, RecordType::A, |a| match a {
            IpAddr::V4(a) => Some(a),
            IpAddr::V6(_) => None,
        });
        let v6 = self.family::<Ipv6Addr>(&name, RecordType::AAAA, |a| match a {
            IpAddr::V6(a) => Some(a),
            IpAddr::V4(_) => None,
        });
        let (v4, v6) = futures::join!(v4, v6);
        let holds = [v4.as_ref().ok().and_then(|(_, t)| *t), v6.as_ref().ok().and_then(|(_, t)| *t)];
        Answer {
            ttl: holds.into_iter().flatten().min().unwrap_or_default(),
            v4: v4.map(|(list, _)| list),
            v6: v6.map(|(list, _)| list),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hickory_resolver::{
        config::{ConnectionConfig, NameServerConfig, ResolverConfig},
        net::runtime::TokioRuntimeProvider,
    };
    use tokio::net::UdpSocket;

    use super::*;

    /// A name server on loopback: answers A and AAAA of each name by its first label.
    async fn name_server() -> u16 {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let port = socket.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut buffer = [0_u8; 512];
            while let Ok((n, from)) = socket.recv_from(&mut buffer).await {
                if let Some(reply) = reply(&buffer[..n]) {
                    let _ = socket.send_to(&reply, from).await;
                }
            }
        });
        port
    }

    /// RFC 1035 by hand: header, the question as it came, then the answers.
    fn reply(query: &[u8]) -> Option<Vec<u8>> {
        let mut end = 12;
        while query[end] != 0 {
            end += usize::from(query[end]) + 1;
        }
        let label = &query[13..13 + usize::from(query[12])];
        let record = u16::from_be_bytes([query[end + 1], query[end + 2]]);
        let question = &query[12..end + 5];
        let data: Vec<Vec<u8>> = match (label, record) {
            (b"both" | b"BOTH", 1) => vec![vec![192, 0, 2, 2], vec![192, 0, 2, 1]],
            (b"both" | b"BOTH", 28) => vec!["2001:db8::1".parse::<Ipv6Addr>().unwrap().octets().to_vec()],
            (b"half", 1) => vec![vec![192, 0, 2, 7]],
            _ => vec![],
        };
        let code = match (label, record) {
            (b"half", 28) => 2, // SERVFAIL
            (b"none", _) => 3,  // NXDOMAIN
            (b"mute", _) => return None,
            _ => 0,
        };
        let mut out =
            vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, u8::try_from(data.len()).unwrap(), 0, 0, 0, 0];
        out.extend_from_slice(question);
        for rdata in data {
            out.extend_from_slice(&[0xc0, 12, 0, u8::try_from(record).unwrap(), 0, 1, 0, 0, 0, 42]);
            out.extend_from_slice(&u16::try_from(rdata.len()).unwrap().to_be_bytes());
            out.extend_from_slice(&rdata);
        }
        Some(out)
    }

    async fn servers() -> NameServers {
        let mut connection = ConnectionConfig::udp();
        connection.port = name_server().await;
        let server = NameServerConfig::new("127.0.0.1".parse().unwrap(), true, vec![connection]);
        let config = ResolverConfig::from_parts(None, vec![], vec![server]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().cache_size = 0;
        builder.options_mut().timeout = Duration::from_millis(200);
        builder.options_mut().attempts = 1;
        NameServers { resolver: builder.build().unwrap() }
    }

    #[tokio::test]
    async fn both_families_come_with_their_time_to_live() {
        let answer = servers().await.lookup("both.example").await;
        assert_eq!(answer.v4.map(|l| l.len()), Ok(2));
        assert_eq!(answer.v6, Ok(vec!["2001:db8::1".parse().unwrap()]));
        assert!((40..=42).contains(&answer.ttl.as_secs()), "{:?}", answer.ttl);
    }

    #[tokio::test]
    async fn a_family_that_fails_does_not_hide_the_other() {
        let answer = servers().await.lookup("half.example").await;
        assert_eq!(answer.v4, Ok(vec!["192.0.2.7".parse().unwrap()]));
        assert_eq!(answer.v6, Err(LookupFailure::ServerFailure));
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_told_from_a_server_that_is_silent() {
        let servers = servers().await;
        let none = servers.lookup("none.example").await;
        assert_eq!((none.v4, none.v6), (Ok(vec![]), Ok(vec![])));
        let mute = servers.lookup("mute.example").await;
        assert_eq!((mute.v4, mute.v6), (Err(LookupFailure::Timeout), Err(LookupFailure::Timeout)));
    }
}
