//! The watch over connections: one task looks at all of them every so often and tells them to end.
//!
//! A timer for each, and a question to it whenever something happens on its connection, would cost thousands of viewers a fiftieth of
//! all that the server does. So an end comes up to a second later than its limit says.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering, fence},
    },
    task::Waker,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

use super::HttpLimits;

/// How long a connection may take to say goodbye.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);
/// How often each connection is looked at, unless a limit is that short.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks after the connections of a server.
#[derive(Debug)]
pub(super) struct Watch {
    connections: Vec<Weak<Activity>>,
    idle: Duration,
    unread: Duration,
}

impl Watch {
    pub(super) fn new(limits: HttpLimits) -> Self {
        Self { connections: Vec::new(), idle: limits.head, unread: limits.unread }
    }

    /// How often to look.
    pub(super) fn every(&self) -> Duration {
        (self.idle.min(self.unread) / 8).clamp(Duration::from_millis(5), LOOK_EVERY)
    }

    /// Another connection, which is looked after until it is dropped.
    pub(super) fn begin(&mut self) -> Arc<Activity> {
        let activity = Arc::new(Activity::new());
        self.connections.push(Arc::downgrade(&activity));
        activity
    }

    /// Looks at each connection, and tells those that ask nothing or take nothing.
    pub(super) fn look(&mut self) {
        let (now, idle, unread) = (now_ms(), self.idle, self.unread);
        self.each(|activity| activity.look(now, idle, unread));
    }

    /// Tells all to end once they are answered.
    pub(super) fn end(&mut self) {
        let now = now_ms();
        self.each(|activity| activity.tell(Told::End, now));
    }

    fn each(&mut self, act: impl Fn(&Activity)) {
        self.connections.retain(|activity| activity.upgrade().inspect(|activity| act(activity)).is_some());
        self.connections.shrink_to(2 * self.connections.len());
    }
}

/// What a connection is to do. What is said once is only ever followed by what comes later here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Told {
    /// Go on.
    Nothing,
    /// End once what was asked for is answered.
    End,
    /// End at once: it was told, and nothing is asked any more.
    Leave,
    /// End at once: what was asked for is not taken.
    Cut,
}

