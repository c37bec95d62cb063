//! Swagger UI, embedded: the document made readable and callable.

use axum::Router;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Swagger UI under `path`, showing the document at `document_url`. It loads nothing from elsewhere.
pub fn router<S: Clone + Send + Sync + 'static>(path: &'static str, document_url: &'static str) -> Router<S> {
    let config = Config::new([document_url])
        .deep_linking(true)
        .display_request_duration(true)
        .doc_expansion("list")
        .filter(true)
        // The default sends the document to a validator elsewhere.
        .validator_url("none");
    SwaggerUi::new(path).config(config).into()
}
