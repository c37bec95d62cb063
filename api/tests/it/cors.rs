//! Other sites' pages, and what they may.

use api::AccessOptions;
use reqwest::Method;

use crate::site::{Options, Site};

const FRIEND: &str = "https://app.example.org";

async fn with_a_friend() -> Site {
    let access = AccessOptions { cors_origins: vec![FRIEND.to_owned()], ..AccessOptions::default() };
    Site::with(Options { access, ..Options::default() }).await
}

#[tokio::test]
async fn a_page_of_a_named_site_may_call_and_no_other() {
    let site = with_a_friend().await;
    for (origin, allowed) in [(FRIEND, FRIEND), ("https://evil.example.org", ""), ("null", "")] {
        let answer = site.send(site.get("/api/v1/channels").header("origin", origin)).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, allowed), "{origin}");
        assert!(answer.headers.get_all("vary").iter().any(|value| value == "origin"), "{origin}");
        assert_eq!(answer.header("access-control-allow-credentials"), "", "cookies are our own pages' alone");
        // Refusals can be read, too.
        let refused = site.send(site.get("/api/v1/auth/me").header("origin", origin)).await;
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, allowed), "{origin}");
    }
    let page = site.send(site.get("/").header("origin", FRIEND)).await;
    assert_eq!(page.header("access-control-allow-origin"), "", "pages are no API");
}

#[tokio::test]
async fn a_browser_asks_before_it_calls() {
    let site = with_a_friend().await;
    let ask = |origin: &'static str| {
        site.request(Method::OPTIONS, "/api/v1/channels")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
    };
    let allowed = site.send(ask(FRIEND)).await;
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (204, FRIEND));
    assert!(allowed.header("access-control-allow-methods").contains("PATCH"));
    assert!(allowed.header("access-control-allow-headers").contains("authorization"));
    let refused = site.send(ask("https://evil.example.org")).await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (405, ""));
}

#[tokio::test]
async fn without_named_sites_nothing_is_said() {
    let site = Site::start().await;
    let answer = site.send(site.get("/api/v1/channels").header("origin", FRIEND)).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, ""));
    assert!(!answer.headers.get_all("vary").iter().any(|value| value == "origin"));
}

#[tokio::test]
async fn cookies_are_of_no_use_to_other_sites() {
    let site = with_a_friend().await;
    let mira = site.register("mira").await;
    for (name, value) in [("origin", FRIEND), ("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site")] {
        for path in ["/api/v1/auth/refresh", "/api/v1/auth/logout"] {
            let request = site.request(Method::POST, path).header("cookie", &mira.cookie).header(name, value);
            assert_eq!(site.send(request).await.problem(), (403, "cross_site".to_owned()), "{path} {name}: {value}");
        }
    }
    let still = site.request(Method::POST, "/api/v1/auth/refresh").header("cookie", &mira.cookie);
    assert_eq!(site.send(still.header("sec-fetch-site", "same-origin")).await.status, 200);
}
