//! Names of objects, checked once so that no back end has to.

use std::{fmt, str::FromStr};

/// Longest key in bytes.
const MAX_KEY_BYTES: usize = 512;
/// Longest name between two slashes in bytes: file systems allow 255, and a temporary file needs a longer name.
const MAX_NAME_BYTES: usize = 200;

/// The name of an object: one or more plain names joined by `/`, as in `thumbnails/0192….jpg`.
///
/// A name holds ASCII letters, digits, `.`, `_` and `-`, does not begin with a dot (so there is no `..`, and what a
/// back end keeps for itself begins with one), and is at most 200 bytes long; the whole key at most 512. Keys are
/// case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

/// Why a text is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key:?} is not a storage key: {reason}")]
pub struct InvalidKey {
    /// The text, cut to what a key may be long.
    pub key: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Key {
    /// Checks a text and makes a key of it.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] when the text breaks a rule of [`Key`].
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidKey> {
        let text = text.into();
        match refusal(&text) {
            None => Ok(Self(text)),
            Some(reason) => Err(InvalidKey { key: text.chars().take(MAX_KEY_BYTES).collect(), reason }),
        }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this key is below `folder`: it begins with it and a slash.
    #[must_use]
    pub fn is_below(&self, folder: &Self) -> bool {
        self.0.strip_prefix(&folder.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

fn refusal(text: &str) -> Option<&'static str> {
    if text.len() > MAX_KEY_BYTES {
        return Some("it is longer than 512 bytes");
    }
    text.split('/').find_map(|name| {
        if name.is_empty() {
            Some("a name in it is empty")
        } else if name.starts_with('.') {
            Some("a name in it begins with a dot")
        } else if name.len() > MAX_NAME_BYTES {
            Some("a name in it is longer than 200 bytes")
        } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
            Some("it holds something else than letters, digits, dots, underscores and hyphens")
        } else {
            None
        }
    })
}

impl FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_relative_paths_are_keys() {
        for text in
            ["a", "thumbnails/0192f0aa-7c55-7b3e-8c1f-3c9f2d6a0b11.jpg", "recordings/x/source/s1.m4s", "A_b-c.1/D"]
        {
            assert_eq!(Key::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn whole_names_decide_what_is_below() {
        let key = |text: &str| Key::new(text).unwrap();
        assert!(key("a/b").is_below(&key("a")));
        assert!(key("a/b/c").is_below(&key("a")));
        for other in ["a", "ab/c", "a-b/c", "b/a/c"] {
            assert!(!key(other).is_below(&key("a")), "{other}");
        }
    }

    #[test]
    fn what_could_leave_the_folder_or_hide_in_it_is_refused() {
        let long_name = "n".repeat(MAX_NAME_BYTES + 1);
        let long_key = "n/".repeat(MAX_KEY_BYTES / 2) + "n";
        for text in [
            "",
            "/",
            "/etc/passwd",
            "a/",
            "a//b",
            "..",
            "../a",
            "a/../b",
            "a/..",
            ".",
            "./a",
            ".hidden",
            "a/.tmp",
            "a\\b",
            "a b",
            "a\0b",
            "ä",
            "C:x",
            "a\n",
            &long_name,
            &long_key,
        ] {
            assert!(Key::new(text).is_err(), "{text:?} was taken");
        }
    }
}
