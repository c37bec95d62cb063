//! What people show of themselves, and what strangers send as a picture.

use std::io::Cursor;

use api::{AccessOptions, BODY_LIMIT_BYTES};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use reqwest::{
    Method, RequestBuilder,
    header::{CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH},
};
use serde_json::{Value, json};
use storage::Key;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    limits::timeless,
    site::{Answer, Options, PATIENCE, SignedIn, Site},
};

/// A picture of two halves, red above blue.
pub(crate) fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let colour = |y| if y < height / 2 { Rgb([220, 20, 20]) } else { Rgb([20, 20, 220]) };
    let mut file = Cursor::new(Vec::new());
    let picture = DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, |_, y| colour(y)));
    picture.write_to(&mut file, format).unwrap();
    file.into_inner()
}

pub(crate) fn upload(site: &Site, kind: &str, file: impl Into<reqwest::Body>) -> RequestBuilder {
    site.request(Method::PUT, "/api/v1/me/avatar").header(CONTENT_TYPE, kind).body(file)
}

async fn put(site: &Site, who: &SignedIn, kind: &str, file: Vec<u8>) -> Answer {
    site.send(upload(site, kind, file).bearer_auth(&who.token)).await
}

/// Sends and expects success.
async fn ok(site: &Site, request: RequestBuilder) -> Value {
    let answer = site.send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn edit(site: &Site, who: &SignedIn, body: &Value) -> RequestBuilder {
    site.patch("/api/v1/me", body).bearer_auth(&who.token)
}

async fn account(site: &Site, username: &str) -> Answer {
    site.send(site.get(&format!("/api/v1/accounts/{username}"))).await
}

/// Where a picture is, without the public address.
fn path(url: &Value) -> &str {
    url.as_str().unwrap().strip_prefix("http://weir.test").unwrap()
}

async fn stored(site: &Site) -> Vec<String> {
    let page = site.storage.list_prefix(&Key::new("avatars").unwrap(), None, 100).await.unwrap();
    page.objects.into_iter().map(|object| object.key.as_str().to_owned()).collect()
}

#[tokio::test]
async fn what_one_says_of_oneself_everybody_reads() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    let mine = site.send(site.get("/api/v1/me").bearer_auth(&mira.token)).await;
    assert_eq!(mine.header("cache-control"), "private, no-cache");
    let mine = mine.json();
    assert_eq!((&mine["username"], &mine["display_name"], &mine["bio"]), (&json!("mira"), &Value::Null, &json!("")));
    assert_eq!((&mine["avatar"], &mine["version"]), (&Value::Null, &json!(0)));

    let said = json!({"display_name": "  Міра of the river ", "bio": "Locks\nand ships"});
    let saved = ok(&site, edit(&site, &mira, &said)).await;
    assert_eq!(saved["display_name"], "Міра of the river");
    let seen = account(&site, "MIRA").await;
    let seen_json = seen.json();
    assert_eq!(seen_json["display_name"], "Міра of the river");
    assert_eq!((&seen_json["bio"], &seen_json["channel_count"]), (&json!("Locks\nand ships"), &json!(1)));
    assert!(seen_json.get("email").is_none() && seen_json.get("is_administrator").is_none(), "{seen_json}");
    let channel = ok(&site, site.get("/api/v1/channels/river")).await;
    assert_eq!(channel["owner"]["display_name"], "Міра of the river");

    // The same again is no change; what is left out stays, and what is empty goes.
    assert_eq!(ok(&site, edit(&site, &mira, &said)).await["version"], 1);
    let unchanged = site.get("/api/v1/accounts/mira").header(IF_NONE_MATCH, seen.header("etag"));
    assert_eq!(site.send(unchanged).await.status, 304);
    let saved = ok(&site, edit(&site, &mira, &json!({"bio": ""}))).await;
    assert_eq!((&saved["display_name"], &saved["bio"]), (&json!("Міра of the river"), &json!("")));
    let changed = site.get("/api/v1/accounts/mira").header(IF_NONE_MATCH, seen.header("etag"));
    assert_eq!(site.send(changed).await.status, 200);
    let saved = ok(&site, edit(&site, &mira, &json!({"display_name": " ", "bio": null}))).await;
    assert_eq!(saved["display_name"], Value::Null);
}

