//! How often one may ask, and who is asked for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use api::{AccessOptions, RateLimits};
use reqwest::RequestBuilder;
use serde_json::json;

use crate::{
    site::{Options, PASSWORD, SignedIn, Site, registration},
    web_app::INDEX,
};

/// Time that goes by when a test says so, however long its requests take.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn pass(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    fn limits(&self) -> RateLimits {
        let seconds = Arc::clone(&self.0);
        RateLimits::with_clock([7; 32], move || Duration::from_secs(seconds.load(Ordering::SeqCst)))
    }
}

/// Limits of which nothing comes back: for them no time goes by.
pub(crate) fn timeless() -> RateLimits {
    Clock::default().limits()
}

/// With these limits, and as if the test were a proxy, so that it can be many.
fn access(limits: RateLimits) -> AccessOptions {
    AccessOptions {
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        rate_limits: Some(limits),
        ..AccessOptions::default()
    }
}

async fn limited() -> (Site, Clock) {
    let clock = Clock::default();
    (Site::with(Options { access: access(clock.limits()), ..Options::default() }).await, clock)
}

fn from(address: &str, request: RequestBuilder) -> RequestBuilder {
    request.header("x-forwarded-for", address)
}

fn sign_in(site: &Site, username: &str, password: &str) -> RequestBuilder {
    site.post("/api/v1/auth/login", &json!({"username": username, "password": password}))
}

/// The item of a list of `"policy";a=1;b=2` that is about `policy`: the numbers.
fn item(list: &str, policy: &str) -> Vec<u32> {
    let item = list.split(", ").find(|item| item.starts_with(&format!("\"{policy}\";")));
    let item = item.unwrap_or_else(|| panic!("no {policy} in {list:?}"));
    item.split(';').skip(1).map(|parameter| parameter.split_once('=').unwrap().1.parse().unwrap()).collect()
}

#[tokio::test]
async fn an_address_has_a_quota_of_its_own_and_is_told() {
    let (site, clock) = limited().await;
    let ask = async || site.send(from("203.0.113.7", site.get("/api/v1/events/types"))).await;
    for left in (0..600).rev() {
        let answer = ask().await;
        assert_eq!(answer.status, 200);
        assert_eq!(item(answer.header("ratelimit-policy"), "address"), [600, 10]);
        let [remaining, seconds] = item(answer.header("ratelimit"), "address")[..] else { panic!("two numbers") };
        assert_eq!(remaining, left);
        assert!(seconds >= 1);
    }
    let refused = ask().await;
    assert_eq!(item(refused.header("ratelimit-policy"), "address"), [600, 10]);
    assert_eq!(refused.problem(), (429, "rate_limited".to_owned()));
    let wait: u32 = refused.header("retry-after").parse().unwrap();
    assert_eq!(item(refused.header("ratelimit"), "address"), [0, wait]);
    assert_eq!(refused.json()["request_id"], refused.header("x-request-id"));
    // Somebody else, health, and pages, which have a quota of their own, are not concerned.
    assert_eq!(site.send(from("203.0.113.8", site.get("/api/v1/events/types"))).await.status, 200);
    assert_eq!(site.send(from("203.0.113.7", site.get("/healthz"))).await.status, 200);
    let page = site.send(from("203.0.113.7", site.get("/"))).await;
    assert_eq!((page.status, page.header("ratelimit-policy")), (200, "\"page\";q=2000;w=10"));
    // What a client wrote itself changes nothing.
    let lied = site.get("/api/v1/events/types").header("x-forwarded-for", "6.6.6.6, 203.0.113.7");
    let lied = lied.header("forwarded", "for=6.6.6.6");
    assert_eq!(site.send(lied).await.status, 429);
    // It is refilled, 60 in a second.
    clock.pass(1);
    let answer = ask().await;
    assert_eq!((answer.status, item(answer.header("ratelimit"), "address")[0]), (200, 59));
}

#[tokio::test]
async fn whoever_is_signed_in_is_counted_by_account() {
    let (site, _) = limited().await;
    let mira = site.register("mira").await;
    let answer = site.send(from("203.0.113.7", site.get("/api/v1/auth/me").bearer_auth(&mira.token))).await;
    assert_eq!(answer.header("ratelimit-policy"), "\"account\";q=300;w=10");
    assert_eq!(item(answer.header("ratelimit"), "account")[0], 299);
    // The address got back what it gave.
    let answer = site.send(from("203.0.113.7", site.get("/api/v1/events/types"))).await;
    assert_eq!(item(answer.header("ratelimit"), "address")[0], 599);
    // A token that is worth nothing is the address's.
    let answer = site.send(from("203.0.113.9", site.get("/api/v1/auth/me").bearer_auth("a.b.c"))).await;
    assert_eq!((answer.status, item(answer.header("ratelimit"), "address")[0]), (401, 599));
}

