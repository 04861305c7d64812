//! Which addresses medley never connects to, whoever asks.
//!
//! Whoever may register a service or write an `EndpointSlice` says where the operator's probes and calls go. Without a guard that
//! would be every place that the operator's own network reaches: its loopback, a cloud's metadata service with its credentials,
//! the API server.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A range of addresses in CIDR notation (RFC 4632 §3.1, RFC 4291 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    network: IpAddr,
    prefix: u8,
}

/// What is wrong with the text of a range, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRange {
    /// It is no address with a prefix length.
    #[error(
        "`{0}` is not a range of addresses: write an address and the length of its prefix, such as 10.8.0.0/16 or 2001:db8::/32; a single address is 192.0.2.7/32"
    )]
    Form(String),
    /// It names more bits than its prefix has.
    #[error("`{text}` has bits beyond its prefix: write {network}")]
    HostBits {
        /// The text.
        text: String,
        /// The range that holds this address.
        network: Range,
    },
}

impl FromStr for Range {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let wrong = || InvalidRange::Form(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        // a sign or a leading zero is no CIDR notation
        let plain = prefix == "0" || prefix.starts_with(|c: char| ('1'..='9').contains(&c));
        let prefix: u8 = prefix.parse().ok().filter(|p| plain && *p <= width(address)).ok_or_else(wrong)?;
        let network = Self { network: masked(address, prefix), prefix };
        if network.network == address {
            Ok(network)
        } else {
            Err(InvalidRange::HostBits { text: text.to_owned(), network })
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl Range {
    /// One address.
    #[must_use]
    pub const fn single(address: IpAddr) -> Self {
        Self { network: address, prefix: width(address) }
    }

    /// Whether the address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.network.is_ipv4() == address.is_ipv4() && masked(address, self.prefix) == self.network
    }
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Range {
    Range { network: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
}

const fn v6(first: u16, second: u16, last: u16, prefix: u8) -> Range {
    Range { network: IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, last)), prefix }
}

/// Refused unless an administrator opens them. Sources: the IANA special-purpose address registries (RFC 6890), and what clouds
/// document of their metadata services.
const ALWAYS: [(Range, &str); 15] = [
    (v4(0, 0, 0, 0, 8), "an unspecified address"),
    (v4(127, 0, 0, 0, 8), "a loopback address"),
    (v4(169, 254, 0, 0, 16), "a link-local address"),
    (v4(169, 254, 169, 254, 32), "the metadata service of a cloud"),
    (v4(169, 254, 170, 2, 32), "the metadata service of a cloud"), // credentials of AWS ECS tasks
    (v4(100, 100, 100, 200, 32), "the metadata service of a cloud"), // Alibaba Cloud
    (v4(168, 63, 129, 16, 32), "the metadata service of a cloud"), // Azure's WireServer
    (v4(224, 0, 0, 0, 4), "a multicast address"),
    (v4(240, 0, 0, 0, 4), "a reserved or broadcast address"),
    (v6(0, 0, 0, 128), "an unspecified address"),
    (v6(0, 0, 1, 128), "a loopback address"),
    (v6(0xfe80, 0, 0, 10), "a link-local address"),
    (v6(0xfec0, 0, 0, 10), "a site-local address"), // RFC 3879 deprecates them; routers may still know them
    (v6(0xff00, 0, 0, 8), "a multicast address"),
    (v6(0xfd00, 0xec2, 0x254, 128), "the metadata service of a cloud"),
];

/// Decides which addresses medley may connect to.
///
/// Of all ranges that hold an address the one with the longest prefix decides; of equal ones what an administrator denied, then
/// what an administrator allowed, then what is refused always. So `0.0.0.0/0` opens no loopback, and `127.0.0.0/8` does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressGuard {
    allowed: Vec<Range>,
    denied: Vec<Range>,
    own: Vec<IpAddr>,
}

impl AddressGuard {
    /// A guard with an administrator's ranges and the addresses of the API server.
    #[must_use]
    pub fn new(allowed: Vec<Range>, denied: Vec<Range>, api_server: Vec<IpAddr>) -> Self {
        let own = api_server.into_iter().map(|a| a.to_canonical()).collect();
        Self { allowed, denied, own }
    }

    /// Why medley must not connect to this address; `None` when it may.
    #[must_use]
    pub fn refusal(&self, address: IpAddr) -> Option<&'static str> {
        // a packet to the outer address may come out at the inner one: both must be allowed
        std::iter::once(address).chain(embedded(address)).find_map(|a| self.judge(a.to_canonical()))
    }

    /// Why a call or probe of this address is refused, in a sentence with what to do; `None` when it may go on.
    #[must_use]
    pub fn refuse(&self, address: IpAddr) -> Option<String> {
        let what = self.refusal(address)?;
        Some(format!(
            "medley does not connect to {address}, {what}: register the service's address in the network, or have an \
             administrator allow the range (calls.allowedRanges)"
        ))
    }

