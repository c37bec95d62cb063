use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A language that Weir writes to people in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Ukrainian.
    Uk,
    /// Russian.
    Ru,
    /// French.
    Fr,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::En, Self::Uk, Self::Ru, Self::Fr];

    /// Its code (ISO 639-1).
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Uk => "uk",
            Self::Ru => "ru",
            Self::Fr => "fr",
        }
    }

    /// The one that a browser likes best, by its `Accept-Language` (RFC 9110, section 12.5.4); `None` when it names none
    /// of ours.
    #[must_use]
    pub fn preferred(accept_language: &str) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        for range in accept_language.split(',') {
            let mut parts = range.split(';');
            let tag = parts.next().unwrap_or_default().trim();
            let quality = parts.find_map(|part| part.trim().strip_prefix("q=")?.trim().parse::<f32>().ok());
            let quality = quality.unwrap_or(1.0);
            let code = tag.split('-').next().unwrap_or_default();
            let Some(language) = Self::ALL.into_iter().find(|language| code.eq_ignore_ascii_case(language.code()))
            else {
                continue;
            };
            // Of two that are liked as much, the first.
            if quality > best.map_or(0.0, |(quality, _)| quality) {
                best = Some((quality, language));
            }
        }
        best.map(|(_, language)| language)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_written_to_in_the_language_that_it_likes_best() {
        for (header, expected) in [
            ("", None),
            ("*", None),
            ("de", None),
            ("fr", Some(Language::Fr)),
            ("de-AT, UK-ua;q=0.5, fr;q=0.4", Some(Language::Uk)),
            ("en;q=0.1,ru;q=0.9", Some(Language::Ru)),
            ("fr, en", Some(Language::Fr)),
            ("fr;q=0", None),
            ("fr;q=much, en;q=0.5", Some(Language::Fr)),
            (",;,=;q=", None),
        ] {
            assert_eq!(Language::preferred(header), expected, "{header}");
        }
    }
}
