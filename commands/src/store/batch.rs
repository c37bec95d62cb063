use domain::Claim;
use sqlx::{
    Arguments, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo, types::Oid},
};

use super::appender::Append;
use crate::idempotency;

// The types of the array and of what is in it, which no version of Postgres numbers differently.
const BOOLEANS: Types = Types { array: Oid(1000), element: Oid(16) };
const BYTES: Types = Types { array: Oid(1001), element: Oid(17) };
const INTEGERS: Types = Types { array: Oid(1007), element: Oid(23) };
const TEXTS: Types = Types { array: Oid(1009), element: Oid(25) };
const BIG_INTEGERS: Types = Types { array: Oid(1016), element: Oid(20) };
const JSONS: Types = Types { array: Oid(199), element: Oid(114) };
const UUIDS: Types = Types { array: Oid(2951), element: Oid(2950) };

/// The columns that `log.append` takes, in its order.
const COLUMNS: [Types; 20] = [
    INTEGERS,
    TEXTS,
    TEXTS,
    BIG_INTEGERS,
    TEXTS,
    TEXTS,
    JSONS,
    JSONS, // events
    INTEGERS,
    BOOLEANS,
    TEXTS,
    TEXTS,
    TEXTS, // claims
    INTEGERS,
    BIG_INTEGERS,
    TEXTS,
    TEXTS,
    BYTES,
    UUIDS,
    TEXTS, // keys of clients
];

#[derive(Clone, Copy)]
struct Types {
    array: Oid,
    element: Oid,
}

/// Commands that go into one transaction. They are encoded as they come, so that a batch is ready to be sent when the one
/// before it has been stored.
pub(super) struct Batch {
    appends: Vec<Append>,
    columns: [Column; COLUMNS.len()],
}

/// An array in the binary form of Postgres, without its header.
struct Column {
    types: Types,
    len: i32,
    elements: Vec<u8>,
}

impl Batch {
    pub(super) fn new() -> Self {
        let columns = COLUMNS.map(|types| Column { types, len: 0, elements: Vec::new() });
        Self { appends: Vec::new(), columns }
    }

    pub(super) fn appends(&self) -> &[Append] {
        &self.appends
    }

    pub(super) fn len(&self) -> usize {
        self.appends.len()
    }

    pub(super) fn push(&mut self, append: Append) {
        let command = i32::try_from(self.appends.len() + 1).expect("a batch is smaller than 2^31").to_be_bytes();
        self.encode(&append, command);
        self.appends.push(append);
    }

    /// What was in it; it is empty then, and keeps its buffers.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Append> {
        for column in &mut self.columns {
            column.len = 0;
            column.elements.clear();
        }
        self.appends.drain(..)
    }

    /// The arguments for all of it.
    pub(super) fn arguments(&self) -> Result<PgArguments, BoxDynError> {
        arguments(&self.columns)
    }

    /// The arguments for one of it alone.
    pub(super) fn arguments_of(append: &Append) -> Result<PgArguments, BoxDynError> {
        let mut alone = Self::new();
        alone.encode(append, 1_i32.to_be_bytes());
        arguments(&alone.columns)
    }

    fn encode(&mut self, append: &Append, command: [u8; 4]) {
        let [
            commands,
            aggregate_types,
            aggregate_ids,
            sequences,
            event_types,
            event_versions,
            payloads,
            metadatas,
            claim_commands,
            claim_takes,
            claim_kinds,
            claim_names,
            claim_holders,
            key_commands,
            key_events,
            key_actors,
            keys,
            key_hashes,
            key_command_ids,
            key_aggregate_ids,
        ] = &mut self.columns;
        let id = append.key.id.as_bytes();
        for (sequence, event) in (append.first_sequence..).zip(&append.events) {
            commands.push(&command);
            aggregate_types.push(append.key.aggregate_type.as_bytes());
            aggregate_ids.push(id);
            sequences.push(&sequence.to_be_bytes());
            event_types.push(event.event_type.as_bytes());
            event_versions.push(event.event_version.as_bytes());
            payloads.push(event.payload.as_bytes());
            metadatas.push(append.metadata.as_bytes());
        }
        for claim in &append.claims {
            let (takes, kind, name) = match claim {
                Claim::Take { kind, name } => (true, kind, name),
                Claim::Release { kind, name } => (false, kind, name),
            };
            claim_commands.push(&command);
            claim_takes.push(&[u8::from(takes)]);
            claim_kinds.push(kind.as_str().as_bytes());
            claim_names.push(name.as_bytes());
            claim_holders.push(id);
        }
        if let Some(used) = &append.used_key {
            key_commands.push(&command);
            key_events.push(&i64::from(commands.len).to_be_bytes());
            key_actors.push(used.actor.as_bytes());
            keys.push(used.idempotency.key.as_bytes());
            key_hashes.push(&used.idempotency.request_hash);
            key_command_ids.push(used.command_id.as_bytes());
            key_aggregate_ids.push(id);
        }
    }
}

fn arguments(columns: &[Column]) -> Result<PgArguments, BoxDynError> {
    let mut arguments = PgArguments::default();
    let size = columns.iter().map(|column| column.elements.len() + 32).sum();
    arguments.reserve(columns.len() + 1, size);
    for column in columns {
        arguments.add(column)?;
    }
    arguments.add(idempotency::KEPT.as_secs_f64())?;
    Ok(arguments)
}

impl Column {
    fn push(&mut self, element: &[u8]) {
        let len = i32::try_from(element.len()).expect("an element is smaller than 2 GB");
        self.elements.reserve(4 + element.len());
        self.elements.extend_from_slice(&len.to_be_bytes());
        self.elements.extend_from_slice(element);
        self.len += 1;
    }
}

impl Type<Postgres> for Column {
    fn type_info() -> PgTypeInfo {
        // What counts is what `produces` says.
        PgTypeInfo::with_oid(TEXTS.array)
    }
}

impl Encode<'_, Postgres> for Column {
    /// As `array_recv` of Postgres reads it.
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        const DIMENSIONS: i32 = 1;
        const HAS_NULLS: i32 = 0;
        const FIRST_INDEX: i32 = 1;
        let dimensions = if self.len == 0 { 0 } else { DIMENSIONS };
        buffer.extend_from_slice(&dimensions.to_be_bytes());
        buffer.extend_from_slice(&HAS_NULLS.to_be_bytes());
        buffer.extend_from_slice(&self.types.element.0.to_be_bytes());
        if self.len > 0 {
            buffer.extend_from_slice(&self.len.to_be_bytes());
            buffer.extend_from_slice(&FIRST_INDEX.to_be_bytes());
            buffer.extend_from_slice(&self.elements);
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(self.types.array))
    }
}
