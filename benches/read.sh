#!/usr/bin/env bash
# Tables into Arrow, one connection each, by turns, medians: PostgreSQL by kwsync, by a reader that only drains the socket (COPY BINARY,
# bytes thrown away), by ADBC's driver and by connectorx; MariaDB by kwsync and by connectorx; then kwsync and connectorx by two
# connections (kwsync2, connectorx2). Seconds and the most memory. kwsync is the whole command with its start, into discard:; the time
# of the others begins when they are loaded, and connectorx gives a table, not batches. The peers come by pip into target/bench-venv.
# Arguments: rows in thousands (default 1000), rounds (default 5), the kwsync binary (default target/release/kwsync).
set -euo pipefail
thousands=${1:-1000} rounds=${2:-5} kwsync=$(realpath "${3:-target/release/kwsync}")
here=$(dirname "$(realpath "$0")")
python=$("$here/venv.sh") || { echo "SKIPPED: adbc-driver-postgresql, connectorx and pyarrow are not to be had by pip" >&2; exit 0; }
. "$here/servers.sh" psql
rows=$((thousands * 1000))
fill "$rows"
"$kwsync" run --from "$from_my" --to "$(to_pg src)" --jobs 2 --quiet --restart
sql -d src -c 'VACUUM ANALYZE t'
at_pg=postgresql://bench@127.0.0.1:$pg_port/src at_my=mysql://bench:bench@127.0.0.1:$my_port/src
# One line `SECONDS KIB ROWS` a run.
ours() { timed "$kwsync" run --from "$1" --to discard: --jobs "${2:-1}" --quiet --restart --report json >/dev/null && echo "$(cut -d' ' -f1,2 time) $(python3 -c 'import json, sys; print(json.load(sys.stdin)["rows_written"])' <out)"; }
peer() { "$python" "$here/read.py" "$@"; }
for round in $(seq "$rounds"); do
    ours "$(to_pg src)&table=t" >>pg.by.kwsync
    peer drain "$at_pg" t >>pg.by.drain
    peer adbc "$at_pg" t >>pg.by.adbc
    peer connectorx "$at_pg" t >>pg.by.connectorx
    ours "$from_my" >>my.by.kwsync
    peer connectorx "$at_my" t >>my.by.connectorx
    ours "$(to_pg src)&table=t" 2 >>pg.by.kwsync2
    peer connectorx2 "$at_pg" t >>pg.by.connectorx2
    ours "$from_my" 2 >>my.by.kwsync2
    peer connectorx2 "$at_my" t >>my.by.connectorx2
done
for from in pg my; do
    for way in "$from".by.*; do
        case $way in *2) mine=$from.by.kwsync2 ;; *) mine=$from.by.kwsync ;; esac
        mine=$(cut -d" " -f1 "$mine" | median)
        [ "$(cut -d' ' -f3 "$way" | sort -u)" = "$rows" ] || [ "$way" = pg.by.drain ] || { echo "$way: not $rows rows" >&2; exit 1; }
        seconds=$(cut -d' ' -f1 "$way" | median)
        echo "${way/.by./ by }: $seconds s, $(($(cut -d' ' -f2 "$way" | median) / 1024)) MiB; kwsync is $(ratio "$seconds" "$mine") times as fast"
    done
done
