//! What no client should send, and some will: always a problem document of 4xx, never 500.

use reqwest::{Method, RequestBuilder, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    contract::{DOCUMENT, operations},
    site::{Answer, SignedIn, Site},
};

struct Taker {
    method: Method,
    path: String,
    schema: &'static Value,
}

/// The operations that take a body.
fn takers() -> Vec<Taker> {
    operations()
        .filter_map(|(method, path, operation)| {
            let reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str()?;
            let schema = DOCUMENT.pointer(reference.trim_start_matches('#')).unwrap();
            let path = path.replace("{handle}", "river").replace("{id}", "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d05");
            Some(Taker { method, path, schema })
        })
        .collect()
}

impl Taker {
    fn example(&self) -> Value {
        let properties = self.schema["properties"].as_object().unwrap();
        // One of several words.
        let word = |reference: &str| DOCUMENT.pointer(reference.trim_start_matches('#')).unwrap()["enum"][0].clone();
        let of = |property: &Value| match property.get("$ref").and_then(Value::as_str) {
            Some(reference) => word(reference),
            None => match property.pointer("/items/$ref").and_then(Value::as_str) {
                // A list of them has no example of its own.
                Some(reference) if property.get("example").is_none() => json!([word(reference)]),
                _ => property["example"].clone(),
            },
        };
        properties.iter().map(|(name, property)| (name.clone(), of(property))).collect()
    }

    /// Whether a value of this kind may be right for a field.
    fn takes(&self, field: &str, value: &Value) -> bool {
        let kind = match value {
            Value::Array(_) => "array",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_i64() => "integer",
            _ => return false,
        };
        match &self.schema["properties"][field]["type"] {
            Value::Array(kinds) => kinds.iter().any(|of| of == kind),
            of => of == kind,
        }
    }

    fn request(&self, site: &Site, who: &SignedIn, body: impl Into<reqwest::Body>) -> RequestBuilder {
        let request = site.request(self.method.clone(), &self.path).bearer_auth(&who.token).body(body);
        request.header(CONTENT_TYPE, "application/json")
    }
}

async fn site() -> (Site, SignedIn) {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    (site, mira)
}

#[tokio::test]
async fn bodies_that_are_no_json_or_no_object() {
    let (site, mira) = site().await;
    let takers = takers();
    assert_eq!(takers.len(), 34);
    let deep_arrays = format!("{}1{}", "[".repeat(30_000), "]".repeat(30_000));
    let deep_objects = format!("{}1{}", "{\"a\":".repeat(9_000), "}".repeat(9_000));
    let bodies: Vec<(Vec<u8>, &[u16])> = vec![
        (b"".to_vec(), &[400]),
        (b" ".to_vec(), &[400]),
        (b"{".to_vec(), &[400]),
        (b"{\"title\": \"x\"".to_vec(), &[400, 422]),
        (b"{\"title\": \"x\",}".to_vec(), &[400, 422]),
        (b"{title: 1}".to_vec(), &[400]),
        (b"{} {}".to_vec(), &[400, 422]),
        (b"\xef\xbb\xbf{}".to_vec(), &[400]),
        (b"\xff\xfe{\0}\0".to_vec(), &[400]),
        (b"\0\0\0\0".to_vec(), &[400]),
        (b"{\"title\": \"\xc3\x28\"}".to_vec(), &[400, 422]),
        (b"{\"title\": \"\\ud800\"}".to_vec(), &[400, 422]),
        (b"{\"title\": \"a\0b\"}".to_vec(), &[400, 422]),
        (b"NaN".to_vec(), &[400]),
        (b"1e999999".to_vec(), &[400, 422]),
        (b"999999999999999999999999999999".to_vec(), &[422]),
        (b"null".to_vec(), &[422]),
        (b"\"text\"".to_vec(), &[422]),
        (b"[]".to_vec(), &[422]),
        (b"[[[[]]]]".to_vec(), &[422]),
        (b"{\"\": 1}".to_vec(), &[422]),
        (b"{\"constructor\": {}, \"__proto__\": {}}".to_vec(), &[422]),
        (deep_arrays.into_bytes(), &[400, 422]),
        (deep_objects.into_bytes(), &[400, 422]),
        (vec![b' '; api::BODY_LIMIT_BYTES + 1], &[413]),
        (vec![b'1'; api::BODY_LIMIT_BYTES], &[400, 422]),
    ];
    for taker in &takers {
        for (body, statuses) in &bodies {
            let answer = site.send(taker.request(&site, &mira, body.clone())).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]);
            let context = format!("{} {} {shown:?}", taker.method, taker.path);
            assert!(statuses.contains(&answer.status), "{context}: {}", answer.text());
            let codes = match answer.status {
                400 => "json_invalid",
                413 => "body_too_large",
                _ => "validation_failed",
            };
            assert_eq!(answer.code(), codes, "{context}");
        }
    }
}

