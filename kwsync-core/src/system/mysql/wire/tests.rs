//! Packets against mysql_common, and sessions against a real MariaDB.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::Value;
use mysql_common::constants::{CapabilityFlags, ColumnFlags, ColumnType, StatusFlags};
use mysql_common::io::ParseBuf;
use mysql_common::packets::{Column, HandshakePacket, HandshakeResponse};
use mysql_common::proto::{Binary, MySerialize};
use mysql_common::row::RowDeserializer;
use mysql_common::scramble::scramble_sha256;
use mysql_common::value::ServerSide;
use proptest::prelude::*;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::cell::Kind;
use super::input::{FRAME, Input, Span, add_packet};
use super::*;
use crate::config::Secret;
use crate::system::mysql::session::{ConnectConfig, SslMode};
use crate::testkit::MariaServer;
use crate::{Error, ErrorKind, Result};

/// All types of which servers send values.
const TYPES: [ColumnType; 29] = {
    use ColumnType as C;
    [
        C::MYSQL_TYPE_STRING,
        C::MYSQL_TYPE_VAR_STRING,
        C::MYSQL_TYPE_BLOB,
        C::MYSQL_TYPE_TINY_BLOB,
        C::MYSQL_TYPE_MEDIUM_BLOB,
        C::MYSQL_TYPE_LONG_BLOB,
        C::MYSQL_TYPE_SET,
        C::MYSQL_TYPE_ENUM,
        C::MYSQL_TYPE_DECIMAL,
        C::MYSQL_TYPE_VARCHAR,
        C::MYSQL_TYPE_BIT,
        C::MYSQL_TYPE_NEWDECIMAL,
        C::MYSQL_TYPE_GEOMETRY,
        C::MYSQL_TYPE_VECTOR,
        C::MYSQL_TYPE_JSON,
        C::MYSQL_TYPE_TINY,
        C::MYSQL_TYPE_SHORT,
        C::MYSQL_TYPE_YEAR,
        C::MYSQL_TYPE_LONG,
        C::MYSQL_TYPE_INT24,
        C::MYSQL_TYPE_LONGLONG,
        C::MYSQL_TYPE_FLOAT,
        C::MYSQL_TYPE_DOUBLE,
        C::MYSQL_TYPE_TIMESTAMP,
        C::MYSQL_TYPE_DATE,
        C::MYSQL_TYPE_NEWDATE,
        C::MYSQL_TYPE_DATETIME,
        C::MYSQL_TYPE_TIME,
        C::MYSQL_TYPE_NULL,
    ]
};

fn column(of: ColumnType, unsigned: bool) -> Column {
    let flags = if unsigned { ColumnFlags::UNSIGNED_FLAG } else { ColumnFlags::empty() };
    Column::new(of).with_flags(flags)
}

/// Values alike where floats are the same bits.
fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::Double(a), Value::Double(b)) => a.to_bits() == b.to_bits(),
        _ => ours == theirs,
    }
}

/// Reads a packet our way and mysql_common's, and holds them against each other.
fn compare(columns: &[Column], packet: &[u8]) {
    let kinds: Vec<_> = columns.iter().map(|column| Kind::of(column).unwrap()).collect();
    let ours: Option<Vec<Value>> = Row::new(&kinds, packet)
        .ok()
        .and_then(|row| row.cells().map(|cell| cell.ok().map(Value::from)).collect());
    let columns: Arc<[Column]> = columns.into();
    let theirs = ParseBuf(packet)
        .parse::<RowDeserializer<ServerSide, Binary>>(columns)
        .ok()
        .map(|row| row.into_inner().unwrap());
    match (&ours, &theirs) {
        (None, None) => {}
        (Some(ours), Some(theirs)) => {
            assert_eq!(ours.len(), theirs.len());
            for (ours, theirs) in ours.iter().zip(theirs) {
                assert!(same(ours, theirs), "{ours:?} {theirs:?} in {packet:x?}");
                assert!(same(&Value::from(Cell::from(ours)), ours));
            }
        }
        _ => panic!("{ours:?} {theirs:?} in {packet:x?}"),
    }
}

