use std::{borrow::Cow, collections::HashMap};

use domain::ids::AccountId;
use uuid::Uuid;

use super::{
    EventRow, Pseudonyms, StoredEvent,
    json::{Scanner, Token, write_escaped, write_number, write_time},
};

/// The members of events whose value is the id of an account; as JSON writes them, with their quotes.
const ACCOUNT_KEYS: [&[u8]; 4] = [b"\"account_id\"", b"\"owner_id\"", b"\"by\"", b"\"actor\""];
/// What stands before the id of an account in actors.
const ACTOR_PREFIX: &[u8] = b"account:";
/// The kinds of aggregate whose id is that of an account. They stand before it in subjects, with a slash.
pub(super) const OF_ACCOUNTS: [&str; 6] =
    ["account", "email", "password_reset", "personal_export", "profile", "sign_in"];
const UUID_LEN: usize = 36;
/// How many pseudonyms are remembered.
const REMEMBERED: usize = 50_000;

/// What outsiders are told of the accounts that events name.
#[derive(Debug, Clone)]
pub enum Actors {
    /// Another name for each, always the same.
    Pseudonymous(Pseudonyms),
    /// Their ids.
    Plain,
}

/// Writes events as outsiders get them: as CloudEvents 1.0 in JSON.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The install, as it stands within a JSON string.
    source: Vec<u8>,
    names: Option<Names>,
}

impl Envelope {
    /// For the install at the public address `source`.
    #[must_use]
    pub fn new(source: &str, actors: Actors) -> Self {
        let mut escaped = Vec::with_capacity(source.len());
        write_escaped(&mut escaped, source.trim_end_matches('/'));
        let names = match actors {
            Actors::Pseudonymous(pseudonyms) => Some(Names { pseudonyms, known: HashMap::new() }),
            Actors::Plain => None,
        };
        Self { source: escaped, names }
    }

    /// Appends `event` to `out`: one JSON object in one line, without the line's end. The members are those of
    /// `openapi::events::Event`. `data` is the fact without the tag that `type` repeats; a payload that is not tagged so
    /// is passed on as it is.
    pub fn write(&mut self, event: &StoredEvent, out: &mut Vec<u8>) {
        self.write_row(&EventRow::from(event), out);
    }

