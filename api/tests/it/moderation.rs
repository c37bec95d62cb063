//! Suspended accounts, and reports: who may, what people are told, and what is shown meanwhile.

use std::time::Duration;

use api::AccessOptions;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    limits::timeless,
    recordings,
    site::{Options, PASSWORD, PATIENCE, SignedIn, Site},
};

fn id(who: &SignedIn) -> &str {
    who.account["id"].as_str().unwrap()
}

fn suspension(who: &SignedIn) -> String {
    format!("/api/v1/admin/accounts/{}/suspension", id(who))
}

async fn put(site: &Site, by: &SignedIn, path: &str, body: &Value) -> (u16, Value) {
    let answer = site.send(site.request(Method::PUT, path).json(body).bearer_auth(&by.token)).await;
    (answer.status, answer.json())
}

async fn suspend(site: &Site, by: &SignedIn, who: &SignedIn, body: &Value) -> (u16, Value) {
    put(site, by, &suspension(who), body).await
}

fn sign_in(site: &Site, username: &str, password: &str) -> RequestBuilder {
    site.post("/api/v1/auth/login", &json!({"username": username, "password": password}))
}

async fn get(site: &Site, by: Option<&SignedIn>, path: &str) -> (u16, Value) {
    let mut request = site.get(path);
    if let Some(by) = by {
        request = request.bearer_auth(&by.token);
    }
    let answer = site.send(request).await;
    (answer.status, answer.json())
}

fn text(time: OffsetDateTime) -> String {
    domain::timestamp::cut(time).format(&Rfc3339).unwrap()
}