#[test]
fn every_type_is_read_as_by_mysql_common() {
    // Lengths that are short, of two, three and eight bytes, and none; dates and times of every length.
    let mut values: Vec<Vec<u8>> = (0..=20_u8).map(|length| (0..length).collect()).collect();
    for length in [0_u8, 4, 5, 7, 8, 11, 12, 13, 250] {
        let mut value = vec![length];
        value.extend((0..length).map(|byte| byte.wrapping_mul(37).wrapping_add(1)));
        values.push(value);
    }
    for head in
        [&[0xfb][..], &[0xff], &[0xfc, 3, 0], &[0xfd, 3, 0, 0], &[0xfe, 3, 0, 0, 0, 0, 0, 0, 0], &[0xfe; 9]]
    {
        values.push([head, b"abc"].concat());
    }
    values.push(vec![0xff; 13]);
    for of in TYPES {
        for unsigned in [false, true] {
            for value in &values {
                let columns = [column(of, unsigned), column(ColumnType::MYSQL_TYPE_TINY, false)];
                for nulls in [0_u8, 0b100, 0b1000, 0b1100] {
                    compare(&columns, &[&[0, nulls], value.as_slice(), &[7]].concat());
                }
            }
        }
    }
    let odd = Kind::of(&Column::new(ColumnType::MYSQL_TYPE_TIMESTAMP2).with_name(b"ts")).unwrap_err();
    assert!(odd.to_string().contains("ts"), "{odd}");
    // The map of nulls begins two bits in, and may be of several bytes.
    for count in 1..=40 {
        let columns = vec![column(ColumnType::MYSQL_TYPE_TINY, false); count];
        let packet: Vec<u8> = std::iter::once(0).chain((0..60).map(|n: u8| n.wrapping_mul(73))).collect();
        compare(&columns, &packet);
    }
}

proptest! {
    #[test]
    fn any_row_is_read_as_by_mysql_common_or_not_at_all(
        columns in prop::collection::vec((prop::sample::select(&TYPES[..]), any::<bool>()), 1..20),
        packet in prop::collection::vec(prop_oneof![any::<u8>(), 0..13_u8, Just(0)], 0..160),
    ) {
        let columns: Vec<_> = columns.into_iter().map(|(of, unsigned)| column(of, unsigned)).collect();
        compare(&columns, &packet);
    }

    /// Whatever way the bytes come in, the packets are the same.
    #[test]
    fn packets_are_cut_as_they_were_made(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..30),
        step in 1..700_usize,
    ) {
        let mut bytes = Vec::new();
        let mut number = 0;
        for packet in &packets {
            number = add_packet(&mut bytes, number, [packet, &[]]);
        }
        let read = runtime().block_on(all_packets(&bytes, step));
        prop_assert_eq!(read.unwrap(), packets);
    }

    /// A server that says anything at all makes an error, or ends the session; never a panic or a wait without an end.
    #[test]
    fn a_server_that_lies_is_no_harm(changes in prop::collection::vec((0..600_usize, any::<u8>()), 1..6), cut in 0..700_usize) {
        let mut spoken = conversation();
        for (at, byte) in changes {
            if let Some(place) = spoken.get_mut(at) {
                *place = byte;
            }
        }
        spoken.truncate(cut.max(1));
        runtime().block_on(async {
            let ended = tokio::time::timeout(Duration::from_secs(20), listen_to(spoken)).await;
            assert!(ended.is_ok(), "it waits");
        });
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn all_packets(bytes: &[u8], step: usize) -> Result<Vec<Vec<u8>>> {
    let mut input = Input::default();
    let mut read = Vec::new();
    for mut chunk in bytes.chunks(step) {
        while !chunk.is_empty() {
            input.fill(&mut chunk).await.unwrap();
            while let Some(span) = input.packet()? {
                read.push(input.bytes(&span).to_vec());
            }
        }
    }
    assert!(input.is_empty());
    Ok(read)
}

#[test]
fn long_packets_come_in_several_frames() {
    for length in [FRAME - 1, FRAME, FRAME + 1, 2 * FRAME] {
        let packet: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let mut bytes = Vec::new();
        let number = add_packet(&mut bytes, 250, [&packet[..1], &packet[1..]]);
        add_packet(&mut bytes, number, [b"then", &[]]);
        let mut input = Input::default();
        input.number = 250;
        let mut read = Vec::new();
        runtime().block_on(async {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                input.fill(&mut rest).await.unwrap();
                while let Some(span) = input.packet().unwrap() {
                    assert_eq!(matches!(span, Span::Joined), length >= FRAME && read.is_empty());
                    read.push(input.bytes(&span).to_vec());
                }
            }
        });
        assert!(read == [packet, b"then".to_vec()], "{length}");
    }
    let mut input = Input::default();
    input.number = 1;
    runtime().block_on(async {
        let mut bytes: &[u8] = &[0, 0, 0, 2];
        input.fill(&mut bytes).await.unwrap();
    });
    assert_eq!(input.packet().unwrap_err().kind(), ErrorKind::Protocol);
}

