//! The catalogue as a page: no script, nothing loaded from anywhere.

use std::fmt::Write;

use serde_json::Value;

use super::Described;

const STYLE: &str = include_str!("page.css");

/// The whole page.
pub(super) fn html(catalogue: &[Described]) -> String {
    let mut html = String::with_capacity(64 * 1024);
    html.push_str(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"dark light\">\n<title>Event catalogue · Weir</title>\n<style>",
    );
    html.push_str(STYLE);
    html.push_str(
        "</style>\n</head>\n<body>\n<header>\n<p class=\"brand\"><a href=\"/\">Weir</a> · <a href=\"/docs\">API</a></p>\n\
         <h1>Event catalogue</h1>\n\
         <p>Everything that happens in Weir is an event in one ordered log. This page lists each type of event with the \
         fields of its <code>data</code>. Around them stands a <a href=\"https://cloudevents.io\" rel=\"noreferrer\">CloudEvents \
         1.0</a> envelope: <code>id</code>, <code>source</code>, <code>type</code>, <code>subject</code>, <code>time</code>, and \
         <code>position</code>, the event’s place in the log.</p>\n\
         <p>Read the log with <code>GET /api/v1/events</code>, follow it with <code>GET /api/v1/events/subscribe</code> \
         (<a href=\"/docs\">how</a>). The same list as JSON: <a href=\"/api/v1/events/types\">/api/v1/events/types</a>. \
         Personal data is sealed, and accounts stand under pseudonyms.</p>\n</header>\n",
    );
    contents(catalogue, &mut html);
    html.push_str("<main>\n");
    for (kind, described) in by_kind(catalogue) {
        section(kind, &described, &mut html);
    }
    html.push_str("</main>\n</body>\n</html>\n");
    html
}

/// What happens to each kind of thing, in the order of the catalogue.
fn by_kind(catalogue: &[Described]) -> Vec<(&'static str, Vec<&Described>)> {
    let mut kinds: Vec<(&'static str, Vec<&Described>)> = Vec::new();
    for described in catalogue {
        let kind = described.description.aggregate_type;
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, of)) => of.push(described),
            None => kinds.push((kind, vec![described])),
        }
    }
    kinds
}

fn contents(catalogue: &[Described], html: &mut String) {
    html.push_str("<nav aria-label=\"Event types\">\n");
    for (kind, described) in by_kind(catalogue) {
        put(html, format_args!("<div><h2>{}</h2>\n<ul>\n", escaped(kind)));
        for current in described.iter().filter(|described| described.description.is_current) {
            let event_type = escaped(current.description.event_type);
            put(html, format_args!("<li><a href=\"#{event_type}\">{event_type}</a></li>\n"));
        }
        html.push_str("</ul></div>\n");
    }
    html.push_str("</nav>\n");
}

fn section(kind: &str, described: &[&Described], html: &mut String) {
    put(html, format_args!("<section aria-labelledby=\"of-{0}\">\n<h2 id=\"of-{0}\">{0}</h2>\n", escaped(kind)));
    for current in described.iter().filter(|described| described.description.is_current) {
        let description = &current.description;
        let event_type = escaped(description.event_type);
        put(html, format_args!("<article id=\"{event_type}\">\n<h3><a href=\"#{event_type}\">{event_type}</a></h3>\n"));
        put(html, format_args!("<p>{}</p>\n", marked(&description.summary)));
        version(current, html);
        let of_type = described.iter().filter(|other| other.description.event_type == description.event_type);
        for old in of_type.filter(|other| !other.description.is_current) {
            let version_name = escaped(old.description.version);
            put(html, format_args!("<details>\n<summary>Version {version_name}, written in the past</summary>\n"));
            version(old, html);
            html.push_str("</details>\n");
        }
        html.push_str("</article>\n");
    }
    html.push_str("</section>\n");
}

fn version(described: &Described, html: &mut String) {
    let description = &described.description;
    let (event_type, version) = (escaped(description.event_type), escaped(description.version));
    put(
        html,
        format_args!(
            "<p class=\"version\">Version {version} · <a href=\"/api/v1/events/schemas/{event_type}/{version}\">JSON \
             Schema</a></p>\n"
        ),
    );
    let mut rows = Vec::new();
    fields(&description.schema, "", &mut rows);
    if !rows.is_empty() {
        html.push_str("<dl>\n");
        for Row { name, kind, meaning } in rows {
            let (name, kind, meaning) = (escaped(&name), escaped(&kind), marked(&meaning));
            put(html, format_args!("<div><dt><code>{name}</code> <span>{kind}</span></dt><dd>{meaning}</dd></div>\n"));
        }
        html.push_str("</dl>\n");
    }
    let example = serde_json::to_string_pretty(&described.example).unwrap_or_default();
    put(html, format_args!("<pre tabindex=\"0\" aria-label=\"Example of {event_type}\">{}</pre>\n", escaped(&example)));
}

/// A field of an event's data.
struct Row {
    name: String,
    kind: String,
    meaning: String,
}

/// The fields of an object and of the objects in it.
fn fields(schema: &Value, prefix: &str, rows: &mut Vec<Row>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let name = format!("{prefix}{name}");
        rows.push(Row {
            name: name.clone(),
            kind: kind(field),
            meaning: field["description"].as_str().unwrap_or_default().to_owned(),
        });
        let inner = format!("{name}.");
        fields(field, &inner, rows);
        for choice in choices(field) {
            fields(choice, &inner, rows);
        }
    }
}

fn choices(schema: &Value) -> impl Iterator<Item = &Value> {
    ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|word| schema[word].as_array()).flatten()
}

/// What a field holds, in a few words.
fn kind(schema: &Value) -> String {
    if let Some(value) = schema.get("const") {
        return value.to_string();
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    }
    let name = match &schema["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => choices(schema).map(kind).collect::<Vec<_>>().join(" or "),
    };
    let of = match schema.get("items") {
        Some(items) => format!("{name} of {}", kind(items)),
        None => name,
    };
    match schema["format"].as_str() {
        Some(format) => format!("{of} ({format})"),
        None => of,
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Text with `code` between back quotes.
fn marked(text: &str) -> String {
    let mut html = String::new();
    for (number, part) in escaped(text).split('`').enumerate() {
        match number % 2 {
            0 => html.push_str(part),
            _ => put(&mut html, format_args!("<code>{part}</code>")),
        }
    }
    html
}

fn put(html: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = html.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_comes_from_elsewhere_is_text() {
        assert_eq!(marked("<script> & `a < \"b\"`"), "&lt;script&gt; &amp; <code>a &lt; &quot;b&quot;</code>");
    }

    #[test]
    fn kinds_are_said_in_words() {
        for (schema, expected) in [
            (json!({"type": "string"}), "string"),
            (json!({"type": "string", "format": "uuid"}), "string (uuid)"),
            (json!({"type": ["string", "null"]}), "string or null"),
            (json!({"type": "array", "items": {"type": "string"}}), "array of string"),
            (json!({"enum": ["a", "b"]}), "\"a\" | \"b\""),
            (json!({"anyOf": [{"type": "object"}, {"type": "null"}]}), "object or null"),
            (json!({"oneOf": [{"const": "a"}, {"const": "b"}]}), "\"a\" or \"b\""),
        ] {
            assert_eq!(kind(&schema), expected);
        }
    }
}
