use std::{env, fs, path::PathBuf};

/// `make gen` writes the document with `weir openapi`; this says when that was forgotten.
#[test]
fn the_committed_document_is_fresh() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../openapi/openapi.json");
    let mut document = api::openapi().to_pretty_json().unwrap();
    document.push('\n');
    if env::var_os("UPDATE_OPENAPI").is_some() {
        fs::write(&path, &document).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    assert!(committed == document, "openapi/openapi.json is stale: run `make gen`");
}

/// The same of the AsyncAPI document.
#[test]
fn the_committed_asyncapi_document_is_fresh() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../openapi/asyncapi.yaml");
    let document = api::asyncapi();
    if env::var_os("UPDATE_OPENAPI").is_some() {
        fs::write(&path, &document).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    assert!(committed == document, "openapi/asyncapi.yaml is stale: run `make gen`");
}
