//! Whatever a peer sends, the guard and what is behind it come back with an answer.

use bytes::BytesMut;
use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    chunks::{self, ChunkReader, Message},
    exercise::{self, Outcome},
};

/// How a message is put into chunks.
#[derive(Debug, Clone)]
struct Sent {
    chunk_stream: u8,
    type_id: u8,
    timestamp_ms: u32,
    body: Vec<u8>,
}

fn amf0_value() -> impl Strategy<Value = Vec<u8>> {
    let text = "[a-z@]{0,12}".prop_map(|text| {
        let mut value = vec![2];
        value.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        value.extend(text.as_bytes());
        value
    });
    let leaf = prop_oneof![
        text,
        any::<f64>().prop_map(|number| [&[0][..], &number.to_be_bytes()].concat()),
        any::<u8>().prop_map(|byte| vec![1, byte]),
        select(vec![vec![5], vec![6], vec![9], vec![0x0b], vec![0x0c]]),
        vec(any::<u8>(), 0..8),
    ];
    leaf.prop_recursive(24, 64, 4, |inner| {
        let properties = vec(("[a-z]{0,3}", inner.clone()), 0..4).prop_map(|properties| {
            let mut bytes = Vec::new();
            for (name, value) in properties {
                bytes.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
                bytes.extend(name.as_bytes());
                bytes.extend(value);
            }
            bytes.extend([0, 0, 9]);
            bytes
        });
        prop_oneof![
            properties.clone().prop_map(|properties| [vec![3], properties].concat()),
            (any::<u32>(), properties).prop_map(|(count, properties)| [
                vec![8],
                count.to_be_bytes().to_vec(),
                properties
            ]
            .concat()),
            (0_u32..6, vec(inner, 0..4)).prop_map(|(count, values)| [
                vec![10],
                count.to_be_bytes().to_vec(),
                values.concat()
            ]
            .concat()),
        ]
    })
}

fn command() -> impl Strategy<Value = Vec<u8>> {
    let names = ["connect", "createStream", "publish", "play", "deleteStream", "closeStream", "FCPublish", "pause"];
    (select(names.to_vec()), any::<u8>(), vec(amf0_value(), 0..5)).prop_map(|(name, transaction, values)| {
        let mut body = text(name);
        body.extend(number(f64::from(transaction)));
        body.extend(values.concat());
        body
    })
}

