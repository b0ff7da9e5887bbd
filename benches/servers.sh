# Throw-away servers for benchmarks that are sourced: PostgreSQL and MariaDB in a temporary folder, `my` and `sql` that talk to them,
# `fill ROWS` that makes the table t of 20 mixed columns in MariaDB. Wants the names of the programs that the benchmark needs.
pg=/usr/lib/postgresql/15/bin
for program in "$pg/initdb" mariadbd /usr/bin/time "$@"; do
    command -v "$program" >/dev/null || { echo "SKIPPED: no $program here (dev/setup; apt-get install pgloader time)" >&2; exit 0; }
done
top=$(mktemp -d) && chmod 755 "$top"
as=() && [ "$(id -u)" != 0 ] || { chown nobody "$top" && as=(setpriv --reuid=nobody --regid=nogroup --clear-groups); }
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
my_port=$(free) pg_port=$(free)
stop() { "${as[@]}" "$pg/pg_ctl" -D "$top/pg" -m immediate stop >/dev/null 2>&1 || true; kill "${maria:-0}" 2>/dev/null || true; wait; rm -rf "$top"; }
trap stop EXIT
cd "$top"
export TMPDIR=$top XDG_STATE_HOME=$top/state HOME=$top
"${as[@]}" "$pg/initdb" -D "$top/pg" -U bench -A trust --no-sync -E UTF8 --locale=C >/dev/null
"${as[@]}" "$pg/pg_ctl" -D "$top/pg" -w -l "$top/pg.log" -o "-p $pg_port -k $top -c fsync=off -c max_wal_size=8GB -c shared_buffers=256MB" start >/dev/null
"${as[@]}" mariadb-install-db --no-defaults --datadir="$top/my" --auth-root-authentication-method=normal --skip-test-db --skip-name-resolve >/dev/null 2>&1
"${as[@]}" mariadbd --no-defaults --datadir="$top/my" --port="$my_port" --bind-address=127.0.0.1 --socket="$top/my.sock" --pid-file="$top/my.pid" \
    --local-infile=1 --skip-name-resolve --innodb-flush-log-at-trx-commit=2 --innodb-buffer-pool-size=512M --tmpdir="$top" >"$top/my.log" 2>&1 &
maria=$!
my() { mariadb --no-defaults -N -B -u root -S "$top/my.sock" "$@"; }
sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$pg_port" -U bench "$@"; }
until my -e 'SELECT 1' >/dev/null 2>&1; do sleep 0.1; done
my -e "CREATE USER bench@'127.0.0.1' IDENTIFIED BY 'bench'; GRANT ALL ON *.* TO bench@'127.0.0.1'; CREATE DATABASE src CHARACTER SET utf8mb4"
for db in src dst peer; do sql -d postgres -c "CREATE DATABASE $db"; done
fill() {
    my src -e "CREATE OR REPLACE TABLE t (id bigint PRIMARY KEY, a int NOT NULL, b bigint, c smallint, d double, e float, f decimal(12,3), g decimal(20,6), h varchar(40), i varchar(80), j text, k char(8), l datetime, m datetime(6), n date, o time, p tinyint, q varbinary(20), r int, s bigint) ENGINE=InnoDB;
        INSERT INTO t SELECT seq, seq, IF(seq % 7, seq * 1000003, NULL), seq % 30000, seq / 7, seq / 8, seq / 9, seq / 11, MD5(seq), CONCAT('row ', seq, ' it''s'), REPEAT('text ', seq % 12), LPAD(seq % 9999, 8, 'k'), '2024-01-01' + INTERVAL seq SECOND, '2024-01-01' + INTERVAL seq * 1001 MICROSECOND, '2000-01-01' + INTERVAL seq % 9000 DAY, SEC_TO_TIME(seq % 86400), seq % 100, UNHEX(MD5(seq)), NULLIF(seq % 5, 0), -seq FROM seq_1_to_$1"
}
median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
# Seconds that a command takes; beside them in the file `time` KiB at most and seconds of its own CPU.
timed() { /usr/bin/time -f '%e %M %U %S' -o "$top/time" "$@" >"$top/out" 2>&1 || { cat "$top/out" >&2; exit 1; }; cut -d' ' -f1 "$top/time"; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN {printf "%.2f", a / b}'; }
from_my=mysql://bench:bench@127.0.0.1:$my_port/src?table=t
to_pg() { echo "postgres://bench@127.0.0.1:$pg_port/$1?sslmode=disable"; }
