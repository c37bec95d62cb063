//! Every operation of the document is called here, by somebody who may and by nobody in particular. A new operation fails
//! the test until it stands in [`calls`].

use reqwest::{
    Method, RequestBuilder,
    header::{COOKIE, HeaderName},
};
use serde_json::{Value, json};

use crate::{
    contract::{DOCUMENT, operations},
    exports, profile, recordings, sessions,
    site::{PASSWORD, SignedIn, Site, registration},
};

pub(crate) struct Fixture {
    pub(crate) site: Site,
    /// The owner of the channel, and the administrator.
    pub(crate) keeper: SignedIn,
    /// Whose session ends here.
    pub(crate) leaver: SignedIn,
    pub(crate) stream_id: String,
    /// The addresses of an export, of one to delete, and of the first one's file.
    pub(crate) exports: [String; 3],
    /// The id of a session of the keeper's, and the address of a personal token.
    pub(crate) session_id: String,
    pub(crate) token: String,
    /// The addresses of a recording, and of one to delete.
    pub(crate) recordings: [String; 2],
}

pub(crate) struct Call {
    pub(crate) operation: &'static str,
    /// The request, without a sign of who makes it.
    pub(crate) request: fn(&Fixture) -> RequestBuilder,
    /// The answer to somebody who may.
    pub(crate) status: u16,
    /// The answer to nobody in particular.
    pub(crate) unauthenticated: u16,
}