fn text(text: &str) -> Vec<u8> {
    [&[2, 0, u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat()
}

fn number(number: f64) -> Vec<u8> {
    [&[0][..], &number.to_be_bytes()].concat()
}

/// What an encoder says until it publishes.
fn opening() -> Vec<Sent> {
    let app = [&[3, 0, 3][..], b"app", &text("live"), &[0, 0, 9]].concat();
    [
        [text("connect"), number(1.0), app].concat(),
        [text("createStream"), number(2.0), vec![5]].concat(),
        [text("publish"), number(3.0), vec![5], text("key"), text("live")].concat(),
    ]
    .into_iter()
    .map(|body| Sent { chunk_stream: 3, type_id: chunks::AMF0_COMMAND, timestamp_ms: 0, body })
    .collect()
}

fn message() -> impl Strategy<Value = Sent> {
    let body = prop_oneof![
        3 => command(),
        2 => vec(amf0_value(), 0..4).prop_map(|values| values.concat()),
        2 => vec(any::<u8>(), 0..300),
        // The beginnings of what a packager takes seriously.
        2 => (select(vec![[0x17, 0], [0x17, 1], [0x27, 1], [0xaf, 0], [0xaf, 1], [0x90, b'h']]), vec(any::<u8>(), 0..80))
            .prop_map(|(head, rest)| [head.to_vec(), rest].concat()),
        1 => any::<u32>().prop_map(|value| value.to_be_bytes().to_vec()),
    ];
    let type_id = prop_oneof![
        4 => select(vec![1_u8, 2, 3, 4, 5, 6, 8, 9, 15, 17, 18, 20, 22]),
        1 => any::<u8>(),
    ];
    (2_u8..10, type_id, any::<u32>(), body).prop_map(|(chunk_stream, type_id, timestamp_ms, body)| Sent {
        chunk_stream,
        type_id,
        timestamp_ms,
        body,
    })
}

/// The first chunk of a message and the chunks that follow it.
fn to_chunks(message: &Sent, chunk_bytes: usize) -> Vec<Vec<u8>> {
    let mut header = vec![message.chunk_stream];
    header.extend(&message.timestamp_ms.min(0xff_ffff).to_be_bytes()[1..]);
    header.extend(&u32::try_from(message.body.len()).unwrap().to_be_bytes()[1..]);
    header.extend([message.type_id, 1, 0, 0, 0]);
    let extension =
        if message.timestamp_ms >= 0xff_ffff { message.timestamp_ms.to_be_bytes().to_vec() } else { vec![] };
    let mut chunks = vec![[header, extension.clone()].concat()];
    for (index, payload) in message.body.chunks(chunk_bytes).enumerate() {
        if index > 0 {
            chunks.push([vec![0xc0 | message.chunk_stream], extension.clone()].concat());
        }
        chunks[index].extend(payload);
    }
    chunks
}

proptest! {
    #[test]
    fn any_bytes_after_the_handshake(bytes in vec(any::<u8>(), 0..4_000), read_bytes in 1_usize..600) {
        exercise::conversation(&bytes, read_bytes);
    }

    #[test]
    fn any_messages(messages in vec(message(), 0..20), read_bytes in 1_usize..600, opens in any::<bool>()) {
        let opening = if opens { opening() } else { Vec::new() };
        let bytes = opening.iter().chain(&messages).flat_map(|sent| to_chunks(sent, 128)).flatten().collect::<Vec<_>>();
        exercise::conversation(&bytes, read_bytes);
    }

    #[test]
    fn a_damaged_conversation(
        messages in vec(message(), 0..10),
        damage in vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<proptest::sample::Index>(),
        read_bytes in 1_usize..600,
    ) {
        let opening = opening();
        let mut bytes =
            opening.iter().chain(&messages).flat_map(|sent| to_chunks(sent, 128)).flatten().collect::<Vec<_>>();
        for (index, value) in damage {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        exercise::conversation(&bytes, read_bytes);
    }

    #[test]
    fn any_handshake(version in prop_oneof![9 => Just(3_u8), 1 => any::<u8>()], bytes in vec(any::<u8>(), 0..5_000)) {
        exercise::connection(&[vec![version], bytes].concat(), 700);
    }

    /// Messages of different chunk streams come out whole, however their chunks are shuffled together.
    #[test]
    fn interleaved_messages_come_out_whole(
        bodies in vec(vec(any::<u8>(), 0..1_000), 1..7),
        order in vec(any::<proptest::sample::Index>(), 60),
        chunk_bytes in 1_usize..400,
        read_bytes in 1_usize..600,
    ) {
        let sent = bodies.into_iter().zip(3_u8..).map(|(body, chunk_stream)| {
            let timestamp_ms = u32::from(chunk_stream) << 22;
            Sent { chunk_stream, type_id: chunks::VIDEO, timestamp_ms, body }
        }).collect::<Vec<_>>();
        let mut queues =
            sent.iter().map(|sent| to_chunks(sent, chunk_bytes).into_iter()).collect::<Vec<_>>();
        let size = u32::try_from(chunk_bytes).unwrap().to_be_bytes().to_vec();
        let set_size = Sent { chunk_stream: 2, type_id: chunks::SET_CHUNK_SIZE, timestamp_ms: 0, body: size };
        let mut bytes = to_chunks(&set_size, 128).concat();
        for index in order {
            let queue = index.index(queues.len());
            bytes.extend(queues[queue].next().unwrap_or_default());
        }
        bytes.extend(queues.into_iter().flatten().flatten());

        let mut reader = ChunkReader::new();
        let mut input = BytesMut::new();
        let mut messages = Vec::new();
        for read in bytes.chunks(read_bytes) {
            input.extend_from_slice(read);
            while let Some(message) = reader.next(&mut input).unwrap() {
                messages.push(message);
            }
        }
        messages.sort_by_key(|message| message.timestamp_ms);
        let expected = sent.into_iter().map(|sent| Message {
            type_id: sent.type_id,
            timestamp_ms: sent.timestamp_ms,
            message_stream_id: 1,
            body: sent.body.into(),
        }).collect::<Vec<_>>();
        prop_assert_eq!(messages, expected);
    }
}

#[test]
fn the_opening_is_let_in() {
    let bytes = opening().iter().flat_map(|sent| to_chunks(sent, 128)).flatten().collect::<Vec<_>>();
    for read_bytes in [1, 10, 100, 1_000] {
        assert_eq!(exercise::conversation(&bytes, read_bytes), Outcome::Publishing);
    }
}
