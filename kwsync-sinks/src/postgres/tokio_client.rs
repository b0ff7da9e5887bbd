//! For those who have a `tokio_postgres::Client` already.

use bytes::Bytes;
use futures_util::SinkExt;
use kwsync_core::system::postgres::ddl;
use kwsync_core::system::postgres::types::{PgKind, PgType};
use kwsync_core::{Delivered, Error, ErrorKind, Reject, Result, Stage, TableBatch};
use kwsync_formats::pgcopy::{CopyColumn, CopyEncoder, CopyOptions};
use tokio_postgres::types::{Kind, Type};
use tokio_postgres::{CopyInSink, GenericClient};

/// Bytes handed over at a time; small ones cost the client more than the encoding does.
const MESSAGE_BYTES: usize = 1 << 20;
/// Rows encoded at a time.
const PIECE_ROWS: usize = 2_048;

/// A client or a transaction of tokio-postgres.
pub trait CopyClient: GenericClient + Sync {
    /// Starts `sql`, which is one `COPY ... FROM STDIN`.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the COPY off.
    fn start_copy(
        &self,
        sql: &str,
    ) -> impl Future<Output = std::result::Result<CopyInSink<Bytes>, tokio_postgres::Error>> + Send;
}

impl CopyClient for tokio_postgres::Client {
    async fn start_copy(&self, sql: &str) -> std::result::Result<CopyInSink<Bytes>, tokio_postgres::Error> {
        self.copy_in(sql).await
    }
}

impl CopyClient for tokio_postgres::Transaction<'_> {
    async fn start_copy(&self, sql: &str) -> std::result::Result<CopyInSink<Bytes>, tokio_postgres::Error> {
        self.copy_in(sql).await
    }
}

/// Writes the rows of `batch` to the table of its name by COPY BINARY over a client or transaction of the caller's.
/// Returns the rows written, and those that their columns cannot hold. Outside a transaction the COPY commits by
/// itself.
///
/// # Errors
/// What the server says; `Schema` when columns do not fit. No row has been written, unless the error's
/// [`delivered`](Error::delivered) says that this is in doubt.
///
/// # Cancel safety
/// Dropping the future breaks the COPY off; the server takes none of its rows.
///
/// # Examples
/// ```no_run
/// # async fn load(client: tokio_postgres::Client, batch: kwsync_core::TableBatch) -> kwsync_core::Result<()> {
/// use kwsync_formats::pgcopy::CopyOptions;
///
/// let (written, refused) = kwsync_sinks::postgres::copy_into(&client, &batch, CopyOptions::default()).await?;
/// println!("{written} rows written, {} refused", refused.len());
/// # Ok(())
/// # }
/// ```
pub async fn copy_into<C: CopyClient>(
    client: &C,
    batch: &TableBatch,
    options: CopyOptions,
) -> Result<(u64, Vec<Reject>)> {
    let table = ddl::table_name(batch.table(), None)?;
    let names: Vec<_> =
        batch.schema().columns().iter().map(|column| ddl::quote(column.name())).collect::<Result<_>>()?;
    let names = names.join(", ");
    let statement = client.prepare(&format!("SELECT {names} FROM {table}")).await.map_err(fault)?;
    let columns: Vec<_> = statement
        .columns()
        .iter()
        .map(|column| CopyColumn::new(column.name(), pg_type(column.type_(), column.type_modifier())))
        .collect();
    let mut encoder = CopyEncoder::try_new(batch.schema(), &columns, options)?;
    let copy = format!("COPY {table} ({names}) FROM STDIN (FORMAT binary)");
    let sink = client.start_copy(&copy).await.map_err(fault)?;
    let mut sink = std::pin::pin!(sink);
    let mut rejects = Vec::new();
    let mut message = Vec::with_capacity(MESSAGE_BYTES + (MESSAGE_BYTES >> 1));
    CopyEncoder::write_header(&mut message);
    let mut from = 0;
    while from < batch.rows() {
        let rows = from..batch.rows().min(from + PIECE_ROWS);
        from = rows.end;
        for refused in encoder.encode(batch, rows, &mut message)? {
            rejects.push(batch.reject(refused.row, Stage::Encode, refused.code, refused.reason));
        }
        if message.len() >= MESSAGE_BYTES {
            let full =
                std::mem::replace(&mut message, Vec::with_capacity(MESSAGE_BYTES + (MESSAGE_BYTES >> 1)));
            sink.as_mut().feed(Bytes::from(full)).await.map_err(fault)?;
        }
    }
    CopyEncoder::write_trailer(&mut message);
    sink.as_mut().send(Bytes::from(message)).await.map_err(fault)?;
    let written = sink.as_mut().finish().await.map_err(|error| {
        let answered = error.as_db_error().is_some();
        fault(error).with_delivered(if answered { Delivered::No } else { Delivered::InDoubt })
    })?;
    Ok((written, rejects))
}

