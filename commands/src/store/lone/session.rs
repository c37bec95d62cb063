//! As much of the protocol of Postgres (version 3.0, "Message Flow" and "Message Formats" in its documentation) as it takes to
//! give one prepared statement again and again, over a socket that lets this process in without a password.
//!
//! sqlx waits for its socket by tokio, whose driver any thread of the runtime may be asleep at: here the socket itself is
//! asked.

use std::{
    io,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    task,
};

use super::super::{
    appender::{Append, EventRow},
    log::{APPEND_ONE, UNIQUE_VIOLATION},
};

/// A look takes as long as this only when somebody else runs who wants the core for longer than the server does.
const LOOK: Duration = Duration::from_micros(700);
/// More than the server says to one statement that answers one number.
const ANSWER_BYTES: usize = 1 << 20;
const READ_BYTES: usize = 1_024;

/// The head may be waited for twice: for those who wait before, and for who has it. Unlike a limit on the whole statement, this costs the server nothing
/// where there is no wait. `plan_cache_mode`: by itself the server would plan [`APPEND_ONE`] anew each time.
const SETTINGS: [(&str, &str); 3] =
    [("application_name", "weir append"), ("lock_timeout", "5000"), ("plan_cache_mode", "force_generic_plan")];
/// What the server says when a lock was not to be had in time, and when somebody cancels a statement.
const WAITED: [&[u8; 5]; 2] = [b"55P03", b"57014"];

const PROTOCOL: u32 = 3 << 16;
const STATEMENT: &str = "append_one";
/// `text`, `text`, `bigint`, `text`, `text`, `json`, `json`.
const PARAMETERS: [u32; 7] = [25, 25, 20, 25, 25, 114, 114];

/// Where a server is that lets this process in because of who it is.
#[derive(Debug)]
pub(super) struct Address {
    socket: PathBuf,
    user: String,
    database: String,
    options: Option<String>,
}

impl Address {
    /// `None` where it is reached over a network.
    pub(super) fn of(options: &PgConnectOptions) -> Option<Self> {
        let socket = options.get_socket()?.join(format!(".s.PGSQL.{}", options.get_port()));
        let user = options.get_username().to_owned();
        let database = options.get_database().unwrap_or(&user).to_owned();
        Some(Self { socket, user, database, options: options.get_options().map(str::to_owned) })
    }
}

/// Why there is no position.
#[derive(Debug)]
pub(super) enum Failed {
    /// The aggregate has gone on in between.
    Conflict,
    /// It was not stored, since others kept the log for too long.
    Waited,
    /// The server says that it was not stored, and goes on.
    NotStored,
    /// The server cannot have got it. The session is over.
    NotSent,
    /// It may be stored. The session is over.
    Unknown(io::Error),
}

/// A session with the statement prepared.
#[derive(Debug)]
pub(super) struct Session {
    socket: UnixStream,
    /// What is sent next.
    out: Vec<u8>,
    /// What has come of the answer.
    come: Vec<u8>,
    others_wait: bool,
    pub(super) used_at: Instant,
}

/// What the server said until it was ready for the next statement.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    position: Option<i64>,
    /// The code of an error.
    error: Option<[u8; 5]>,
    is_ready: bool,
    /// The session is over, whatever became of the statement.
    is_fatal: bool,
    /// It wants to be told a password, or other proof.
    asks: bool,
}

impl Session {
    /// `None` when the server does not let this process in, or wants a proof of who it is.
    pub(super) async fn connect(address: &Address) -> io::Result<Option<Self>> {
        let socket = UnixStream::connect(&address.socket).await?;
        let mut session =
            Self { socket, out: Vec::new(), come: Vec::new(), others_wait: false, used_at: Instant::now() };
        message(&mut session.out, None, |body| {
            body.extend_from_slice(&PROTOCOL.to_be_bytes());
            let given = [("user", address.user.as_str()), ("database", &address.database), ("client_encoding", "UTF8")];
            let options = address.options.as_deref().map(|options| ("options", options));
            for (name, value) in given.into_iter().chain(SETTINGS).chain(options) {
                text(body, name);
                text(body, value);
            }
            body.push(0);
        });
        let said = session.ask(Duration::ZERO).await?;
        if said.asks || said.error.is_some_and(|code| code.starts_with(b"28")) {
            return Ok(None);
        }
        if said.error.is_some() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let mut out = Vec::new();
        message(&mut out, Some(b'P'), |body| {
            text(body, STATEMENT);
            text(body, APPEND_ONE);
            count(body, PARAMETERS.len());
            for oid in PARAMETERS {
                body.extend_from_slice(&oid.to_be_bytes());
            }
        });
        message(&mut out, Some(b'S'), |_| {});
        session.out = out;
        let prepared = session.ask(Duration::ZERO).await?;
        if prepared.error.is_some() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(Some(session))
    }

