use api::{AccessOptions, Check};
use insta::assert_json_snapshot;
use reqwest::{Method, header::ACCEPT_ENCODING};
use serde_json::json;
use uuid::Uuid;

use crate::{
    call_lines::Lines,
    limits::timeless,
    redact::redact,
    site::{Behaviour, Options, PASSWORD, Site, registration},
};

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; media-src 'self' blob:; worker-src 'self'; \
    manifest-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

#[tokio::test]
async fn health_and_readiness() {
    let site = Site::start().await;
    let health = site.send(site.get("/healthz")).await;
    assert_eq!((health.status, health.json()), (200, json!({"status": "ok"})));
    let ready = site.send(site.get("/readyz")).await;
    assert_eq!((ready.status, ready.header("cache-control")), (200, "no-store"));
    assert_json_snapshot!("ready", ready.json());
    site.media.failing.lock().unwrap().push(Check { name: "nats", ok: false, detail: "does not answer".to_owned() });
    let not_ready = site.send(site.get("/readyz")).await;
    assert_eq!((not_ready.status, not_ready.header("retry-after")), (503, "1"));
    assert_json_snapshot!("not_ready", redact(not_ready.json()));
}

#[tokio::test]
async fn a_panic_is_500_and_says_nothing() {
    let site = Site::start().await;
    *site.media.readiness.lock().unwrap() = Behaviour::Panic;
    let answer = site.send(site.get("/readyz")).await;
    assert_eq!(answer.status, 500);
    assert_json_snapshot!("panic", redact(answer.json()));
    *site.media.readiness.lock().unwrap() = Behaviour::Answer;
    assert_eq!(site.send(site.get("/readyz")).await.status, 200);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let site = Site::start().await;
    *site.media.readiness.lock().unwrap() = Behaviour::Hang;
    // Only when nothing but the time limit is waited for: while time is paused, whoever waits for the network loses all of it.
    let pausing = async {
        site.media.hanging.notified().await;
        tokio::time::pause();
    };
    let (answer, ()) = tokio::join!(site.send(site.get("/readyz")), pausing);
    assert_eq!(answer.problem(), (503, "unavailable".to_owned()));
}

/// A site to which this test is a proxy that it trusts.
async fn behind_a_proxy() -> Site {
    let access = AccessOptions { trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()], ..AccessOptions::default() };
    Site::with(Options { access, ..Options::default() }).await
}

#[tokio::test]
async fn request_ids_of_trusted_proxies_are_kept_when_they_are_harmless() {
    let site = behind_a_proxy().await;
    for id in ["0193-x.Y_z", "a", &"x".repeat(64)] {
        let answer = site.send(site.get("/api/v1/nothing").header("x-request-id", id)).await;
        assert_eq!((answer.header("x-request-id"), &answer.json()["request_id"]), (id, &json!(id)));
    }
    for id in ["", "a b", "<script>", "caf\u{e9}", &"x".repeat(65)] {
        let answer = site.send(site.get("/healthz").header("x-request-id", id.as_bytes())).await;
        assert!(Uuid::parse_str(answer.header("x-request-id")).is_ok(), "{id}");
    }
    // Of anybody else none is.
    let site = Site::start().await;
    for path in ["/healthz", "/api/v1/nothing"] {
        let answer = site.send(site.get(path).header("x-request-id", "0193-x.Y_z")).await;
        assert!(Uuid::parse_str(answer.header("x-request-id")).is_ok(), "{path}");
    }
}

#[tokio::test]
async fn nothing_is_redirected_to_https_in_silence() {
    let site = Site::with(Options { public_url: "https://weir.test", ..Options::default() }).await;
    for path in ["/", "/healthz", "/api/v1/channels", "/api/v1/nothing"] {
        let answer = site.send(site.get(path).header("x-forwarded-proto", "http")).await;
        assert!(!(300..400).contains(&answer.status), "{path}: {}", answer.status);
        assert_eq!(answer.header("location"), "", "{path}");
    }
}

