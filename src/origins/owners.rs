//! Finds out which node has a stream: the nodes are asked over NATS, and whoever has it says so.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use ingest::Ingest;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Owner, Sought};

const SUBJECT: &str = "weir.ingest.origin";
/// How long nodes have to say that something is theirs; those that do not have it say nothing.
const PATIENCE: Duration = Duration::from_millis(300);
/// How long an answer is good. A node that does not answer for its streams any more is forgotten at once.
const KNOWN_FOR: Duration = Duration::from_secs(10);
/// How long "nobody" is good: a stream may begin in this moment.
const NOBODY_FOR: Duration = Duration::from_millis(500);
/// How long the last answer is used while NATS is away.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// How many questions are under way at once, so that made-up addresses cannot flood NATS.
const QUESTIONS: usize = 64;
/// How many things are remembered before those that are stale are dropped.
const REMEMBERED: usize = 4_096;

/// What a node says of something that it has.
#[derive(Serialize, Deserialize)]
struct Claim {
    url: String,
}

/// Who has what.
pub struct Owners {
    local: Option<Arc<Ingest>>,
    nats: async_nats::Client,
    known: Mutex<HashMap<Sought, Arc<Known>>>,
    questions: Semaphore,
}

#[derive(Default)]
struct Known {
    answer: Mutex<Option<Answer>>,
    /// Held by the one who asks; the others wait for what it hears.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Answer {
    owner: Owner,
    at: Instant,
}

impl Answer {
    fn is_good(&self) -> bool {
        let good_for = if self.owner == Owner::Nobody { NOBODY_FOR } else { KNOWN_FOR };
        self.at.elapsed() < good_for
    }
}

impl Owners {
    /// Asks over `nats` for what `local` does not have.
    pub fn new(local: Option<Arc<Ingest>>, nats: async_nats::Client) -> Self {
        Self { local, nats, known: Mutex::default(), questions: Semaphore::new(QUESTIONS) }
    }

    /// Whether this node has it.
    pub fn is_here(&self, sought: Sought) -> bool {
        self.local.as_ref().is_some_and(|ingest| has(ingest, sought))
    }

    /// Who has it, asked at most every few seconds. All who want to know the same share one question.
    ///
    /// Cancel safe.
    pub async fn find(&self, sought: Sought) -> Owner {
        let known = self.known(sought);
        if let Some(answer) = known.answer().filter(Answer::is_good) {
            return answer.owner;
        }
        let _asking = known.asking.lock().await;
        let before = known.answer();
        if let Some(answer) = before.clone().filter(Answer::is_good) {
            return answer.owner;
        }
        let owner = self.ask(sought).await;
        if owner == Owner::Unknown {
            let remembered = before.filter(|answer| answer.at.elapsed() < REMEMBERED_FOR);
            return remembered.map_or(Owner::Unknown, |answer| answer.owner);
        }
        known.set(Some(Answer { owner: owner.clone(), at: Instant::now() }));
        owner
    }

    /// The node that was found did not answer: the next to seek asks anew.
    pub fn forget(&self, sought: Sought) {
        self.known(sought).set(None);
    }

    fn known(&self, sought: Sought) -> Arc<Known> {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED && !all.contains_key(&sought) {
            all.retain(|_, known| {
                let is_asked = Arc::strong_count(known) > 1;
                is_asked || known.answer().is_some_and(|answer| answer.is_good() && answer.owner != Owner::Nobody)
            });
        }
        Arc::clone(all.entry(sought).or_default())
    }

    async fn ask(&self, sought: Sought) -> Owner {
        let Ok(question) = serde_json::to_vec(&sought) else { return Owner::Unknown };
        let asked = async {
            let _place = self.questions.acquire().await.ok()?;
            Some(timeout(PATIENCE, self.nats.request(SUBJECT, question.into())).await)
        };
        match asked.await {
            Some(Ok(Ok(message))) => match serde_json::from_slice::<Claim>(&message.payload) {
                Ok(claim) => Owner::There(claim.url.into()),
                Err(error) => {
                    debug!(%error, "a node's answer about a stream cannot be read");
                    Owner::Unknown
                }
            },
            Some(Ok(Err(error))) if error.kind() == async_nats::RequestErrorKind::NoResponders => Owner::Nobody,
            // Silence is an answer, but only of nodes that were reached.
            Some(Err(_)) if self.nats.connection_state() == async_nats::connection::State::Connected => Owner::Nobody,
            _ => Owner::Unknown,
        }
    }
}

impl Known {
    fn answer(&self) -> Option<Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, answer: Option<Answer>) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }
}

fn has(ingest: &Ingest, sought: Sought) -> bool {
    match sought {
        Sought::Stream(stream_id) => ingest.broadcasts().get(stream_id).is_some(),
        Sought::Channel(channel_id) => ingest.broadcasts().live_of_channel(channel_id).is_some(),
    }
}

/// Tells other nodes of what this one has, until `cancel`: it is found at `url`.
pub async fn claim(ingest: Arc<Ingest>, url: String, nats: async_nats::Client, cancel: CancellationToken) {
    let claim = serde_json::json!({ "url": url }).to_string();
    let answering = async {
        loop {
            match nats.subscribe(SUBJECT).await {
                // The client keeps the subscription over reconnections; it ends when the client is closed.
                Ok(mut questions) => {
                    while let Some(message) = questions.next().await {
                        let sought = serde_json::from_slice(&message.payload);
                        if let (Ok(sought), Some(reply)) = (sought, message.reply)
                            && has(&ingest, sought)
                        {
                            drop(nats.publish(reply, claim.clone().into()).await);
                        }
                    }
                }
                Err(error) => debug!(%error, "other nodes cannot be listened to yet"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    cancel.run_until_cancelled_owned(answering).await;
}
