//! Holds answers against the OpenAPI document: an operation answers only what it documents, in the shape that it
//! documents, and everything that fails is a problem document, but for a browser that asks for too many pages.

use std::sync::LazyLock;

use reqwest::Method;
use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::site::Answer;

pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(api::openapi()).unwrap());

/// Every operation: method, path and what the document says of it.
pub(crate) fn operations() -> impl Iterator<Item = (Method, &'static str, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().filter_map(move |(method, operation)| {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).ok()?;
            operation.get("operationId")?;
            Some((method, path.as_str(), operation))
        })
    })
}

fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let fits = |template: &str| {
        let (mut ours, mut theirs) = (template.split('/'), path.split('/'));
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some(our), Some(their)) if our == their || our.starts_with('{') => {}
                _ => return false,
            }
        }
    };
    operations().find(|(m, template, _)| m == method && fits(template)).map(|(_, _, operation)| operation)
}

/// Panics when `answer` is not one that the document allows.
pub(crate) fn check(method: &Method, path: &str, answer: &Answer) {
    let context = format!("{method} {path} → {} {}", answer.status, answer.text());
    let is_failure = answer.status >= 400;
    // Of too many pages a browser gets one that says so.
    let is_page = answer.status == 429 && !path.starts_with("/api") && answer.kind().starts_with("text/html");
    if is_failure && !is_page && *method != Method::HEAD {
        assert_eq!(answer.kind(), "application/problem+json", "{context}");
        validate(&schema("Problem"), &answer.json(), &context);
        assert_eq!(answer.json()["status"], answer.status, "{context}");
        assert_eq!(answer.json()["request_id"], answer.header("x-request-id"), "{context}");
    }
    for (name, value) in [("x-content-type-options", "nosniff"), ("referrer-policy", "strict-origin-when-cross-origin")]
    {
        assert_eq!(answer.header(name), value, "{context}");
    }
    assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"), "{context}");
    let Some(operation) = operation(method, path) else {
        return;
    };
    let responses = &operation["responses"];
    let response = match responses.get(answer.status.to_string()) {
        Some(response) => response,
        None if is_failure => &responses["default"],
        None => panic!("not documented: {context}"),
    };
    match response.get("content").and_then(Value::as_object) {
        None => assert!(answer.body.is_empty(), "a body where none is documented: {context}"),
        Some(content) => {
            let kind = answer.kind().split(';').next().unwrap();
            let media = content.get(kind).unwrap_or_else(|| panic!("{kind} is not documented: {context}"));
            match kind {
                "application/x-ndjson" => {
                    for line in answer.text().lines() {
                        let line = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {context}"));
                        validate(&media["schema"], &line, &context);
                    }
                }
                "text/event-stream" | "text/csv" | "application/vnd.apache.parquet" | "application/zip" => {}
                _ => validate(&media["schema"], &answer.json(), &context),
            }
        }
    }
    for (name, _) in response.get("headers").and_then(Value::as_object).into_iter().flatten() {
        // A last page has no next one.
        if name != "Link" {
            assert!(answer.headers.contains_key(name.as_str()), "no {name}: {context}");
        }
    }
}

fn schema(name: &str) -> Value {
    DOCUMENT["components"]["schemas"][name].clone()
}

/// As much of JSON Schema as the document uses; objects may have no fields that are not documented.
fn validate(schema: &Value, value: &Value, context: &str) {
    let fail = |what: &str| -> () { panic!("{what}: {value} against {schema} in {context}") };
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let schema = DOCUMENT.pointer(reference.trim_start_matches('#')).expect("a reference leads somewhere");
        return validate(schema, value, context);
    }
    if let Some(choices) = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array) {
        // A channel as it was says so.
        if choices.iter().any(|choice| choice["$ref"] == "#/components/schemas/ChannelAsOf") {
            let name = if value.get("as_of").is_some() { "ChannelAsOf" } else { "Channel" };
            return validate(&self::schema(name), value, context);
        }
        let null = choices.iter().any(|choice| choice["type"] == "null");
        if null && value.is_null() {
            return;
        }
        let other = choices.iter().find(|choice| choice["type"] != "null").unwrap();
        return validate(other, value, context);
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        fail("not one of the values");
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = |allowed: &Value| allowed == kind || (kind == "integer" && allowed == "number");
    match &schema["type"] {
        Value::Null => {}
        Value::Array(allowed) if allowed.iter().any(fits) => {}
        allowed if fits(allowed) => {}
        _ => fail("wrong type"),
    }
    match value {
        Value::String(text) => match schema["format"].as_str() {
            Some("uuid") if Uuid::parse_str(text).is_err() => fail("no id"),
            Some("date-time") => match OffsetDateTime::parse(text, &Rfc3339) {
                Ok(time) if time.offset().is_utc() => {}
                _ => fail("no time in UTC"),
            },
            _ => {}
        },
        Value::Number(number) => {
            let number = number.as_f64().unwrap();
            if schema["minimum"].as_f64().is_some_and(|min| number < min)
                || schema["maximum"].as_f64().is_some_and(|max| number > max)
            {
                fail("out of range");
            }
        }
        Value::Array(items) => {
            for item in items {
                validate(&schema["items"], item, context);
            }
        }
        Value::Object(fields) => {
            let none = Map::new();
            let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
            for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
                if !fields.contains_key(name.as_str().unwrap()) {
                    fail("a required field is missing");
                }
            }
            for (name, field) in fields {
                match properties.get(name) {
                    Some(schema) => validate(schema, field, context),
                    None if properties.is_empty() => {}
                    None => fail("a field that is not documented"),
                }
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}
