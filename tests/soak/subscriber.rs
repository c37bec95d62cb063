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

async fn follow(http: Vec<String>, account: Arc<Account>, mut dice: Dice, told: Arc<Mutex<Vec<Told>>>) {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().expect("it needs nothing");
    loop {
        let after = told.lock().unwrap_or_else(PoisonError::into_inner).last().map_or(0, |told| told.position);
        let url = format!("{}/api/v1/events?after={after}&limit=100", dice.pick(&http));
        let page = async {
            let response = client.get(url).bearer_auth(account.token()).send().await?.error_for_status()?;
            response.json::<Value>().await
        };
        let Ok(page) = page.await else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        told.lock().unwrap_or_else(PoisonError::into_inner).extend(items.iter().map(event));
        if items.is_empty() {
            sleep(Duration::from_millis(100)).await;
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
