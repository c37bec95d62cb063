//! Identifiers: UUIDv7 as lower-case text, the same in the log, in JSON and in addresses.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// The UUID itself, for storage.
            #[must_use]
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

id! {
    /// A person who can sign in.
    AccountId
}
id! {
    /// What people watch and follow.
    ChannelId
}
id! {
    /// One broadcast of a channel.
    StreamId
}
id! {
    /// One signed-in device of an account.
    SessionId
}
id! {
    /// A token that a person made for a program of theirs.
    PersonalTokenId
}
id! {
    /// A secret in the vault. Events name it; the secret itself never enters an event.
    SecretId
}
id! {
    /// A process that takes in streams; it keeps its id over restarts.
    NodeId
}
id! {
    /// One export of a part of the log.
    ExportId
}
id! {
    /// One export of what is kept of a person.
    PersonalExportId
}
id! {
    /// A stream kept for later watching.
    RecordingId
}
id! {
    /// A link that lets its bearer into a private channel.
    InviteId
}
id! {
    /// A link by which accounts can be made.
    RegistrationInviteId
}
id! {
    /// A report that something breaks a right or a rule.
    ReportId
}
