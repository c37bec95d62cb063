use super::*;

fn read_all(reader: &mut ChunkReader, bytes: &[u8]) -> Result<Vec<Message>, ChunkError> {
    let mut input = BytesMut::from(bytes);
    let mut messages = Vec::new();
    while let Some(message) = reader.next(&mut input)? {
        messages.push(message);
    }
    Ok(messages)
}

fn read(bytes: &[u8]) -> Result<Vec<Message>, ChunkError> {
    read_all(&mut ChunkReader::new(), bytes)
}

/// The header of a type 0 chunk.
fn full(id: u8, timestamp: u32, length: usize, type_id: u8) -> Vec<u8> {
    let mut header = vec![id];
    header.extend(&timestamp.min(0xff_ffff).to_be_bytes()[1..]);
    header.extend(&u32::try_from(length).unwrap().to_be_bytes()[1..]);
    header.extend([type_id, 1, 0, 0, 0]);
    if timestamp >= 0xff_ffff {
        header.extend(timestamp.to_be_bytes());
    }
    header
}

fn body(length: usize, salt: u8) -> Vec<u8> {
    (0..length).map(|index| u8::try_from(index % 251).unwrap().wrapping_mul(3).wrapping_add(salt)).collect()
}

#[test]
fn reads_a_message_byte_by_byte() {
    let bytes = [full(3, 7, 5, AMF0_COMMAND), b"hello".to_vec()].concat();
    let mut reader = ChunkReader::new();
    let mut input = BytesMut::new();
    for (index, byte) in bytes.iter().enumerate() {
        input.extend_from_slice(&[*byte]);
        let message = reader.next(&mut input).unwrap();
        assert_eq!(message.is_some(), index + 1 == bytes.len());
        if let Some(message) = message {
            assert_eq!((message.type_id, message.timestamp_ms, message.message_stream_id), (20, 7, 1));
            assert_eq!(&message.body[..], b"hello");
        }
    }
}

#[test]
fn joins_chunks_and_interleaved_chunk_streams() {
    let (audio, video) = (body(200, 1), body(300, 2));
    let bytes = [
        &full(4, 10, 300, VIDEO)[..],
        &video[..128],
        &full(5, 11, 200, AUDIO),
        &audio[..128],
        &[0xc4],
        &video[128..256],
        &[0xc5],
        &audio[128..],
        &[0xc4],
        &video[256..],
    ]
    .concat();
    let messages = read(&bytes).unwrap();
    assert_eq!(messages.len(), 2);
    assert_eq!((messages[0].type_id, &messages[0].body[..]), (AUDIO, &audio[..]));
    assert_eq!((messages[1].type_id, &messages[1].body[..]), (VIDEO, &video[..]));
}

#[test]
fn shortened_headers_repeat_what_was_said() {
    let bytes = [
        &full(6, 1_000, 2, AUDIO)[..],
        b"ab",
        // Type 1: new length and type, 20 ms later.
        &[0x46, 0, 0, 20, 0, 0, 3, VIDEO],
        b"cde",
        // Type 2: 30 ms later.
        &[0x86, 0, 0, 30],
        b"fgh",
        // Type 3: the same step once more.
        &[0xc6],
        b"ijk",
    ]
    .concat();
    let messages = read(&bytes).unwrap();
    let seen = messages.iter().map(|message| (message.type_id, message.timestamp_ms, &message.body[..]));
    assert!(seen.eq([
        (AUDIO, 1_000, b"ab".as_slice()),
        (VIDEO, 1_020, b"cde"),
        (VIDEO, 1_050, b"fgh"),
        (VIDEO, 1_080, b"ijk"),
    ]));
    assert!(messages.iter().all(|message| message.message_stream_id == 1));
}

#[test]
fn chunk_stream_ids_come_in_three_lengths() {
    let with_id = |id: &[u8]| [id, &full(0, 5, 1, AUDIO)[1..], b"x"].concat();
    for id in [&[0x02][..], &[0x3f], &[0x00, 0x00], &[0x00, 0xff], &[0x01, 0x00, 0x00], &[0x01, 0xff, 0xff]] {
        assert_eq!(read(&with_id(id)).unwrap().len(), 1, "{id:?}");
    }
    // 64 in two bytes and 64 in three are one chunk stream.
    let bytes = [with_id(&[0x00, 0x00]), vec![0xc1, 0x00, 0x00], b"y".to_vec()].concat();
    assert_eq!(read(&bytes).unwrap()[1].timestamp_ms, 10);
}

#[test]
fn extended_timestamps_with_and_without_repetition() {
    let time = 0x0123_4567;
    let whole = body(200, 9);
    for repeats in [true, false] {
        let mut bytes = full(4, time, 200, VIDEO);
        bytes.extend(&whole[..128]);
        bytes.push(0xc4);
        if repeats {
            bytes.extend(time.to_be_bytes());
        }
        bytes.extend(&whole[128..]);
        // A step of more than 24 bits.
        bytes.extend([0x84, 0xff, 0xff, 0xff, 0x02, 0, 0, 0]);
        bytes.extend(&whole[..128]);
        bytes.push(0xc4);
        bytes.extend(if repeats { &[0x02, 0, 0, 0][..] } else { &[] });
        bytes.extend(&whole[128..]);
        let messages = read(&bytes).unwrap();
        assert_eq!(messages.len(), 2, "{repeats}");
        assert_eq!((messages[0].timestamp_ms, &messages[0].body[..]), (time, &whole[..]));
        assert_eq!((messages[1].timestamp_ms, &messages[1].body[..]), (time + 0x0200_0000, &whole[..]));
    }
}

