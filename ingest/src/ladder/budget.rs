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
use tokio::sync::watch;

/// A thousandth of one processor core.
pub(super) type Millicores = u64;

/// A correction is kept between these, in per cent of the estimate.
const CORRECTION: (u64, u64) = (50, 300);

/// What a stream would take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Demand {
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
    /// What renditions really cost, in per cent of what was estimated.
    correction_percent: u64,
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
        Self(Arc::new(Mutex::new(State { capacity, correction_percent: 100, next_id: 0, streams: BTreeMap::new() })))
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

    /// Learns from what ffmpeg really took. Nobody loses a rendition by it at once: it counts when the next stream comes
    /// or goes.
    pub(super) fn measured(&self, estimate: Millicores, measured: Millicores) {
        if estimate == 0 {
            return;
        }
        let mut state = self.state();
        let (least, most) = CORRECTION;
        let percent = (measured * 100 / estimate).clamp(least, most);
        state.correction_percent = (state.correction_percent * 7 + percent) / 8;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is half done when code of ours panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn corrected(&self, cost: Millicores) -> Millicores {
        cost * self.correction_percent / 100
    }

    fn distribute(&self) {
        let corrected = |demand: &Demand| Demand {
            decoding: self.corrected(demand.decoding),
            renditions: demand.renditions.iter().map(|cost| self.corrected(*cost)).collect(),
        };
        let demands: Vec<_> = self.streams.values().map(|entry| corrected(&entry.demand)).collect();
        let plan = plan(self.capacity, &demands);
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

impl Lease {
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

    fn demand(decoding: Millicores, renditions: &[Millicores]) -> Demand {
        Demand { decoding, renditions: renditions.to_vec() }
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
            budget.measured(400, 800);
        }
        assert_eq!(first.granted(), 2);
        drop(first);
        let mut next = budget.join();
        next.demand(demand(100, &[100, 200]));
        assert_eq!(next.granted(), 1);
        for _ in 0..100 {
            budget.measured(400, 1_000_000);
        }
        assert!(budget.state().correction_percent <= CORRECTION.1);
        budget.measured(0, 100);
    }

    proptest! {
        #[test]
        fn the_budget_holds_and_nothing_that_fits_is_left_over(
            capacity in 0..5_000_u64,
            demands in vec((0..500_u64, vec(0..1_000_u64, 0..4)), 0..8),
        ) {
            let demands: Vec<_> =
                demands.into_iter().map(|(decoding, renditions)| Demand { decoding, renditions }).collect();
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
