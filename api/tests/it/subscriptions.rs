//! The log as it grows.

use std::time::Duration;

use api::FeedOptions;
use serde_json::json;

use crate::{
    listener::{LONG, Listener, rest_of},
    site::{Options, SignedIn, Site},
};

const PATH: &str = "/api/v1/events/subscribe";

async fn edit(site: &Site, who: &SignedIn, handle: &str, title: &str) {
    let request = site.patch(&format!("/api/v1/channels/{handle}"), &json!({"title": title}));
    assert_eq!(site.send(request.bearer_auth(&who.token)).await.status, 200);
}

/// The last position of the log.
async fn head_of(site: &Site) -> i64 {
    commands::events::head(&site.pool).await.unwrap()
}

async fn quick() -> Site {
    let feed = FeedOptions { heartbeat: Duration::from_millis(200), ..FeedOptions::default() };
    Site::with(Options { feed, ..Options::default() }).await
}

#[tokio::test]
async fn what_is_past_comes_first_and_then_what_happens() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    site.channel(&keeper, "river").await;
    let page = site.send(site.get("/api/v1/events").bearer_auth(&keeper.token)).await.json();
    let mut feed = site.subscribe(&keeper, "").await;
    let (past, head) = feed.until_caught_up().await;
    assert_eq!((past.len(), head), (usize::try_from(head).unwrap(), head_of(&site).await));
    assert_eq!(feed.retry.as_deref(), Some("1000"));
    for (event, item) in past.iter().zip(page["items"].as_array().unwrap()) {
        assert_eq!(
            (&event.data, json!(event.name), json!(event.position())),
            (item, item["type"].clone(), item["position"].clone())
        );
    }
    let mut others = Vec::new();
    for query in ["types=channel.*", "channel=river&actors=plain", "types=stream.*"] {
        let mut other = site.subscribe(&keeper, &format!("?after={head}&{query}")).await;
        other.until_caught_up().await;
        others.push(other);
    }
    edit(&site, &keeper, "river", "The sea").await;
    let event = feed.next().await.unwrap();
    assert_eq!((event.name.as_str(), &*event.id), ("channel.details_changed", &*(head + 1).to_string()));
    assert_eq!((&event.data["data"]["title"], &event.data["position"]), (&json!("The sea"), &json!(head + 1)));
    assert_eq!(others[0].next().await.unwrap(), event, "one follower tells all of them");
    let plain = others[1].next().await.unwrap();
    assert_eq!(plain.data["actor"], format!("account:{}", keeper.account["id"].as_str().unwrap()));
    // What this one does not want it is not told.
    let river = site.send(site.get("/api/v1/channels/river")).await.json();
    let stream_id = site.start_stream(&river).await;
    assert_eq!(others[2].next().await.unwrap().name, "stream.started");
    site.end_stream(stream_id).await;
    let names = [feed.next().await.unwrap().name, feed.next().await.unwrap().name];
    assert_eq!(names, ["stream.started", "stream.ended"]);
    let head = site.send(site.request(reqwest::Method::HEAD, PATH).bearer_auth(&keeper.token)).await;
    let last = head_of(&site).await.to_string();
    assert_eq!((head.status, head.header("weir-head-position")), (200, &*last));
}

#[tokio::test]
async fn a_resume_loses_nothing_and_repeats_nothing_while_events_are_appended() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    site.channel(&keeper, "river").await;
    let edits = async {
        for number in 0..60 {
            edit(&site, &keeper, "river", &format!("River {number}")).await;
        }
    };
    let listening = async {
        let (mut positions, mut last) = (Vec::new(), String::new());
        // Hangs up in the middle of things, again and again; the first `after` is what Last-Event-ID wins over.
        for round in 0_usize.. {
            let request = site.get(&format!("{PATH}?after=0")).bearer_auth(&keeper.token);
            let mut feed = Listener::of(request.header("last-event-id", &last)).await;
            for _ in 0..=round % 9 {
                let event = feed.next().await.unwrap();
                if event.name != "caught_up" {
                    positions.push(event.position());
                }
                last = event.id;
                if positions.last() == Some(&63) {
                    return positions;
                }
            }
        }
        unreachable!()
    };
    let ((), positions) = tokio::time::timeout(LONG * 2, async { tokio::join!(edits, listening) }).await.unwrap();
    assert_eq!(positions, (1..=63).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_heartbeat_moves_the_id_past_what_does_not_match() {
    let site = quick().await;
    let keeper = site.administrator().await;
    site.channel(&keeper, "river").await;
    let mut feed = site.subscribe(&keeper, "?types=stream.*").await;
    let begun = head_of(&site).await;
    assert_eq!(feed.until_caught_up().await, (vec![], begun));
    for number in 0..5 {
        edit(&site, &keeper, "river", &format!("River {number}")).await;
    }
    let last = (begun + 5).to_string();
    while feed.last_event_id != last {
        feed.silence().await;
    }
    assert!(feed.comments.iter().any(|comment| comment == "heartbeat"), "{:?}", feed.comments);
    // Whoever comes back with it begins there.
    let request = site.get(&format!("{PATH}?types=stream.*")).bearer_auth(&keeper.token);
    let mut feed = Listener::of(request.header("last-event-id", last)).await;
    assert_eq!(feed.until_caught_up().await, (vec![], begun + 5));
}

#[tokio::test]
async fn what_another_process_appends_is_told_too() {
    let site = quick().await;
    let keeper = site.administrator().await;
    let begun = head_of(&site).await;
    let mut feed = site.subscribe(&keeper, &format!("?after={begun}")).await;
    feed.until_caught_up().await;
    let site = site.stop_projecting().await;
    // Without a notification and past this process's appender; more than is passed on at once, and than is kept.
    site.fill_log(20_000).await;
    for expected in begun + 1..=begun + 20_000 {
        let event = loop {
            let event = feed.next().await.unwrap();
            if event.name != "caught_up" {
                break event;
            }
        };
        assert_eq!(event.position(), expected);
    }
}

#[tokio::test]
async fn who_does_not_read_is_cut_and_holds_up_nobody() {
    // Longer than this process is kept waiting, or who does read would be cut, too.
    let feed = FeedOptions { stalled: Duration::from_secs(15), subscriptions_per_account: 2, ..FeedOptions::default() };
    let site = Site::with(Options { feed, ..Options::default() }).await;
    let keeper = site.administrator().await;
    let site = site.stop_projecting().await;
    site.fill_log(30_000).await;
    let filled = head_of(&site).await;
    let stalled = site.unread(&keeper, PATH, "").await;
    let mut good = site.subscribe(&keeper, "").await;
    let (past, head) = good.until_caught_up().await;
    assert_eq!((past.len(), head), (usize::try_from(filled).unwrap(), filled));
    site.fill_log(1_000).await;
    for expected in filled + 1..=filled + 1_000 {
        assert_eq!(good.next().await.unwrap().position(), expected);
    }
    // Its place is free again. It may still read what was on its way, and then why it ends.
    site.until_subscribed(&keeper).await;
    let rest = rest_of(stalled).await;
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains("\nid: 1\nevent: account.registered\n"), "{rest:.500}");
    assert!(!rest.contains(&format!("id: {}\n", filled + 1_000)), "all of it came");
    let last = rest.rsplit("\n\n").nth(1).unwrap_or_default();
    assert!(rest.contains("\n: cut: "), "{last:.300}");
}

