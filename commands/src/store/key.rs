use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use quick_cache::Equivalent;

/// Which aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) aggregate_type: &'static str,
    pub(crate) id: Arc<str>,
}

/// The same, borrowed, to look it up without allocating.
pub(crate) struct KeyRef<'a> {
    pub(crate) aggregate_type: &'static str,
    pub(crate) id: &'a str,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        KeyRef { aggregate_type: self.aggregate_type, id: &self.id }.hash(state);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.aggregate_type.hash(state);
        self.id.hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.aggregate_type == key.aggregate_type && *self.id == *key.id
    }
}
