//! Events that this Weir cannot read, in the path of processes: nothing is passed over, and everybody is told.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use commands::{
    Actor, Metadata,
    accounts::{self, Erase},
    events,
};
use domain::channels::Channel;
use processes::{Begin, Followed, Following, Handler, Process, Troubles, erasure, following::BoxError};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::{
    people::{channel, register},
    stage::{Stage, until},
};

/// Somebody else's process, which wants other events.
const OTHER: Process = Process { name: "other", types: &["channel.created"], begin: Begin::Start };

#[derive(Clone, Default)]
struct Seen(Arc<AtomicUsize>);

impl Handler for Seen {
    async fn handle(&self, _followed: &Followed) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// A node with the process of erasures and another one.
fn node(stage: &Stage, troubles: &Troubles, seen: &Seen) -> JoinHandle<()> {
    let (commands, troubles, seen) = (stage.commands.clone(), troubles.clone(), seen.clone());
    tokio::spawn(async move {
        let following = Following::new(&commands).telling(troubles);
        tokio::join!(following.listen(), erasure::run(&commands, &following), following.follow(OTHER, &seen),);
    })
}

#[tokio::test]
async fn an_erasure_that_cannot_be_read_is_kept_and_told_and_holds_up_nobody_else() {
    for (version, payload) in [("9", json!({ "Erased": { "by": "whom" } })), ("1", json!({ "Erased": 7 }))] {
        let stage = Stage::new().await;
        let mira = register(&stage.commands, "mira").await;
        let river = channel(&stage.commands, mira, "river").await;
        let (troubles, seen) = (Troubles::default(), Seen::default());
        let first = node(&stage, &troubles, &seen);
        until("what was there", async || seen.0.load(Ordering::SeqCst) == 1).await;
        // Whoever looks at the channel after the account cannot be read any more stops there already.
        let before = events::head(&stage.pool).await.unwrap();
        stage.until_checkpoint("erasure", before).await;
        let position = stage.append_raw((mira.to_string(), 2), "account.erased", version, &payload, "system").await;
        until("the trouble is told", async || troubles.told() == [("erasure", position)]).await;

        // What comes after it waits for it, and in this process alone.
        let noor = register(&stage.commands, "noor").await;
        let brook = channel(&stage.commands, noor, "brook").await;
        let metadata = Metadata::new(Actor::Account(noor));
        let erase = Erase { account_id: noor, by: Some(noor), even_administrator: false, metadata };
        accounts::erase(&stage.commands, erase).await.unwrap();
        until("the other process", async || seen.0.load(Ordering::SeqCst) == 2).await;
        first.abort();
        let _ = first.await;

        // Whoever goes on stops there again.
        let troubles = Troubles::default();
        let second = node(&stage, &troubles, &seen);
        until("it is told again", async || troubles.told() == [("erasure", position)]).await;
        let checkpoint: i64 = sqlx::query_scalar("select position from log.processes where name = 'erasure'")
            .fetch_one(&stage.pool)
            .await
            .unwrap();
        assert!(checkpoint < position, "{checkpoint} is not before {position}");
        for id in [river, brook] {
            let (channel, _) = stage.commands.load::<Channel>(&id.to_string()).await.unwrap().unwrap();
            assert!(!channel.is_closed(), "nothing is done out of its order");
        }
        second.abort();
    }
}
