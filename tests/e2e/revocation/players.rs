//! Players that hold requests and read what is being sent, until they are sent away.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde_json::Value;

use super::addresses::Shown;
use crate::playlist::MediaPlaylist;

/// What an answer says of the right to what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It is shown.
    Shown,
    /// It is refused, so.
    Refused(StatusCode),
    /// There is nothing of the kind just now, or nobody can be asked.
    Neither,
}

/// Reads nothing of what is shown.
pub async fn word(answer: Response) -> Word {
    let status = answer.status();
    if status.is_success() || status.is_redirection() {
        return Word::Shown;
    }
    let problem: Value = answer.json().await.unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or_default();
    let is_refused = match status {
        StatusCode::FORBIDDEN => code == "playback_refused",
        // A segment that has gone out of the window is no refusal.
        StatusCode::NOT_FOUND => ["stream_not_found", "recording_not_found", "channel_offline"].contains(&code),
        _ => false,
    };
    if is_refused { Word::Refused(status) } else { Word::Neither }
}

/// Somebody at one place, with one address.
#[derive(Clone)]
pub struct Player {
    pub client: Client,
    /// As in `http://127.0.0.1:8080/live/t/<token>`.
    pub live: String,
    /// The same of recordings.
    pub recorded: String,
    pub shown: Shown,
}

impl Player {
    /// Follows the stream by blocked reloads, and waits for hinted parts, until that is refused.
    pub async fn follows(self) {
        let mut query = String::new();
        loop {
            let url = format!("{}/{}/source/index.m3u8{query}", self.live, self.shown.stream);
            let Some(text) = self.read(&url).await else { return };
            query.clear();
            if let Ok(playlist) = MediaPlaylist::parse(&text) {
                let (segment, part) = playlist.next_position();
                query = format!("?_HLS_msn={segment}&_HLS_part={part}");
                if let Some(hint) = &playlist.preload_hint
                    && self.read(&format!("{}/{}/source/{hint}", self.live, self.shown.stream)).await.is_none()
                {
                    return;
                }
            }
        }
    }

    /// Reads segments for DASH as they grow, until that is refused.
    pub async fn grows(self) {
        let mut number = self.shown.growing;
        while self.read(&format!("{}/{}/source/v/s{number}.m4s", self.live, self.shown.stream)).await.is_some() {
            number += 1;
        }
    }

    /// Downloads the recording again and again, until that is refused.
    pub async fn downloads(self) {
        while self.read(&format!("{}/{}/download.mp4", self.recorded, self.shown.recording)).await.is_some() {}
    }

    /// What is there, as far as it came; `None` once it is refused.
    async fn read(&self, url: &str) -> Option<String> {
        const AGAIN: Duration = Duration::from_millis(20);
        let Ok(answer) = self.client.get(url).send().await else { return Some(String::new()) };
        if answer.status().is_success() {
            let body = answer.bytes().await.unwrap_or_default();
            return Some(String::from_utf8_lossy(&body).into_owned());
        }
        match word(answer).await {
            Word::Refused(_) => None,
            Word::Shown | Word::Neither => {
                tokio::time::sleep(AGAIN).await;
                Some(String::new())
            }
        }
    }
}
