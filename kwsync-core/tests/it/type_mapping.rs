//! docs/type-mapping.md says what the code does.

use kwsync_core::system::postgres::types::{PgKind, PgType, oid, sql_type};
use kwsync_core::system::{kwdb, mysql};
use kwsync_core::{DataType, TimeUnit};

/// Every type, with lengths where it has some.
fn every() -> Vec<DataType> {
    use DataType as T;
    let units = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond];
    let mut all = vec![
        T::Bool,
        T::Int8,
        T::Int16,
        T::Int32,
        T::Int64,
        T::UInt8,
        T::UInt16,
        T::UInt32,
        T::UInt64,
        T::Float32,
        T::Float64,
        T::Numeric(Some((18, 4))),
        T::Numeric(None),
        T::Money,
        T::Char(5),
        T::VarChar(Some(20)),
        T::VarChar(None),
        T::NChar(5),
        T::NVarChar(Some(20)),
        T::Text,
        T::Bytes,
        T::VarBytes(Some(20)),
        T::Date,
    ];
    all.extend(units.map(T::Time));
    all.push(T::TimeTz);
    all.extend(units.map(T::Timestamp));
    all.extend(units.map(T::TimestampTz));
    all.extend([
        T::Interval,
        T::Json,
        T::Jsonb,
        T::Uuid,
        T::Inet,
        T::Cidr,
        T::MacAddr,
        T::MacAddr8,
        T::Bit(3),
        T::VarBit(Some(8)),
        T::Xml,
        T::Geometry,
        T::Array(Box::new(T::Int32)),
        T::Other("mood".into()),
    ]);
    all
}

fn to_target() -> String {
    let mut text = String::from(
        "| type | Arrow | PostgreSQL | MySQL | KWDB column | KWDB tag | KWDB primary tag |\n|---|---|---|---|---|---|---|\n",
    );
    for data_type in every() {
        let kwdb = |tag, primary| kwdb::ddl::sql_type(&data_type, tag, primary).unwrap_or_default();
        text.push_str(&format!(
            "| `{data_type}` | {} | {} | {} | {} | {} | {} |\n",
            data_type.to_arrow(),
            sql_type(&data_type),
            mysql::types::sql_type(&data_type),
            kwdb(false, false),
            kwdb(true, false),
            kwdb(true, true)
        ));
    }
    text
}

fn from_postgres() -> String {
    let base = |name: &str, oid, modifier| PgType::base(oid, modifier, name);
    let mut all = vec![
        base("boolean", oid::BOOL, -1),
        base("smallint", oid::INT2, -1),
        base("integer", oid::INT4, -1),
        base("bigint", oid::INT8, -1),
        base("oid", oid::OID, -1),
        base("real", oid::FLOAT4, -1),
        base("double precision", oid::FLOAT8, -1),
        base("numeric", oid::NUMERIC, -1),
        base("numeric(18,4)", oid::NUMERIC, (18 << 16 | 4) + 4),
        base("money", oid::MONEY, -1),
        base("character(5)", oid::BPCHAR, 9),
        base("character varying(20)", oid::VARCHAR, 24),
        base("character varying", oid::VARCHAR, -1),
        base("text", oid::TEXT, -1),
        base("name", oid::NAME, -1),
        base("bytea", oid::BYTEA, -1),
        base("date", oid::DATE, -1),
        base("time", oid::TIME, -1),
        base("time with time zone", oid::TIMETZ, -1),
        base("timestamp", oid::TIMESTAMP, -1),
        base("timestamp with time zone", oid::TIMESTAMPTZ, -1),
        base("interval", oid::INTERVAL, -1),
        base("json", oid::JSON, -1),
        base("jsonb", oid::JSONB, -1),
        base("uuid", oid::UUID, -1),
        base("inet", oid::INET, -1),
        base("cidr", oid::CIDR, -1),
        base("macaddr", oid::MACADDR, -1),
        base("macaddr8", oid::MACADDR8, -1),
        base("bit(3)", oid::BIT, 3),
        base("bit varying(8)", oid::VARBIT, 8),
        base("xml", oid::XML, -1),
    ];
    let item = base("integer", oid::INT4, -1);
    all.push(PgType { kind: PgKind::Array(Box::new(item)), ..base("integer[]", 1007, -1) });
    all.push(PgType { kind: PgKind::Enum, ..base("mood", 90_000, -1) });
    let mut text = String::from("| PostgreSQL | type |\n|---|---|\n");
    for pg_type in all {
        text.push_str(&format!("| {} | `{}` |\n", pg_type.name, pg_type.data_type()));
    }
    text
}

#[test]
fn the_document_says_what_the_code_does() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/type-mapping.md");
    let Ok(document) = std::fs::read_to_string(&path) else {
        println!("SKIPPED: {} is not there", path.display());
        return;
    };
    for table in [to_target(), from_postgres()] {
        assert!(document.contains(&table), "docs/type-mapping.md should have this table:\n\n{table}");
    }
}