    /// Whether the server is still there.
    pub(super) async fn ping(&mut self) -> io::Result<()> {
        self.out.clear();
        message(&mut self.out, Some(b'S'), |_| {});
        let said = self.ask(Duration::ZERO).await?;
        if said.error.is_some() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }

    /// Stores one event and answers its position; looks for the answer for so long before it sleeps.
    pub(super) async fn append(&mut self, append: &Append, event: &EventRow, awake: Duration) -> Result<i64, Failed> {
        self.out.clear();
        message(&mut self.out, Some(b'B'), |body| {
            const BINARY: u16 = 1;
            text(body, "");
            text(body, STATEMENT);
            for formats in [1, BINARY] {
                body.extend_from_slice(&formats.to_be_bytes());
            }
            let sequence = append.first_sequence.to_be_bytes();
            let parameters: [&[u8]; PARAMETERS.len()] = [
                append.key.aggregate_type.as_bytes(),
                append.key.id.as_bytes(),
                &sequence,
                event.event_type.as_bytes(),
                event.event_version.as_bytes(),
                event.payload.as_bytes(),
                append.metadata.as_bytes(),
            ];
            count(body, parameters.len());
            for parameter in parameters {
                length(body, parameter.len());
                body.extend_from_slice(parameter);
            }
            for formats in [1, BINARY] {
                body.extend_from_slice(&formats.to_be_bytes());
            }
        });
        message(&mut self.out, Some(b'E'), |body| {
            text(body, "");
            const ALL_ROWS: u32 = 0;
            body.extend_from_slice(&ALL_ROWS.to_be_bytes());
        });
        message(&mut self.out, Some(b'S'), |_| {});
        // Without the last byte of this the server commits nothing.
        self.socket.write_all(&self.out).await.map_err(|_| Failed::NotSent)?;
        let said = self.answer(awake).await.map_err(Failed::Unknown)?;
        match said {
            Said { is_fatal: true, .. } => Err(Failed::Unknown(io::ErrorKind::ConnectionAborted.into())),
            Said { error: Some(code), .. } if code == *UNIQUE_VIOLATION.as_bytes() => Err(Failed::Conflict),
            Said { error: Some(code), .. } if WAITED.contains(&&code) => Err(Failed::Waited),
            Said { error: Some(_), .. } => Err(Failed::NotStored),
            Said { position, .. } => position.ok_or_else(|| Failed::Unknown(malformed("no position"))),
        }
    }

    /// Whether, since this was asked last, somebody else wanted the core for longer.
    pub(super) fn others_wait(&mut self) -> bool {
        std::mem::take(&mut self.others_wait)
    }

    pub(super) async fn close(mut self) {
        self.out.clear();
        message(&mut self.out, Some(b'X'), |_| {});
        // The server ends the session by itself should this not reach it.
        let _ = self.socket.write_all(&self.out).await;
    }

    /// Sends what is to be sent, and takes what is said to it.
    async fn ask(&mut self, awake: Duration) -> io::Result<Said> {
        self.socket.write_all(&self.out).await?;
        self.answer(awake).await
    }

    async fn answer(&mut self, awake: Duration) -> io::Result<Said> {
        self.come.clear();
        let mut said = Said::default();
        let mut read = 0;
        let begin = Instant::now();
        let mut looked_at = begin;
        while !said.is_ready && !said.is_fatal && !said.asks {
            if looked_at - begin >= awake || self.others_wait {
                if self.socket.read_buf(&mut self.come).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            } else if !self.look()? {
                // Other threads first, and then the other tasks of this one.
                thread::yield_now();
                task::yield_now().await;
                let now = Instant::now();
                self.others_wait = now - looked_at > LOOK;
                looked_at = now;
                continue;
            }
            read += said.read(&self.come[read..])?;
            if self.come.len() > ANSWER_BYTES {
                return Err(malformed("an endless answer"));
            }
        }
        if said.is_ready && read < self.come.len() {
            return Err(malformed("more than was asked for"));
        }
        self.used_at = Instant::now();
        Ok(said)
    }

