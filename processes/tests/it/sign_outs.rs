//! Sessions and personal tokens go with a reset and a request for erasure, also when the request that stored it was cut off.

use std::time::Duration;

use commands::{
    Actor, Commands, Metadata,
    accounts::{
        personal_tokens::{self, CreatePersonalToken},
        sessions,
    },
};
use domain::{
    accounts::{
        Account, AccountCommand, AdministratorCommand, PasswordChangedReason, PersonalTokenName, PersonalTokenScope,
    },
    ids::{AccountId, SecretId, SessionId},
};
use processes::{Following, sign_outs};
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    people::register,
    stage::{Stage, until},
};

fn follow(commands: &Commands) -> JoinHandle<()> {
    let commands = commands.clone();
    tokio::spawn(async move {
        let following = Following::new(&commands);
        tokio::join!(following.listen(), sign_outs::run(&commands, &following));
    })
}

async fn open(commands: &Commands, account_id: AccountId) -> SessionId {
    sessions::open(commands, account_id, "Firefox", "::1").await.unwrap().session_id
}

async fn token(commands: &Commands, account_id: AccountId) -> Zeroizing<String> {
    let create = CreatePersonalToken {
        account_id,
        session_id: None,
        name: PersonalTokenName::parse("A program").unwrap(),
        scopes: vec![PersonalTokenScope::Read],
        expires_at: OffsetDateTime::now_utc() + Duration::from_secs(86_400),
        metadata: Metadata::new(Actor::Account(account_id)),
    };
    personal_tokens::create(commands, create).await.unwrap().token
}

/// The event alone, as when its request was cut off after it.
async fn happened(commands: &Commands, account_id: AccountId, command: AccountCommand) -> i64 {
    let metadata = Metadata::new(Actor::Account(account_id));
    commands.execute::<Account>(&account_id.to_string(), command, metadata).await.unwrap().position
}

fn change(reason: PasswordChangedReason) -> AccountCommand {
    AccountCommand::ChangePassword { password: SecretId::from(Uuid::now_v7()), reason, ends_all_but: None }
}

#[tokio::test]
async fn a_reset_that_was_cut_off_after_its_event_is_finished() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let (mira, noor) = (register(commands, "mira").await, register(commands, "noor").await);
    let (thief, others) = (open(commands, mira).await, open(commands, noor).await);
    let (stolen, kept) = (token(commands, mira).await, token(commands, noor).await);
    happened(commands, mira, change(PasswordChangedReason::Reset)).await;
    // Not everybody who changes a password wants the other devices signed out.
    let last = happened(commands, noor, change(PasswordChangedReason::Changed)).await;
    let (after, made_after) = (open(commands, mira).await, token(commands, mira).await);
    let following = follow(commands);
    stage.until_checkpoint("sign_outs", last).await;
    assert!(!sessions::is_open(commands, thief).await.unwrap());
    assert!(personal_tokens::find(commands, &stolen).await.unwrap().is_none());
    assert!(sessions::is_open(commands, others).await.unwrap() && sessions::is_open(commands, after).await.unwrap());
    for token in [&kept, &made_after] {
        assert!(personal_tokens::find(commands, token).await.unwrap().is_some());
    }
    let reasons: Vec<String> = sqlx::query_scalar(
        "select coalesce(payload->'Ended'->>'reason', payload->'Revoked'->>'reason') from log.events
         where event_type in ('session.ended', 'personal_token.revoked')",
    )
    .fetch_all(&stage.pool)
    .await
    .unwrap();
    assert_eq!(reasons, ["password_changed", "password_changed"]);
    following.abort();
}

#[tokio::test]
async fn a_change_that_was_to_sign_out_the_others_and_was_cut_off_does() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let mira = register(commands, "mira").await;
    let (kept, phone, program) = (open(commands, mira).await, open(commands, mira).await, token(commands, mira).await);
    let (password, reason) = (SecretId::from(Uuid::now_v7()), PasswordChangedReason::Changed);
    let change = AccountCommand::ChangePassword { password, reason, ends_all_but: Some(kept) };
    let last = happened(commands, mira, change).await;
    let (after, made_after) = (open(commands, mira).await, token(commands, mira).await);
    let following = follow(commands);
    stage.until_checkpoint("sign_outs", last).await;
    assert!(!sessions::is_open(commands, phone).await.unwrap());
    assert!(personal_tokens::find(commands, &program).await.unwrap().is_none());
    assert!(sessions::is_open(commands, kept).await.unwrap(), "the one that asked for it");
    assert!(sessions::is_open(commands, after).await.unwrap(), "whoever knows the new one");
    assert!(personal_tokens::find(commands, &made_after).await.unwrap().is_some());
    following.abort();
}

#[tokio::test]
async fn a_request_for_erasure_that_was_cut_off_signs_out_while_it_stands() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let (mira, noor) = (register(commands, "mira").await, register(commands, "noor").await);
    let (forgotten, kept) = (open(commands, mira).await, open(commands, noor).await);
    let due_at = OffsetDateTime::now_utc() + Duration::from_secs(86_400);
    happened(commands, mira, AccountCommand::RequestErasure { due_at }).await;
    let last = happened(commands, noor, AccountCommand::RequestErasure { due_at }).await;
    let reason = domain::accounts::ErasureCancelledReason::SignedIn;
    happened(commands, noor, AccountCommand::CancelErasure { reason }).await;
    let following = follow(commands);
    until("the end of the session", async || !sessions::is_open(commands, forgotten).await.unwrap()).await;
    stage.until_checkpoint("sign_outs", last).await;
    assert!(sessions::is_open(commands, kept).await.unwrap(), "it was called off");
    following.abort();
}

#[tokio::test]
async fn who_ceased_to_be_an_administrator_is_signed_out_also_when_that_was_cut_off() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let (mira, noor) = (register(commands, "mira").await, register(commands, "noor").await);
    let (as_one, program) = (open(commands, mira).await, token(commands, mira).await);
    let kept = open(commands, noor).await;
    let by = None;
    for who in [mira, noor] {
        happened(commands, who, AccountCommand::Administrator(AdministratorCommand::Grant { by })).await;
        happened(commands, who, AccountCommand::Administrator(AdministratorCommand::Revoke { by })).await;
    }
    let last = happened(commands, noor, AccountCommand::Administrator(AdministratorCommand::Grant { by })).await;
    let after = open(commands, mira).await;
    let following = follow(commands);
    until("the end of the session", async || !sessions::is_open(commands, as_one).await.unwrap()).await;
    stage.until_checkpoint("sign_outs", last - 1).await;
    assert!(personal_tokens::find(commands, &program).await.unwrap().is_none());
    assert!(sessions::is_open(commands, after).await.unwrap(), "they signed in since");
    assert!(sessions::is_open(commands, kept).await.unwrap(), "they are one again");
    following.abort();
}
