//! What operators do by the command line for people who cannot do it themselves any more.

use hmac::{Hmac, Mac};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha1::Sha1;
use time::OffsetDateTime;

use crate::{
    api::{Caller, PASSWORD},
    weir::{DataDir, Weir, command, operate},
};

/// What an authenticator shows that was given `secret` (RFC 6238, RFC 4648 section 6).
fn shown(secret: &str) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits = secret.bytes().flat_map(|letter| {
        let value = letters.iter().position(|known| *known == letter).unwrap();
        (0..5).rev().map(move |bit| u8::from(value >> bit & 1 == 1))
    });
    let bits: Vec<u8> = bits.collect();
    let seed: Vec<u8> = bits.chunks_exact(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit)).collect();
    let step = OffsetDateTime::now_utc().unix_timestamp() / 30;
    let mut mac = <Hmac<Sha1> as Mac>::new_from_slice(&seed).unwrap();
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let offset = usize::from(hash[19] & 15);
    let number = u32::from_be_bytes(hash[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

async fn id(caller: &Caller) -> String {
    caller.get("auth/me").await["id"].as_str().unwrap().to_owned()
}

/// The data of all events of a type.
async fn told(keeper: &Caller, event_type: &str) -> Vec<Value> {
    let events = keeper.events().await.into_iter().filter(|event| event["type"] == event_type);
    events.map(|mut event| event["data"].take()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_is_made_of_who_may_be_one() {
    let folder = DataDir::new();
    let node = Weir::up_from(command(&folder).env("WEIR_ERASURE_AFTER_DAYS", "14"), &folder, &Weir::ANYWHERE);
    let keeper = Caller::register(&node.http, "keeper", Some(&node.setup_token())).await;
    let mira = Caller::register(&node.http, "mira", None).await;
    let noor = Caller::register(&node.http, "noor", None).await;
    let (mira_id, noor_id) = (id(&mira).await, id(&noor).await);
    let make = |account: &str| operate(&folder, &["accounts", "make-administrator", account]);

    assert_eq!(mira.call(Method::GET, "admin/accounts", None).await.0, StatusCode::FORBIDDEN);
    let (is_done, said) = make("mira");
    assert!(is_done && said.contains(&mira_id) && said.contains("from now on"), "{said}");
    assert_eq!(mira.call(Method::GET, "admin/accounts", None).await.0, StatusCode::OK);
    let (is_done, said) = make(&mira_id);
    assert!(is_done && said.contains("already"), "{said}");
    let granted = told(&keeper, "account.administrator_granted").await;
    assert_eq!((granted.len(), &granted[0]["by"]), (1, &Value::Null));

    // By the other way, which takes the password.
    let right = format!("admin/accounts/{mira_id}/administrator");
    let (status, answer) = keeper.call(Method::DELETE, &right, Some(json!({ "password": PASSWORD }))).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (is_done, said) = make("mira");
    assert!(is_done && said.contains("from now on"), "{said}");

    let path = format!("admin/accounts/{noor_id}/suspension");
    let (status, answer) = keeper.call(Method::PUT, &path, Some(json!({ "reason": "Two warnings" }))).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (is_done, said) = make("noor");
    assert!(!is_done && said.contains("is suspended"), "{said}");
    let (status, _) = keeper.call(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::OK);
    let noor = Caller::sign_in(&node.http, "noor").await;
    let (status, answer) = noor.call(Method::DELETE, "auth/me", Some(json!({ "password": PASSWORD }))).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (is_done, said) = make("noor");
    assert!(!is_done && said.contains("weir accounts keep noor"), "{said}");
    let (is_done, said) = operate(&folder, &["accounts", "keep", "noor"]);
    assert!(is_done && said.contains("stays"), "{said}");
    let (is_done, said) = make("noor");
    assert!(is_done, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_authenticator_is_taken_off_and_what_is_wrong_is_said() {
    let folder = DataDir::new();
    let node = Weir::up(&folder);
    let keeper = Caller::register(&node.http, "keeper", Some(&node.setup_token())).await;
    let mira = Caller::register(&node.http, "mira", None).await;

    let prepared = mira.call(Method::POST, "auth/second-factor", Some(json!({ "password": PASSWORD }))).await.1;
    let code = shown(prepared["secret"].as_str().unwrap());
    let body = json!({ "id": prepared["id"], "code": code });
    let (status, answer) = mira.call(Method::PUT, "auth/second-factor", Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let body = json!({ "username": "mira", "password": PASSWORD });
    let (status, answer) = Caller::anonymous(&node.http).call(Method::POST, "auth/login", Some(body)).await;
    assert_eq!((status, &answer["code"]), (StatusCode::UNAUTHORIZED, &json!("second_factor_required")));
    let (is_done, said) = operate(&folder, &["accounts", "reset-second-factor", "mira"]);
    assert!(is_done && said.contains("the password alone"), "{said}");
    Caller::sign_in(&node.http, "mira").await;
    assert_eq!(told(&keeper, "account.second_factor_disabled").await.len(), 1);

    // The least first; what takes longer than it may is not looked at further.
    let (is_done, said) = operate(&folder, &["password-cost", "--within-ms", "1"]);
    assert!(is_done && said.contains("19 MiB") && said.contains("None takes 1 ms"), "{said}");
    let (is_done, said) = operate(&folder, &["password-cost"]);
    assert!(is_done && said.contains("as it is set") && said.contains("250 ms"), "{said}");

    let nowhere = folder.path().join("nowhere/mira.zip");
    let pseudonym = keeper.get("events?types=account.registered&limit=1").await["items"][0]["subject"].take();
    let pseudonym = pseudonym.as_str().unwrap().to_owned();
    let output = folder.path().join("events.ndjson");
    let output = output.to_str().unwrap();
    for (arguments, word) in [
        (&["accounts", "make-administrator", "nobody"][..], "no account nobody"),
        (&["accounts", "reset-second-factor", "nobody"], "no account nobody"),
        (&["accounts", "keep", "nobody"], "no account nobody"),
        (&["accounts", "erase", "nobody", "--yes"], "no account nobody"),
        (&["accounts", "export", "mira", "-o", nowhere.to_str().unwrap()], "cannot be written"),
        (&["accounts", "export", "mira"], "--output"),
        (&["accounts", "make-administrator"], "<ACCOUNT>"),
        (&["accounts", "reset-second-factor", "mira", "noor"], "noor"),
        (&["accounts", "unmake-administrator", "mira"], "unmake-administrator"),
        (&["accounts"], "Usage"),
        (&["password-cost", "--within-ms", "0"], "is not in 1.."),
        (&["password-cost", "--within-ms", "soon"], "soon"),
        (&["events", "export", "--subject", &pseudonym, "-o", output], "is a pseudonym"),
        (&["events", "export", "--subject", "chanel/1", "-o", output], "nothing happens to a chanel"),
        (&["events", "tail", "--subject", &pseudonym], "is a pseudonym"),
    ] {
        let (is_done, said) = operate(&folder, arguments);
        assert!(!is_done && said.contains(word), "{arguments:?}: {said}");
    }
    assert!(!std::path::Path::new(output).exists());
    let subject = format!("account/{}", id(&mira).await);
    let (is_done, said) = operate(&folder, &["events", "export", "--subject", &subject, "-o", output]);
    assert!(is_done, "{said}");
    let text = std::fs::read_to_string(output).unwrap();
    assert!(text.contains("account.second_factor_disabled") && !text.contains(&subject), "{text}");
}
