//! How mails leave: by an SMTP server, or, without one, into a folder.

use std::{collections::HashSet, fmt, io, net::IpAddr, path::PathBuf, sync::Once, time::Duration};

use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
        extension::ClientId,
    },
};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{folder, letter::Letter};

/// How long a server may take for an answer, and for a whole mail.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const SENT_WITHIN: Duration = Duration::from_secs(60);
/// The most that is kept of what a server says of a failure, in letters.
const FAILURE_LEN: usize = 200;
/// Names of boxes of fewer letters are words of their own in what a server says: within others they tell nothing.
const SHORT: usize = 4;

/// Where mails go.
#[derive(Debug, Clone)]
pub enum MailWay {
    /// To a server.
    Smtp(SmtpOptions),
    /// Into this folder, a file each.
    Folder(PathBuf),
}

/// How the server is reached.
#[derive(Clone)]
pub struct SmtpOptions {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How what is said to it is kept from others.
    pub tls: SmtpTls,
    /// The authorities (PEM) that may vouch for it, instead of those of the system.
    pub authorities: Option<Vec<u8>>,
    /// As whom, if it asks.
    pub credentials: Option<(String, Zeroizing<String>)>,
}

/// How what is said to an SMTP server is kept from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// From the first byte (RFC 8314).
    Implicit,
    /// By STARTTLS (RFC 3207), or nothing is sent.
    StartTls,
    /// Not at all.
    Off,
}

impl fmt::Debug for SmtpOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SmtpOptions")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Why no mail can be sent at all.
#[derive(Debug, Error)]
pub enum PostError {
    /// Not what a mail may come from.
    #[error("\"{0}\" is no address that mails can come from; give one like \"Weir <weir@example.org>\"")]
    From(String),
    /// The certificates of the authorities cannot be used.
    #[error("the certificates that vouch for the mail server cannot be used")]
    Tls(#[source] lettre::transport::smtp::Error),
}

/// Why a mail was not sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SendError {
    /// It may go another time.
    #[error("{0}")]
    Later(String),
    /// The server will not take it.
    #[error("{0}")]
    Refused(String),
    /// The address is none.
    #[error("the address is none that a mail can go to")]
    Address,
    /// The address has letters beyond ASCII, and the server cannot write to such (RFC 6531).
    #[error("the address has letters beyond ASCII, which the mail server does not take (SMTPUTF8)")]
    Letters,
    /// The mail cannot be written.
    #[error("the mail cannot be written: {0}")]
    Unwritten(String),
}

/// The way by which mails leave. Made once.
pub struct Post {
    way: Way,
    from: Mailbox,
    /// The host of the install.
    site: String,
    told: Once,
}

enum Way {
    Smtp(Box<AsyncSmtpTransport<Tokio1Executor>>),
    Folder(PathBuf),
}

/// A mail with all that stands on it.
#[derive(Debug)]
pub(super) struct Parcel<'a> {
    pub(super) to: &'a str,
    pub(super) letter: Letter,
    /// The code of its language.
    pub(super) language: &'a str,
    /// Always the same of the same mail; letters and digits.
    pub(super) id: &'a str,
    /// What its file is called, in a folder.
    pub(super) file_name: &'a str,
}

impl Post {
    /// Mails come from `from`, or from `weir@` the install's host, and are about the install at `public_url`.
    ///
    /// # Errors
    /// [`PostError`] when the settings cannot be used. Whether a server is there shows when something is sent.
    pub fn new(way: MailWay, from: Option<&str>, public_url: &str) -> Result<Self, PostError> {
        let site = host(public_url);
        let made = format!(
            "Weir <weir@{}>",
            if site.contains('.') && site.parse::<IpAddr>().is_err() { &site } else { "weir.invalid" }
        );
        let from = from.unwrap_or(&made);
        let from: Mailbox = from.parse().map_err(|_| PostError::From(from.to_owned()))?;
        let way = match way {
            MailWay::Folder(folder) => Way::Folder(folder),
            MailWay::Smtp(options) => Way::Smtp(Box::new(transport(options, &site)?)),
        };
        Ok(Self { way, from, site, told: Once::new() })
    }

    /// The host of the install, as mails call it.
    pub(super) fn site(&self) -> &str {
        &self.site
    }

    /// Says once, when there is no server, where mails are.
    pub(super) fn tell(&self) {
        if let Way::Folder(folder) = &self.way {
            self.told.call_once(|| {
                tracing::warn!(
                    folder = %folder.display(),
                    "no mail server is set: mails go into a folder, and nobody gets them; name a server with --mail-host"
                );
            });
        }
    }

