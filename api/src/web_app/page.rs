use std::{borrow::Cow, time::Duration};

use axum::{
    http::{HeaderMap, header},
    response::{Html, IntoResponse, Response},
};
use domain::channels::{Handle, Visibility};
use projections::channels::ChannelRow;

use crate::{conditional, server::Server};

/// The file that is the page.
pub(super) const INDEX: &str = "index.html";

/// How long a page waits for what it could say about a channel; people should see it in any case.
const PATIENCE: Duration = Duration::from_millis(300);

/// The most of a description that goes into a page, in characters.
const DESCRIPTION_MAX: usize = 200;

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Weir</title>\
    <body style=\"font-family:sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem\"><h1>Weir</h1>\
    <p>The web app was not built: run <code>make build</code>.</p>\
    <p>The API is here: <a href=\"/docs/\">/docs</a>.</p></body></html>\n";

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

    /// The page with another title, and without a description of its own.
    fn described(&self, head: &str) -> String {
        let after = &self.after;
        let description = after.find("<meta name=\"description\"").and_then(|start| {
            let end = start + after[start..].find('>')? + 1;
            Some((&after[..start], &after[end..]))
        });
        let (between, rest) = description.unwrap_or(("", after));
        [self.before.as_str(), head, between, rest].concat()
    }

    fn plain(&self) -> String {
        [self.before.as_str(), &self.title, &self.after].concat()
    }
}

/// The page at a path without a slash at the front. The page of a channel says in its head what it shows, for those who
/// do not run scripts: search engines, and chats that preview links.
pub(super) async fn respond(server: &Server, path: &str, request: &HeaderMap) -> Response {
    let Some(index) = server.web_app.index() else {
        return ([(header::CACHE_CONTROL, "no-store")], Html(NOT_BUILT)).into_response();
    };
    let html = match channel_at(server, path).await {
        Some(channel) => index.described(&head(server, &channel)),
        None => index.plain(),
    };
    let tag = conditional::etag(html.as_bytes());
    conditional::bytes(request, "text/html; charset=utf-8", html, tag)
}

async fn channel_at(server: &Server, path: &str) -> Option<ChannelRow> {
    let handle = Handle::parse(path.trim_end_matches('/')).ok()?;
    let channels = server.read.channels();
    let channel = tokio::time::timeout(PATIENCE, channels.by_handle(handle.as_str())).await.ok()?.ok()?;
    // The page is asked for without an access token, so nobody is known to have a right.
    channel.filter(|channel| channel.visibility != Visibility::Private)
}

fn head(server: &Server, channel: &ChannelRow) -> String {
    let title = escape(&channel.title);
    let url = escape(&server.addresses.page(&format!("/{}", channel.handle))).into_owned();
    let description = if channel.description.is_empty() {
        format!("{} on Weir", channel.handle)
    } else {
        shorten(&channel.description)
    };
    let description = escape(&description).into_owned();
    let is_public = channel.visibility == Visibility::Public;
    let image = channel.live_stream_id.filter(|_| is_public);
    let image = image.map(|stream_id| server.addresses.thumbnail(stream_id, None));
    let card = if image.is_some() { "summary_large_image" } else { "summary" };
    let mut head = format!(
        "<title>{title} · Weir</title>\
         <meta name=\"description\" content=\"{description}\">\
         <link rel=\"canonical\" href=\"{url}\">\
         <meta property=\"og:site_name\" content=\"Weir\">\
         <meta property=\"og:type\" content=\"video.other\">\
         <meta property=\"og:title\" content=\"{title}\">\
         <meta property=\"og:description\" content=\"{description}\">\
         <meta property=\"og:url\" content=\"{url}\">\
         <meta name=\"twitter:card\" content=\"{card}\">"
    );
    if !is_public {
        head.push_str("<meta name=\"robots\" content=\"noindex\">");
    }
    if let Some(image) = image {
        head.push_str(&format!("<meta property=\"og:image\" content=\"{}\">", escape(&image)));
    }
    head
}

/// The beginning of a text, on one line.
fn shorten(text: &str) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(DESCRIPTION_MAX) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// Text made harmless for HTML, between tags and in quoted attributes.
fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_is_what_is_replaced() {
        let html = "<head><title>Weir</title><link><meta name=\"description\" content=\"x\" /><script></head>";
        let index = Index::new(html);
        assert_eq!(index.plain(), html);
        assert_eq!(index.described("<title>x</title>"), "<head><title>x</title><link><script></head>");
        assert_eq!(Index::new("<head></head>").described("<title>x</title>"), "<head><title>x</title></head>");
        assert_eq!(Index::new("text").plain(), "text");
    }

    #[test]
    fn texts_are_escaped_and_shortened() {
        assert_eq!(escape("\"><script>'&"), "&quot;&gt;&lt;script&gt;&#39;&amp;");
        assert_eq!(shorten("a\n\n b"), "a b");
        assert_eq!(shorten(&"ї".repeat(300)).chars().count(), 201);
    }
}
