//! Which IP addresses an `EndpointSlice` can hold.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address as an `EndpointSlice` writes it: an IPv4 address inside an IPv6 one is that IPv4 address. `None` for
/// unspecified, loopback, link-local and multicast addresses, which the API server refuses as endpoints: a proxy on another
/// node would reach itself, or nobody.
#[must_use]
pub fn usable(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    let special = match address {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    };
    (!special).then_some(address)
}

const fn special_v4(v4: Ipv4Addr) -> bool {
    v4.is_unspecified() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
}

const fn special_v6(v6: Ipv6Addr) -> bool {
    v6.is_unspecified() || v6.is_loopback() || v6.is_unicast_link_local() || v6.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_no_endpoint_can_have_are_refused() {
        for text in
            ["127.0.0.1", "0.0.0.0", "169.254.1.1", "224.0.0.1", "::", "::1", "fe80::1", "ff02::1", "::ffff:127.0.0.1"]
        {
            assert_eq!(usable(text.parse().unwrap()), None, "{text}");
        }
        for (text, expected) in
            [("192.0.2.1", "192.0.2.1"), ("2001:DB8::1", "2001:db8::1"), ("::ffff:192.0.2.1", "192.0.2.1")]
        {
            assert_eq!(usable(text.parse().unwrap()), Some(expected.parse().unwrap()), "{text}");
        }
    }
}
