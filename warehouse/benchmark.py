"""Measures what new changes cost, beside a long history: `python warehouse/benchmark.py --old 20M --new 84K --folder FOLDER`.

It generates an archive whose arithmetic is sound, with its manifest, loads the old part, and then builds with new changes on
top, as build.py does, tests included. It prints one line of JSON: wall and processor seconds and the highest resident
memory of each build. FOLDER needs about 200 bytes of disk for each change; `--drop` removes the files of the old part once they are loaded.

The shop: in each shard, cells take turns. A cell repeats eleven steps: 10 units arrive; order A of 3 is reserved, paid and
shipped, then order B of 3; order C of 4 takes the rest and is released; a recount loses 4 units; and a unit of the order
A of some laps ago comes back damaged. So cells sell out and reservations of long ago change.
"""

import argparse
import csv
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import environment

SHARDS = 4
CELLS = 10_000
"""Cells of each shard: 5,000 SKUs in two warehouses."""
DAY = 50_000
"""Changes of each shard in a day of log time."""
ENTRY = 4
"""Changes of each log entry, always of different cells."""
FILE = 50_000
"""Changes in each file, at most."""
LAPS_TO_RETURN = 20

STEPS = "kind, on_hand_d, on_hand_a, free_d, free_a, held_d, held_a, committed_d, committed_a, damaged_d, damaged_a, order_name, quantity, state"
"""A row for each step of a cell. `_a` is the value afterwards in lap 0; on hand and damaged also have the returns so far."""
CYCLE = [
    ("received", 10, 10, 10, 10, 0, None, 0, None, 0, None, None, None, None),
    ("reserved", 0, None, -3, 7, 3, 3, 0, None, 0, None, "A", 3, "held"),
    ("committed", 0, None, 0, None, -3, 0, 3, 3, 0, None, "A", 3, "committed"),
    ("shipped", -3, 7, 0, None, 0, None, -3, 0, 0, None, "A", 3, "shipped"),
    ("reserved", 0, None, -3, 4, 3, 3, 0, None, 0, None, "B", 3, "held"),
    ("committed", 0, None, 0, None, -3, 0, 3, 3, 0, None, "B", 3, "committed"),
    ("shipped", -3, 4, 0, None, 0, None, -3, 0, 0, None, "B", 3, "shipped"),
    ("reserved", 0, None, -4, 0, 4, 4, 0, None, 0, None, "C", 4, "held"),
    ("released", 0, None, 4, 4, -4, 0, 0, None, 0, None, "C", 4, "released"),
    ("adjusted", -4, 0, -4, 0, 0, None, 0, None, 0, None, None, None, None),
    ("returned", 1, 1, 0, None, 0, None, 0, None, 1, 1, "A", 1, "shipped"),
]
FIRST_LOG_TIME_MS = 1_767_225_600_000

