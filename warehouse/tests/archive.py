"""Writes generated shards the way `crates/changes` archives them, and ledger stock the way the CLI exports it."""

import csv
import hashlib
import io
import itertools
import json

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


FIRST_SCHEMA = pa.schema([field for field in SCHEMA if field.name in COLUMNS[:COLUMNS.index("reference") + 1]])
"""The columns that archived files had at first; all others came later."""


def write_archived_file(root, rows, entry):
    """Writes rows of one shard and one day as a file with a manifest entry, as docs/archive.md describes them."""
    first, last, shard = rows[0]["seq"], rows[-1]["seq"], rows[0]["shard"]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), buffer, compression="zstd")
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    place = f"shard={shard:04}/day={rows[0]['log_time']:%Y-%m-%d}"
    path = root / "changes" / place / f"{shard:04}-{first:020}-{last:020}-{digest[:16]}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    if entry:
        manifest = root / "manifest" / place / f"{shard:04}-{entry:012}.json"
        manifest.parent.mkdir(parents=True, exist_ok=True)
        log_times = [round(row["log_time"].timestamp() * 1000) for row in (rows[0], rows[-1])]
        manifest.write_text(json.dumps({
            "version": 1, "shard": shard, "entry": entry, "previous": None, "file": str(path.relative_to(root)), "file_version": None,
            "sha256": digest, "bytes": path.stat().st_size, "rows": len(rows), "first_seq": first, "last_seq": last,
            "first_log_time_ms": log_times[0], "last_log_time_ms": log_times[1]}, separators=(",", ":")))
    return path


def write_archive(root, shards, about=150):
    """Writes the whole history of all shards with its manifest."""
    for shard in shards:
        days = itertools.groupby(shard.changes, lambda row: row["log_time"].date())
        pieces = [piece for _, rows in days for piece in whole_entries(list(rows), about)]
        for entry, piece in enumerate(pieces, start=1):
            write_archived_file(root, piece, entry)


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
