//! Random transactions while the job runs, and is killed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::kill::kills;
use super::super::support::until;
use super::{Following, servers};

const SCHEMA: &str = "
CREATE TABLE a (id int PRIMARY KEY, v int, big text);
CREATE TABLE b (x int, y varchar(20), v int, PRIMARY KEY (x, y));
CREATE TABLE p (id int PRIMARY KEY, v int);
CREATE TABLE c (id int PRIMARY KEY, p int, v int, FOREIGN KEY (p) REFERENCES p (id));
CREATE TABLE u (id int PRIMARY KEY, slot int UNIQUE, v int);
CREATE TABLE i (n int NOT NULL, code varchar(20) NOT NULL, v int, UNIQUE (code));
CREATE TABLE m (id int PRIMARY KEY, v int) ENGINE=MyISAM;
INSERT INTO a SELECT seq, 0, REPEAT('x', 3000) FROM seq_1_to_200; INSERT INTO p SELECT seq, 0 FROM seq_1_to_50;";

const TABLES: [(&str, &str); 8] = [
    ("a", "id,v,big"),
    ("b", "x,y,v"),
    ("p", "id,v"),
    ("c", "id,p,v"),
    ("u", "id,slot,v"),
    ("i", "n,code,v"),
    ("m", "id,v"),
    ("k", "v"),
];

/// One statement, of a kind that leaves out what the source would refuse.
fn statement(random: &mut impl FnMut(u64) -> u64, keyless: bool) -> String {
    let (id, other, n) = (random(200), random(200), random(1_000_000));
    match random(if keyless { 21 } else { 20 }) {
        0..=2 => {
            format!("INSERT INTO a VALUES ({id}, {n}, REPEAT('{n}', 900)) ON DUPLICATE KEY UPDATE v = {n}")
        }
        3 | 4 => format!("UPDATE a SET v = {n} WHERE id BETWEEN {id} AND {}", id + 10),
        5 => format!("UPDATE IGNORE a SET id = {other} WHERE id = {id}"),
        6 => format!("DELETE FROM a WHERE id = {id}"),
        7 | 8 => format!(
            "INSERT INTO b VALUES ({}, 'k{}', {n}) ON DUPLICATE KEY UPDATE v = {n}",
            id % 20,
            other % 20
        ),
        9 => format!("UPDATE IGNORE b SET x = {} WHERE y = 'k{}' AND x = {}", other % 20, id % 20, id % 20),
        10 => format!("REPLACE INTO b VALUES ({}, 'K{}', {n})", id % 20, id % 20),
        11 => format!("INSERT INTO p VALUES ({id}, {n}) ON DUPLICATE KEY UPDATE v = {n}"),
        12 => format!(
            "INSERT IGNORE INTO c SELECT {id}, MIN(id), {n} FROM p WHERE id >= {other} ON DUPLICATE KEY UPDATE p = VALUES(p)"
        ),
        13 => format!("DELETE FROM c WHERE p = {id}; DELETE IGNORE FROM p WHERE id = {id}"),
        14 => format!("INSERT IGNORE INTO u VALUES ({id}, {other}, {n})"),
        15 => format!(
            "UPDATE u SET slot = NULL WHERE id = {id}; UPDATE IGNORE u SET slot = {other} WHERE id = {id}"
        ),
        16 => format!("DELETE FROM u WHERE slot = {other}; INSERT IGNORE INTO u VALUES ({id}, {other}, {n})"),
        17 => format!("INSERT INTO i VALUES ({n}, 'c{}', {n}) ON DUPLICATE KEY UPDATE v = {n}", id % 30),
        18 => format!("UPDATE IGNORE i SET code = 'd{}' WHERE code = 'c{}'", other % 30, id % 30),
        19 => format!("DELETE FROM i WHERE code = 'd{}'", id % 30),
        _ => format!("INSERT INTO k VALUES ({n})"),
    }
}