fn pg_type(own: &Type, modifier: i32) -> PgType {
    let kind = match own.kind() {
        Kind::Enum(_) => PgKind::Enum,
        Kind::Array(item) => PgKind::Array(Box::new(pg_type(item, modifier))),
        Kind::Domain(base) => return pg_type(base, modifier),
        Kind::Simple => PgKind::Base,
        _ => PgKind::Other,
    };
    PgType { oid: own.oid(), name: own.name().to_owned(), modifier, kind }
}

fn fault(error: tokio_postgres::Error) -> Error {
    let kind = match error.code() {
        Some(code) => kwsync_core::classify_sqlstate(code.code()).1,
        None => ErrorKind::Unavailable,
    };
    let (code, text) = match error.as_db_error() {
        Some(server) => (Some(server.code().code().to_owned()), server.message().to_owned()),
        None => (None, "the connection failed".to_owned()),
    };
    let made = Error::new(kind, text).with_source(error);
    match code {
        Some(code) => made.with_code(code),
        None => made,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kwsync_core::testkit::PgServer;
    use kwsync_core::{Column, DataType, Schema, Value};

    use super::*;

    #[tokio::test]
    async fn a_client_and_a_transaction_of_the_callers_take_a_batch() {
        let Some(server) = PgServer::shared() else { return };
        let database = server.create_database();
        server.psql(&database, "CREATE TABLE \"T t\" (n smallint, s varchar(3), m numeric(6,2))");
        let config = format!(
            "host=127.0.0.1 port={} user={} password='{}' dbname={database}",
            server.port(),
            server.superuser(),
            server.password()
        );
        let (mut client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let columns = [("n", DataType::Int64), ("s", DataType::Text), ("m", DataType::Numeric(Some((6, 2))))];
        let columns = columns.map(|(name, data_type)| Column::new(name, data_type));
        let schema = Arc::new(Schema::new(columns.to_vec()).unwrap());
        let row = |n: i64, s: &'static str| {
            vec![
                Value::Int(n),
                Value::Text(s.into()),
                Value::Decimal(kwsync_core::arrow::buffer::i256::from(-105), 2),
            ]
        };
        let rows = [row(1, "a"), row(70_000, "b"), row(3, "long"), row(4, "d")];
        let batch = TableBatch::from_rows("T t", schema, &rows).unwrap();

        let (written, refused) = copy_into(&client, &batch, CopyOptions::default()).await.unwrap();
        let codes: Vec<_> = refused.iter().map(|reject| reject.code.as_str()).collect();
        assert_eq!((written, codes), (2, vec!["integer_overflow", "text_too_long"]));

        let transaction = client.transaction().await.unwrap();
        copy_into(&transaction, &batch, CopyOptions::default()).await.unwrap();
        transaction.rollback().await.unwrap();
        assert_eq!(server.psql(&database, "TABLE \"T t\""), "1|a|-1.05\n4|d|-1.05\n");

        let other = batch.with_table("nowhere");
        let error = copy_into(&client, &other, CopyOptions::default()).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::NotFound, Some("42P01")));
    }
}