#[tokio::test]
async fn guessing_a_password_ends_soon_and_knowing_it_costs_nothing() {
    let (site, clock) = limited().await;
    site.send(from("198.51.100.1", site.post("/api/v1/auth/register", &registration("mira")))).await;
    for _ in 0..3 {
        let answer = site.send(from("203.0.113.7", sign_in(&site, "mira", PASSWORD))).await;
        assert_eq!((answer.status, item(answer.header("ratelimit-policy"), "sign-in")), (200, vec![20, 60]));
    }
    for wrong in 0..10 {
        let answer = site.send(from("203.0.113.7", sign_in(&site, "MIRA", "a wrong password"))).await;
        assert_eq!(answer.problem(), (401, "credentials_wrong".to_owned()), "{wrong}");
    }
    // The right one as well: whoever guesses must not learn that it was right.
    let refused = site.send(from("203.0.113.7", sign_in(&site, "mira", PASSWORD))).await;
    assert_eq!(refused.problem(), (429, "rate_limited".to_owned()));
    assert!(refused.json()["detail"].as_str().unwrap().contains("with this username"), "{}", refused.text());
    // From their own address its owner gets in, and from that address somebody else does.
    assert_eq!(site.send(from("203.0.113.8", sign_in(&site, "mira", PASSWORD))).await.status, 200);
    let many = |number: usize| from("203.0.113.7", sign_in(&site, &format!("nobody_{number}"), "a wrong password"));
    let mut refused = None;
    for number in 0..12 {
        let answer = site.send(many(number)).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("many usernames from one address are the address's");
    assert_eq!(item(refused.header("ratelimit"), "sign-in")[0], 0);
    // One in 3 s.
    clock.pass(3);
    assert_eq!(site.send(many(99)).await.status, 401);
    assert_eq!(site.send(many(98)).await.status, 429);
}

#[tokio::test]
async fn guesses_from_one_address_are_counted_for_an_hour() {
    let (site, clock) = limited().await;
    site.send(from("198.51.100.1", site.post("/api/v1/auth/register", &registration("mira")))).await;
    for _ in 0..10 {
        assert_eq!(site.send(from("203.0.113.7", sign_in(&site, "mira", "a wrong password"))).await.status, 401);
    }
    let refused = site.send(from("203.0.113.7", sign_in(&site, "mira", PASSWORD))).await;
    assert_eq!(item(refused.header("ratelimit-policy"), "sign-in-as"), [10, 3_600]);
    assert_eq!(refused.header("retry-after"), "360", "10 an hour are one in 360 s");
    clock.pass(359);
    assert_eq!(site.send(from("203.0.113.7", sign_in(&site, "mira", PASSWORD))).await.status, 429);
    clock.pass(1);
    assert_eq!(site.send(from("203.0.113.7", sign_in(&site, "mira", PASSWORD))).await.status, 200);
}

#[tokio::test]
async fn many_addresses_of_one_network_keep_nobody_out() {
    let (site, _) = limited().await;
    site.send(from("198.51.100.1", site.post("/api/v1/auth/register", &registration("mira")))).await;
    let mut refused = None;
    for number in 0..100 {
        let address = format!("2001:db8:7:{number:x}::1");
        let answer = site.send(from(&address, sign_in(&site, "mira", "a wrong password"))).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a network has a part of all tries only");
    assert_eq!(item(refused.header("ratelimit-policy"), "sign-in-near"), [25, 3_600]);
    // What was refused took nothing from the others, and from elsewhere its owner gets in.
    for address in ["2001:db8:8::1", "203.0.113.8"] {
        assert_eq!(site.send(from(address, sign_in(&site, "mira", PASSWORD))).await.status, 200, "{address}");
    }
}

#[tokio::test]
async fn guessing_the_password_with_a_stolen_session_ends_soon() {
    let (site, clock) = limited().await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    let ask = async |who: &SignedIn, number: u8, password: &str| {
        let asked = site.post("/api/v1/auth/second-factor", &json!({"password": password}));
        site.send(from(&format!("203.0.113.{number}"), asked.bearer_auth(&who.token))).await
    };
    for number in 0..3 {
        assert_eq!(ask(&mira, number, PASSWORD).await.status, 200);
    }
    // Each from an address of its own.
    for number in 0..10 {
        let answer = ask(&mira, number, "a wrong password").await;
        assert_eq!(answer.problem(), (403, "password_wrong".to_owned()), "{number}");
    }
    let refused = ask(&mira, 77, PASSWORD).await;
    assert_eq!(refused.problem(), (429, "rate_limited".to_owned()));
    assert!(refused.json()["detail"].as_str().unwrap().contains("for your account"), "{}", refused.text());
    assert_eq!(refused.header("retry-after"), "30", "10 in five minutes are one in 30 s");
    assert_eq!(ask(&noor, 77, PASSWORD).await.status, 200, "others are not concerned");
    clock.pass(30);
    assert_eq!(ask(&mira, 77, PASSWORD).await.status, 200);
}

#[tokio::test]
async fn an_address_registers_a_few_accounts() {
    let (site, _) = limited().await;
    for number in 0..10 {
        let body = registration(&format!("mira_{number}"));
        assert_eq!(site.send(from("203.0.113.7", site.post("/api/v1/auth/register", &body))).await.status, 201);
    }
    let refused = site.send(from("203.0.113.7", site.post("/api/v1/auth/register", &registration("mira_10")))).await;
    assert_eq!(refused.problem(), (429, "rate_limited".to_owned()));
    assert_eq!(refused.header("retry-after"), "360", "10 an hour are one in 360 s");
}

#[tokio::test]
async fn another_node_that_is_told_refuses_too() {
    let (here, there) = (timeless(), timeless());
    let site = Site::with(Options { access: access(here.clone()), ..Options::default() }).await;
    assert!(here.messages().is_empty());
    for _ in 0..5 {
        site.send(from("203.0.113.7", site.get("/api/v1/events/types"))).await;
    }
    let messages = here.messages();
    assert_eq!(messages.len(), 1);
    assert!(!messages[0].windows(9).any(|part| part == b"203.0.113"), "no address travels");
    there.learn(&messages[0]);
    let other = Site::with(Options { access: access(there), ..Options::default() }).await;
    let answer = other.send(from("203.0.113.7", other.get("/api/v1/events/types"))).await;
    assert_eq!(item(answer.header("ratelimit"), "address")[0], 594);
}

#[tokio::test]
async fn pages_pictures_and_readiness_have_a_wide_quota_and_files_have_none() {
    let (here, there) = (timeless(), timeless());
    let site = Site::with(Options { access: access(here.clone()), ..Options::default() }).await;
    assert!(here.messages().is_empty());
    let picture = "/media/avatars/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01/0123.jpg";
    for path in ["/", "/somebody", "/readyz", picture] {
        let answer = site.send(from("203.0.113.7", site.get(path))).await;
        assert_eq!(item(answer.header("ratelimit-policy"), "page"), [2_000, 10], "{path}");
    }
    for path in ["/healthz", "/assets/none.js", "/docs/"] {
        assert_eq!(site.send(from("203.0.113.7", site.get(path))).await.header("ratelimit"), "", "{path}");
    }
    // Instead of two thousand requests: another node is told of them.
    let told = here.messages();
    let web_app = vec![("index.html", INDEX)];
    let other = Site::with(Options { access: access(there.clone()), web_app, ..Options::default() }).await;
    (0..500).for_each(|_| told.iter().for_each(|message| there.learn(message)));
    let refused = async |request: RequestBuilder| {
        let refused = other.send(from("203.0.113.7", request)).await;
        assert_eq!(refused.status, 429, "{}", refused.text());
        refused
    };
    let program = refused(other.get("/somebody")).await;
    assert_eq!(program.problem(), (429, "rate_limited".to_owned()));
    assert_eq!(item(program.header("ratelimit"), "page")[0], 0);
    // Somebody who goes there with a browser has a page to read, which says what is the matter as far as it concerns them.
    let browsers = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let browser = refused(other.get("/somebody").header("accept", browsers)).await;
    assert_eq!((browser.kind(), browser.text().as_str()), ("text/html; charset=utf-8", INDEX));
    assert_eq!((item(browser.header("ratelimit"), "page")[0], browser.header("cache-control")), (0, "no-store"));
    assert!(browser.header("retry-after").parse::<u32>().unwrap() >= 1);
    let image = refused(other.get(picture).header("accept", browsers)).await;
    assert_eq!(image.problem(), (429, "rate_limited".to_owned()));
    assert_eq!(other.send(from("203.0.113.8", other.get("/somebody"))).await.status, 200, "others are not concerned");
    assert_eq!(other.send(from("203.0.113.7", other.get("/healthz"))).await.status, 200);
}
