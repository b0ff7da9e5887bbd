//! Random transactions while the job runs, and is killed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kwsync_core::testkit::PgServer;

use super::super::kill::kills;
use super::super::support::until;
use super::Following;

const SCHEMA: &str = "
CREATE TABLE a (id int PRIMARY KEY, v int, big text);
CREATE TABLE b (x int, y text, v int, PRIMARY KEY (x, y));
CREATE TABLE p (id int PRIMARY KEY, v int);
CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p, v int);
CREATE TABLE u (id int PRIMARY KEY, slot int UNIQUE, v int);
CREATE TABLE i (n int NOT NULL, code text NOT NULL, v int);
CREATE UNIQUE INDEX i_code ON i (code); ALTER TABLE i REPLICA IDENTITY USING INDEX i_code;
ALTER TABLE a ALTER big SET STORAGE EXTERNAL;
INSERT INTO a SELECT g, 0, repeat('x', 3000) FROM generate_series(1, 200) g; INSERT INTO p SELECT g, 0 FROM generate_series(1, 50) g;";

const TABLES: [&str; 7] = ["a", "b", "p", "c", "u", "i", "k"];

/// One statement; those that the source refuses change nothing, and are tried in a savepoint.
fn statement(random: &mut impl FnMut(u64) -> u64) -> String {
    let (id, other, n) = (random(200), random(200), random(1_000_000));
    match random(23) {
        0..=2 => format!(
            "INSERT INTO a VALUES ({id}, {n}, repeat('{n}', 900)) ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v"
        ),
        3 | 4 => format!("UPDATE a SET v = {n} WHERE id BETWEEN {id} AND {}", id + 10),
        5 => format!("UPDATE a SET id = {other} WHERE id = {id}"),
        6 => format!("DELETE FROM a WHERE id = {id}"),
        7 | 8 => format!(
            "INSERT INTO b VALUES ({}, 'k{}', {n}) ON CONFLICT (x, y) DO UPDATE SET v = {n}",
            id % 20,
            other % 20
        ),
        9 => format!("UPDATE b SET x = {} WHERE y = 'k{}' AND x = {}", other % 20, id % 20, id % 20),
        10 => format!("DELETE FROM b WHERE x = {}", id % 20),
        11 => format!("INSERT INTO p VALUES ({id}, {n}) ON CONFLICT (id) DO UPDATE SET v = {n}"),
        12 | 13 => format!(
            "INSERT INTO c VALUES ({id}, (SELECT min(id) FROM p WHERE id >= {other}), {n}) ON CONFLICT (id) DO UPDATE SET p = EXCLUDED.p"
        ),
        14 => format!("DELETE FROM c WHERE p = {id}; DELETE FROM p WHERE id = {id}"),
        15 => format!(
            "UPDATE c SET p = (SELECT max(id) FROM p) WHERE p = {id}; DELETE FROM p WHERE id = {id} AND id < (SELECT max(id) FROM p)"
        ),
        16 => format!("INSERT INTO u VALUES ({id}, {other}, {n})"),
        17 => {
            format!("UPDATE u SET slot = NULL WHERE id = {id}; UPDATE u SET slot = {other} WHERE id = {id}")
        }
        18 => format!("DELETE FROM u WHERE slot = {other}; INSERT INTO u VALUES ({id}, {other}, {n})"),
        19 => format!(
            "INSERT INTO i VALUES ({n}, 'c{}', {n}) ON CONFLICT (code) DO UPDATE SET v = {n}, code = 'd{}'",
            id % 30,
            other % 30
        ),
        20 => format!("DELETE FROM i WHERE code = 'd{}'", id % 30),
        21 => format!("INSERT INTO k VALUES ({n})"),
        _ => format!("TRUNCATE {}", ["a", "b", "p, c", "u", "i", "k"][random(6) as usize]),
    }
}

/// A transaction as psql runs it: faults undo a statement, and some transactions are rolled back.
fn transaction(random: &mut impl FnMut(u64) -> u64) -> String {
    let mut sql = String::from("DO $do$ BEGIN ");
    let statements = 1 + random(8);
    for _ in 0..statements {
        // TRUNCATE is rare, or nothing would ever be there.
        let mut one = statement(random);
        if one.starts_with("TRUNCATE") && random(4) > 0 {
            one = statement(random);
        }
        sql.push_str(&format!(
            "BEGIN {one}; EXCEPTION WHEN unique_violation OR foreign_key_violation THEN NULL; END; "
        ));
    }
    if random(8) == 0 {
        sql.push_str("RAISE EXCEPTION 'rolled back'; ");
    }
    sql + "END $do$"
}

/// With a table without a key where the copy is over before the first kill: a copy of one cannot be read on.
fn killed_and_equal(prepared: Option<&str>) {
    let Some(server) = PgServer::shared() else { return };
    let (kills, mut random) = kills();
    let mut following = Following::new(server, SCHEMA);
    following.more = "&keyless=inserts";
    let keyless = prepared.is_some();
    if let Some(prepared) = prepared {
        following.sql("CREATE TABLE k (v int)");
        server.psql(&following.to, prepared);
        following.catch_up(0);
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let seed = random(u64::MAX);
        let (stop, following) = (&stop, &following);
        let writing = scope.spawn(move || {
            let mut state = seed | 1;
            let mut own = move |below: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % below
            };
            let mut done = 0;
            while !stop.load(Ordering::Relaxed) {
                let sql: String = (0..5).map(|_| transaction(&mut own)).map(|sql| sql + ";\n").collect();
                // Each in a transaction of its own, whatever became of the one before.
                for one in sql.split(";\n").filter(|one| !one.is_empty()) {
                    done += u64::from(server.try_psql(&following.from, one, b"").is_ok());
                }
            }
            done
        });
        for _ in 0..kills {
            let mut job = following.start();
            std::thread::sleep(Duration::from_millis(100 + random(900)));
            assert!(!job.has_ended(), "{}", job.end().err());
            job.kill();
        }
        stop.store(true, Ordering::Relaxed);
        println!("{} transactions", writing.join().unwrap());
    });
    let mut job = following.start();
    for table in TABLES.into_iter().filter(|table| keyless || *table != "k") {
        until(table, || {
            assert!(!job.has_ended(), "{table}: the job has ended");
            following.is_equal(table)
        });
    }
    // A stop on request ends what never ends by itself.
    assert_eq!(job.terminate().status(), 143);
    following.forget();
}

/// The copy falls among the kills, and so do all kinds of changes.
#[test]
fn changes_arrive_once_however_often_the_job_is_killed() {
    killed_and_equal(None);
}

/// With foreign keys and a second unique index in the target, checked as the changes come; and of a table without a key each row once.
#[test]
fn changes_keep_the_order_that_the_target_checks() {
    killed_and_equal(Some(
        "CREATE TABLE p (id int PRIMARY KEY, v int); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p, v int);
         CREATE TABLE u (id int PRIMARY KEY, slot int UNIQUE, v int)",
    ));
}
