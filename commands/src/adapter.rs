//! Makes every aggregate of `domain` one of cqrs-es. The orphan rule wants types of our own for that; serde sees through
//! them, so what is stored stays plain domain JSON.

use cqrs_es::event_sink::EventSink;
use domain::Event;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// An aggregate of `domain`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent, bound = "A: domain::Aggregate")]
pub(crate) struct Adapted<A>(pub(crate) A);

/// Its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent, bound = "E: Event")]
pub(crate) struct AdaptedEvent<E>(pub(crate) E);

/// The time at which a command is decided.
pub(crate) struct Now(pub(crate) OffsetDateTime);

impl<A: domain::Aggregate> cqrs_es::Aggregate for Adapted<A> {
    const TYPE: &'static str = A::TYPE;
    type Command = A::Command;
    type Event = AdaptedEvent<A::Event>;
    type Error = A::Refusal;
    type Services = Now;

    async fn handle(&mut self, command: A::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), A::Refusal> {
        for event in self.0.decide(command, now.0)? {
            sink.write(AdaptedEvent(event), self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Self::Event) {
        self.0.apply(&event.0);
    }
}

impl<E: Event> cqrs_es::DomainEvent for AdaptedEvent<E> {
    fn event_type(&self) -> String {
        self.0.event_type().to_owned()
    }

    fn event_version(&self) -> String {
        self.0.event_version().to_owned()
    }
}
