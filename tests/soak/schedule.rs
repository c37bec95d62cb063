//! What is done to whom and when: a function of the seed alone.

use std::{fmt, time::Duration};

use crate::dice::Dice;

/// A process, or a server with all of its processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// A `weir serve`, by its place in [`crate::nodes::ROLES`].
    Node(usize),
    Postgres,
    Nats,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// kill -9, and started again after `for_ms`.
    Kill,
    /// SIGSTOP, and SIGCONT after `for_ms`.
    Stop,
    /// kill -9 of one of Postgres's sessions, which makes it throw all out and recover.
    KillSession,
    /// Stopped in order, and started again.
    Restart,
}

#[derive(Debug, Clone)]
pub struct Fault {
    /// Since the one before.
    pub after_ms: u64,
    pub victim: Victim,
    pub deed: Deed,
    /// How long the victim is away.
    pub for_ms: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { after_ms, victim, deed, for_ms } = self;
        let victim = match victim {
            Victim::Node(place) => crate::nodes::ROLES[*place].0.to_owned(),
            other => format!("{other:?}").to_lowercase(),
        };
        write!(formatter, "+{after_ms} ms: {deed:?} {victim} for {for_ms} ms")
    }
}

impl Fault {
    /// What it is counted as: copies of a role are one kind.
    pub fn kind(&self) -> (String, Deed) {
        let victim = match self.victim {
            Victim::Node(place) => crate::nodes::ROLES[place].1.to_owned(),
            other => format!("{other:?}").to_lowercase(),
        };
        (victim, self.deed)
    }

    pub fn away(&self) -> Duration {
        Duration::from_millis(self.for_ms)
    }
}

/// Every way in which somebody can be hit, once.
fn every() -> Vec<(Victim, Deed)> {
    let nodes = (0..crate::nodes::ROLES.len()).map(Victim::Node);
    let mut every: Vec<_> = nodes.flat_map(|node| [(node, Deed::Kill), (node, Deed::Stop)]).collect();
    every.extend([Deed::Kill, Deed::KillSession, Deed::Stop, Deed::Restart].map(|deed| (Victim::Postgres, deed)));
    every.extend([Deed::Kill, Deed::Stop, Deed::Restart].map(|deed| (Victim::Nats, deed)));
    every
}

/// `count` faults. Round by round each way is drawn once, in an order of chance, so that a long run leaves none out.
pub fn schedule(seed: u64, count: usize) -> Vec<Fault> {
    let mut dice = Dice::of(seed, 0);
    let mut faults = Vec::with_capacity(count);
    while faults.len() < count {
        let mut round = every();
        dice.shuffle(&mut round);
        for (victim, deed) in round.into_iter().take(count - faults.len()) {
            // Most are short, so that one falls into the recovery from the other; some outlast the lease of the relay (3 s)
            // and what workers and clients wait for each other.
            let for_ms = match (deed, dice.roll(6)) {
                (Deed::Stop, 0) => dice.between(3_000, 6_000),
                (Deed::Stop, _) => dice.between(50, 1_500),
                (_, 0) => dice.between(1_000, 4_000),
                _ => dice.between(0, 500),
            };
            faults.push(Fault { after_ms: dice.between(50, 1_900), victim, deed, for_ms });
        }
    }
    faults
}

#[test]
fn a_seed_has_one_schedule_and_a_round_leaves_nobody_out() {
    let text = |seed| schedule(seed, 60).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(text(7), text(7));
    assert_ne!(text(7), text(8));
    let round: std::collections::BTreeSet<_> =
        schedule(9, every().len()).iter().map(|fault| (fault.victim, fault.deed)).collect();
    assert_eq!(round.len(), every().len());
}
