"""A peer reads a table: `read.py drain|adbc|connectorx|connectorx2 URI TABLE` prints seconds, KiB of memory at most, rows (0 for
drain). connectorx2 reads two ranges of the column id at once."""

import resource
import sys
import time
from urllib.parse import urlparse


def drain(uri, table):
    """COPY BINARY, the bytes thrown away; the server must trust us."""
    import socket
    import struct

    address = urlparse(uri)
    words = f"user\0{address.username}\0database\0{address.path[1:]}\0\0".encode()
    query = f"COPY {table} TO STDOUT (FORMAT binary)\0".encode()
    room = bytearray(1 << 20)
    began = time.perf_counter()
    with socket.create_connection((address.hostname, address.port)) as server:
        server.sendall(struct.pack("!ii", 8 + len(words), 196608) + words)
        server.sendall(b"Q" + struct.pack("!i", 4 + len(query)) + query + b"X" + struct.pack("!i", 4))
        total = 0
        while taken := server.recv_into(room):
            total += taken
    assert total > 1000, "nothing came"
    return began, 0


def adbc(uri, table):
    import adbc_driver_postgresql.dbapi as driver

    began = time.perf_counter()
    rows = 0
    with driver.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        for batch in cursor.fetch_record_batch():
            rows += batch.num_rows
    return began, rows


def connectorx(uri, table, **how):
    import connectorx
    import pyarrow  # noqa: F401: the time of loading is none of reading

    began = time.perf_counter()
    rows = connectorx.read_sql(uri, f"SELECT * FROM {table}", return_type="arrow", **how).num_rows
    return began, rows


def connectorx2(uri, table):
    return connectorx(uri, table, partition_on="id", partition_num=2)


ways = {"drain": drain, "adbc": adbc, "connectorx": connectorx, "connectorx2": connectorx2}
began, rows = ways[sys.argv[1]](*sys.argv[2:])
seconds = time.perf_counter() - began
print(f"{seconds:.3f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss} {rows}")
