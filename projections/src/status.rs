use std::sync::Arc;

use tokio::sync::watch;

/// Where a projection stands, in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The projection.
    pub name: &'static str,
    /// The last event that is in its tables.
    pub position: i64,
    /// How many events of the log are not yet, as far as this process knows the log.
    pub lag: i64,
    /// What its worker is doing.
    pub state: State,
}

/// What the worker of a projection is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It has not read its checkpoint yet.
    Starting,
    /// It applies what comes.
    Following,
    /// A worker in another process applies; this one takes over when that one stops.
    StandingBy,
    /// Postgres, or the keys, are away; it tries again.
    Waiting {
        /// What went wrong.
        error: String,
    },
    /// An event could not be applied. It stands still until somebody asks it to try again, or a rebuild gets past it.
    Stopped {
        /// The event's position.
        position: i64,
        /// What went wrong.
        error: String,
    },
}

impl Status {
    /// Whether it does what it should; a worker that stands by does.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        matches!(self.state, State::Following | State::StandingBy)
    }
}

/// Where events come from at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From the log in Postgres: there is no NATS, or it is away or silent.
    Log,
    /// From JetStream.
    Nats,
}

/// What the workers of this process report, and those who wait for them watch.
#[derive(Debug, Clone)]
pub(crate) struct Board(Arc<watch::Sender<Vec<Entry>>>);

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) position: i64,
    pub(crate) state: State,
}

impl Board {
    pub(crate) fn new(names: impl Iterator<Item = &'static str>) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        for name in names {
            if entries.iter().all(|entry| entry.name != name) {
                entries.push(Entry { name, position: 0, state: State::Starting });
            }
        }
        Self(Arc::new(watch::Sender::new(entries)))
    }

    pub(crate) fn reached(&self, name: &str, position: i64) {
        self.0.send_if_modified(|entries| {
            let entry = entries.iter_mut().find(|entry| entry.name == name);
            entry.is_some_and(|entry| std::mem::replace(&mut entry.position, position) != position)
        });
    }

    /// Of a checkpoint that was read from outside: never behind what a worker here has told.
    pub(crate) fn found(&self, name: &str, position: i64) {
        self.0.send_if_modified(|entries| {
            let entry = entries.iter_mut().find(|entry| entry.name == name);
            let Some(entry) = entry.filter(|entry| entry.position < position) else { return false };
            entry.position = position;
            true
        });
    }

    pub(crate) fn is(&self, name: &str, state: State) {
        self.0.send_if_modified(|entries| {
            let entry = entries.iter_mut().find(|entry| entry.name == name);
            let Some(entry) = entry.filter(|entry| entry.state != state) else { return false };
            entry.state = state;
            true
        });
    }

    pub(crate) fn entries(&self) -> watch::Ref<'_, Vec<Entry>> {
        self.0.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Vec<Entry>> {
        self.0.subscribe()
    }
}
