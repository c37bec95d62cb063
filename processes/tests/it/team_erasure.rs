//! Who is erased has no role in anybody's channel any more, whichever came first.

use std::sync::Arc;

use commands::{Actor, Metadata, accounts, channels::team};
use domain::{
    accounts::{Account, AccountCommand},
    channels::{Channel, ChannelCommand, ChannelRole},
    ids::{AccountId, ChannelId},
};

use crate::{
    erasure::{erase, follow},
    people::{channel, register},
    stage::{Stage, until},
};

async fn has_role(commands: &commands::Commands, channel_id: ChannelId, account_id: AccountId) -> bool {
    let (channel, _) = commands.load::<Channel>(&channel_id.to_string()).await.unwrap().unwrap();
    channel.team().any(|(member, _)| member == account_id)
}

#[tokio::test]
async fn an_erased_person_loses_their_roles() {
    let stage = Stage::new().await;
    let commands = stage.commands.clone();
    let (owner, mira) = (register(&commands, "owner").await, register(&commands, "mira").await);
    let (river, sea) = (channel(&commands, owner, "river").await, channel(&commands, owner, "sea").await);
    for id in [river, sea] {
        let metadata = Metadata::new(Actor::Account(owner));
        team::give_role(&commands, id, owner.into(), mira, ChannelRole::Editor, metadata).await.unwrap();
    }
    let following = follow(&commands, &Arc::default());
    erase(&commands, mira).await;
    until("the loss of both roles", async || {
        !has_role(&commands, river, mira).await && !has_role(&commands, sea, mira).await
    })
    .await;
    following.abort();
}

#[tokio::test]
async fn a_role_that_comes_after_the_erasure_is_taken() {
    let stage = Stage::new().await;
    let commands = stage.commands.clone();
    let (owner, mira) = (register(&commands, "owner").await, register(&commands, "mira").await);
    let river = channel(&commands, owner, "river").await;
    let following = follow(&commands, &Arc::default());
    erase(&commands, mira).await;
    assert!(accounts::is_erased(&commands, mira).await.unwrap());
    // As if it had been looked at before.
    let give = ChannelCommand::GiveRole { by: owner.into(), account_id: mira, role: ChannelRole::Editor };
    let metadata = Metadata::new(Actor::Account(owner));
    commands.execute::<Channel>(&river.to_string(), give, metadata).await.unwrap();
    until("the loss of the role", async || !has_role(&commands, river, mira).await).await;
    // Nothing but the role is gone.
    let again = AccountCommand::Erase { by: None, even_administrator: false };
    commands.execute::<Account>(&mira.to_string(), again, Metadata::new(Actor::System)).await.unwrap();
    let (channel, _) = commands.load::<Channel>(&river.to_string()).await.unwrap().unwrap();
    assert!(!channel.is_closed());
    following.abort();
}