#[tokio::test]
async fn a_suspended_person_is_signed_out_everywhere_and_told_why() {
    let site = Site::start().await;
    let other = site.another_node().await;
    let (keeper, mira) = (site.administrator().await, site.register("mira").await);
    let wanted = json!({"name": "A program", "scopes": ["read"], "expires_in_days": 9, "password": PASSWORD});
    let made = site.send(site.post("/api/v1/auth/tokens", &wanted).bearer_auth(&mira.token)).await;
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let until = text(OffsetDateTime::now_utc() + time::Duration::days(7));
    let body = json!({"reason": "Two warnings", "until": until});

    let (status, account) = suspend(&site, &keeper, &mira, &body).await;
    assert_eq!(status, 200, "{account}");
    assert_eq!(account["suspension"]["reason"], "Two warnings");
    assert_eq!(account["suspension"]["by"], "keeper");
    // Here at once, elsewhere within a second.
    for token in [&mira.token, &token] {
        assert_eq!(site.send(site.get("/api/v1/auth/me").bearer_auth(token)).await.status, 401);
        let look = async {
            loop {
                let answer = site.http.get(format!("{other}/api/v1/auth/me")).bearer_auth(token).send().await.unwrap();
                if answer.status() == 401 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect("the other node goes on as before");
    }

    // Only to who knows the password.
    let answer = site.send(sign_in(&site, "mira", "a wrong password")).await;
    assert_eq!(answer.problem(), (401, "credentials_wrong".to_owned()));
    assert!(answer.json().get("suspension").is_none());
    let answer = site.send(sign_in(&site, "mira", PASSWORD)).await;
    assert_eq!(answer.problem(), (403, "account_suspended".to_owned()));
    assert_eq!(answer.json()["suspension"], body);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("Whoever runs this server") && detail.contains("a copy of your data"), "{detail}");

    let lifted = site.send(site.request(Method::DELETE, &suspension(&mira)).bearer_auth(&keeper.token)).await;
    assert_eq!((lifted.status, &lifted.json()["suspension"]), (200, &Value::Null));
    let again = site.send(site.request(Method::DELETE, &suspension(&mira)).bearer_auth(&keeper.token)).await;
    assert_eq!(again.status, 200);
    let mira = site.sign_in("mira").await;
    assert_eq!(get(&site, Some(&mira), "/api/v1/auth/me").await.0, 200);
    assert_eq!(site.send(site.get("/api/v1/auth/me").bearer_auth(&token)).await.status, 401, "revoked for good");
}

#[tokio::test]
async fn a_suspension_is_over_by_itself() {
    let site = Site::start().await;
    let (keeper, mira) = (site.administrator().await, site.register("mira").await);
    site.channel(&mira, "river").await;
    let mut seconds = 3;
    loop {
        let until = text(OffsetDateTime::now_utc() + time::Duration::seconds(seconds));
        let (status, answer) = suspend(&site, &keeper, &mira, &json!({"reason": "An hour off", "until": until})).await;
        if status == 200 {
            break;
        }
        // On a machine that was busy until then.
        assert_eq!((status, &answer["errors"][0]["pointer"], seconds < 60), (422, &json!("/until"), true), "{answer}");
        seconds *= 3;
    }
    let look = async {
        while site.send(sign_in(&site, "mira", PASSWORD)).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        while get(&site, None, "/api/v1/channels/river").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE * 2, look).await.expect("nothing has to happen for it");
    let path = format!("/api/v1/admin/accounts/{}", id(&mira));
    assert_eq!(get(&site, Some(&keeper), &path).await.1["suspension"], Value::Null);
}

#[tokio::test]
async fn what_a_suspended_person_has_is_not_shown() {
    let site = Site::start().await;
    let (keeper, mira) = (site.administrator().await, site.register("mira").await);
    let channel = site.channel(&mira, "river").await;
    let stream_id = site.start_stream(&channel).await;
    let recording = recordings::ready(&site, &channel).await;
    let one_by_one = [
        "/api/v1/channels/river".to_owned(),
        "/api/v1/channels/river/playback".to_owned(),
        "/api/v1/channels/river/recordings".to_owned(),
        format!("/api/v1/streams/{stream_id}"),
        recording,
    ];
    let listed = async || {
        let mut count = 0;
        for list in
            ["/api/v1/channels", "/api/v1/streams", "/api/v1/streams?channel=river", "/api/v1/channels?account=mira"]
        {
            let (status, page) = get(&site, None, list).await;
            assert_eq!(status, 200, "{page}");
            count += page["items"].as_array().unwrap().len();
        }
        count
    };
    assert_eq!(listed().await, 4);
    assert_eq!(suspend(&site, &keeper, &mira, &json!({"reason": "Two warnings"})).await.0, 200);
    assert_eq!(listed().await, 0);
    for path in &one_by_one {
        assert_eq!(get(&site, None, path).await.0, 404, "{path}");
        assert_eq!(get(&site, Some(&keeper), path).await.0, 404, "{path}");
    }
    let lifted = site.send(site.request(Method::DELETE, &suspension(&mira)).bearer_auth(&keeper.token)).await;
    assert_eq!(lifted.status, 200);
    assert_eq!(listed().await, 4);
    for path in &one_by_one {
        assert_eq!(get(&site, None, path).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn who_cannot_be_suspended_is_not() {
    let site = Site::start().await;
    let (keeper, mira) = (site.administrator().await, site.register("mira").await);
    let reason = json!({"reason": "Two warnings"});
    let code = |(status, answer): (u16, Value)| (status, answer["code"].as_str().unwrap_or_default().to_owned());
    assert_eq!(code(suspend(&site, &keeper, &keeper, &reason).await), (409, "own_account".to_owned()));
    assert_eq!(code(suspend(&site, &mira, &keeper, &reason).await), (403, "forbidden".to_owned()));
    let nobody = format!("/api/v1/admin/accounts/{}/suspension", uuid::Uuid::now_v7());
    assert_eq!(code(put(&site, &keeper, &nobody, &reason).await), (404, "not_found".to_owned()));
    let nonsense = "/api/v1/admin/accounts/nobody/suspension";
    assert_eq!(code(put(&site, &keeper, nonsense, &reason).await), (404, "not_found".to_owned()));
    for (body, pointer) in [
        (json!({"reason": ""}), "/reason"),
        (json!({"reason": "x".repeat(501)}), "/reason"),
        (json!({"reason": "x", "until": "2020-01-01T00:00:00Z"}), "/until"),
        (json!({"reason": "x", "until": "soon"}), "/until"),
        (json!({}), "/reason"),
    ] {
        let (status, answer) = suspend(&site, &keeper, &mira, &body).await;
        assert_eq!((status, &answer["errors"][0]["pointer"]), (422, &json!(pointer)), "{body}: {answer}");
    }
    assert_eq!(site.send(sign_in(&site, "mira", PASSWORD)).await.status, 200);
}

#[tokio::test]
async fn administrators_list_accounts_in_pages() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let mut people = Vec::new();
    for name in ["mira", "miriam", "noor"] {
        people.push(site.register(name).await);
    }
    suspend(&site, &keeper, &people[1], &json!({"reason": "Two warnings"})).await;
    let names = async |query: &str| {
        let (status, page) = get(&site, Some(&keeper), &format!("/api/v1/admin/accounts{query}")).await;
        assert_eq!(status, 200, "{page}");
        let items = page["items"].as_array().unwrap();
        items.iter().map(|item| item["username"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("").await, ["noor", "miriam", "mira", "keeper"]);
    assert_eq!(names("?search=MIR").await, ["miriam", "mira"]);
    assert_eq!(names("?state=suspended").await, ["miriam"]);
    assert_eq!(names("?state=active&search=mir").await, ["mira"]);
    let answer = site.send(site.get("/api/v1/admin/accounts?limit=3").bearer_auth(&keeper.token)).await;
    let next = answer.json()["next_cursor"].as_str().unwrap().to_owned();
    assert!(answer.header("link").contains("rel=\"next\""));
    assert_eq!(names(&format!("?limit=3&after={next}")).await, ["keeper"]);
    assert_eq!(get(&site, Some(&people[0]), "/api/v1/admin/accounts").await.0, 403);
    assert_eq!(get(&site, Some(&keeper), "/api/v1/admin/accounts?state=gone").await.0, 400);
}

fn report(kind: &str, id: &Value) -> Value {
    let (text, at_ms) = ("This is my film", 754_000);
    json!({"target_kind": kind, "target_id": id, "kind": "copyright", "text": text, "at_ms": at_ms})
}

async fn file(site: &Site, by: &SignedIn, body: &Value) -> (u16, Value) {
    let answer = site.send(site.post("/api/v1/reports", body).bearer_auth(&by.token)).await;
    (answer.status, answer.json())
}

async fn items(site: &Site, by: &SignedIn, path: &str) -> Vec<Value> {
    let (status, page) = get(site, Some(by), path).await;
    assert_eq!(status, 200, "{page}");
    page["items"].as_array().unwrap().clone()
}

async fn decide(site: &Site, by: &SignedIn, report: &Value, body: &Value) -> (u16, Value) {
    put(site, by, &format!("/api/v1/admin/reports/{}/decision", report["id"].as_str().unwrap()), body).await
}

#[tokio::test]
async fn a_report_is_read_and_answered_and_the_account_suspended() {
    let site = Site::start().await;
    let (keeper, mira, noor) = (site.administrator().await, site.register("mira").await, site.register("noor").await);
    let channel = site.channel(&mira, "river").await;
    let body = report("channel", &channel["id"]);
    let (status, filed) = file(&site, &noor, &body).await;
    assert_eq!(status, 201, "{filed}");
    assert_eq!((&filed["state"], &filed["text"], &filed["at_ms"]), (&json!("open"), &body["text"], &body["at_ms"]));
    assert_eq!(filed["target"]["handle"], "river");
    assert_eq!(filed["target"]["owner"]["username"], "mira");
    let (status, again) = file(&site, &noor, &body).await;
    assert_eq!((status, &again["code"]), (409, &json!("already_reported")));
    assert_eq!(file(&site, &noor, &report("account", &mira.account["id"])).await.0, 201);

    assert_eq!(items(&site, &noor, "/api/v1/me/reports").await.len(), 2);
    assert!(items(&site, &mira, "/api/v1/me/reports").await.is_empty(), "who is reported sees nothing of it");
    for path in ["/api/v1/admin/reports".to_owned(), format!("/api/v1/admin/reports/{}", filed["id"].as_str().unwrap())]
    {
        assert_eq!(get(&site, Some(&mira), &path).await.0, 403);
    }
    // Nor in the events of the channel.
    let events = items(&site, &mira, "/api/v1/events?channel=river").await;
    assert!(!events.is_empty() && events.iter().all(|event| !event.to_string().contains("report")), "{events:?}");

    let queue = items(&site, &keeper, "/api/v1/admin/reports?state=open").await;
    assert_eq!(queue.len(), 2);
    assert_eq!((&queue[1]["id"], &queue[1]["reporter"]["username"]), (&filed["id"], &json!("noor")));
    let wrong = json!({"verdict": "upheld", "action": "take_down"});
    let (status, answer) = decide(&site, &keeper, &filed, &wrong).await;
    assert_eq!((status, &answer["errors"][0]["pointer"]), (422, &json!("/action")));
    let without_reason = json!({"verdict": "upheld", "action": "suspend_account"});
    let (status, answer) = decide(&site, &keeper, &filed, &without_reason).await;
    assert_eq!((status, &answer["errors"][0]["pointer"]), (422, &json!("/reason")));
    let decision = json!({
        "verdict": "upheld", "action": "suspend_account", "answer": "Thank you", "reason": "Somebody else's film",
    });
    let (status, decided) = decide(&site, &keeper, &filed, &decision).await;
    assert_eq!(status, 200, "{decided}");
    assert_eq!((&decided["state"], &decided["action"]), (&json!("upheld"), &json!("suspend_account")));
    assert_eq!((&decided["decided_by"], &decided["is_owner_suspended"]), (&json!("keeper"), &json!(true)));
    assert_eq!(decide(&site, &keeper, &filed, &decision).await.0, 200, "the same again");
    let otherwise = json!({"verdict": "dismissed", "action": "none"});
    let (status, answer) = decide(&site, &keeper, &filed, &otherwise).await;
    assert_eq!((status, &answer["code"]), (409, &json!("already_decided")));

    let answer = site.send(sign_in(&site, "mira", PASSWORD)).await;
    assert_eq!(answer.json()["suspension"]["reason"], "Somebody else's film");
    let own = items(&site, &noor, "/api/v1/me/reports").await;
    assert_eq!((&own[1]["state"], &own[1]["answer"]), (&json!("upheld"), &json!("Thank you")));
    assert_eq!((&own[0]["state"], &own[0]["answer"]), (&json!("open"), &Value::Null));
    assert_eq!(items(&site, &keeper, "/api/v1/admin/reports?state=upheld").await.len(), 1);
    assert_eq!(items(&site, &keeper, "/api/v1/admin/reports?limit=1").await.len(), 1);
}

#[tokio::test]
async fn what_somebody_may_not_see_they_cannot_report() {
    let site = Site::start().await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    let channel = site.channel(&mira, "river").await;
    let stream = json!(site.start_stream(&channel).await.to_string());
    let recording = recordings::ready(&site, &channel).await;
    let recording = json!(recording.rsplit('/').next().unwrap());
    let targets = [("channel", &channel["id"]), ("stream", &stream), ("recording", &recording)];
    let private = site.patch("/api/v1/channels/river", &json!({"visibility": "private"}));
    assert_eq!(site.send(private.bearer_auth(&mira.token)).await.status, 200);
    for (kind, id) in targets {
        assert_eq!(file(&site, &noor, &report(kind, id)).await.0, 404, "{kind}");
    }
    let public = site.patch("/api/v1/channels/river", &json!({"visibility": "unlisted"}));
    assert_eq!(site.send(public.bearer_auth(&mira.token)).await.status, 200);
    for (kind, id) in targets {
        let (status, answer) = file(&site, &noor, &report(kind, id)).await;
        assert_eq!(status, 201, "{kind}: {answer}");
    }
    for kind in ["channel", "stream", "recording", "account"] {
        assert_eq!(file(&site, &noor, &report(kind, &json!(uuid::Uuid::now_v7()))).await.0, 404, "{kind}");
    }
    let mut body = report("account", &mira.account["id"]);
    body["at_ms"] = json!(-1);
    let (status, answer) = file(&site, &noor, &body).await;
    assert_eq!((status, &answer["errors"][0]["pointer"]), (422, &json!("/at_ms")));
    body["at_ms"] = Value::Null;
    body["text"] = json!(" ");
    assert_eq!(file(&site, &noor, &body).await.1["errors"][0]["pointer"], "/text");
}

#[tokio::test]
async fn an_erased_reporter_leaves_a_report_without_words() {
    let site = Site::start().await;
    let (keeper, mira, noor) = (site.administrator().await, site.register("mira").await, site.register("noor").await);
    let (status, filed) = file(&site, &noor, &report("account", &mira.account["id"])).await;
    assert_eq!(status, 201, "{filed}");
    site.erase(&noor).await;
    let head = commands::events::head(&site.pool).await.unwrap();
    site.readable(head).await;
    let path = format!("/api/v1/admin/reports/{}", filed["id"].as_str().unwrap());
    let (status, report) = get(&site, Some(&keeper), &path).await;
    assert_eq!(status, 200, "{report}");
    assert_eq!((&report["text"], &report["reporter"]["username"]), (&Value::Null, &json!("[erased]")));
    let decision = json!({"verdict": "dismissed", "action": "none", "answer": "There is nothing in it."});
    let (status, decided) = decide(&site, &keeper, &filed, &decision).await;
    assert_eq!((status, &decided["answer"]), (200, &Value::Null));
}

#[tokio::test]
async fn nobody_floods_the_queue() {
    let access = AccessOptions { rate_limits: Some(timeless()), ..AccessOptions::default() };
    let site = Site::with(Options { access, ..Options::default() }).await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    let body = report("account", &mira.account["id"]);
    assert_eq!(file(&site, &noor, &body).await.0, 201);
    // Twenty an hour.
    for _ in 1..20 {
        let (status, answer) = file(&site, &noor, &body).await;
        assert_eq!((status, &answer["code"]), (409, &json!("already_reported")));
    }
    let (status, answer) = file(&site, &noor, &body).await;
    assert_eq!((status, &answer["code"]), (429, &json!("rate_limited")));
    // Somebody else is not concerned.
    assert_eq!(file(&site, &mira, &report("account", &noor.account["id"])).await.0, 201);
}
