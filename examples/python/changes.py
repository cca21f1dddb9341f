#!/usr/bin/env python3
"""Copies the stock into a SQLite database, change by change, and never takes a change twice.

  python changes.py [--database stock.sqlite] [--follow]

The cursor lies beside the data, and both are written in one transaction. So a crash at any moment loses
nothing and counts nothing twice. Without --follow it ends when it has caught up. With it, Ctrl-C ends it.
"""

import argparse
import queue
import sqlite3
import threading
import time

import grpc
from cluster import Cluster, Failure, Pauses, tell
from holdfast.v1 import changes_pb2 as changes
from holdfast.v1 import common_pb2 as common
from holdfast.v1.changes_pb2_grpc import ChangesStub

SCHEMA = """
CREATE TABLE IF NOT EXISTS cursor (
    shard INTEGER PRIMARY KEY,
    through_seq INTEGER NOT NULL,
    cluster_id BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS stock (
    sku TEXT, warehouse TEXT, bucket TEXT, storefront TEXT,
    units INTEGER NOT NULL,
    PRIMARY KEY (sku, warehouse, bucket, storefront)
);
"""


def open_database(path):
    # Each shard has its own thread and connection. A writer waits up to 30 seconds for the others.
    database = sqlite3.connect(path, timeout=30, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    return database


def read_cursor(database, shard):
    """Returns the last change of a shard that was taken, and the cluster."""
    row = database.execute("SELECT through_seq, cluster_id FROM cursor WHERE shard = ?", (shard,)).fetchone()
    return row or (0, b"")


def apply(database, change):
    for move in change.moves:
        bucket = common.Bucket.Name(move.bucket).removeprefix("BUCKET_").lower()
        # A pool belongs to one storefront. All other buckets are of the cell.
        storefront = change.storefront if move.bucket == common.BUCKET_POOL else ""
        (units,) = database.execute(
            "INSERT INTO stock VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET units = units + excluded.units RETURNING units",
            (change.sku, change.warehouse, bucket, storefront, move.delta),
        ).fetchone()
        # A change says what the bucket holds afterwards, so a consumer can check its own sum.
        if units != move.after:
            wrong = f"{bucket} is {units}, not {move.after}"
            raise ValueError(f"shard {change.shard}, change {change.seq}: {wrong}")


def take(database, shard, taken, answer):
    """Writes whole entries and the cursor behind them, in one transaction."""
    database.execute("BEGIN IMMEDIATE")
    try:
        for change in taken:
            apply(database, change)
        database.execute(
            "INSERT OR REPLACE INTO cursor VALUES (?, ?, ?)", (shard, answer.through_seq, answer.cluster_id)
        )
        database.execute("COMMIT")
    except BaseException:
        database.execute("ROLLBACK")
        raise


def consume(path, shard, follow):
    """Takes the changes of one shard. Goes on at another node when a node does not answer."""
    cluster, database = Cluster(), open_database(path)
    count, pauses = 0, Pauses()
    while True:
        through_seq, cluster_id = read_cursor(database, shard)
        # With the cluster's id, another cluster refuses the call: its numbers mean other changes.
        request = changes.TailChangesRequest(
            shard=shard, from_seq=through_seq + 1, follow=follow, cluster_id=cluster_id
        )
        begun = []
        try:
            for answer in ChangesStub(cluster.channel()).TailChanges(request):
                pauses = Pauses()
                begun.extend(answer.changes)
                # A very large entry comes in several messages, and is taken whole or not at all.
                if answer.continues:
                    continue
                take(database, shard, begun, answer)
                count += len(begun)
                if follow and begun:
                    tell(f"shard {shard}: through change {answer.through_seq}")
                begun = []
            if not follow and not begun:
                break
            why, retry_after_ms = "the stream ended", 0
        except grpc.RpcError as error:
            failure = Failure(error)
            if failure.final:
                # REASON_OTHER_CLUSTER and REASON_POSITION_TOO_OLD need a person: this copy does not fit any
                # more. docs/backup.md says what to do after a restore.
                raise failure.final from error
            why, retry_after_ms = failure.why, failure.retry_after_ms
        cluster.go_on(f"shard {shard}: {why}")
        time.sleep(pauses.next(retry_after_ms))
    through_seq, _ = read_cursor(database, shard)
    tell(f"shard {shard}: {count} new changes, the last one is {through_seq}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", default="stock.sqlite")
    parser.add_argument("--follow", action="store_true", help="wait for new changes at the end")
    arguments = parser.parse_args()
    database = open_database(arguments.database)
    database.executescript(SCHEMA)

    positions = Cluster().call(ChangesStub, "GetPositions", changes.GetPositionsRequest())
    # Each thread reports its end here: None, or the exception that ended it.
    ends = queue.SimpleQueue()

    def report(shard):
        try:
            ends.put(consume(arguments.database, shard, arguments.follow))
        except Exception as error:
            ends.put(error)

    for position in positions.shards:
        threading.Thread(target=report, args=(position.shard,), daemon=True).start()
    for _ in positions.shards:
        if error := ends.get():
            raise error

    on_hand = "SELECT coalesce(sum(units), 0) FROM stock WHERE bucket = 'on_hand'"
    (units,) = database.execute(on_hand).fetchone()
    print(f"on hand, all cells together: {units}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        # What was taken is written. The next run goes on behind it.
        print("stopped")
