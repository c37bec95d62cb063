//! The HTTP contract: wire types, problem documents and the document's frame.
//!
//! A capability has a module here with what its routes take and give. The routes themselves are in `api`, which also
//! assembles the document; [`document`] holds what is not any route's own: title, tags, ways to sign in, common refusals.
//! Requests refuse unknown fields, answers never leave a field out: what is not known is `null`.

pub mod accounts;
pub mod asyncapi;
pub mod channels;
pub mod document;
pub mod events;
pub mod exports;
pub mod ingest;
pub mod invites;
pub mod operation;
mod page;
mod problem;
pub mod recordings;
pub mod registrations;
pub mod reports;
pub mod streams;
pub mod swagger;
mod yaml;

pub use page::{Limit, Page};
pub use problem::{FieldError, PROBLEM_JSON, Problem};
pub use yaml::to_yaml;
