use axum::{
    http::{HeaderMap, header},
    response::{Html, IntoResponse, Response},
};

use super::head;
use crate::{conditional, server::Server};

/// The file that is the page.
pub(super) const INDEX: &str = "index.html";

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Weir</title>\
    <body style=\"font-family:sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem\"><h1>Weir</h1>\
    <p>The web app was not built: run <code>make build</code>.</p>\
    <p>The API is here: <a href=\"/docs/\">/docs</a>.</p></body></html>\n";

/// What a page has that is its own.
pub(super) struct Described {
    /// In place of the title and the description that all pages have.
    pub(super) head: String,
    /// At the end of the head, after the code that all pages need.
    pub(super) code: String,
}

/// The page, cut open where the title is.
pub(super) struct Index {
    before: String,
    /// What the file itself has between the two, title and all.
    title: String,
    after: String,
}

impl Index {
    pub(super) fn new(html: &str) -> Self {
        let cut = html
            .find("<title>")
            .and_then(|start| Some((start, start + html[start..].find("</title>")? + "</title>".len())))
            .or_else(|| html.find("</head>").map(|end| (end, end)));
        let (start, end) = cut.unwrap_or((0, 0));
        Self { before: html[..start].to_owned(), title: html[start..end].to_owned(), after: html[end..].to_owned() }
    }

    /// The page with another title, without a description of its own, and with what else it needs.
    fn described(&self, described: &Described) -> String {
        let Described { head, code } = described;
        let after = &self.after;
        let description = after.find("<meta name=\"description\"").and_then(|start| {
            let end = start + after[start..].find('>')? + 1;
            Some((&after[..start], &after[end..]))
        });
        let (between, rest) = description.unwrap_or(("", after));
        let (inside, outside) = rest.split_at(rest.find("</head>").unwrap_or(rest.len()));
        [self.before.as_str(), head, between, inside, code, outside].concat()
    }

    pub(super) fn plain(&self) -> String {
        [self.before.as_str(), &self.title, &self.after].concat()
    }
}

/// The page at a path without a slash at the front, with what can be said of it in its head.
pub(super) async fn respond(server: &Server, path: &str, request: &HeaderMap) -> Response {
    let Some(index) = server.web_app.index() else {
        return ([(header::CACHE_CONTROL, "no-store")], Html(NOT_BUILT)).into_response();
    };
    let html = match head::at(server, path.trim_end_matches('/')).await {
        Some(described) => index.described(&described),
        None => index.plain(),
    };
    let tag = conditional::etag(html.as_bytes());
    conditional::bytes(request, "text/html; charset=utf-8", html, tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_is_what_is_replaced() {
        let html = "<head><title>Weir</title><link><meta name=\"description\" content=\"x\" /><script></head>";
        let index = Index::new(html);
        assert_eq!(index.plain(), html);
        let described = Described { head: "<title>x</title>".to_owned(), code: "<link code>".to_owned() };
        assert_eq!(index.described(&described), "<head><title>x</title><link><script><link code></head>");
        assert_eq!(Index::new("<head></head>").described(&described), "<head><title>x</title><link code></head>");
        assert_eq!(Index::new("text").plain(), "text");
    }
}
