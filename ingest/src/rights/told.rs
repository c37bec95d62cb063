//! What a node tells relays of rights, and what a relay takes in of it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Change, Rights, RoleTaken, now_s};

/// What a relay is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// In which memory `next` counts.
    pub epoch: Uuid,
    /// What to ask for next.
    pub next: u64,
    /// Whether `changes` are all that there is to know, not what was new.
    pub is_whole: bool,
    /// In the order in which they happened.
    pub changes: Vec<Change>,
}

impl Rights {
    /// What has happened since `after` of `epoch`; waits for the next change when nothing has. Cancel safe.
    pub async fn told(&self, epoch: Option<Uuid>, after: u64) -> Told {
        let mut last = self.0.last_change.subscribe();
        loop {
            if let Some(told) = self.new_since(epoch, after) {
                return told;
            }
            let _ = last.wait_for(|last| *last > after).await;
        }
    }

    /// `None` when nothing is new.
    fn new_since(&self, epoch: Option<Uuid>, after: u64) -> Option<Told> {
        let table = self.read();
        let next = table.first + table.changes.len() as u64;
        let told = |is_whole, changes| Told { epoch: self.0.epoch, next, is_whole, changes };
        if epoch != Some(self.0.epoch) || after < table.first || after > next {
            let now = now_s();
            let channels = table.channels.values().copied().map(Change::Channel);
            let ended = table.ended.iter().filter(|(_, until_s)| **until_s > now);
            let ended = ended.map(|(id, until_s)| match id {
                id if table.invites.contains(id) => Change::Invite { invite_id: (*id).into(), until_s: *until_s },
                id if table.withdrawn.contains(id) => Change::Withdrawn { stream_id: (*id).into(), until_s: *until_s },
                id => Change::Session { session_id: (*id).into(), until_s: *until_s },
            });
            let recordings = table.recordings.all().map(Change::Recording);
            let roles = table.roles.iter().filter(|(_, taken)| taken.until_s > now);
            let roles = roles.map(|(channel_id, RoleTaken { version, until_s })| Change::RoleTaken {
                channel_id: *channel_id,
                version: *version,
                until_s: *until_s,
            });
            let kept_out = table.kept_out.iter().filter(|(_, (_, until_s))| *until_s > now);
            let kept_out = kept_out.map(|(channel_id, (version, until_s))| Change::KeptOut {
                channel_id: *channel_id,
                version: *version,
                until_s: *until_s,
            });
            return Some(told(true, channels.chain(ended).chain(recordings).chain(roles).chain(kept_out).collect()));
        }
        let passed = usize::try_from(after - table.first).unwrap_or(usize::MAX);
        if after == next { None } else { Some(told(false, table.changes.iter().skip(passed).copied().collect())) }
    }

    /// Takes in what an origin has told.
    pub fn learn_told(&self, told: &Told) {
        if told.is_whole {
            // All of it at once, so that there is no moment at which less is known: a channel that the origin does not name is
            // public there, and what it says counts whatever was known before.
            let mut table = self.write();
            (table.channels, table.roles, table.kept_out) = (HashMap::new(), HashMap::new(), HashMap::new());
            table.recordings.clear();
            for change in &told.changes {
                match *change {
                    Change::Channel(rights) | Change::Renewed(rights) => {
                        table.channels.insert(rights.channel_id, rights);
                    }
                    Change::Recording(terms) => {
                        table.recordings.learn(terms);
                    }
                    Change::KeptOut { channel_id, version, until_s } => {
                        table.keep_out(channel_id, version, until_s);
                    }
                    Change::RoleTaken { channel_id, version, until_s } => {
                        table.take_role(channel_id, RoleTaken { version, until_s });
                    }
                    Change::Session { .. } | Change::Invite { .. } | Change::Withdrawn { .. } => {}
                }
            }
            drop(table);
            self.0.channels.ring(());
            // Its number is the same; whoever waits looks again.
            self.0.last_change.send_modify(|_| {});
        }
        for change in &told.changes {
            self.learn(*change);
        }
        self.complete();
    }
}
