//! Every address that is shown, put into a page or into an answer. All begin with what the operator said is public.

use domain::ids::{ChannelId, StreamId};

/// Where the public finds this install.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    public_url: String,
    rtmp_url: String,
    rtmps_url: Option<String>,
}

impl Addresses {
    /// `public_url` as browsers see it, with or without a slash at its end; the addresses for encoders with or without
    /// the application's name, which is always `live`.
    pub(crate) fn new(public_url: &str, public_rtmp_url: &str, public_rtmps_url: Option<&str>) -> Self {
        let for_encoders = |url: &str| {
            let url = url.trim_end_matches('/');
            format!("{}/live", url.strip_suffix("/live").unwrap_or(url))
        };
        Self {
            public_url: public_url.trim_end_matches('/').to_owned(),
            rtmp_url: for_encoders(public_rtmp_url),
            rtmps_url: public_rtmps_url.map(for_encoders),
        }
    }

    /// Without a slash at its end.
    pub(crate) fn public_url(&self) -> &str {
        &self.public_url
    }

    /// Whether browsers come by https.
    pub(crate) fn is_https(&self) -> bool {
        self.public_url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
    }

    /// What browsers send as `Origin` from our own pages.
    pub(crate) fn origin(&self) -> &str {
        let host = self.public_url.find("://").map_or(0, |at| at + 3);
        let end = self.public_url[host..].find('/').map_or(self.public_url.len(), |at| host + at);
        &self.public_url[..end]
    }

    /// Where encoders publish to.
    pub(crate) fn rtmp_url(&self) -> &str {
        &self.rtmp_url
    }

    /// Where they publish to under TLS, if they may.
    pub(crate) fn rtmps_url(&self) -> Option<&str> {
        self.rtmps_url.as_deref()
    }

    /// A channel's playlist, which stays the same where there is no `token`.
    pub(crate) fn channel_hls(&self, channel_id: ChannelId, token: Option<&str>) -> String {
        format!("{}/channels/{channel_id}/index.m3u8", self.live(token))
    }

    /// The same without a token, as a page of ours asks for it under whatever name it was opened.
    pub(crate) fn channel_hls_path(channel_id: ChannelId) -> String {
        format!("/live/channels/{channel_id}/index.m3u8")
    }

    /// A stream's playlist.
    pub(crate) fn stream_hls(&self, stream_id: StreamId, token: Option<&str>) -> String {
        format!("{}/{stream_id}/index.m3u8", self.live(token))
    }

    /// A channel's manifest for DASH, which stays the same where there is no `token`.
    pub(crate) fn channel_dash(&self, channel_id: ChannelId, token: Option<&str>) -> String {
        format!("{}/channels/{channel_id}/index.mpd", self.live(token))
    }

    /// A stream's manifest for DASH.
    pub(crate) fn stream_dash(&self, stream_id: StreamId, token: Option<&str>) -> String {
        format!("{}/{stream_id}/index.mpd", self.live(token))
    }

    /// A stream's latest picture.
    pub(crate) fn thumbnail(&self, stream_id: StreamId, token: Option<&str>) -> String {
        format!("{}/{stream_id}/thumbnail.jpg", self.live(token))
    }

    fn live(&self, token: Option<&str>) -> String {
        match token {
            Some(token) => format!("{}/live/t/{token}", self.public_url),
            None => format!("{}/live", self.public_url),
        }
    }

    /// A page of the web app.
    pub(crate) fn page(&self, path: &str) -> String {
        format!("{}{path}", self.public_url)
    }
}

#[cfg(test)]
mod tests {
    use super::Addresses;

    #[test]
    fn slashes_and_the_application_may_be_there_or_not() {
        for (url, rtmp) in [
            ("https://weir.example.org", "rtmp://weir.example.org:1935"),
            ("https://weir.example.org/", "rtmp://weir.example.org:1935/live/"),
        ] {
            let rtmps = rtmp.replace("rtmp:", "rtmps:");
            let addresses = Addresses::new(url, rtmp, Some(&rtmps));
            assert_eq!(addresses.page("/mira"), "https://weir.example.org/mira");
            assert_eq!(addresses.rtmp_url(), "rtmp://weir.example.org:1935/live");
            assert_eq!(addresses.rtmps_url(), Some("rtmps://weir.example.org:1935/live"));
            assert_eq!(addresses.origin(), "https://weir.example.org");
            assert!(addresses.is_https());
        }
    }

    #[test]
    fn the_origin_has_no_path() {
        let addresses = Addresses::new("http://127.0.0.1:8080/weir/", "rtmp://127.0.0.1", None);
        assert_eq!(addresses.origin(), "http://127.0.0.1:8080");
        assert!(!addresses.is_https());
    }
}
