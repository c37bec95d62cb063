//! JSON by the byte. What is read here comes from `json` columns, so that it is valid; were it not, what is written
//! would be as wrong as it was, and nothing worse happens.

use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes `text` as a JSON string.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text);
    out.push(b'"');
}

/// Writes `text` as it stands within a JSON string.
pub(super) fn write_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut written = 0;
    for (place, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[written..place]);
        written = place + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
            }
        }
    }
    out.extend_from_slice(&bytes[written..]);
}

/// Writes the digits of `number`.
pub(super) fn write_number(out: &mut Vec<u8>, number: i64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        first -= 1;
        digits[first] = b'0' + u8::try_from(rest % 10).expect("a digit is below 10");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[first..]);
}

/// Writes `time` as RFC 3339 has it, in UTC, with quotes.
pub(super) fn write_time(out: &mut Vec<u8>, time: OffsetDateTime) {
    let time = time.checked_to_offset(UtcOffset::UTC).unwrap_or(time);
    out.push(b'"');
    match u32::try_from(time.year()) {
        Ok(year) if year <= 9_999 && time.offset().is_utc() => {
            let (month, day) = (u8::from(time.month()), time.day());
            let (hour, minute, second) = time.to_hms();
            write_two(out, year / 100);
            write_two(out, year % 100);
            for (before, part) in [(b'-', month), (b'-', day), (b'T', hour), (b':', minute), (b':', second)] {
                out.push(before);
                write_two(out, u32::from(part));
            }
            write_fraction(out, time.nanosecond());
            out.push(b'Z');
        }
        // RFC 3339 has no such year; whatever this is, it is a string.
        _ => match time.format(&Rfc3339) {
            Ok(text) => write_escaped(out, &text),
            Err(_) => write_escaped(out, &time.to_string()),
        },
    }
    out.push(b'"');
}

fn write_two(out: &mut Vec<u8>, number: u32) {
    let digit = |number: u32| b'0' + u8::try_from(number % 10).expect("a digit is below 10");
    out.extend_from_slice(&[digit(number / 10), digit(number)]);
}

/// Writes as many digits after the second as it has.
fn write_fraction(out: &mut Vec<u8>, nanosecond: u32) {
    if nanosecond == 0 {
        return;
    }
    out.push(b'.');
    let mut rest = nanosecond;
    let mut unit = 100_000_000;
    while rest > 0 {
        out.push(b'0' + u8::try_from(rest / unit).expect("a digit is below 10"));
        rest %= unit;
        unit /= 10;
    }
}

/// What a pass over JSON comes by, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// `{` or `[`.
    Open,
    /// `}` or `]`.
    Close,
    Comma,
    Colon,
    /// A string; from its first quote to after its last.
    Text {
        begin: usize,
        end: usize,
    },
    /// A number, `true`, `false` or `null`; whole.
    Other,
}

/// Passes over JSON.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'a> {
    json: &'a [u8],
    /// Where it stands.
    pub(super) place: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(json: &'a [u8]) -> Self {
        Self { json, place: 0 }
    }

    /// The next token, or `None` at the end.
    pub(super) fn next(&mut self) -> Option<Token> {
        loop {
            let begin = self.place;
            let byte = *self.json.get(begin)?;
            self.place += 1;
            return Some(match byte {
                b' ' | b'\t' | b'\n' | b'\r' => continue,
                b'{' | b'[' => Token::Open,
                b'}' | b']' => Token::Close,
                b',' => Token::Comma,
                b':' => Token::Colon,
                b'"' => {
                    self.pass_text();
                    Token::Text { begin, end: self.place }
                }
                _ => {
                    while self
                        .json
                        .get(self.place)
                        .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+'))
                    {
                        self.place += 1;
                    }
                    Token::Other
                }
            });
        }
    }

    /// Goes on to after the quote that ends the string.
    fn pass_text(&mut self) {
        while let Some(found) = memchr::memchr2(b'"', b'\\', &self.json[self.place..]) {
            self.place += found + 1;
            if self.json[self.place - 1] == b'"' {
                return;
            }
            // Whatever it is that is escaped.
            self.place = (self.place + 1).min(self.json.len());
        }
        self.place = self.json.len();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::Duration;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn a_text_is_written_as_serde_writes_it(text in any::<String>()) {
            let read: String = serde_json::from_str(&written(|out| write_string(out, &text))).unwrap();
            prop_assert_eq!(read, text);
        }

        #[test]
        fn a_number_is_written_as_rust_writes_it(number in any::<i64>()) {
            prop_assert_eq!(written(|out| write_number(out, number)), number.to_string());
        }

        #[test]
        fn a_time_is_written_as_rfc_3339(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000, offset in -23_i8..=23) {
            let time = OffsetDateTime::UNIX_EPOCH + Duration::microseconds(micros);
            let expected = time.format(&Rfc3339).unwrap();
            let there = time.checked_to_offset(UtcOffset::from_hms(offset, 0, 0).unwrap()).unwrap_or(time);
            prop_assert_eq!(written(|out| write_time(out, there)), format!("\"{expected}\""));
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(written(|out| write_string(out, "a\u{1}\u{1f}\n\"\\ü")), r#""a\u0001\u001f\n\"\\ü""#);
    }

    #[test]
    fn a_time_beyond_rfc_3339_is_a_string_still() {
        let time = time::macros::datetime!(-0044-03-15 12:00 UTC);
        serde_json::from_str::<String>(&written(|out| write_time(out, time))).unwrap();
    }
}