#[tokio::test]
async fn wrong_words_and_old_versions_are_refused() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let wrong = json!({"display_name": "two\nlines", "bio": "x".repeat(501)});
    let answer = site.send(edit(&site, &mira, &wrong)).await;
    assert_eq!(answer.problem(), (422, "validation_failed".to_owned()));
    let errors: Vec<_> = answer.json()["errors"].as_array().unwrap().iter().map(|e| e["pointer"].clone()).collect();
    assert_eq!(errors, ["/display_name", "/bio"]);
    let turned = site.send(edit(&site, &mira, &json!({"display_name": "gpj.\u{202e}exe"}))).await;
    assert_eq!(turned.json()["errors"][0]["code"], "characters");
    let unknown = site.send(edit(&site, &mira, &json!({"username": "root"}))).await;
    assert_eq!(unknown.problem().0, 422);

    let first = edit(&site, &mira, &json!({"bio": "one"})).header(IF_MATCH, "\"0\"");
    assert_eq!(site.send(first).await.status, 200);
    let late = edit(&site, &mira, &json!({"bio": "two"})).header(IF_MATCH, "\"0\"");
    assert_eq!(site.send(late).await.problem(), (412, "version_stale".to_owned()));
    assert_eq!(account(&site, "mira").await.json()["bio"], "one");
}

#[tokio::test]
async fn a_picture_is_made_small_kept_and_served_by_any_node() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let photo = turned(&picture(640, 480, ImageFormat::Jpeg), 6);
    let answer = put(&site, &mira, "image/jpeg", photo).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let first = answer.json();
    let other_node = site.another_node().await;
    for (size, side) in [("small_url", 64), ("large_url", 256)] {
        let url = path(&first["avatar"][size]);
        let served = site.http.get(format!("{other_node}{url}")).send().await.unwrap();
        assert_eq!(served.status(), 200);
        let header = |name: &str| served.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "image/jpeg");
        assert_eq!(header("cache-control"), "public, max-age=86400, immutable");
        assert_eq!(header("x-content-type-options"), "nosniff");
        let tag = header("etag");
        let bytes = served.bytes().await.unwrap();
        assert!(!bytes.windows(4).any(|word| word == b"Exif"));
        let shown = image::load_from_memory_with_format(&bytes, ImageFormat::Jpeg).unwrap().into_rgb8();
        assert_eq!(shown.dimensions(), (side, side));
        // Turned clockwise, what was above is on the right.
        let [left, right] = [2, side - 3].map(|x| *shown.get_pixel(x, side / 2));
        assert!(right.0[0] > 150 && right.0[2] < 80, "{right:?}");
        assert!(left.0[2] > 150 && left.0[0] < 80, "{left:?}");
        let again = site.send(site.get(url).header(IF_NONE_MATCH, tag)).await;
        assert_eq!((again.status, again.body.len()), (304, 0));
    }
    assert_eq!(account(&site, "mira").await.json()["avatar"], first["avatar"]);

    // Each upload has an address of its own, also of the same file.
    let file = picture(32, 32, ImageFormat::WebP);
    let second = put(&site, &mira, "image/webp", file.clone()).await.json();
    let third = put(&site, &mira, "image/webp", file).await.json();
    assert_ne!(first["avatar"], second["avatar"]);
    assert_ne!(second["avatar"], third["avatar"]);
    let removal = || site.request(Method::DELETE, "/api/v1/me/avatar").bearer_auth(&mira.token);
    assert_eq!(ok(&site, removal()).await["avatar"], Value::Null);
    assert_eq!(ok(&site, removal()).await["version"], 4, "again is no change");
    assert_eq!(account(&site, "mira").await.json()["avatar"], Value::Null);
}

