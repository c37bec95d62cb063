//! What the pages of accounts and videos say of themselves to who runs no scripts, and that they say no more than everybody may
//! know. Those of channels are in `web_app.rs` and `visibility.rs`.

use image::ImageFormat;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    profile::{picture, upload},
    recordings::ready,
    site::{SignedIn, Site},
    web_app::{INDEX, site},
};

async fn page(site: &Site, path: &str) -> String {
    let answer = site.send(site.get(path)).await;
    assert_eq!((answer.status, answer.kind()), (200, "text/html; charset=utf-8"), "{path}");
    answer.text()
}

async fn say(site: &Site, who: &SignedIn, path: &str, body: &Value) {
    let answer = site.send(site.patch(path, body).bearer_auth(&who.token)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn an_accounts_page_says_who_it_is() {
    let site = site().await;
    let mira = site.register("mira").await;
    let bare = page(&site, "/accounts/mira").await;
    assert!(bare.contains("<title>mira · Weir</title>") && bare.contains("content=\"mira on Weir\""), "{bare}");
    assert!(!bare.contains("og:image"), "{bare}");

    let said = json!({"display_name": "Міра & co", "bio": "</title><script>alert(\"1\")</script>\nLocks, and 'ships'"});
    say(&site, &mira, "/api/v1/me", &said).await;
    let photo = upload(&site, "image/png", picture(300, 300, ImageFormat::Png)).bearer_auth(&mira.token);
    let avatar = site.send(photo).await.json()["avatar"]["large_url"].as_str().unwrap().to_owned();
    let text = page(&site, "/accounts/Mira/").await;
    insta::assert_snapshot!("page_account", text.replace(&avatar, "[picture]").replace('>', ">\n"));
    // Whoever fetches previews needs no token for the picture.
    let path = avatar.strip_prefix("http://weir.test").unwrap();
    assert_eq!(site.send(site.get(path)).await.status, 200);
}

#[tokio::test]
async fn who_is_not_shown_has_the_page_of_nobody() {
    let site = site().await;
    let (keeper, mira, noor) = (site.administrator().await, site.register("mira").await, site.register("noor").await);
    for who in [&mira, &noor] {
        say(&site, who, "/api/v1/me", &json!({"display_name": "Somebody", "bio": "Secrets"})).await;
    }
    let suspension = format!("/api/v1/admin/accounts/{}/suspension", mira.account["id"].as_str().unwrap());
    let suspend = site.request(Method::PUT, &suspension).json(&json!({"reason": "Spam"}));
    assert_eq!(site.send(suspend.bearer_auth(&keeper.token)).await.status, 200);
    site.erase(&noor).await;
    for path in [
        "/accounts/mira",
        "/accounts/noor",
        "/accounts/nobody",
        "/accounts/keeper/x",
        "/accounts/",
        "/accounts",
        "/accounts/%6Dira",
    ] {
        assert_eq!(page(&site, path).await, INDEX, "{path}");
    }
    let lift = site.request(Method::DELETE, &suspension).bearer_auth(&keeper.token);
    assert_eq!(site.send(lift).await.status, 200);
    assert!(page(&site, "/accounts/mira").await.contains("og:title\" content=\"Somebody\""));
    // A page is shown whether or not more can be said about it.
    site.lose_postgres().await;
    assert_eq!(page(&site, "/accounts/mira").await, INDEX);
}

#[tokio::test]
async fn a_videos_page_says_what_everybody_may_watch() {
    let site = site().await;
    let mira = site.register("mira").await;
    let channel = site.channel(&mira, "river").await;
    let recording = ready(&site, &channel).await;
    let id = recording.rsplit('/').next().unwrap();
    say(&site, &mira, &recording, &json!({"title": "By \"night\""})).await;
    let path = format!("/River/videos/{id}");
    let text = page(&site, &path).await;
    insta::assert_snapshot!("page_video", text.replace(id, "[id]").replace('>', ">\n"));

    say(&site, &mira, &recording, &json!({"visibility": "unlisted"})).await;
    let unlisted = page(&site, &path).await;
    assert!(
        unlisted.contains("noindex") && !unlisted.contains("thumbnail"),
        "a picture would need a token: {unlisted}"
    );
    say(&site, &mira, &recording, &json!({"visibility": "archived"})).await;
    assert_eq!(page(&site, &path).await, INDEX);
    say(&site, &mira, &recording, &json!({"visibility": "published"})).await;
    for none in [format!("/other/videos/{id}"), format!("/river/video/{id}"), "/river/videos/x".to_owned()] {
        assert_eq!(page(&site, &none).await, INDEX, "{none}");
    }
    say(&site, &mira, "/api/v1/channels/river", &json!({"visibility": "private"})).await;
    // The answer waits for the read model of channels, and videos have one of their own.
    site.caught_up().await;
    assert_eq!(page(&site, &path).await, INDEX);
}
