//! Ports for servers that are started later than their address is chosen, or that come back to it.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpListener},
    sync::{Mutex, PoisonError},
};

use rand::Rng;

/// A port of 127.0.0.1 that is free, and stays so while its owner is away: below those that the system gives to outgoing
/// connections and to whoever asks for any, and given out once by this process.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut random = rand::rng();
    loop {
        let port = random.random_range(20_000..32_000);
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
}
