//! How many connections there are, in all and from one address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tracing::warn;

use super::{
    HttpLimits,
    traffic::{Held, Traffic},
};

/// How often a refusal is worth a line in the log.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// The table of who is connected.
#[derive(Debug)]
pub(super) struct Places {
    limits: HttpLimits,
    traffic: &'static Traffic,
    taken: Mutex<Taken>,
    said_at: AtomicU64,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Which limit a connection met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The server has as many as it can hold.
    Connections,
    /// This address has as many as one may.
    Address,
}

impl Places {
    pub(super) fn new(limits: HttpLimits, traffic: &'static Traffic) -> Arc<Self> {
        Arc::new(Self { limits, traffic, taken: Mutex::default(), said_at: AtomicU64::new(0) })
    }

    /// A place for a connection from `peer`, until it is dropped.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Result<Place, Refused> {
        let counted = (self.limits.per_address > 0).then(|| who(peer, self.limits.counts_private)).flatten();
        let refused = {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let of_address = counted.map_or(0, |address| taken.by_address.get(&address).copied().unwrap_or(0));
            if taken.all >= self.limits.connections {
                Refused::Connections
            } else if counted.is_some() && of_address >= self.limits.per_address {
                Refused::Address
            } else {
                taken.all += 1;
                if let Some(address) = counted {
                    taken.by_address.insert(address, of_address + 1);
                }
                let held = Held::new(&self.traffic.connections);
                return Ok(Place { places: Arc::clone(self), counted, _held: held });
            }
        };
        match refused {
            Refused::Connections => self.traffic.refused_total.increment(1),
            Refused::Address => self.traffic.refused_address.increment(1),
        }
        self.say(peer, refused);
        Err(refused)
    }

    fn say(&self, peer: IpAddr, refused: Refused) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let last = self.said_at.load(Ordering::Relaxed);
        if now < last + SAID_EVERY.as_secs()
            || self.said_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        match refused {
            Refused::Connections => {
                warn!(
                    limit = self.limits.connections,
                    "HTTP connections are refused: all are taken (http_connections)"
                );
            }
            Refused::Address => warn!(
                %peer,
                limit = self.limits.per_address,
                "an address is refused more HTTP connections (http_connections_per_address; 0 sets no limit)"
            ),
        }
    }
}

/// One connection's place.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    counted: Option<IpAddr>,
    _held: Held,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        let Some(address) = self.counted else { return };
        if let Some(count) = taken.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

/// Whom an address is counted as; `None` for those that are not: a reverse proxy, another node and people in the same house
/// have many connections for good reason, and addresses that only they can have.
fn who(peer: IpAddr, counts_private: bool) -> Option<IpAddr> {
    let peer = peer.to_canonical();
    let (is_private, who) = match peer {
        IpAddr::V4(v4) => (v4.is_loopback() || v4.is_private() || v4.is_link_local(), peer),
        // Whoever has one IPv6 address has the 2^64 beside it.
        IpAddr::V6(v6) => {
            let network = Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX));
            (v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(), network.into())
        }
    };
    (counts_private || !is_private).then_some(who)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_is_near_is_not_counted() {
        for near in ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.4", "fd00::1", "fe80::1", "::ffff:172.16.0.9"] {
            assert_eq!(who(address(near), false), None, "{near}");
        }
        assert_eq!(who(address("203.0.113.7"), false), Some(address("203.0.113.7")));
        assert_eq!(who(address("::ffff:203.0.113.7"), false), Some(address("203.0.113.7")));
        assert_eq!(who(address("2001:db8::1"), false), who(address("2001:db8::ffff:1"), false));
        assert_ne!(who(address("2001:db8::1"), false), who(address("2001:db8:0:1::1"), false));
    }

    #[test]
    fn places_come_back() {
        let limits = HttpLimits { connections: 3, per_address: 2, ..HttpLimits::of_this_process() };
        let places = Places::new(limits, Traffic::get());
        let (one, other) = (address("203.0.113.7"), address("203.0.113.8"));
        let first = places.take(one).unwrap();
        let _second = places.take(one).unwrap();
        assert_eq!(places.take(one).unwrap_err(), Refused::Address);
        let _third = places.take(other).unwrap();
        assert_eq!(places.take(other).unwrap_err(), Refused::Connections);
        drop(first);
        let _fourth = places.take(one).unwrap();
        assert_eq!(places.taken.lock().unwrap().by_address.len(), 2);
    }
}
