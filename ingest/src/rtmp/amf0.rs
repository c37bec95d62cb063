//! Looks over AMF0 before anything is built from it, so that what follows may recurse and allocate without fear.

use thiserror::Error;

/// An encoder's deepest value is two levels down.
const DEPTH: usize = 16;
/// An encoder's richest `connect` has about twenty.
const VALUES: usize = 1_024;

/// What is wrong with the AMF0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Amf0Error {
    #[error("AMF0 nested deeper than {DEPTH}")]
    TooDeep,
    #[error("more than {VALUES} AMF0 values")]
    TooMany,
    #[error("AMF0 that ends in the middle of a value")]
    Truncated,
    #[error("an AMF0 marker of {0:#04x}")]
    Marker(u8),
    #[error("an AMF0 object that has no end")]
    NoEnd,
    #[error("AMF0 text that is not UTF-8")]
    Text,
    #[error("a command without name, transaction and command object")]
    NoCommand,
}

/// What an outermost object of a message says under this name, if it is text. What cannot be read says nothing.
pub(crate) fn property<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let mut walk = Walk { rest: body, values: 0, sought: Some(name), is_there: false, found: None };
    while walk.found.is_none() && !walk.rest.is_empty() {
        walk.value(0).ok()?;
    }
    walk.found
}

/// Whether an outermost object of a message says anything under this name. What cannot be read says nothing.
pub(crate) fn has_property(body: &[u8], name: &str) -> bool {
    let mut walk = Walk { rest: body, values: 0, sought: Some(name), is_there: false, found: None };
    while !walk.is_there && !walk.rest.is_empty() {
        if walk.value(0).is_err() {
            return false;
        }
    }
    walk.is_there
}

/// The transaction of a command message whose body [`command_name`] has looked over: 0 where it has none.
pub(crate) fn transaction(body: &[u8]) -> f64 {
    let mut walk = Walk { rest: body, values: 0, sought: None, is_there: false, found: None };
    let number = match walk.value(0) {
        Ok(_) => walk.rest.get(1..9).and_then(|number| number.try_into().ok()),
        Err(_) => None,
    };
    number.map_or(0.0, f64::from_be_bytes)
}

/// The name of a command message, whose whole body has been looked over.
///
/// # Errors
/// When it is not what it must be: a name, a transaction number, a command object, and any further values.
pub(crate) fn command_name(body: &[u8]) -> Result<&str, Amf0Error> {
    let mut walk = Walk { rest: body, values: 0, sought: None, is_there: false, found: None };
    let mut name = "";
    let mut count = 0_usize;
    // A stray end marker ends the parse in rml_amf0 as well.
    while walk.rest.first().is_some_and(|marker| *marker != OBJECT_END) {
        let value = walk.value(0)?;
        match (count, value) {
            (0, Value::Text(text)) => name = text,
            (0, _) => return Err(Amf0Error::NoCommand),
            (1, Value::Number) | (2.., _) => {}
            (1, _) => return Err(Amf0Error::NoCommand),
        }
        count += 1;
    }
    if count < 3 { Err(Amf0Error::NoCommand) } else { Ok(name) }
}

const NUMBER: u8 = 0x00;
const BOOLEAN: u8 = 0x01;
const TEXT: u8 = 0x02;
const OBJECT: u8 = 0x03;
const NULL: u8 = 0x05;
const UNDEFINED: u8 = 0x06;
const ECMA_ARRAY: u8 = 0x08;
const OBJECT_END: u8 = 0x09;
const STRICT_ARRAY: u8 = 0x0a;

enum Value<'a> {
    Text(&'a str),
    Number,
    Other,
}

struct Walk<'a, 's> {
    rest: &'a [u8],
    values: usize,
    /// A property of an outermost object, and its text once it was met.
    sought: Option<&'s str>,
    is_there: bool,
    found: Option<&'a str>,
}

impl<'a> Walk<'a, '_> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Amf0Error> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Amf0Error::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn text(&mut self) -> Result<&'a str, Amf0Error> {
        let length = self.take(2)?;
        let text = self.take(usize::from(u16::from_be_bytes([length[0], length[1]])))?;
        std::str::from_utf8(text).map_err(|_| Amf0Error::Text)
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, Amf0Error> {
        if depth > DEPTH {
            return Err(Amf0Error::TooDeep);
        }
        self.values += 1;
        if self.values > VALUES {
            return Err(Amf0Error::TooMany);
        }
        match self.take(1)?[0] {
            NUMBER => self.take(8).map(|_| Value::Number),
            BOOLEAN => self.take(1).map(|_| Value::Other),
            TEXT => self.text().map(Value::Text),
            NULL | UNDEFINED => Ok(Value::Other),
            OBJECT => self.properties(depth),
            ECMA_ARRAY => {
                // The count is a hint that encoders get wrong; the end marker is what counts.
                self.take(4)?;
                self.properties(depth)
            }
            STRICT_ARRAY => {
                let count = self.take(4)?;
                for _ in 0..u32::from_be_bytes([count[0], count[1], count[2], count[3]]) {
                    self.value(depth + 1)?;
                }
                Ok(Value::Other)
            }
            marker => Err(Amf0Error::Marker(marker)),
        }
    }

