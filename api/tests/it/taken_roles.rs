//! Roles that were taken: what was given for them is given no more, also while the read models do not know of it yet.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    recordings,
    site::{Answer, SignedIn, Site, within_an_hour},
    teams::member,
};

const TEAM: &str = "/api/v1/channels/river/team";

async fn get(site: &Site, path: &str, by: &SignedIn) -> Answer {
    site.send(site.get(path).bearer_auth(&by.token)).await
}

async fn edit(site: &Site, by: &SignedIn, path: &str, body: Value) {
    let answer = site.send(site.patch(path, &body).bearer_auth(&by.token)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn take(site: &Site, by: &SignedIn, username: &str) {
    let request = site.request(Method::DELETE, &format!("{TEAM}/{username}")).bearer_auth(&by.token);
    assert_eq!(site.send(request).await.status, 204);
}

/// The version of the channel in what stands for a token of a recording.
fn version_in(url: &Value) -> i64 {
    let url = url.as_str().unwrap();
    let token = url.split("/vod/t/").nth(1).unwrap_or_else(|| panic!("no token in {url}")).split('/').next().unwrap();
    token.split('_').nth(2).unwrap().parse().unwrap()
}

#[tokio::test]
async fn who_had_a_role_gets_no_address_while_the_read_models_still_have_it() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let channel = site.channel(&mira, "river").await;
    let stream_id = site.start_stream(&channel).await;
    let recording = recordings::ready(&site, &channel).await;
    edit(&site, &mira, "/api/v1/channels/river", json!({"visibility": "private"})).await;
    let noor = member(&site, &mira, "noor", "editor").await;
    let sea = site.channel(&noor, "sea").await;
    let lists = ["/api/v1/channels?mine=true", "/api/v1/channels?mine=true&live=true", "/api/v1/streams?channel=river"];
    let one_by_one = [
        "/api/v1/channels/river".to_owned(),
        "/api/v1/channels/river/playback".to_owned(),
        "/api/v1/channels/river/recordings".to_owned(),
        format!("/api/v1/streams/{stream_id}"),
        recording.clone(),
        format!("{recording}/download"),
    ];
    let is_of_river = |answer: &Answer| {
        let text = answer.text();
        text.contains("river") || text.contains("/t/") || text.contains(channel["id"].as_str().unwrap())
    };
    for path in lists {
        let answer = get(&site, path, &noor).await;
        assert!(is_of_river(&answer) && answer.text().contains("/live/t/"), "{path}: {}", answer.text());
    }
    for path in &one_by_one {
        assert!(matches!(get(&site, path, &noor).await.status, 200 | 302), "{path}");
    }

    let site = site.stop_projecting().await;
    take(&site, &mira, "noor").await;
    // The read model that the list is made from still has her in the team.
    let team = get(&site, TEAM, &mira).await.json();
    assert_eq!(team["items"][0]["account"]["username"], "noor");
    for path in lists {
        let answer = get(&site, path, &noor).await;
        assert!(answer.status == 200 && !is_of_river(&answer), "{path}: {}", answer.text());
    }
    let mine = get(&site, lists[0], &noor).await.json();
    assert_eq!((mine["items"].as_array().unwrap().len(), &mine["items"][0]["id"]), (1, &sea["id"]), "{mine}");
    for path in &one_by_one {
        let answer = get(&site, path, &noor).await;
        assert!(answer.status == 404 && !answer.text().contains("/t/"), "{path}: {}", answer.text());
    }
    // Whoever has one goes on.
    for path in lists {
        assert!(is_of_river(&get(&site, path, &mira).await), "{path}");
    }
}

#[tokio::test]
async fn an_address_of_a_recording_says_when_it_was_looked_at_who_asks() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let channel = site.channel(&mira, "river").await;
    let recording = recordings::ready(&site, &channel).await;
    edit(&site, &mira, &recording, json!({"visibility": "archived"})).await;
    let noor = member(&site, &mira, "noor", "editor").await;
    member(&site, &mira, "zoe", "moderator").await;
    let version = async |site: &Site| {
        let river = get(site, "/api/v1/channels/river", &mira).await.json();
        river["version"].as_i64().unwrap()
    };
    let before = version(&site).await;
    let (shown, listed) = within_an_hour(async || {
        let shown = get(&site, &recording, &noor).await.json();
        (shown, get(&site, "/api/v1/channels/river/recordings", &noor).await.json())
    })
    .await;
    assert_eq!(version_in(&shown["download_url"]), before);
    assert_eq!(version_in(&shown["playback"]["hls_url"]), before);
    assert_eq!(listed["items"][0]["download_url"], shown["download_url"]);

    // The read models do not know of it; the log does.
    let site = site.stop_projecting().await;
    take(&site, &mira, "zoe").await;
    assert_eq!(version(&site).await, before);
    let moved = get(&site, &format!("{recording}/download"), &noor).await;
    assert_eq!((moved.status, version_in(&json!(moved.header("location")))), (302, before + 1));
}
