//! How tests read the feed: server-sent events as the HTML Standard has them, and connections that do not read.

use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::site::{PATIENCE, SignedIn, Site};

pub(crate) const LONG: Duration = PATIENCE;

/// An event as `EventSource` would dispatch it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dispatched {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl Dispatched {
    pub(crate) fn position(&self) -> i64 {
        self.id.parse().unwrap()
    }
}

/// What comes of a subscription.
pub(crate) struct Listener {
    response: Response,
    unread: String,
    /// As `EventSource` keeps it.
    pub(crate) last_event_id: String,
    /// Lines that begin with a colon.
    pub(crate) comments: Vec<String>,
    pub(crate) retry: Option<String>,
}

impl Listener {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Self { response, unread: String::new(), last_event_id: String::new(), comments: Vec::new(), retry: None }
    }

    /// The next block: `Some(None)` when it dispatches nothing, `None` at the end.
    async fn block(&mut self) -> Option<Option<Dispatched>> {
        let block = loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let block = block.to_owned();
                self.unread = rest.to_owned();
                break block;
            }
            let chunk = timeout(LONG, self.response.chunk()).await.expect("the feed is silent").unwrap()?;
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        };
        let (mut name, mut data) = (String::new(), String::new());
        for line in block.lines() {
            match line.split_once(':').unwrap() {
                ("", comment) => self.comments.push(comment.trim().to_owned()),
                ("id", id) => self.last_event_id = id.trim_start().to_owned(),
                ("event", of) => name = of.trim_start().to_owned(),
                ("data", of) => data.push_str(of.trim_start()),
                ("retry", retry) => self.retry = Some(retry.trim().to_owned()),
                other => panic!("no field of server-sent events: {other:?}"),
            }
        }
        if data.is_empty() {
            return Some(None);
        }
        let data = serde_json::from_str(&data).unwrap();
        Some(Some(Dispatched { id: self.last_event_id.clone(), name, data }))
    }

    /// The next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Dispatched> {
        loop {
            if let Some(dispatched) = self.block().await? {
                return Some(dispatched);
            }
        }
    }

    /// Reads on until a block without an event, a heartbeat for example.
    pub(crate) async fn silence(&mut self) {
        while !matches!(self.block().await, Some(None)) {}
    }

    /// The events up to the next `caught_up`, and where that was.
    pub(crate) async fn until_caught_up(&mut self) -> (Vec<Dispatched>, i64) {
        let mut events = Vec::new();
        loop {
            let event = self.next().await.expect("the feed ended");
            if event.name == "caught_up" {
                assert_eq!(event.data["position"], event.position());
                return (events, event.position());
            }
            events.push(event);
        }
    }

    /// Reads to the end.
    pub(crate) async fn end(&mut self) {
        while self.block().await.is_some() {}
    }
}

impl Site {
    pub(crate) async fn subscribe(&self, who: &SignedIn, query: &str) -> Listener {
        let path = format!("/api/v1/events/subscribe{query}");
        Listener::of(self.get(&path).bearer_auth(&who.token)).await
    }

    /// Tries to subscribe until there is a place.
    pub(crate) async fn until_subscribed(&self, who: &SignedIn) {
        let trying = async {
            while self.send(self.get("/api/v1/events/subscribe").bearer_auth(&who.token)).await.status != 200 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONG, trying).await.expect("a place that is free is given again");
    }

    /// Asks for the log as one answer until there is a place: one is given back after the end of who had it is in the log.
    pub(crate) async fn until_transferring(&self, who: &SignedIn) {
        let trying = async {
            let ask = async || self.get("/api/v1/events?format=ndjson").bearer_auth(&who.token).send().await.unwrap();
            while ask().await.status() != 200 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONG, trying).await.expect("a place that is free is given again");
    }

    /// A request whose answer nobody reads: a connection with little room.
    pub(crate) async fn unread(&self, who: &SignedIn, path: &str, headers: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let address = self.url.trim_start_matches("http://").parse().unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\nAuthorization: Bearer {}\r\n{headers}\r\n",
            who.token
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    /// Puts many events into the log, as nobody's commands, of about 1 kB each.
    pub(crate) async fn fill_log(&self, count: i64) {
        self.fill_log_with(count, "repeat('~', 800)").await;
    }

    /// The same of texts that hardly get shorter by being compressed.
    pub(crate) async fn fill_log_with_noise(&self, count: i64) {
        self.fill_log_with(count, "(select string_agg(md5(n || '.' || m), '') from generate_series(1, 25) m)").await;
    }

    async fn fill_log_with(&self, count: i64, description: &str) {
        let mut transaction = self.pool.begin().await.unwrap();
        let head: i64 = sqlx::query_scalar("update log.head set position = position + $1 returning position - $1")
            .bind(count)
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
        let fill = format!(
            "insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
             metadata, recorded_at) \
             select $1 + n, 'channel', '018f3c5e-7a12-7c3d-9e1f-' || lpad(($1 + n)::text, 12, '0'), 1, 'channel.details_changed', \
                '1', json_build_object('DetailsChanged', json_build_object('channel_id', \
                '018f3c5e-7a12-7c3d-9e1f-' || lpad(($1 + n)::text, 12, '0'), 'title', 'River ' || n, 'description', \
                {description}, 'changed_at', '2026-11-21T10:00:00Z')), \
                json_build_object('actor', 'system', 'command_id', '018f3c5e-7a12-7c3d-9e1f-000000000000', \
                'correlation_id', '018f3c5e-7a12-7c3d-9e1f-000000000000'), clock_timestamp() \
             from generate_series(1, $2) n",
        );
        sqlx::query(&fill).bind(head).bind(count).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }
}

/// Reads until something of the answer's body is there, and no more.
pub(crate) async fn begun(stream: &mut TcpStream) {
    let mut head = Vec::new();
    let reading = async {
        while !head.windows(5).any(|part| part[..4] == *b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    };
    timeout(LONG, reading).await.expect("the answer begins");
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
}

/// All that comes on a connection until it ends, however it ends.
pub(crate) async fn rest_of(mut stream: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut part = vec![0; 256 * 1024];
    while let Ok(Ok(len @ 1..)) = timeout(LONG, stream.read(&mut part)).await {
        all.extend_from_slice(&part[..len]);
    }
    all
}