const NONCE: &[u8; 20] = b"abcdefghijklmnopqrst";
const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];

fn server_capabilities() -> CapabilityFlags {
    CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_DEPRECATE_EOF
}

fn greeting(plugin: &str, capabilities: CapabilityFlags) -> Vec<u8> {
    let mut packet = Vec::new();
    let (first, second) = NONCE.split_first_chunk::<8>().unwrap();
    HandshakePacket::new(
        10,
        &b"8.0.99"[..],
        7,
        *first,
        Some([second, &[0]].concat()),
        capabilities,
        45,
        StatusFlags::SERVER_STATUS_AUTOCOMMIT,
        Some(plugin.as_bytes()),
    )
    .serialize(&mut packet);
    packet
}

fn serialized(packet: &impl MySerialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.serialize(&mut bytes);
    bytes
}

/// All that a server says to a session that reads two rows.
fn conversation() -> Vec<u8> {
    let id = serialized(&Column::new(ColumnType::MYSQL_TYPE_LONG).with_name(b"id"));
    let name = serialized(&Column::new(ColumnType::MYSQL_TYPE_VAR_STRING).with_name(b"name"));
    let mut bytes = Vec::new();
    for (number, packets) in [
        (0, vec![greeting("mysql_native_password", server_capabilities())]),
        (2, vec![OK.to_vec()]),
        (1, vec![OK.to_vec()]),
        (1, vec![OK.to_vec()]),
        (1, vec![vec![0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0], id.clone(), name.clone()]),
        (
            1,
            vec![
                vec![2],
                id,
                name,
                vec![0, 0, 1, 0, 0, 0, 1, b'a'],
                vec![0, 0b1000, 2, 0, 0, 0],
                vec![0xfe, 0, 0, 2, 0, 0, 0],
            ],
        ),
    ] {
        let mut number = number;
        for packet in packets {
            number = add_packet(&mut bytes, number, [&packet, &[]]);
        }
    }
    bytes
}

/// A session with a server that says what is given and hangs up, whatever it is told. Returns the rows.
async fn listen_to(spoken: Vec<u8>) -> Result<Vec<Vec<Value>>> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(&spoken).await.ok();
        socket.shutdown().await.ok();
        // Until the client hangs up, so that what was said is not lost to a reset.
        tokio::io::copy(&mut socket, &mut tokio::io::sink()).await.ok();
    };
    let client = async {
        let config = ConnectConfig::new("127.0.0.1", address.port(), "me").with_password(Secret::new("pw"));
        let Connected::Ready(mut session) = Connection::connect(&config).await? else {
            return Ok(Vec::new());
        };
        let mut read = Vec::new();
        let mut rows = session.select("SELECT id, name FROM t").await?;
        while rows
            .read(|row| {
                read.push(row.cells().filter_map(|cell| cell.ok().map(Value::from)).collect());
                ControlFlow::Continue(())
            })
            .await?
        {}
        Ok(read)
    };
    tokio::join!(server, client).1
}

