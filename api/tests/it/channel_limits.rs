//! How many channels an account may have, and how often channels and roles may be changed.

use api::AccessOptions;
use reqwest::Method;
use serde_json::json;

use crate::{
    limits::timeless,
    site::{Answer, Options, SignedIn, Site},
};

async fn create(site: &Site, who: &SignedIn, handle: &str) -> Answer {
    let body = json!({"handle": handle, "title": handle});
    site.send(site.post("/api/v1/channels", &body).bearer_auth(&who.token)).await
}

async fn site_with(access: AccessOptions) -> Site {
    Site::with(Options { access, ..Options::default() }).await
}

#[tokio::test]
async fn an_account_has_as_many_channels_as_it_may_and_no_more() {
    let site = site_with(AccessOptions { max_channels: Some(2), ..AccessOptions::default() }).await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    let first = site.channel(&mira, "first").await;
    assert_eq!(create(&site, &mira, "second").await.status, 201);
    let refused = create(&site, &mira, "third").await;
    assert_eq!(refused.problem(), (409, "too_many_channels".to_owned()));
    assert!(refused.json()["detail"].as_str().unwrap().contains("2 channels"), "{}", refused.text());
    assert_eq!(create(&site, &noor, "third").await.status, 201, "others are not concerned");
    // What was closed does not count.
    let channel_id = first["id"].as_str().unwrap().parse().unwrap();
    let reason = domain::channels::ChannelClosedReason::OwnerErased;
    let metadata = commands::Metadata::new(commands::Actor::System);
    commands::channels::close(&site.commands, channel_id, None, reason, metadata).await.unwrap();
    assert_eq!(create(&site, &mira, "fourth").await.status, 201);
    assert_eq!(create(&site, &mira, "fifth").await.status, 409);
}

#[tokio::test]
async fn nobody_fills_the_list_of_somebody_else_with_roles() {
    let access = AccessOptions { rate_limits: Some(timeless()), ..AccessOptions::default() };
    let site = site_with(access).await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    site.channel(&mira, "river").await;
    site.channel(&noor, "hill").await;
    let path = "/api/v1/channels/river/team/noor";
    let mut changed = 0;
    let refused = loop {
        let request = match changed % 2 {
            0 => site.request(Method::PUT, path).json(&json!({"role": "editor"})),
            _ => site.request(Method::DELETE, path),
        };
        let answer = site.send(request.bearer_auth(&mira.token)).await;
        if answer.status >= 300 {
            break answer;
        }
        changed += 1;
        assert!(changed < 60, "there is a limit");
    };
    assert_eq!(refused.problem(), (429, "rate_limited".to_owned()));
    assert_eq!(changed, 30);
    let request = site.request(Method::PUT, "/api/v1/channels/hill/team/mira").json(&json!({"role": "editor"}));
    assert_eq!(site.send(request.bearer_auth(&noor.token)).await.status, 200, "others are not concerned");
}

#[tokio::test]
async fn channels_are_not_made_as_fast_as_one_can_ask() {
    let access = AccessOptions { rate_limits: Some(timeless()), ..AccessOptions::default() };
    let site = site_with(access).await;
    let mira = site.register("mira").await;
    let mut made = 0;
    let refused = loop {
        let answer = create(&site, &mira, &format!("river_{made}")).await;
        if answer.status != 201 {
            break answer;
        }
        made += 1;
        assert!(made < 40, "there is a limit");
    };
    assert_eq!(refused.problem(), (429, "rate_limited".to_owned()));
    assert_eq!(made, 20);
}
