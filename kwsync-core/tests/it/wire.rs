//! The connection, against a real PostgreSQL.

use std::time::Duration;

use kwsync_core::config::{Dsn, Secret};
use kwsync_core::system::postgres::catalog;
use kwsync_core::system::postgres::wire::{
    COPY_HEADER_BYTES, ConnectConfig, Connection, CopyOut, Endpoint, ServerError, SslMode,
};
use kwsync_core::testkit::PgServer;
use kwsync_core::{ErrorKind, Retry, TableId};

fn config(server: &PgServer, database: &str) -> ConnectConfig {
    let dsn: Dsn = server.dsn(database).parse().unwrap();
    ConnectConfig::from_dsn(&dsn, 5432).unwrap()
}

async fn connect(server: &PgServer, database: &str) -> Connection {
    Connection::connect(&config(server, database)).await.unwrap()
}

#[tokio::test]
async fn statements_return_rows_tags_and_errors() {
    let Some(server) = PgServer::shared() else { return };
    let mut session = connect(server, "postgres").await;
    let results = session
        .simple_query(
            "CREATE TEMP TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x'), (2, NULL); TABLE t",
        )
        .await
        .unwrap();
    assert_eq!(results[1].affected(), 2);
    let rows = &results[2].rows;
    assert_eq!((rows.len(), rows.columns()), (2, &["a".to_owned(), "b".to_owned()][..]));
    assert_eq!((rows.get(0, 1), rows.get(1, 1)), (Some("x"), None));

    let found = session.query("SELECT b FROM t WHERE a = $1::int", &[Some("1")]).await.unwrap();
    assert_eq!(found.rows.get(0, 0), Some("x"));
    let error = session.query("SELECT * FROM missing_table", &[]).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::NotFound, Some("42P01")));
    // The session goes on after an error, and knows whether a transaction is open.
    assert!(!session.in_transaction());
    session.simple_query("BEGIN").await.unwrap();
    assert!(session.in_transaction());
    assert!(session.simple_query("SELECT 1/0").await.is_err());
    assert!(session.in_transaction());
    session.simple_query("ROLLBACK").await.unwrap();
    assert!(!session.in_transaction());
    assert!(session.parameter("server_version").is_some());
    session.close().await.unwrap();
}

#[tokio::test]
async fn every_way_to_sign_in_and_every_sslmode() {
    let Some(server) = PgServer::shared() else { return };
    let base = config(server, "postgres");
    Connection::connect(&base.clone().with_ssl_mode(SslMode::Disable)).await.unwrap();
    Connection::connect(&base.clone().with_ssl_mode(SslMode::Prefer)).await.unwrap();
    let mut unix = base.clone();
    unix.endpoints = vec![Endpoint::Unix(server.socket_dir().to_owned(), server.port())];
    Connection::connect(&unix).await.unwrap();

    let wrong = base.clone().with_password(Secret::new("hunter2"));
    let error = Connection::connect(&wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(!format!("{error:?}{}", error.report()).contains("hunter2"));
    let mut none = base.clone();
    none.password = None;
    assert_eq!(Connection::connect(&none).await.unwrap_err().kind(), ErrorKind::Auth);
    let error = Connection::connect(&config(server, "no_such_db")).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::NotFound, Some("3D000")));

    let Some(ca) = server.ca_cert_path() else { return };
    let mut session = Connection::connect(&base.clone().with_ssl_mode(SslMode::Require)).await.unwrap();
    let used =
        session.simple_query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await.unwrap();
    assert_eq!(used[0].rows.get(0, 0), Some("t"));
    for mode in [SslMode::VerifyCa, SslMode::VerifyFull] {
        assert_eq!(
            Connection::connect(&base.clone().with_ssl_mode(mode)).await.unwrap_err().kind(),
            ErrorKind::Config
        );
        Connection::connect(&base.clone().with_ssl_mode(mode).with_ssl_root_cert(&ca)).await.unwrap();
    }
    // The certificate is for localhost and 127.0.0.1.
    let mut other = base.clone().with_ssl_root_cert(&ca);
    other.endpoints = vec![Endpoint::Tcp("127.0.0.2".to_owned(), server.port())];
    if std::net::TcpStream::connect(("127.0.0.2", server.port())).is_ok() {
        Connection::connect(&other.clone().with_ssl_mode(SslMode::VerifyCa)).await.unwrap();
        let error = Connection::connect(&other.with_ssl_mode(SslMode::VerifyFull)).await.unwrap_err();
        assert!(error.report().contains("names another host"), "{}", error.report());
    }
    let error =
        Connection::connect(&base.with_ssl_mode(SslMode::VerifyFull).with_ssl_root_cert(foreign_authority()))
            .await
            .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.report().contains("sslrootcert"), "{}", error.report());
}

