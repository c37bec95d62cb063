//! What the law gives somebody who cannot sign in: the operator serves it.

use std::{fs, os::unix::fs::PermissionsExt};

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    api::Caller,
    weir::{DataDir, Weir, command, eventually, operate},
};

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_person_gets_a_copy_stays_and_is_erased_by_the_operator() {
    let folder = DataDir::new();
    let node = Weir::up_from(command(&folder).env("WEIR_ERASURE_AFTER_DAYS", "14"), &folder, &Weir::ANYWHERE);
    let keeper = Caller::register(&node.http, "keeper", Some(&node.setup_token())).await;
    let mira = Caller::register(&node.http, "mira", None).await;
    mira.channel("river").await;
    let account = mira.get("auth/me").await["id"].as_str().unwrap().to_owned();
    let body = json!({ "password": crate::api::PASSWORD });
    let (status, answer) = mira.call(Method::DELETE, "auth/me", Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let path = format!("admin/accounts/{account}/suspension");
    let (status, answer) = keeper.call(Method::PUT, &path, Some(json!({ "reason": "Two warnings" }))).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let body = json!({ "username": "mira", "password": crate::api::PASSWORD });
    let (status, answer) = Caller::anonymous(&node.http).call(Method::POST, "auth/login", Some(body)).await;
    assert_eq!((status, &answer["code"]), (StatusCode::FORBIDDEN, &json!("account_suspended")));

    // Signing in would have called it off, and cannot.
    let (is_done, said) = operate(&folder, &["accounts", "keep", "mira"]);
    assert!(is_done && said.contains("stays"), "{said}");
    let (is_done, said) = operate(&folder, &["accounts", "keep", &account]);
    assert!(is_done && said.contains("not to be erased"), "{said}");
    let cancelled = async || {
        let events = keeper.events().await;
        let cancelled = events.iter().find(|event| event["type"] == "account.erasure_cancelled")?;
        Some(cancelled["data"]["reason"].clone())
    };
    assert_eq!(eventually("the event", cancelled).await, "operator");

    let file = folder.path().join("mira.zip");
    let output = file.to_str().unwrap();
    let (is_done, said) = operate(&folder, &["accounts", "export", "nobody", "-o", output]);
    assert!(!is_done && said.contains("no account"), "{said}");
    let stranger = uuid::Uuid::now_v7().to_string();
    let (is_done, said) = operate(&folder, &["accounts", "export", &stranger, "-o", output]);
    assert!(!is_done && said.contains("no account"), "{said}");
    let (is_done, said) = operate(&folder, &["accounts", "export", "mira", "-o", output]);
    assert!(is_done, "{said}");
    let bytes = fs::read(&file).unwrap();
    assert!(bytes.starts_with(b"PK"), "a zip");
    for name in ["account.json", "channels.json", "events.ndjson"] {
        assert!(contains(&bytes, name), "{name}");
    }
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (is_done, said) = operate(&folder, &["accounts", "export", "mira", "-o", output]);
    assert!(!is_done && said.contains("--force"), "{said}");
    // Within the hour it is the same once more.
    let (is_done, said) = operate(&folder, &["accounts", "export", "mira", "--force", "-o", output]);
    assert!(is_done && said.contains("less than an hour ago"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), bytes);
    assert_eq!(
        fs::read_dir(folder.path())
            .unwrap()
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|end| end == "part"))
            .count(),
        0
    );
    let asked = keeper.events().await.iter().filter(|event| event["type"] == "personal_export.requested").count();
    assert_eq!(asked, 1, "and it is recorded");

    let (is_done, said) = operate(&folder, &["accounts", "erase", "mira", "--yes"]);
    assert!(is_done, "{said}");
    let (is_done, said) = operate(&folder, &["accounts", "export", &account, "--force", "-o", output]);
    assert!(!is_done && said.contains("no account"), "{said}");
}