#[tokio::test]
async fn bodies_of_another_kind() {
    let (site, mira) = site().await;
    for taker in takers() {
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "application",
            "",
            "json",
            "\"\u{1F980}\"",
        ] {
            let body = taker.example().to_string();
            let request = site.request(taker.method.clone(), &taker.path).bearer_auth(&mira.token);
            let answer = site.send(request.header(CONTENT_TYPE, kind.as_bytes()).body(body)).await;
            assert_eq!(answer.problem(), (415, "media_type_unsupported".to_owned()), "{kind}");
        }
        let bare = site.request(taker.method.clone(), &taker.path).bearer_auth(&mira.token);
        assert_eq!(site.send(bare).await.status, 415);
        for kind in ["application/json; charset=utf-8", "APPLICATION/JSON"] {
            let request = site.request(taker.method.clone(), &taker.path).bearer_auth(&mira.token);
            let answer = site.send(request.header(CONTENT_TYPE, kind).body("[]")).await;
            assert_eq!(answer.status, 422, "{kind}");
        }
    }
}

#[tokio::test]
async fn fields_that_are_wrong_missing_or_unknown() {
    let (site, mira) = site().await;
    let named = |answer: &Answer, field: &str, code: &str, context: &str| {
        assert_eq!(answer.problem(), (422, "validation_failed".to_owned()), "{context}: {}", answer.text());
        let error = &answer.json()["errors"][0];
        assert_eq!((&error["pointer"], &error["code"]), (&json!(format!("/{field}")), &json!(code)), "{context}");
    };
    let is_word = |taker: &Taker, field: &str| {
        let schema = &taker.schema["properties"][field];
        let choices = schema["oneOf"].as_array();
        schema.get("$ref").is_some()
            || choices.is_some_and(|choices| choices.iter().any(|choice| choice.get("$ref").is_some()))
    };
    for taker in takers() {
        let required: Vec<_> =
            taker.schema["required"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap()).collect();
        for field in taker.schema["properties"].as_object().unwrap().keys() {
            let mut wrong =
                vec![json!(5), json!(-1.5), json!(true), json!([]), json!({}), json!(["x"]), json!({"a": "b"})];
            if required.contains(&field.as_str()) {
                wrong.push(Value::Null);
            }
            for value in wrong.into_iter().filter(|value| !taker.takes(field, value)) {
                let mut body = taker.example();
                body[field] = value;
                let context = format!("{} {} {body}", taker.method, taker.path);
                let answer = site.send(taker.request(&site, &mira, body.to_string())).await;
                // A word is an enum to serde, which does not say that the type is wrong.
                let code =
                    if is_word(&taker, field) { answer.json()["errors"][0]["code"].clone() } else { json!("type") };
                named(&answer, field, code.as_str().unwrap(), &context);
            }
            let mut doubled = taker.example().to_string();
            doubled.insert_str(1, &format!("\"{field}\": {}, ", taker.example()[field]));
            named(&site.send(taker.request(&site, &mira, doubled)).await, field, "duplicate", field);
        }
        for field in required {
            let mut body = taker.example();
            body.as_object_mut().unwrap().remove(field);
            named(&site.send(taker.request(&site, &mira, body.to_string())).await, field, "missing", field);
        }
        for (field, pointer) in [("colour", "colour"), ("a/b", "a~1b"), ("\u{0}", "\u{0}"), ("Title", "Title")] {
            let mut body = taker.example();
            body[field] = json!("x");
            let answer = site.send(taker.request(&site, &mira, body.to_string())).await;
            named(&answer, pointer, "unknown_field", field);
        }
    }
}

#[tokio::test]
async fn texts_that_are_strange() {
    let (site, mira) = site().await;
    let long = "x".repeat(50_000);
    let texts = [
        "",
        " ",
        "\u{0}",
        "a\u{0}b",
        "\u{202e}abc",
        "\u{feff}",
        "🦀🦀🦀",
        "a\r\nb",
        "'; drop table log.events; --",
        "%00",
        &long,
    ];
    for taker in takers() {
        for field in taker.schema["properties"].as_object().unwrap().keys() {
            for text in texts {
                let mut body = taker.example();
                body[field] = text.into();
                let answer = site.send(taker.request(&site, &mira, body.to_string())).await;
                assert!(answer.status < 500, "{} {field} {text:.40}: {}", taker.path, answer.text());
            }
        }
    }
}

