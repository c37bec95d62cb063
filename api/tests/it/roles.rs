//! Who may do what: the table of docs/roles.md, held against every operation of the document.

use std::{collections::BTreeMap, fmt::Write};

use api::{AccessOptions, AddressList};
use reqwest::{Method, header::COOKIE};
use serde_json::json;

use crate::{
    contract::operations,
    operations::{Call, Fixture, calls, takes},
    recordings, sessions,
    site::{Answer, Options, SignedIn, Site},
    teams,
};

const TABLE: &str = include_str!("../../../docs/roles.md");

/// What a role gets for an answer: what counts is whether it may, not whether that leads to something.
fn verdict(answer: &Answer) -> String {
    match answer.status {
        // The right is there; the password that it takes is not.
        403 if ["password_wrong", "mail_code_wrong"].contains(&&*answer.problem().1) => "yes".to_owned(),
        status @ (401 | 403 | 404) => status.to_string(),
        _ => "yes".to_owned(),
    }
}

/// A site on which `river` and all that belongs to it are the owner's.
async fn stage(is_administered: bool) -> (Fixture, SignedIn) {
    let site = Site::start().await;
    let owner = site.register(if is_administered { "mira" } else { "keeper" }).await;
    let channel = site.channel(&owner, "river").await;
    let who = if is_administered { site.administrator().await } else { owner.clone() };
    let leaver = site.register("leaver").await;
    let ended = site.request(Method::POST, "/api/v1/auth/logout").header(COOKIE, &leaver.cookie);
    assert_eq!(site.send(ended).await.status, 204);
    let stream_id = site.start_stream(&channel).await.to_string();
    let mut exports = Vec::new();
    for _ in 0..2 {
        let ask = site.post("/api/v1/exports", &json!({"format": "csv", "channel": "river"}));
        let answer = site.send(ask.bearer_auth(&owner.token)).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        exports.push(answer.header("location").to_owned());
    }
    let exports = [exports[0].clone(), exports[1].clone(), format!("{}/download?token=none", exports[0])];
    let recordings = [recordings::ready(&site, &channel).await, recordings::ready(&site, &channel).await];
    let (session_id, token) = sessions::one_of_each(&site, &owner).await;
    (Fixture { site, keeper: owner, leaver, stream_id, exports, recordings, session_id, token }, who)
}

/// The verdicts on `who` for each operation. What ends a session comes last.
async fn verdicts(fixture: &Fixture, who: &[Option<&SignedIn>]) -> BTreeMap<String, Vec<String>> {
    let mut calls = calls();
    calls.sort_by_key(|call| {
        ["refresh_session", "end_other_sessions", "logout"].iter().position(|last| *last == call.operation)
    });
    let mut verdicts = BTreeMap::new();
    for Call { operation, request, .. } in &calls {
        let (_, _, described) = operations().find(|(_, _, o)| o["operationId"] == *operation).unwrap();
        let mut row = Vec::new();
        for who in who {
            let request = request(fixture);
            let request = match who {
                Some(who) if takes(described, "refresh_cookie") => request.header(COOKIE, &who.cookie),
                Some(who) if takes(described, "access_token") => request.bearer_auth(&who.token),
                _ => request,
            };
            row.push(verdict(&fixture.site.send(request).await));
        }
        verdicts.insert((*operation).to_owned(), row);
    }
    verdicts
}

#[tokio::test]
async fn every_operation_is_for_whom_the_table_says() {
    let (fixture, owner) = stage(false).await;
    let stranger = fixture.site.register("stranger").await;
    let moderator = teams::member(&fixture.site, &owner, "warden", "moderator").await;
    let editor = teams::member(&fixture.site, &owner, "scribe", "editor").await;
    let who = [None, Some(&fixture.leaver), Some(&stranger), Some(&moderator), Some(&editor), Some(&owner)];
    let mut found = verdicts(&fixture, &who).await;
    let (fixture, administrator) = stage(true).await;
    for (operation, row) in verdicts(&fixture, &[Some(&administrator)]).await {
        found.get_mut(&operation).unwrap().extend(row);
    }
    let (_, table) = TABLE.split_once("## Every operation").expect("the table has a heading");
    let mut wrong = String::new();
    for (_, _, operation) in operations() {
        let name = operation["operationId"].as_str().unwrap();
        let row = found.get(name).unwrap_or_else(|| panic!("no test calls {name}: add it to operations.rs"));
        let expected = format!("| `{name}` | {} |", row.join(" | "));
        if !table.lines().any(|line| line.starts_with(&expected)) {
            writeln!(wrong, "{expected}").unwrap();
        }
    }
    assert!(
        wrong.is_empty(),
        "docs/roles.md does not say these rows; is it the table that is wrong, or the API?\n{wrong}"
    );
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let name = line.split('`').nth(1).unwrap();
        assert!(found.contains_key(name), "docs/roles.md has a row for {name}, which is no operation");
    }
}

#[tokio::test]
async fn administrators_come_from_where_they_may() {
    let access = AccessOptions {
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        administration: AddressList {
            allow: vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.0/8".parse().unwrap()],
            deny: vec!["10.6.0.0/16".parse().unwrap()],
        },
        ..AccessOptions::default()
    };
    let site = Site::with(Options { access, ..Options::default() }).await;
    let (keeper, mira) = (site.administrator().await, site.register("mira").await);
    for (address, status) in [("10.0.0.1", 200), ("10.6.0.1", 403), ("203.0.113.7", 403)] {
        let from =
            |who: &SignedIn| site.get("/api/v1/auth/me").bearer_auth(&who.token).header("x-forwarded-for", address);
        let answer = site.send(from(&keeper)).await;
        assert_eq!(answer.status, status, "{address}: {}", answer.text());
        if status == 403 {
            assert_eq!(answer.problem().1, "address_not_allowed");
        }
        assert_eq!(site.send(from(&mira)).await.status, 200, "others may from everywhere: {address}");
    }
}
