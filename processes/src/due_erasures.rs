//! Erasures that were asked for, carried out when their time has come.
//!
//! When each is due is noted from the log, so that a restart forgets none. The clock is that of the database, and the account
//! itself decides once more: whoever signed in in the last moment stays.

use std::{error::Error, time::Duration};

use commands::{Commands, accounts::due_erasures};
use domain::{DomainEvent, accounts::AccountEvent};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::following::{Begin, BoxError, Followed, Following, Handler, Process};

const PROCESS: Process = Process {
    name: "due_erasures",
    types: &["account.erasure_requested", "account.erasure_cancelled", "account.erased"],
    begin: Begin::Start,
};
/// How often the clock is looked at when nothing wakes it: another node may note what is due.
const LOOKED_EVERY: Duration = Duration::from_secs(30);
/// How long it rests after a failure, and until a clock that is behind has come on.
const RETRY: Duration = Duration::from_secs(1);

/// Notes what is due and carries it out, for ever. Several nodes may. Cancel safe: what was under way is done again.
pub async fn run(commands: &Commands, following: &Following) {
    let woken = Notify::new();
    let list = List { commands, woken: &woken };
    tokio::join!(following.follow(PROCESS, &list), carry_out(commands, &woken));
}

struct List<'a> {
    commands: &'a Commands,
    woken: &'a Notify,
}

impl Handler for List<'_> {
    async fn handle(&self, followed: &Followed) -> Result<(), BoxError> {
        let pool = self.commands.pool();
        match &followed.event {
            DomainEvent::Account(AccountEvent::ErasureRequested { account_id, due_at, .. }) => {
                due_erasures::note(pool, *account_id, *due_at).await?;
                self.woken.notify_one();
            }
            DomainEvent::Account(
                AccountEvent::ErasureCancelled { account_id, .. } | AccountEvent::Erased { account_id, .. },
            ) => due_erasures::forget(pool, *account_id).await?,
            _ => {}
        }
        Ok(())
    }
}

async fn carry_out(commands: &Commands, woken: &Notify) {
    loop {
        match look(commands).await {
            Ok(wait) => _ = timeout(wait, woken.notified()).await,
            Err(error) => {
                tracing::warn!(
                    error = &*error as &(dyn Error + 'static),
                    "erasures that are due cannot be carried out"
                );
                sleep(RETRY).await;
            }
        }
    }
}

/// Carries out what is due; how long to wait for the next.
async fn look(commands: &Commands) -> Result<Duration, BoxError> {
    let erased = due_erasures::carry_out(commands).await?;
    if erased > 0 {
        tracing::info!(erased, "accounts whose time to think better of it was over were erased");
    }
    let next = due_erasures::next_in(commands.pool()).await?;
    Ok(next.map_or(LOOKED_EVERY, |next| next.clamp(RETRY, LOOKED_EVERY)))
}
