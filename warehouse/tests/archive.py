"""Writes generated shards the way `crates/changes` archives them, and ledger stock the way the CLI exports it."""

import csv

import pyarrow as pa
import pyarrow.parquet as pq

from history import BUCKETS, COLUMNS

TIME = pa.timestamp("ms", tz="UTC")
TYPES = {
    "shard": pa.int32(), "entry_changes": pa.int32(), "entry_offset": pa.int32(), "line": pa.int32(), "home": pa.int32(),
    "log_time": TIME, "expires_at": TIME, "occurred_at": TIME,
    "policy_preorder_until": TIME, "transfer_expected_at": TIME, "supply_expected_at": TIME, "policy_may_borrow": pa.bool_(),
    **dict.fromkeys(["seq", "log_index", "requested", "quantity", "policy_max_per_reservation",
                    "policy_backorder_limit", "policy_preorder_limit", "transfer_quantity", "transfer_in_transit", "supply_quantity"],
                   pa.int64()),
    **{f"{bucket}_{part}": pa.int64() for bucket in BUCKETS for part in ("delta", "after")},
}
SCHEMA = pa.schema([(name, TYPES.get(name, pa.string())) for name in COLUMNS])
SCHEMA_BEFORE_BUSINESS_TIME = SCHEMA.remove(SCHEMA.get_field_index("occurred_at"))


def write_changes(folder, rows, schema=SCHEMA):
    """Writes these rows of one shard as one archive file, named by their range. An older schema leaves out values without a column."""
    first, last, shard = rows[0]["seq"], rows[-1]["seq"], rows[0]["shard"]
    path = folder / f"shard={shard:04}" / f"{shard:04}-{first:020}-{last:020}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path, compression="zstd")
    return path


def whole_entries(rows, about):
    """Cuts rows into pieces of about this many, never inside an entry."""
    pieces, piece = [], []
    for row in rows:
        piece.append(row)
        if len(piece) >= about and row["entry_offset"] + 1 == row["entry_changes"]:
            pieces.append(piece)
            piece = []
    return pieces + ([piece] if piece else [])


def write_history(folder, shards, about=150, schema=SCHEMA):
    """Writes the whole history of all shards, in several files for each shard."""
    for shard in shards:
        for piece in whole_entries(shard.changes, about):
            write_changes(folder, piece, schema)


LEDGER_COLUMNS = ["shard", "change_seq", "sku", "warehouse", *BUCKETS]


def ledger_rows(shards):
    """The cells as the ledger reports them, each shard as of its last change."""
    return [
        [shard.shard, len(shard.changes), sku, warehouse, *cell.balances()]
        for shard in shards
        for (sku, warehouse), cell in sorted(shard.cells.items())
    ]


def write_ledger_stock(path, rows):
    """Writes the file that `holdfast stock list --format csv` writes."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(LEDGER_COLUMNS)
        writer.writerows(rows)
    return path
