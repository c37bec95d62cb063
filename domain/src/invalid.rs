use thiserror::Error;

/// A value that breaks a rule which the value alone shows: which field, why, and what would do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Invalid {
    /// The field as clients name it, `handle` for example.
    pub field: &'static str,
    /// Stable and short, `too_short` for example; the web app localises by it.
    pub code: &'static str,
    /// One sentence that says what to do.
    pub message: String,
}

impl Invalid {
    pub(crate) fn new(field: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self { field, code, message: message.into() }
    }
}

/// 3 to 25 of a–z, 0–9 and `_` in lower case, whatever the case of the input: what usernames and handles are made of.
pub(crate) fn name(field: &'static str, text: &str) -> Result<String, Invalid> {
    let length = text.chars().count();
    if length < 3 {
        return Err(Invalid::new(field, "too_short", "Use at least 3 characters."));
    }
    if length > 25 {
        return Err(Invalid::new(field, "too_long", "Use at most 25 characters."));
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(Invalid::new(field, "characters", "Use only the letters a to z, digits and _."));
    }
    Ok(text.to_ascii_lowercase())
}

/// Text of one or many lines: trimmed, without control characters, of a length in characters within `min..=max`.
pub(crate) fn text(
    field: &'static str,
    text: &str,
    (min, max): (usize, usize),
    lines: bool,
) -> Result<String, Invalid> {
    let text = text.trim();
    let length = text.chars().count();
    if length < min {
        return Err(Invalid::new(field, "too_short", format!("Use at least {min} characters.")));
    }
    if length > max {
        return Err(Invalid::new(field, "too_long", format!("Use at most {max} characters.")));
    }
    let allowed = |character: char| !character.is_control() || (lines && matches!(character, '\n' | '\t'));
    let text = if lines { text.replace("\r\n", "\n") } else { text.to_owned() };
    if !text.chars().all(allowed) {
        return Err(Invalid::new(field, "characters", "Leave out control characters."));
    }
    Ok(text)
}
