//! What outsiders can learn of events.

use serde_json::Value;

use crate::site::Site;

#[tokio::test]
async fn every_type_has_a_schema_and_an_example() {
    let site = Site::start().await;
    let answer = site.send(site.get("/api/v1/events/types")).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "public, max-age=3600"));
    let types = answer.json();
    let items = types["items"].as_array().unwrap();
    assert!(items.len() >= 8, "{}", items.len());
    for item in items {
        let path = item["dataschema"].as_str().unwrap().strip_prefix("http://weir.test").unwrap();
        let answer = site.send(site.get(path)).await;
        assert_eq!((answer.status, answer.kind()), (200, "application/schema+json"), "{path}");
        assert_eq!(answer.header("cache-control"), "public, max-age=3600");
        let schema = answer.json();
        assert_eq!((&schema["$id"], &schema["type"]), (&item["dataschema"], &Value::from("object")));
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        let fields = schema["properties"].as_object().unwrap();
        let example = item["example"].as_object().unwrap();
        assert_eq!(fields.keys().collect::<Vec<_>>(), example.keys().collect::<Vec<_>>(), "{path}");
        let again = site.send(site.get(path).header("if-none-match", answer.header("etag"))).await;
        assert_eq!(again.status, 304);
    }
    for path in ["channel.create/1", "channel.created/2", "channel.created/x", "x/1"] {
        let answer = site.send(site.get(&format!("/api/v1/events/schemas/{path}"))).await;
        assert_eq!(answer.problem(), (404, "not_found".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn what_the_log_holds_is_what_the_schemas_say() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let river = site.channel(&keeper, "river").await;
    let stream_id = site.start_stream(&river).await;
    site.end_stream(stream_id).await;
    let page = site.send(site.get("/api/v1/events").bearer_auth(&keeper.token)).await.json();
    for item in page["items"].as_array().unwrap() {
        let path = item["dataschema"].as_str().unwrap().strip_prefix("http://weir.test").unwrap();
        let schema = site.send(site.get(path)).await.json();
        let data = item["data"].as_object().unwrap();
        for field in schema["required"].as_array().unwrap() {
            assert!(data.contains_key(field.as_str().unwrap()), "{path}: {field} is missing in {item}");
        }
        for field in data.keys() {
            assert!(schema["properties"].get(field).is_some(), "{path}: {field} is not in the schema");
        }
    }
}

#[tokio::test]
async fn the_page_for_people_loads_nothing_and_runs_nothing() {
    let site = Site::start().await;
    let page = site.send(site.get("/docs/events")).await;
    assert_eq!((page.status, page.kind()), (200, "text/html; charset=utf-8"));
    let html = page.text();
    let types = site.send(site.get("/api/v1/events/types")).await.json();
    for item in types["items"].as_array().unwrap() {
        let kind = item["type"].as_str().unwrap();
        assert!(html.contains(&format!("<article id=\"{kind}\">")), "{kind} is not on the page");
    }
    for forbidden in ["<script", "<link", "<img", "<iframe", " onclick", "javascript:", " style=", "@import", "url("] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    assert!(html.contains("<meta name=\"viewport\"") && html.contains("light-dark("));
    let again = site.send(site.get("/docs/events").header("if-none-match", page.header("etag"))).await;
    assert_eq!(again.status, 304);
    // Swagger UI is still where it was.
    assert_eq!(site.send(site.get("/docs/")).await.status, 200);
}
