//! The write side: the command bus, the event store, reservations, the key vault and the relay.
