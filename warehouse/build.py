"""Builds the warehouse: `python warehouse/build.py --changes FOLDER --ledger-stock FILE --database FILE`.

Makes its Python environment on first use, runs `dbt build` (models and tests, in order) on DuckDB, and prints how many
rows the marts have. Exit status: 0 built and every test passed, 1 a model or test failed, 2 wrong arguments.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import environment

LEDGER_STOCK_HEADER = (
    "shard,change_seq,sku,warehouse,on_hand,free,pool,safety,held,committed,damaged,quality_hold,deficit,backordered,in_transit"
)


def arguments(argv):
    parser = argparse.ArgumentParser(
        prog="build.py", description="Builds the marts from archived changes and reconciles them with the ledger.",
        epilog="Example: holdfast stock list --format csv > ledger_stock.csv && "
               "python warehouse/build.py --changes archive/changes --ledger-stock ledger_stock.csv --database warehouse.duckdb")
    parser.add_argument("--changes", required=True, metavar="FOLDER",
                        help="the archive: the folder or s3:// URL that holds shard=0000/, shard=0001/, ... (or a folder with `changes/` in it)")
    parser.add_argument("--ledger-stock", required=True, metavar="FILE",
                        help="the ledger's own stock, from `holdfast stock list --format csv`")
    parser.add_argument("--database", required=True, metavar="FILE", help="the DuckDB file to build into; created when missing")
    parser.add_argument("--business-time-zone", default="UTC", metavar="ZONE",
                        help="whose midnight ends a business day, by its IANA name, such as Europe/Berlin (default: UTC); "
                             "another one than before needs --full-refresh")
    parser.add_argument("--full-refresh", action="store_true", help="build everything anew instead of adding what is new")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout; dbt's own output goes to stderr")
    return parser.parse_args(argv)


def changes_path(given):
    """The folder or URL above the shards' folders; ends the program when there is nothing to read."""
    if given.startswith("s3://"):
        return given.rstrip("/")
    folder = Path(given).resolve()
    if not folder.is_dir():
        stop(f"--changes: {given} is not a folder; archive changes into it first")
    for candidate in (folder, folder / "changes"):
        if next(candidate.glob("shard=*/*.parquet"), None):
            return str(candidate)
    stop(f"--changes: no file matches {given}/shard=*/*.parquet; archive changes into it first")


def stop(message):
    sys.stderr.write(f"error: {message}\n")
    sys.exit(2)


def run_dbt(args, changes, ledger_stock, database, work):
    """Runs dbt in a process of its own; everything it writes beside the database lands in `work`."""
    work.mkdir(parents=True, exist_ok=True)
    if changes.startswith("s3://"):
        import duckdb_extensions

        duckdb_extensions.import_extension("httpfs")
    variables = {"changes_path": changes, "ledger_stock_path": str(ledger_stock), "business_time_zone": args.business_time_zone}
    command = [sys.executable, "-c", "from dbt.cli.main import cli; cli()", "build", "--project-dir", environment.HERE, "--profiles-dir", environment.HERE,
               "--target", "duckdb_s3" if changes.startswith("s3://") else "duckdb", "--vars", json.dumps(variables),
               "--target-path", work, "--log-path", work / "logs", "--no-use-colors",
               "--quiet"]
    if args.full_refresh:
        command.append("--full-refresh")
    settings = os.environ | {"HOLDFAST_WAREHOUSE_DATABASE": str(database), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "DO_NOT_TRACK": "1"}
    return subprocess.run(command, env=settings, stdout=sys.stderr).returncode


def results(work, since):
    """The result of each model and test, from dbt's own record of this run."""
    record = work / "run_results.json"
    if not record.exists() or record.stat().st_mtime < since:
        return []
    return json.loads(record.read_text())["results"]


def failures(ran, database):
    """A line for each model or test that failed, with the first rows that made a test fail."""
    import duckdb

    lines = []
    for one in ran:
        if one["status"] not in ("error", "fail", "runtime error"):
            continue
        lines.append(f"{one['unique_id'].split('.')[2]}: {one['message']}")
        if one["status"] == "fail":
            with duckdb.connect(str(database), read_only=True) as connection:
                rows = connection.execute(f"select * from ({one['compiled_code']}) limit 3")
                names = [column[0] for column in rows.description]
                lines += [f"  for example {dict(zip(names, map(str, row)))}" for row in rows.fetchall()]
    return lines


def counted_marts(work):
    """Names of the marts whose rows are counted, from dbt's manifest: all but those whose `meta` says that this takes too long."""
    nodes = json.loads((work / "manifest.json").read_text())["nodes"].values()
    marts = [node for node in nodes if node["resource_type"] == "model" and node["schema"] == "marts"]
    return sorted(mart["name"] for mart in marts if mart["config"]["meta"].get("count_rows", True))


def count_rows(database, marts):
    import duckdb

    with duckdb.connect(str(database), read_only=True) as connection:
        count = lambda table: connection.execute(f"select count(*) from {table}").fetchone()[0]
        return count("staging.stg_changes"), {mart: count(f"marts.{mart}") for mart in marts}


def main(argv):
    import pytz

    args = arguments(argv)
    changes = changes_path(args.changes)
    ledger_stock = Path(args.ledger_stock).resolve()
    if not ledger_stock.is_file():
        stop(f"--ledger-stock: {args.ledger_stock} is not a file; write it with `holdfast stock list --format csv`")
    with ledger_stock.open(encoding="utf-8", errors="replace") as file:
        if file.readline(1000).strip() != LEDGER_STOCK_HEADER:
            stop(f"--ledger-stock: {args.ledger_stock} does not begin with the line {LEDGER_STOCK_HEADER}")
    if args.business_time_zone not in pytz.all_timezones_set:
        stop(f"--business-time-zone: {args.business_time_zone} is no time zone; name one of the IANA database, such as Europe/Berlin")
    database = Path(args.database).resolve()
    for path in (changes, str(ledger_stock)):
        if set(path) & set("'{}*?["):
            stop(f"{path}: a path with any of '{{}}*?[ in it cannot be read")
    database.parent.mkdir(parents=True, exist_ok=True)
    work = environment.TARGET / "warehouse" / f"{database.stem}-{hashlib.sha256(bytes(database)).hexdigest()[:8]}"

    started = time.time()
    status = run_dbt(args, changes, ledger_stock, database, work)
    ran = results(work, started)
    failed = failures(ran, database)
    report = {
        "ok": status == 0 and bool(ran),
        "database": str(database),
        "seconds": round(time.time() - started, 1),
        "tests_passed": sum(one["status"] == "pass" for one in ran),
        "failed": failed,
    }
    if report["ok"]:
        report["changes"], report["rows"] = count_rows(database, counted_marts(work))
    if args.json:
        print(json.dumps(report))
    elif report["ok"]:
        for mart, rows in report["rows"].items():
            print(f"{mart:<22}{rows:>14,}")
        print(f"from {report['changes']:,} changes in {report['seconds']} s; {report['tests_passed']} tests passed; {database}")
    if not report["ok"]:
        for line in failed:
            sys.stderr.write(f"failed: {line}\n")
        sys.stderr.write(f"the warehouse was not built; details in {work / 'logs' / 'dbt.log'}\n")
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    if importlib.util.find_spec("dbt") is None:
        interpreter = environment.python()
        os.execv(interpreter, [str(interpreter), __file__, *sys.argv[1:]])
    sys.exit(main(sys.argv[1:]))
