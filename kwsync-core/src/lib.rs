//! Types and contracts of kwsync: schemas, batches whose rows know their origin, errors, decoders, sources,
//! sinks and the pipelines that join them.

mod checkpoint;
pub mod config;
mod data;
mod decode;
mod encode;
mod error;
#[cfg(feature = "runtime")]
mod pipeline;
mod reject;
mod schema_registry;
mod sink;
mod source;
#[cfg(feature = "jobs")]
pub mod spec;
pub mod system;
#[cfg(all(feature = "testkit", unix))]
pub mod testkit;
#[cfg(feature = "runtime")]
mod transform;

pub use checkpoint::{Checkpoint, JobId, JobState, Parts, SavedTable, Split, SplitPosition};
#[cfg(feature = "runtime")]
pub use checkpoint::{CheckpointStore, FileStore, MemoryStore};
pub use data::{
    Change, Column, ColumnDefault, DataType, ForeignKey, Index, IndexColumn, Input, NameScope, Origin,
    OriginBuilder, RecordRef, ReferentialAction, Role, Row, Schema, Segment, TableBatch, TableId, TimeUnit,
    Value, civil_date,
};
#[cfg(feature = "runtime")]
pub use data::{Comparable, RowDigest};
pub use decode::{DecodeCounts, Decoded, Decoder, Metadata};
pub use encode::Encoder;
pub use error::{
    Backoff, Delivered, Error, ErrorKind, Location, Position, Result, Retry, SqlStateClass, caret,
    classify_sqlstate,
};
pub use reject::{Budget, DeadLetters, Earlier, ErrorPolicy, Reject, RejectReader, RejectWriter, Stage};
pub use schema_registry::{Claim, SchemaRegistry, widen};
pub use sink::{
    Capabilities, Cast, Delivery, DynSink, DynWriter, Ending, Lane, Plan, RowCounts, Run, Settled, Sink,
    Writer,
};
pub use source::{
    Assignment, BoxFuture, ByteReader, ByteSource, Chunk, DecoderFactory, Decoding, DecodingReader,
    DynReader, DynSource, Reader, Source, SourceBatch,
};

#[cfg(feature = "runtime")]
pub use pipeline::{Outcome, Pipeline, PipelineOptions, Progress, Report, Snapshot, Status, TableReport};
#[cfg(feature = "runtime")]
pub use transform::{
    AddColumn, CastColumn, DropColumns, HashColumn, Mask, MaskColumn, MergeTables, NameColumns, RenameColumn,
    RenameTable, SelectColumns, SetRole, TableScope, Transform, Transformed,
};
#[cfg(feature = "expressions")]
pub use transform::{ComputeColumn, Evaluated, Expression, FilterRows};

/// The Arrow crates that these types are made of: use them from here, and versions always agree.
pub mod arrow {
    pub use arrow_array as array;
    pub use arrow_buffer as buffer;
    pub use arrow_schema as schema;
}