    fn judge(&self, address: IpAddr) -> Option<&'static str> {
        let denied = self.denied.iter().map(|r| (*r, 2, Some("an address that an administrator has denied")));
        let allowed = self.allowed.iter().map(|r| (*r, 1, None));
        let own = self.own.iter().map(|a| (Range::single(*a), 0, Some("the API server's address")));
        let always = ALWAYS.iter().map(|(r, what)| (*r, 0, Some(*what)));
        denied
            .chain(allowed)
            .chain(own)
            .chain(always)
            .filter(|(range, ..)| range.contains(address))
            .max_by_key(|(range, rank, _)| (range.prefix, *rank))
            .and_then(|(.., verdict)| verdict)
    }
}

/// The IPv4 address that an IPv6 one stands for: mapped and compatible (RFC 4291 §2.5.5), NAT64's well-known prefix (RFC 6052
/// §2.1), 6to4 (RFC 3056 §2).
fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return None };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let inner = |high: u16, low: u16| Some(IpAddr::V4(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low))));
    match [a, b, c, d, e, f] {
        // :: and ::1 are addresses of their own
        [0, 0, 0, 0, 0, 0] if (g, h) != (0, 0) && (g, h) != (0, 1) => inner(g, h),
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => inner(g, h),
        [0x2002, high, low, ..] => inner(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allowed: &[&str], denied: &[&str]) -> AddressGuard {
        let ranges = |list: &[&str]| list.iter().map(|r| r.parse().unwrap()).collect();
        AddressGuard::new(ranges(allowed), ranges(denied), vec!["10.96.0.1".parse().unwrap()])
    }

    #[test]
    fn what_a_tenant_must_not_reach_is_refused_in_every_spelling() {
        let guard = guard(&[], &[]);
        for (text, what) in [
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("169.254.169.254", "metadata"),
            ("169.254.170.2", "metadata"),
            ("169.254.1.1", "link-local"),
            ("100.100.100.200", "metadata"),
            ("168.63.129.16", "metadata"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("240.0.0.1", "reserved"),
            ("10.96.0.1", "API server"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
            ("fd00:ec2::254", "metadata"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:169.254.169.254", "metadata"),
            ("::ffff:10.96.0.1", "API server"),
            ("::169.254.169.254", "metadata"),
            ("64:ff9b::169.254.169.254", "metadata"),
            ("2002:a9fe:a9fe::1", "metadata"),
            ("2002:7f00:1::", "loopback"),
        ] {
            let got = guard.refusal(text.parse().unwrap());
            assert!(got.is_some_and(|g| g.contains(what)), "{text}: {got:?}");
        }
        for text in [
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "100.64.0.1",
            "192.0.2.1",
            "8.8.8.8",
            "1.0.0.0",
            "126.0.0.1",
            "128.0.0.1",
            "169.253.255.255",
            "169.255.0.0",
            "223.255.255.255",
            "2001:db8::1",
            "fd00:ec2::253",
            "fd12::1",
            "::ffff:192.0.2.1",
            "64:ff9b::192.0.2.1",
            "2002:c000:201::1",
        ] {
            assert_eq!(guard.refusal(text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn an_administrator_opens_and_closes_ranges_and_the_longest_prefix_decides() {
        let open = |allowed: &[&str], denied: &[&str], address: &str| {
            guard(allowed, denied).refusal(address.parse().unwrap()).is_none()
        };
        assert!(open(&["127.0.0.0/8"], &[], "127.0.0.1"));
        assert!(open(&["127.0.0.1/32"], &[], "::ffff:127.0.0.1"));
        assert!(open(&["::1/128"], &[], "::1"));
        assert!(open(&["10.96.0.1/32"], &[], "10.96.0.1"), "even the API server, by name");
        for (allowed, address) in [
            ("0.0.0.0/0", "127.0.0.1"),
            ("169.254.0.0/16", "169.254.169.254"),
            ("10.0.0.0/8", "10.96.0.1"),
            ("::/0", "::1"),
        ] {
            assert!(!open(&[allowed], &[], address), "{allowed} is too wide to open {address}");
        }
        assert!(open(&["169.254.0.0/16"], &[], "169.254.1.1"));
        assert!(!open(&[], &["10.0.0.0/8"], "10.1.2.3"));
        assert!(open(&["10.1.0.0/16"], &["10.0.0.0/8"], "10.1.2.3"));
        assert!(!open(&["10.1.0.0/16"], &["10.0.0.0/8"], "10.2.2.3"));
        assert!(!open(&["10.1.0.0/16"], &["10.1.0.0/16"], "10.1.2.3"), "of equal ones the denied wins");
        assert!(!open(&[], &["192.0.2.0/24"], "64:ff9b::c000:201"), "the inner address counts too");
        assert!(!open(&[], &["0.0.0.0/0"], "8.8.8.8"));
    }

    #[test]
    fn a_range_that_is_none_is_refused_with_what_to_write() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0/8",
            "::/129",
            "a/8",
            "10.0.0.0/8 ",
            "/8",
        ] {
            let error = text.parse::<Range>().expect_err(text);
            assert!(matches!(error, InvalidRange::Form(_)), "{text}: {error}");
        }
        let error = "10.1.2.3/8".parse::<Range>().unwrap_err().to_string();
        assert!(error.ends_with("write 10.0.0.0/8"), "{error}");
        for text in ["0.0.0.0/0", "10.8.0.0/16", "192.0.2.7/32", "::/0", "2001:db8::/32", "::1/128"] {
            assert_eq!(text.parse::<Range>().map(|r| r.to_string()), Ok(text.to_owned()));
        }
    }
}
