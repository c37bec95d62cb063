//! The rules of Weir, without IO, clock or randomness: times and ids are arguments.
//!
//! A capability is a module with its commands, its events (the facts that the log keeps for ever), its state and its
//! refusals. To add one: write the module, implement [`Aggregate`] and [`Event`] for it, add a line to
//! [`DomainEvent`] and [`catalogue()`], and a golden payload of each event under `tests/events/`.

pub mod accounts;
mod catalogue;
pub mod channels;
mod event;
pub mod exports;
pub mod ids;
mod invalid;
pub mod invites;
mod principal;
pub mod recordings;
pub mod registrations;
pub mod reports;
pub mod sealed;
pub mod streams;
pub mod timestamp;
mod upcast;

pub use catalogue::{EventDescription, catalogue};
pub use event::{Aggregate, Claim, Claimed, DecodeError, DomainEvent, Event, RecordedEvent, decode};
pub use invalid::Invalid;
pub use principal::Principal;
pub use upcast::upcast;
