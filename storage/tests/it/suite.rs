//! What every back end promises, run over each of them: files, a real S3 server in this process, and S3 behind the folder that
//! takes what is written first. Against another server it runs with `-- --ignored elsewhere`, by `WEIR_TEST_S3_ENDPOINT`, `_BUCKET`,
//! `_REGION`, `_ACCESS_KEY` and `_SECRET_KEY`.

mod places;

use std::{
    io::Write,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use storage::{Key, Page, Storage, Usage};
use tokio::io::AsyncReadExt;

use self::places::Place;

/// More than one part of an upload, and not a whole number of them.
const LARGE: usize = 17 * 1024 * 1024 + 1;

macro_rules! over {
    (@$place:ident #[$attribute:meta] $($test:ident)*) => {
        mod $place {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                #[$attribute]
                async fn $test() {
                    super::$test(&super::Place::$place().await).await;
                }
            )*
        }
    };
    (@$place:ident $($test:ident)*) => {
        over!(@$place #[cfg(test)] $($test)*);
    };
    ($($test:ident)*) => {
        over!(@disk $($test)*);
        over!(@s3 $($test)*);
        over!(@spooled $($test)*);
        over!(@direct $($test)*);
        over!(@elsewhere #[ignore = "it takes a server that WEIR_TEST_S3_ENDPOINT names"] $($test)*);
    };
}

over! {
    an_object_is_put_read_replaced_and_deleted
    empty_and_large_objects_are_kept
    an_object_is_written_piece_by_piece
    an_object_is_written_by_code_that_blocks
    an_object_that_is_not_finished_was_never_there
    a_part_is_read
    an_object_stays_whole_while_it_is_read
    a_list_comes_in_pages_in_the_order_of_the_keys
    all_below_a_key_is_counted_and_removed
    an_address_opens_one_object_for_a_while
}

/// Bytes of which no two stretches are alike.
fn noise(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 16).to_le_bytes()[..6]);
    }
    bytes.truncate(length);
    bytes.into()
}

async fn content(storage: &Storage, key: &Key) -> Option<Bytes> {
    storage.get(key).await.unwrap().map(|object| object.bytes)
}

async fn an_object_is_put_read_replaced_and_deleted(place: &Place) {
    let storage = &place.storage;
    let key = place.key("thumbnails/a.jpg");
    assert_eq!(storage.get(&key).await.unwrap(), None);
    assert_eq!(storage.stat(&key).await.unwrap(), None);
    assert!(!storage.exists(&key).await.unwrap());
    assert!(storage.read(&key, 0, 1).await.unwrap().is_none());
    assert_eq!(storage.get_range(&key, 0, 1).await.unwrap(), None);
    assert!(!storage.delete(&key).await.unwrap());

    let before = SystemTime::now() - Duration::from_secs(60);
    storage.put(&key, Bytes::from_static(b"first")).await.unwrap();
    storage.put(&key, Bytes::from_static(b"second")).await.unwrap();
    let object = storage.get(&key).await.unwrap().unwrap();
    assert_eq!(object.bytes, "second");
    assert!(object.modified > before, "{:?}", object.modified);
    let info = storage.stat(&key).await.unwrap().unwrap();
    assert_eq!(info.size_bytes, 6);
    assert!(info.modified > before);
    assert!(storage.exists(&key).await.unwrap());

    assert!(storage.delete(&key).await.unwrap());
    assert!(!storage.delete(&key).await.unwrap());
    assert_eq!(storage.get(&key).await.unwrap(), None);
}

async fn empty_and_large_objects_are_kept(place: &Place) {
    let storage = &place.storage;
    for size in [0, 1, LARGE] {
        let key = place.key("o");
        let bytes = noise(size);
        storage.put(&key, bytes.clone()).await.unwrap();
        assert_eq!(content(storage, &key).await.unwrap(), bytes);
        assert_eq!(storage.stat(&key).await.unwrap().unwrap().size_bytes, size as u64);
    }
}