/// The same JPEG with an orientation in its metadata (Exif 2.3, tag 0x0112).
fn turned(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, &exif, &jpeg[2..]].concat()
}

/// A PNG that says it has so many pixels.
fn claiming(width: u32, height: u32) -> Vec<u8> {
    let mut file = picture(8, 8, ImageFormat::Png);
    // The first chunk: its name and data from byte 12 on, then its checksum.
    file[16..20].copy_from_slice(&width.to_be_bytes());
    file[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = u32::MAX;
    for byte in &file[12..29] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    file[29..33].copy_from_slice(&(!crc).to_be_bytes());
    file
}

#[tokio::test]
async fn what_is_hostile_is_refused_by_its_name_and_leaves_nothing() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let png = picture(60, 40, ImageFormat::Png);
    let jpeg = picture(60, 40, ImageFormat::Jpeg);
    let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>".to_vec();
    let html = b"<!doctype html><script>alert(1)</script>".to_vec();
    for (name, kind, file, status, code) in [
        ("nothing", "image/png", Vec::new(), 415, "picture_kind_unsupported"),
        ("an SVG that says so", "image/svg+xml", svg.clone(), 415, "picture_kind_unsupported"),
        ("an SVG that says it is a PNG", "image/png", svg, 415, "picture_kind_unsupported"),
        ("HTML", "image/jpeg", html, 415, "picture_kind_unsupported"),
        ("JSON", "application/json", b"{}".to_vec(), 415, "picture_kind_unsupported"),
        ("a picture without a kind", "", png.clone(), 415, "picture_kind_unsupported"),
        ("a form", "multipart/form-data; boundary=x", png.clone(), 415, "picture_kind_unsupported"),
        ("half a PNG", "image/png", png[..png.len() / 2].to_vec(), 422, "picture_damaged"),
        ("half a JPEG", "image/jpeg", jpeg[..jpeg.len() / 2].to_vec(), 422, "picture_damaged"),
        ("a bomb", "image/png", claiming(12_000, 12_000), 422, "picture_dimensions"),
        ("a huge one", "image/png", claiming(2_000_000_000, 2_000_000_000), 422, "picture_dimensions"),
        ("one without width", "image/png", claiming(0, 40), 422, "picture_damaged"),
    ] {
        let answer = put(&site, &mira, kind, file).await;
        assert_eq!(answer.problem(), (status, code.to_owned()), "{name}: {}", answer.text());
    }
    // What counts is what a file is; and more than a body of JSON is taken.
    let noise = RgbImage::from_fn(300, 300, |x, y| Rgb([x * y, x * 31 + y * 17, x ^ y].map(|n| (n % 251) as u8)));
    let mut large = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(noise).write_to(&mut large, ImageFormat::Png).unwrap();
    assert!(large.get_ref().len() > BODY_LIMIT_BYTES);
    assert_eq!(put(&site, &mira, "image/jpeg", large.into_inner()).await.status, 200);
    assert_eq!(stored(&site).await.len(), 2, "only what was taken is stored");
}

