"""Loads a CSV file that is in memory into the table t by ADBC, and tells wall and CPU seconds and MiB of the load alone."""
import re
import sys
import time

import adbc_driver_postgresql.dbapi
import pyarrow as pa
import pyarrow.csv


def status(key):
    with open("/proc/self/status") as file:
        return int(re.search(key + r":\s+(\d+)", file.read()).group(1)) / 1024


dsn, path = sys.argv[1:]
with adbc_driver_postgresql.dbapi.connect(dsn.replace("postgres://", "postgresql://", 1)) as connection:
    with connection.cursor() as cursor:
        cursor.execute("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 't' ORDER BY ordinal_position")
        kinds = {"text": pa.string(), "bigint": pa.int64()}
        types = {name: kinds.get(kind, pa.timestamp("us", "UTC")) for name, kind in cursor.fetchall()}
        connection.commit()
        table = pa.csv.read_csv(
            path,
            read_options=pa.csv.ReadOptions(column_names=list(types)),
            convert_options=pa.csv.ConvertOptions(column_types=types),
        )
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        before, cpu, began = status("VmRSS"), time.process_time(), time.perf_counter()
        cursor.adbc_ingest("t", table, mode="append")
        connection.commit()
        print("took", time.perf_counter() - began, time.process_time() - cpu, status("VmHWM") - before)
