//! The rules as given, when, then: given what has happened, when a command comes, then these events or this refusal. And the
//! golden payloads of all events.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod accounts;
mod administrators;
mod channels;
mod emails;
mod exports;
mod golden;
mod invites;
mod personal_tokens;
mod privacy;
mod profiles;
mod recordings;
mod registrations;
mod reports;
mod rights;
mod streams;
mod suspension;
mod teams;

use std::fmt::Debug;

use domain::Aggregate;
use time::{OffsetDateTime, macros::datetime};
use uuid::Uuid;

/// When every command of the tests is given, unless they say otherwise.
pub(crate) const NOW: OffsetDateTime = datetime!(2026-11-21 10:00:00.123456 UTC);

/// The same id for the same number.
pub(crate) fn id<T: From<Uuid>>(number: u128) -> T {
    T::from(Uuid::from_u128(number))
}

/// What `events` have made of an aggregate.
pub(crate) fn after<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> A {
    given::<A>(events).0
}

pub(crate) struct Given<A>(A);

/// An aggregate to which `events` have happened.
pub(crate) fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut aggregate = A::default();
    for event in events {
        aggregate.apply(&event);
    }
    Given(aggregate)
}

impl<A: Aggregate> Given<A> {
    pub(crate) fn when(self, command: A::Command) -> Then<A> {
        self.when_at(command, NOW)
    }

    pub(crate) fn when_at(self, command: A::Command, now: OffsetDateTime) -> Then<A> {
        Then(self.0.decide(command, now))
    }
}

pub(crate) struct Then<A: Aggregate>(Result<Vec<A::Event>, A::Refusal>);

impl<A: Aggregate> Then<A>
where
    A::Refusal: PartialEq + Debug,
{
    #[track_caller]
    pub(crate) fn then(self, events: impl IntoIterator<Item = A::Event>) {
        assert_eq!(self.0, Ok(events.into_iter().collect()));
    }

    #[track_caller]
    pub(crate) fn then_refused(self, refusal: A::Refusal) {
        assert_eq!(self.0, Err(refusal));
    }
}
