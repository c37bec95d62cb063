//! What waits on this node's disk, or was moved from there, of recordings that were deleted.
//!
//! Whoever leads deletes in the bucket and in its own folder. What waits in the folder of another node would be moved to the
//! bucket afterwards. So each node with a folder follows the log for the recordings that it has made, and deletes once more; what
//! it finds in its folder at the start it looks up, since it may have been away when they were deleted.

use std::{collections::BTreeSet, error::Error, time::Duration};

use commands::{
    Commands,
    events::{self, Filter},
    recordings,
};
use domain::{
    DomainEvent,
    ids::{NodeId, RecordingId},
    recordings::{RecordingEvent, RecordingState},
};
use storage::{Key, Storage};
use tracing::{debug, info};

const READ_LEN: i64 = 1_000;
const AGAIN: Duration = Duration::from_secs(5);

type BoxError = Box<dyn Error + Send + Sync>;

/// Deletes for ever. `found` is what was in the folder before anything was moved from there.
pub async fn drop_deleted(commands: Commands, storage: Storage, node_id: NodeId, found: Vec<Key>) {
    let mut growth = commands.growth();
    let mut leftovers = Leftovers {
        doubtful: found.iter().filter_map(recording_of).collect(),
        commands,
        storage,
        node_id,
        position: None,
    };
    loop {
        match leftovers.advance().await {
            Ok(()) => growth.wait().await,
            Err(error) => {
                debug!(error = &*error as &(dyn Error + 'static), "what is left of deleted recordings stays for now");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

struct Leftovers {
    commands: Commands,
    storage: Storage,
    node_id: NodeId,
    position: Option<i64>,
    /// Perhaps deleted, and not looked at yet.
    doubtful: BTreeSet<RecordingId>,
}

impl Leftovers {
    async fn advance(&mut self) -> Result<(), BoxError> {
        let head = events::head(self.commands.pool()).await?;
        // What was deleted before is among what was found.
        let mut after = *self.position.get_or_insert(head);
        while after < head {
            let types = vec!["recording.deleted".to_owned()];
            let filter = Filter { after, until: Some(head), types, ..Filter::default() };
            let page = events::page(self.commands.pool(), &filter, READ_LEN).await?;
            for stored in &page {
                let event = DomainEvent::decode(
                    &stored.aggregate_type,
                    &stored.event_type,
                    &stored.event_version,
                    stored.payload.get(),
                )?;
                if let DomainEvent::Recording(RecordingEvent::Deleted { recording_id, .. }) = event {
                    self.doubtful.insert(recording_id);
                }
            }
            let is_whole = (page.len() as i64) < READ_LEN;
            after = if is_whole { head } else { page.last().map_or(head, |last| last.position) };
            self.position = Some(after);
        }
        while let Some(recording_id) = self.doubtful.first().copied() {
            self.look(recording_id).await?;
            self.doubtful.remove(&recording_id);
        }
        Ok(())
    }

    async fn look(&self, recording_id: RecordingId) -> Result<(), BoxError> {
        let Some((node_id, state)) = recordings::kept_by(&self.commands, recording_id).await? else { return Ok(()) };
        let folder = ingest::recorder::folder(recording_id)?;
        let is_ours = node_id == self.node_id || !self.storage.waiting(&folder).is_empty();
        if state == RecordingState::Deleted && is_ours {
            let objects = self.storage.delete_prefix(&folder).await?;
            if objects > 0 {
                info!(recording.id = %recording_id, objects, "what was left of a deleted recording is gone");
            }
        }
        Ok(())
    }
}

fn recording_of(key: &Key) -> Option<RecordingId> {
    key.as_str().strip_prefix("recordings/")?.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests;
