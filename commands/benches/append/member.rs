use domain::{Aggregate, Claimed, Event};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

/// A member in a chat, as it will be: what they say is an event, of about the size of a message.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Member {
    said: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Say(pub(crate) String);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum MemberEvent {
    Said {
        text: String,
        #[serde(with = "time::serde::rfc3339")]
        said_at: OffsetDateTime,
    },
}

#[derive(Debug, Error)]
#[error("never")]
pub(crate) struct Never;

impl Event for MemberEvent {
    fn event_type(&self) -> &'static str {
        "member.said"
    }
}

impl Aggregate for Member {
    const TYPE: &'static str = "member";
    type Command = Say;
    type Event = MemberEvent;
    type Refusal = Never;

    fn decide(&self, Say(text): Say, now: OffsetDateTime) -> Result<Vec<MemberEvent>, Never> {
        Ok(vec![MemberEvent::Said { text, said_at: now }])
    }

    fn apply(&mut self, _: &MemberEvent) {
        self.said += 1;
    }

    fn claimed(_: Claimed) -> Never {
        Never
    }
}
