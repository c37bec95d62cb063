//! The master key is rotated under a Weir that runs.

use std::{fs, process::Stdio};

use crate::{
    api::Caller,
    weir::{DataDir, Weir, command},
};

fn rotate(folder: &DataDir, arguments: &[&str]) -> (bool, String) {
    let output = command(folder).args(["keys", "rotate"]).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.success(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_noticed_by_nobody() {
    let folder = DataDir::new();
    let mut weir = Weir::up(&folder);
    let file = folder.path().join("data/secrets.toml");
    let before = fs::read_to_string(&file).unwrap();
    let mira = Caller::register(&weir.http, "mira", None).await;
    let key = mira.channel("river").await;

    let (is_done, said) = rotate(&folder, &["--prepare"]);
    assert!(is_done, "{said}");
    let prepared = fs::read_to_string(&file).unwrap();
    assert!(prepared.contains("former_master_keys"), "it has both");
    let noor = Caller::register(&weir.http, "noor", None).await;
    noor.channel("sea").await;

    let (is_done, said) = rotate(&folder, &[]);
    // Two passwords, two stream keys, and the key of the day; of two days around midnight.
    let counts = ["2 keys of accounts and 5 secrets", "2 keys of accounts and 6 secrets"];
    assert!(is_done && counts.iter().any(|count| said.contains(count)), "{said}");
    let after = fs::read_to_string(&file).unwrap();
    assert!(!after.contains("former_master_keys") && after != before, "it has the new one alone");

    // The node that runs has learnt it: old secrets open, new ones are made.
    assert_eq!(mira.get("channels/river/stream-key").await["stream_key"], key.as_str());
    Caller::sign_in(&weir.http, "mira").await;
    let later = Caller::register(&weir.http, "later", None).await;
    let later_key = later.channel("lake").await;
    assert!(weir.terminate().success());

    // With the old file nobody starts; with the new one all is as it was.
    fs::write(&file, &before).unwrap();
    let refused = command(&folder).arg("up").args(Weir::ANYWHERE).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("other keys"), "{said}");
    fs::write(&file, &after).unwrap();
    let weir = Weir::up(&folder);
    for (username, handle, key) in [("mira", "river", &key), ("later", "lake", &later_key)] {
        let caller = Caller::sign_in(&weir.http, username).await;
        let kept = caller.get(&format!("channels/{handle}/stream-key")).await;
        assert_eq!(kept["stream_key"], key.as_str());
    }
}