pub(crate) fn calls() -> Vec<Call> {
    fn get(path: &'static str) -> impl Fn(&Fixture) -> RequestBuilder {
        move |fixture| fixture.site.get(path)
    }
    macro_rules! call {
        ($operation:literal, $status:literal, $unauthenticated:literal, $request:expr) => {
            Call { operation: $operation, request: $request, status: $status, unauthenticated: $unauthenticated }
        };
    }
    vec![
        call!("check_health", 200, 200, |fixture| get("/healthz")(fixture)),
        call!("check_readiness", 200, 200, |fixture| get("/readyz")(fixture)),
        call!("get_document", 200, 200, |fixture| get("/api/v1/openapi.json")(fixture)),
        call!("register", 201, 409, |fixture| fixture.site.post("/api/v1/auth/register", &registration("newcomer"))),
        call!("login", 200, 200, |fixture| {
            fixture.site.post("/api/v1/auth/login", &json!({"username": "keeper", "password": PASSWORD}))
        }),
        call!("refresh_session", 200, 401, |fixture| fixture.site.request(Method::POST, "/api/v1/auth/refresh")),
        call!("get_me", 200, 401, |fixture| get("/api/v1/auth/me")(fixture)),
        // With the right one it would be the last call: tests/it/accounts.rs.
        call!("erase_me", 403, 401, |fixture| {
            fixture.site.request(Method::DELETE, "/api/v1/auth/me").json(&json!({"password": "a wrong one"}))
        }),
        call!("get_personal_export", 404, 401, |fixture| get("/api/v1/me/export")(fixture)),
        // With the right one: tests/it/privacy.rs.
        call!("request_personal_export", 403, 401, |fixture| {
            fixture.site.post("/api/v1/me/export", &json!({"password": "a wrong one"}))
        }),
        call!("locate_personal_export", 403, 401, |fixture| {
            fixture.site.post("/api/v1/me/export/download", &json!({"password": "a wrong one"}))
        }),
        call!("download_personal_export", 403, 403, |fixture| get("/api/v1/me/export/download?token=none")(fixture)),
        call!("get_erasure", 200, 401, |fixture| get("/api/v1/me/erasure")(fixture)),
        call!("list_my_security_events", 200, 401, |fixture| get("/api/v1/me/security-events")(fixture)),
        call!("list_security_events", 200, 401, |fixture| get("/api/v1/admin/security-events")(fixture)),
        call!("list_sessions", 200, 401, |fixture| get("/api/v1/auth/sessions")(fixture)),
        call!("watch_session", 200, 401, |fixture| get("/api/v1/auth/session")(fixture)),
        call!("end_session", 204, 401, |fixture| {
            fixture.site.request(Method::DELETE, &format!("/api/v1/auth/sessions/{}", fixture.session_id))
        }),
        call!("end_other_sessions", 204, 401, |fixture| fixture.site.request(Method::DELETE, "/api/v1/auth/sessions")),
        call!("list_personal_tokens", 200, 401, |fixture| get("/api/v1/auth/tokens")(fixture)),
        call!("create_personal_token", 201, 401, |fixture| {
            let body = json!({"name": "A program", "scopes": ["read"], "expires_in_days": 9, "password": PASSWORD});
            fixture.site.post("/api/v1/auth/tokens", &body)
        }),
        call!("revoke_personal_token", 204, 401, |fixture| fixture.site.request(Method::DELETE, &fixture.token)),
        call!("change_password", 403, 401, |fixture| {
            let body = json!({"password": "a wrong one", "new_password": "and then into the sea"});
            fixture.site.request(Method::PUT, "/api/v1/auth/password").json(&body)
        }),
        call!("request_email_confirmation", 200, 401, |fixture| {
            fixture.site.post("/api/v1/auth/email/confirmation", &json!({}))
        }),
        // With codes that were mailed: tests/it/email.rs and password_reset.rs.
        call!("confirm_email", 403, 401, |fixture| {
            let path = "/api/v1/auth/email/confirmation";
            fixture.site.request(Method::PUT, path).json(&json!({"code": "aaaa-aaaa"}))
        }),
        call!("request_email_change", 200, 401, |fixture| {
            let body = json!({"email": "new@example.net", "password": PASSWORD});
            fixture.site.post("/api/v1/auth/email/change", &body)
        }),
        call!("change_email", 403, 401, |fixture| {
            fixture.site.request(Method::PUT, "/api/v1/auth/email/change").json(&json!({"new_code": "aaaa-aaaa"}))
        }),
        call!("request_password_reset", 204, 204, |fixture| {
            fixture.site.post("/api/v1/auth/password/reset", &json!({"account": "keeper"}))
        }),
        call!("reset_password", 403, 403, |fixture| {
            let body = json!({"account": "keeper", "code": "aaaa-aaaa", "new_password": "and then into the sea"});
            fixture.site.request(Method::PUT, "/api/v1/auth/password/reset").json(&body)
        }),
        call!("prepare_second_factor", 200, 401, |fixture| {
            fixture.site.post("/api/v1/auth/second-factor", &json!({"password": PASSWORD}))
        }),
        // With a code: tests/it/second_factor.rs.
        call!("enable_second_factor", 409, 401, |fixture| {
            let body = json!({"id": fixture.session_id, "code": "000000"});
            fixture.site.request(Method::PUT, "/api/v1/auth/second-factor").json(&body)
        }),
        call!("disable_second_factor", 204, 401, |fixture| {
            fixture.site.request(Method::DELETE, "/api/v1/auth/second-factor").json(&json!({"password": PASSWORD}))
        }),
        call!("replace_recovery_codes", 409, 401, |fixture| {
            let path = "/api/v1/auth/second-factor/recovery-codes";
            fixture.site.request(Method::PUT, path).json(&json!({"password": PASSWORD}))
        }),
        call!("get_my_profile", 200, 401, |fixture| get("/api/v1/me")(fixture)),
        call!("edit_my_profile", 200, 401, |fixture| {
            fixture.site.patch("/api/v1/me", &json!({"display_name": "By the river"}))
        }),
        call!("replace_my_avatar", 200, 401, |fixture| {
            profile::upload(&fixture.site, "image/png", profile::picture(8, 8, image::ImageFormat::Png))
        }),
        call!("remove_my_avatar", 200, 401, |fixture| fixture.site.request(Method::DELETE, "/api/v1/me/avatar")),
        call!("get_account", 200, 200, |fixture| get("/api/v1/accounts/keeper")(fixture)),
        call!("list_account_channels", 200, 200, |fixture| get("/api/v1/accounts/keeper/channels")(fixture)),
        call!("list_account_streams", 200, 200, |fixture| get("/api/v1/accounts/keeper/streams")(fixture)),
        call!("create_channel", 201, 401, |fixture| {
            fixture.site.post("/api/v1/channels", &json!({"handle": "sea", "title": "The sea"}))
        }),
        call!("list_channels", 200, 200, |fixture| get("/api/v1/channels")(fixture)),
        // As it is everybody may look at it: tests/it/channels.rs.
        call!("get_channel", 200, 401, |fixture| get("/api/v1/channels/river?as_of=9")(fixture)),
        call!("edit_channel", 200, 401, |fixture| {
            fixture.site.patch("/api/v1/channels/river", &json!({"title": "The river"}))
        }),
        // Of a channel that is not public: tests/it/visibility.rs.
        call!("get_channel_playback", 200, 200, |fixture| get("/api/v1/channels/river/playback")(fixture)),
        call!("prove_session", 204, 401, |fixture| {
            fixture.site.post("/api/v1/auth/session/proof", &json!({"password": PASSWORD}))
        }),
        call!("get_stream_key", 200, 401, |fixture| get("/api/v1/channels/river/stream-key")(fixture)),
        call!("rotate_stream_key", 200, 401, |fixture| {
            fixture.site.request(Method::POST, "/api/v1/channels/river/stream-key/rotate")
        }),
        call!("list_team", 200, 401, |fixture| get("/api/v1/channels/river/team")(fixture)),
        call!("give_role", 200, 401, |fixture| {
            fixture.site.request(Method::PUT, "/api/v1/channels/river/team/leaver").json(&json!({"role": "moderator"}))
        }),
        call!("take_role", 204, 401, |fixture| {
            fixture.site.request(Method::DELETE, "/api/v1/channels/river/team/leaver")
        }),
        call!("list_invites", 200, 401, |fixture| get("/api/v1/channels/river/invites")(fixture)),
        call!("create_invite", 201, 401, |fixture| {
            fixture.site.post("/api/v1/channels/river/invites", &json!({"days": 7}))
        }),
        // With one that is good: tests/it/invites.rs.
        call!("revoke_invite", 404, 401, |fixture| {
            fixture.site.request(Method::DELETE, "/api/v1/channels/river/invites/none")
        }),
        call!("use_invite", 404, 404, |fixture| {
            // As if it were ours, so that the log is asked.
            let invite = commands::invites::secret(&fixture.site.commands, uuid::Uuid::nil().into());
            fixture.site.post("/api/v1/invites/use", &json!({"invite": invite}))
        }),
        call!("get_ingest_status", 200, 401, |fixture| get("/api/v1/channels/river/ingest")(fixture)),
        call!("list_streams", 200, 200, |fixture| get("/api/v1/streams")(fixture)),
        call!("get_stream", 200, 200, |fixture| {
            fixture.site.get(&format!("/api/v1/streams/{}", fixture.stream_id))
        }),
        call!("list_recordings", 200, 200, |fixture| get("/api/v1/channels/river/recordings")(fixture)),
        call!("get_recording", 200, 200, |fixture| fixture.site.get(&fixture.recordings[0])),
        call!("edit_recording", 200, 401, |fixture| {
            fixture.site.patch(&fixture.recordings[0], &json!({"title": "Again"}))
        }),
        call!("download_recording", 302, 403, |fixture| {
            fixture.site.get(&format!("{}/download", fixture.recordings[0]))
        }),
        call!("delete_recording", 204, 401, |fixture| { fixture.site.request(Method::DELETE, &fixture.recordings[1]) }),
        call!("get_recording_settings", 200, 401, |fixture| {
            get("/api/v1/channels/river/recording-settings")(fixture)
        }),
        call!("change_recording_settings", 200, 401, |fixture| {
            fixture.site.request(Method::PUT, "/api/v1/channels/river/recording-settings").json(&json!({"is_on": true}))
        }),
        call!("get_registration", 200, 200, |fixture| get("/api/v1/registration")(fixture)),
        call!("get_settings", 200, 401, |fixture| get("/api/v1/admin/settings")(fixture)),
        call!("change_settings", 200, 401, |fixture| {
            fixture.site.patch("/api/v1/admin/settings", &json!({"registration": "open"}))
        }),
        call!("list_registration_invites", 200, 401, |fixture| { get("/api/v1/admin/registration-invites")(fixture) }),
        call!("create_registration_invite", 201, 401, |fixture| {
            fixture.site.post("/api/v1/admin/registration-invites", &json!({"max_uses": 3, "days": 7}))
        }),
        // With one that is good: tests/it/registrations.rs.
        call!("revoke_registration_invite", 404, 401, |fixture| {
            fixture.site.request(Method::DELETE, "/api/v1/admin/registration-invites/none")
        }),
        call!("list_events", 200, 401, |fixture| get("/api/v1/events")(fixture)),
        call!("subscribe_events", 200, 401, |fixture| get("/api/v1/events/subscribe")(fixture)),
        call!("list_event_types", 200, 200, |fixture| get("/api/v1/events/types")(fixture)),
        call!("get_event_schema", 200, 200, |fixture| get("/api/v1/events/schemas/channel.created/1")(fixture)),
        call!("create_export", 202, 401, |fixture| fixture.site.post("/api/v1/exports", &json!({"format": "csv"}))),
        call!("list_exports", 200, 401, |fixture| get("/api/v1/exports")(fixture)),
        call!("get_export", 200, 401, |fixture| fixture.site.get(&fixture.exports[0])),
        call!("delete_export", 204, 401, |fixture| fixture.site.request(Method::DELETE, &fixture.exports[1])),
        call!("download_export", 200, 200, |fixture| fixture.site.get(&fixture.exports[2])),
        call!("create_report", 201, 401, |fixture| {
            let id = &fixture.stream_id;
            let body = json!({"target_kind": "stream", "target_id": id, "kind": "rules", "text": "Not right"});
            fixture.site.post("/api/v1/reports", &body)
        }),
        call!("list_own_reports", 200, 401, |fixture| get("/api/v1/me/reports")(fixture)),
        call!("list_reports", 200, 401, |fixture| get("/api/v1/admin/reports")(fixture)),
        // With one that there is: tests/it/moderation.rs.
        call!("get_report", 404, 401, |fixture| get("/api/v1/admin/reports/none")(fixture)),
        call!("decide_report", 404, 401, |fixture| {
            let path = format!("/api/v1/admin/reports/{}/decision", uuid::Uuid::nil());
            fixture.site.request(Method::PUT, &path).json(&json!({"verdict": "dismissed", "action": "none"}))
        }),
        call!("list_administered_accounts", 200, 401, |fixture| get("/api/v1/admin/accounts")(fixture)),
        call!("get_administered_account", 200, 401, |fixture| fixture.site.get(&administered(fixture))),
        call!("suspend_account", 200, 401, |fixture| {
            let path = format!("{}/suspension", administered(fixture));
            fixture.site.request(Method::PUT, &path).json(&json!({"reason": "Two warnings"}))
        }),
        call!("reinstate_account", 200, 401, |fixture| {
            fixture.site.request(Method::DELETE, &format!("{}/suspension", administered(fixture)))
        }),
        call!("grant_administrator", 200, 401, |fixture| {
            let path = format!("{}/administrator", administered(fixture));
            fixture.site.request(Method::PUT, &path).json(&json!({"password": PASSWORD}))
        }),
        call!("revoke_administrator", 200, 401, |fixture| {
            let path = format!("{}/administrator", administered(fixture));
            fixture.site.request(Method::DELETE, &path).json(&json!({"password": PASSWORD}))
        }),
        call!("logout", 204, 204, |fixture| fixture.site.request(Method::POST, "/api/v1/auth/logout")),
    ]
}

