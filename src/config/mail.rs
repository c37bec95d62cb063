//! Settings of mail.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use processes::mail::{MailOptions, MailWay, Post, SmtpOptions, SmtpTls};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::within;

/// What may be set; in `weir.toml` it is the table `[mail]`.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailSettings {
    /// The SMTP server that takes mails [default: none; mails go into the folder `mail` in the data directory]
    #[arg(id = "mail_host", long = "mail-host", env = "WEIR_MAIL_HOST", global = true, value_name = "HOST")]
    host: Option<String>,
    /// Its port [default: 465 with implicit TLS, 587 with STARTTLS, 25 without]
    #[arg(id = "mail_port", long = "mail-port", env = "WEIR_MAIL_PORT", global = true, value_name = "PORT")]
    port: Option<u16>,
    /// How what is said to it is kept from others [default: starttls]
    #[arg(id = "mail_tls", long = "mail-tls", env = "WEIR_MAIL_TLS", global = true)]
    tls: Option<MailTls>,
    /// The authorities (PEM) that may vouch for it, instead of those of the system [default: none]
    #[arg(id = "mail_ca", long = "mail-ca", env = "WEIR_MAIL_CA", global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// As whom, if it asks; needs a password file [default: nobody]
    #[arg(id = "mail_user", long = "mail-user", env = "WEIR_MAIL_USER", global = true, value_name = "NAME")]
    user: Option<String>,
    /// The file that the password stands in, and nothing else
    #[arg(
        id = "mail_password_file",
        long = "mail-password-file",
        env = "WEIR_MAIL_PASSWORD_FILE",
        global = true,
        value_name = "FILE"
    )]
    password_file: Option<PathBuf>,
    /// Whom mails come from, as in `Weir <weir@example.org>` [default: weir at the public address]
    #[arg(id = "mail_from", long = "mail-from", env = "WEIR_MAIL_FROM", global = true, value_name = "ADDRESS")]
    from: Option<String>,
    /// For how long a mail is tried that the server does not take, in hours, 1 to 168; codes end earlier [default: 24]
    #[arg(
        id = "mail_retry_hours",
        long = "mail-retry-hours",
        env = "WEIR_MAIL_RETRY_HOURS",
        global = true,
        value_name = "HOURS"
    )]
    retry_hours: Option<u32>,
}

/// How what is said to an SMTP server is kept from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// TLS from the first byte.
    Implicit,
    /// TLS by STARTTLS, or nothing is sent.
    #[value(name = "starttls")]
    StartTls,
    /// Not at all: for a server on this machine or in a network of one's own.
    Off,
}

/// The effective settings.
#[derive(Debug, Clone, Serialize)]
pub struct MailConfig {
    /// `None`: mails go into a folder.
    pub host: Option<String>,
    /// 1 to 65535.
    pub port: u16,
    /// How what is said to it is kept from others.
    pub tls: MailTls,
    /// Absolute.
    pub ca: Option<PathBuf>,
    /// There is a password file, too.
    pub user: Option<String>,
    /// Absolute.
    pub password_file: Option<PathBuf>,
    /// `None`: made of the public address.
    pub from: Option<String>,
    /// 1 to 168.
    pub retry_hours: u32,
}

impl MailSettings {
    /// Adds what the file of settings says, and checks the lot.
    pub(super) fn resolve(self, file: Self) -> anyhow::Result<MailConfig> {
        let host = self.host.or(file.host).filter(|host| !host.trim().is_empty());
        let tls = self.tls.or(file.tls).unwrap_or(MailTls::StartTls);
        let usual = match tls {
            MailTls::Implicit => 465,
            MailTls::StartTls => 587,
            MailTls::Off => 25,
        };
        let absolute = |name: &str, path: Option<PathBuf>| {
            path.map(|path| {
                std::path::absolute(&path)
                    .with_context(|| format!("mail.{name} {} has no absolute path", path.display()))
            })
            .transpose()
        };
        let config = MailConfig {
            port: self.port.or(file.port).unwrap_or(usual),
            tls,
            ca: absolute("ca", self.ca.or(file.ca))?,
            user: self.user.or(file.user).filter(|user| !user.is_empty()),
            password_file: absolute("password_file", self.password_file.or(file.password_file))?,
            from: self.from.or(file.from).filter(|from| !from.trim().is_empty()),
            retry_hours: within("mail.retry_hours", self.retry_hours.or(file.retry_hours).unwrap_or(24), (1, 168))?,
            host,
        };
        match (&config.user, &config.password_file) {
            (Some(_), None) => bail!("mail.user needs mail.password_file, a file with the password"),
            (None, Some(_)) => bail!("mail.password_file needs mail.user, whose password it is"),
            (Some(_), Some(_)) if config.tls == MailTls::Off && !config.is_here() => {
                bail!("mail.tls = \"off\" would send the password of mail.user in the clear; use starttls or implicit")
            }
            _ => {}
        }
        ensure!(config.port != 0, "mail.port is 0; it must be 1 to 65535");
        Ok(config)
    }
}