#[tokio::test]
async fn md5_and_clear_passwords_sign_in_too() {
    // A server of its own: who may sign in, and how, is changed.
    let Some(server) = PgServer::start() else { return };
    server.psql(
        "postgres",
        "SET password_encryption = 'md5'; CREATE ROLE by_md5 LOGIN PASSWORD 'x y'; CREATE ROLE in_clear LOGIN PASSWORD 'é'",
    );
    let hba = server.psql("postgres", "SHOW hba_file");
    let rules = std::fs::read_to_string(hba.trim()).unwrap();
    let more = "host all by_md5 127.0.0.1/32 md5\nhost all in_clear 127.0.0.1/32 password\n";
    std::fs::write(hba.trim(), format!("{more}{rules}")).unwrap();
    server.restart();
    for (user, password) in [("by_md5", "x y"), ("in_clear", "é")] {
        let config = ConnectConfig::new("127.0.0.1", server.port(), user, "postgres");
        Connection::connect(&config.clone().with_password(Secret::new(password))).await.unwrap();
        let error = Connection::connect(&config.with_password(Secret::new("wrong"))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth, "{user}");
    }
}

/// Runs openssl in `dir`.
fn openssl(dir: &std::path::Path, arguments: &str) {
    let ran =
        std::process::Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(ran.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&ran.stderr));
}

#[tokio::test]
async fn a_certificate_of_our_own_signs_in() {
    // A server of its own: whom it trusts, and how, is changed.
    let Some(server) = PgServer::start() else { return };
    let Some(root) = server.ca_cert_path() else { return };
    let dir = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();
    openssl(
        dir.path(),
        "req -x509 -newkey rsa:2048 -nodes -subj /CN=clients -days 2 -keyout ca.key -out ca.crt",
    );
    std::fs::write(dir.path().join("v3.cnf"), "basicConstraints=CA:FALSE\n").unwrap();
    for (file, name) in [("good", "certified"), ("other", "somebody")] {
        openssl(
            dir.path(),
            &format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {file}.key -out {file}.csr"),
        );
        openssl(
            dir.path(),
            &format!(
                "x509 -req -in {file}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile v3.cnf -out {file}.crt"
            ),
        );
    }
    openssl(
        dir.path(),
        "req -x509 -newkey rsa:2048 -nodes -subj /CN=certified -days 2 -keyout own.key -out own.crt",
    );
    server.psql("postgres", "CREATE ROLE certified LOGIN");
    server.psql(
        "postgres",
        &format!("ALTER SYSTEM SET ssl_ca_file = '{}'", dir.path().join("ca.crt").display()),
    );
    let hba = server.psql("postgres", "SHOW hba_file");
    let rules = std::fs::read_to_string(hba.trim()).unwrap();
    std::fs::write(hba.trim(), format!("hostssl all certified 127.0.0.1/32 cert\n{rules}")).unwrap();
    server.restart();
    let with = |file: Option<&str>, mode: SslMode| {
        let mut config = ConnectConfig::new("127.0.0.1", server.port(), "certified", "postgres")
            .with_ssl_mode(mode)
            .with_ssl_root_cert(&root);
        if let Some(file) = file {
            config.ssl_cert = Some(dir.path().join(format!("{file}.crt")));
            config.ssl_key = Some(dir.path().join(format!("{file}.key")));
        }
        config
    };
    for mode in [SslMode::Require, SslMode::VerifyFull] {
        let mut session = Connection::connect(&with(Some("good"), mode)).await.unwrap();
        let who = session
            .simple_query("SELECT current_user, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            .await
            .unwrap();
        assert_eq!(
            (who[0].rows.get(0, 0), who[0].rows.get(0, 1)),
            (Some("certified"), Some("/CN=certified"))
        );
    }
    // None, one of another name, and one that nobody trusts.
    for (file, kinds) in [
        (None, &[ErrorKind::Auth][..]),
        (Some("other"), &[ErrorKind::Auth]),
        (Some("own"), &[ErrorKind::Tls, ErrorKind::Unavailable, ErrorKind::Auth]),
    ] {
        let error = Connection::connect(&with(file, SslMode::VerifyFull)).await.unwrap_err();
        assert!(kinds.contains(&error.kind()), "{file:?}: {error:?}");
    }
    // Half a pair, and a pair that does not fit.
    let mut half = with(Some("good"), SslMode::VerifyFull);
    half.ssl_key = None;
    assert_eq!(Connection::connect(&half).await.unwrap_err().kind(), ErrorKind::Config);
    let mut mixed = with(Some("good"), SslMode::VerifyFull);
    mixed.ssl_key = Some(dir.path().join("other.key"));
    assert_eq!(Connection::connect(&mixed).await.unwrap_err().kind(), ErrorKind::Config);
}

/// Any certificate that did not sign the server's.
fn foreign_authority() -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("kwsync-foreign-{}.crt", std::process::id()));
    if !path.exists() {
        let made = std::process::Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-subj",
                "/CN=foreign",
                "-days",
                "2",
                "-keyout",
            ])
            .arg(path.with_extension("key"))
            .arg("-out")
            .arg(&path)
            .output()
            .unwrap();
        assert!(made.status.success());
    }
    path
}

