//! `weir password-cost`: what the hash of a password may cost on this machine.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use commands::accounts::{PasswordCost, hashed_at_once};

use crate::config::Config;

/// What is measured, from the cheapest: memory is what hurts those most who guess with many chips.
const MEMORY_MIB: [u32; 9] = [19, 32, 48, 64, 96, 128, 192, 256, 512];

#[derive(Debug, Args)]
pub(crate) struct MeasurePasswordCost {
    /// How long one hash may take, in milliseconds: so much longer a sign-in takes
    #[arg(long, default_value_t = 250, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    within_ms: u32,
}

impl MeasurePasswordCost {
    pub(crate) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let set = config.passwords.cost()?;
        let within = Duration::from_millis(self.within_ms.into());
        let mut measured = Vec::new();
        for memory_mib in MEMORY_MIB {
            let cost = PasswordCost::new(memory_mib, PasswordCost::LEAST.passes()).context("no such cost")?;
            measured.push((cost, cost.measure()));
            // What takes twice as long again need not be waited for.
            if measured.last().is_some_and(|(_, took)| *took > within) {
                break;
            }
        }
        if measured.iter().all(|(cost, _)| *cost != set) {
            measured.push((set, set.measure()));
        }
        print(io::stdout(), &measured, set, within).context("nobody can be told what was measured")
    }
}

/// The dearest that takes no longer than that, by the memory.
fn fitting(measured: &[(PasswordCost, Duration)], within: Duration) -> Option<PasswordCost> {
    let fitting = measured.iter().filter(|(_, took)| *took <= within).map(|(cost, _)| *cost);
    fitting.max_by_key(|cost| (cost.memory_mib(), cost.passes()))
}

fn print(
    mut out: impl Write,
    measured: &[(PasswordCost, Duration)],
    set: PasswordCost,
    within: Duration,
) -> io::Result<()> {
    let at_once = hashed_at_once();
    writeln!(out, "memory    passes  one hash  {at_once} at once take")?;
    for (cost, took) in measured {
        let memory = format!("{} MiB", cost.memory_mib());
        let together = format!("{} MiB", cost.memory_mib() as usize * at_once);
        let is_set = if *cost == set { "  as it is set" } else { "" };
        let (passes, took) = (cost.passes(), took.as_millis());
        writeln!(out, "{memory:<9} {passes:<7} {took:>5} ms  {together}{is_set}")?;
    }
    let limit = within.as_millis();
    match fitting(measured, within) {
        Some(cost) if cost == set => {
            writeln!(out, "\nWhat is set is the dearest of these that takes {limit} ms or less.")
        }
        Some(cost) => writeln!(
            out,
            "\nThe dearest of these that takes {limit} ms or less, for weir.toml:\n\n[passwords]\nmemory_mib = {}\npasses = {}",
            cost.memory_mib(),
            cost.passes()
        ),
        None => writeln!(
            out,
            "\nNone takes {limit} ms or less. The first is the least that is safe: leave it, and expect sign-ins to take longer."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Vec<(PasswordCost, Duration)> {
        let cost = |memory_mib| PasswordCost::new(memory_mib, 2).unwrap();
        [(19, 40), (64, 130), (128, 260)].map(|(mib, ms)| (cost(mib), Duration::from_millis(ms))).to_vec()
    }

    fn said(set: PasswordCost, within_ms: u64) -> String {
        let mut text = Vec::new();
        print(&mut text, &measured(), set, Duration::from_millis(within_ms)).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_dearest_that_fits_is_named() {
        let dearest = fitting(&measured(), Duration::from_millis(250)).unwrap();
        assert_eq!(dearest.memory_mib(), 64);
        let text = said(PasswordCost::LEAST, 250);
        assert!(text.contains("[passwords]\nmemory_mib = 64\npasses = 2\n"), "{text}");
        assert!(text.lines().any(|line| line.starts_with("19 MiB") && line.ends_with("as it is set")), "{text}");
        assert!(said(dearest, 250).contains("What is set is the dearest"), "{}", said(dearest, 250));
        assert!(said(PasswordCost::LEAST, 30).contains("None takes 30 ms"), "{}", said(PasswordCost::LEAST, 30));
    }
}
