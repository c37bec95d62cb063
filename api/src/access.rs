//! Whom the operator lets talk to the API, from where, and how often.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::limits::RateLimits;

/// What the operator says of those who talk to the API. By default nobody is believed, nobody else's page may call, and
/// nobody is limited.
#[derive(Debug, Clone, Default)]
pub struct AccessOptions {
    /// Proxies in front: of what they forward, `X-Forwarded-For` says where it comes from.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins of other sites whose pages may call the API, as browsers write them: `https://app.example.org`.
    pub cors_origins: Vec<String>,
    /// How often one may ask; `None`: without a limit.
    pub rate_limits: Option<RateLimits>,
    /// From where the rights of an administrator may be used.
    pub administration: AddressList,
    /// How many channels an account may have; `None`: as many as it likes.
    pub max_channels: Option<u32>,
}

/// Addresses from which something may be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressList {
    /// From nowhere else; empty: from everywhere.
    pub allow: Vec<IpNet>,
    /// Not from here, even if allowed.
    pub deny: Vec<IpNet>,
}

impl AddressList {
    /// Whether it may be done from `address`. From one that is not known only where there are no rules.
    #[must_use]
    pub fn admits(&self, address: Option<IpAddr>) -> bool {
        let Some(address) = address.map(|address| address.to_canonical()) else {
            return self.allow.is_empty() && self.deny.is_empty();
        };
        let is_in = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
        !is_in(&self.deny) && (self.allow.is_empty() || is_in(&self.allow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(allow: &[&str], deny: &[&str]) -> AddressList {
        let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect();
        AddressList { allow: nets(allow), deny: nets(deny) }
    }

    #[test]
    fn what_is_denied_is_denied_and_what_is_not_allowed_too() {
        let from = |address: &str| Some(address.parse().unwrap());
        assert!(list(&[], &[]).admits(from("1.2.3.4")) && list(&[], &[]).admits(None));
        let office = list(&["10.0.0.0/8", "2001:db8::/32"], &["10.6.6.0/24"]);
        for (address, admitted) in [
            ("10.0.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("10.6.6.1", false),
            ("1.2.3.4", false),
            ("2001:db8::1", true),
        ] {
            assert_eq!(office.admits(from(address)), admitted, "{address}");
        }
        assert!(!office.admits(None));
        assert!(list(&[], &["1.2.3.0/24"]).admits(from("1.2.4.1")));
    }
}
