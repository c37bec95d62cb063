use std::fmt;

use zeroize::Zeroizing;

use crate::{Invalid, invalid};

/// An account's unique name: 3 to 25 of a–z, 0–9 and `_`, lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Username(String);

impl Username {
    /// A username from what somebody typed, in any case.
    ///
    /// # Errors
    /// What is wrong with it, when it is too short, too long or has other characters.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        invalid::name("username", text).map(Self)
    }

    /// In lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An e-mail address, checked only as far as its shape tells (RFC 5321 lengths, one `@`, a domain with a dot): whether
/// it exists shows when the mail for it is confirmed.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// An address from what somebody typed, trimmed, its domain in lower case.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let wrong = || Invalid::new("email", "format", "Use an address like name@example.org.");
        let text = text.trim();
        if text.len() > 254 {
            return Err(Invalid::new("email", "too_long", "Use at most 254 characters."));
        }
        let (local, domain) = text.rsplit_once('@').ok_or_else(wrong)?;
        let local_fits = (1..=64).contains(&local.len())
            && local.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"@<>()[]\\,;:\"".contains(c));
        let domain_fits = domain.contains('.')
            && domain.split('.').all(|label| {
                (1..=63).contains(&label.chars().count())
                    && label.chars().all(|c| c.is_alphanumeric() || c == '-')
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            });
        if !(local_fits && domain_fits) {
            return Err(wrong());
        }
        Ok(Self(format!("{local}@{}", domain.to_lowercase())))
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Email(…)")
    }
}

/// What every list of guesses starts with: the passwords of eight characters and more among the 20,000 most common of those
/// that were leaked (by their frequency in the collection of Royce Williams, 2019), in lower case, one a line, sorted.
const COMMON_PASSWORDS: &str = include_str!("common_passwords.txt");

/// What is guessed first of a streaming platform, longer words before what they begin with; docs/security.md has the list.
const CONTEXT_WORDS: [&str; 14] = [
    "administrator",
    "admin",
    "moderator",
    "broadcaster",
    "broadcast",
    "streaming",
    "streamer",
    "stream",
    "channel",
    "password",
    "studio",
    "weir",
    "live",
    "obs",
];

/// Whether a password is in the list, in whatever case, or is made of words of this place alone, whatever digits and signs are between
/// them. 80 kB are looked through, which is nothing beside hashing it.
fn is_common(password: &str) -> bool {
    let password = password.to_lowercase();
    let letters: String = password.chars().filter(|letter| letter.is_alphabetic()).collect();
    let rest = CONTEXT_WORDS.iter().fold(letters.clone(), |rest, word| rest.replace(word, ""));
    COMMON_PASSWORDS.lines().any(|common| common == password) || (rest.is_empty() && !letters.is_empty())
}

/// A password that somebody wants to have: 8 to 128 characters, not a common one, no other rule. Wiped when dropped.
pub struct Password(Zeroizing<String>);

impl Password {
    /// A new password as typed; nothing is trimmed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let length = text.chars().count();
        if length < 8 {
            return Err(Invalid::new("password", "too_short", "Use at least 8 characters."));
        }
        if length > 128 {
            return Err(Invalid::new("password", "too_long", "Use at most 128 characters."));
        }
        if is_common(text) {
            let message = "This password is among the first that an attacker tries; choose another.";
            return Err(Invalid::new("password", "too_common", message));
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The plain text, for hashing.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(…)")
    }
}