/// A transaction; some are rolled back, some in part, and some tables are emptied or have none of that.
fn transaction(random: &mut impl FnMut(u64) -> u64, keyless: bool) -> String {
    match random(40) {
        0 => return format!("TRUNCATE {}", ["a", "b", "u", "i", "m"][random(5) as usize]),
        1..=3 => {
            return format!(
                "INSERT INTO m VALUES ({}, {}) ON DUPLICATE KEY UPDATE v = v + 1",
                random(50),
                random(9)
            );
        }
        4 => return format!("DELETE FROM m WHERE id = {}", random(50)),
        5 => return format!("ALTER TABLE a COMMENT '{}'", random(9)),
        _ => {}
    }
    let mut sql = String::from("BEGIN; ");
    for _ in 0..=random(8) {
        let one = statement(random, keyless);
        sql.push_str(&match random(12) {
            0 => format!("SAVEPOINT s; {one}; ROLLBACK TO s; "),
            1 => format!("SAVEPOINT s; {one}; RELEASE SAVEPOINT s; "),
            _ => format!("{one}; "),
        });
    }
    sql + if random(8) == 0 { "ROLLBACK" } else { "COMMIT" }
}

/// With a table without a key where the copy is over before the first kill: a copy of one cannot be read on.
fn killed_and_equal(prepared: Option<&str>) {
    let Some(servers) = servers() else { return };
    let (kills, mut random) = kills();
    // Half of them for each of the two.
    let kills = kills.div_ceil(2);
    let mut following = Following::new(servers, SCHEMA);
    following.more = "&keyless=inserts".to_owned();
    let keyless = prepared.is_some();
    if let Some(prepared) = prepared {
        following.sql("CREATE TABLE k (v int)");
        following.there(prepared);
        following.catch_up(0);
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (stop, following) = (&stop, &following);
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let seed = random(u64::MAX);
                scope.spawn(move || {
                    let mut state = seed | 1;
                    let mut own = move |below: u64| {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        state % below
                    };
                    let mut done = 0_u64;
                    while !stop.load(Ordering::Relaxed) {
                        let sql: Vec<String> = (0..10).map(|_| transaction(&mut own, keyless)).collect();
                        // Where two wait for each other, one of them ends there.
                        done += u64::from(following.maria.try_sql(&following.from, &sql.join("; ")).is_ok());
                    }
                    done
                })
            })
            .collect();
        for _ in 0..kills {
            let mut job = following.start();
            std::thread::sleep(Duration::from_millis(100 + random(900)));
            assert!(!job.has_ended(), "{}", job.end().err());
            job.kill();
        }
        stop.store(true, Ordering::Relaxed);
        let done: u64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        println!("{done} times ten transactions");
        assert!(done > 0);
    });
    let mut job = following.start();
    for (table, columns) in TABLES.into_iter().filter(|(table, _)| keyless || *table != "k") {
        until(table, || {
            assert!(!job.has_ended(), "{table}: the job has ended");
            following.is_equal(table, columns)
        });
    }
    // A stop on request ends what never ends by itself.
    assert_eq!(job.terminate().status(), 143);
    following.run("all", &["--forget", "--quiet"]).expect(0);
    assert_eq!(following.there("SELECT count(*) FROM kwsync_checkpoint"), "0\n");
}

/// The copy falls among the kills, and so do all kinds of changes.
#[test]
fn binlog_changes_arrive_once_however_often_the_job_is_killed() {
    killed_and_equal(None);
}

/// With foreign keys and a second unique index in the target, checked as the changes come; and of a table without a key each row once.
#[test]
fn binlog_changes_keep_the_order_that_the_target_checks() {
    killed_and_equal(Some(
        "CREATE TABLE p (id int PRIMARY KEY, v int); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p, v int);
         CREATE TABLE u (id int PRIMARY KEY, slot int UNIQUE, v int)",
    ));
}