impl MailConfig {
    /// Where mails go when there is no server.
    pub fn folder(&self, data_dir: &Path) -> PathBuf {
        data_dir.join("mail")
    }

    /// How mails leave.
    ///
    /// # Errors
    /// When a file cannot be read, or the settings do not fit.
    pub fn post(&self, data_dir: &Path, public_url: &str) -> anyhow::Result<Post> {
        let way = match &self.host {
            None => MailWay::Folder(self.folder(data_dir)),
            Some(host) => MailWay::Smtp(SmtpOptions {
                host: host.trim().to_owned(),
                port: self.port,
                tls: match self.tls {
                    MailTls::Implicit => SmtpTls::Implicit,
                    MailTls::StartTls => SmtpTls::StartTls,
                    MailTls::Off => SmtpTls::Off,
                },
                authorities: self.ca.as_deref().map(|path| read("ca", path)).transpose()?,
                credentials: match (&self.user, &self.password_file) {
                    (Some(user), Some(path)) => Some((user.clone(), password(path)?)),
                    _ => None,
                },
            }),
        };
        if self.host.is_some() && self.from.is_none() {
            bail!("mail.host needs mail.from, whom mails come from: \"Weir <weir@example.org>\" for example");
        }
        Post::new(way, self.from.as_deref(), public_url).context("mail cannot be sent as the settings say")
    }

    /// For the process that sends them.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub fn options(&self, data_dir: &Path, public_url: &str) -> anyhow::Result<MailOptions> {
        let give_up_after = Duration::from_secs(3_600 * u64::from(self.retry_hours));
        Ok(MailOptions::new(self.post(data_dir, public_url)?, public_url, give_up_after))
    }

    /// Whether the server is on this machine.
    fn is_here(&self) -> bool {
        self.host.as_deref().is_some_and(|host| {
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        })
    }
}

fn read(name: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("mail.{name} {} cannot be read", path.display()))
}

/// The password in a file, without the line's end.
fn password(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let text = Zeroizing::new(String::from_utf8(read("password_file", path)?).context("the password is no text")?);
    let password = text.trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty(), "mail.password_file {} is empty", path.display());
    Ok(Zeroizing::new(password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(text: &str) -> anyhow::Result<MailConfig> {
        MailSettings::default().resolve(toml::from_str(text)?)
    }

    #[test]
    fn without_a_server_mails_go_into_a_folder() {
        let config = mail("").unwrap();
        assert_eq!((config.host.as_deref(), config.retry_hours), (None, 24));
        assert_eq!(config.folder(Path::new("/d")), Path::new("/d/mail"));
        config.post(Path::new("/d"), "https://weir.example.org").unwrap();
    }

    #[test]
    fn the_port_is_that_of_the_way() {
        let port = |tls: &str| mail(&format!("host = \"mail.example.org\"\n{tls}")).unwrap().port;
        assert_eq!([port(""), port("tls = \"implicit\""), port("tls = \"off\"")], [587, 465, 25]);
        assert_eq!(port("port = 2525"), 2525);
    }

    #[test]
    fn the_password_comes_from_a_file_and_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "hunter2\n").unwrap();
        let text = format!(
            "host = \"mail.example.org\"\nuser = \"weir\"\nfrom = \"weir@example.org\"\npassword_file = \"{}\"",
            file.display()
        );
        let config = mail(&text).unwrap();
        assert!(!toml::to_string(&config).unwrap().contains("hunter2"));
        assert_eq!(password(&file).unwrap().as_str(), "hunter2");
        assert!(!format!("{:?}", config.post(folder.path(), "https://weir.example.org").unwrap()).contains("hunter2"));
        std::fs::write(&file, "\n").unwrap();
        let error = config.post(folder.path(), "https://weir.example.org").unwrap_err();
        assert!(format!("{error:#}").contains("is empty"), "{error:#}");
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for (text, expected) in [
            ("hots = \"a\"", "unknown field"),
            ("tls = \"ssl\"", "unknown variant"),
            ("host = \"a\"\nuser = \"b\"", "mail.user needs mail.password_file"),
            ("host = \"a\"\npassword_file = \"/b\"", "mail.password_file needs mail.user"),
            ("host = \"a\"\nuser = \"b\"\npassword_file = \"/c\"\ntls = \"off\"", "in the clear"),
            ("retry_hours = 0", "mail.retry_hours is 0; it must be 1 to 168"),
            ("port = 0", "mail.port is 0"),
        ] {
            let error = format!("{:#}", mail(text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
        mail("host = \"127.0.0.1\"\nuser = \"b\"\npassword_file = \"/c\"\ntls = \"off\"").unwrap();
        let post = |text: &str| mail(text).unwrap().post(Path::new("/d"), "https://weir.example.org");
        assert!(format!("{:#}", post("host = \"a\"").unwrap_err()).contains("mail.host needs mail.from"));
        assert!(format!("{:#}", post("from = \"nobody\"").unwrap_err()).contains("no address"));
        assert!(
            format!("{:#}", post("host = \"a\"\nfrom = \"a@b.org\"\nca = \"/none\"").unwrap_err()).contains("mail.ca")
        );
    }
}
