use domain::{
    DomainEvent, RecordedEvent,
    reports::ReportEvent,
    sealed::{BoxFuture, Keyring},
};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use crate::{ApplyError, Projection};

/// Keeps `reports_v1`.
#[derive(Debug, Clone, Copy)]
pub struct ReportsV1;

impl Projection for ReportsV1 {
    fn name(&self) -> &'static str {
        "reports_v1"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["reports_v1"]
    }

    fn events(&self) -> &'static [&'static [&'static str]] {
        &[ReportEvent::TYPES]
    }

    fn apply<'a>(
        &'a self,
        batch: &'a [&'a RecordedEvent],
        connection: &'a mut PgConnection,
        _: &'a dyn Keyring,
    ) -> BoxFuture<'a, Result<(), ApplyError>> {
        Box::pin(async move {
            insert(batch, connection).await?;
            decide(batch, connection).await
        })
    }
}

async fn insert(batch: &[&RecordedEvent], connection: &mut PgConnection) -> Result<(), ApplyError> {
    let (mut ids, mut accounts, mut target_kinds, mut targets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut owners, mut kinds, mut texts, mut places) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut filed, mut positions) = (Vec::new(), Vec::new());
    for recorded in batch {
        let DomainEvent::Report(event) = &recorded.event else { continue };
        let ReportEvent::Filed { report_id, account_id, target, owner_id, kind, text, at_ms, filed_at } = event else {
            continue;
        };
        ids.push(report_id.uuid());
        accounts.push(account_id.uuid());
        target_kinds.push(target.kind());
        targets.push(target.id());
        owners.push(owner_id.uuid());
        kinds.push(kind.as_str());
        texts.push(Json(text));
        places.push(*at_ms);
        filed.push(*filed_at);
        positions.push(recorded.position);
    }
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into reports_v1
             (id, account_id, target_kind, target_id, owner_id, kind, text, at_ms, state, filed_at, position)
         select id, account_id, target_kind, target_id, owner_id, kind, text, at_ms, 'open', filed_at, position
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::jsonb[], $8::bigint[],
             $9::timestamptz[], $10::bigint[])
             as new (id, account_id, target_kind, target_id, owner_id, kind, text, at_ms, filed_at, position)
         on conflict (id) do nothing",
    )
    .bind(ids)
    .bind(accounts)
    .bind(target_kinds)
    .bind(targets)
    .bind(owners)
    .bind(kinds)
    .bind(texts)
    .bind(places)
    .bind(filed)
    .bind(positions)
    .execute(connection)
    .await?;
    Ok(())
}

async fn decide(batch: &[&RecordedEvent], connection: &mut PgConnection) -> Result<(), ApplyError> {
    let (mut ids, mut states, mut actions, mut answers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut deciders, mut decided, mut positions) = (Vec::new(), Vec::new(), Vec::new());
    for recorded in batch {
        let DomainEvent::Report(event) = &recorded.event else { continue };
        let ReportEvent::Decided { report_id, by, verdict, action, answer, decided_at, .. } = event else { continue };
        ids.push(report_id.uuid());
        states.push(verdict.as_str());
        actions.push(action.as_str());
        answers.push(answer.as_ref().map(Json));
        deciders.push(by.uuid());
        decided.push(*decided_at);
        positions.push(recorded.position);
    }
    if ids.is_empty() {
        return Ok(());
    }
    let known: Vec<Uuid> = sqlx::query_scalar("select id from reports_v1 where id = any($1)")
        .bind(&ids)
        .fetch_all(&mut *connection)
        .await?;
    if let Some(id) = ids.iter().find(|id| !known.contains(id)) {
        return Err(ApplyError::Unknown { event_type: "report.decided", id: format!("report {id}") });
    }
    sqlx::query(
        "update reports_v1 report
         set state = new.state, action = new.action, answer = new.answer, decided_by = new.decided_by,
             decided_at = new.decided_at, position = new.position
         from unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::uuid[], $6::timestamptz[], $7::bigint[])
             as new (id, state, action, answer, decided_by, decided_at, position)
         where report.id = new.id and report.position < new.position",
    )
    .bind(ids)
    .bind(states)
    .bind(actions)
    .bind(answers)
    .bind(deciders)
    .bind(decided)
    .bind(positions)
    .execute(connection)
    .await?;
    Ok(())
}