/// Somebody whom administrators look at.
fn administered(fixture: &Fixture) -> String {
    format!("/api/v1/admin/accounts/{}", fixture.leaver.account["id"].as_str().unwrap())
}

pub(crate) fn takes(operation: &Value, way: &str) -> bool {
    operation["security"].as_array().is_some_and(|ways| ways.iter().any(|needed| needed.get(way).is_some()))
}

async fn made_exports(site: &Site, keeper: &SignedIn) -> [String; 3] {
    let export = exports::ready(site, keeper, "csv").await;
    let file = exports::download_path(site, keeper, &export).await;
    [export, exports::waiting(site, keeper, "csv").await, file]
}

#[tokio::test]
async fn every_operation_is_called_by_who_may_and_by_who_may_not() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let leaver = site.register("leaver").await;
    let channel = site.channel(&keeper, "river").await;
    let stream_id = site.start_stream(&channel).await.to_string();
    let exports = made_exports(&site, &keeper).await;
    let recordings = [recordings::ready(&site, &channel).await, recordings::ready(&site, &channel).await];
    let (session_id, token) = sessions::one_of_each(&site, &keeper).await;
    let fixture = Fixture { site, keeper, leaver, stream_id, exports, recordings, session_id, token };
    let calls = calls();
    let names: Vec<_> = operations().map(|(_, _, operation)| operation["operationId"].as_str().unwrap()).collect();
    for name in &names {
        assert!(calls.iter().any(|call| call.operation == *name), "no test calls {name}: add it to calls()");
    }
    for call in &calls {
        let (_, _, operation) =
            operations().find(|(_, _, o)| o["operationId"] == call.operation).unwrap_or_else(|| {
                panic!("{} is no operation of the document", call.operation);
            });
        let request = (call.request)(&fixture);
        let request = if takes(operation, "access_token") {
            let somebody_wrong = (call.request)(&fixture).bearer_auth("not.a.token");
            let answer = fixture.site.send(somebody_wrong).await;
            assert_eq!(answer.problem(), (401, "unauthenticated".to_owned()), "{} with a wrong token", call.operation);
            request.bearer_auth(&fixture.keeper.token)
        } else if takes(operation, "refresh_cookie") {
            request.header(COOKIE, &fixture.leaver.cookie)
        } else {
            request
        };
        let answer = fixture.site.send(request).await;
        assert_eq!(answer.status, call.status, "{}: {}", call.operation, answer.text());
        let nobody = fixture.site.send((call.request)(&fixture)).await;
        assert_eq!(nobody.status, call.unauthenticated, "{} by nobody: {}", call.operation, nobody.text());
    }
}

