//! A check that finds nothing may be blind. So in the end each is given something to find.

use sqlx::PgPool;
use uuid::Uuid;

use super::Findings;
use crate::{
    ledger::{Ledger, Outcome, Wish},
    subscriber::Told,
};

/// What a finding about each piece of harm says.
const SIGNS: [&str; 6] = [
    "has in the log: []",
    "has in the log: [(",
    "the subscriber was told",
    "the stream has position",
    "rows of channels_v1 differ",
    "is event 1000",
];

/// Does harm to everything that is checked.
pub async fn harm(pool: &PgPool, nats_url: &str, ledger: &Ledger, told: &mut Vec<Told>) -> anyhow::Result<()> {
    // An acknowledgement of what is not there, and a refusal of what is.
    let wish = Wish::RotateKey { handle: "nowhere".to_owned() };
    ledger.record(wish, vec![Uuid::now_v7()], None, Outcome::Acknowledged);
    let there =
        ledger.records().into_iter().rfind(|record| record.outcome == Outcome::Acknowledged && record.key.is_some());
    if let Some(record) = there {
        ledger.record(record.wish, record.requests, None, Outcome::Refused("but it is there".to_owned()));
    }
    told.remove(told.len() / 2);
    let jetstream = async_nats::jetstream::new(async_nats::connect(nats_url).await?);
    let mut stream = jetstream.get_stream(commands::relay::STREAM).await?;
    let state = stream.info().await?.state.clone();
    stream.delete_message(u64::midpoint(state.first_sequence, state.last_sequence)).await?;
    for harm in [
        "update read.channels_v1 set title = 'nobody said so' where id = (select min(id::text)::uuid from read.channels_v1)",
        "alter table log.events disable trigger events_are_kept",
        "update log.events set sequence = 1000 where position = (select max(position) from log.events)",
    ] {
        sqlx::query(harm).execute(pool).await?;
    }
    Ok(())
}

/// What of the harm was not found.
pub fn missed(found: Findings) -> Vec<String> {
    let found = found.into_vec();
    let missed = SIGNS.into_iter().filter(|sign| !found.iter().any(|finding| finding.contains(sign)));
    missed.map(|sign| format!("the checks are blind: nothing was found like “{sign}”")).collect()
}
