//! Whose recordings nobody is shown, since their owner is kept out: what nodes and relays believe of a recording would go on for a
//! while, and a download under way to its end.

use commands::{
    Commands, channels,
    events::{self, StoredEvent},
};
use domain::{
    DomainEvent,
    accounts::{AccountEvent, AccountReinstated, AccountSuspended},
    ids::AccountId,
};
use ingest::rights::Change;

const REINSTATED: &str = "account.reinstated";
const READ_LEN: i64 = 1_000;

/// What changes with `event`, which is the `version`th of its aggregate; nothing with most.
///
/// # Errors
/// When the log does not answer.
pub async fn by(commands: &Commands, event: &DomainEvent, version: i64) -> Result<Vec<Change>, sqlx::Error> {
    let (account_id, until_s) = match event {
        DomainEvent::Account(AccountEvent::Suspended(AccountSuspended { account_id, until, .. })) => {
            let until_s = until.map(|until| u64::try_from(until.unix_timestamp()).unwrap_or_default());
            (*account_id, until_s.unwrap_or(u64::MAX))
        }
        DomainEvent::Account(AccountEvent::Reinstated(AccountReinstated { account_id, .. })) => (*account_id, 0),
        _ => return Ok(Vec::new()),
    };
    of(commands, account_id, version, until_s).await
}

/// That an account is kept out until then, in seconds since 1970, as its `version`th event says: of each of its channels.
///
/// # Errors
/// When the log does not answer.
pub async fn of(
    commands: &Commands,
    account_id: AccountId,
    version: i64,
    until_s: u64,
) -> Result<Vec<Change>, sqlx::Error> {
    let channels = channels::of_owner(commands, account_id).await?;
    Ok(channels.into_iter().map(|channel_id| Change::KeptOut { channel_id, version, until_s }).collect())
}

/// Of each account the event up to a position that last kept it out or let it in again, however long ago: a part at a time, in
/// the order of the log.
pub struct Last {
    /// Up to here all were answered; `None` when all were.
    after: Option<i64>,
    until: i64,
}

impl Last {
    /// Those up to `until`.
    pub fn until(until: i64) -> Self {
        Self { after: Some(0), until }
    }

    /// The next of them; `None` when there are no more. An event that lets somebody in and cannot be read comes with the one that it
    /// lifts, which stands: what cannot be read gives nothing.
    ///
    /// # Errors
    /// When the log does not answer.
    pub async fn next(&mut self, commands: &Commands) -> Result<Option<Vec<StoredEvent>>, sqlx::Error> {
        let Some(after) = self.after else { return Ok(None) };
        let mut found = events::last_suspensions(commands.pool(), after, self.until, READ_LEN).await?;
        self.after = found.last().filter(|_| found.len() as i64 == READ_LEN).map(|last| last.position);
        let mut lifted = Vec::new();
        for stored in found.iter().filter(|stored| stored.event_type == REINSTATED && !is_readable(stored)) {
            if let Ok(account_id) = stored.aggregate_id.parse() {
                lifted.extend(events::last_suspension_of(commands.pool(), account_id, self.until).await?);
            }
        }
        found.extend(lifted);
        Ok(Some(found))
    }
}

fn is_readable(stored: &StoredEvent) -> bool {
    let StoredEvent { aggregate_type, event_type, event_version, payload, .. } = stored;
    DomainEvent::decode(aggregate_type, event_type, event_version, payload.get()).is_ok()
}