#[test]
fn what_the_liars_change_is_a_conversation() {
    let read = runtime().block_on(listen_to(conversation())).unwrap();
    assert_eq!(read, [vec![Value::Int(1), Value::Bytes(b"a".to_vec())], vec![Value::Int(2), Value::NULL],]);
    // Cut anywhere, it is an error, not an end.
    let whole = conversation();
    for cut in (1..whole.len()).step_by(7) {
        let error = runtime().block_on(listen_to(whole[..cut].to_vec())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{cut}: {error}");
    }
}

/// A server that signs in by caching_sha2_password, to stand in for MySQL 8: what it says behind the greeting.
async fn caching_server(listener: TcpListener, known: bool, switch: bool) -> Option<()> {
    let (mut socket, _) = listener.accept().await.ok()?;
    let first = if switch { "mysql_native_password" } else { "caching_sha2_password" };
    let mut number = 0;
    say(&mut socket, &mut number, &greeting(first, server_capabilities())).await?;
    let response = hear(&mut socket, &mut number).await?;
    let response: HandshakeResponse<'_> = ParseBuf(&response).parse(()).ok()?;
    assert_eq!((response.user(), response.db_name()), (&b"me"[..], Some(&b"shop"[..])));
    let mut proof = response.scramble_buf().to_vec();
    if switch {
        let request = [&b"\xfecaching_sha2_password\0"[..], NONCE, &[0]].concat();
        say(&mut socket, &mut number, &request).await?;
        proof = hear(&mut socket, &mut number).await?;
    }
    if proof != scramble_sha256(NONCE, b"pw").unwrap() {
        say(&mut socket, &mut number, b"\xff\x15\x04#28000Access denied").await?;
        return None;
    }
    say(&mut socket, &mut number, &[1, if known { 3 } else { 4 }]).await?;
    if known {
        say(&mut socket, &mut number, OK).await?;
        for _ in 0..2 {
            number = 0;
            hear(&mut socket, &mut number).await?;
            say(&mut socket, &mut number, OK).await?;
        }
    }
    Some(())
}

async fn say(socket: &mut (impl AsyncWrite + Unpin), number: &mut u8, packet: &[u8]) -> Option<()> {
    let mut bytes = Vec::new();
    *number = add_packet(&mut bytes, *number, [packet, &[]]);
    socket.write_all(&bytes).await.ok()
}

async fn hear(socket: &mut (impl AsyncRead + Unpin), number: &mut u8) -> Option<Vec<u8>> {
    let mut head = [0; 4];
    socket.read_exact(&mut head).await.ok()?;
    let mut packet = vec![0; u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize];
    socket.read_exact(&mut packet).await.ok()?;
    *number = head[3].wrapping_add(1);
    Some(packet)
}

/// As [`caching_server`], by TLS, with a password that it does not know from an earlier session.
async fn caching_server_by_tls(listener: TcpListener, config: rustls::ServerConfig) -> Option<()> {
    let (mut socket, _) = listener.accept().await.ok()?;
    let mut number = 0;
    let capabilities = server_capabilities() | CapabilityFlags::CLIENT_SSL;
    say(&mut socket, &mut number, &greeting("caching_sha2_password", capabilities)).await?;
    assert_eq!(hear(&mut socket, &mut number).await?.len(), 32, "a request for TLS");
    let mut socket = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(socket).await.ok()?;
    hear(&mut socket, &mut number).await?;
    say(&mut socket, &mut number, &[1, 4]).await?;
    assert_eq!(hear(&mut socket, &mut number).await?, b"pw\0");
    say(&mut socket, &mut number, OK).await?;
    for _ in 0..2 {
        number = 0;
        hear(&mut socket, &mut number).await?;
        say(&mut socket, &mut number, OK).await?;
    }
    Some(())
}

async fn sign_in(known: bool, switch: bool, password: &str) -> Result<Connected> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let server = tokio::spawn(caching_server(listener, known, switch));
    let config = ConnectConfig::new("127.0.0.1", address.port(), "me")
        .with_password(Secret::new(password))
        .with_database("shop");
    let connected = Connection::connect(&config).await;
    server.await.unwrap();
    connected
}

#[tokio::test]
async fn caching_sha2_password_is_known_as_far_as_it_needs_no_key() {
    for switch in [false, true] {
        assert!(matches!(sign_in(true, switch, "pw").await.unwrap(), Connected::Ready(_)));
        let Connected::Unsupported(what) = sign_in(false, switch, "pw").await.unwrap() else {
            panic!("the password in clear must not go out without TLS")
        };
        assert!(what.starts_with("caching_sha2_password"), "{what}");
        let error = sign_in(true, switch, "h1dden").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
        assert!(!format!("{error:?}{}", error.report()).contains("h1dden"));
    }
}

fn config(server: &MariaServer, db: &str) -> ConnectConfig {
    ConnectConfig::new("127.0.0.1", server.port(), server.user())
        .with_password(Secret::new(server.password()))
        .with_database(db)
}

async fn session(config: &ConnectConfig) -> Result<Connection> {
    match Connection::connect(config).await? {
        Connected::Ready(session) => Ok(*session),
        Connected::Unsupported(what) => panic!("not supported: {what}"),
    }
}

/// The rows of a statement.
async fn rows(session: &mut Connection, sql: &str) -> Result<Vec<Vec<Value>>> {
    let mut read = Vec::new();
    let mut rows = session.select(sql).await?;
    let mut malformed = Ok(());
    while rows
        .read(|row| match row.cells().map(|cell| cell.map(Value::from)).collect() {
            Ok(row) => {
                read.push(row);
                ControlFlow::Continue(())
            }
            Err(found) => {
                malformed = Err(found);
                ControlFlow::Break(())
            }
        })
        .await?
    {}
    malformed.map_err(Error::from)?;
    Ok(read)
}