    /// Sends a mail. It was sent when the server has said so, or its file is written.
    pub(super) async fn send(&self, parcel: Parcel<'_>) -> Result<(), SendError> {
        let (to, file_name) = (parcel.to.to_owned(), parcel.file_name.to_owned());
        let message = self.message(parcel)?;
        match &self.way {
            Way::Smtp(transport) => {
                let sending = transport.send(message);
                match tokio::time::timeout(SENT_WITHIN, sending).await {
                    Ok(Ok(_)) => Ok(()),
                    // The library's own word, before anything was said to the server.
                    Ok(Err(error))
                        if !to.is_ascii() && error.is_client() && said(&error, Some(&to)).contains("SMTPUTF8") =>
                    {
                        Err(SendError::Letters)
                    }
                    Ok(Err(error)) => Err(failure(&error, &to)),
                    Err(_) => Err(SendError::Later("the mail server took too long".to_owned())),
                }
            }
            Way::Folder(folder) => {
                let (folder, bytes) = (folder.clone(), message.formatted());
                tokio::task::spawn_blocking(move || folder::keep(&folder, &file_name, &bytes))
                    .await
                    .map_err(|error| SendError::Later(error.to_string()))?
                    .map_err(|error| SendError::Later(format!("the folder of mails cannot be written: {error}")))
            }
        }
    }

    /// Removes the files of mails that are older than two days, and what was left of unfinished ones. Nothing happens where mails
    /// go to a server.
    pub(super) async fn sweep(&self) -> io::Result<()> {
        let Way::Folder(folder) = &self.way else { return Ok(()) };
        let folder = folder.clone();
        tokio::task::spawn_blocking(move || folder::remove_old(&folder)).await.map_err(io::Error::other)?
    }

    /// The mails, by the names of their files, that are in the folder; none where mails go to a server.
    pub(super) async fn kept(&self) -> io::Result<HashSet<String>> {
        let Way::Folder(folder) = &self.way else { return Ok(HashSet::new()) };
        let folder = folder.clone();
        tokio::task::spawn_blocking(move || folder::names(&folder)).await.map_err(io::Error::other)?
    }

    /// Whether mails go into a folder.
    pub(super) fn is_folder(&self) -> bool {
        matches!(self.way, Way::Folder(_))
    }

    /// Removes the files of mails, by their names. Nothing happens where mails go to a server, and for those that are not there.
    pub(super) async fn remove(&self, mails: HashSet<String>) -> io::Result<()> {
        let Way::Folder(folder) = &self.way else { return Ok(()) };
        let folder = folder.clone();
        tokio::task::spawn_blocking(move || folder::remove(&folder, &mails)).await.map_err(io::Error::other)?
    }

    fn message(&self, parcel: Parcel<'_>) -> Result<Message, SendError> {
        let to: Address = parcel.to.parse().map_err(|_| SendError::Address)?;
        let Letter { subject, text, html } = parcel.letter;
        let header =
            |name: &'static str, value: &str| HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned());
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .message_id(Some(format!("<{}@{}>", parcel.id, self.from.email.domain())))
            // RFC 3834, section 5: nobody's absence need be answered to us.
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .raw_header(header("Content-Language", parcel.language))
            .multipart(MultiPart::alternative_plain_html(text, html))
            .map_err(|error| SendError::Unwritten(error.to_string()))
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Post").field("site", &self.site).finish_non_exhaustive()
    }
}

fn transport(options: SmtpOptions, site: &str) -> Result<AsyncSmtpTransport<Tokio1Executor>, PostError> {
    let SmtpOptions { host, port, tls, authorities, credentials } = options;
    let parameters = || {
        let mut builder = TlsParameters::builder(host.clone());
        if let Some(pem) = &authorities {
            builder =
                builder.certificate_store(CertificateStore::None).add_root_certificate(Certificate::from_pem(pem)?);
        }
        builder.build_rustls()
    };
    let tls = match tls {
        SmtpTls::Implicit => Tls::Wrapper(parameters().map_err(PostError::Tls)?),
        SmtpTls::StartTls => Tls::Required(parameters().map_err(PostError::Tls)?),
        SmtpTls::Off => Tls::None,
    };
    let hello = match site.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(address)) => ClientId::Ipv4(address),
        Ok(IpAddr::V6(address)) => ClientId::Ipv6(address),
        Err(_) => ClientId::Domain(site.to_owned()),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
        .port(port)
        .tls(tls)
        .hello_name(hello)
        .timeout(Some(ANSWER_WITHIN));
    if let Some((user, password)) = credentials {
        builder = builder.credentials(Credentials::new(user, password.as_str().to_owned()));
    }
    Ok(builder.build())
}

/// What a failure means for the mail to an address.
fn failure(error: &lettre::transport::smtp::Error, to: &str) -> SendError {
    let text = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let is_about_us = error.status().is_some_and(|code| is_about_us(code.into(), &text));
    let said = said(error, Some(to));
    if error.is_permanent() && !is_about_us { SendError::Refused(said) } else { SendError::Later(said) }
}