async fn an_object_is_written_piece_by_piece(place: &Place) {
    let storage = &place.storage;
    for size in [0, 10, LARGE, 16 * 1024 * 1024] {
        let key = place.key("a/b");
        let bytes = noise(size);
        let mut writer = storage.writer(&key).await.unwrap();
        let mut rest = bytes.clone();
        // Pieces smaller and larger than a part.
        for length in [3, 100_000, 9 * 1024 * 1024, usize::MAX] {
            writer.write(rest.split_to(rest.len().min(length))).await.unwrap();
        }
        assert_eq!(writer.finish().await.unwrap(), size as u64);
        assert_eq!(content(storage, &key).await.unwrap(), bytes, "{size}");
    }
}

async fn an_object_is_written_by_code_that_blocks(place: &Place) {
    let key = place.key("a/b");
    let bytes = noise(LARGE);
    let mut writer = place.storage.create(&key).await.unwrap();
    let size = tokio::task::spawn_blocking({
        let bytes = bytes.clone();
        move || {
            for piece in bytes.chunks(1_000_000) {
                writer.write_all(piece).unwrap();
            }
            writer.flush().unwrap();
            writer.finish().unwrap()
        }
    });
    assert_eq!(size.await.unwrap(), LARGE as u64);
    assert_eq!(content(&place.storage, &key).await.unwrap(), bytes);
}

async fn an_object_that_is_not_finished_was_never_there(place: &Place) {
    let storage = &place.storage;
    let key = place.key("a/b");
    storage.put(&key, Bytes::from_static(b"before")).await.unwrap();
    for size in [10, LARGE] {
        let mut writer = storage.writer(&key).await.unwrap();
        writer.write(noise(size)).await.unwrap();
        assert_eq!(content(storage, &key).await.unwrap(), "before");
        drop(writer);
        assert_eq!(content(storage, &key).await.unwrap(), "before");
    }
    place.nothing_is_left_half_uploaded().await;
    assert_eq!(storage.list_prefix(&place.key("a"), None, 10).await.unwrap().objects.len(), 1);
}

async fn a_part_is_read(place: &Place) {
    let storage = &place.storage;
    let key = place.key("a/b");
    storage.put(&key, Bytes::from_static(b"0123456789")).await.unwrap();
    for (start, length, expected) in [
        (0, u64::MAX, "0123456789"),
        (3, 4, "3456"),
        (8, 10, "89"),
        (1, u64::MAX, "123456789"),
        (9, 1, "9"),
        (10, 1, ""),
        (99, 1, ""),
        (99, u64::MAX, ""),
        (5, 0, ""),
    ] {
        let mut text = String::new();
        storage.read(&key, start, length).await.unwrap().unwrap().read_to_string(&mut text).await.unwrap();
        assert_eq!(text, expected, "{start} {length}");
        assert_eq!(storage.get_range(&key, start, length).await.unwrap().unwrap(), expected, "{start} {length}");
    }
    storage.put(&key, Bytes::new()).await.unwrap();
    for (start, length) in [(0, u64::MAX), (0, 1), (1, 1)] {
        assert_eq!(storage.get_range(&key, start, length).await.unwrap().unwrap(), "", "{start} {length}");
    }
}

async fn an_object_stays_whole_while_it_is_read(place: &Place) {
    let storage = &place.storage;
    let key = place.key("a/b");
    let bytes = noise(200_000);
    storage.put(&key, bytes.clone()).await.unwrap();
    let mut reader = storage.read(&key, 0, u64::MAX).await.unwrap().unwrap();
    let mut first = vec![0; 1_000];
    reader.read_exact(&mut first).await.unwrap();
    storage.put(&key, Bytes::from(vec![0; 200_000])).await.unwrap();
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).await.unwrap();
    assert_eq!([first, rest].concat(), bytes);
}

