//! Which stream may have how many renditions, so that making them never takes the processors from what must not wait.
//!
//! Every stream says what each of its renditions would cost. Each gets its cheapest before any gets its second: a small
//! picture for those on slow lines is worth more than a third size for one channel. Who came first is asked first.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use metrics::gauge;
use tokio::{sync::watch, time::Instant};

use super::corrections::{Corrections, Means};

/// A thousandth of one processor core.
pub(super) type Millicores = u64;

/// Of the capacity, in per cent, that may be taken by what was refused before: what is given on the edge would be taken back
/// as soon as it turned out a little dearer, and each of the two pauses the stream's other renditions.
const WITH_ROOM_TO_SPARE: u64 = 90;

/// What a stream would take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Demand {
    /// What would encode.
    pub means: Means,
    /// Decoding, once for all renditions.
    pub decoding: Millicores,
    /// Each rendition beside that, the cheapest first.
    pub renditions: Vec<Millicores>,
}

impl Demand {
    /// The cost of the first `count` renditions; none cost nothing.
    pub(super) fn cost(&self, count: usize) -> Millicores {
        let count = count.min(self.renditions.len());
        if count == 0 { 0 } else { self.decoding + self.renditions[..count].iter().sum::<Millicores>() }
    }

    fn corrected(&self, corrections: &Corrections, now: Instant) -> Self {
        let percent = corrections.percent(self.means, now);
        let corrected = |cost: Millicores| cost * percent / 100;
        let renditions = self.renditions.iter().map(|cost| corrected(*cost)).collect();
        Self { means: self.means, decoding: corrected(self.decoding), renditions }
    }
}

/// How many renditions each stream gets, the streams in the order in which they came.
fn plan(capacity: Millicores, demands: &[Demand]) -> Vec<usize> {
    let mut granted = vec![0; demands.len()];
    let mut left = capacity;
    loop {
        let before = left;
        let mut has_given = false;
        for (demand, granted) in demands.iter().zip(&mut granted) {
            let more = demand.cost(*granted + 1) - demand.cost(*granted);
            if *granted < demand.renditions.len() && more <= left {
                left -= more;
                *granted += 1;
                has_given = true;
            }
        }
        if !has_given {
            debug_assert_eq!(before, left);
            return granted;
        }
    }
}

/// The budget of a process. Cheap to clone: clones share it.
#[derive(Clone)]
pub(super) struct Budget(Arc<Mutex<State>>);

struct State {
    capacity: Millicores,
    corrections: Corrections,
    next_id: u64,
    streams: BTreeMap<u64, Entry>,
}

struct Entry {
    demand: Demand,
    granted: watch::Sender<usize>,
}

impl Budget {
    pub(super) fn new(capacity: Millicores) -> Self {
        gauge!("weir_ladder_budget_cores").set(cores(capacity));
        gauge!("weir_ladder_reserved_cores").set(0.0);
        let corrections = Corrections::none(Instant::now());
        Self(Arc::new(Mutex::new(State { capacity, corrections, next_id: 0, streams: BTreeMap::new() })))
    }

    /// A stream's place, without a demand yet. It is given up when it is dropped.
    pub(super) fn join(&self) -> Lease {
        let mut state = self.state();
        let id = state.next_id;
        state.next_id += 1;
        let (sender, granted) = watch::channel(0);
        state.streams.insert(id, Entry { demand: Demand::default(), granted: sender });
        Lease { budget: self.clone(), id, granted }
    }

