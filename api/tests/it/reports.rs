//! One's own reports, when what was reported is not for everybody any more.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    recordings,
    site::{SignedIn, Site},
};

async fn send(site: &Site, by: &SignedIn, method: Method, path: &str, body: &Value) -> Value {
    let answer = site.send(site.request(method, path).json(body).bearer_auth(&by.token)).await;
    assert!(answer.status < 300, "{path}: {}", answer.text());
    answer.json()
}

/// What somebody sees of what they have reported, the oldest first: handle and title.
async fn names(site: &Site, by: &SignedIn, path: &str) -> Vec<(Value, Value)> {
    let answer = site.send(site.get(path).bearer_auth(&by.token)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let page = answer.json();
    let name = |report: &Value| (report["target"]["handle"].clone(), report["target"]["title"].clone());
    page["items"].as_array().unwrap().iter().rev().map(name).collect()
}

#[tokio::test]
async fn what_became_private_has_no_name_for_who_reported_it() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    let channel = site.channel(&mira, "river").await;
    let stream_id = site.start_stream(&channel).await;
    let recording = recordings::ready(&site, &channel).await;
    let targets = [
        ("channel", channel["id"].clone()),
        ("stream", json!(stream_id.to_string())),
        ("recording", json!(recording.rsplit('/').next().unwrap())),
        ("account", mira.account["id"].clone()),
    ];
    for (kind, id) in &targets {
        let report = json!({"target_kind": kind, "target_id": id, "kind": "rules", "text": "It breaks the rules"});
        let filed = send(&site, &noor, Method::POST, "/api/v1/reports", &report).await;
        assert_eq!(filed["target"]["handle"].is_string(), *kind != "account", "{filed}");
    }
    let (own, queue) = ("/api/v1/me/reports", "/api/v1/admin/reports");
    let named = |at: &[usize], names: &[(Value, Value)]| {
        for (place, (handle, title)) in names.iter().enumerate() {
            let is_named = at.contains(&place);
            assert_eq!((handle == "river", title.is_string()), (is_named, is_named), "{place}: {handle} {title}");
            assert!(is_named || (handle.is_null() && title.is_null()), "{place}: {handle} {title}");
        }
    };
    named(&[0, 1, 2], &names(&site, &noor, own).await);

    // The recording alone, then all of the channel, under a name that was never for everybody.
    let river = "/api/v1/channels/river";
    send(&site, &mira, Method::PATCH, &recording, &json!({"visibility": "archived", "title": "A secret"})).await;
    named(&[0, 1], &names(&site, &noor, own).await);
    send(&site, &mira, Method::PATCH, river, &json!({"visibility": "private", "title": "A secret"})).await;
    named(&[], &names(&site, &noor, own).await);
    let text = site.send(site.get(own).bearer_auth(&noor.token)).await.text();
    assert!(!text.contains("secret") && !text.contains("river"), "{text}");
    // Who decides reads what it is.
    named(&[0, 1, 2], &names(&site, &keeper, queue).await);

    // Whoever may see it again, sees what it is called.
    send(&site, &mira, Method::PUT, "/api/v1/channels/river/team/noor", &json!({"role": "moderator"})).await;
    named(&[0, 1], &names(&site, &noor, own).await);
    let taken = site.request(Method::DELETE, "/api/v1/channels/river/team/noor").bearer_auth(&mira.token);
    assert_eq!(site.send(taken).await.status, 204);
    named(&[], &names(&site, &noor, own).await);
    send(&site, &mira, Method::PATCH, river, &json!({"visibility": "public"})).await;
    named(&[0, 1], &names(&site, &noor, own).await);
}
