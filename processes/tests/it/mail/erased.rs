//! What was mailed to a person who is erased.

use std::{collections::BTreeSet, fs};

use super::*;

/// The names of the files in a folder.
fn kept(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn their_files_go_from_every_node_and_what_servers_said_of_them() {
    let stage = Stage::new().await;
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = here.path().join("mail");
    let first = node(&stage.commands, options(MailWay::Folder(folder.clone())));
    let mira = newcomer(&stage.commands, "mira", "mira.plover@example.org", Language::En).await;
    newcomer(&stage.commands, "noor", "noor@example.org", Language::En).await;
    until("both notes", async || outcome(&stage, "sent").await == 2).await;
    let all = kept(&folder);
    assert_eq!(all.len(), 2);
    let is_of_mira = |name: &&String| fs::read_to_string(folder.join(name)).unwrap().contains("mira.plover");
    let [of_mira] = all.iter().filter(is_of_mira).collect::<Vec<_>>()[..] else { panic!("one is to her: {all:?}") };
    // As another node has it, and as one left it that died; and what is not ours stays.
    let unfinished = format!(".{of_mira}.0123456789abcdef.new");
    for name in [of_mira.as_str(), &unfinished, "notes.txt"] {
        fs::copy(folder.join(of_mira), there.path().join(name)).unwrap();
    }
    fs::copy(folder.join(of_mira), folder.join(&unfinished)).unwrap();
    sqlx::query("update log.mails set failure = 'user mira unknown'").execute(&stage.pool).await.unwrap();

    let metadata = Metadata::new(Actor::Account(mira));
    let erase = Erase { account_id: mira, by: Some(mira), even_administrator: false, metadata };
    accounts::erase(&stage.commands, erase).await.unwrap();
    let of_others: BTreeSet<String> = all.iter().filter(|name| *name != of_mira).cloned().collect();
    until("the end of her files", async || kept(&folder) == of_others).await;
    let said = "select count(*) from log.mails where failure is not null";
    stage.until_count("the other's failure alone", said, 1).await;
    crash(first).await;

    let second = node(&stage.commands, options(MailWay::Folder(there.path().to_owned())));
    until("the end of her files there", async || kept(there.path()) == BTreeSet::from(["notes.txt".to_owned()])).await;
    crash(second).await;
}