#[tokio::test]
async fn nothing_works_while_postgres_is_away_and_all_say_so() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let channel = site.channel(&keeper, "river").await;
    let stream_id = site.start_stream(&channel).await.to_string();
    let exports = made_exports(&site, &keeper).await;
    let recordings = [recordings::ready(&site, &channel).await, recordings::ready(&site, &channel).await];
    let (session_id, token) = sessions::one_of_each(&site, &keeper).await;
    let fixture = Fixture { leaver: keeper.clone(), keeper, stream_id, exports, recordings, session_id, token, site };
    fixture.site.lose_postgres().await;
    // An address that nobody signed is refused without asking anybody, and that a session goes on is known for a moment.
    let without = [
        "check_health",
        "check_readiness",
        "get_document",
        "list_event_types",
        "get_event_schema",
        "download_personal_export",
        "watch_session",
    ];
    for call in calls().iter().filter(|call| !without.contains(&call.operation)) {
        let request =
            (call.request)(&fixture).bearer_auth(&fixture.keeper.token).header(COOKIE, &fixture.keeper.cookie);
        let answer = fixture.site.send(request).await;
        assert_eq!(answer.problem(), (503, "unavailable".to_owned()), "{}", call.operation);
        assert_eq!(answer.header("retry-after"), "1");
    }
}