#[tokio::test]
async fn a_session_with_mariadb() {
    let Some(server) = MariaServer::shared() else { return };
    let db = server.create_database();
    let mut session = session(&config(server, &db)).await.unwrap();
    session.execute("CREATE TABLE t (id int PRIMARY KEY, v text)").await.unwrap();
    session.execute("INSERT INTO t SELECT seq, REPEAT('x', seq) FROM seq_1_to_2000").await.unwrap();
    let all = rows(&mut session, "SELECT id, v FROM t ORDER BY id").await.unwrap();
    assert_eq!(all.len(), 2000);
    assert!(
        all.iter().zip(1..).all(|(row, n)| *row == [Value::Int(n), Value::Bytes(vec![b'x'; n as usize])])
    );
    assert!(rows(&mut session, "SELECT id FROM t WHERE id < 0").await.unwrap().is_empty());
    session.ping().await.unwrap();
    // What the server refuses leaves the session as it was: at once, and in the middle of rows.
    let late = "SELECT IF(o.seq < 5000, 1, (SELECT s.seq FROM seq_1_to_2 s WHERE s.seq < 3 + o.seq)) FROM seq_1_to_10000 o";
    for (sql, kind) in [
        ("SELECT absent FROM t", ErrorKind::Schema),
        ("SELECT * FROM absent", ErrorKind::NotFound),
        (late, ErrorKind::Server),
    ] {
        assert_eq!(rows(&mut session, sql).await.unwrap_err().kind(), kind, "{sql}");
        assert!(!session.is_broken(), "{sql}");
    }
    let error = session.execute("INSERT INTO t VALUES (1, 'again')").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Data, Some("1062")));
    // Breaking off and going on; breaking off for good.
    let mut some = Vec::new();
    {
        let mut rows = session.select("SELECT id FROM t ORDER BY id").await.unwrap();
        let mut more = true;
        while more {
            more = rows
                .read(|row| {
                    some.push(row.cells().next().unwrap().unwrap() == Cell::Int(some.len() as i64 + 1));
                    if some.len() % 3 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })
                .await
                .unwrap();
        }
    }
    assert!(some.len() == 2000 && some.iter().all(|right| *right));
    assert!(rows(&mut session, "SELECT ?").await.unwrap_err().to_string().contains("parameters"));
    assert!(session.is_broken());
    assert_eq!(session.ping().await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_wrong_way_in_is_told() {
    let Some(server) = MariaServer::shared() else { return };
    let good = config(server, "mysql");
    let wrong = good.clone().with_password(Secret::new("h1dden"));
    let error = session(&wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(!format!("{error:?}{}", error.report()).contains("h1dden"));
    assert_eq!(session(&good.clone().with_database("absent")).await.unwrap_err().kind(), ErrorKind::NotFound);
    let nobody = ConnectConfig { hosts: vec![("127.0.0.1".to_owned(), 1)], ..good.clone() };
    assert_eq!(session(&nobody).await.unwrap_err().kind(), ErrorKind::Unavailable);
    // The second host is taken where the first does not answer.
    let both = ConnectConfig {
        hosts: vec![("127.0.0.1".to_owned(), 1), ("127.0.0.1".to_owned(), server.port())],
        ..good
    };
    session(&both).await.unwrap();
    let no_tls = ConnectConfig { ssl_mode: SslMode::Required, ..both };
    assert_eq!(session(&no_tls).await.unwrap_err().kind(), ErrorKind::Tls);
}

#[tokio::test]
async fn another_way_of_signing_in_is_named() {
    let Some(server) = MariaServer::shared() else { return };
    server.sql("mysql", "INSTALL SONAME 'auth_ed25519'; CREATE USER ed@'127.0.0.1' IDENTIFIED VIA ed25519 USING PASSWORD('pw')");
    let config = ConnectConfig::new("127.0.0.1", server.port(), "ed").with_password(Secret::new("pw"));
    let Connected::Unsupported(what) = Connection::connect(&config).await.unwrap() else {
        panic!("ed25519 is not known")
    };
    assert_eq!(what, "client_ed25519");
}

#[tokio::test]
async fn tls_as_asked() {
    let Some(server) = MariaServer::start_tls() else { return };
    let ca = server.ca_cert_path();
    let good = config(&server, "mysql");
    let cipher = async |config: ConnectConfig| -> Result<bool> {
        let mut session = session(&config).await?;
        let found = rows(&mut session, "SELECT VARIABLE_VALUE <> '' FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_cipher'").await?;
        Ok(found == [[Value::Int(1)]])
    };
    let with = |mode, ca: Option<&std::path::Path>| ConnectConfig {
        ssl_mode: mode,
        ssl_ca: ca.map(Into::into),
        ..good.clone()
    };
    assert!(!cipher(with(SslMode::Disabled, None)).await.unwrap());
    for (mode, ca) in [
        (SslMode::Preferred, None),
        (SslMode::Required, None),
        (SslMode::VerifyCa, Some(ca.as_path())),
        (SslMode::VerifyIdentity, Some(ca.as_path())),
    ] {
        assert!(cipher(with(mode, ca)).await.unwrap(), "{mode:?}");
    }
    for mode in [SslMode::VerifyCa, SslMode::VerifyIdentity] {
        assert_eq!(cipher(with(mode, None)).await.unwrap_err().kind(), ErrorKind::Tls, "{mode:?}");
    }
    // caching_sha2_password, the server's certificate with a stand-in.
    let certificate = CertificateDer::from_pem_file(ca.with_file_name("server.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(ca.with_file_name("server.key")).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut to = ConnectConfig::new("127.0.0.1", listener.local_addr().unwrap().port(), "me")
        .with_password(Secret::new("pw"));
    (to.ssl_mode, to.ssl_ca) = (SslMode::VerifyIdentity, Some(ca.clone()));
    let stand_in = tokio::spawn(caching_server_by_tls(listener, tls));
    drop(session(&to).await.unwrap());
    assert_eq!(stand_in.await.unwrap(), Some(()));
    // The certificate is of localhost and 127.0.0.1, and 127.0.0.2 leads there.
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let elsewhere = listener.local_addr().unwrap().port();
    let port = server.port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await.ok() });
        }
    });
    let other = |mode| ConnectConfig {
        hosts: vec![("127.0.0.2".to_owned(), elsewhere)],
        ..with(mode, Some(ca.as_path()))
    };
    assert!(cipher(other(SslMode::VerifyCa)).await.unwrap());
    assert_eq!(cipher(other(SslMode::VerifyIdentity)).await.unwrap_err().kind(), ErrorKind::Tls);
}