    /// Learns from what ffmpeg really took. Nobody loses a rendition by it at once: that counts when the next stream comes
    /// or goes. Who was refused one may have it as soon as there is room, see [`Claim::ask`].
    pub(super) fn measured(&self, means: Means, estimate: Millicores, measured: Millicores) {
        if let Some(percent) = (measured * 100).checked_div(estimate) {
            self.state().corrections.learn(means, percent, Instant::now());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is half done when code of ours panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What each stream would take and get of this capacity, in their order; one of them perhaps with another demand.
    fn plan(&self, capacity: Millicores, instead: Option<(u64, &Demand)>) -> (Vec<Demand>, Vec<usize>) {
        let now = Instant::now();
        let demand_of = |id: u64, entry: &Entry| match instead {
            Some((changed, demand)) if changed == id => demand.corrected(&self.corrections, now),
            _ => entry.demand.corrected(&self.corrections, now),
        };
        let demands: Vec<_> = self.streams.iter().map(|(id, entry)| demand_of(*id, entry)).collect();
        let plan = plan(capacity, &demands);
        (demands, plan)
    }

    /// Whether a stream would get more than it has with this demand and of this capacity, and no other less.
    fn has_room(&self, capacity: Millicores, id: u64, demand: &Demand) -> bool {
        let (_, plan) = self.plan(capacity, Some((id, demand)));
        self.streams.iter().zip(plan).all(|((other, entry), count)| {
            let granted = *entry.granted.borrow();
            if *other == id { count > granted } else { count >= granted }
        })
    }

    fn distribute(&self) {
        let (demands, plan) = self.plan(self.capacity, None);
        let mut reserved = 0;
        for ((entry, demand), count) in self.streams.values().zip(demands).zip(plan) {
            reserved += demand.cost(count);
            entry.granted.send_if_modified(|granted| std::mem::replace(granted, count) != count);
        }
        gauge!("weir_ladder_reserved_cores").set(cores(reserved));
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Budget").finish_non_exhaustive()
    }
}

/// A stream's place in the budget.
#[derive(Debug)]
pub(super) struct Lease {
    budget: Budget,
    id: u64,
    granted: watch::Receiver<usize>,
}

/// The same place, for who only asks about it. Not to be used after the lease is gone.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    budget: Budget,
    id: u64,
}

impl Claim {
    /// Whether the stream would get more than it has with this demand, and no other less. What is only a try takes nothing
    /// from anybody.
    pub(super) fn has_room_for(&self, demand: &Demand) -> bool {
        let state = self.budget.state();
        state.has_room(state.capacity, self.id, demand)
    }

    /// Gives the stream what it was refused, if that has become cheaper than it was, or others have: nothing comes or goes
    /// then, for which all would be shared out anew. Nobody loses anything by it. Some room has to be left over.
    pub(super) fn ask(&self) {
        let state = self.budget.state();
        if let Some(entry) = state.streams.get(&self.id)
            && state.has_room(state.capacity * WITH_ROOM_TO_SPARE / 100, self.id, &entry.demand)
        {
            state.distribute();
        }
    }
}

impl Lease {
    pub(super) fn claim(&self) -> Claim {
        Claim { budget: self.budget.clone(), id: self.id }
    }

    /// Says what the stream would take from now on.
    pub(super) fn demand(&mut self, demand: Demand) {
        let mut state = self.budget.state();
        if let Some(entry) = state.streams.get_mut(&self.id)
            && entry.demand != demand
        {
            entry.demand = demand;
            state.distribute();
        }
    }

    /// How many renditions the stream may have now.
    pub(super) fn granted(&mut self) -> usize {
        *self.granted.borrow_and_update()
    }