#[test]
fn the_document_is_whole() {
    let mut names: Vec<_> = operations().map(|(_, _, o)| o["operationId"].as_str().unwrap()).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "two operations have the same id");
    let tags: Vec<_> = DOCUMENT["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    for (method, path, operation) in operations() {
        let context = format!("{method} {path}");
        assert!(operation["summary"].is_string(), "{context} has no summary");
        for tag in operation["tags"].as_array().unwrap() {
            assert!(tags.contains(&tag), "{context}: the frame has no tag {tag}");
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].is_string(), "{context}: {parameter}");
            assert!(parameter["name"].as_str().unwrap().parse::<HeaderName>().is_ok(), "{context}: {parameter}");
        }
    }
    for (name, schema) in DOCUMENT["components"]["schemas"].as_object().unwrap() {
        assert!(schema["description"].is_string(), "{name} has no description");
        let is_request = name.ends_with("Request");
        assert_eq!(schema["additionalProperties"] == false, is_request, "{name}: requests alone refuse unknown fields");
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            let choices = property["oneOf"].as_array();
            let described = property["description"].is_string()
                || choices.is_some_and(|choices| choices.iter().any(|choice| choice["description"].is_string()));
            assert!(described, "{name}.{field} has no description: {property}");
            let shows_elsewhere = property.get("$ref").is_some() || choices.is_some() || property["type"] == "array";
            let has_example = property.get("example").or(property.get("examples")).is_some();
            assert!(has_example || shows_elsewhere, "{name}.{field} has no example");
        }
    }
}
