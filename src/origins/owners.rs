//! Finds out which node has a stream: the nodes are asked over NATS, and whoever has it says so.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{ids::StreamId, streams::EndReason};
use futures::StreamExt;
use ingest::Ingest;
use processes::StreamElsewhere;
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
/// The same where silence ends a stream: a node that is busy must not lose what it has.
const PATIENCE_FOR_OPEN: Duration = Duration::from_secs(2);
/// How long an answer is good. A node that does not answer for its streams any more is forgotten at once.
const KNOWN_FOR: Duration = Duration::from_secs(10);
/// How long "nobody" is good: a stream may begin in this moment.
const NOBODY_FOR: Duration = Duration::from_millis(500);
/// How long the last answer is used while NATS is away, or nodes are silent.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// How many questions are under way at once, so that made-up addresses cannot flood NATS.
const QUESTIONS: usize = 64;
/// How many things are remembered before those that are stale are dropped.
const REMEMBERED: usize = 4_096;

/// What a node says of something that it has.
#[derive(Serialize, Deserialize)]
struct Claim {
    url: String,
    /// It only shows that it is over. Nodes of a version before this do not say.
    #[serde(default)]
    is_ended: bool,
    /// As what it has ended, while the log does not know of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ends_as: Option<EndReason>,
}

/// It could not be found out who has something.
#[derive(Debug, thiserror::Error)]
#[error("the nodes cannot be asked; is NATS away?")]
pub struct NotAnswered;

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
    good_until: Instant,
}

impl Answer {
    fn new(owner: Owner) -> Self {
        let good_for = if owner == Owner::Nobody { NOBODY_FOR } else { KNOWN_FOR };
        let at = Instant::now();
        Self { owner, at, good_until: at + good_for }
    }

    fn is_good(&self) -> bool {
        Instant::now() < self.good_until
    }

    /// The same, heard when it was, for a little longer.
    fn a_little_longer(self) -> Self {
        Self { good_until: Instant::now() + NOBODY_FOR, ..self }
    }

    fn is_of(&self, node: &str) -> bool {
        matches!(&self.owner, Owner::There(owner) if &**owner == node)
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
        let remembered = before.filter(|answer| answer.at.elapsed() < REMEMBERED_FOR);
        let answer = match (owner, remembered) {
            (Owner::Unknown, remembered) => return remembered.map_or(Owner::Unknown, |answer| answer.owner),
            // A node that is busy is silent, too. Who asks it for the thing itself hears whether it still has it, or that it is gone.
            (Owner::Nobody, Some(answer)) if answer.owner != Owner::Nobody => answer.a_little_longer(),
            (owner, _) => Answer::new(owner),
        };
        let owner = answer.owner.clone();
        known.set(Some(answer));
        owner
    }

