//! What can still be made out of an event that cannot be read.

use commands::events::StoredEvent;
use domain::{
    ids::ChannelId,
    reports::{ReportAction, ReportTarget},
};
use serde_json::Value;

/// The fields of a payload, as far as it has any.
pub struct Fields(Value);

impl Fields {
    /// Those of an event.
    pub fn of(stored: &StoredEvent) -> Self {
        let payload: Option<Value> = serde_json::from_str(stored.payload.get()).ok();
        let fields = payload.and_then(|mut payload| payload.as_object_mut()?.values_mut().next().map(Value::take));
        Self(fields.unwrap_or_default())
    }

    /// Which channel it is about.
    pub fn channel_id(&self) -> Option<ChannelId> {
        self.text("channel_id")?.parse().ok()
    }

    /// What a decided report may have taken down: what it is about, unless it says that something else was done.
    pub fn taken_down(&self) -> Option<ReportTarget> {
        match self.text("action") {
            Some(action) if action != ReportAction::TakeDown.as_str() => None,
            _ => serde_json::from_value(self.0.get("target")?.clone()).ok(),
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }
}
