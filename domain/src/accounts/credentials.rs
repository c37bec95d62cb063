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

/// Passwords of eight characters and more that every list of guesses starts with.
const COMMON_PASSWORDS: &[&str] = &[
    "00000000",
    "11111111",
    "12121212",
    "12341234",
    "123123123",
    "12345678",
    "123456789",
    "1234567890",
    "123454321",
    "1q2w3e4r",
    "1q2w3e4r5t",
    "1qaz2wsx",
    "66666666",
    "87654321",
    "88888888",
    "987654321",
    "99999999",
    "aa123456",
    "abc12345",
    "abcd1234",
    "access14",
    "adminadmin",
    "administrator",
    "asdfasdf",
    "asdfghjk",
    "asdfghjkl",
    "baseball",
    "basketball",
    "changeme",
    "charlie1",
    "computer",
    "corvette",
    "danielle",
    "dragon12",
    "football",
    "football1",
    "hello123",
    "iloveyou",
    "iloveyou1",
    "internet",
    "jennifer",
    "jonathan",
    "letmein1",
    "liverpool",
    "mercedes",
    "michelle",
    "midnight",
    "monkey123",
    "passw0rd",
    "password",
    "password1",
    "password12",
    "password123",
    "password1234",
    "princess",
    "princess1",
    "q1w2e3r4",
    "qazwsxedc",
    "qwer1234",
    "qwerty12",
    "qwerty123",
    "qwerty1234",
    "qwertyui",
    "qwertyuiop",
    "samantha",
    "starwars",
    "streaming",
    "sunshine",
    "sunshine1",
    "superman",
    "superman1",
    "test1234",
    "testtest",
    "trustno1",
    "unknown1",
    "victoria",
    "welcome1",
    "welcome123",
    "whatever",
    "zaq12wsx",
    "zxcvbnm1",
    "zxcvbnm123",
];

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
        if COMMON_PASSWORDS.contains(&text.to_lowercase().as_str()) {
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
