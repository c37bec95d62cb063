//! What clients were told is what is in the log.

use std::collections::{HashMap, HashSet};

use sqlx::PgPool;
use uuid::Uuid;

use super::{Findings, Stored};
use crate::ledger::{Ledger, Outcome, Record, Wish};

pub fn check(log: &[Stored], ledger: &Ledger, findings: &mut Findings) {
    let mut by_request = HashMap::<Uuid, Vec<&Stored>>::new();
    for event in log {
        if let Some(id) = event.correlation_id {
            by_request.entry(id).or_default().push(event);
        }
    }
    let mut explained = 0;
    for record in ledger.records() {
        let events: Vec<&Stored> =
            record.requests.iter().filter_map(|id| by_request.get(id)).flatten().copied().collect();
        let wished: Vec<&Stored> =
            events.iter().copied().filter(|event| event.event_type == record.wish.event_type()).collect();
        explained += wished.len();
        let is_right = match record.outcome {
            Outcome::Acknowledged => wished.len() == 1,
            Outcome::Refused(_) => events.is_empty(),
            Outcome::Unknown(_) => wished.len() <= 1,
        };
        findings.expect(is_right, || {
            let found: Vec<_> = events.iter().map(|event| (event.position, &event.event_type)).collect();
            format!("{record:?} has in the log: {found:?}")
        });
        if let [event] = *wished {
            fits(&record, event, findings);
        }
    }
    // Nobody else gives such commands.
    let wished = log.iter().filter(|event| Wish::EVENT_TYPES.contains(&event.event_type.as_str())).count();
    findings.expect(explained == wished, || {
        format!("the log has {wished} events of the kinds that were asked for, but only {explained} were")
    });
}

/// The log knows each key by which something was done, and where: for a repeat that may still come.
pub async fn keys(pool: &PgPool, log: &[Stored], ledger: &Ledger, findings: &mut Findings) -> sqlx::Result<()> {
    let rows: Vec<(String, i64)> = sqlx::query_as("select key, position from log.commands").fetch_all(pool).await?;
    let known: HashMap<String, i64> = rows.into_iter().collect();
    // With a person its keys are forgotten, too.
    let erased = log.iter().filter(|event| event.event_type == "account.erased");
    let erased: HashSet<String> = erased.map(|event| format!("account:{}", event.aggregate_id)).collect();
    let by_request: HashMap<(Uuid, &str), &Stored> =
        log.iter().filter_map(|event| Some(((event.correlation_id?, event.event_type.as_str()), event))).collect();
    for record in ledger.records() {
        let Some(key) = record.key else { continue };
        let event = record.requests.iter().find_map(|id| by_request.get(&(*id, record.wish.event_type())));
        let known = known.get(&key.to_string());
        let is_right = match event {
            Some(event) if erased.contains(&event.actor) => known.is_none(),
            Some(event) => known == Some(&event.position),
            None => known.is_none(),
        };
        let at = event.map(|event| event.position);
        findings.expect(is_right, || format!("{record:?} is at {at:?}, and its key is known at {known:?}"));
    }
    Ok(())
}

/// The event says what the command asked for.
fn fits(record: &Record, event: &Stored, findings: &mut Findings) {
    let wanted = match &record.wish {
        Wish::CreateChannel { handle } => handle,
        Wish::EditChannel { title, expected_version, .. } => {
            // Who edits version 3 makes version 4 or nothing.
            let is_next = expected_version.is_none_or(|version| event.sequence == version + 1);
            findings.expect(is_next, || format!("{record:?} became event {} of its channel", event.sequence));
            title
        }
        Wish::Register { .. }
        | Wish::Erase { .. }
        | Wish::RotateKey { .. }
        | Wish::EditProfile
        | Wish::MakeToken { .. }
        | Wish::GiveRole { .. }
        | Wish::Report { .. } => return,
    };
    let is_in_it = event.payload.contains(&format!("\"{wanted}\""));
    findings.expect(is_in_it, || format!("{record:?} became {}", event.payload));
}
