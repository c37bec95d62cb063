//! The threads that hold connections: one for each core, with a runtime of its own.
//!
//! A connection stays where it was put, so that what comes for it and what is sent on it wakes no other thread, and a thread
//! that is awake goes through all that has come before it asks the system again. What computes, waits for Postgres or
//! spawns is not done here: it would keep thousands of viewers waiting.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    time::interval,
};
use tracing::error;

/// The threads, which live as long as the process: what was opened from one of them may be used by others to the end.
#[derive(Debug)]
pub(super) struct Cores(Vec<Core>);

#[derive(Debug)]
struct Core {
    runtime: Handle,
    held: Arc<AtomicUsize>,
}

/// A place on a thread, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) runtime: Handle,
    held: Arc<AtomicUsize>,
}

impl Cores {
    /// Those of this process.
    pub(super) fn get() -> &'static Self {
        static CORES: OnceLock<Cores> = OnceLock::new();
        CORES.get_or_init(|| {
            let count = thread::available_parallelism().map_or(1, usize::from);
            let started = (0..count).filter_map(|index| {
                start(index).inspect_err(|error| error!(%error, "a thread for HTTP connections cannot be started")).ok()
            });
            let mut cores: Vec<Core> = started.collect();
            if cores.is_empty() {
                // On the runtime that is here, as well as it can.
                cores.push(Core { runtime: Handle::current(), held: Arc::default() });
            }
            Self(cores)
        })
    }

    /// A place on the thread that has the fewest.
    pub(super) fn seat(&self) -> Seat {
        let fewest = self.0.iter().min_by_key(|core| core.held.load(Ordering::Relaxed));
        let core = fewest.unwrap_or(&self.0[0]);
        core.held.fetch_add(1, Ordering::Relaxed);
        Seat { runtime: core.runtime.clone(), held: Arc::clone(&core.held) }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A thread that sleeps is told of each timer that is to go off before all others, by a system call, even from itself: a
/// request that is held would cost one. With this none is ever the first.
const TICK: Duration = Duration::from_secs(1);

fn start(index: usize) -> io::Result<Core> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new().name(format!("http-{index}")).spawn(move || {
        runtime.block_on(async {
            let mut ticks = interval(TICK);
            loop {
                ticks.tick().await;
            }
        })
    })?;
    Ok(Core { runtime: handle, held: Arc::default() })
}