#[tokio::test]
async fn long_rows_good_byes_and_a_server_that_dies() {
    let Some(server) = MariaServer::start() else { return };
    server.sql("mysql", "SET GLOBAL max_allowed_packet = 64 * 1024 * 1024");
    let config = config(&server, "mysql");
    let mut first = session(&config).await.unwrap();
    for length in [FRAME - 20, FRAME - 9, FRAME - 8, FRAME, 20 << 20, 2 * FRAME] {
        let sql = format!("SELECT 1, REPEAT('x', {length}) UNION ALL SELECT 2, 'y'");
        let read = rows(&mut first, &sql).await.unwrap();
        let Value::Bytes(long) = &read[0][1] else { panic!("no text") };
        assert!(long.len() == length && long.iter().all(|byte| *byte == b'x'), "{length}");
        assert_eq!(read[1], [Value::Int(2), Value::Bytes(b"y".to_vec())]);
    }
    first.ping().await.unwrap();
    let status = |name: &str| {
        let all = server.sql("mysql", &format!("SHOW GLOBAL STATUS LIKE '{name}'"));
        all.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(status("Prepared_stmt_count"), 0, "statements are closed");
    drop(first);
    while status("Threads_connected") > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(status("Aborted_clients"), 0, "it has said good-bye");
    // A reading that is dropped in the middle does not go on for the server.
    let mut second = session(&config).await.unwrap();
    let many = "SELECT seq, REPEAT('x', 1000) FROM seq_1_to_1000000";
    {
        let mut rows = second.select(many).await.unwrap();
        assert!(rows.read(|_| ControlFlow::Break(())).await.unwrap());
    }
    assert!(second.is_broken());
    drop(second);
    while status("Threads_connected") > 1 {
        tokio::task::yield_now().await;
    }
    let mut third = session(&config).await.unwrap();
    let mut rows = third.select(many).await.unwrap();
    assert!(rows.read(|_| ControlFlow::Break(())).await.unwrap());
    server.stop_immediately();
    let error = loop {
        match rows.read(|_| ControlFlow::Continue(())).await {
            Ok(more) => assert!(more, "the end, of a server that died"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}