#[tokio::test]
async fn queries_that_are_wrong() {
    let (site, _) = site().await;
    let keeper = site.administrator().await;
    let long = format!("after={}", "A".repeat(5_000));
    let cases = [
        ("limit=0", 400, "query_invalid"),
        ("limit=1001", 400, "query_invalid"),
        ("limit=-1", 400, "query_invalid"),
        ("limit=1.5", 400, "query_invalid"),
        ("limit=", 400, "query_invalid"),
        ("limit=x", 400, "query_invalid"),
        ("limit=%00", 400, "query_invalid"),
        ("limit=99999999999999999999999", 400, "query_invalid"),
        ("limit=1&limit=2", 400, "query_invalid"),
        ("lmit=1", 400, "query_invalid"),
        ("%FF=%FF", 400, "query_invalid"),
        ("after=", 400, "cursor_invalid"),
        ("after=x", 400, "cursor_invalid"),
        ("after=%00", 400, "cursor_invalid"),
        ("after=%F0%9F%A6%80", 400, "cursor_invalid"),
        ("after=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 400, "cursor_invalid"),
        ("after=__________________________________________", 400, "cursor_invalid"),
        // Of the year -9000, which Postgres does not know.
        ("after=-zIfVtu65AABk1o8fF58wZseLxpKHp0A", 400, "cursor_invalid"),
        (&long, 400, "cursor_invalid"),
    ];
    for path in ["/api/v1/channels", "/api/v1/streams", "/api/v1/events"] {
        for (query, status, code) in cases {
            let answer = site.send(site.get(&format!("{path}?{query}")).bearer_auth(&keeper.token)).await;
            assert_eq!(answer.problem(), (status, code.to_owned()), "{path}?{query:.60}");
        }
        let answer = site.send(site.get(&format!("{path}?limit=0")).bearer_auth(&keeper.token)).await;
        assert_eq!(answer.json()["errors"][0]["pointer"], "?limit");
    }
    for query in [
        "live=1",
        "live=",
        "live=TRUE",
        "mine=maybe",
        "account=",
        "account=a",
        "account=%00%00%00",
        "account=a%20b%20c",
    ] {
        let answer = site.send(site.get(&format!("/api/v1/channels?{query}"))).await;
        assert_eq!(answer.problem(), (400, "query_invalid".to_owned()), "{query}");
    }
    for query in ["live=no", "channel=", "channel=x", "channel=%FF%FF%FF", "mine=true"] {
        let answer = site.send(site.get(&format!("/api/v1/streams?{query}"))).await;
        assert_eq!(answer.problem(), (400, "query_invalid".to_owned()), "{query}");
    }
}

#[tokio::test]
async fn addresses_and_methods_that_do_not_exist() {
    let (site, _) = site().await;
    for path in [
        "/api",
        "/api/",
        "/api/v1",
        "/api/v1/",
        "/api/v2/channels",
        "/api/v1/channels/",
        "/api/v1/Channels",
        "/api/v1/auth/register/",
        "/api/v1/channels/river/",
        "/api/v1/channels/river/stream-key/x",
        "/api//v1/channels",
        "/api/v1/%FF",
        "/live/x/index.m3u8",
        "/live",
    ] {
        for method in [Method::GET, Method::POST] {
            let answer = site.send(site.request(method, path)).await;
            assert_eq!(answer.problem(), (404, "not_found".to_owned()), "{path}");
        }
    }
    let not_utf8 = site.send(site.get("/api/v1/channels/%FF%FE")).await;
    assert_eq!(not_utf8.problem(), (400, "path_invalid".to_owned()));
    let mut allowed: std::collections::BTreeMap<String, Vec<Method>> = Default::default();
    for (method, path, _) in operations() {
        allowed.entry(path.replace("{handle}", "river").replace("{id}", "x")).or_default().push(method);
    }
    for (path, methods) in allowed {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            if methods.contains(&method) {
                continue;
            }
            let answer = site.send(site.request(method.clone(), &path)).await;
            assert_eq!(answer.problem(), (405, "method_not_allowed".to_owned()), "{method} {path}");
            assert!(
                answer.header("allow").contains(methods[0].as_str()),
                "{method} {path}: {}",
                answer.header("allow")
            );
        }
    }
}

/// Sends bytes as they are and gives what comes back until the server hangs up.
async fn raw(site: &Site, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(site.url.trim_start_matches("http://")).await.unwrap();
    // The server may hang up before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn requests_that_no_client_library_sends() {
    let (site, _) = site().await;
    let head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let large = raw(&site, format!("{head}Content-Length: 99999999999\r\n\r\n{{").as_bytes()).await;
    assert!(large.starts_with("HTTP/1.1 413 "), "{large}");
    assert!(large.contains("\"code\":\"body_too_large\""), "{large}");
    let chunk = format!("8000\r\n{}\r\n", " ".repeat(0x8000));
    let endless = raw(&site, format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", chunk.repeat(40)).as_bytes()).await;
    assert!(endless.starts_with("HTTP/1.1 413 "), "{endless}");
    let no_chunk = raw(&site, format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n").as_bytes()).await;
    assert!(no_chunk.starts_with("HTTP/1.1 400 "), "{no_chunk}");
    for path in ["/api/v1/../../etc/passwd", "/api/v1/%2e%2e/x", "/assets/../../Cargo.toml", "/live/../x"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n");
        let answer = raw(&site, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("application/problem+json"), "{path}: {answer}");
    }
    // And the server is still there.
    assert_eq!(site.send(site.get("/healthz")).await.status, 200);
}
