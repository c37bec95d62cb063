//! An integrator who follows the feed, across whatever happens to the servers.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{task::JoinHandle, time::sleep};

use crate::{clients::Account, dice::Dice};

/// An event as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub position: i64,
    pub event_type: String,
    pub sequence: i64,
}

pub struct Subscriber {
    told: Arc<Mutex<Vec<Told>>>,
    task: JoinHandle<()>,
}

impl Subscriber {
    /// Follows as `account`, an administrator's, from the first event on.
    pub fn start(http: Vec<String>, account: Arc<Account>, dice: Dice) -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(follow(http, account, dice, Arc::clone(&told)));
        Self { told, task }
    }

    /// The last position that it was told.
    pub fn position(&self) -> i64 {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).last().map_or(0, |told| told.position)
    }

    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A comment comes every 15 seconds at the latest.
const SILENT: Duration = Duration::from_secs(20);

async fn follow(http: Vec<String>, account: Arc<Account>, mut dice: Dice, told: Arc<Mutex<Vec<Told>>>) {
    let client = reqwest::Client::builder().connect_timeout(SILENT).read_timeout(SILENT).build();
    let client = client.expect("an HTTP client needs nothing");
    loop {
        let node = dice.pick(&http);
        let last = told.lock().unwrap_or_else(PoisonError::into_inner).last().map_or(0, |told| told.position);
        let request = client
            .get(format!("{node}/api/v1/events/subscribe"))
            .bearer_auth(account.token())
            .header("last-event-id", last.to_string());
        // It ends when its node ends, and then another node goes on from there.
        if let Ok(answer) = request.send().await
            && answer.status().is_success()
        {
            listen(answer, &told).await;
        }
        sleep(Duration::from_millis(dice.between(20, 200))).await;
    }
}

/// Takes what comes, until it ends (HTML Standard, section 9.2.6; lines end by a line feed here).
async fn listen(mut answer: reqwest::Response, told: &Mutex<Vec<Told>>) {
    let (mut unread, mut kind, mut data) = (Vec::new(), String::new(), String::new());
    while let Ok(Some(chunk)) = answer.chunk().await {
        unread.extend_from_slice(&chunk);
        while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = unread.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]);
            match line.split_once(": ") {
                Some(("event", value)) => value.clone_into(&mut kind),
                Some(("data", value)) => data.push_str(value),
                // Only a whole event counts.
                None if line.is_empty() => {
                    if !data.is_empty() && kind != "caught_up" {
                        let data: Value = serde_json::from_str(&data).unwrap_or_default();
                        told.lock().unwrap_or_else(PoisonError::into_inner).push(event(&data));
                    }
                    data.clear();
                    kind.clear();
                }
                _ => {}
            }
        }
    }
}

fn event(item: &Value) -> Told {
    Told {
        position: item["position"].as_i64().unwrap_or_default(),
        event_type: item["type"].as_str().unwrap_or_default().to_owned(),
        sequence: item["sequence"].as_i64().unwrap_or_default(),
    }
}
