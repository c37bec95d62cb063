use std::{collections::HashMap, time::Duration};

use async_nats::Subject;
use bytes::Bytes;
use sqlx::PgPool;

use super::SUBJECT_PREFIX;
use crate::events;

/// How many events are read at once.
const READ_LEN: usize = 1_000;
/// How long Postgres may take over it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// How many subjects are remembered; there are as many as types of events.
const REMEMBERED: usize = 1_000;

/// An event as it is published.
pub(super) struct Message {
    pub(super) position: i64,
    pub(super) subject: Subject,
    /// The JSON of a [`crate::events::StoredEvent`].
    pub(super) body: Bytes,
}

/// Makes messages of the log.
pub(super) struct Messages {
    pool: PgPool,
    subjects: HashMap<Box<str>, Subject>,
    /// Whether there were more than fit into the last reading.
    are_many: bool,
}

impl Messages {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool, subjects: HashMap::new(), are_many: true }
    }

    /// The next ones after `position`, and whether they are all that there are.
    pub(super) async fn after(&mut self, position: i64) -> Result<(Vec<Message>, bool), sqlx::Error> {
        let mut heads = Vec::with_capacity(READ_LEN);
        let mut bodies = Vec::new();
        let subjects = &mut self.subjects;
        let are_all = events::rows_after(&self.pool, position, READ_LEN, self.are_many, ANSWERED_WITHIN, |event| {
            event.write(&mut bodies);
            heads.push((event.position, subject(subjects, event.event_type), bodies.len()));
        })
        .await?;
        self.are_many = !are_all;
        // One piece of memory for all of them.
        let bodies = Bytes::from(bodies);
        let mut begin = 0;
        let messages = heads
            .into_iter()
            .map(|(position, subject, end)| {
                let body = bodies.slice(std::mem::replace(&mut begin, end)..end);
                Message { position, subject, body }
            })
            .collect();
        Ok((messages, are_all))
    }
}

fn subject(known: &mut HashMap<Box<str>, Subject>, event_type: &str) -> Subject {
    if let Some(subject) = known.get(event_type) {
        return subject.clone();
    }
    // What NATS would not take must not stop what comes after it.
    let is_subject = event_type.split('.').all(|token| {
        !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    });
    let subject = Subject::from(format!("{SUBJECT_PREFIX}.{}", if is_subject { event_type } else { "unnamed" }));
    if known.len() < REMEMBERED {
        known.insert(event_type.into(), subject.clone());
    }
    subject
}