    /// Who has it now, since `node` was found and does not have it: asked at once, unless that was found just now; `None` when it is
    /// still `node`.
    ///
    /// Cancel safe.
    pub async fn find_other(&self, sought: Sought, node: &str) -> Option<Arc<str>> {
        let known = self.known(sought);
        if known.answer().is_some_and(|answer| answer.is_of(node) && answer.at.elapsed() >= NOBODY_FOR) {
            known.set(None);
        }
        match self.find(sought).await {
            Owner::There(other) => (&*other != node).then_some(other),
            Owner::Nobody | Owner::Unknown => None,
        }
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

    /// What the nodes say of a stream that the log has open, asked now. One that only shows its end does not have it, once the log knows
    /// of that end.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`NotAnswered`] when NATS is away.
    pub async fn ask_for_open(&self, stream_id: StreamId) -> Result<StreamElsewhere, NotAnswered> {
        let claim = self.ask_for(Sought::Stream(stream_id), PATIENCE_FOR_OPEN).await?;
        Ok(match claim {
            Some(Claim { ends_as: Some(reason), .. }) => StreamElsewhere::Ended(reason),
            Some(Claim { is_ended: false, .. }) => StreamElsewhere::GoesOn,
            Some(_) | None => StreamElsewhere::Nowhere,
        })
    }

    async fn ask(&self, sought: Sought) -> Owner {
        match self.ask_for(sought, PATIENCE).await {
            Ok(Some(claim)) => Owner::There(claim.url.into()),
            Ok(None) => Owner::Nobody,
            Err(NotAnswered) => Owner::Unknown,
        }
    }

    /// What the node says that has it; `None` when nobody does within `patience`.
    async fn ask_for(&self, sought: Sought, patience: Duration) -> Result<Option<Claim>, NotAnswered> {
        let Ok(question) = serde_json::to_vec(&sought) else { return Err(NotAnswered) };
        let asked = async {
            let _place = self.questions.acquire().await.ok()?;
            Some(timeout(patience, self.nats.request(SUBJECT, question.into())).await)
        };
        match asked.await {
            Some(Ok(Ok(message))) => match serde_json::from_slice::<Claim>(&message.payload) {
                Ok(claim) => Ok(Some(claim)),
                Err(error) => {
                    debug!(%error, "a node's answer about a stream cannot be read");
                    Err(NotAnswered)
                }
            },
            Some(Ok(Err(error))) if error.kind() == async_nats::RequestErrorKind::NoResponders => Ok(None),
            // Silence is an answer, but only of nodes that were reached.
            Some(Err(_)) if self.nats.connection_state() == async_nats::connection::State::Connected => Ok(None),
            _ => Err(NotAnswered),
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
    is_ended(ingest, sought).is_some()
}

/// Whether it is over; `None` for what is not here.
fn is_ended(ingest: &Ingest, sought: Sought) -> Option<bool> {
    let broadcast = match sought {
        Sought::Stream(stream_id) => ingest.broadcasts().get(stream_id),
        Sought::Channel(channel_id) => ingest.broadcasts().live_of_channel(channel_id),
    };
    broadcast.map(|broadcast| broadcast.is_ended())
}

/// What this node says of something to others, who find it at `url`; `None` when it has nothing to do with that.
fn claim_to(ingest: &Ingest, sought: Sought, url: &str) -> Option<Claim> {
    let ends_as = match sought {
        Sought::Stream(stream_id) => ingest.unstored_end(stream_id),
        Sought::Channel(_) => None,
    };
    let is_ended = match ends_as {
        // Also where nothing of it is shown any more.
        Some(_) => true,
        None => is_ended(ingest, sought)?,
    };
    Some(Claim { url: url.to_owned(), is_ended, ends_as })
}

/// Tells other nodes of what this one has, until `cancel`: it is found at `url`.
pub async fn claim(ingest: Arc<Ingest>, url: String, nats: async_nats::Client, cancel: CancellationToken) {
    let answering = async {
        loop {
            match nats.subscribe(SUBJECT).await {
                // The client keeps the subscription over reconnections; it ends when the client is closed.
                Ok(mut questions) => {
                    while let Some(message) = questions.next().await {
                        let sought = serde_json::from_slice(&message.payload);
                        if let (Ok(sought), Some(reply)) = (sought, message.reply)
                            && let Some(claim) = claim_to(&ingest, sought, &url)
                            && let Ok(claim) = serde_json::to_vec(&claim)
                        {
                            drop(nats.publish(reply, claim.into()).await);
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn a_node_that_is_silent_for_once_is_asked_for_what_it_had() {
        let nats = async_nats::connect(embedded::testing::nats().await).await.unwrap();
        let mut questions = nats.subscribe(SUBJECT).await.unwrap();
        nats.flush().await.unwrap();
        let answers = Arc::new(AtomicBool::new(true));
        tokio::spawn({
            let (nats, answers) = (nats.clone(), Arc::clone(&answers));
            async move {
                while let Some(question) = questions.next().await {
                    if answers.load(Ordering::SeqCst) {
                        let claim = Claim { url: "http://there".to_owned(), is_ended: false, ends_as: None };
                        let claim = serde_json::to_vec(&claim).unwrap();
                        nats.publish(question.reply.unwrap(), claim.into()).await.unwrap();
                    }
                }
            }
        });
        let owners = Owners::new(None, nats);
        let sought = Sought::Stream(StreamId::from(Uuid::now_v7()));
        let there = Owner::There("http://there".into());
        // It may be too busy to answer at once.
        let found = async {
            while owners.find(sought).await != there {
                tokio::time::sleep(NOBODY_FOR).await;
            }
        };
        timeout(Duration::from_secs(120), found).await.unwrap();

        answers.store(false, Ordering::SeqCst);
        let known = owners.known(sought);
        known.set(known.answer().map(|answer| Answer { good_until: Instant::now(), ..answer }));
        assert_eq!(owners.find(sought).await, there);
        // It was asked, and did not answer for it.
        owners.forget(sought);
        assert_eq!(owners.find(sought).await, Owner::Nobody);
    }
}