#[tokio::test]
async fn browsers_are_told_what_is_allowed() {
    let site = Site::start().await;
    for path in ["/", "/docs/", "/api/v1/channels", "/api/v1/nothing", "/healthz"] {
        let answer = site.send(site.get(path)).await;
        assert_eq!(answer.header("content-security-policy"), CONTENT_SECURITY_POLICY, "{path}");
        assert_eq!(answer.header("strict-transport-security"), "", "{path}: plain http");
        for name in ["cross-origin-opener-policy", "cross-origin-resource-policy"] {
            assert_eq!(answer.header(name), "same-origin", "{path}");
        }
        assert!(answer.header("permissions-policy").contains("camera=()"), "{path}");
    }
    let mira = site.register("mira").await;
    for path in ["/api/v1/auth/me", "/api/v1/nothing"] {
        let answer = site.send(site.get(path).bearer_auth(&mira.token)).await;
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
    let mine = site.send(site.get("/api/v1/channels?mine=true").bearer_auth(&mira.token)).await;
    assert_eq!(mine.header("cache-control"), "private, no-cache");
}

#[tokio::test]
async fn browsers_stay_with_https_once_it_is_public() {
    let site = Site::with(Options { public_url: "https://weir.test", ..Options::default() }).await;
    for path in ["/", "/api/v1/channels", "/api/v1/nothing", "/healthz"] {
        let answer = site.send(site.get(path)).await;
        assert_eq!(answer.header("strict-transport-security"), "max-age=31536000; includeSubDomains", "{path}");
    }
}

#[tokio::test]
async fn large_answers_come_compressed() {
    let site = Site::start().await;
    for (encoding, path, expected) in [
        ("br, gzip", "/api/v1/openapi.json", "br"),
        ("gzip", "/api/v1/openapi.json", "gzip"),
        ("identity", "/api/v1/openapi.json", ""),
        ("br", "/healthz", ""),
    ] {
        let request = site.get(path).header(ACCEPT_ENCODING, encoding).build().unwrap();
        let answer = site.http.execute(request).await.unwrap();
        let got = answer.headers().get("content-encoding").map_or("", |value| value.to_str().unwrap());
        assert_eq!(got, expected, "{path} {encoding}");
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let site = Site::start().await;
    for path in ["/healthz", "/api/v1/channels", "/api/v1/openapi.json", "/"] {
        let answer = site.send(site.request(Method::HEAD, path)).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{path}");
    }
    assert_eq!(site.send(site.request(Method::HEAD, "/api/v1/nothing")).await.status, 404);
}

#[tokio::test]
async fn every_call_is_one_line_without_secrets() {
    let site = behind_a_proxy().await;
    let lines = Lines::default();
    let subscriber =
        tracing_subscriber::fmt().json().with_max_level(tracing::Level::INFO).with_writer(lines.clone()).finish();
    // With a single subscriber tracing asks the thread that comes to a line first, of whatever test, and remembers that
    // nobody listens there.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    // The server runs on this very thread.
    let _guard = tracing::subscriber::set_default(subscriber);
    tracing::callsite::rebuild_interest_cache();
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    site.send(site.get("/api/v1/channels/river?x=secret")).await;
    site.send(site.get("/api/v1/channels/nobody")).await;
    site.send(site.get("/api/v1/nothing")).await;
    site.send(site.get("/")).await;
    site.send(site.post("/api/v1/auth/login", &registration("mira"))).await;
    // Where a token has to stand in the query.
    let export = Uuid::now_v7();
    site.send(site.get("/api/v1/me/export/download?token=secret")).await;
    site.send(site.get(&format!("/api/v1/exports/{export}/download?token=secret"))).await;
    site.lose_postgres().await;
    site.send(site.get("/api/v1/channels/river").header("x-request-id", "r-1")).await;
    let calls: Vec<_> = lines
        .calls()
        .iter()
        .map(|line| {
            let field = |name: &str| line["fields"][name].as_str().unwrap_or("-").to_owned();
            let status = line["fields"]["http.status"].as_u64().unwrap();
            assert!(line["fields"]["duration_ms"].is_f64(), "{line}");
            assert!(!line["fields"]["request.id"].is_null(), "{line}");
            assert_eq!(line["fields"]["client.address"], "127.0.0.0/24", "{line}");
            (
                line["level"].as_str().unwrap().to_owned(),
                field("http.method"),
                field("http.route"),
                status,
                field("problem.code"),
            )
        })
        .collect();
    let (calls, downloads): (Vec<_>, Vec<_>) =
        calls.into_iter().partition(|(_, _, route, ..)| !route.ends_with("/download"));
    assert_eq!(downloads.len(), 2, "{downloads:?}");
    let expected = [
        ("INFO", "POST", "/api/v1/auth/register", 201, "-"),
        ("INFO", "POST", "/api/v1/channels", 201, "-"),
        ("INFO", "GET", "/api/v1/channels/{handle}", 200, "-"),
        ("INFO", "GET", "/api/v1/channels/{handle}", 404, "not_found"),
        ("INFO", "GET", "", 404, "not_found"),
        ("INFO", "POST", "/api/v1/auth/login", 422, "validation_failed"),
        ("WARN", "GET", "/api/v1/channels/{handle}", 503, "unavailable"),
    ];
    assert_eq!(calls, expected.map(|(a, b, c, d, e)| (a.to_owned(), b.to_owned(), c.to_owned(), d, e.to_owned())));
    let all = lines.calls();
    assert_eq!(all[1]["fields"]["account.id"], mira.account["id"]);
    let last = all.last().unwrap();
    assert_eq!(last["fields"]["request.id"], "r-1");
    assert!(last["fields"]["error"].as_str().unwrap().contains("queried"), "{last}");
    let text = lines.text();
    for secret in [PASSWORD, &mira.token, mira.cookie.split_once('=').unwrap().1, "mira@example.org", "secret"] {
        assert!(!text.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn a_proxy_that_nobody_named_by_its_address_is_told_of_once() {
    for (trusted, expected) in [(vec![], 1), (vec!["10.9.9.9/32"], 1), (vec!["127.0.0.1/32"], 0)] {
        let access = AccessOptions {
            trusted_proxies: trusted.iter().map(|net| net.parse().unwrap()).collect(),
            rate_limits: Some(timeless()),
            ..AccessOptions::default()
        };
        let site = Site::with(Options { access, ..Options::default() }).await;
        let lines = Lines::default();
        let subscriber =
            tracing_subscriber::fmt().json().with_max_level(tracing::Level::WARN).with_writer(lines.clone()).finish();
        // As in the test above.
        let _second = tracing::Dispatch::new(tracing_subscriber::registry());
        let _guard = tracing::subscriber::set_default(subscriber);
        tracing::callsite::rebuild_interest_cache();
        for _ in 0..3 {
            // From somewhere in the same house, which is no proxy.
            site.send(site.get("/healthz").header("x-forwarded-for", "192.168.1.7")).await;
        }
        let text = lines.text();
        let told = text.lines().filter(|line| line.contains("through a proxy that is not trusted")).count();
        assert_eq!(told, expected, "{trusted:?}: {text}");
    }
}
