//! What the media plane logs, for tests that read it.

use std::{
    fmt::Write,
    net::SocketAddr,
    sync::{Mutex, Once},
};

use tracing::{Event, Level, Metadata, Subscriber, field, span};

static LINES: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

/// Keeps every event of the ingest crate.
struct Keeper;

impl Subscriber for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("ingest")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        if std::env::var_os("WEIR_TEST_LOG").is_some() {
            eprintln!("{} {}", event.metadata().level(), line.0);
        }
        LINES.lock().unwrap().push((*event.metadata().level(), line.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl field::Visit for Line {
    fn record_debug(&mut self, field: &field::Field, value: &dyn std::fmt::Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Keeper).unwrap());
}

/// The lines about a peer so far.
pub fn about(peer: SocketAddr) -> Vec<(Level, String)> {
    let field = format!("peer={peer} ");
    LINES.lock().unwrap().iter().filter(|(_, line)| line.contains(&field)).cloned().collect()
}

/// The lines with this text in them.
pub fn with(text: &str) -> Vec<(Level, String)> {
    LINES.lock().unwrap().iter().filter(|(_, line)| line.contains(text)).cloned().collect()
}
