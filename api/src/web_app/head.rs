//! What pages say of themselves in their heads, for those who run no scripts: search engines, and chats that preview links.
//!
//! A page is asked for without an access token, so a head says what everybody may see and nothing else. What is private,
//! suspended, erased or was never there has none: its page is that of any other address. Another kind of page adds an arm to
//! [`at`], and a function that says what there is.
//!
//! A head also names what its page will ask for as soon as it runs, so that this is under way before: code, by what the build
//! says of it (`frontend/build/preloads.ts`), and answers.

use std::{borrow::Cow, time::Duration};

use domain::{
    accounts::Username,
    channels::{Handle, Visibility},
    ids::RecordingId,
    recordings::{RecordingState, RecordingVisibility},
};
use projections::QueryError;

use super::page::Described;
use crate::{accounts::avatar_of, addresses::Addresses, server::Server};

/// How long a page waits for what it could say of itself; people should see it in any case.
const PATIENCE: Duration = Duration::from_millis(300);

/// The most of a description that goes into a page, in characters.
const DESCRIPTION_MAX: usize = 200;

/// What there is to say of a page, nothing of it escaped.
#[derive(Debug, Default)]
struct Head {
    title: String,
    /// Empty for one that is made of `name`.
    description: String,
    /// Who or what it is of, as it stands in addresses.
    name: String,
    /// Where the page is, from the first slash on.
    path: String,
    /// As the Open Graph protocol calls it.
    kind: &'static str,
    image: Option<Image>,
    /// Whether search engines may list it.
    is_listed: bool,
    /// As the build calls the code that it needs besides what every page needs; empty for none.
    code: &'static str,
    /// What it asks for at once, from the first slash on: nothing that is not everybody's.
    asks: Vec<String>,
}

#[derive(Debug)]
struct Image {
    url: String,
    is_wide: bool,
}

/// The head of the page at a path without slashes around it; `None` when there is nothing to say in it.
pub(super) async fn at(server: &Server, path: &str) -> Option<Described> {
    let parts: Vec<&str> = path.split('/').collect();
    let head = async {
        match parts[..] {
            ["accounts", username] => account(server, username).await,
            [handle, "videos", id] => recording(server, handle, id).await,
            [handle] => channel(server, handle).await,
            _ => Ok(None),
        }
    };
    // A page is shown whether or not more can be said about it.
    let head = tokio::time::timeout(PATIENCE, head).await.ok()?.ok()??;
    Some(Described { head: head.html(server), code: server.web_app.preloads(head.code).to_owned() })
}

async fn channel(server: &Server, handle: &str) -> Result<Option<Head>, QueryError> {
    let Ok(handle) = Handle::parse(handle) else { return Ok(None) };
    let Some(row) = server.read.channels().by_handle(handle.as_str()).await? else { return Ok(None) };
    if row.visibility == Visibility::Private {
        return Ok(None);
    }
    let is_listed = row.visibility == Visibility::Public;
    let is_live = row.live_stream_id.is_some();
    // The player is given the channel's lasting address, which is there while it is live. Who is signed in asks for the channel once more: the
    // browser takes no answer for a request with another head.
    let asks = match is_listed && is_live {
        true => {
            vec![format!("/api/v1/channels/{}", row.handle.to_ascii_lowercase()), Addresses::channel_hls_path(row.id)]
        }
        false => Vec::new(),
    };
    // A picture of an unlisted one would need a token.
    let url = row.live_stream_id.filter(|_| is_listed).map(|stream_id| server.addresses.thumbnail(stream_id, None));
    Ok(Some(Head {
        title: row.title,
        description: row.description,
        path: format!("/{}", row.handle),
        name: row.handle,
        kind: "video.other",
        image: url.map(|url| Image { url, is_wide: true }),
        is_listed,
        code: "channel",
        asks,
    }))
}

async fn account(server: &Server, username: &str) -> Result<Option<Head>, QueryError> {
    let Ok(username) = Username::parse(username) else { return Ok(None) };
    let Some(row) = server.read.profiles().by_username(username.as_str()).await? else { return Ok(None) };
    let avatar = avatar_of(server, row.account_id, row.avatar.as_ref());
    let name = row.display_name.unwrap_or_else(|| row.username.clone());
    Ok(Some(Head {
        title: name.clone(),
        description: row.bio.unwrap_or_default(),
        path: format!("/accounts/{}", row.username),
        name,
        kind: "profile",
        image: avatar.map(|avatar| Image { url: avatar.large_url, is_wide: false }),
        is_listed: true,
        ..Head::default()
    }))
}

async fn recording(server: &Server, handle: &str, id: &str) -> Result<Option<Head>, QueryError> {
    let Ok(id) = id.parse::<RecordingId>() else { return Ok(None) };
    let Some(row) = server.read.recordings().by_id(id).await? else { return Ok(None) };
    let is_shown = row.state == RecordingState::Published
        && row.visibility != RecordingVisibility::Archived
        && row.channel_visibility != Visibility::Private
        // Under another's handle it would speak for them.
        && row.channel_handle.eq_ignore_ascii_case(handle);
    if !is_shown {
        return Ok(None);
    }
    let is_listed = row.visibility == RecordingVisibility::Published && row.channel_visibility == Visibility::Public;
    let thumbnail = is_listed.then(|| server.addresses.page(&format!("/vod/{}/thumbnail.jpg", row.id)));
    Ok(Some(Head {
        title: row.title,
        description: String::new(),
        path: format!("/{}/videos/{}", row.channel_handle, row.id),
        name: row.channel_handle,
        kind: "video.other",
        image: thumbnail.map(|url| Image { url, is_wide: true }),
        is_listed,
        code: "recording",
        asks: Vec::new(),
    }))
}

impl Head {
    fn html(&self, server: &Server) -> String {
        let title = escape(&self.title);
        let url = server.addresses.page(&self.path);
        let url = escape(&url);
        let description =
            if self.description.is_empty() { format!("{} on Weir", self.name) } else { shorten(&self.description) };
        let description = escape(&description);
        let kind = self.kind;
        let card =
            if self.image.as_ref().is_some_and(|image| image.is_wide) { "summary_large_image" } else { "summary" };
        let mut html = format!(
            "<title>{title} · Weir</title>\
             <meta name=\"description\" content=\"{description}\">\
             <link rel=\"canonical\" href=\"{url}\">\
             <meta property=\"og:site_name\" content=\"Weir\">\
             <meta property=\"og:type\" content=\"{kind}\">\
             <meta property=\"og:title\" content=\"{title}\">\
             <meta property=\"og:description\" content=\"{description}\">\
             <meta property=\"og:url\" content=\"{url}\">\
             <meta name=\"twitter:card\" content=\"{card}\">"
        );
        if !self.is_listed {
            html.push_str("<meta name=\"robots\" content=\"noindex\">");
        }
        if let Some(image) = &self.image {
            html.push_str(&format!("<meta property=\"og:image\" content=\"{}\">", escape(&image.url)));
        }
        for path in &self.asks {
            let path = escape(path);
            html.push_str(&format!(
                "<link rel=\"preload\" as=\"fetch\" fetchpriority=\"high\" crossorigin=\"anonymous\" href=\"{path}\">"
            ));
        }
        html
    }
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
    fn texts_are_escaped_and_shortened() {
        assert_eq!(escape("\"><script>'&"), "&quot;&gt;&lt;script&gt;&#39;&amp;");
        assert_eq!(shorten("a\n\n b"), "a b");
        assert_eq!(shorten(&"ї".repeat(300)).chars().count(), 201);
    }
}
