//! Settings of who may talk to Weir, from where and how often.

use std::net::IpAddr;

use anyhow::{Context, bail, ensure};
use api::AddressList;
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use serde::{Deserialize, Serialize, Serializer};

/// How many channels an account may have, unless it is set: more than people make by hand, and few enough that nobody takes many names.
const MAX_CHANNELS: u32 = 50;

/// What may be set; in `weir.toml` it is the table `[access]`.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessSettings {
    /// Proxies in front, whose X-Forwarded-For is believed: addresses or networks, as in 127.0.0.1,10.0.0.0/8 [default:
    /// none]
    #[arg(long, env = "WEIR_TRUSTED_PROXIES", global = true, value_name = "NETWORKS", value_delimiter = ',')]
    trusted_proxies: Option<Vec<String>>,
    /// Other sites whose pages may call the API, as in `https://app.example.org` [default: none]
    #[arg(long, env = "WEIR_CORS_ORIGINS", global = true, value_name = "ORIGINS", value_delimiter = ',')]
    cors_origins: Option<Vec<String>>,
    /// Whether it is limited how often one may ask [default: on]
    #[arg(long, env = "WEIR_RATE_LIMITS", global = true)]
    rate_limits: Option<RateLimiting>,
    /// How many channels an account may have, 0 for as many as it likes [default: 50]
    #[arg(long, env = "WEIR_MAX_CHANNELS", global = true, value_name = "N")]
    max_channels: Option<u32>,
    /// From where the rights of an administrator may be used: networks, as in 10.0.0.0/8 [default: everywhere]
    #[arg(long, env = "WEIR_ADMIN_ALLOW", global = true, value_name = "NETWORKS", value_delimiter = ',')]
    admin_allow: Option<Vec<String>>,
    /// From where they may not, even if allowed [default: nowhere]
    #[arg(long, env = "WEIR_ADMIN_DENY", global = true, value_name = "NETWORKS", value_delimiter = ',')]
    admin_deny: Option<Vec<String>>,
    /// From where encoders may publish: networks [default: everywhere]
    #[arg(long, env = "WEIR_PUBLISH_ALLOW", global = true, value_name = "NETWORKS", value_delimiter = ',')]
    publish_allow: Option<Vec<String>>,
    /// From where they may not, even if allowed [default: nowhere]
    #[arg(long, env = "WEIR_PUBLISH_DENY", global = true, value_name = "NETWORKS", value_delimiter = ',')]
    publish_deny: Option<Vec<String>>,
}

/// Whether it is limited how often one may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RateLimiting {
    /// As docs/security.md says.
    On,
    /// Not at all: for load tests, and where nobody else comes.
    Off,
}

/// The effective settings.
#[derive(Debug, Clone, Serialize)]
pub struct AccessConfig {
    /// Whose `X-Forwarded-For` is believed.
    #[serde(serialize_with = "as_texts")]
    pub trusted_proxies: Vec<IpNet>,
    /// As browsers write them in `Origin`.
    pub cors_origins: Vec<String>,
    /// Whether it is limited how often one may ask.
    pub rate_limits: RateLimiting,
    /// How many channels an account may have; 0: as many as it likes.
    pub max_channels: u32,
    /// Empty: from everywhere.
    #[serde(serialize_with = "as_texts")]
    pub admin_allow: Vec<IpNet>,
    /// Stronger than `admin_allow`.
    #[serde(serialize_with = "as_texts")]
    pub admin_deny: Vec<IpNet>,
    /// Empty: from everywhere.
    #[serde(serialize_with = "as_texts")]
    pub publish_allow: Vec<IpNet>,
    /// Stronger than `publish_allow`.
    #[serde(serialize_with = "as_texts")]
    pub publish_deny: Vec<IpNet>,
}

impl AccessConfig {
    /// From where the rights of an administrator may be used.
    pub fn administration(&self) -> AddressList {
        AddressList { allow: self.admin_allow.clone(), deny: self.admin_deny.clone() }
    }

    /// From where encoders may publish.
    pub fn publishing(&self) -> AddressList {
        AddressList { allow: self.publish_allow.clone(), deny: self.publish_deny.clone() }
    }
}

