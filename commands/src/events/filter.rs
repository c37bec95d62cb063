use std::{fmt, str::FromStr};

use domain::ids::ChannelId;
use thiserror::Error;
use time::OffsetDateTime;
use uuid::Uuid;

use super::envelope::OF_ACCOUNTS;

/// Which events of the log are wanted. The default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only events after this position; 0 for all.
    pub after: i64,
    /// Only events up to this position, itself included.
    pub until: Option<i64>,
    /// Only events of these types: `channel.created`, or `channel.*` for all that begin so. Empty for all.
    pub types: Vec<String>,
    /// Only what happened to this one.
    pub subject: Option<Subject>,
    /// Only what happened to this channel and to what belongs to it, its streams for example.
    pub channel: Option<ChannelId>,
    /// Only events that the log took at this time or later.
    pub from: Option<OffsetDateTime>,
    /// Only events that the log took before this time.
    pub to: Option<OffsetDateTime>,
}

/// What an event happened to, written `channel/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The kind of aggregate, `channel` for example.
    pub aggregate_type: String,
    /// Which one.
    pub aggregate_id: String,
}

impl Subject {
    /// Whether its id is that of an account.
    #[must_use]
    pub fn is_of_account(&self) -> bool {
        OF_ACCOUNTS.contains(&self.aggregate_type.as_str())
    }

    /// Whether it names an account by its pseudonym, under which the log has nothing: pseudonyms are UUIDs of version 8, ids of
    /// accounts are of version 7. Nothing leads back from one.
    #[must_use]
    pub fn is_pseudonym(&self) -> bool {
        self.is_of_account() && Uuid::try_parse(&self.aggregate_id).is_ok_and(|id| id.get_version_num() == 8)
    }
}

/// Why no event can ever match.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FilterError {
    /// Positions count from 1.
    #[error("positions are not negative, and {position} is; give 0 to begin with the first event")]
    Position {
        /// As given.
        position: i64,
    },
    /// The range ends before it begins.
    #[error(
        "no event is after position {after} and not after position {until}; give a range that ends after it begins"
    )]
    Positions {
        /// As given.
        after: i64,
        /// As given.
        until: i64,
    },
    /// The range ends before it begins.
    #[error("no event is from {from} on and before {to}; give a range that ends after it begins")]
    Times {
        /// As given.
        from: OffsetDateTime,
        /// As given.
        to: OffsetDateTime,
    },
    /// Not the form of a type.
    #[error(
        "{given:?} is not the type of an event; give one like \"channel.created\", or \"channel.*\" for all of its kind"
    )]
    Type {
        /// As given.
        given: String,
    },
    /// Not the form of a subject.
    #[error("{given:?} is not a subject; give a kind and an id, like \"channel/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01\"")]
    Subject {
        /// As given.
        given: String,
    },
}

impl Filter {
    /// Whether it can match anything at all. Whether a type exists is for whoever knows the catalogue to say: the log
    /// may hold types that this build does not know.
    ///
    /// # Errors
    /// [`FilterError`] with what to give instead.
    pub fn check(&self) -> Result<(), FilterError> {
        if let Some(position) = [Some(self.after), self.until].into_iter().flatten().find(|position| *position < 0) {
            return Err(FilterError::Position { position });
        }
        if let Some(until) = self.until
            && until < self.after
        {
            return Err(FilterError::Positions { after: self.after, until });
        }
        if let (Some(from), Some(to)) = (self.from, self.to)
            && to < from
        {
            return Err(FilterError::Times { from, to });
        }
        match self.types.iter().find(|given| !is_type(given)) {
            Some(given) => Err(FilterError::Type { given: given.clone() }),
            None => Ok(()),
        }
    }

    /// Whether an event of this type is wanted, as far as `types` says.
    #[must_use]
    pub fn wants_type(&self, event_type: &str) -> bool {
        self.types.is_empty()
            || self.types.iter().any(|wanted| match prefix(wanted) {
                Some(prefix) => event_type.starts_with(prefix),
                None => event_type == wanted,
            })
    }
}

/// `channel.` of `channel.*`.
fn prefix(wanted: &str) -> Option<&str> {
    wanted.strip_suffix('*').filter(|prefix| prefix.ends_with('.'))
}

