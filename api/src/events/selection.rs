//! What a request wants of the log: its parameters as a filter, every wrong one named.

use commands::events::{Filter, Subject};
use openapi::events::{ActorNames, EventsQuery, SubscribeQuery};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use super::{
    catalogue,
    rights::{FoundChannel, Reader},
};
use crate::{
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    server::Server,
};

/// What somebody wants and may have.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    pub(crate) filter: Filter,
    pub(crate) actors: ActorNames,
    pub(crate) reader: Reader,
}

/// The parameters that all ways of reading share, as they came.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Parameters<'a> {
    pub(crate) after: Option<&'a str>,
    pub(crate) types: Option<&'a str>,
    pub(crate) subject: Option<&'a str>,
    pub(crate) channel: Option<&'a str>,
    pub(crate) from: Option<&'a str>,
    pub(crate) to: Option<&'a str>,
    pub(crate) actors: ActorNames,
}

impl<'a> From<&'a EventsQuery> for Parameters<'a> {
    fn from(query: &'a EventsQuery) -> Self {
        Self {
            after: query.after.as_deref(),
            types: query.types.as_deref(),
            subject: query.subject.as_deref(),
            channel: query.channel.as_deref(),
            from: query.from.as_deref(),
            to: query.to.as_deref(),
            actors: query.actors.unwrap_or_default(),
        }
    }
}

impl<'a> From<&'a SubscribeQuery> for Parameters<'a> {
    fn from(query: &'a SubscribeQuery) -> Self {
        Self {
            after: query.after.as_deref(),
            types: query.types.as_deref(),
            subject: query.subject.as_deref(),
            channel: query.channel.as_deref(),
            actors: query.actors.unwrap_or_default(),
            ..Self::default()
        }
    }
}

impl Selection {
    /// What `parameters` say, if `by` may have it.
    ///
    /// # Errors
    /// 400 for a wrong parameter, then 403 or 404.
    pub(crate) async fn new(server: &Server, by: &Authenticated, parameters: Parameters<'_>) -> ApiResult<Self> {
        let mut filter = parameters.filter()?;
        let channel = match parameters.channel {
            Some(name) => Some(FoundChannel::named(server, name).await?),
            None => None,
        };
        filter.channel = channel.as_ref().map(|channel| channel.id);
        let reader = Reader::new(server, by, channel.as_ref(), parameters.actors).await?;
        Ok(Self { filter, actors: parameters.actors, reader })
    }
}

impl Parameters<'_> {
    fn filter(&self) -> ApiResult<Filter> {
        let mut filter = Filter {
            after: self.after.map(after).transpose()?.unwrap_or(0),
            types: self.types.map(types).transpose()?.unwrap_or_default(),
            ..Filter::default()
        };
        if let Some(subject) = self.subject {
            filter.subject = Some(self::subject(subject)?);
        }
        filter.from = self.from.map(|text| time("from", text)).transpose()?;
        filter.to = self.to.map(|text| time("to", text)).transpose()?;
        if let (Some(from), Some(to)) = (filter.from, filter.to)
            && to < from
        {
            return Err(ApiError::query_invalid("to", "range_reversed", "Give a time that is not before `from`."));
        }
        Ok(filter)
    }
}

/// A position as a client gives it: digits alone.
pub(crate) fn position(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn after(text: &str) -> ApiResult<i64> {
    position(text).ok_or_else(ApiError::position_invalid)
}

fn types(text: &str) -> ApiResult<Vec<String>> {
    text.split(',')
        .map(|wanted| {
            let wanted = wanted.trim();
            if catalogue::is_known(wanted) {
                return Ok(wanted.to_owned());
            }
            let known = catalogue::types().join("`, `");
            let message = format!("There is no event type `{}`; there are `{known}`.", shortened(wanted));
            Err(ApiError::query_invalid("types", "type_unknown", message))
        })
        .collect()
}

fn subject(text: &str) -> ApiResult<Subject> {
    let subject: Option<Subject> = text.parse().ok();
    if subject.as_ref().is_some_and(Subject::is_pseudonym) {
        let message = "This is a pseudonym, and nothing leads back from one to the account. Administrators give the account's id, which \
                       `actors=plain` shows; others pick its events out of those of a channel.";
        return Err(ApiError::query_invalid("subject", "subject_pseudonymous", message));
    }
    subject.filter(|subject| catalogue::subject_kinds().contains(&subject.aggregate_type.as_str())).ok_or_else(|| {
        let kinds = catalogue::subject_kinds().join("`, `");
        let message = format!(
            "Give a kind and an id, `channel/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01` for example; kinds are `{kinds}`."
        );
        ApiError::query_invalid("subject", "subject_invalid", message)
    })
}

/// A time of the parameter `name`.
pub(crate) fn time(name: &str, text: &str) -> ApiResult<OffsetDateTime> {
    parsed_time(text).ok_or_else(|| {
        let message = "Give a time as in RFC 3339, `2026-11-21T10:00:00Z` for example.";
        ApiError::query_invalid(name, "time_invalid", message)
    })
}

/// RFC 3339, also where the `+` of the offset was not escaped and came as a space.
pub(crate) fn parsed_time(text: &str) -> Option<OffsetDateTime> {
    let time =
        OffsetDateTime::parse(text, &Rfc3339).or_else(|_| OffsetDateTime::parse(&text.replace(' ', "+"), &Rfc3339));
    // The log cannot be asked for times before our era.
    let time = time.ok()?.checked_to_offset(UtcOffset::UTC)?;
    (time.year() > 0).then_some(time)
}

/// What somebody sent, short enough to be sent back.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn positions_are_digits_alone() {
        assert_eq!(position("0"), Some(0));
        assert_eq!(position("9223372036854775807"), Some(i64::MAX));
        for wrong in ["", "-1", "+1", "1.5", "x", " 1", "9223372036854775808", "٣"] {
            assert_eq!(position(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_may_have_lost_their_plus() {
        let expected = Some(datetime!(2026-11-21 8:00 UTC));
        assert_eq!(parsed_time("2026-11-21T10:00:00+02:00"), expected);
        assert_eq!(parsed_time("2026-11-21T10:00:00 02:00"), expected);
        for wrong in [
            "",
            "now",
            "2026-11-21",
            "2026-11-21T10:00:00",
            "2026-13-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59-23:59",
        ] {
            assert_eq!(parsed_time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn nobody_is_found_by_a_pseudonym() {
        assert!(subject("account/018f3c5e-7a10-7c3d-9e1f-0a1b2c3d4e5f").is_ok());
        for kind in ["account", "email", "profile"] {
            let refused = subject(&format!("{kind}/5c1e4b7e-0f7a-8f52-a7a1-6d1c0b2f9e44")).unwrap_err().into_problem();
            assert_eq!(refused.errors[0].code, "subject_pseudonymous", "{kind}");
        }
    }

    #[test]
    fn types_are_those_of_the_catalogue() {
        assert_eq!(types("channel.created, stream.*").unwrap(), ["channel.created", "stream.*"]);
        for wrong in
            ["", "channel", "channel.create", "channel.*.x", "*", "nothing.*", "channel.created,", "Channel.created"]
        {
            assert!(types(wrong).is_err(), "{wrong}");
        }
    }
}
