//! Three places to ask at, a channel with a recording, and a stream.

use std::{
    fs,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use futures::future::join_all;
use ingest::origin::Kind;
use reqwest::{Client, Method, StatusCode, redirect::Policy};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::timeout};

use super::{
    addresses::{self, Row, Shown},
    players::{Player, Word, word},
};
use crate::{
    api::Caller,
    encoder::Encoder,
    nodes::{Node, Servers},
    playlist::MediaPlaylist,
    relay::Relay,
    thread::{channel_when, on_air},
    weir::{DataDir, PATIENCE, eventually},
};

/// What is under `/live`.
pub const LIVE: &str = "live";
/// What is under `/vod`.
pub const RECORDED: &str = "vod";

/// The token in the first address that somebody was given; `None` where it has none.
pub fn token_in(playback: &Value) -> Option<String> {
    let url = playback["hls_url"].as_str().unwrap_or_else(|| panic!("no address: {playback}"));
    let (_, rest) = url.split_once("/live/t/")?;
    Some(rest.split('/').next().unwrap().to_owned())
}

pub struct Stage {
    /// Of the node with the API, which has no stream.
    pub http: String,
    pub keeper: Caller,
    pub mira: Caller,
    pub recording: String,
    channel: String,
    key: String,
    rtmp: String,
    encoder: Option<Encoder>,
    stream: String,
    client: Client,
    places: [(&'static str, String); 3],
    _nodes: (Node, Node, Relay, Servers),
}

impl Stage {
    /// A node that takes streams in, one with everything else, and a relay in front of that one. The channel `river` is private, and
    /// has a recording that may be downloaded by whoever may watch it.
    pub async fn set() -> Self {
        let servers = Servers::new().await;
        let migrated = servers.operate(&["migrate"]);
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        let owner = Node::serve("ingest", &servers);
        let other = Node::serve_on(beside(&owner), "api,relay,projections,processes", &servers, &[]);
        let (here, http) = (owner.serves("http").await, other.serves("http").await);
        let (here, http) = (format!("http://{here}"), format!("http://{http}"));
        let rtmp = format!("rtmp://{}/live", owner.serves("rtmp").await);
        let secrets = servers.operate(&["keys", "edge"]);
        assert!(secrets.status.success(), "{}", String::from_utf8_lossy(&secrets.stderr));
        let relay = Relay::with(&http, &String::from_utf8(secrets.stdout).unwrap());

        let keeper = Caller::register(&http, "keeper", Some(&servers.setup_token())).await;
        let mira = Caller::register(&http, "mira", None).await;
        let key = mira.channel("river").await;
        let channel = mira.get("channels/river").await["id"].as_str().unwrap().to_owned();
        let places =
            [("the owner", here.clone()), ("another node", http.clone()), ("a relay before that", relay.http.clone())];
        let mut stage = Self {
            keeper,
            mira,
            recording: String::new(),
            channel,
            key,
            rtmp,
            encoder: None,
            stream: String::new(),
            client: Client::builder().redirect(Policy::none()).no_proxy().build().unwrap(),
            places,
            _nodes: (owner, other, relay, servers),
            http,
        };
        stage.show("private").await;
        stage.record().await;
        stage
    }

    /// Who may watch the channel from now on.
    pub async fn show(&self, visibility: &str) {
        let body = Some(json!({ "visibility": visibility }));
        let (status, answer) = self.mira.call(Method::PATCH, "channels/river", body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    pub async fn edit_recording(&self, change: Value) {
        let path = format!("recordings/{}", self.recording);
        let (status, answer) = self.mira.call(Method::PATCH, &path, Some(change)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    async fn record(&mut self) {
        let recorded = async |stage: &Self, is_on: bool| {
            let body = Some(json!({ "is_on": is_on }));
            let (status, answer) = stage.mira.call(Method::PUT, "channels/river/recording-settings", body).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
        };
        recorded(self, true).await;
        let (encoder, live) = on_air(&self.mira, "river", &self.rtmp, &self.key).await;
        let url = format!("{}{}", self.places[0].1, path_of(&live["playback"]));
        crate::playlist::check_live(&url, 4).await;
        encoder.stop();
        let ready = eventually("the recording is there", async || {
            let page = self.mira.get("channels/river/recordings").await;
            page["items"].get(0).filter(|found| found["status"] == "ready").cloned()
        })
        .await;
        self.recording = ready["id"].as_str().unwrap().to_owned();
        // What comes after is not kept.
        recorded(self, false).await;
        self.edit_recording(json!({ "is_download_allowed": true })).await;
    }

    /// Puts a stream on the air, and waits until there is something to be asked for of each kind.
    pub async fn publish(&mut self) {
        drop(self.encoder.take());
        channel_when(&self.mira, "river", false).await;
        let (encoder, live) = on_air(&self.mira, "river", &self.rtmp, &self.key).await;
        self.encoder = Some(encoder);
        self.stream = live["live_stream_id"].as_str().unwrap().to_owned();
        let url = format!("{}{}", self.places[0].1, path_of(&live["playback"]));
        crate::playlist::check_live(&url, 3).await;
    }

    /// A strict player, blocked reloads and all, at each place, and nothing for who may not.
    pub async fn plays_at_all_places_for_who_may(&self, stranger: &Caller) {
        let path = path_of(&self.mira.get("channels/river/playback").await);
        for (place, base) in &self.places {
            let played = crate::playlist::check_live(&format!("{base}{path}"), 2).await;
            assert!(played.seconds() > 1.0, "{place}: {played:?}");
            let wrong = token_in(&json!({ "hls_url": path })).unwrap();
            let wrong = with_another_mac(&wrong);
            for token in [None, Some("x"), Some(wrong.as_str())] {
                for row in self.rows(&[LIVE, RECORDED]).await {
                    // Of a recording nobody hears without a token that it is there.
                    let is_unknown = row.area == RECORDED && token.is_none();
                    let status = if is_unknown { StatusCode::NOT_FOUND } else { StatusCode::FORBIDDEN };
                    eventually(&format!("{place} refuses {row:?}"), async || {
                        let word = word(self.ask(base, &row, token).await?).await;
                        assert_ne!(word, Word::Shown, "{place}: {row:?}");
                        // Nobody may be there to be asked for a moment.
                        (word == Word::Refused(status)).then_some(())
                    })
                    .await;
                }
            }
        }
        assert_eq!(stranger.call(Method::GET, "channels/river/playback", None).await.0, StatusCode::NOT_FOUND);
    }

    /// Asks for all there is with `token` until it is refused, everywhere; `act` takes the right away. What is held and what is
    /// being sent at that moment ends, too. `after` is what is answered then, of the stream and of the recording.
    pub async fn loses(
        &self,
        what: &str,
        token: Option<String>,
        areas: &[&str],
        after: [StatusCode; 2],
        act: impl AsyncFnOnce(),
    ) {
        let token = token.as_deref();
        let mut rows = Vec::new();
        for (place, base) in &self.places {
            let began = Instant::now();
            // What there is moves on, and on a slow machine it may be gone before all of it was asked for.
            loop {
                rows = self.rows(areas).await;
                // Caches ask about addresses with a token alone: without one, the address itself says what there is.
                rows.retain(|row| row.kind != Kind::Authorise || token.is_some());
                let words = join_all(rows.iter().map(async |row| match self.ask(base, row, token).await {
                    Some(answer) => word(answer).await,
                    None => Word::Neither,
                }));
                let hidden = words.await.into_iter().zip(&rows).filter(|(word, _)| *word != Word::Shown);
                let hidden: Vec<&Row> = hidden.map(|(_, row)| row).collect();
                if hidden.is_empty() {
                    break;
                }
                assert!(began.elapsed() < PATIENCE, "{what}: {place} does not show {hidden:?}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        let shown = self.shown().await;
        let players: Vec<_> =
            self.places.iter().flat_map(|(_, base)| self.players(base, token, areas, &shown)).collect();
        act().await;
        let began = Instant::now();
        for (place, waits) in join_all(self.places.iter().map(async |(place, base)| {
            let waits = rows.iter().map(async |row| {
                let expected = after[usize::from(row.kind.is_of_recording())];
                self.until_refused(&format!("{what}: {place}"), base, row, token, expected).await;
                (began.elapsed(), row.kind)
            });
            (*place, join_all(waits).await)
        }))
        .await
        {
            let (took, kind) = waits.into_iter().max().unwrap();
            println!("| {what} | {place} | {} | {} | {kind:?} |", rows.len(), took.as_millis());
        }
        for player in players {
            timeout(PATIENCE, player).await.unwrap_or_else(|_| panic!("{what}: a player goes on")).unwrap();
        }
    }

    async fn until_refused(&self, what: &str, base: &str, row: &Row, token: Option<&str>, expected: StatusCode) {
        let began = Instant::now();
        loop {
            if let Some(answer) = self.ask(base, row, token).await
                && let Word::Refused(status) = word(answer).await
            {
                // It may be refused for one reason first, and for the other then.
                if status == expected {
                    return;
                }
            }
            assert!(began.elapsed() < PATIENCE, "{what} goes on with {row:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn players(&self, base: &str, token: Option<&str>, areas: &[&str], shown: &Shown) -> Vec<JoinHandle<()>> {
        let at = |area: &str| match token {
            Some(token) => format!("{base}/{area}/t/{token}"),
            None => format!("{base}/{area}"),
        };
        let player =
            Player { client: self.client.clone(), live: at(LIVE), recorded: at(RECORDED), shown: shown.clone() };
        let mut players = Vec::new();
        if areas.contains(&LIVE) {
            players.push(tokio::spawn(player.clone().follows()));
            players.push(tokio::spawn(player.clone().grows()));
        }
        if areas.contains(&RECORDED) {
            players.push(tokio::spawn(player.downloads()));
        }
        players
    }

    async fn ask(&self, base: &str, row: &Row, token: Option<&str>) -> Option<reqwest::Response> {
        let (path, original) = row.request(token);
        let request = self.client.get(format!("{base}{path}"));
        let request = match original {
            Some(original) => request.header("x-original-uri", original),
            None => request,
        };
        request.send().await.ok()
    }

    async fn rows(&self, areas: &[&str]) -> Vec<Row> {
        let mut rows = addresses::all(&self.shown().await);
        rows.retain(|row| areas.contains(&row.area));
        rows
    }

    /// As far as the stream is now, as its owner sees it.
    async fn shown(&self) -> Shown {
        // Who may watch may have changed a moment ago.
        let playlist = eventually("a playlist", async || {
            let path = path_of(&self.mira.get("channels/river/playback").await);
            let of_channel = format!("channels/{}/index.m3u8", self.channel);
            let path = path.replace(&of_channel, &format!("{}/index.m3u8", self.stream));
            let url = format!("{}{}", self.places[0].1, path.replace("/index.m3u8", "/source/index.m3u8"));
            MediaPlaylist::parse(&self.client.get(url).send().await.ok()?.text().await.ok()?).ok()
        })
        .await;
        let parts = playlist.segments.iter().flat_map(|segment| &segment.parts);
        let part = parts.last().map(|part| part.uri.trim_start_matches('p').trim_end_matches(".m4s").parse().unwrap());
        let (growing, _) = playlist.next_position();
        Shown {
            stream: self.stream.clone(),
            channel: self.channel.clone(),
            recording: self.recording.clone(),
            finished: growing - 1,
            growing,
            part: part.unwrap_or_default(),
        }
    }
}

/// A data directory with the objects of another node, as on a disk that both reach.
fn beside(other: &Node) -> DataDir {
    let folder = DataDir::new();
    let [theirs, ours] = [other.path(), folder.path().to_owned()].map(|folder| folder.join("data/objects"));
    fs::create_dir_all(&theirs).unwrap();
    fs::create_dir_all(ours.parent().unwrap()).unwrap();
    symlink(theirs, ours).unwrap();
    folder
}

/// The same token in every letter but one, in the middle of its MAC: the last 43 letters.
fn with_another_mac(token: &str) -> String {
    let at = token.len() - 20;
    let other = if &token[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &token[..at], &token[at + 1..])
}

/// Without what the install is reached by.
fn path_of(playback: &Value) -> String {
    let url = playback["hls_url"].as_str().unwrap_or_else(|| panic!("no address: {playback}"));
    url[url.find("/live/").unwrap()..].to_owned()
}