# A reservation's id begins with the time when it was made, as the client's ids do.
QUERY = """
with steps as (from (values {cycle}) as t(place, {steps})),
numbered as (
    select
        n,
        n % {cells} as cell,
        n // {cells} // {cycle_length} as lap,
        n // {cells} % {cycle_length} as place,
        {start} + n * 86400000 // {day} // {entry} * {entry} as unrounded
    from range({first} - 1, {last}) as numbers(n)
),
placed as (
    select
        *,
        case when place = {cycle_length} - 1 then lap - {back} else lap end as order_lap
    from numbered
),
changes as (
    select
        placed.*,
        steps.* exclude (place),
        'SKU-{shard}-' || cell // 2 as sku,
        case cell % 2 when 0 then 'BER' else 'NYC-1' end as warehouse,
        -- The change with which the order began, and log time of a change: that of its entry.
        case when steps.order_name is not null and order_lap >= 0
            then (order_lap * {cycle_length} + case steps.order_name when 'A' then 1 when 'B' then 4 else 7 end) * {cells} + cell
        end as begun
    from placed
    inner join steps on placed.place = steps.place
),
ids as (
    select
        *,
        {start} + n // {entry} * {entry} * 86400000 // {day} as log_ms,
        md5('{shard}/' || n) as digest,
        printf('%012x', {start} + begun // {entry} * {entry} * 86400000 // {day}) as begun_hex,
        md5('{shard}:' || begun) as begun_digest
    from changes
)
select
    {shard}::integer as shard,
    (n + 1)::bigint as seq,
    {entry}::integer as entry_changes,
    (n % {entry})::integer as entry_offset,
    (n // {entry} + 3)::bigint as log_index,
    to_timestamp(log_ms / 1000.0) as log_time,
    kind,
    sku,
    warehouse,
    case when begun is not null then 'web' end as storefront,
    on_hand_d::bigint as on_hand_delta, (on_hand_a + lap)::bigint as on_hand_after,
    free_d::bigint as free_delta, free_a::bigint as free_after,
    0::bigint as pool_delta, null::bigint as pool_after,
    0::bigint as safety_delta, null::bigint as safety_after,
    held_d::bigint as held_delta, held_a::bigint as held_after,
    committed_d::bigint as committed_delta, committed_a::bigint as committed_after,
    damaged_d::bigint as damaged_delta, (damaged_a + lap)::bigint as damaged_after,
    0::bigint as quality_hold_delta, null::bigint as quality_hold_after,
    0::bigint as deficit_delta, null::bigint as deficit_after,
    case when begun is not null then begun_hex[:8] || '-' || begun_hex[9:] || '-7' || begun_digest[:3] || '-8' || begun_digest[4:6] || '-' || begun_digest[7:18] end as reservation_id,
    case when begun is not null then 0 end::integer as line,
    case when begun is not null then state end as reservation_state,
    case when begun is not null then to_timestamp({start} / 1000.0) + interval 400 day end as expires_at,
    case when begun is not null then case order_name when 'C' then 4 else 3 end end::bigint as requested,
    case when begun is not null then quantity end::bigint as quantity,
    null::boolean as policy_may_borrow,
    null::bigint as policy_max_per_reservation,
    digest[:8] || '-' || digest[9:12] || '-7' || digest[13:15] || '-8' || digest[16:18] || '-' || digest[19:30] as operation_id,
    'shop' as principal,
    case when kind = 'adjusted' then 'recount' end as reason,
    case when begun is not null then 'order-{shard}-' || begun end as reference,
    null::integer as home,
    0::bigint as backordered_delta, null::bigint as backordered_after,
    0::bigint as in_transit_delta, null::bigint as in_transit_after,
    case when kind = 'reserved' then 'preferred' end as sourcing,
    null::bigint as policy_backorder_limit, null::bigint as policy_preorder_limit, null::timestamptz as policy_preorder_until,
    null as transfer_id, null as transfer_from, null as transfer_to, null::timestamptz as transfer_expected_at,
    null::bigint as transfer_quantity, null::bigint as transfer_in_transit,
    null as supply_id, null::bigint as supply_quantity, null::timestamptz as supply_expected_at,
    case when n % 3 = 0 and begun is null then to_timestamp(log_ms / 1000.0) - interval 5 minute end as occurred_at
from ids
order by n
"""


def literal(value):
    return "null" if value is None else repr(value)


def query(shard, first, last):
    cycle = ", ".join(f"({place}, {', '.join(literal(value) for value in step)})" for place, step in enumerate(CYCLE))
    return QUERY.format(cycle=cycle, steps=STEPS, cells=CELLS, cycle_length=len(CYCLE), start=FIRST_LOG_TIME_MS, day=DAY, entry=ENTRY,
                        back=LAPS_TO_RETURN, shard=shard, first=first, last=last)


def log_time_ms(seq):
    return FIRST_LOG_TIME_MS + (seq - 1) // ENTRY * ENTRY * 86_400_000 // DAY


