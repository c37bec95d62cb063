//! Bodies that many ask for at once, kept a second time in pages that the kernel sends without copying them.
//!
//! Writing bytes to a socket copies them, for each viewer again; for parts of a stream that is a fifth of all that a server
//! does. `sendfile` from a file in memory hands the socket references instead. A body is found again by where it lies in
//! memory: the table holds on to it, so that no other can lie there meanwhile, and what is immutable here is sealed there.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::body::Bytes;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create, sendfile};
use tracing::debug;

/// Below this a copy is cheaper than what it saves.
pub(super) const LEAST_BYTES: usize = 32 * 1024;
/// Longer bodies are rare, and not asked for by many at the same moment.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// How many bodies are kept, and how many bytes of them.
const KEPT: usize = 64;
const KEPT_BYTES: usize = 64 * 1024 * 1024;

/// The table of bodies in demand.
#[derive(Debug, Default)]
pub(super) struct Pages {
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    shared: Vec<Arc<Shared>>,
    bytes: usize,
    /// Where the bodies lie that were asked for once since the last sweep.
    asked: Vec<(usize, usize)>,
    swept_at: Option<Instant>,
}

/// A body, and the same in pages.
#[derive(Debug)]
pub(super) struct Shared {
    body: Bytes,
    file: OwnedFd,
    is_used: AtomicBool,
}

impl Pages {
    /// Those of this process.
    pub(super) fn get() -> &'static Self {
        static PAGES: OnceLock<Pages> = OnceLock::new();
        PAGES.get_or_init(Self::default)
    }

    /// Says that a body is about to be sent: the second time within a few seconds it is put into pages.
    pub(super) fn expect(&self, body: &Bytes) {
        if !(LEAST_BYTES..=MOST_BYTES).contains(&body.len()) || self.find(body).is_some() {
            return;
        }
        let place = (body.as_ptr().addr(), body.len());
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = table.asked.iter().position(|asked| *asked == place) else {
            if table.asked.len() >= 4 * KEPT {
                table.asked.clear();
            }
            table.asked.push(place);
            return;
        };
        table.asked.swap_remove(known);
        if table.shared.len() >= KEPT || table.bytes + body.len() > KEPT_BYTES {
            return;
        }
        match Shared::new(body) {
            Ok(shared) => {
                table.bytes += body.len();
                table.shared.push(Arc::new(shared));
            }
            Err(error) => debug!(%error, "a body cannot be put into pages"),
        }
    }

    /// The pages of `piece` and where in them it begins, when it is of a body that is in pages.
    pub(super) fn find(&self, piece: &[u8]) -> Option<(Arc<Shared>, u64)> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.shared.iter().find_map(|shared| {
            let offset = piece.as_ptr().addr().checked_sub(shared.body.as_ptr().addr())?;
            if offset.checked_add(piece.len())? > shared.body.len() {
                return None;
            }
            if !shared.is_used.load(Ordering::Relaxed) {
                shared.is_used.store(true, Ordering::Relaxed);
            }
            Some((Arc::clone(shared), offset as u64))
        })
    }

    /// Lets go of what was not asked for since the last time, unless that was less than `pause` ago: each server of a
    /// process sweeps.
    pub(super) fn sweep(&self, pause: Duration) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.swept_at.is_some_and(|swept| swept.elapsed() < pause) {
            return;
        }
        table.swept_at = Some(Instant::now());
        table.asked.clear();
        table.shared.retain(|shared| shared.is_used.swap(false, Ordering::Relaxed));
        table.bytes = table.shared.iter().map(|shared| shared.body.len()).sum();
    }
}

impl Shared {
    fn new(body: &Bytes) -> io::Result<Self> {
        let mut file = File::from(memfd_create("weir-body", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        file.write_all(body)?;
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(Self { body: body.clone(), file: file.into(), is_used: AtomicBool::new(true) })
    }

    /// Hands `count` bytes from `offset` to a socket, or as many as it takes.
    pub(super) fn send(&self, socket: impl std::os::fd::AsFd, mut offset: u64, count: usize) -> io::Result<usize> {
        Ok(sendfile(socket, &self.file, Some(&mut offset), count)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_in_pages_once_it_is_in_demand() {
        let pages = Pages::default();
        let body = Bytes::from((0..LEAST_BYTES * 2).map(|index| index as u8).collect::<Vec<_>>());
        let small = Bytes::from(vec![1; LEAST_BYTES - 1]);
        for _ in 0..3 {
            pages.expect(&small);
        }
        assert!(pages.find(&small).is_none());
        pages.expect(&body);
        assert!(pages.find(&body).is_none(), "once is no demand");
        pages.expect(&body);
        let (_, offset) = pages.find(&body).unwrap();
        assert_eq!(offset, 0);
        let (_, offset) = pages.find(&body[100..]).unwrap();
        assert_eq!(offset, 100);
        // The same bytes somewhere else are another body.
        let copy = Bytes::copy_from_slice(&body);
        assert!(pages.find(&copy).is_none());
        pages.sweep(Duration::ZERO);
        assert!(pages.find(&body).is_some());
        pages.sweep(Duration::ZERO);
        pages.sweep(Duration::ZERO);
        assert!(pages.find(&body).is_none(), "nobody asked for it any more");
    }
}
