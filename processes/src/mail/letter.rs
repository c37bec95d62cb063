//! What a mail says: a template of its kind and language, as text and as HTML.
//!
//! A template is a file `templates/<kind>.<language>.txt`: the subject in the first line, an empty line, then paragraphs with empty
//! lines between them. `{username}`, `{site}`, `{code}` and `{link}` are put in. The HTML is made of the same paragraphs, each escaped;
//! one that is `{code}` or `{link}` alone is shown as such.
//!
//! To add a kind: its files, and a line in [`Kind`] and in [`template`].

use domain::accounts::Language;

/// What a mail is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The code for the address of an account.
    Confirmation,
    /// That the address belongs to another account already; no code.
    AddressTaken,
    /// The code for another password.
    PasswordReset,
    /// The code for the present address, when it is to change.
    ChangeFrom,
    /// The code for the address to be.
    ChangeTo,
    /// To the address of before: that it has changed.
    EmailChanged,
    /// That the password has changed.
    PasswordChanged,
    /// That signing in takes no code any more.
    SecondFactorDisabled,
    /// That a recovery code stood in for the authenticator.
    RecoveryCodeUsed,
    /// That the account is to be erased.
    ErasureRequested,
    /// That its owner is kept out.
    Suspended,
    /// Of an operator who tries the settings; in English alone.
    Test,
}

/// What is put into a template.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words<'a> {
    /// Whose account it is about.
    pub(super) username: &'a str,
    /// The host of the install.
    pub(super) site: &'a str,
    /// What was made for this mail, if it has a code.
    pub(super) code: &'a str,
    /// Where to go.
    pub(super) link: &'a str,
}

/// A mail as it is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

const FRAME: &str = include_str!("templates/frame.html");

/// The template of a kind in a language.
fn template(kind: Kind, language: Language) -> &'static str {
    macro_rules! in_all {
        ($kind:literal) => {
            match language {
                Language::En => include_str!(concat!("templates/", $kind, ".en.txt")),
                Language::Uk => include_str!(concat!("templates/", $kind, ".uk.txt")),
                Language::Ru => include_str!(concat!("templates/", $kind, ".ru.txt")),
                Language::Fr => include_str!(concat!("templates/", $kind, ".fr.txt")),
            }
        };
    }
    match kind {
        Kind::Confirmation => in_all!("confirmation"),
        Kind::AddressTaken => in_all!("address_taken"),
        Kind::PasswordReset => in_all!("password_reset"),
        Kind::ChangeFrom => in_all!("change_from"),
        Kind::ChangeTo => in_all!("change_to"),
        Kind::EmailChanged => in_all!("email_changed"),
        Kind::PasswordChanged => in_all!("password_changed"),
        Kind::SecondFactorDisabled => in_all!("second_factor_disabled"),
        Kind::RecoveryCodeUsed => in_all!("recovery_code_used"),
        Kind::ErasureRequested => in_all!("erasure_requested"),
        Kind::Suspended => in_all!("suspended"),
        Kind::Test => include_str!("templates/test.en.txt"),
    }
}

/// Writes a mail.
pub(super) fn write(kind: Kind, language: Language, words: Words<'_>) -> Letter {
    let template = template(kind, language);
    let (subject, paragraphs) = template.split_once("\n\n").unwrap_or((template, ""));
    let subject = filled(subject.trim(), words);
    let mut text = String::new();
    let mut body = String::new();
    for paragraph in paragraphs.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
        let plain = filled(paragraph, words);
        text.push_str(&plain);
        text.push_str("\n\n");
        let plain = escaped(&plain);
        body.push_str(&match paragraph {
            "{code}" => format!(
                "<p style=\"font-family:ui-monospace,monospace;font-size:24px;letter-spacing:.1em;font-weight:600\">{plain}</p>\n"
            ),
            "{link}" => format!("<p><a href=\"{plain}\">{plain}</a></p>\n"),
            _ => format!("<p>{plain}</p>\n"),
        });
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    let html = FRAME
        .replace("{language}", language.code())
        .replace("{subject}", &escaped(&subject))
        .replace("{body}", body.trim_end());
    Letter { subject, text, html }
}

/// What is put in never holds a placeholder that a later one would fill: names and codes have letters, digits, `_` and `-`, and
/// addresses no braces.
fn filled(text: &str, words: Words<'_>) -> String {
    let Words { username, site, code, link } = words;
    text.replace("{username}", username).replace("{site}", site).replace("{code}", code).replace("{link}", link)
}

/// As text within HTML, and within a quoted attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Kind; 11] = [
        Kind::Confirmation,
        Kind::AddressTaken,
        Kind::PasswordReset,
        Kind::ChangeFrom,
        Kind::ChangeTo,
        Kind::EmailChanged,
        Kind::PasswordChanged,
        Kind::SecondFactorDisabled,
        Kind::RecoveryCodeUsed,
        Kind::ErasureRequested,
        Kind::Suspended,
    ];
    const WORDS: Words<'_> = Words {
        username: "mira_7",
        site: "weir.example.org",
        code: "k7qm-2f9x",
        link: "https://weir.example.org/confirm-email#k7qm-2f9x",
    };

    #[test]
    fn every_mail_is_whole_in_every_language_and_says_the_same_in_text_and_html() {
        for kind in ALL {
            let mut subjects = Vec::new();
            for language in Language::ALL {
                let letter = write(kind, language, WORDS);
                for part in [&letter.subject, &letter.text, &letter.html] {
                    assert!(!part.contains(['{', '}']), "{kind:?} {language:?}: {part}");
                }
                assert!(!letter.subject.contains('\n') && letter.subject.contains(WORDS.site), "{}", letter.subject);
                assert!(letter.text.contains(WORDS.username) && letter.html.contains(WORDS.username));
                let has_code =
                    matches!(kind, Kind::Confirmation | Kind::PasswordReset | Kind::ChangeFrom | Kind::ChangeTo);
                for part in [&letter.text, &letter.html] {
                    let codes = part.replace(WORDS.link, "").matches(WORDS.code).count();
                    assert_eq!(codes, usize::from(has_code), "{kind:?} {language:?}: {part}");
                }
                assert!(!letter.subject.contains(WORDS.code), "a subject shows on locked screens");
                assert_eq!(letter.text.contains(WORDS.link), letter.html.contains(&format!("href=\"{}\"", WORDS.link)));
                assert!(letter.html.contains(&format!("<html lang=\"{}\">", language.code())));
                assert_eq!(letter.text.matches("\n\n").count() + 1, letter.html.matches("<p").count());
                subjects.push(letter.subject);
            }
            subjects.dedup();
            assert_eq!(subjects.len(), 4, "{kind:?} is translated");
        }
    }

    #[test]
    fn nothing_that_is_put_in_becomes_markup() {
        let words = Words { username: "<b>&\"'", site: "a<script>", ..WORDS };
        let letter = write(Kind::Confirmation, Language::En, words);
        assert!(letter.text.contains("<b>&\"'"));
        assert!(letter.html.contains("&lt;b&gt;&amp;&quot;&#39;"), "{}", letter.html);
        assert!(!letter.html.contains("<b>") && !letter.html.contains("<script>"));
    }
}
