use std::{borrow::Cow, collections::HashMap, fmt, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use rust_embed::Embed;
use serde::Deserialize;

use super::page::{INDEX, Index};
use crate::conditional;

/// The web app's files. Cheap to clone.
#[derive(Clone)]
pub struct WebApp(Arc<Inner>);

struct Inner {
    files: HashMap<String, File>,
    index: Option<Index>,
    /// Tags that name the code of some pages, by what the build calls them.
    preloads: HashMap<String, String>,
}

/// The file in which the build says what code some pages need.
const PRELOADS: &str = "preloads.json";

/// What a page needs besides what every page needs, by paths without a slash at the front.
#[derive(Deserialize)]
struct Preloads {
    scripts: Vec<String>,
    styles: Vec<String>,
}

/// A file, with what the build compressed of it.
pub(super) struct File {
    kind: &'static str,
    etag: HeaderValue,
    plain: Bytes,
    brotli: Option<Bytes>,
    gzip: Option<Bytes>,
}

#[derive(Embed)]
#[folder = "$CARGO_MANIFEST_DIR/../frontend/dist"]
struct Built;

impl WebApp {
    /// The files that were there when this crate was built; none, when the web app had not been built before.
    #[must_use]
    pub fn embedded() -> Self {
        let files = Built::iter().filter_map(|path| {
            let data = Built::get(&path)?.data;
            Some((path.into_owned(), data))
        });
        Self::from_files(files)
    }

    /// These files, by their paths without a slash at the front. `index.html` is the page; `x.br` and `x.gz` are `x`,
    /// compressed.
    pub fn from_files(files: impl IntoIterator<Item = (String, Cow<'static, [u8]>)>) -> Self {
        let mut contents: HashMap<String, Bytes> = files
            .into_iter()
            .map(|(path, data)| {
                let data = match data {
                    Cow::Borrowed(data) => Bytes::from_static(data),
                    Cow::Owned(data) => Bytes::from(data),
                };
                (path, data)
            })
            .collect();
        let paths: Vec<String> =
            contents.keys().filter(|path| !path.ends_with(".br") && !path.ends_with(".gz")).cloned().collect();
        let files: HashMap<String, File> = paths
            .into_iter()
            .filter_map(|path| {
                let plain = contents.remove(&path)?;
                let file = File {
                    kind: kind(&path),
                    etag: conditional::etag(&plain),
                    plain,
                    brotli: contents.remove(&format!("{path}.br")),
                    gzip: contents.remove(&format!("{path}.gz")),
                };
                Some((path, file))
            })
            .collect();
        let index = files.get(INDEX).map(|file| Index::new(&String::from_utf8_lossy(&file.plain)));
        let listed = files.get(PRELOADS).and_then(|file| serde_json::from_slice(&file.plain).ok());
        let listed: HashMap<String, Preloads> = listed.unwrap_or_default();
        let preloads = listed.into_iter().map(|(page, preloads)| (page, preloads.tags())).collect();
        Self(Arc::new(Inner { files, index, preloads }))
    }

    /// The file at a path without a slash at the front.
    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.0.files.get(path)
    }

    /// Tags for the head of a page that the build calls so; empty for one that it does not know.
    pub(super) fn preloads(&self, page: &str) -> &str {
        self.0.preloads.get(page).map_or("", String::as_str)
    }

    /// The page; `None` when the web app was not built.
    pub(super) fn index(&self) -> Option<&Index> {
        self.0.index.as_ref()
    }
}

impl Preloads {
    fn tags(&self) -> String {
        let scripts =
            self.scripts.iter().map(|path| format!("<link rel=\"modulepreload\" crossorigin href=\"/{path}\">"));
        let styles =
            self.styles.iter().map(|path| format!("<link rel=\"preload\" as=\"style\" crossorigin href=\"/{path}\">"));
        scripts.chain(styles).collect()
    }
}

impl fmt::Debug for WebApp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "WebApp({} files)", self.0.files.len())
    }
}

impl File {
    /// The answer to a request; `is_hashed` when the file's name changes with its contents.
    pub(super) fn respond(&self, request: &HeaderMap, is_hashed: bool) -> Response {
        let caching = if is_hashed { "public, max-age=31536000, immutable" } else { "no-cache" };
        let mut headers = HeaderMap::with_capacity(5);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
        headers.insert(header::ETAG, self.etag.clone());
        if self.brotli.is_some() || self.gzip.is_some() {
            headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        if conditional::has(request, &self.etag) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        let (body, encoding) = self.encoded(request);
        if let Some(encoding) = encoding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        (headers, Body::from(body)).into_response()
    }

    fn encoded(&self, request: &HeaderMap) -> (Bytes, Option<&'static str>) {
        for (encoding, body) in [("br", &self.brotli), ("gzip", &self.gzip)] {
            if let Some(body) = body
                && accepts(request, encoding)
            {
                return (body.clone(), Some(encoding));
            }
        }
        (self.plain.clone(), None)
    }
}

/// Whether a client takes an encoding (RFC 9110, section 12.5.3). It has to be named: `*` is what scripts send that do not
/// decode anything.
fn accepts(request: &HeaderMap, encoding: &str) -> bool {
    request
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|offer| {
            let mut parts = offer.split(';').map(str::trim);
            let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding));
            let is_refused = parts.any(|weight| {
                weight
                    .strip_prefix("q=")
                    .and_then(|weight| weight.parse::<f32>().ok())
                    .is_some_and(|weight| weight <= 0.0)
            });
            is_named && !is_refused
        })
}

/// The media type of a file by the end of its name.
fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        "txt" => "text/plain; charset=utf-8",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_is_taken_when_it_is_named_and_not_refused() {
        let takes = |value: &'static str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]);
            (accepts(&headers, "br"), accepts(&headers, "gzip"))
        };
        assert_eq!(takes("gzip, deflate, br"), (true, true));
        assert_eq!(takes("gzip;q=0.8, br;q=0"), (false, true));
        assert_eq!(takes("*"), (false, false));
        assert_eq!(takes("identity"), (false, false));
        assert_eq!(takes("GZIP , BR;q=0.1"), (true, true));
    }
}
