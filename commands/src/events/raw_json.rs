use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// JSON as the log has it. It comes from a column that holds nothing else, so it is not looked through again, which would
/// cost as much as all else that is done to read an event.
#[derive(Debug, Clone)]
pub struct RawJson(Box<str>);

impl RawJson {
    /// Of a column of the type `json`.
    pub(super) fn of_column(text: &str) -> Self {
        Self(text.into())
    }

    /// Its text.
    #[must_use]
    pub fn get(&self) -> &str {
        &self.0
    }
}

impl From<Box<RawValue>> for RawJson {
    fn from(value: Box<RawValue>) -> Self {
        Self(value.into())
    }
}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        value.serialize(serializer)
    }
}
