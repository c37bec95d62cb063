//! The rules of Weir, without IO, clock or randomness: times and ids are arguments.
//!
//! A capability is a module with its commands, its events (the facts that the log keeps for ever), its state and its
//! refusals. To add one: write the module, implement [`Aggregate`] and [`Event`] for it, add a line to
//! [`DomainEvent`] and a golden payload of each event under `tests/events/`.

pub mod accounts;
pub mod channels;
mod event;
pub mod ids;
mod invalid;
pub mod sealed;
pub mod streams;
pub mod timestamp;

pub use event::{Aggregate, Claim, Claimed, DecodeError, DomainEvent, Event, RecordedEvent};
pub use invalid::Invalid;
