//! Apache Parquet: a table of events that DuckDB, pandas, Polars and Spark read as it is.
//!
//! Rows are held until a row group is full; groups are small enough that memory stays flat, and large enough that a reader
//! can pass over most of a file by the least and greatest `position` and `time` of each.

use std::{io::Write, sync::Arc};

use ::parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    data_type::{ByteArray, ByteArrayType, Int64Type},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::{parser::parse_message_type, types::ColumnPath},
};
use bytes::Bytes;
use commands::events::{Envelope, StoredEvent};

use super::{
    columns::{Columns, NAMES},
    write::FormatError,
};

/// How many rows a group has at most.
const GROUP_ROWS: usize = 65_536;
/// How many bytes of text are held for a group at most, but for its last row.
const GROUP_BYTES: usize = 64 * 1024 * 1024;

/// In the order of [`NAMES`].
const SCHEMA: &str = "
    message events {
        required int64 position;
        required binary id (STRING);
        required int64 time (TIMESTAMP(MICROS, true));
        required binary type (STRING);
        required binary version (STRING);
        required binary subject (STRING);
        required binary aggregate_type (STRING);
        required binary aggregate_id (STRING);
        required int64 sequence;
        required binary actor (STRING);
        optional binary correlation_id (STRING);
        optional binary causation_id (STRING);
        required binary data (JSON);
    }";

pub(crate) struct Parquet<W: Write + Send> {
    file: SerializedFileWriter<W>,
    envelope: Envelope,
    text: Vec<u8>,
    rows: Rows,
}

/// The rows of the group to come, by column.
#[derive(Default)]
struct Rows {
    position: Vec<i64>,
    time: Vec<i64>,
    sequence: Vec<i64>,
    id: Texts,
    kind: Texts,
    version: Texts,
    subject: Texts,
    aggregate_type: Texts,
    aggregate_id: Texts,
    actor: Texts,
    correlation_id: Texts,
    causation_id: Texts,
    data: Texts,
}

/// Texts one after the other.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// For each row whether it has a text: 1 or 0.
    levels: Vec<i16>,
}

impl Texts {
    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len());
        self.levels.push(1);
    }

    fn push_optional(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.push(text),
            None => self.levels.push(0),
        }
    }
}

impl<W: Write + Send> Parquet<W> {
    pub(crate) fn new(out: W, envelope: Envelope, source: &str) -> Result<Self, FormatError> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let column = |name: &str| ColumnPath::from(name);
        let mut properties = WriterProperties::builder()
            .set_created_by(format!("weir {}", env!("CARGO_PKG_VERSION")))
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            // What nobody looks for by range, and is long.
            .set_column_statistics_enabled(column("data"), EnabledStatistics::None)
            .set_key_value_metadata(Some(vec![KeyValue::new("weir.source".to_owned(), source.to_owned())]));
        for name in ["position", "time"] {
            properties = properties
                .set_column_dictionary_enabled(column(name), false)
                .set_column_encoding(column(name), Encoding::DELTA_BINARY_PACKED);
        }
        // Different in each row.
        for name in ["id", "data", "correlation_id", "causation_id"] {
            properties = properties.set_column_dictionary_enabled(column(name), false);
        }
        let file = SerializedFileWriter::new(out, schema, Arc::new(properties.build()))?;
        Ok(Self { file, envelope, text: Vec::new(), rows: Rows::default() })
    }

    pub(crate) fn write(&mut self, events: &[StoredEvent]) -> Result<(), FormatError> {
        for event in events {
            let row = Columns::new(event, &mut self.envelope, &mut self.text)?;
            self.rows.push(&row);
            if self.rows.are_enough() {
                self.write_group()?;
            }
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<W, FormatError> {
        self.write_group()?;
        let mut out = self.file.into_inner()?;
        out.flush()?;
        Ok(out)
    }

    fn write_group(&mut self) -> Result<(), FormatError> {
        if self.rows.position.is_empty() {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        let Rows {
            position,
            time,
            sequence,
            id,
            kind,
            version,
            subject,
            aggregate_type,
            aggregate_id,
            actor,
            correlation_id,
            causation_id,
            data,
        } = std::mem::take(&mut self.rows);
        write_numbers(&mut group, &position)?;
        write_texts(&mut group, id, false)?;
        write_numbers(&mut group, &time)?;
        for texts in [kind, version, subject, aggregate_type, aggregate_id] {
            write_texts(&mut group, texts, false)?;
        }
        write_numbers(&mut group, &sequence)?;
        write_texts(&mut group, actor, false)?;
        write_texts(&mut group, correlation_id, true)?;
        write_texts(&mut group, causation_id, true)?;
        write_texts(&mut group, data, false)?;
        group.close()?;
        Ok(())
    }
}

impl Rows {
    fn push(&mut self, row: &Columns<'_>) {
        let fields = &row.fields;
        let (aggregate_type, aggregate_id) = row.aggregate();
        self.position.push(fields.position);
        self.id.push(&fields.id);
        // Within 292,000 years of 1970.
        self.time.push(i64::try_from(row.time.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX));
        self.kind.push(&fields.kind);
        self.version.push(&fields.version);
        self.subject.push(&fields.subject);
        self.aggregate_type.push(aggregate_type);
        self.aggregate_id.push(aggregate_id);
        self.sequence.push(fields.sequence);
        self.actor.push(&fields.actor);
        self.correlation_id.push_optional(fields.correlationid.as_deref());
        self.causation_id.push_optional(fields.causationid.as_deref());
        self.data.push(fields.data.get());
    }

    fn are_enough(&self) -> bool {
        let texts = [&self.id, &self.subject, &self.aggregate_id, &self.actor, &self.correlation_id, &self.data];
        self.position.len() >= GROUP_ROWS || texts.iter().map(|texts| texts.bytes.len()).sum::<usize>() >= GROUP_BYTES
    }
}

type Group<'a, W> = SerializedRowGroupWriter<'a, W>;

fn write_numbers<W: Write + Send>(group: &mut Group<'_, W>, numbers: &[i64]) -> Result<(), ParquetError> {
    let mut column = group.next_column()?.ok_or_else(too_many)?;
    column.typed::<Int64Type>().write_batch(numbers, None, None)?;
    column.close()
}

fn write_texts<W: Write + Send>(group: &mut Group<'_, W>, texts: Texts, optional: bool) -> Result<(), ParquetError> {
    let Texts { bytes, ends, levels } = texts;
    let bytes = Bytes::from(bytes);
    let begins = std::iter::once(0).chain(ends.iter().copied());
    let values: Vec<ByteArray> =
        begins.zip(&ends).map(|(begin, end)| ByteArray::from(bytes.slice(begin..*end))).collect();
    let mut column = group.next_column()?.ok_or_else(too_many)?;
    column.typed::<ByteArrayType>().write_batch(&values, optional.then_some(levels.as_slice()), None)?;
    column.close()
}

fn too_many() -> ParquetError {
    ParquetError::General(format!("more than {} columns were written", NAMES.len()))
}