#[tokio::test]
async fn a_subscription_ends_with_the_session() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    let mut others = site.subscribe(&keeper, "?types=session.ended").await;
    let mut feed = site.subscribe(&mira, "?channel=river").await;
    feed.until_caught_up().await;
    site.send(site.request(reqwest::Method::POST, "/api/v1/auth/logout").header("cookie", &mira.cookie)).await;
    feed.end().await;
    assert!(feed.comments.last().unwrap().starts_with("ended: the session is over"), "{:?}", feed.comments);
    others.until_caught_up().await;
    let request = site.get(&format!("{PATH}?channel=river")).bearer_auth(&mira.token);
    assert_eq!(site.send(request).await.problem(), (401, "unauthenticated".to_owned()));
}

#[tokio::test]
async fn a_subscription_ends_with_the_channel() {
    // Nobody asks now and then whether they still may: that may come before the event.
    let feed = FeedOptions { heartbeat: Duration::from_secs(3_600), ..FeedOptions::default() };
    let site = Site::with(Options { feed, ..Options::default() }).await;
    let keeper = site.administrator().await;
    let mira = site.register("mira").await;
    let river = site.channel(&mira, "river").await;
    let mut owner = site.subscribe(&mira, "?channel=river").await;
    let mut administrator = site.subscribe(&keeper, "?channel=river").await;
    owner.until_caught_up().await;
    administrator.until_caught_up().await;
    site.close(&river).await;
    assert_eq!(owner.next().await.unwrap().name, "channel.closed", "that it was closed is the last thing told");
    owner.end().await;
    assert_eq!(administrator.next().await.unwrap().name, "channel.closed");
    site.channel(&mira, "sea").await;
    let mut still = site.subscribe(&keeper, "").await;
    still.until_caught_up().await;
}

#[tokio::test]
async fn an_erased_account_reads_no_more() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    let mut feed = site.subscribe(&mira, "?channel=river").await;
    feed.until_caught_up().await;
    site.erase(&mira).await;
    feed.end().await;
    assert!(feed.comments.last().unwrap().starts_with("ended: "), "{:?}", feed.comments);
}

#[tokio::test]
async fn places_are_bounded_and_given_again() {
    let feed = FeedOptions { subscriptions_per_account: 2, subscriptions: 3, ..FeedOptions::default() };
    let site = Site::with(Options { feed, ..Options::default() }).await;
    let keeper = site.administrator().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    let mut first = site.subscribe(&keeper, "").await;
    first.until_caught_up().await;
    let _second = site.subscribe(&keeper, "").await;
    let third = site.send(site.get(PATH).bearer_auth(&keeper.token)).await;
    assert_eq!((third.problem(), third.header("retry-after")), ((429, "too_many_feeds".to_owned()), "5"));
    let _third = site.subscribe(&mira, "?channel=river").await;
    let fourth = site.send(site.get(&format!("{PATH}?channel=river")).bearer_auth(&mira.token)).await;
    assert_eq!((fourth.problem(), fourth.header("retry-after")), ((503, "overloaded".to_owned()), "1"));
    drop(first);
    site.until_subscribed(&keeper).await;
}

#[tokio::test]
async fn a_node_that_stops_says_so() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let mut feed = site.subscribe(&keeper, "").await;
    feed.until_caught_up().await;
    site.stop();
    feed.end().await;
    assert!(feed.comments.last().unwrap().starts_with("this node stops"), "{:?}", feed.comments);
    assert_eq!(feed.retry.as_deref(), Some("1000"));
}
