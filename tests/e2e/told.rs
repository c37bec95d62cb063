//! What the log tells an operator at the start, so that nobody is surprised later: once each.

use std::fs;

use crate::{
    api::Caller,
    weir::{DataDir, Weir, eventually},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_mails_and_limits_that_are_off_are_told_once() {
    let folder = DataDir::new();
    // The tests' Weir has the limits off.
    let weir = Weir::up(&folder);
    let mails =
        weir.said.iter().find_map(|line| line.trim_start().strip_prefix("Mail")).expect("where mails are is printed");
    let mails = mails.split_whitespace().next().unwrap();
    for (number, username) in ["mira", "noor", "otto"].into_iter().enumerate() {
        Caller::register(&weir.http, username, None).await;
        eventually("the mail with the code is a file", async || {
            let files = fs::read_dir(mails).ok()?;
            let mails = files.flatten().filter(|file| file.path().extension().is_some_and(|kind| kind == "eml"));
            (mails.count() > number).then_some(())
        })
        .await;
    }
    let count = |what: &str| weir.log().lines().filter(|line| line.contains(what)).count();
    assert_eq!(count("no mail server is set: mails go into a folder"), 1, "{}", weir.log());
    assert_eq!(count("rate limits are off"), 1, "{}", weir.log());
}
