use reqwest::{
    Method,
    header::{ACCEPT_ENCODING, IF_NONE_MATCH},
};
use serde_json::json;

use crate::site::{Options, Site};

/// The page that says nothing of itself.
pub(crate) const INDEX: &str = "<!doctype html><html><head><title>Weir</title>\
    <meta name=\"description\" content=\"Live streams.\" /></head><body></body></html>";

pub(crate) async fn site() -> Site {
    let web_app = vec![
        ("index.html", INDEX),
        ("index.html.br", "brotli of the bare page"),
        ("favicon.svg", "<svg/>"),
        ("preloads.json", r#"{"channel":{"scripts":["assets/player-1.js"],"styles":["assets/player-2.css"]}}"#),
        ("theme.js", "theme()"),
        ("assets/app-3f2a.js", "console.log('plain')"),
        ("assets/app-3f2a.js.br", "brotli"),
        ("assets/app-3f2a.js.gz", "gzip"),
        ("assets/inter-77aa.woff2", "font"),
    ];
    Site::with(Options { web_app, ..Options::default() }).await
}

#[tokio::test]
async fn hashed_files_are_kept_for_ever_and_come_compressed() {
    let site = site().await;
    for (accept, encoding, body) in [
        ("gzip, deflate, br", "br", "brotli"),
        ("gzip", "gzip", "gzip"),
        ("gzip;q=0.5, br;q=0", "gzip", "gzip"),
        ("identity", "", "console.log('plain')"),
    ] {
        let answer = site.send(site.get("/assets/app-3f2a.js").header(ACCEPT_ENCODING, accept)).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, body), "{accept}");
        assert_eq!(answer.header("content-encoding"), encoding);
        assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(answer.header("vary"), "accept-encoding");
        assert_eq!(answer.kind(), "text/javascript; charset=utf-8");
        let again = site.get("/assets/app-3f2a.js").header(IF_NONE_MATCH, answer.header("etag"));
        assert_eq!(site.send(again).await.status, 304);
    }
    let font = site.send(site.get("/assets/inter-77aa.woff2").header(ACCEPT_ENCODING, "br")).await;
    assert_eq!((font.kind(), font.header("content-encoding"), font.header("vary")), ("font/woff2", "", ""));
    let icon = site.send(site.get("/favicon.svg")).await;
    assert_eq!((icon.kind(), icon.header("cache-control")), ("image/svg+xml", "no-cache"));
}

#[tokio::test]
async fn pages_are_the_index_and_are_asked_for_each_time() {
    let site = site().await;
    for path in ["/", "/index.html", "/sign-in", "/dashboard/river", "/nobody", "/a/b/c", "/caf%C3%A9", "/%FF"] {
        let answer = site.send(site.get(path).header(ACCEPT_ENCODING, "br")).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, INDEX), "{path}");
        assert_eq!((answer.kind(), answer.header("cache-control")), ("text/html; charset=utf-8", "no-cache"));
        let again = site.get(path).header(IF_NONE_MATCH, answer.header("etag"));
        assert_eq!(site.send(again).await.status, 304);
    }
}

#[tokio::test]
async fn files_that_are_not_there_are_problems() {
    let site = site().await;
    for path in [
        "/assets/app-0000.js",
        "/assets/",
        "/assets/x",
        "/robots.txt",
        "/a/b.png",
        "/index.html.br",
        "/assets/app-3f2a.js.br",
        "/.env",
        "/../Cargo.toml",
        "/assets/../../Cargo.toml",
        "/assets/..%2f..%2fCargo.toml",
    ] {
        let answer = site.send(site.get(path)).await;
        assert_eq!(answer.problem(), (404, "not_found".to_owned()), "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
    let posted = site.send(site.request(Method::POST, "/sign-in")).await;
    assert_eq!(posted.problem(), (405, "method_not_allowed".to_owned()));
    assert_eq!(posted.header("allow"), "GET,HEAD");
}

#[tokio::test]
async fn a_channels_page_says_what_it_shows() {
    let site = site().await;
    let mira = site.register("mira").await;
    let body =
        json!({"handle": "river", "title": "</title><script>alert(\"1\")</script>", "description": "A & 'B'\n\"C\""});
    let created = site.send(site.post("/api/v1/channels", &body).bearer_auth(&mira.token)).await;
    let offline = site.send(site.get("/River")).await;
    insta::assert_snapshot!("page_offline", offline.text().replace('>', ">\n"));
    let stream_id = site.start_stream(&created.json()).await;
    let live = site.send(site.get("/river/")).await;
    let channel_id = created.json()["id"].as_str().unwrap().to_owned();
    let text = live.text().replace(&stream_id.to_string(), "[id]").replace(&channel_id, "[channel]");
    let text = text.replace('>', ">\n");
    insta::assert_snapshot!("page_live", text);
    assert_ne!(live.header("etag"), offline.header("etag"));
    // A page is shown whether or not more can be said about it.
    site.lose_postgres().await;
    assert_eq!(site.send(site.get("/river")).await.text(), INDEX);
}

#[tokio::test]
async fn a_web_app_that_was_not_built_says_so() {
    let site = Site::start().await;
    let answer = site.send(site.get("/")).await;
    assert_eq!((answer.status, answer.kind()), (200, "text/html; charset=utf-8"));
    assert!(answer.text().contains("The web app was not built: run <code>make build</code>"));
    assert_eq!(site.send(site.get("/assets/app.js")).await.status, 404);
}

#[tokio::test]
async fn swagger_ui_shows_the_document() {
    let site = Site::start().await;
    let bare = site.send(site.get("/docs")).await;
    assert_eq!((bare.status, bare.header("location")), (303, "/docs/"));
    let page = site.send(site.get("/docs/")).await;
    assert_eq!(page.status, 200);
    assert!(!page.text().contains("<script>"), "inline scripts are not allowed by the policy");
    let start = site.send(site.get("/docs/swagger-initializer.js")).await;
    assert!(start.text().contains("/api/v1/openapi.json"), "{}", start.text());
    assert_eq!(site.send(site.get("/docs/swagger-ui-bundle.js")).await.status, 200);
    assert_eq!(site.send(site.get("/docs/nothing.js")).await.problem(), (404, "not_found".to_owned()));
    let document = site.send(site.get("/api/v1/openapi.json")).await;
    assert_eq!(document.json(), *crate::contract::DOCUMENT);
}
