//! What was asked and what was answered, to be held against the log.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use uuid::Uuid;

/// A command as its client means it, however often it has to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    Register { username: String },
    Erase { username: String },
    CreateChannel { handle: String },
    EditChannel { handle: String, title: String, expected_version: Option<i64> },
    RotateKey { handle: String },
    EditProfile,
    MakeToken { username: String },
    GiveRole { handle: String, username: String },
    Report { handle: String },
}

impl Wish {
    pub const EVENT_TYPES: [&str; 9] = [
        "account.registered",
        "account.erased",
        "channel.created",
        "channel.details_changed",
        "channel.stream_key_rotated",
        "profile.changed",
        "personal_token.created",
        "channel.role_given",
        "report.filed",
    ];

    /// The event that it leads to, once.
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::Register { .. } => "account.registered",
            Self::Erase { .. } => "account.erased",
            Self::CreateChannel { .. } => "channel.created",
            Self::EditChannel { .. } => "channel.details_changed",
            Self::RotateKey { .. } => "channel.stream_key_rotated",
            Self::EditProfile => "profile.changed",
            Self::MakeToken { .. } => "personal_token.created",
            Self::GiveRole { .. } => "channel.role_given",
            Self::Report { .. } => "report.filed",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It happened, says the answer.
    Acknowledged,
    /// It did not and will not, says the answer; why.
    Refused(String),
    /// No answer, or one that says that nobody knows.
    Unknown(String),
}

#[derive(Debug, Clone)]
pub struct Record {
    pub wish: Wish,
    /// The ids of its requests, which the log keeps as correlation ids.
    pub requests: Vec<Uuid>,
    /// What a repeat was known by.
    pub key: Option<Uuid>,
    pub outcome: Outcome,
}

/// The book of all clients.
#[derive(Default)]
pub struct Ledger(Mutex<Book>);

#[derive(Default)]
struct Book {
    records: Vec<Record>,
    complaints: Vec<String>,
    slowest: Duration,
    repeated: usize,
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn record(&self, wish: Wish, requests: Vec<Uuid>, key: Option<Uuid>, outcome: Outcome) {
        self.book().records.push(Record { wish, requests, key, outcome });
    }

    /// An answer that no client should ever get.
    pub fn complain(&self, complaint: String) {
        self.book().complaints.push(complaint);
    }

    /// An answer took so long.
    pub fn took(&self, time: Duration) {
        let mut book = self.book();
        book.slowest = book.slowest.max(time);
    }

    /// A command was given again, since its answer was lost.
    pub fn repeated(&self) {
        self.book().repeated += 1;
    }

    pub fn slowest(&self) -> Duration {
        self.book().slowest
    }

    pub fn complaints(&self) -> Vec<String> {
        self.book().complaints.clone()
    }

    pub fn records(&self) -> Vec<Record> {
        self.book().records.clone()
    }

    /// How many were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.book().records.iter().filter(|record| record.outcome == Outcome::Acknowledged).count()
    }

    /// How many of each outcome there are, by reason.
    pub fn summary(&self) -> String {
        let book = self.book();
        let mut counts = BTreeMap::<String, usize>::new();
        counts.insert("repeated until known".to_owned(), book.repeated);
        for record in &book.records {
            let kind = match &record.outcome {
                Outcome::Acknowledged => "acknowledged".to_owned(),
                Outcome::Refused(why) => format!("refused ({why})"),
                Outcome::Unknown(why) => format!("unknown ({why})"),
            };
            *counts.entry(kind).or_default() += 1;
        }
        counts.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
    }
}