#[tokio::test]
async fn nobody_there() {
    let mut config = ConnectConfig::new("127.0.0.1", 1, "u", "d");
    let error = Connection::connect(&config).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Backoff));
    assert!(error.report().contains("127.0.0.1:1"), "{}", error.report());
    // A listener that never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    config.endpoints = vec![Endpoint::Tcp("127.0.0.1".to_owned(), listener.local_addr().unwrap().port())];
    config.connect_timeout = Duration::from_millis(100);
    assert_eq!(Connection::connect(&config).await.unwrap_err().kind(), ErrorKind::Timeout);
}

fn frame(data: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; COPY_HEADER_BYTES];
    frame.extend_from_slice(data);
    frame
}

/// All that a COPY sends.
async fn all(mut out: CopyOut<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut take = |data: &[u8]| {
        bytes.extend_from_slice(data);
        Ok(())
    };
    while out.read(&mut take).await.unwrap() {}
    bytes
}

#[tokio::test]
async fn copy_goes_both_ways() {
    let Some(server) = PgServer::shared() else { return };
    let mut session = connect(server, "postgres").await;
    session.simple_query("CREATE TEMP TABLE c (n int, s text)").await.unwrap();
    let mut copy = session.copy_in("COPY c FROM STDIN").await.unwrap();
    let big: String = (0..200_000).map(|n| format!("{n}\trow {n}\n")).collect();
    for piece in big.as_bytes().chunks(1 << 20) {
        copy.send(&mut frame(piece)).await.unwrap();
    }
    assert_eq!(copy.finish().await.unwrap(), 200_000);

    let mut out = session.copy_out("COPY (SELECT * FROM c ORDER BY n) TO STDOUT").await.unwrap();
    let mut back = Vec::new();
    while let Some(data) = out.next().await.unwrap() {
        back.extend_from_slice(&data);
    }
    assert!(back == big.as_bytes());
    // Broken off, nothing is there, and the session goes on.
    let mut copy = session.copy_in("COPY c FROM STDIN").await.unwrap();
    copy.send(&mut frame(b"1\tx\n")).await.unwrap();
    copy.fail("changed my mind").await.unwrap();
    let count = session.simple_query("SELECT count(*) FROM c").await.unwrap();
    assert_eq!(count[0].rows.get(0, 0), Some("200000"));
    assert!(session.copy_in("COPY nowhere FROM STDIN").await.is_err());
    // A SELECT passes for it, to the byte; so does one without rows, and one that fails on its way leaves a session.
    for sql in ["SELECT n, s, NULL::int FROM c ORDER BY n", "SELECT n FROM c WHERE false"] {
        let mut pieces = Vec::new();
        let copied = all(session.copy_out(&format!("COPY ({sql}) TO STDOUT BINARY")).await.unwrap()).await;
        let selected = all(session.select_out(sql).await.unwrap()).await;
        let mut out = session.select_out(sql).await.unwrap();
        while let Some(data) = out.next().await.unwrap() {
            pieces.extend_from_slice(&data);
        }
        assert!(copied == selected && copied == pieces, "{sql}");
    }
    let mut out = session.select_out("SELECT 1 / (3 - n)::int FROM generate_series(1, 9) n").await.unwrap();
    let fault = loop {
        match out.read(|_| Ok(())).await {
            Ok(more) => assert!(more, "no fault"),
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault.code(), Some("22012"));
    assert!(session.copy_out("COPY nowhere TO STDOUT").await.is_err());
    assert!(session.simple_query("SELECT 1").await.is_ok());
}

#[tokio::test]
async fn a_bad_row_is_seen_while_the_rest_is_still_being_sent() {
    let Some(server) = PgServer::shared() else { return };
    let mut session = connect(server, "postgres").await;
    session.simple_query("CREATE TEMP TABLE c (n int)").await.unwrap();
    let mut copy = session.copy_in("COPY c FROM STDIN").await.unwrap();
    copy.send(&mut frame(b"1\nfoo\n")).await.unwrap();
    let mut sent = 0;
    let error = loop {
        let more = "7\n".repeat(1 << 19);
        match copy.send(&mut frame(more.as_bytes())).await {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 200, "200 MB were sent after the bad row");
    };
    assert_eq!((error.kind(), error.code()), (ErrorKind::Data, Some("22P02")));
    let server_error = std::error::Error::source(&error).unwrap().downcast_ref::<ServerError>().unwrap();
    assert_eq!(server_error.copy_line("c"), Some(2));
}

#[tokio::test]
async fn a_dropped_exchange_breaks_the_session_and_a_statement_can_be_cancelled() {
    let Some(server) = PgServer::shared() else { return };
    let mut session = connect(server, "postgres").await;
    let token = session.cancel_token().unwrap();
    let canceller = tokio::spawn(async move {
        // Cancelling before the statement has begun does nothing: again until it has.
        loop {
            token.cancel().await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let error = session.simple_query("SELECT pg_sleep(60)").await.unwrap_err();
    canceller.abort();
    assert_eq!(error.code(), Some("57014"));

    // Another session: a request to cancel the first may still be on its way.
    let mut session = connect(server, "postgres").await;
    let dropped =
        tokio::time::timeout(Duration::from_millis(50), session.simple_query("SELECT pg_sleep(60)")).await;
    assert!(dropped.is_err() && session.is_broken());
    assert!(session.simple_query("SELECT 1").await.unwrap_err().to_string().contains("broken"));
}

#[tokio::test]
async fn the_catalog_tells_types_defaults_and_domains() {
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    server.psql(
        &database,
        "CREATE TYPE mood AS ENUM ('sad', 'ok');
         CREATE DOMAIN small AS varchar(7) NOT NULL;
         CREATE SCHEMA \"odd \"\"one\";
         CREATE TABLE \"odd \"\"one\".\"T\" (id bigserial, a int NOT NULL, n numeric(10,2), v small, m mood, ms mood[],
            g int GENERATED ALWAYS AS (a + 1) STORED, i int GENERATED ALWAYS AS IDENTITY, l varchar(3)[], gone int,
            ts timestamptz(3));
         ALTER TABLE \"odd \"\"one\".\"T\" DROP COLUMN gone",
    );
    let mut session = connect(server, &database).await;
    let table = TableId::with_schema("odd \"one", "T");
    let found = catalog::table(&mut session, &table, None).await.unwrap().unwrap();
    let told: Vec<_> = found
        .columns
        .iter()
        .map(|column| {
            let flags = [(column.not_null, 'n'), (column.has_default, 'd'), (column.generated, 'g')];
            let flags: String = flags.iter().filter(|(on, _)| *on).map(|(_, flag)| flag).collect();
            format!("{} {} {flags}", column.name, column.pg_type.data_type())
        })
        .collect();
    let wanted = [
        "id i64 nd",
        "a i32 n",
        "n numeric(10,2) ",
        "v varchar(7) n",
        "m other:mood ",
        "ms other:mood[] ",
        "g i32 dg",
        "i i32 ndg",
        "l varchar(3)[] ",
        "ts timestamptz(us) ",
    ];
    assert_eq!(told, wanted);
    assert_eq!(catalog::table(&mut session, &"T".into(), None).await.unwrap(), None);
}