/// What a connection is doing, told by its socket and its answers, and what it is to do.
#[derive(Debug)]
pub(super) struct Activity {
    requests: AtomicU32,
    /// Answers of which the client must take something before there is more to do.
    untaken: AtomicU32,
    is_blocked: AtomicBool,
    is_cut: AtomicBool,
    told: AtomicU8,
    /// When something came or went, and when it was told to end, by [`now_ms`].
    last_ms: AtomicU64,
    ended_ms: AtomicU64,
    /// Of the task that the connection lives in.
    waker: OnceLock<Waker>,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            requests: AtomicU32::new(0),
            untaken: AtomicU32::new(0),
            is_blocked: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            told: AtomicU8::new(Told::Nothing as u8),
            last_ms: AtomicU64::new(now_ms()),
            ended_ms: AtomicU64::new(0),
            waker: OnceLock::new(),
        }
    }

    /// What the connection is to do; its task is woken when that changes. To be asked from one task only.
    pub(super) fn told(&self, task: &Waker) -> Told {
        if self.waker.get().is_none() {
            let _ = self.waker.set(task.clone());
            // Either this task sees what it is told now, or it is woken by who tells it.
            fence(Ordering::SeqCst);
        }
        self.read_told()
    }

    fn read_told(&self) -> Told {
        match self.told.load(Ordering::Relaxed) {
            told if told == Told::Cut as u8 => Told::Cut,
            told if told == Told::Leave as u8 => Told::Leave,
            told if told == Told::End as u8 => Told::End,
            _ => Told::Nothing,
        }
    }

    /// Whether the connection is to end once it is answered what it has asked for.
    pub(super) fn is_ending(&self) -> bool {
        self.read_told() != Told::Nothing
    }

    /// Only a [`Watch`] tells, from its one task.
    fn tell(&self, told: Told, now_ms: u64) {
        if self.told.fetch_max(told as u8, Ordering::Relaxed) >= told as u8 {
            return;
        }
        if told == Told::End {
            self.ended_ms.store(now_ms, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        if let Some(task) = self.waker.get() {
            task.wake_by_ref();
        }
    }

    /// Something has come or gone.
    fn touch(&self) {
        self.last_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// Sees whether it has gone `idle` for so long without a request, or `unread` without taking any of an answer.
    ///
    /// Whatever makes a time count is written after that time and read before it: no old time is taken for what has just begun.
    fn look(&self, now_ms: u64, idle: Duration, unread: Duration) {
        let since = |ms: &AtomicU64| Duration::from_millis(now_ms.saturating_sub(ms.load(Ordering::Relaxed)));
        if self.requests.load(Ordering::Acquire) == 0 && !self.is_blocked.load(Ordering::Acquire) {
            if since(&self.last_ms) < idle {
                return;
            }
            match self.read_told() {
                Told::Nothing => self.tell(Told::End, now_ms),
                _ if since(&self.ended_ms) >= GOODBYE => self.tell(Told::Leave, now_ms),
                _ => {}
            }
        } else if self.untaken.load(Ordering::Acquire) > 0 && since(&self.last_ms) >= unread {
            self.tell(Told::Cut, now_ms);
        }
    }

    /// Its socket takes nothing more, or takes something again.
    pub(super) fn set_blocked(&self, is_blocked: bool) {
        if !is_blocked {
            self.touch();
        }
        self.is_blocked.store(is_blocked, Ordering::Release);
    }

    /// Counts this connection among those that were cut for not reading; whether it is the first to say so.
    pub(super) fn cut(&self) -> bool {
        !self.is_cut.swap(true, Ordering::Relaxed)
    }
}

/// A request that is being answered, until its answer has been handed to the socket.
#[derive(Debug)]
pub(super) struct Answering {
    activity: Arc<Activity>,
    is_untaken: bool,
}

impl Answering {
    pub(super) fn begin(activity: Arc<Activity>) -> Self {
        activity.requests.fetch_add(1, Ordering::Release);
        Self { activity, is_untaken: false }
    }

    /// The client has to take something next, or has taken it.
    pub(super) fn set_untaken(&mut self, is_untaken: bool) {
        self.activity.touch();
        if self.is_untaken != is_untaken {
            self.is_untaken = is_untaken;
            match is_untaken {
                true => self.activity.untaken.fetch_add(1, Ordering::Release),
                false => self.activity.untaken.fetch_sub(1, Ordering::Release),
            };
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.set_untaken(false);
        self.activity.requests.fetch_sub(1, Ordering::Release);
    }
}

/// Milliseconds of a clock that only goes forward, to within a few of them: it is read several times for each answer.
fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    let (seconds, nanoseconds) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or_default() * 1_000 + nanoseconds.unwrap_or_default() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(75);
    const UNREAD: Duration = Duration::from_secs(30);

    /// An activity whose last sign was at 1,000 s, and what it is told when it is looked at so many seconds later.
    fn seen(activity: &Activity, seconds: u64) -> Told {
        activity.look((1_000 + seconds) * 1_000, IDLE, UNREAD);
        activity.read_told()
    }

    fn quiet() -> Arc<Activity> {
        let activity = Arc::new(Activity::new());
        activity.last_ms.store(1_000_000, Ordering::Relaxed);
        activity
    }

    #[test]
    fn who_asks_nothing_is_to_end_and_then_to_leave() {
        let activity = quiet();
        assert_eq!(seen(&activity, 74), Told::Nothing);
        assert_eq!(seen(&activity, 75), Told::End);
        assert!(activity.is_ending());
        assert_eq!(seen(&activity, 75), Told::End, "it has time to say goodbye");
        assert_eq!(seen(&activity, 76), Told::Leave);
    }

    #[test]
    fn who_takes_nothing_is_cut_and_who_waits_is_not() {
        let activity = quiet();
        let mut answering = Answering::begin(Arc::clone(&activity));
        assert_eq!(seen(&activity, 10_000), Told::Nothing, "it is we who let it wait");
        answering.set_untaken(true);
        activity.last_ms.store(1_000_000, Ordering::Relaxed);
        assert_eq!(seen(&activity, 29), Told::Nothing);
        assert_eq!(seen(&activity, 30), Told::Cut);
        assert_eq!(seen(&activity, 0), Told::Cut, "nothing takes that back");
    }

    #[test]
    fn what_is_blocked_is_not_idle_and_an_answer_that_is_taken_not_slow() {
        let activity = quiet();
        activity.set_blocked(true);
        assert_eq!(seen(&activity, 10_000), Told::Nothing);
        activity.set_blocked(false);
        let mut answering = Answering::begin(Arc::clone(&activity));
        answering.set_untaken(true);
        answering.set_untaken(false);
        activity.last_ms.store(1_000_000, Ordering::Relaxed);
        assert_eq!(seen(&activity, 10_000), Told::Nothing);
    }

    #[test]
    fn connections_that_are_gone_are_forgotten() {
        let limits = HttpLimits { connections: 1, per_address: 0, counts_private: true, head: IDLE, unread: UNREAD };
        let mut watch = Watch::new(limits);
        let mut kept: Vec<_> = (0..100).map(|_| watch.begin()).collect();
        kept.truncate(1);
        watch.look();
        assert_eq!(watch.connections.len(), 1);
        assert!(watch.connections.capacity() < 100);
        assert!(!kept[0].is_ending());
        watch.end();
        assert!(kept[0].is_ending());
    }
}
