//! Where a request comes from: the address of the connection, unless that is a proxy which the operator trusts.
//!
//! Of what proxies say only `X-Forwarded-For` is read, and only when the connection comes from one of them. `Forwarded`
//! (RFC 7239) is never read: a proxy that writes the one passes the other on as the client sent it.

use std::{
    convert::Infallible,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{Extensions, HeaderMap, HeaderName, request::Parts},
};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of whoever asks; `None` where the connection has none, as in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientAddress(pub(crate) Option<IpAddr>);

impl ClientAddress {
    /// The first address from the right that is no trusted proxy's: what stands further left, anybody can have written.
    pub(crate) fn of(extensions: &Extensions, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip().to_canonical());
        Self(peer.map(|peer| forwarded(peer, headers, trusted)))
    }

    /// Whom limits count: IPv4 by address, IPv6 by /64, which is what one subscriber has.
    pub(crate) fn network(self) -> Option<IpAddr> {
        self.0.map(|address| match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        })
    }

    /// For log lines, so that one names no person, and for limits that one customer of a provider shall not get round: IPv4 by
    /// /24, IPv6 by /48.
    pub(crate) fn shortened(self) -> Option<Shortened> {
        self.0.map(Shortened)
    }
}

/// Whether the connection is of a proxy that the operator trusts: what that says of a request, beside where it comes from, is believed.
pub(crate) fn is_trusted_proxys(extensions: &Extensions, trusted: &[IpNet]) -> bool {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip().to_canonical());
    peer.is_some_and(|peer| trusted.iter().any(|net| net.contains(&peer)))
}

/// An address of which only the network is shown.
pub(crate) struct Shortened(IpAddr);

impl fmt::Display for Shortened {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => write!(formatter, "{}/24", Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << 8))),
            IpAddr::V6(v6) => write!(formatter, "{}/48", Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 80))),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // The frame has put it there.
        Ok(parts.extensions.get().copied().unwrap_or(Self(None)))
    }
}

fn forwarded(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    // Each by itself: what a client has written may be anything, and must not take along what its proxy has added.
    let said = headers.get_all(X_FORWARDED_FOR).iter();
    let mut said: Vec<&[u8]> = said.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).collect();
    let mut address = peer;
    while trusted.iter().any(|net| net.contains(&address)) {
        // A proxy that is asked directly, by a health check for one, forwards nobody.
        let Some(before) = said.pop().and_then(parse) else { break };
        address = before;
    }
    address
}

/// An address as proxies write it: bare, or with a port.
fn parse(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn seen(peer: &str, forwarded_for: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded_for {
            // In Latin-1, where ÿ is a byte that is no UTF-8.
            let value: Vec<u8> = value.chars().map(|letter| letter as u8).collect();
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(&value).unwrap());
        }
        headers.insert("forwarded", HeaderValue::from_static("for=6.6.6.6"));
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        forwarded(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn nobody_is_believed_unless_trusted() {
        assert_eq!(seen("10.0.0.1", &["1.2.3.4"], &[]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["1.2.3.4"], &["10.0.1.0/24"]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["1.2.3.4"], &["10.0.0.0/24"]), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &[], &["10.0.0.0/24"]), "10.0.0.1");
    }

    #[test]
    fn what_a_client_wrote_itself_counts_for_nothing() {
        // The client sent 6.6.6.6; the proxy added where it came from.
        assert_eq!(seen("10.0.0.1", &["6.6.6.6, 1.2.3.4"], &["10.0.0.0/8"]), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6", "1.2.3.4"], &["10.0.0.0/8"]), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["ÿ, 1.2.3.4"], &["10.0.0.0/8"]), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["ÿ", "1.2.3.4"], &["10.0.0.0/8"]), "1.2.3.4");
        // Two proxies, one behind the other.
        assert_eq!(seen("10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.0.0.2"], &["10.0.0.0/8"]), "1.2.3.4");
        // What is no address ends the search.
        assert_eq!(seen("10.0.0.1", &["1.2.3.4, unknown"], &["10.0.0.0/8"]), "10.0.0.1");
        // All are proxies: the farthest of them.
        assert_eq!(seen("10.0.0.1", &["10.0.0.3, 10.0.0.2"], &["10.0.0.0/8"]), "10.0.0.3");
    }

    #[test]
    fn addresses_may_have_ports_and_brackets() {
        for (said, expected) in [
            ("1.2.3.4:5678", "1.2.3.4"),
            ("[2001:db8::1]:5678", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
        ] {
            assert_eq!(seen("10.0.0.1", &[said], &["10.0.0.0/8"]), expected, "{said}");
        }
    }

    #[test]
    fn lines_and_limits_see_networks() {
        let address = |text: &str| ClientAddress(Some(text.parse().unwrap()));
        assert_eq!(address("203.0.113.77").shortened().unwrap().to_string(), "203.0.113.0/24");
        assert_eq!(address("2001:db8:1:2:3:4:5:6").shortened().unwrap().to_string(), "2001:db8:1::/48");
        assert_eq!(address("203.0.113.77").network().unwrap().to_string(), "203.0.113.77");
        assert_eq!(address("2001:db8:1:2:3:4:5:6").network().unwrap().to_string(), "2001:db8:1:2::");
        assert!(ClientAddress(None).shortened().is_none());
    }
}
