//! Channels that not everybody may watch.

use serde_json::{Value, json};

use crate::site::{Answer, SignedIn, Site, id, within_an_hour};

const HOST: &str = "http://weir.test";

async fn show(site: &Site, by: &SignedIn, visibility: &str) -> Value {
    let request = site.patch("/api/v1/channels/river", &json!({"visibility": visibility}));
    let answer = site.send(request.bearer_auth(&by.token)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["visibility"], visibility);
    answer.json()
}

async fn get(site: &Site, path: &str, by: Option<&SignedIn>) -> Answer {
    let request = site.get(path);
    site.send(match by {
        Some(by) => request.bearer_auth(&by.token),
        None => request,
    })
    .await
}

/// The token in an address, as the stage writes it: channel, version, expiry, session.
fn token(url: &str) -> Vec<String> {
    let rest = url.strip_prefix(&format!("{HOST}/live/t/")).unwrap_or_else(|| panic!("no token in {url}"));
    rest.split('/').next().unwrap().split('_').map(str::to_owned).collect()
}

fn count(page: &Answer) -> usize {
    page.json()["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_private_channel_is_there_for_its_owner_and_administrators_alone() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    let channel = site.channel(&mira, "river").await;
    let stream_id = site.start_stream(&channel).await;
    show(&site, &mira, "private").await;
    let stream = format!("/api/v1/streams/{stream_id}");
    for path in
        ["/api/v1/channels/river", "/api/v1/channels/river/playback", "/api/v1/channels/river?as_of=99", &stream]
    {
        for by in [None, Some(&noor)] {
            if by.is_none() && path.contains("as_of") {
                continue;
            }
            let answer = get(&site, path, by).await;
            // Whoever may not know of it is told that before the position is looked at.
            assert_eq!(answer.problem(), (404, "not_found".to_owned()), "{path}");
        }
    }
    for path in ["/api/v1/channels/river", "/api/v1/channels/river/playback", &stream] {
        for by in [&mira, &keeper] {
            let answer = get(&site, path, Some(by)).await;
            assert_eq!(answer.status, 200, "{path}");
            let expected = if path.ends_with("playback") { "no-store" } else { "private, no-cache" };
            assert_eq!(answer.header("cache-control"), expected, "{path}");
        }
    }
    for by in [None, Some(&noor), Some(&keeper), Some(&mira)] {
        for list in
            ["/api/v1/channels", "/api/v1/channels?account=mira", "/api/v1/streams", "/api/v1/channels?live=true"]
        {
            assert_eq!(count(&get(&site, list, by).await), 0, "{list}");
        }
        let of_channel = count(&get(&site, "/api/v1/streams?channel=river", by).await);
        let may = by.is_some_and(|by| by.token != noor.token);
        assert_eq!(of_channel, usize::from(may));
    }
    let same =
        async || (show(&site, &mira, "private").await, get(&site, "/api/v1/channels?mine=true", Some(&mira)).await);
    let (shown, mine) = within_an_hour(same).await;
    assert_eq!(mine.json()["items"], json!([shown]));

    // What others may not do to a channel, they may not learn from either.
    for path in ["/api/v1/channels/river/stream-key", "/api/v1/channels/river/ingest", "/api/v1/events?channel=river"] {
        assert_eq!(get(&site, path, Some(&noor)).await.problem(), (404, "not_found".to_owned()), "{path}");
    }
    let edit = site.patch("/api/v1/channels/river", &json!({"visibility": "public"})).bearer_auth(&noor.token);
    assert_eq!(site.send(edit).await.problem(), (404, "not_found".to_owned()));
    // Nor does the page that browsers get say anything.
    assert_eq!(get(&site, "/river", None).await.text(), get(&site, "/nobody", None).await.text());
}

#[tokio::test]
async fn an_unlisted_channel_is_there_for_whoever_knows_its_handle() {
    let site = Site::start().await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    let channel = site.channel(&mira, "river").await;
    let stream_id = site.start_stream(&channel).await;
    show(&site, &mira, "unlisted").await;
    for by in [None, Some(&noor)] {
        let shown = get(&site, "/api/v1/channels/river", by).await;
        assert_eq!((shown.status, &shown.json()["visibility"]), (200, &json!("unlisted")));
        assert_eq!(count(&get(&site, "/api/v1/streams?channel=river", by).await), 1);
        assert_eq!(get(&site, &format!("/api/v1/streams/{stream_id}"), by).await.status, 200);
        for list in ["/api/v1/channels", "/api/v1/streams"] {
            assert_eq!(count(&get(&site, list, by).await), 0, "{list}");
        }
        let token = token(shown.json()["playback"]["hls_url"].as_str().unwrap());
        assert_eq!(token[0], id(&channel).to_string());
        assert_eq!(token[3] == "anybody", by.is_none(), "a token goes with the session, where there is one");
    }
    let page = get(&site, "/river", None).await.text();
    assert!(page.contains("noindex") || !page.contains("og:title"), "{page}");
    assert!(!page.contains("thumbnail"), "a picture would need a token: {page}");
}

#[tokio::test]
async fn the_address_of_a_channel_that_is_not_public_has_a_token() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let channel = site.channel(&mira, "river").await;
    let plain = channel["playback"]["hls_url"].clone();
    let playback = get(&site, "/api/v1/channels/river/playback", None).await.json();
    assert_eq!(playback, json!({"hls_url": plain, "expires_at": null}));

    let stream_id = site.start_stream(&channel).await;
    let (private, playback, stream, now) = within_an_hour(async || {
        let private = show(&site, &mira, "private").await;
        let playback = get(&site, "/api/v1/channels/river/playback", Some(&mira)).await.json();
        let stream = get(&site, &format!("/api/v1/streams/{stream_id}"), Some(&mira)).await.json();
        (private, playback, stream, time::OffsetDateTime::now_utc())
    })
    .await;
    assert_eq!(playback["hls_url"], private["playback"]["hls_url"], "the same for an hour, so that a page can be kept");
    let parts = token(playback["hls_url"].as_str().unwrap());
    assert_eq!(parts[1], private["version"].to_string());
    let expires_at = playback["expires_at"].as_str().unwrap();
    let rfc3339 = &time::format_description::well_known::Rfc3339;
    let expires_at = time::OffsetDateTime::parse(expires_at, rfc3339).unwrap();
    assert_eq!(parts[2], expires_at.unix_timestamp().to_string());
    let hours = (expires_at - now).as_seconds_f64() / 3_600.0;
    assert!((11.0..=12.0).contains(&hours), "{hours}");
    for url in [&stream["playback"]["hls_url"], &stream["thumbnail_url"], &private["thumbnail_url"]] {
        assert_eq!(token(url.as_str().unwrap()), parts, "{url}");
    }

    let public = show(&site, &mira, "public").await;
    assert_eq!(public["playback"]["hls_url"], plain);
    assert_eq!(count(&get(&site, "/api/v1/streams", None).await), 1);
    assert_eq!(count(&get(&site, "/api/v1/channels", None).await), 1);
}