    /// Waits until that has changed since it was last asked for. Cancel safe.
    pub(super) async fn changed(&mut self) {
        if self.granted.changed().await.is_err() {
            // The sender is in the budget for as long as the lease lives.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.streams.remove(&self.id);
        state.distribute();
    }
}

fn cores(millicores: Millicores) -> f64 {
    millicores as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::ladder::{
        Encoder,
        corrections::{FORGOTTEN_BY_HALF, LEAST_AND_MOST},
    };

    fn demand(decoding: Millicores, renditions: &[Millicores]) -> Demand {
        Demand { means: Means::Processor, decoding, renditions: renditions.to_vec() }
    }

    #[test]
    fn each_stream_gets_one_before_any_gets_two() {
        let stream = demand(100, &[100, 200]);
        assert_eq!(plan(400, std::slice::from_ref(&stream)), [2]);
        assert_eq!(plan(400, &[stream.clone(), stream.clone()]), [1, 1]);
        assert_eq!(plan(600, &[stream.clone(), stream.clone()]), [2, 1]);
        assert_eq!(plan(399, std::slice::from_ref(&stream)), [1]);
        assert_eq!(plan(199, &[stream.clone(), demand(50, &[50])]), [0, 1]);
        assert_eq!(plan(0, &[stream]), [0]);
    }

    #[tokio::test]
    async fn what_a_stream_leaves_goes_to_those_who_wait() {
        let budget = Budget::new(400);
        let mut first = budget.join();
        first.demand(demand(100, &[100, 200]));
        assert_eq!(first.granted(), 2);
        let mut second = budget.join();
        second.demand(demand(100, &[100, 200]));
        assert_eq!(second.granted(), 1);
        first.changed().await;
        assert_eq!(first.granted(), 1);
        drop(first);
        second.changed().await;
        assert_eq!(second.granted(), 2);
        second.demand(Demand::default());
        assert_eq!(second.granted(), 0);
    }

    #[test]
    fn what_it_really_took_counts_for_the_next() {
        let budget = Budget::new(400);
        let mut first = budget.join();
        first.demand(demand(100, &[100, 200]));
        for _ in 0..100 {
            budget.measured(Means::Processor, 400, 800);
        }
        assert_eq!(first.granted(), 2);
        drop(first);
        let mut next = budget.join();
        next.demand(demand(100, &[100, 200]));
        assert_eq!(next.granted(), 1);
        for _ in 0..100 {
            budget.measured(Means::Processor, 400, 1_000_000);
        }
        assert!(budget.state().corrections.percent(Means::Processor, Instant::now()) <= LEAST_AND_MOST.1);
        budget.measured(Means::Processor, 0, 100);
        // Hardware was not measured.
        next.demand(Demand { means: Means::Other, ..demand(100, &[100, 200]) });
        assert_eq!(next.granted(), 2);
        for _ in 0..100 {
            budget.measured((&Encoder::H264Nvenc).into(), 400, 800);
        }
        assert_eq!(budget.state().corrections.percent(Means::Other, Instant::now()), 193);
    }

    #[test]
    fn a_try_takes_nothing_from_anybody() {
        let budget = Budget::new(400);
        let (one, two) = (demand(100, &[100]), demand(100, &[100, 100]));
        let mut first = budget.join();
        first.demand(one.clone());
        let claim = first.claim();
        assert!(claim.has_room_for(&two) && !claim.has_room_for(&one));
        let mut second = budget.join();
        second.demand(one);
        assert_eq!((first.granted(), second.granted()), (1, 1));
        assert!(!claim.has_room_for(&two));
        second.demand(demand(50, &[50]));
        assert!(claim.has_room_for(&two));
        // Who came first would get it before the other's second.
        second.demand(demand(50, &[50, 50]));
        assert_eq!(second.granted(), 2);
        assert!(!claim.has_room_for(&two));
        drop(second);
        assert!(claim.has_room_for(&two));
        assert_eq!(first.granted(), 1, "nothing has changed by asking");
    }

    #[tokio::test]
    async fn what_was_refused_because_it_seemed_dear_is_given_when_it_no_longer_does() {
        let budget = Budget::new(400);
        let mut first = budget.join();
        for _ in 0..100 {
            budget.measured(Means::Processor, 100, 300);
        }
        first.demand(demand(100, &[100]));
        assert_eq!(first.granted(), 0);
        first.claim().ask();
        assert_eq!(first.granted(), 0, "it is as dear as it was");
        // Nothing runs, so nothing is measured.
        budget.state().corrections.age(FORGOTTEN_BY_HALF);
        assert!(first.claim().has_room_for(&demand(100, &[100])));
        first.claim().ask();
        assert_eq!(first.granted(), 0, "it would fit, with nothing to spare");
        budget.state().corrections.age(FORGOTTEN_BY_HALF);
        first.claim().ask();
        first.changed().await;
        assert_eq!(first.granted(), 1);
        let later = |times| Instant::now() + times * FORGOTTEN_BY_HALF;
        assert_eq!(budget.state().corrections.percent(Means::Processor, later(100)), 100);
        for _ in 0..100 {
            budget.measured(Means::Processor, 100, 1);
        }
        let percent = |later| budget.state().corrections.percent(Means::Processor, later);
        assert_eq!([later(0), later(1), later(100)].map(percent), [LEAST_AND_MOST.0, 75, 100]);
    }

    proptest! {
        #[test]
        fn the_budget_holds_and_nothing_that_fits_is_left_over(
            capacity in 0..5_000_u64,
            demands in vec((0..500_u64, vec(0..1_000_u64, 0..4)), 0..8),
        ) {
            let demands: Vec<_> =
                demands.into_iter().map(|(decoding, renditions)| demand(decoding, &renditions)).collect();
            let granted = plan(capacity, &demands);
            let taken: u64 = demands.iter().zip(&granted).map(|(demand, count)| demand.cost(*count)).sum();
            prop_assert!(taken <= capacity);
            for (demand, count) in demands.iter().zip(&granted) {
                prop_assert!(*count <= demand.renditions.len());
                if *count < demand.renditions.len() {
                    prop_assert!(taken + demand.cost(count + 1) - demand.cost(*count) > capacity);
                }
            }
        }
    }
}