    fn properties(&mut self, depth: usize) -> Result<Value<'a>, Amf0Error> {
        loop {
            let name = self.text()?;
            if name.is_empty() {
                return if self.take(1)?[0] == OBJECT_END { Ok(Value::Other) } else { Err(Amf0Error::NoEnd) };
            }
            let value = self.value(depth + 1)?;
            if depth > 0 || self.sought != Some(name) {
                continue;
            }
            self.is_there = true;
            if let Value::Text(text) = value
                && self.found.is_none()
            {
                self.found = Some(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(arguments: &[u8]) -> Vec<u8> {
        [b"\x02\x00\x07publish\x00\x3f\xf0\x00\x00\x00\x00\x00\x00\x05".as_slice(), arguments].concat()
    }

    #[test]
    fn reads_the_name_of_a_command() {
        assert_eq!(command_name(&command(b"\x02\x00\x03key\x02\x00\x04live")), Ok("publish"));
        assert_eq!(
            command_name(&command(b"\x08\xff\xff\xff\xff\x00\x01a\x01\x01\x00\x01b\x06\x00\x00\x09")),
            Ok("publish")
        );
        assert_eq!(command_name(&command(b"\x0a\x00\x00\x00\x02\x05\x05")), Ok("publish"));
    }

    #[test]
    fn finds_what_an_outermost_object_says() {
        let metadata = b"\x02\x00\x0donMetaData\x08\x00\x00\x00\x03\x00\x05width\x00\x40\x94\x00\x00\x00\x00\x00\x00\
            \x00\x01o\x03\x00\x07encoder\x02\x00\x03not\x00\x00\x09\x00\x07encoder\x02\x00\x04Lavf\x00\x00\x09";
        let metadata = [b"\x02\x00\x0d@setDataFrame".as_slice(), &metadata[..1], b"\x00\x0a", &metadata[3..]].concat();
        assert_eq!(property(&metadata, "encoder"), Some("Lavf"));
        assert_eq!(property(&metadata, "width"), None);
        assert_eq!(property(&metadata, "height"), None);
        for length in 0..metadata.len() - 3 {
            assert_eq!(property(&metadata[..length], "encoder"), None, "{length}");
        }
        assert_eq!(property(&command(b"\x03\x00\x08flashVer\x02\x00\x04FMLE\x00\x00\x09"), "flashVer"), Some("FMLE"));
        assert_eq!(property(&b"\x03\x00\x01a".repeat(20_000), "a"), None);
        assert!(has_property(&metadata, "width") && has_property(&metadata, "encoder"));
        assert!(!has_property(&metadata, "height") && !has_property(b"\x03\x00\x01a", "a"));
    }

    #[test]
    fn reads_the_transaction_of_a_command() {
        assert_eq!(transaction(&command(b"")), 1.0);
        assert_eq!(transaction(b"\x02\x00\x01a\x00\x40"), 0.0);
    }

    #[test]
    fn refuses_what_nests_too_deep() {
        let deep = command(&b"\x03\x00\x01a".repeat(20_000));
        assert_eq!(command_name(&deep), Err(Amf0Error::TooDeep));
        let deep = command(&b"\x0a\x00\x00\x00\x01".repeat(20_000));
        assert_eq!(command_name(&deep), Err(Amf0Error::TooDeep));
        let deep = command(&b"\x08\x00\x00\x00\x01\x00\x01a".repeat(20_000));
        assert_eq!(command_name(&deep), Err(Amf0Error::TooDeep));
    }

    #[test]
    fn takes_sixteen_levels() {
        let body = command(&[b"\x03\x00\x01a".repeat(16), b"\x05".to_vec(), b"\x00\x00\x09".repeat(16)].concat());
        assert_eq!(command_name(&body), Ok("publish"));
    }

    #[test]
    fn refuses_what_is_too_much_or_too_little() {
        assert_eq!(command_name(&command(&b"\x05".repeat(2_000))), Err(Amf0Error::TooMany));
        assert_eq!(command_name(&command(b"\x0a\xff\xff\xff\xff")), Err(Amf0Error::Truncated));
        assert_eq!(command_name(&command(b"\x02\xff\xffa")), Err(Amf0Error::Truncated));
        assert_eq!(command_name(&command(b"\x03\x00\x00\x05")), Err(Amf0Error::NoEnd));
        assert_eq!(command_name(&command(b"\x0b")), Err(Amf0Error::Marker(0x0b)));
        assert_eq!(command_name(&command(b"\x02\x00\x01\xff")), Err(Amf0Error::Text));
    }

    #[test]
    fn a_command_has_at_least_three_values() {
        // rml_rtmp takes the first three off without looking how many there are.
        let whole = command(b"");
        for length in 0..whole.len() {
            assert!(command_name(&whole[..length]).is_err(), "{length}");
        }
        assert_eq!(command_name(b"\x02\x00\x01a\x02\x00\x01b\x05"), Err(Amf0Error::NoCommand));
        assert_eq!(command_name(b"\x05\x05\x05"), Err(Amf0Error::NoCommand));
    }
}
