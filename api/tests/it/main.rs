//! The API over HTTP, on a real Postgres, with the real write and read sides.

mod document;
