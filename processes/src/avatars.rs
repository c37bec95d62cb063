//! Pictures of people: their files go when no profile names them any more.
//!
//! A picture that was replaced or removed goes by the event that says so, and with an account all of them. What no event
//! names, since a node died between storing the files and saying so, is swept: now and then some files are looked at, in the
//! order of their names, and one that is old enough to be named by now, and is not, goes.

use std::{
    error::Error,
    time::{Duration, SystemTime},
};

use commands::{Commands, accounts, accounts::profile};
use domain::{
    DomainEvent,
    accounts::{AccountEvent, AvatarName, ProfileEvent},
    ids::AccountId,
};
use storage::{Key, ListedObject, Storage};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    following::{Begin, BoxError, Followed, Following, Handler, Process},
    leadership::Leadership,
};

const PROCESS: Process = Process {
    name: "avatars",
    types: &["profile.avatar_changed", "profile.avatar_removed", "account.erased"],
    begin: Begin::Start,
};
/// How often some files are looked at.
const SWEPT_EVERY: Duration = Duration::from_secs(300);
/// How many are looked at in one go: 200 people's.
const SWEPT_AT_ONCE: usize = 400;
/// How old a file is at least that is not named and goes: storing and saying so takes less than a minute.
const SETTLED: Duration = Duration::from_secs(3_600);

/// Deletes what is not shown any more, for ever. Several nodes may. Cancel safe: what was under way is done again.
pub async fn run(commands: &Commands, following: &Following, storage: &Storage) {
    let avatars = Avatars { commands, storage };
    tokio::join!(following.follow(PROCESS, &avatars), avatars.sweep_for_ever());
}

/// Looks at the files behind `after`, or from the beginning, and deletes those that are older than `settled` and that no
/// profile names. Answers how many went, and where to go on; `None` at the end.
///
/// # Errors
/// When the storage or the log does not answer; what went is gone.
pub async fn sweep(
    commands: &Commands,
    storage: &Storage,
    after: Option<&Key>,
    settled: Duration,
) -> Result<(u64, Option<Key>), BoxError> {
    let page = storage.list_prefix(&Key::new(FOLDER)?, after, SWEPT_AT_ONCE).await?;
    let (now, mut count) = (SystemTime::now(), 0);
    for ListedObject { key, modified, .. } in &page.objects {
        if now.duration_since(*modified).unwrap_or_default() < settled {
            continue;
        }
        // What is named otherwise is not ours.
        let Some((account_id, avatar)) = named(key) else { continue };
        if profile::avatar(commands, account_id).await?.as_ref() != Some(&avatar) {
            count += u64::from(storage.delete(key).await?);
        }
    }
    Ok((count, page.next))
}

struct Avatars<'a> {
    commands: &'a Commands,
    storage: &'a Storage,
}

impl Handler for Avatars<'_> {
    async fn handle(&self, followed: &Followed) -> Result<(), BoxError> {
        match &followed.event {
            DomainEvent::Profile(ProfileEvent::AvatarChanged { account_id, former, .. }) => {
                if accounts::is_erased(self.commands, *account_id).await? {
                    // Of the two events the later one finds the other.
                    return self.delete_all(*account_id).await;
                }
                match former {
                    Some(former) => self.delete(*account_id, former).await,
                    None => Ok(()),
                }
            }
            DomainEvent::Profile(ProfileEvent::AvatarRemoved { account_id, former, .. }) => {
                self.delete(*account_id, former).await
            }
            DomainEvent::Account(AccountEvent::Erased { account_id, .. }) => self.delete_all(*account_id).await,
            _ => Ok(()),
        }
    }
}

impl Avatars<'_> {
    /// Every size there is of a picture.
    async fn delete(&self, account_id: AccountId, avatar: &AvatarName) -> Result<(), BoxError> {
        let page = self.storage.list_prefix(&folder(account_id)?, None, storage::MAX_PAGE).await?;
        for object in page.objects.iter().filter(|object| named(&object.key).is_some_and(|(_, name)| name == *avatar)) {
            self.storage.delete(&object.key).await?;
        }
        Ok(())
    }

    async fn delete_all(&self, account_id: AccountId) -> Result<(), BoxError> {
        self.storage.delete_prefix(&folder(account_id)?).await?;
        Ok(())
    }

    async fn sweep_for_ever(&self) {
        let mut leadership = Leadership::new("avatars swept", self.commands.pool().clone());
        let mut rounds = interval(SWEPT_EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut after = None;
        loop {
            rounds.tick().await;
            match leadership.is_ours().await {
                Ok(true) => match sweep(self.commands, self.storage, after.as_ref(), SETTLED).await {
                    Ok((count, next)) => {
                        after = next;
                        if count > 0 {
                            tracing::info!(files = count, "pictures of people that nothing named were deleted");
                        }
                    }
                    Err(error) => {
                        tracing::warn!(error = &*error as &dyn Error, "pictures that nothing names stay for now");
                    }
                },
                Ok(false) => after = None,
                Err(error) => tracing::warn!(error = &error as &dyn Error, "nobody knows who sweeps pictures"),
            }
        }
    }
}

/// Where they are, as the API stores them: `avatars/<account>/<name>-<side>.jpg`.
const FOLDER: &str = "avatars";

fn folder(account_id: AccountId) -> Result<Key, BoxError> {
    Ok(Key::new(format!("{FOLDER}/{account_id}"))?)
}

fn named(key: &Key) -> Option<(AccountId, AvatarName)> {
    let (account_id, file) = key.as_str().strip_prefix(FOLDER)?.strip_prefix('/')?.split_once('/')?;
    let (name, _) = file.split_once('-')?;
    Some((account_id.parse().ok()?, AvatarName::from_stored(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_api_stores_is_touched() {
        let (id, name) = ("01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00", "a".repeat(40));
        let named = |text: String| named(&Key::new(text).unwrap()).map(|(_, name)| name.as_str().to_owned());
        assert_eq!(named(format!("avatars/{id}/{name}-64.jpg")), Some(name.clone()));
        for other in [
            format!("avatars/{id}/{name}.jpg"),
            format!("avatars/{name}-64.jpg"),
            format!("banners/{id}/{name}-64.jpg"),
        ] {
            assert_eq!(named(other), None);
        }
        assert_eq!(named(format!("avatars/{id}/notes-1.txt")), None);
    }
}