async fn a_list_comes_in_pages_in_the_order_of_the_keys(place: &Place) {
    let storage = &place.storage;
    assert_eq!(storage.list_prefix(&place.key("r"), None, 10).await.unwrap(), Page::default());
    // In the order of their bytes: a hyphen and a dot stand before the slash, digits and letters behind it.
    let names = ["r/a-b", "r/a.b", "r/a/1", "r/a/2/3", "r/a/2/4", "r/a0", "r/b"];
    for name in names.iter().rev().chain(&["r", "r-other/x", "rx", "q/a"][1..]) {
        storage.put(&place.key(name), Bytes::from_static(b"12")).await.unwrap();
    }
    for limit in [1, 2, 3, 7, 10] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = storage.list_prefix(&place.key("r"), after.as_ref(), limit).await.unwrap();
            assert!(page.objects.len() <= limit, "{limit}");
            assert!(page.objects.iter().all(|object| object.size_bytes == 2));
            found.extend(page.objects.into_iter().map(|object| object.key));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(found, names.map(|name| place.key(name)), "{limit}");
    }
    // From behind a key that is not there, too.
    let page = storage.list_prefix(&place.key("r"), Some(&place.key("r/a/2")), 2).await.unwrap();
    let found: Vec<_> = page.objects.iter().map(|object| object.key.clone()).collect();
    assert_eq!(found, [place.key("r/a/2/3"), place.key("r/a/2/4")]);
}

async fn all_below_a_key_is_counted_and_removed(place: &Place) {
    let storage = &place.storage;
    let folder = place.key("recordings/1");
    assert_eq!(storage.usage(&folder).await.unwrap(), Usage::default());
    assert_eq!(storage.delete_prefix(&folder).await.unwrap(), 0);
    for number in 0..25 {
        let key = place.key(&format!("recordings/1/source/s{number}.m4s"));
        storage.put(&key, vec![7; number].into()).await.unwrap();
    }
    let others = [place.key("recordings/10/s0.m4s"), place.key("recordings/1.json")];
    for other in &others {
        storage.put(other, Bytes::from_static(b"kept")).await.unwrap();
    }
    assert_eq!(storage.usage(&folder).await.unwrap(), Usage { objects: 25, size_bytes: 24 * 25 / 2 });
    assert_eq!(storage.usage(&place.key("recordings")).await.unwrap().objects, 27);
    assert_eq!(storage.delete_prefix(&folder).await.unwrap(), 25);
    assert_eq!(storage.usage(&folder).await.unwrap(), Usage::default());
    assert_eq!(storage.delete_prefix(&folder).await.unwrap(), 0);
    assert_eq!(storage.get(&place.key("recordings/1/source/s3.m4s")).await.unwrap(), None);
    for other in &others {
        assert_eq!(content(storage, other).await.unwrap(), "kept");
    }
}

async fn an_address_opens_one_object_for_a_while(place: &Place) {
    let storage = &place.storage;
    let key = place.key("downloads/a.mp4");
    storage.put(&key, Bytes::from_static(b"a film")).await.unwrap();
    place.is_settled().await;
    let name = "Été \"à\" la mer; 50 %.mp4";
    let Some(address) = storage.presign_get(&key, name, Duration::from_secs(3_600)).await.unwrap() else {
        assert!(!place.has_addresses, "a server has addresses");
        return;
    };
    let response = reqwest::get(&address).await.unwrap();
    assert_eq!(response.status(), 200, "{address}");
    if let Some(disposition) = response.headers().get("content-disposition") {
        let disposition = disposition.to_str().unwrap();
        assert!(disposition.starts_with("attachment; filename=\""), "{disposition}");
        assert!(disposition.ends_with("filename*=UTF-8''%C3%89t%C3%A9%20%22%C3%A0%22%20la%20mer%3B%2050%20%25.mp4"));
    }
    assert_eq!(response.bytes().await.unwrap(), "a film");
    // Nothing in it can be changed.
    let other = address.replace("a.mp4", "b.mp4");
    assert_eq!(reqwest::get(other).await.unwrap().status(), 403);
    let longer = address.replace("X-Amz-Expires=3600", "X-Amz-Expires=36000");
    assert_ne!(longer, address);
    assert_eq!(reqwest::get(longer).await.unwrap().status(), 403);
}
