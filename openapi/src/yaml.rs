//! JSON as YAML in block style, for documents that people read and compare.

use serde_json::Value;

/// `value` as a YAML 1.2 document with the keys in the order that they have.
#[must_use]
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => block(value, 0, &mut out),
        Value::Array(items) if !items.is_empty() => block(value, 0, &mut out),
        _ => {
            scalar(value, &mut out);
            out.push('\n');
        }
    }
    out
}

/// Writes what has parts, each on lines of its own.
fn block(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                indent(depth, out);
                text(name, out);
                out.push(':');
                after_mark(field, depth + 1, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                indent(depth, out);
                out.push('-');
                after_mark(item, depth + 1, out);
            }
        }
        _ => {}
    }
}

fn after_mark(value: &Value, depth: usize, out: &mut String) {
    let has_parts = match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if has_parts {
        out.push('\n');
        block(value, depth, out);
    } else {
        out.push(' ');
        scalar(value, out);
        out.push('\n');
    }
}

fn scalar(value: &Value, out: &mut String) {
    match value {
        Value::String(value) => text(value, out),
        // Numbers, `true`, `null`, `[]` and `{}` are the same in both.
        _ => out.push_str(&value.to_string()),
    }
}

fn text(value: &str, out: &mut String) {
    if is_plain(value) {
        out.push_str(value);
    } else {
        // What JSON escapes, YAML reads the same between double quotes.
        out.push_str(&Value::from(value).to_string());
    }
}

/// Whether it needs no quotes: surely text, and nothing that YAML gives a meaning.
fn is_plain(value: &str) -> bool {
    let is_word = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./ ".contains(&b));
    let begins_well = value.starts_with(|c: char| c.is_ascii_alphabetic());
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    is_word && begins_well && !value.ends_with(' ') && !reserved.contains(&value.to_ascii_lowercase().as_str())
}

fn indent(depth: usize, out: &mut String) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::to_yaml;

    #[test]
    fn blocks_are_indented_and_what_could_be_misread_is_quoted() {
        let value = json!({
            "name": "Weir", "version": "1.0", "yes": "no", "empty": {}, "none": [], "count": 2, "on": true,
            "list": ["a b", {"x": null, "y": [1, "#"]}, []], "text": "two\nlines: \"quoted\"", "$ref": "#/a", "": " ",
        });
        let yaml = to_yaml(&value);
        for line in [
            "name: Weir\n",
            "version: \"1.0\"\n",
            "\"yes\": \"no\"\n",
            "\"on\": true\n",
            "empty: {}\n",
            "none: []\n",
            "list:\n  - a b\n  -\n    x: null\n",
            "    \"y\":\n      - 1\n      - \"#\"\n  - []\n",
            "text: \"two\\nlines: \\\"quoted\\\"\"\n",
            "\"$ref\": \"#/a\"\n",
            "\"\": \" \"\n",
        ] {
            assert!(yaml.contains(line), "{line:?} is not in {yaml}");
        }
    }
}
