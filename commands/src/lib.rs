//! The write side of Weir: commands in, events into the log, secrets into the vault, and the relay that hands the log
//! to NATS.
//!
//! A capability is a module here with the functions that the API and ingest call. Each checks what the command alone
//! shows, writes secrets and keys first, then lets the aggregate decide through [`Commands::execute`]. To add one:
//! write the module; the store takes any [`domain::Aggregate`].
//!
//! Nothing here reads a read model: what a decision needs comes from the log's own tables.

pub mod accounts;
mod adapter;
mod bus;
pub mod channels;
mod counters;
mod error;
pub mod events;
pub mod exports;
mod growth;
pub mod idempotency;
pub mod invites;
mod keyring;
pub mod keys;
pub mod mails;
mod master_keys;
mod metadata;
mod migrate;
pub mod nodes;
mod random_text;
pub mod recordings;
pub mod registrations;
pub mod relay;
pub mod reports;
pub mod setup;
mod store;
pub mod streams;
mod vault;

pub use bus::{AsOf, Commands, CommandsOptions, Committed, LoneLimits, StartError};
pub use error::{CommandError, LoadError};
pub use growth::Growth;
pub use idempotency::{Done, Idempotency, RecallError, Recalled};
pub use keyring::AccountKeys;
pub use master_keys::MasterKeys;
pub use metadata::{Actor, Metadata, correlated};
pub use migrate::{MigrateError, migrate};
pub use vault::{Swept, sweep};
