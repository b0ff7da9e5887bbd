#!/usr/bin/env bash
# Prints a Python that has the peers from PyPI, installed into target/bench-venv; fails where they are not to be had.
set -euo pipefail
venv=$(dirname "$(realpath "$0")")/../target/bench-venv
if ! "$venv/bin/python" -c 'import adbc_driver_postgresql, connectorx, pyarrow' 2>/dev/null; then
    { python3 -m venv "$venv" && "$venv/bin/pip" install -q --disable-pip-version-check adbc-driver-postgresql connectorx pyarrow; } >&2
fi
realpath -s "$venv/bin/python"
