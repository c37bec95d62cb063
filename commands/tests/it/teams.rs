//! Roles in a channel, on the write side.

use commands::{
    CommandError, accounts,
    channels::{self, team},
    invites,
};
use domain::{
    Principal,
    channels::{Channel, ChannelAct, ChannelRefusal, ChannelRole},
    invites::InviteRefusal,
};

use crate::stage::{Stage, account_id, create, metadata, register};

#[tokio::test]
async fn a_role_counts_in_every_process_as_soon_as_it_is_given_and_taken() {
    let stage = Stage::new().await;
    let (commands, other) = (stage.commands().await, stage.commands().await);
    let owner = accounts::register(&commands, register("owner")).await.unwrap().account_id;
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    let id = channels::create(&commands, create(owner, "river")).await.unwrap().channel_id;
    let may = async |act| {
        let (channel, _) = other.load::<Channel>(&id.to_string()).await.unwrap().unwrap();
        channel.authorise(mira, act)
    };
    assert_eq!(may(ChannelAct::EditDetails).await, Err(ChannelRefusal::NotAllowed));
    team::give_role(&commands, id, owner.into(), mira, ChannelRole::Editor, metadata()).await.unwrap();
    assert_eq!(may(ChannelAct::EditDetails).await, Ok(()));
    let refused = team::give_role(&other, id, mira.into(), mira, ChannelRole::Editor, metadata()).await;
    assert!(matches!(refused, Err(CommandError::Refused(ChannelRefusal::NotAllowed))));
    let refused = invites::create(&other, id, mira, None, metadata()).await;
    assert!(matches!(refused, Err(CommandError::Refused(InviteRefusal::NotOwner))));
    let refused = channels::stream_key(&other, mira, id).await.err().unwrap();
    assert!(matches!(refused, CommandError::Refused(ChannelRefusal::NotAllowed)));
    assert_eq!(team::of_member(&commands, mira).await.unwrap(), [id]);
    team::take_role(&other, id, Some(mira.into()), mira, metadata()).await.unwrap();
    assert_eq!(may(ChannelAct::EditDetails).await, Err(ChannelRefusal::NotAllowed));
    assert_eq!(team::of_member(&commands, owner).await.unwrap(), []);
}

#[tokio::test]
async fn nobody_gets_a_role_who_is_not_there() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let owner = accounts::register(&commands, register("owner")).await.unwrap().account_id;
    let id = channels::create(&commands, create(owner, "river")).await.unwrap().channel_id;
    let by = Principal { account_id: account_id(), is_administrator: true };
    let refused = team::give_role(&commands, id, by, account_id(), ChannelRole::Editor, metadata()).await;
    assert!(matches!(refused, Err(CommandError::Refused(ChannelRefusal::NoAccount))));
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    let erase = accounts::Erase { account_id: mira, by: None, even_administrator: false, metadata: metadata() };
    accounts::erase(&commands, erase).await.unwrap();
    let refused = team::give_role(&commands, id, by, mira, ChannelRole::Editor, metadata()).await;
    assert!(matches!(refused, Err(CommandError::Refused(ChannelRefusal::NoAccount))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_give_a_role_at_once_leave_one() {
    let stage = Stage::new().await;
    let (first, second) = (stage.commands().await, stage.commands().await);
    let owner = accounts::register(&first, register("owner")).await.unwrap().account_id;
    let mira = accounts::register(&first, register("mira")).await.unwrap().account_id;
    let id = channels::create(&first, create(owner, "river")).await.unwrap().channel_id;
    let (left, right) = tokio::join!(
        team::give_role(&first, id, owner.into(), mira, ChannelRole::Editor, metadata()),
        team::give_role(&second, id, owner.into(), mira, ChannelRole::Editor, metadata()),
    );
    left.unwrap();
    right.unwrap();
    let types = stage.event_types().await;
    assert_eq!(types.iter().filter(|name| *name == "channel.role_given").count(), 1);
    stage.assert_contiguous().await;
}
