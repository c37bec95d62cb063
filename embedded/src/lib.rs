//! A real Postgres and a real nats-server as supervised children, so that `weir up` needs no servers of anyone else's.
//!
//! * [`Postgres`] and [`Nats`] start a server in a folder of the data directory, restart it when it dies, and stop it.
//! * [`DataDirLock`] keeps a second Weir out of the same data directory.
//! * [`testing`] gives tests throw-away databases and NATS servers that vanish with the test process.
//!
//! What a data directory holds:
//!
//! ```text
//! weir.lock               held while a Weir runs; the pid of the holder inside
//! postgres/               ours: postgresql.conf, pg_hba.conf, url (written at each start), custom.conf (the operator's), postgres.log
//! postgres/data/          the cluster, owned by the account that Postgres runs under
//! postgres/run/           the socket
//! nats/                   ours: nats.conf (mode 600), nats.log
//! nats/jetstream/         JetStream's store
//! ```
//!
//! Each service folder also has a file `instance` with a random id, which is on the command line of every process of that
//! service. So a server that an earlier Weir left behind is recognised by what it is, not by a pid that may since belong to
//! somebody else, and without a right to look into processes of other users (which root in a container often lacks).

mod account;
mod binaries;
mod error;
mod folder;
mod journal;
mod lock;
mod nats;
mod postgres;
mod strays;
mod supervisor;
pub mod testing;

pub use error::EmbeddedError;
pub use lock::DataDirLock;
pub use nats::{Nats, NatsOptions};
pub use postgres::{Postgres, PostgresOptions};
pub use supervisor::Status;