    pub(crate) fn write_row(&mut self, event: &EventRow<'_>, out: &mut Vec<u8>) {
        let recorded = Recorded::new(event.metadata.as_bytes());
        out.reserve(500 + event.payload.len() + 3 * self.source.len());
        out.extend_from_slice(br#"{"specversion":"1.0","position":"#);
        write_number(out, event.position);
        out.extend_from_slice(br#","id":""#);
        let subject = out.len();
        self.write_subject(event, out);
        let subject = subject..out.len();
        out.push(b'/');
        write_number(out, event.sequence);
        out.extend_from_slice(br#"","source":""#);
        out.extend_from_slice(&self.source);
        out.extend_from_slice(br#"","type":""#);
        write_escaped(out, event.event_type);
        out.extend_from_slice(br#"","version":""#);
        write_escaped(out, event.event_version);
        out.extend_from_slice(br#"","subject":""#);
        out.extend_from_within(subject);
        out.extend_from_slice(br#"","sequence":"#);
        write_number(out, event.sequence);
        out.extend_from_slice(br#","time":"#);
        write_time(out, event.recorded_at);
        out.extend_from_slice(br#","actor":"#);
        self.write_actor(recorded.actor.unwrap_or(b"\"unknown\""), out);
        for (name, id) in [
            (&br#","correlationid":"#[..], recorded.correlation_id),
            (&br#","causationid":"#[..], recorded.causation_id),
        ] {
            if let Some(id) = id {
                out.extend_from_slice(name);
                out.extend_from_slice(id);
            }
        }
        out.extend_from_slice(br#","datacontenttype":"application/json","dataschema":""#);
        out.extend_from_slice(&self.source);
        out.extend_from_slice(b"/api/v1/events/schemas/");
        write_escaped(out, event.event_type);
        out.push(b'/');
        write_escaped(out, event.event_version);
        out.extend_from_slice(br#"","data":"#);
        self.write_data(event.payload, out);
        out.push(b'}');
    }

    fn write_subject(&mut self, event: &EventRow<'_>, out: &mut Vec<u8>) {
        write_escaped(out, event.aggregate_type);
        out.push(b'/');
        let name = match &mut self.names {
            Some(names) if OF_ACCOUNTS.contains(&event.aggregate_type) => names.of(event.aggregate_id.as_bytes()),
            _ => None,
        };
        match name {
            Some(name) => out.extend_from_slice(&name),
            None => write_escaped(out, event.aggregate_id),
        }
    }

    fn write_actor(&mut self, actor: &[u8], out: &mut Vec<u8>) {
        match self.names.as_mut().and_then(|names| names.named(b"\"actor\"", actor)) {
            Some(named) => named.write(out),
            None => out.extend_from_slice(actor),
        }
    }

    fn write_data(&mut self, payload: &str, out: &mut Vec<u8>) {
        // Line breaks are outside of strings, where they mean nothing.
        let payload = match memchr::memchr2(b'\n', b'\r', payload.as_bytes()) {
            Some(_) => Cow::Owned(payload.replace(['\n', '\r'], "")),
            None => Cow::Borrowed(payload),
        };
        let payload = payload.as_bytes();
        let begin = out.len();
        let mut scanner = Scanner::new(payload);
        if scanner.next() == Some(Token::Open)
            && matches!(scanner.next(), Some(Token::Text { .. }))
            && scanner.next() == Some(Token::Colon)
            && self.write_value(payload, &mut scanner, true, out)
        {
            return;
        }
        out.truncate(begin);
        self.write_value(payload, &mut Scanner::new(payload), false, out);
    }

    /// Writes what `scanner` has yet to pass, with pseudonyms in it: all of it, or, for a `tagged` value, as far as the
    /// brace that closes the object around it. Whether it was a single value to the end.
    fn write_value(&mut self, json: &[u8], scanner: &mut Scanner<'_>, tagged: bool, out: &mut Vec<u8>) -> bool {
        let mut written = scanner.place;
        let mut depth = 0_usize;
        let mut last_text = 0..0;
        let mut key = None;
        while let Some(token) = scanner.next() {
            match token {
                Token::Text { begin, end } => {
                    if let Some(names) = &mut self.names
                        && let Some(named) = names.named(key.take().unwrap_or_default(), &json[begin..end])
                    {
                        out.extend_from_slice(&json[written..begin]);
                        named.write(out);
                        written = end;
                    }
                    last_text = begin..end;
                }
                Token::Colon => key = Some(&json[last_text.clone()]),
                Token::Open => {
                    depth += 1;
                    key = None;
                }
                Token::Close if depth == 0 => {
                    out.extend_from_slice(&json[written..scanner.place - 1]);
                    return tagged && scanner.next().is_none();
                }
                Token::Close => depth -= 1,
                Token::Comma if depth == 0 => {
                    if tagged {
                        return false;
                    }
                }
                Token::Comma | Token::Other => key = None,
            }
        }
        out.extend_from_slice(&json[written..]);
        !tagged
    }
}

/// What the metadata say, as JSON strings with their quotes.
#[derive(Default)]
struct Recorded<'a> {
    actor: Option<&'a [u8]>,
    correlation_id: Option<&'a [u8]>,
    causation_id: Option<&'a [u8]>,
}

impl<'a> Recorded<'a> {
    /// Of an object of texts; what is something else is left out.
    fn new(metadata: &'a [u8]) -> Self {
        let mut recorded = Self::default();
        let mut scanner = Scanner::new(metadata);
        let mut depth = 0_usize;
        let mut last_text: &[u8] = b"";
        let mut is_value = false;
        while let Some(token) = scanner.next() {
            match token {
                Token::Text { begin, end } => {
                    let text = &metadata[begin..end];
                    match last_text {
                        b"\"actor\"" if is_value => recorded.actor = Some(text),
                        b"\"correlation_id\"" if is_value => recorded.correlation_id = Some(text),
                        b"\"causation_id\"" if is_value => recorded.causation_id = Some(text),
                        _ => {}
                    }
                    last_text = text;
                }
                Token::Open => depth += 1,
                Token::Close => depth = depth.saturating_sub(1),
                Token::Colon | Token::Comma | Token::Other => {}
            }
            is_value = token == Token::Colon && depth == 1;
        }
        recorded
    }
}

/// Pseudonyms, remembered.
#[derive(Debug, Clone)]
struct Names {
    pseudonyms: Pseudonyms,
    known: HashMap<Uuid, [u8; UUID_LEN]>,
}

impl Names {
    /// The pseudonym of the account of this id; `None` for what is none.
    fn of(&mut self, account_id: &[u8]) -> Option<[u8; UUID_LEN]> {
        if account_id.len() != UUID_LEN {
            return None;
        }
        let account_id = Uuid::try_parse_ascii(account_id).ok()?;
        if let Some(name) = self.known.get(&account_id) {
            return Some(*name);
        }
        if self.known.len() == REMEMBERED {
            self.known.clear();
        }
        let mut name = [0; UUID_LEN];
        self.pseudonyms.of(AccountId::from(account_id)).hyphenated().encode_lower(&mut name);
        self.known.insert(account_id, name);
        Some(name)
    }

    /// What the string `text`, which has its quotes and is the value of `key`, becomes if it names an account.
    fn named<'t>(&mut self, key: &[u8], text: &'t [u8]) -> Option<Named<'t>> {
        let inner = text.get(1..text.len().checked_sub(1)?)?;
        let (prefix, account_id) = inner.split_at(inner.len().checked_sub(UUID_LEN)?);
        if (prefix.is_empty() && ACCOUNT_KEYS.contains(&key)) || is_before_account(prefix) {
            Some(Named { prefix, name: self.of(account_id)? })
        } else {
            None
        }
    }
}

/// Whether the id of an account comes after `prefix` where something else could stand too: in actors and in subjects.
fn is_before_account(prefix: &[u8]) -> bool {
    prefix == ACTOR_PREFIX
        || prefix.strip_suffix(b"/").is_some_and(|kind| OF_ACCOUNTS.iter().any(|of| of.as_bytes() == kind))
}

/// A string with a pseudonym.
struct Named<'a> {
    prefix: &'a [u8],
    name: [u8; UUID_LEN],
}

impl Named<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(self.prefix);
        out.extend_from_slice(&self.name);
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests;
