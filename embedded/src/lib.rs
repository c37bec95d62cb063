//! Postgres and NATS as supervised children.