    /// Takes what has come; `false` when nothing has.
    fn look(&mut self) -> io::Result<bool> {
        let before = self.come.len();
        self.come.resize(before + READ_BYTES, 0);
        let received = recv(&self.socket, &mut self.come[before..], RecvFlags::DONTWAIT);
        self.come.truncate(before + received.as_ref().map_or(0, |(_, length)| (*length).min(READ_BYTES)));
        match received {
            Ok((_, 0)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(true),
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Said {
    /// Takes in the messages that are whole, and answers how long those are.
    fn read(&mut self, come: &[u8]) -> io::Result<usize> {
        let mut rest = come;
        while let Some((head, after)) = rest.split_at_checked(5) {
            let [kind, length @ ..] = head else { break };
            let length = length.try_into().map_or(0, u32::from_be_bytes) as usize;
            let Some(length) = length.checked_sub(4).filter(|length| *length <= ANSWER_BYTES) else {
                return Err(malformed("a message of no length"));
            };
            let Some((body, after)) = after.split_at_checked(length) else { break };
            self.message(*kind, body)?;
            rest = after;
        }
        Ok(come.len() - rest.len())
    }

    fn message(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        match kind {
            // Authentication, and that it is done.
            b'R' => self.asks = body != [0; 4],
            // A row: how many columns, and of each its length and its bytes.
            b'D' => {
                let position = body.get(2..6).filter(|length| **length == 8_u32.to_be_bytes()).and(body.get(6..14));
                let position = position.and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
                self.position = Some(position.ok_or_else(|| malformed("a row without a position"))?);
            }
            b'E' => {
                let field = |kind: u8| {
                    let mut fields = body.split(|byte| *byte == 0);
                    fields.find_map(|field| {
                        field.split_first().filter(|(first, _)| **first == kind).map(|(_, text)| text)
                    })
                };
                self.error = Some(field(b'C').and_then(|code| code.try_into().ok()).unwrap_or_default());
                // A session that is ended says so even when that happens right after its commit.
                self.is_fatal = field(b'V') != Some(b"ERROR");
            }
            b'Z' => self.is_ready = true,
            // That it was parsed, bound and done; settings, keys and notices.
            _ => {}
        }
        Ok(())
    }
}

/// Appends a message: its letter, but for the first of a session, its length and its body.
fn message(out: &mut Vec<u8>, kind: Option<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    out.extend(kind);
    let begin = out.len();
    length(out, 0);
    body(out);
    let size = u32::try_from(out.len() - begin).expect("a message is smaller than 4 GB");
    out[begin..begin + 4].copy_from_slice(&size.to_be_bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

fn count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u16::try_from(count).expect("a statement has fewer than 2^16 parameters").to_be_bytes());
}

fn length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u32::try_from(length).expect("a parameter is smaller than 4 GB").to_be_bytes());
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        message(&mut out, Some(kind), |out| out.extend_from_slice(body));
        out
    }

    fn row(position: i64) -> Vec<u8> {
        let mut body = vec![0, 2, 0, 0, 0, 8];
        body.extend_from_slice(&position.to_be_bytes());
        body.extend_from_slice(&[0, 0, 0, 0]);
        said(b'D', &body)
    }

    #[test]
    fn an_answer_is_read_however_it_comes_in_pieces() {
        let all = [said(b'2', b""), row(4_711), said(b'C', b"INSERT 0 1\0"), said(b'Z', b"I")].concat();
        for split in 0..=all.len() {
            let mut heard = Said::default();
            let read = heard.read(&all[..split]).unwrap();
            assert_eq!(heard.is_ready, split == all.len());
            assert_eq!(read + heard.read(&all[read..]).unwrap(), all.len());
            assert_eq!(heard, Said { position: Some(4_711), is_ready: true, ..Said::default() }, "split at {split}");
        }
    }

    #[test]
    fn what_went_wrong_is_told_by_its_code() {
        let mut heard = Said::default();
        let conflict = said(b'E', b"SERROR\0VERROR\0C23505\0Mduplicate key\0\0");
        heard.read(&[conflict, said(b'Z', b"I")].concat()).unwrap();
        assert_eq!(heard, Said { error: Some(*b"23505"), is_ready: true, ..Said::default() });
        let mut heard = Said::default();
        heard.read(&said(b'E', b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0")).unwrap();
        assert_eq!(heard, Said { error: Some(*b"57P01"), is_fatal: true, ..Said::default() });
    }

    #[test]
    fn a_proof_that_is_asked_for_is_noticed() {
        let mut heard = Said::default();
        heard.read(&said(b'R', &[0; 4])).unwrap();
        assert!(!heard.asks);
        heard.read(&said(b'R', &[0, 0, 0, 10])).unwrap();
        assert!(heard.asks);
    }

    #[test]
    fn nonsense_is_refused() {
        for nonsense in [&b"Z\0\0\0\x03"[..], b"Z\xff\xff\xff\xff", &said(b'D', &[0, 1, 0, 0, 0, 4, 0, 0, 0, 1])] {
            Said::default().read(nonsense).unwrap_err();
        }
    }
}
