#!/bin/sh
# LanceDB 0.40: of two clients that create one table on S3 at the same moment, the second can commit
# its empty table over rows that the first one's add() has acknowledged.
#
# Expected: create_table (mode "create", the default) succeeds for one client; the others get "already
#   exists" and open it. A row whose add() returned is there afterwards.
# Seen: lancedb 0.40.0 with pyarrow 26.0.1 against the S3 server of moto 5.2.5; four threads, 24 attempts:
#   two of at most 96 acknowledged rows are gone, and nobody was told (other adds fail, and say so).
# On a local folder the same program loses nothing.
# It fails once nothing is lost any more.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "lancedb==0.40.0" "moto[s3,server]==5.2.5" "pyarrow==26.0.1" "boto3==1.44.5"
cat > "$work/race.py" <<'PYTHON'
import logging
import sys
import threading

import boto3
import lancedb
import pyarrow as pa
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
host, port = server.get_host_and_port()
who = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
url = f"http://{host}:{port}"
boto3.client("s3", endpoint_url=url, region_name="us-east-1", **who).create_bucket(Bucket="tables")
options = {"endpoint": url, "allow_http": "true", "region": "us-east-1", **who}
schema = pa.schema([("key", pa.string())])


def lost(where, **how):
    """Let four clients create one table and add a row each; count acknowledged rows that are gone."""
    together, acknowledged = threading.Barrier(4), set()

    def client(number):
        database = lancedb.connect(where, **how)
        together.wait()
        try:
            table = database.create_table("t", schema=schema)
        except Exception:  # it exists already
            table = database.open_table("t")
        try:
            table.add(pa.table({"key": [str(number)]}, schema=schema))
            acknowledged.add(str(number))
        except Exception as error:  # told, so not lost
            print("  told:", str(error).splitlines()[0][:70])

    threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    table = lancedb.connect(where, **how).open_table("t")
    return len(acknowledged - set(table.to_arrow()["key"].to_pylist()))


far = sum(lost(f"s3://tables/{n}", storage_options=options) for n in range(24))
near = sum(lost(f"{sys.argv[1]}/{n}") for n in range(24))
server.stop()
print(f"lancedb {lancedb.__version__}: acknowledged rows gone on S3: {far}, in a folder: {near}")
sys.exit(0 if far > 0 and near == 0 else 1)
PYTHON
"$work/venv/bin/python" "$work/race.py" "$work/tables" 2>/dev/null
