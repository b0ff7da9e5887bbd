//! OpenTSDB's telnet protocol.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use kwsync_core::testkit::PgServer;

use super::Served;

struct Client {
    lines: BufReader<TcpStream>,
}

impl Client {
    fn of(served: &Served) -> Self {
        let stream = TcpStream::connect(served.telnet.unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { lines: BufReader::new(stream) }
    }

    fn say(&mut self, text: &str) {
        self.lines.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }
}

#[test]
fn lines_and_commands() {
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    let served =
        Served::start(&server.dsn(&database), &["--telnet", "127.0.0.1:0", "--errors", "reject:bad.jsonl"]);
    let count = || server.psql(&database, "SELECT count(*), sum(value) FROM \"sys.cpu\"").trim().to_owned();
    let mut client = Client::of(&served);
    // Cut anywhere; an answer to a command comes when what was before it is committed.
    client.say("put sys.cpu 1700000000 1 host=a\nput sys.c");
    client.say("pu 1700000001 2 host=b\r\nversion\n");
    assert!(client.hear().starts_with("kwsync "));
    assert_eq!(count(), "2|3");
    client.say("put sys.cpu 1700000002 4 host=a\nput sys.cpu 1700000003\nput sys.cpu 1700000004 x host=a\nput sys.cpu 1700000005 8 host=a\nhelp\n");
    let (first, second) = (client.hear(), client.hear());
    assert!(first.starts_with("put: illegal argument: ") && first.ends_with("(line 5)\n"), "{first}");
    assert!(second.starts_with("put: illegal argument: ") && second.ends_with("(line 6)\n"), "{second}");
    assert!(client.hear().starts_with("available commands: "));
    assert_eq!(count(), "4|15");
    client.say("drop everything\n");
    assert_eq!(client.hear(), "unknown command: drop.  Try `help'.\n");
    // It closes once all is committed.
    client.say("put sys.cpu 1700000006 16 host=a\nexit\nput sys.cpu 1700000007 32 host=a\n");
    assert_eq!(client.hear(), "");
    assert_eq!(count(), "5|31");
    // The end of the connection ends the last line.
    let mut client = Client::of(&served);
    client.say("put sys.cpu 1700000008 64 host=a");
    client.lines.get_ref().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.hear(), "");
    assert_eq!(count(), "6|95");
    let rejects = std::fs::read_to_string(served.path("bad.jsonl")).unwrap();
    assert!(
        rejects.contains("\"line\":6") && rejects.contains("put sys.cpu 1700000004 x host=a"),
        "{rejects}"
    );
    assert_eq!(served.terminate().status(), 143);
}

/// Many clients with many lines, more than a piece; and line protocol on the same port.
#[test]
fn many_lines_by_line_protocol() {
    const LINES: usize = 40_000;
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    let listen = "listen://127.0.0.1:0?telnet=127.0.0.1:0&telnet_format=line_influxdb";
    let served = Served::start(&server.dsn(&database), &["--listen", listen, "--jobs", "2"]);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let served = &served;
            scope.spawn(move || {
                let text: String = (0..LINES)
                    .map(|n| format!("l,c={client} n={n}i,s=\"text of a line\" {n}000\n"))
                    .collect();
                let mut client = Client::of(served);
                client.say(&text);
                client.say("nonsense\nexit\n");
                assert!(client.hear().ends_with(&format!("(line {})\n", LINES + 1)));
                assert_eq!(client.hear(), "");
            });
        }
    });
    let found = server.psql(&database, "SELECT count(*), count(DISTINCT (c, n)) FROM l");
    assert_eq!(found.trim(), format!("{0}|{0}", 4 * LINES));
}