impl AccessSettings {
    /// Adds what the file says, and checks the lot.
    pub(super) fn resolve(self, file: Self) -> anyhow::Result<AccessConfig> {
        Ok(AccessConfig {
            trusted_proxies: networks("trusted_proxies", self.trusted_proxies.or(file.trusted_proxies))?,
            cors_origins: origins(self.cors_origins.or(file.cors_origins).unwrap_or_default())?,
            rate_limits: self.rate_limits.or(file.rate_limits).unwrap_or(RateLimiting::On),
            max_channels: self.max_channels.or(file.max_channels).unwrap_or(MAX_CHANNELS),
            admin_allow: networks("admin_allow", self.admin_allow.or(file.admin_allow))?,
            admin_deny: networks("admin_deny", self.admin_deny.or(file.admin_deny))?,
            publish_allow: networks("publish_allow", self.publish_allow.or(file.publish_allow))?,
            publish_deny: networks("publish_deny", self.publish_deny.or(file.publish_deny))?,
        })
    }
}

fn as_texts<S: Serializer>(networks: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(networks.iter().map(ToString::to_string))
}

/// Networks, or single addresses, in canonical form.
fn networks(name: &str, values: Option<Vec<String>>) -> anyhow::Result<Vec<IpNet>> {
    let values = values.unwrap_or_default();
    let network = |value: &String| {
        let value = value.trim();
        let network = value.parse::<IpNet>().or_else(|_| value.parse::<IpAddr>().map(IpNet::from));
        network.map(|network| network.trunc()).with_context(|| {
            format!(
                "access.{name}: \"{value}\" is neither an address nor a network such as 10.0.0.0/8 or 2001:db8::/32"
            )
        })
    };
    values.iter().filter(|value| !value.trim().is_empty()).map(network).collect()
}

/// Origins as browsers write them: scheme and host in lower case, no path, no port where it is the usual one.
fn origins(values: Vec<String>) -> anyhow::Result<Vec<String>> {
    let mut origins = Vec::new();
    for value in values.iter().map(|value| value.trim()).filter(|value| !value.is_empty()) {
        ensure!(value != "*", "access.cors_origins: name each site; any page could call the API with *");
        let wrong = || format!("access.cors_origins: \"{value}\" is no origin such as https://app.example.org");
        let (scheme, host) = value.split_once("://").with_context(wrong)?;
        let (scheme, host) = (scheme.to_lowercase(), host.to_lowercase());
        let usual = match scheme.as_str() {
            "http" => ":80",
            "https" => ":443",
            _ => bail!(wrong()),
        };
        let host = host.strip_suffix('/').unwrap_or(&host);
        let host = host.strip_suffix(usual).unwrap_or(host);
        ensure!(
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@*,".contains(&byte)),
            wrong()
        );
        origins.push(format!("{scheme}://{host}"));
    }
    Ok(origins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(text: &str) -> anyhow::Result<AccessConfig> {
        AccessSettings::default().resolve(toml::from_str(text)?)
    }

    #[test]
    fn networks_and_addresses_are_taken() {
        let config = access(
            "trusted_proxies = [\"127.0.0.1\", \"10.1.2.3/8\", \"2001:db8::/32\"]\nadmin_deny = [\"10.6.0.0/16\"]",
        );
        let config = config.unwrap();
        let shown: Vec<_> = config.trusted_proxies.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["127.0.0.1/32", "10.0.0.0/8", "2001:db8::/32"]);
        assert_eq!((config.rate_limits, config.max_channels), (RateLimiting::On, 50));
        assert_eq!(access("max_channels = 0").unwrap().max_channels, 0);
        assert!(!config.administration().admits(Some("10.6.1.1".parse().unwrap())));
        assert!(config.publishing().admits(Some("10.6.1.1".parse().unwrap())));
    }

    #[test]
    fn origins_are_as_browsers_write_them() {
        let config = access("cors_origins = [\"HTTPS://App.example.org:443/\", \"http://localhost:3000\"]").unwrap();
        assert_eq!(config.cors_origins, ["https://app.example.org", "http://localhost:3000"]);
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for (text, expected) in [
            ("trusted_proxies = [\"proxy\"]", "neither an address nor a network"),
            ("cors_origins = [\"*\"]", "name each site"),
            ("cors_origins = [\"app.example.org\"]", "no origin"),
            ("cors_origins = [\"https://a/b\"]", "no origin"),
            ("cors_origins = [\"ftp://a\"]", "no origin"),
            ("rate_limits = \"maybe\"", "unknown variant"),
            ("rate_limit = \"off\"", "unknown field"),
        ] {
            let error = format!("{:#}", access(text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
