use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::Stream;
use sqlx::PgPool;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{Batch, Filter, ReadError, reader::Reader};

/// All that `filter` wants, batch by batch, up to the end of the log as it is at the first. While one batch is worked on
/// the next is read, and no further: two are in memory at most. A batch may be empty where much is looked through and
/// little found; [`Batch::reached`] tells how far that is, and is the end itself in the last one.
///
/// Nothing is held between batches, neither a transaction nor a connection, so it may be read slowly. Dropping it ends
/// it. After an error it is over; go on by another after the last position reached.
pub fn batches(pool: PgPool, filter: Filter) -> impl Stream<Item = Result<Batch, ReadError>> + Send + 'static {
    let (sender, batches) = mpsc::channel(1);
    let task = tokio::spawn(async move {
        if let Err(error) = read(pool, &filter, &sender).await {
            let _ = sender.send(Err(error)).await;
        }
    });
    Batches { batches, task: Some(task) }
}

async fn read(pool: PgPool, filter: &Filter, sender: &mpsc::Sender<Result<Batch, ReadError>>) -> Result<(), ReadError> {
    filter.check()?;
    let mut reader = Reader::open(pool, filter).await?;
    // Room first, so that no third batch waits for it.
    while let Ok(room) = sender.reserve().await {
        match reader.next(usize::MAX).await? {
            Some(batch) => room.send(Ok(batch)),
            None => break,
        }
    }
    Ok(())
}

struct Batches {
    batches: mpsc::Receiver<Result<Batch, ReadError>>,
    task: Option<JoinHandle<()>>,
}

impl Stream for Batches {
    type Item = Result<Batch, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(batch) = ready!(self.batches.poll_recv(context)) {
            return Poll::Ready(Some(batch));
        }
        // The end, unless it only looks like it because the task has panicked.
        if let Some(task) = &mut self.task {
            let ended = ready!(Pin::new(task).poll(context));
            self.task = None;
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
        Poll::Ready(None)
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
