//! What was fetched, and what is being fetched: each thing once, for all who ask.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::http::StatusCode;
use tokio::{sync::watch, time::Instant};

use super::{
    Refused,
    answer::Answer,
    growing::Growing,
    upstream::{LARGEST, Opened, Upstream, WHOLE},
};
use crate::origin::problem::Problem;

/// How long it is remembered that there is nothing at an address.
const NOTHING: Duration = Duration::from_secs(1);
/// How long a redirection, or what says nothing of its age, is given to those who ask at the same time.
const AT_ONCE: Duration = Duration::from_millis(250);

/// What was found at an address.
pub(super) enum Found {
    Whole(Arc<Answer>),
    /// The origin is still sending it.
    Growing(Arc<Growing>),
}

impl Found {
    /// Whether not everybody may have it, as the origin says.
    pub(super) fn is_restricted(&self) -> bool {
        match self {
            Self::Whole(answer) => answer.is_restricted,
            Self::Growing(growing) => growing.is_restricted(),
        }
    }
}

/// What is kept, by its path.
pub(super) struct Store {
    upstream: Arc<Upstream>,
    limit: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    entries: HashMap<String, Entry>,
    /// In the order in which they came or were last spared, the oldest first; with the number of the entry, since a path may
    /// come again.
    order: VecDeque<(String, u64)>,
    bytes: usize,
    next: u64,
}

struct Entry {
    number: u64,
    state: watch::Receiver<State>,
    /// Once it is there.
    weight: usize,
    stale: Option<Instant>,
    /// Whether somebody asked for it since it was there, or was last spared.
    is_wanted: bool,
}

#[derive(Clone, Default)]
enum State {
    #[default]
    Asked,
    Growing(Arc<Growing>),
    Here(Arc<Answer>),
    Lost,
}

impl Store {
    pub(super) fn new(upstream: Arc<Upstream>, limit: usize) -> Self {
        Self { upstream, limit, kept: Mutex::default() }
    }

    /// How much is kept.
    pub(super) fn bytes(&self) -> usize {
        self.kept().bytes
    }

    /// What is at a path of the origin.
    ///
    /// # Errors
    /// What the origin said instead, or that it does not answer.
    pub(super) async fn get(self: &Arc<Self>, path: &str) -> Result<Arc<Answer>, Refused> {
        let mut state = self.join(path);
        // The sender is gone only when the task has panicked.
        let is_there = |state: &State| matches!(state, State::Here(_) | State::Lost);
        match told(state.wait_for(is_there).await.map(|state| state.clone()))? {
            Found::Whole(answer) => Ok(answer),
            Found::Growing(_) => Err(Refused::Ours(Problem::ORIGIN_LOST)),
        }
    }

    /// As [`Store::get`], also while it is still being sent.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub(super) async fn find(self: &Arc<Self>, path: &str) -> Result<Found, Refused> {
        let mut state = self.join(path);
        told(state.wait_for(|state| !matches!(state, State::Asked)).await.map(|state| state.clone()))
    }

    /// Forgets all below a path.
    pub(super) fn forget(&self, folder: &str) {
        let mut kept = self.kept();
        let Kept { entries, bytes, .. } = &mut *kept;
        entries.retain(|path, entry| {
            let is_below = path.starts_with(folder);
            if is_below {
                *bytes -= entry.weight;
            }
            !is_below
        });
    }

    fn join(self: &Arc<Self>, path: &str) -> watch::Receiver<State> {
        let mut kept = self.kept();
        if let Some(entry) = kept.entries.get_mut(path)
            && entry.stale.is_none_or(|stale| stale > Instant::now())
        {
            entry.is_wanted = true;
            return entry.state.clone();
        }
        let (sender, state) = watch::channel(State::Asked);
        let number = kept.next;
        kept.next += 1;
        let entry = Entry { number, state: state.clone(), weight: 0, stale: None, is_wanted: false };
        if let Some(old) = kept.entries.insert(path.to_owned(), entry) {
            kept.bytes -= old.weight;
        }
        kept.order.push_back((path.to_owned(), number));
        drop(kept);
        let (store, path) = (Arc::clone(self), path.to_owned());
        // A task of its own: whoever asked first may leave, and others wait.
        tokio::spawn(async move { store.fetch(path, number, sender).await });
        state
    }

    async fn fetch(&self, path: String, number: u64, sender: watch::Sender<State>) {
        let answer = match self.upstream.open(&path).await {
            Ok(Opened::Whole(answer)) => Some(answer),
            Ok(Opened::Growing(status, headers, body)) => {
                let growing = Arc::new(Growing::new(status, headers));
                sender.send_replace(State::Growing(Arc::clone(&growing)));
                growing.fill(body, LARGEST, WHOLE).await
            }
            Err(_) => None,
        };
        let answer = answer.map(Arc::new);
        {
            let mut kept = self.kept();
            let Kept { entries, bytes, .. } = &mut *kept;
            if let Some(entry) = entries.get_mut(&path).filter(|entry| entry.number == number) {
                let now = Instant::now();
                match &answer {
                    Some(answer) => {
                        entry.weight = answer.weight();
                        *bytes += entry.weight;
                        let fresh = match answer.status {
                            StatusCode::NOT_FOUND => NOTHING,
                            status if status.is_success() => Duration::from_secs(answer.fresh_s()).max(AT_ONCE),
                            status if status.is_redirection() => AT_ONCE,
                            _ => Duration::ZERO,
                        };
                        entry.stale = now.checked_add(fresh);
                    }
                    None => entry.stale = Some(now),
                }
            }
            kept.make_room(self.limit);
        }
        sender.send_replace(answer.map_or(State::Lost, State::Here));
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn told(state: Result<State, watch::error::RecvError>) -> Result<Found, Refused> {
    match state {
        Ok(State::Growing(growing)) => Ok(Found::Growing(growing)),
        Ok(State::Here(answer)) if answer.status.is_success() || answer.status.is_redirection() => {
            Ok(Found::Whole(answer))
        }
        Ok(State::Here(answer)) => Err(Refused::Said(answer)),
        Ok(State::Asked | State::Lost) | Err(_) => Err(Refused::Ours(Problem::ORIGIN_LOST)),
    }
}

impl Kept {
    /// Drops the oldest, but spares once what was asked for again meanwhile. What is on its way stays.
    fn make_room(&mut self, limit: usize) {
        const AT_MOST: usize = 100_000;
        let mut on_their_way = Vec::new();
        while self.bytes > limit || self.entries.len() > AT_MOST {
            let Some((path, number)) = self.order.pop_front() else { break };
            match self.entries.get_mut(&path) {
                Some(entry) if entry.number == number && entry.weight == 0 && entry.stale.is_none() => {
                    on_their_way.push((path, number));
                }
                Some(entry) if entry.number == number && entry.is_wanted => {
                    entry.is_wanted = false;
                    self.order.push_back((path, number));
                }
                Some(entry) if entry.number == number => {
                    self.bytes -= entry.weight;
                    self.entries.remove(&path);
                }
                _ => {}
            }
        }
        for waiting in on_their_way.into_iter().rev() {
            self.order.push_front(waiting);
        }
        // Of what was fetched again and again only the last is in the table.
        if self.order.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            self.order.retain(|(path, number)| entries.get(path).is_some_and(|entry| entry.number == *number));
        }
    }
}