/// Sends a request by hand and reads its answer until it has all of `end`.
async fn raw(site: &Site, who: &SignedIn, headers: &str, body: &[u8], end: &str) -> String {
    let address = site.url.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "PUT /api/v1/me/avatar HTTP/1.1\r\nHost: weir.test\r\nAuthorization: Bearer {}\r\nContent-Type: image/png\r\n{headers}\r\n\r\n",
        who.token
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&answer).contains(end) {
            assert!(socket.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("no answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_file_that_is_too_large_is_not_waited_for() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let most = 8 * 1024 * 1024;
    // It is refused by what it announces, before any of it came.
    let announced = raw(&site, &mira, &format!("Content-Length: {}", most + 1), b"", "picture_too_large").await;
    assert!(announced.starts_with("HTTP/1.1 413"), "{announced}");
    // And by what comes, where nothing was announced.
    let piece = [format!("{:x}\r\n", most + 1).into_bytes(), vec![0; most + 1]].concat();
    let came = raw(&site, &mira, "Transfer-Encoding: chunked", &piece, "picture_too_large").await;
    assert!(came.starts_with("HTTP/1.1 413"), "{came}");
    let padded = [picture(8, 8, ImageFormat::Png), vec![0; most]].concat();
    let answer = put(&site, &mira, "image/png", padded[..most].to_vec()).await;
    assert_eq!(answer.status, 200, "what follows a picture is no part of it: {}", answer.text());
}

#[tokio::test]
async fn pictures_are_taken_so_often_and_no_more() {
    let access = AccessOptions { rate_limits: Some(timeless()), ..AccessOptions::default() };
    let site = Site::with(Options { access, ..Options::default() }).await;
    let (mira, ann) = (site.register("mira").await, site.register("ann").await);
    for _ in 0..20 {
        assert_eq!(put(&site, &mira, "image/png", Vec::new()).await.status, 415);
    }
    let refused = put(&site, &mira, "image/png", picture(8, 8, ImageFormat::Png)).await;
    assert_eq!(refused.problem(), (429, "rate_limited".to_owned()));
    assert_ne!(refused.header("retry-after"), "");
    assert_eq!(put(&site, &ann, "image/png", picture(8, 8, ImageFormat::Png)).await.status, 200);
}

#[tokio::test]
async fn addresses_that_nobody_made_lead_nowhere() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let saved = put(&site, &mira, "image/png", picture(8, 8, ImageFormat::Png)).await.json();
    let good = path(&saved["avatar"]["small_url"]).to_owned();
    assert_eq!(site.send(site.get(&good)).await.status, 200);
    let id = mira.account["id"].as_str().unwrap();
    let nobody = uuid::Uuid::nil().to_string();
    for wrong in [
        good.replace("-64.jpg", "-65.jpg"),
        good.replace("-64.jpg", ".jpg"),
        good.replace(id, &nobody),
        good.replace(id, ".."),
        good.replace(id, "%2e%2e"),
        format!("/media/avatars/{id}/{}-64.jpg", "0".repeat(40)),
        format!("/media/avatars/{id}/%2e%2e%2fsecrets"),
        format!("/media/avatars/{id}/\u{1f980}-64.jpg"),
        format!("/media/avatars/{id}/%ff-64.jpg"),
    ] {
        let answer = site.send(site.get(&wrong)).await;
        assert!(matches!(answer.status, 400 | 404), "{wrong}: {}", answer.text());
        assert_eq!(answer.header("cache-control"), "no-store", "{wrong}");
    }
}

#[tokio::test]
async fn lists_have_what_is_public_and_nothing_else() {
    let site = Site::start().await;
    let (mira, ann) = (site.register("mira").await, site.register("ann").await);
    let mut channels = Vec::new();
    for handle in ["one", "two", "hidden", "secret"] {
        channels.push(site.channel(&mira, handle).await);
    }
    let others = site.channel(&ann, "others").await;
    for (handle, visibility) in [("hidden", "unlisted"), ("secret", "private")] {
        let path = format!("/api/v1/channels/{handle}");
        let hide = site.patch(&path, &json!({"visibility": visibility})).bearer_auth(&mira.token);
        assert_eq!(site.send(hide).await.status, 200);
    }
    let mut streams = Vec::new();
    for channel in channels.iter().chain([&others]) {
        streams.push(site.start_stream(channel).await);
    }
    site.end_stream(streams[0]).await;
    let list = async |what: &str, query: &str, who: Option<&SignedIn>| {
        let mut request = site.get(&format!("/api/v1/accounts/Mira/{what}{query}"));
        if let Some(who) = who {
            request = request.bearer_auth(&who.token);
        }
        ok(&site, request).await
    };
    let handles = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item.get("channel").unwrap_or(item)["handle"].as_str().unwrap().to_owned()).collect()
    };
    // Its owner sees there what everybody sees.
    for who in [None, Some(&mira), Some(&ann)] {
        assert_eq!(handles(&list("channels", "", who).await), ["two", "one"]);
        assert_eq!(handles(&list("streams", "", who).await), ["two", "one"]);
    }
    let found = list("streams", "", None).await;
    assert_eq!((&found["items"][0]["is_live"], &found["items"][1]["is_live"]), (&json!(true), &json!(false)));
    assert_eq!(account(&site, "mira").await.json()["channel_count"], 2);
    for what in ["channels", "streams"] {
        let first = list(what, "?limit=1", None).await;
        assert_eq!(handles(&first), ["two"], "{what}");
        let after = first["next_cursor"].as_str().unwrap();
        let second = list(what, &format!("?limit=1&after={after}"), None).await;
        assert_eq!((handles(&second), &second["next_cursor"]), (vec!["one".to_owned()], &Value::Null), "{what}");
    }
    // What is hidden later is gone at once, with its streams.
    let hide = site.patch("/api/v1/channels/two", &json!({"visibility": "private"})).bearer_auth(&mira.token);
    assert_eq!(site.send(hide).await.status, 200);
    assert_eq!(handles(&list("channels", "", None).await), ["one"]);
    assert_eq!(handles(&list("streams", "", None).await), ["one"]);
    site.close(&channels[0]).await;
    assert!(handles(&list("channels", "", None).await).is_empty());
    assert!(handles(&list("streams", "", None).await).is_empty());
    assert_eq!(account(&site, "mira").await.json()["channel_count"], 0);

    for nobody in ["nobody", "no", "not-a-name", "%20", "x".repeat(200).as_str()] {
        for what in ["", "/channels", "/streams"] {
            let answer = account(&site, &format!("{nobody}{what}")).await;
            assert_eq!(answer.problem(), (404, "not_found".to_owned()), "{nobody}{what}");
        }
    }
}

