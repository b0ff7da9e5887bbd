#!/usr/bin/env bash
# Databases to databases, beside the peers, by turns, medians of wall time: MariaDB -> PostgreSQL beside pgloader, PostgreSQL ->
# PostgreSQL beside `psql copy out | psql copy in` in binary; and the most memory that kwsync takes for a table, for a quarter and a
# sixteenth of its rows. Both servers are throw-away ones in a temporary folder.
# Arguments: rows in thousands (default 300), rounds (default 3), the kwsync binary (default target/release/kwsync).
set -euo pipefail
thousands=${1:-300} rounds=${2:-3} kwsync=$(realpath "${3:-target/release/kwsync}")
. "$(dirname "$(realpath "$0")")/servers.sh" pgloader
rows=$((thousands * 1000))
fill "$rows"
cat >pgloader.load <<END
LOAD DATABASE FROM mysql://bench:bench@127.0.0.1:$my_port/src INTO postgresql://bench@127.0.0.1:$pg_port/peer
WITH include drop, create tables, create indexes, workers = 2, concurrency = 1, prefetch rows = 10000;
END
for round in $(seq "$rounds"); do
    sql -d dst -c 'DROP TABLE IF EXISTS t'
    timed "$kwsync" run --from "$from_my" --to "$(to_pg dst)" --jobs 2 --quiet --restart >>my.kwsync
    [ "$(sql -d dst -c 'SELECT count(*) FROM t')" = "$rows" ]
    timed pgloader --quiet pgloader.load >>my.pgloader
    [ "$(sql -d peer -c 'SELECT count(*) FROM src.t')" = "$rows" ]
done
k=$(median <my.kwsync) p=$(median <my.pgloader)
echo "MariaDB -> PostgreSQL, $rows rows of 20 columns: kwsync (2 lanes) $k s, pgloader $p s: $(ratio "$p" "$k") times as fast"
"$pg/pg_dump" -h 127.0.0.1 -p "$pg_port" -U bench -d dst -t t --schema-only --no-owner >t.sql
sql -d src -f t.sql >/dev/null
sql -d dst -c 'COPY t TO STDOUT (FORMAT binary)' | sql -d src -c 'COPY t FROM STDIN (FORMAT binary)'
sql -d src -c 'VACUUM ANALYZE t'
for round in $(seq "$rounds"); do
    for way in psql one two; do
        sql -d dst -c 'DROP TABLE IF EXISTS t' && sql -d dst -f t.sql >/dev/null
        sql -d dst -c 'CHECKPOINT'
        case $way in
        psql) timed bash -o pipefail -c "psql -X -q -h 127.0.0.1 -p $pg_port -U bench -d src -c 'COPY t TO STDOUT (FORMAT binary)' | psql -X -q -h 127.0.0.1 -p $pg_port -U bench -d dst -c 'COPY t FROM STDIN (FORMAT binary)'" ;;
        one) timed "$kwsync" run --from "$(to_pg src)&table=t" --to "$(to_pg dst)" --jobs 1 --quiet --restart ;;
        two) timed "$kwsync" run --from "$(to_pg src)&table=t&splits=8" --to "$(to_pg dst)" --jobs 2 --quiet --restart ;;
        esac >>"pg.$way"
        cut -d' ' -f3,4 time >>"cpu.$way"
        [ "$(sql -d dst -c 'SELECT count(*) FROM t')" = "$rows" ]
    done
done
p=$(median <pg.psql) one=$(median <pg.one) two=$(median <pg.two)
echo "PostgreSQL -> PostgreSQL: psql | psql $p s; kwsync one lane $one s ($(ratio "$one" "$p") of its time), two lanes $two s ($(ratio "$two" "$p"))"
cpu() { awk '{print $1 + $2}' "cpu.$1" | median; }
echo "CPU of the clients: psql | psql $(cpu psql) s, kwsync one lane $(cpu one) s, two lanes $(cpu two) s"
for size in $((rows / 16)) $((rows / 4)) "$rows"; do
    fill "$size"
    timed "$kwsync" run --from "$from_my" --to discard: --quiet --restart >/dev/null
    maria_kib=$(cut -d' ' -f2 time)
    sql -d src -c "DROP TABLE IF EXISTS part" -c "CREATE TABLE part AS SELECT * FROM t WHERE id <= $size" -c "ALTER TABLE part ADD PRIMARY KEY (id)" >/dev/null
    timed "$kwsync" run --from "$(to_pg src)&table=part" --to discard: --quiet --restart >/dev/null
    echo "memory, $size rows to discard: from MariaDB $((maria_kib / 1024)) MiB, from PostgreSQL $(($(cut -d' ' -f2 time) / 1024)) MiB"
done
