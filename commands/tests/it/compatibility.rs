//! The log can be read with postgres-es, and its aggregates are what cqrs-es makes of them.

use cqrs_es::{
    Aggregate as _, AggregateContext, DomainEvent, EventStore,
    event_sink::EventSink,
    persist::{PersistedEventRepository, PersistedEventStore},
};
use domain::{
    Aggregate, Event,
    channels::{Channel, ChannelCommand, ChannelEvent, ChannelRefusal},
};
use postgres_es::PostgresEventRepository;
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::stage::{Stage, account_id, bare_channel, metadata, retitle};

/// What anybody who knows `domain` alone would write.
#[derive(Default, Serialize, Deserialize)]
struct ReadChannel(Channel);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct ReadEvent(ChannelEvent);

impl DomainEvent for ReadEvent {
    fn event_type(&self) -> String {
        self.0.event_type().to_owned()
    }

    fn event_version(&self) -> String {
        self.0.event_version().to_owned()
    }
}

impl cqrs_es::Aggregate for ReadChannel {
    const TYPE: &'static str = Channel::TYPE;
    type Command = ChannelCommand;
    type Event = ReadEvent;
    type Error = ChannelRefusal;
    type Services = ();

    async fn handle(&mut self, _: ChannelCommand, (): &(), _: &EventSink<Self>) -> Result<(), ChannelRefusal> {
        Err(ChannelRefusal::Unknown)
    }

    fn apply(&mut self, event: ReadEvent) {
        self.0.apply(&event.0);
    }
}

#[tokio::test]
async fn postgres_es_reads_the_log() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let owner = account_id();
    let id = bare_channel(&commands, owner, "my_channel").await.to_string();
    bare_channel(&commands, owner, "another").await;
    commands.execute::<Channel>(&id, retitle(owner, "New"), metadata()).await.unwrap();

    let options: PgConnectOptions = stage.url.parse().unwrap();
    let pool = PgPoolOptions::new().connect_with(options.options([("search_path", "log")])).await.unwrap();
    let repository = PostgresEventRepository::new(pool.clone());
    let events = repository.get_events::<ReadChannel>(&id).await.unwrap();
    assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(events[1].event_type, "channel.details_changed");

    let store = PersistedEventStore::<_, ReadChannel>::new_event_store(PostgresEventRepository::new(pool));
    let envelopes = store.load_events(&id).await.unwrap();
    assert_eq!(envelopes[0].metadata["actor"], "system");
    let mut context = store.load_aggregate(&id).await.unwrap();
    let ours = commands.load::<Channel>(&id).await.unwrap().unwrap().0;
    assert_eq!(context.aggregate().0, ours);
    assert_eq!(ReadChannel::TYPE, "channel");
}