/// Whether a server that answers so does not take us, or nothing at all, which says nothing about the mail: 530 to 538 (RFC 4954,
/// section 6), 521 (RFC 7504), 554 (RFC 5321, section 4.2.3: refused by a rule, or for no reason given), and whatever has an
/// enhanced code of security or policy (RFC 3463, section 3.8: 5.7.x).
fn is_about_us(code: u16, text: &str) -> bool {
    matches!(code, 521 | 530..=538 | 554) || text.trim_start().starts_with("5.7.")
}

/// An error with its causes, without addresses and without what tells the one to which the mail goes, cut.
pub(super) fn said(error: &(dyn std::error::Error + 'static), to: Option<&str>) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_said = cause.to_string();
        if !said.contains(&cause_said) {
            said = format!("{said}: {cause_said}");
        }
        source = cause.source();
    }
    without_addresses(&said, to)
}

/// What a server says may repeat to whom the mail goes, or which box of its own that is, which no log may hold.
fn without_addresses(text: &str, to: Option<&str>) -> String {
    let to = to.unwrap_or_default().to_lowercase();
    let user = to.rsplit_once('@').map_or("", |(user, _)| user);
    // Servers that have tags call the box by what is before them.
    let users = [user, user.split('+').next().unwrap_or_default()];
    let tells = |word: &str| {
        let word = word.to_lowercase();
        let bare = word.trim_matches(|letter: char| !letter.is_alphanumeric());
        word.contains('@')
            || users.iter().any(|user| {
                let is_found = if user.chars().count() < SHORT { bare == *user } else { word.contains(user) };
                !user.is_empty() && is_found
            })
    };
    let words = text.split_whitespace().map(|word| if tells(word) { "…" } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(FAILURE_LEN).collect()
}

/// The host of an address, without its port.
fn host(url: &str) -> String {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default();
    match authority.rsplit_once(':') {
        // Not within an IPv6 address.
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host.to_owned(),
        _ => authority.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_install_stands_alone() {
        for (url, expected) in [
            ("https://weir.example.org", "weir.example.org"),
            ("http://127.0.0.1:8080", "127.0.0.1"),
            ("http://[::1]:8080/", "[::1]"),
            ("http://[2001:db8::1]", "[2001:db8::1]"),
        ] {
            assert_eq!(host(url), expected);
        }
    }

    #[test]
    fn what_servers_say_is_kept_without_addresses() {
        for (text, to, expected) in [
            ("(550): 5.1.1 <mira@example.org>: Recipient  unknown", None, "(550): 5.1.1 … Recipient unknown"),
            ("550 user mira.plover unknown", Some("Mira.Plover@example.org"), "550 user … unknown"),
            ("550 /var/mail/MIRA.PLOVER: full", Some("mira.plover+weir@example.org"), "550 … full"),
            ("550 no box \"al\" at all", Some("al@example.org"), "550 no box … at all"),
            ("550 no such user", Some("@example.org"), "550 no such user"),
        ] {
            assert_eq!(without_addresses(text, to), expected, "{text}");
        }
        assert_eq!(without_addresses(&"x".repeat(1_000), None).len(), FAILURE_LEN);
    }

    #[test]
    fn refusals_that_are_about_us_are_told_from_those_of_the_mail() {
        for (code, text) in [
            (554, "Transaction failed"),
            (550, "5.7.26 This mail has been blocked because the sender is unauthenticated."),
            (553, "5.7.1 …: Sender address rejected: not owned by user weir"),
            (535, "5.7.8 Error: authentication failed"),
            (521, "mail.test does not take mail"),
        ] {
            assert!(is_about_us(code, text), "{code} {text}");
        }
        for (code, text) in [(550, "5.1.1 nobody here"), (552, "5.2.2 full, see 5.7.1"), (553, ""), (550, "5.17.0")] {
            assert!(!is_about_us(code, text), "{code} {text}");
        }
    }

    #[test]
    fn mails_come_from_the_install_unless_it_is_said_otherwise() {
        let post = |from: Option<&str>, url: &str| Post::new(MailWay::Folder("/nowhere".into()), from, url);
        assert_eq!(post(None, "https://weir.example.org").unwrap().from.email.to_string(), "weir@weir.example.org");
        assert_eq!(post(None, "http://127.0.0.1:8080").unwrap().from.email.to_string(), "weir@weir.invalid");
        assert_eq!(post(Some("Us <us@example.org>"), "").unwrap().from.email.to_string(), "us@example.org");
        assert!(matches!(post(Some("nobody"), ""), Err(PostError::From(_))));
    }
}