def write_file(connection, root, shard, entry, first, last):
    """Writes one archived file and its manifest entry. The chain of hashes is left out, because the warehouse does not follow it."""
    day = time.strftime("%Y-%m-%d", time.gmtime(log_time_ms(first) // 1000))
    folder = root / "changes" / f"shard={shard:04}" / f"day={day}"
    manifest = root / "manifest" / f"shard={shard:04}" / f"day={day}"
    folder.mkdir(parents=True, exist_ok=True)
    manifest.mkdir(parents=True, exist_ok=True)
    connection.execute(f"copy ({query(shard, first, last)}) to '{folder}/new' (format parquet, compression zstd)")
    with open(folder / "new", "rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    path = folder / f"{shard:04}-{first:020}-{last:020}-{digest[:16]}.parquet"
    (folder / "new").rename(path)
    (manifest / f"{shard:04}-{entry:012}.json").write_text(json.dumps({
        "version": 1, "shard": shard, "entry": entry, "previous": None, "file": str(path.relative_to(root)), "file_version": None,
        "sha256": digest, "bytes": path.stat().st_size, "rows": last - first + 1, "first_seq": first, "last_seq": last,
        "first_log_time_ms": log_time_ms(first), "last_log_time_ms": log_time_ms(last)}, separators=(",", ":")))
    return path


def write_changes(root, first, last):
    """Writes the changes of each shard from `first` to `last`, in files of at most FILE changes."""
    import duckdb

    entry = {shard: len(list((root / "manifest").glob(f"shard={shard:04}/day=*/*.json"))) for shard in range(SHARDS)}
    paths = []
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'; set preserve_insertion_order = true; set memory_limit = '2GB'")
        for begin in range(first, last + 1, FILE):
            for shard in range(SHARDS):
                entry[shard] += 1
                paths.append(write_file(connection, root, shard, entry[shard], begin, min(begin + FILE - 1, last)))
    return paths


def balances(cell, last):
    """The buckets of a cell after the change `last` of its shard; none if the cell has not moved."""
    turns = (last - 1 - cell) // CELLS + 1 if last > cell else 0
    if not turns:
        return None
    lap, place = divmod(turns - 1, len(CYCLE))
    on_hand = free = held = committed = damaged = 0
    for step in CYCLE[:place + 1]:
        on_hand, free, held, committed, damaged = (had + delta for had, delta in zip((on_hand, free, held, committed, damaged), step[1:11:2]))
    return [on_hand + lap, free, 0, 0, held, committed, damaged + lap, 0, 0, 0, 0]


def write_ledger_stock(path, last):
    """Writes the stock as the ledger would list it after the change `last` of each shard."""
    columns = "shard,change_seq,sku,warehouse,on_hand,free,pool,safety,held,committed,damaged,quality_hold,deficit,backordered,in_transit"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns.split(","))
        for shard in range(SHARDS):
            for cell in range(CELLS):
                if found := balances(cell, last):
                    writer.writerow([shard, last, f"SKU-{shard}-{cell // 2}", "NYC-1" if cell % 2 else "BER", *found])


def build(folder, *options):
    """Runs build.py; returns its report with what the process cost."""
    command = [sys.executable, environment.HERE / "build.py", "--changes", folder, "--ledger-stock", folder / "ledger_stock.csv",
               "--database", folder / "warehouse.duckdb", "--json", *options]
    started = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - started
    if status:
        sys.exit(f"error: the build failed; its report: {output.decode()}")
    return json.loads(output) | {"seconds": round(seconds, 1), "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1), "peak_mb": usage.ru_maxrss // 1024}


def count(text):
    return int(float(text.rstrip("KM")) * {"K": 1_000, "M": 1_000_000}.get(text[-1], 1))


def main(argv):
    parser = argparse.ArgumentParser(prog="benchmark.py", description="Measures what new changes cost beside a long history.")
    parser.add_argument("--old", type=count, default=count("20M"), metavar="CHANGES", help="changes that are loaded before (default: 20M)")
    parser.add_argument("--new", type=count, default=count("84K"), metavar="CHANGES", help="new changes of each measured build (default: 84K)")
    parser.add_argument("--builds", type=int, default=3, help="how many builds with new changes are measured (default: 3)")
    parser.add_argument("--folder", type=Path, required=True, help="an empty or missing folder, or one from an earlier run with less --old")
    parser.add_argument("--drop", action="store_true", help="remove the files of changes that are loaded, to save disk")
    parser.add_argument("--prove", action="store_true", help="also measure a build that proves the whole history")
    args = parser.parse_args(argv)
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "benchmark.json"
    last = json.loads(state.read_text())["last"] if state.exists() else 0
    report = {"old": args.old, "new": args.new, "shards": SHARDS, "cells": SHARDS * CELLS}

    def add(changes):
        nonlocal last
        until = last + changes // SHARDS // ENTRY * ENTRY
        paths = write_changes(folder, last + 1, until)
        write_ledger_stock(folder / "ledger_stock.csv", until)
        last = until
        return paths

    def measured(*options):
        built = build(folder, *options)
        state.write_text(json.dumps({"last": last}))
        return {name: built[name] for name in ("seconds", "cpu_seconds", "peak_mb")}

    started = time.monotonic()
    while last * SHARDS < args.old:
        paths = add(min(4_000_000, args.old - last * SHARDS))
        first = measured()
        sys.stderr.write(f"{last * SHARDS:,} changes loaded: {first}\n")
        if args.drop:
            for path in paths:
                path.unlink()
    report["load_seconds"] = round(time.monotonic() - started, 1)
    report["builds"] = []
    for _ in range(args.builds):
        add(args.new)
        report["builds"].append(measured())
    report["without_new"] = measured()
    if args.prove:
        report["prove"] = measured("--prove")
    report["database_mb"] = (folder / "warehouse.duckdb").stat().st_size >> 20
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    if importlib.util.find_spec("dbt") is None:
        interpreter = environment.python()
        os.execv(interpreter, [str(interpreter), __file__, *sys.argv[1:]])
    sys.exit(main(sys.argv[1:]))
