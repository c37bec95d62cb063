//! What is not public plays for those with a right, at the node and at an edge, and stops when the right is taken away.

use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode, redirect::Policy};
use serde_json::{Value, json};

use crate::{
    api::Caller,
    relay::Relay,
    thread::{channel_when, on_air},
    weir::{DataDir, Weir, eventually},
};

async fn show(caller: &Caller, visibility: &str) -> Value {
    let (status, answer) =
        caller.call(Method::PATCH, "channels/river", Some(json!({ "visibility": visibility }))).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// The one recording of the channel, once it can be watched.
async fn ready(caller: &Caller) -> Value {
    eventually("the recording is there", async || {
        let page = caller.get("channels/river/recordings").await;
        page["items"].get(0).filter(|found| found["status"] == "ready").cloned()
    })
    .await
}

/// The path that a channel plays at for whoever was answered so.
fn path_of(channel: &Value, base: &str) -> String {
    let url = channel["playback"]["hls_url"].as_str().unwrap();
    url.strip_prefix(base).unwrap_or_else(|| panic!("{url} is not at {base}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_stream_plays_for_those_with_a_right_at_the_node_and_at_an_edge() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let (mira, noor) =
        (Caller::register(&weir.http, "mira", None).await, Caller::register(&weir.http, "noor", None).await);
    let key = mira.channel("river").await;
    show(&mira, "private").await;
    let (encoder, live) = on_air(&mira, "river", &weir.rtmp, &key).await;
    let stream = live["live_stream_id"].as_str().unwrap();
    let relay = Relay::before(&weir.http, &folder);

    let client = Client::builder().redirect(Policy::limited(3)).build().unwrap();
    let status = async |base: &str, path: &str| Some(client.get(format!("{base}{path}")).send().await.ok()?.status());
    // An edge that has not heard of its node for a while shows nothing of what is not public until it has.
    let answers = async |base: &str, path: &str, expected: StatusCode| {
        let is_so = async || (status(base, path).await? == expected).then_some(());
        eventually(&format!("{base}{path} answers {expected}"), is_so).await;
    };
    let path = path_of(&live, &weir.http);
    for base in [&weir.http, &relay.http] {
        eventually(&format!("{base} plays it"), async || (status(base, &path).await? == StatusCode::OK).then_some(()))
            .await;
        // The strict player, blocked reloads and all.
        crate::playlist::check_live(&format!("{base}{path}"), 2).await;
        for wrong in [format!("/live/{stream}/index.m3u8"), format!("/live/t/x/{stream}/source/init0.mp4")] {
            answers(base, &wrong, StatusCode::FORBIDDEN).await;
        }
    }
    for nobody in [&noor, &Caller::anonymous(&weir.http)] {
        for path in ["channels/river", "channels/river/playback", &format!("streams/{stream}")] {
            assert_eq!(nobody.call(Method::GET, path, None).await.0, StatusCode::NOT_FOUND, "{path}");
        }
    }

    // Whoever has a role may watch, until it is taken; the owner's next address is good again.
    let role = Some(json!({ "role": "moderator" }));
    assert_eq!(mira.call(Method::PUT, "channels/river/team/noor", role).await.0, StatusCode::OK);
    let of_noor = path_of(&noor.get("channels/river").await, &weir.http);
    for base in [&weir.http, &relay.http] {
        answers(base, &of_noor, StatusCode::OK).await;
    }
    assert_eq!(mira.call(Method::DELETE, "channels/river/team/noor", None).await.0, StatusCode::NO_CONTENT);
    let path = path_of(&mira.get("channels/river").await, &weir.http);
    for base in [&weir.http, &relay.http] {
        let refused = async || (status(base, &of_noor).await? == StatusCode::FORBIDDEN).then_some(());
        eventually("the address of who had a role is refused", refused).await;
        answers(base, &path, StatusCode::OK).await;
    }

    // Others may watch than before: tokens of before are worth nothing, at both, and new ones are.
    let unlisted = show(&mira, "unlisted").await;
    let unlisted_path = path_of(&noor.get("channels/river").await, &weir.http);
    for base in [&weir.http, &relay.http] {
        let refused = async || (status(base, &path).await? == StatusCode::FORBIDDEN).then_some(());
        eventually("the address of before is refused", refused).await;
        for good in [&path_of(&unlisted, &weir.http), &unlisted_path] {
            answers(base, good, StatusCode::OK).await;
        }
    }
    show(&mira, "public").await;
    for base in [&weir.http, &relay.http] {
        let plain = format!("/live/{stream}/index.m3u8");
        eventually("everybody may watch", async || (status(base, &plain).await? == StatusCode::OK).then_some(())).await;
    }
    encoder.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_knows_what_was_taken_away_before() {
    let folder = DataDir::new();
    let mut weir = Weir::up(&folder);
    let mira = Caller::register(&weir.http, "mira", None).await;
    let key = mira.channel("river").await;
    show(&mira, "private").await;
    let settings = json!({ "is_on": true });
    let (status, _) = mira.call(Method::PUT, "channels/river/recording-settings", Some(settings)).await;
    assert_eq!(status, StatusCode::OK);
    let (encoder, live) = on_air(&mira, "river", &weir.rtmp, &key).await;
    let stream = live["live_stream_id"].as_str().unwrap().to_owned();
    eventually("it is recorded", async || {
        let page = mira.get("channels/river/recordings").await;
        page["items"].get(0).map(drop)
    })
    .await;
    encoder.stop();
    channel_when(&mira, "river", false).await;
    let recording = ready(&mira).await;
    let recording = format!("recordings/{}", recording["id"].as_str().unwrap());

    // Somebody whose role is taken, and whose session goes on.
    let noor = Caller::register(&weir.http, "noor", None).await;
    let role = Some(json!({ "role": "editor" }));
    assert_eq!(mira.call(Method::PUT, "channels/river/team/noor", role).await.0, StatusCode::OK);
    let file = noor.get(&recording).await["download_url"].as_str().unwrap().to_owned();
    assert_eq!(mira.call(Method::DELETE, "channels/river/team/noor", None).await.0, StatusCode::NO_CONTENT);

    // Another device, which signs out; its token would be good for hours.
    let device = Client::builder().cookie_store(true).build().unwrap();
    let credentials = json!({ "username": "mira", "password": "a river runs through it" });
    let login = device.post(format!("{}/api/v1/auth/login", weir.http)).json(&credentials).send().await.unwrap();
    let token = login.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();
    let address = format!("{}/api/v1/channels/river/playback", weir.http);
    let playback: Value = device.get(address).bearer_auth(token).send().await.unwrap().json().await.unwrap();
    let signed_out = device.post(format!("{}/api/v1/auth/logout", weir.http)).header("origin", &weir.http);
    assert_eq!(signed_out.send().await.unwrap().status(), StatusCode::NO_CONTENT);

    weir.terminate();
    let weir = Weir::up_again(&folder, &weir);
    let mira = Caller::sign_in(&weir.http, "mira").await;
    let client = Client::new();
    let status = async |url: &str| Some(client.get(url).send().await.ok()?.status());
    let picture = format!("{}/live/{stream}/thumbnail.jpg", weir.http);
    let refused = async |url: &str| (status(url).await? == StatusCode::FORBIDDEN).then_some(());
    eventually("the picture of a private stream is refused", async || refused(&picture).await).await;
    let taken = playback["hls_url"].as_str().unwrap();
    eventually("a session that ended before is not let in", async || refused(taken).await).await;
    eventually("nor is a role that was taken before", async || refused(&file).await).await;
    let own = mira.get(&recording).await["download_url"].as_str().unwrap().to_owned();
    eventually("its owner is", async || (status(&own).await? == StatusCode::OK).then_some(())).await;
    let own = mira.get(&format!("streams/{stream}")).await;
    let own = own["thumbnail_url"].as_str().unwrap();
    assert_ne!(status(own).await, Some(StatusCode::FORBIDDEN), "{own}");
    let own = mira.get("channels/river/playback").await;
    // It is offline, which is said to who may know.
    assert_eq!(status(own["hls_url"].as_str().unwrap()).await, Some(StatusCode::NOT_FOUND));
}

/// Asks all of them until they are refused, and prints how long each went on. `act` takes the right away.
async fn measured(what: &str, urls: &[(&str, String)], client: &Client, act: impl AsyncFnOnce()) {
    /// What docs/media.md promises is a second. A machine that runs all tests at once may take much longer; what is found out is an
    /// answer that was believed for half a minute.
    const AT_MOST: Duration = Duration::from_secs(25);
    for (place, url) in urls {
        assert_eq!(client.get(url).send().await.unwrap().status(), StatusCode::OK, "{what}, {place}: {url}");
    }
    act().await;
    let began = Instant::now();
    let waits = urls.iter().map(async |(place, url)| {
        loop {
            let status = client.get(url).send().await.unwrap().status();
            if matches!(status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) {
                return (*place, began.elapsed());
            }
            assert!(began.elapsed() < AT_MOST, "{what}: {place} answers {status} after {:?}", began.elapsed());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    for (place, took) in futures::future::join_all(waits).await {
        println!("| {what} | {place} | {} ms |", took.as_millis());
    }
}

/// `cargo test --test e2e -- a_right_that_is_taken_away --nocapture` prints the figures of docs/media.md.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_is_gone_within_a_second_at_the_node_and_at_an_edge() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let keeper = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    let mira = Caller::register(&weir.http, "mira", None).await;
    let key = mira.channel("river").await;
    show(&mira, "private").await;
    let settings = json!({ "is_on": true });
    let (status, _) = mira.call(Method::PUT, "channels/river/recording-settings", Some(settings)).await;
    assert_eq!(status, StatusCode::OK);
    let (encoder, _) = on_air(&mira, "river", &weir.rtmp, &key).await;
    let relay = Relay::before(&weir.http, &folder);
    let client = Client::builder().redirect(Policy::limited(3)).build().unwrap();
    let both = |url: &str| {
        let path = url.strip_prefix(&weir.http).unwrap_or_else(|| panic!("{url}")).to_owned();
        [("node", format!("{}{path}", weir.http)), ("edge", format!("{}{path}", relay.http))]
    };
    let plays = async |urls: &[(&str, String)]| {
        for (place, url) in urls {
            let playing = async || (client.get(url).send().await.ok()?.status() == StatusCode::OK).then_some(());
            eventually(&format!("{place} plays {url}"), playing).await;
        }
    };

    // Another device, which signs out.
    let device = Client::builder().cookie_store(true).build().unwrap();
    let credentials = json!({ "username": "mira", "password": "a river runs through it" });
    let login = device.post(format!("{}/api/v1/auth/login", weir.http)).json(&credentials).send().await.unwrap();
    let token = login.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();
    let address = format!("{}/api/v1/channels/river/playback", weir.http);
    let playback: Value = device.get(address).bearer_auth(token).send().await.unwrap().json().await.unwrap();
    let urls = both(playback["hls_url"].as_str().unwrap());
    plays(&urls).await;
    let sign_out = async || {
        let out = device.post(format!("{}/api/v1/auth/logout", weir.http)).header("origin", &weir.http);
        assert_eq!(out.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    };
    measured("the session ends", &urls, &client, sign_out).await;

    let (status, invite) = mira.call(Method::POST, "channels/river/invites", Some(json!({}))).await;
    assert_eq!(status, StatusCode::CREATED, "{invite}");
    let secret = invite["url"].as_str().unwrap().split_once('#').unwrap().1.to_owned();
    let shown =
        Caller::anonymous(&weir.http).call(Method::POST, "invites/use", Some(json!({ "invite": secret }))).await.1;
    let urls = both(shown["hls_url"].as_str().unwrap());
    plays(&urls).await;
    let take_back = async || {
        let path = format!("channels/river/invites/{}", invite["id"].as_str().unwrap());
        assert_eq!(mira.call(Method::DELETE, &path, None).await.0, StatusCode::NO_CONTENT);
    };
    measured("the invite is taken back", &urls, &client, take_back).await;

    let own = mira.get("channels/river/playback").await;
    let urls = both(own["hls_url"].as_str().unwrap());
    plays(&urls).await;
    measured("others may watch than before", &urls, &client, async || {
        show(&mira, "unlisted").await;
    })
    .await;

    // A recording that everybody may see, until it is deleted.
    show(&mira, "public").await;
    encoder.stop();
    let recording = ready(&mira).await;
    let path = format!("recordings/{}", recording["id"].as_str().unwrap());
    let visible = async |visibility: &str| {
        let (status, answer) = mira.call(Method::PATCH, &path, Some(json!({ "visibility": visibility }))).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    };
    let urls = both(recording["playback"]["hls_url"].as_str().unwrap());
    plays(&urls).await;
    measured("a recording is archived", &urls, &client, async || visible("archived").await).await;

    // Then it is for whoever has a role, to watch and to download, until that is taken; whoever still may gets new addresses.
    let noor = Caller::register(&weir.http, "noor", None).await;
    let role = Some(json!({ "role": "editor" }));
    assert_eq!(mira.call(Method::PUT, "channels/river/team/noor", role).await.0, StatusCode::OK);
    let addresses = async |who: &Caller| {
        let shown = who.get(&path).await;
        let [url, file] =
            [&shown["playback"]["hls_url"], &shown["download_url"]].map(|url| url.as_str().unwrap().to_owned());
        [both(&url), both(&file)].concat()
    };
    let (own, theirs) = (addresses(&mira).await, addresses(&noor).await);
    plays(&[own.clone(), theirs.clone()].concat()).await;
    measured("a role is taken", &[own, theirs].concat(), &client, async || {
        assert_eq!(mira.call(Method::DELETE, "channels/river/team/noor", None).await.0, StatusCode::NO_CONTENT);
    })
    .await;
    plays(&addresses(&mira).await).await;

    visible("published").await;
    plays(&urls).await;
    let suspension = format!("admin/accounts/{}/suspension", mira.get("auth/me").await["id"].as_str().unwrap());
    measured("the owner is suspended", &urls, &client, async || {
        let reason = Some(json!({ "reason": "Two warnings" }));
        assert_eq!(keeper.call(Method::PUT, &suspension, reason).await.0, StatusCode::OK);
    })
    .await;
    assert_eq!(keeper.call(Method::DELETE, &suspension, None).await.0, StatusCode::OK);
    plays(&urls).await;

    let mira = Caller::sign_in(&weir.http, "mira").await;
    let delete = async || {
        assert_eq!(mira.call(Method::DELETE, &path, None).await.0, StatusCode::NO_CONTENT);
    };
    measured("a recording is deleted", &urls, &client, delete).await;
}