#[test]
fn timestamps_wrap() {
    let bytes = [&full(4, u32::MAX - 4, 1, VIDEO)[..], b"a", &[0x84, 0, 0, 10], b"b"].concat();
    assert_eq!(read(&bytes).unwrap()[1].timestamp_ms, 5);
}

#[test]
fn obeys_set_chunk_size_and_abort() {
    let whole = body(1_000, 4);
    let bytes = [
        &full(4, 0, 300, VIDEO)[..],
        &whole[..128],
        &full(2, 0, 4, ABORT),
        &4_u32.to_be_bytes(),
        &full(2, 0, 4, SET_CHUNK_SIZE),
        &1_000_u32.to_be_bytes(),
        &full(4, 0, 1_000, VIDEO),
        &whole,
    ]
    .concat();
    let mut reader = ChunkReader::new();
    let messages = read_all(&mut reader, &bytes).unwrap();
    assert_eq!(messages.len(), 1);
    assert_eq!(&messages[0].body[..], &whole[..]);
    assert_eq!(reader.partial_bytes, 0);
}

#[test]
fn takes_chunk_sizes_from_1_to_the_largest() {
    let sized = |size: u32| [&full(2, 0, 4, SET_CHUNK_SIZE)[..], &size.to_be_bytes()].concat();
    for size in [0, 0x8000_0000, u32::MAX] {
        assert_eq!(read(&sized(size)), Err(ChunkError::ChunkSize(size)));
    }
    let bytes = [sized(1), full(4, 0, 3, VIDEO), b"a\xc4b\xc4c".to_vec()].concat();
    assert_eq!(&read(&bytes).unwrap()[0].body[..], b"abc");
    let bytes = [sized(0x7fff_ffff), full(4, 0, 60_000, VIDEO), body(60_000, 0)].concat();
    assert_eq!(read(&bytes).unwrap()[0].body.len(), 60_000);
    assert_eq!(read(&[&full(2, 0, 2, SET_CHUNK_SIZE)[..], &[0, 1]].concat()), Err(ChunkError::ControlLength(2)));
}

#[test]
fn empty_messages_are_messages() {
    let bytes = [full(4, 3, 0, AUDIO), full(5, 4, 0, VIDEO)].concat();
    assert_eq!(read(&bytes).unwrap().len(), 2);
}

#[test]
fn refuses_messages_that_are_too_long_before_they_come() {
    let too_long = |length, limit| Err(ChunkError::MessageTooLong { length, limit });
    for type_id in [AUDIO, VIDEO, AMF0_COMMAND] {
        assert_eq!(read(&full(4, 0, 0xff_ffff, type_id)), too_long(0xff_ffff, 64 * 1024));
    }
    let mut reader = ChunkReader::new();
    reader.take_media();
    assert_eq!(read_all(&mut reader, &full(4, 0, 8 << 20, VIDEO)), Ok(vec![]));
    let mut reader = ChunkReader::new();
    reader.take_media();
    assert_eq!(read_all(&mut reader, &full(4, 0, (8 << 20) + 1, VIDEO)), too_long((8 << 20) + 1, 8 << 20));
    let mut reader = ChunkReader::new();
    reader.take_media();
    assert_eq!(read_all(&mut reader, &full(4, 0, 70_000, AMF0_COMMAND)), too_long(70_000, 64 * 1024));
}

#[test]
fn refuses_too_much_that_is_unfinished() {
    let mut reader = ChunkReader::new();
    reader.take_media();
    for id in [4, 5] {
        let bytes = [full(id, 0, 8 << 20, VIDEO), body(128, 0)].concat();
        assert_eq!(read_all(&mut reader, &bytes), Ok(vec![]));
    }
    let bytes = full(6, 0, 1_000, VIDEO);
    assert_eq!(read_all(&mut reader, &bytes), Err(ChunkError::PartialsTooLong((16 << 20) + 1_000)));
}

#[test]
fn refuses_too_many_chunk_streams() {
    let mut reader = ChunkReader::new();
    for id in 3..=34 {
        assert!(read_all(&mut reader, &full(id, 0, 0, AUDIO)).is_ok());
    }
    assert_eq!(read_all(&mut reader, &full(35, 0, 0, AUDIO)), Err(ChunkError::TooManyChunkStreams));
}

#[test]
fn refuses_headers_that_lean_on_nothing_or_break_in() {
    assert_eq!(read(&[0xc4, 0]), Err(ChunkError::NoHeader));
    assert_eq!(read(&[0x84, 0, 0, 1]), Err(ChunkError::NoHeader));
    // OBS answers pings so.
    assert_eq!(read(&[0x42, 0, 0, 1, 0, 0, 2, 4, 0, 7]).unwrap()[0].timestamp_ms, 1);
    let bytes = [&full(4, 0, 300, VIDEO)[..], &body(128, 0), &full(4, 0, 300, VIDEO)].concat();
    assert_eq!(read(&bytes), Err(ChunkError::Unfinished));
}
