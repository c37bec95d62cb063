//! What a request does that is sent twice is known of every operation: it takes an `Idempotency-Key`, or needs none for a reason that
//! stands here.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use crate::contract::operations;

const DOCUMENT: &str = include_str!("../../../docs/api.md");

/// Those that take no key, and are neither `PUT` nor `DELETE` (RFC 9110, section 9.2.2: the same again leaves the same) nor hold what
/// they change against `If-Match`.
const WITHOUT: &[(&str, &str)] = &[
    ("change_settings", "The same again leaves the same."),
    (
        "create_personal_token",
        "Its answer is a secret that nobody keeps; the list shows one too many, and it can be revoked.",
    ),
    ("locate_personal_export", "It changes nothing: each answer is an address of its own."),
    ("login", "Nobody is known yet whose key it could be; one session too many is listed, and can be ended."),
    ("logout", "What has ended has ended."),
    ("prepare_second_factor", "The newest is the one that counts until it is enabled."),
    ("prove_session", "Who has proved it has proved it."),
    ("refresh_session", "A token that comes twice in a moment gets the same successor."),
    ("register", "Nobody is known yet whose key it could be; the name is taken, and says so."),
    ("request_email_change", "The newest code counts; mails are limited."),
    ("request_email_confirmation", "The newest code counts; mails are limited."),
    ("request_password_reset", "The newest code counts; mails are limited."),
    ("request_personal_export", "One at a time and one an hour: a repeat is refused, and GET shows the first."),
    ("use_invite", "It changes nothing: each answer is a right to watch."),
];

fn headers(operation: &Value) -> BTreeSet<&str> {
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_header = parameters.iter().filter(|parameter| parameter["in"] == "header");
    of_header.filter_map(|parameter| parameter["name"].as_str()).collect()
}

#[test]
fn every_operation_says_what_a_repeat_does() {
    let mut without: BTreeSet<&str> = WITHOUT.iter().map(|(operation, _)| *operation).collect();
    assert_eq!(without.len(), WITHOUT.len(), "each stands here once");
    assert!(WITHOUT.iter().all(|(_, reason)| reason.ends_with('.')));
    for (method, path, operation) in operations() {
        let headers = headers(operation);
        let id = operation["operationId"].as_str().unwrap();
        let is_listed = without.remove(id);
        if [Method::GET, Method::HEAD].contains(&method) {
            continue;
        }
        let is_same = [Method::PUT, Method::DELETE].contains(&method);
        let has_header = headers.contains("Idempotency-Key") || headers.contains("If-Match");
        assert!(
            is_same || has_header || is_listed,
            "{method} {path} ({id}) takes no Idempotency-Key: give it one, or say in this list why it needs none"
        );
        assert!(!(is_listed && (has_header || is_same)), "{id} needs no place in this list");
    }
    assert!(without.is_empty(), "there are no such operations: {without:?}");
}

/// The table in docs/api.md has those that take a key and no others.
#[test]
fn the_documentation_names_those_that_take_a_key() {
    let section = DOCUMENT.split("\n## ").find(|section| section.starts_with("Sending a request twice")).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `POST "));
    let documented: BTreeSet<String> = rows.map(|row| format!("/api/v1/{}", row.split('`').next().unwrap())).collect();
    let keyed = operations().filter(|(_, _, operation)| headers(operation).contains("Idempotency-Key"));
    let keyed: BTreeSet<String> = keyed
        .map(|(method, path, _)| {
            assert_eq!(method, Method::POST, "{path}");
            path.to_owned()
        })
        .collect();
    assert_eq!(documented, keyed);
}
