use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::CommandError;

/// What the write side counts. Made once, so that counting looks nothing up; whoever keeps the figures has to be there
/// before.
pub(crate) struct Counters {
    pub(crate) batch_commands: Histogram,
    pub(crate) append_seconds: Histogram,
    pub(crate) queue_commands: Gauge,
    pub(crate) cache_hits: Counter,
    pub(crate) cache_misses: Counter,
    committed: Counter,
    refused: Counter,
    conflict: Counter,
    overloaded: Counter,
    unavailable: Counter,
    unknown: Counter,
    unexpected: Counter,
}

impl Counters {
    pub(crate) fn new() -> Self {
        let outcome = |outcome: &'static str| counter!("weir_commands_total", "outcome" => outcome);
        // Told from the start, so that an alert can be made before the first one fails.
        for outcome in ["completed", "failed"] {
            counter!("weir_exports_total", "outcome" => outcome).increment(0);
        }
        let cache = |result: &'static str| counter!("weir_aggregate_cache_total", "result" => result);
        Self {
            batch_commands: histogram!("weir_append_batch_commands"),
            append_seconds: histogram!("weir_append_seconds"),
            queue_commands: gauge!("weir_append_queue_commands"),
            cache_hits: cache("hit"),
            cache_misses: cache("miss"),
            committed: outcome("committed"),
            refused: outcome("refused"),
            conflict: outcome("conflict"),
            overloaded: outcome("overloaded"),
            unavailable: outcome("unavailable"),
            unknown: outcome("unknown"),
            unexpected: outcome("unexpected"),
        }
    }

    /// What became of a command.
    pub(crate) fn count<T, R>(&self, result: &Result<T, CommandError<R>>) {
        let counter = match result {
            Ok(_) => &self.committed,
            Err(CommandError::Refused(_)) => &self.refused,
            Err(CommandError::Conflict | CommandError::Repeated) => &self.conflict,
            Err(CommandError::Overloaded) => &self.overloaded,
            Err(CommandError::Unavailable(_)) => &self.unavailable,
            Err(CommandError::OutcomeUnknown(_)) => &self.unknown,
            Err(CommandError::Unexpected(_)) => &self.unexpected,
        };
        counter.increment(1);
    }
}