#[tokio::test]
async fn an_erased_person_is_nowhere_to_be_seen() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    ok(&site, edit(&site, &mira, &json!({"display_name": "Mira Brook", "bio": "Everything of mine"}))).await;
    assert_eq!(put(&site, &mira, "image/png", picture(8, 8, ImageFormat::Png)).await.status, 200);
    site.erase(&mira).await;
    let head = commands::events::head(&site.pool).await.unwrap();
    site.readable(head).await;
    for path in ["", "/channels", "/streams"] {
        assert_eq!(account(&site, &format!("mira{path}")).await.status, 404);
    }
    // Of channels that are not closed yet it is not told either.
    let channel = ok(&site, site.get("/api/v1/channels/river")).await;
    assert_eq!((&channel["owner"]["display_name"], &channel["owner"]["avatar"]), (&Value::Null, &Value::Null));
    for request in [site.get("/api/v1/me"), upload(&site, "image/png", picture(8, 8, ImageFormat::Png))] {
        assert_eq!(site.send(request.bearer_auth(&mira.token)).await.status, 401);
    }
    let kept: String = sqlx::query_scalar(
        "select coalesce((select string_agg(p::text, ' ') from read.profiles_v1 p), '') \
             || (select string_agg(payload::text, ' ') from log.events)",
    )
    .fetch_one(&site.pool)
    .await
    .unwrap();
    for text in ["Mira", "Brook", "Everything of mine"] {
        assert!(!kept.contains(text), "{text} in {kept}");
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from read.profiles_v1 where avatar is not null")
        .fetch_one(&site.pool)
        .await
        .unwrap();
    assert_eq!(rows, 0);
    // The files go with the process that follows the log: processes/tests/it/avatars.rs.
}
