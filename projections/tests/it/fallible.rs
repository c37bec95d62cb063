//! A projection that counts, in a way that tells when an event is applied twice, and that can be made to fail.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use domain::{
    DomainEvent, RecordedEvent,
    channels::ChannelEvent,
    sealed::{BoxFuture, Keyring},
};
use projections::{ApplyError, Projection};
use sqlx::{Executor, PgConnection};

use crate::stage::Stage;

/// The title of an event on which it fails.
pub(crate) const POISON: &str = "poison";

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The rows break a rule of the table.
    Refused,
    /// The code panics.
    Panic,
    /// The code panics where nobody catches it.
    Bug,
}

#[derive(Debug)]
pub(crate) struct Counting {
    fault: Fault,
    is_skippable: bool,
    is_cured: AtomicBool,
    pub(crate) failures: AtomicU32,
}

impl Counting {
    /// One for this test, with its table.
    pub(crate) async fn new(stage: &Stage, fault: Fault, is_skippable: bool) -> (&'static Self, Projections) {
        let create = "create table read.counting_v1 (title text not null check (title <> 'poison'))";
        stage.pool.execute(create).await.unwrap();
        let counting = Box::leak(Box::new(Self {
            fault,
            is_skippable,
            is_cured: AtomicBool::new(false),
            failures: AtomicU32::new(0),
        }));
        (counting, Box::leak(Box::new([counting as &dyn Projection])))
    }

    /// From now on nothing fails.
    pub(crate) async fn cure(&self, stage: &Stage) {
        self.is_cured.store(true, Ordering::SeqCst);
        stage.pool.execute("alter table read.counting_v1 drop constraint counting_v1_title_check").await.unwrap();
    }
}

pub(crate) type Projections = &'static [&'static dyn Projection];

impl Projection for Counting {
    fn name(&self) -> &'static str {
        "counting_v1"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["counting_v1"]
    }

    fn events(&self) -> &'static [&'static [&'static str]] {
        &[&["channel.details_changed", "channel.imagined"]]
    }

    fn is_skippable(&self, _: &str) -> bool {
        assert!(self.fault != Fault::Bug, "nobody catches this");
        self.is_skippable
    }

    fn apply<'a>(
        &'a self,
        batch: &'a [&'a RecordedEvent],
        connection: &'a mut PgConnection,
        _: &'a dyn Keyring,
    ) -> BoxFuture<'a, Result<(), ApplyError>> {
        Box::pin(async move {
            let titles: Vec<&str> = batch
                .iter()
                .map(|recorded| match &recorded.event {
                    DomainEvent::Channel(ChannelEvent::DetailsChanged { title, .. }) => title.as_str(),
                    other => panic!("{other:?} was not asked for"),
                })
                .collect();
            let is_poisoned = titles.contains(&POISON) && !self.is_cured.load(Ordering::SeqCst);
            if is_poisoned {
                self.failures.fetch_add(1, Ordering::SeqCst);
                assert!(self.fault != Fault::Panic, "this event is too much");
            }
            sqlx::query("insert into counting_v1 (title) select * from unnest($1::text[])")
                .bind(titles)
                .execute(connection)
                .await?;
            Ok(())
        })
    }
}