fn is_type(given: &str) -> bool {
    let named = prefix(given).map_or(given, |prefix| &prefix[..prefix.len() - 1]);
    given.len() <= 200
        && named
            .split('.')
            .all(|word| !word.is_empty() && word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')))
}

/// [`Filter::types`] as SQL takes them.
#[derive(Debug, Default)]
pub(super) struct Types {
    pub(super) exact: Vec<String>,
    pub(super) prefixes: Vec<String>,
}

impl Types {
    pub(super) fn new(wanted: &[String]) -> Self {
        let mut types = Self::default();
        for wanted in wanted {
            match prefix(wanted) {
                Some(prefix) => types.prefixes.push(prefix.to_owned()),
                None => types.exact.push(wanted.clone()),
            }
        }
        types
    }

    pub(super) fn are_all(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty()
    }
}

impl FromStr for Subject {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let subject = text.split_once('/').filter(|(aggregate_type, aggregate_id)| {
            let is_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
            text.len() <= 300
                && is_type(aggregate_type)
                && prefix(aggregate_type).is_none()
                && !aggregate_id.is_empty()
                && aggregate_id.bytes().all(is_id)
        });
        match subject {
            Some((aggregate_type, aggregate_id)) => {
                Ok(Self { aggregate_type: aggregate_type.to_owned(), aggregate_id: aggregate_id.to_owned() })
            }
            None => Err(FilterError::Subject { given: text.to_owned() }),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.aggregate_type, self.aggregate_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(types: &[&str]) -> Filter {
        Filter { types: types.iter().map(|&text| text.to_owned()).collect(), ..Filter::default() }
    }

    #[test]
    fn a_type_is_words_with_dots_between() {
        for good in ["channel.created", "channel.*", "channel.moderator.*", "x", "stream_key.rotated_2"] {
            assert_eq!(of(&[good]).check(), Ok(()), "{good}");
        }
        for bad in ["", "*", ".*", "channel.", "channel*", "Channel.created", "channel.*.x", "a b", "a'b", "a%"] {
            assert_eq!(of(&[bad]).check(), Err(FilterError::Type { given: bad.to_owned() }), "{bad}");
        }
    }

    #[test]
    fn a_star_stands_for_the_rest() {
        let filter = of(&["channel.*", "stream.ended"]);
        assert!(filter.wants_type("channel.created"));
        assert!(filter.wants_type("stream.ended"));
        assert!(!filter.wants_type("stream.started"));
        assert!(!filter.wants_type("channels.created"));
        assert!(Filter::default().wants_type("whatever"));
    }

    #[test]
    fn a_range_ends_after_it_begins() {
        let filter = |after, until| Filter { after, until, ..Filter::default() };
        assert_eq!(filter(0, None).check(), Ok(()));
        assert_eq!(filter(5, Some(5)).check(), Ok(()));
        assert_eq!(filter(i64::MAX, None).check(), Ok(()));
        assert_eq!(filter(-1, None).check(), Err(FilterError::Position { position: -1 }));
        assert_eq!(filter(0, Some(-3)).check(), Err(FilterError::Position { position: -3 }));
        assert_eq!(filter(5, Some(4)).check(), Err(FilterError::Positions { after: 5, until: 4 }));
        let (from, to) = (OffsetDateTime::UNIX_EPOCH, OffsetDateTime::UNIX_EPOCH + time::Duration::SECOND);
        let filter = |from, to| Filter { from: Some(from), to: Some(to), ..Filter::default() };
        assert_eq!(filter(from, to).check(), Ok(()));
        assert_eq!(filter(to, from).check(), Err(FilterError::Times { from: to, to: from }));
    }

    #[test]
    fn a_subject_is_a_kind_and_an_id() {
        let subject: Subject = "channel/018f3c5e-7a12-7c3d-9e1f-0a1b2c3d4e5f".parse().unwrap();
        assert_eq!(subject.aggregate_type, "channel");
        assert_eq!(subject.to_string(), "channel/018f3c5e-7a12-7c3d-9e1f-0a1b2c3d4e5f");
        for (pseudonym, expected) in [
            ("account/5c1e4b7e-0f7a-8f52-a7a1-6d1c0b2f9e44", true),
            ("profile/5c1e4b7e-0f7a-8f52-a7a1-6d1c0b2f9e44", true),
            ("account/018f3c5e-7a10-7c3d-9e1f-0a1b2c3d4e5f", false),
            ("channel/5c1e4b7e-0f7a-8f52-a7a1-6d1c0b2f9e44", false),
            ("account/x", false),
        ] {
            assert_eq!(pseudonym.parse::<Subject>().unwrap().is_pseudonym(), expected, "{pseudonym}");
        }
        for bad in ["", "channel", "channel/", "/1", "channel/1/2", "channel/'", "Channel/1", "channel.*/1"] {
            assert_eq!(bad.parse::<Subject>(), Err(FilterError::Subject { given: bad.to_owned() }), "{bad}");
        }
    }
}
