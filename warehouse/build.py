"""Builds the warehouse: `python warehouse/build.py --changes FOLDER --ledger-stock FILE --database FILE`.

Makes its Python environment on first use, fixes the input (inputs.py), runs `dbt build` (models and tests, in order) on
DuckDB, and prints how many rows the marts have. Exit status: 0 built and every test passed, 1 a model or test failed or
the database is in use, 2 wrong arguments or an archive that cannot be read.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import re
import sys
import time
from pathlib import Path

import environment
import inputs

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
    parser.add_argument("--full-refresh", action="store_true",
                        help="build everything anew in a second file, which takes the place of the database when every test has passed")
    parser.add_argument("--prove", action="store_true", help="let the tests read the whole history, not only what is new; for a nightly run")
    parser.add_argument("--ledger-stock-max-age-days", type=int, default=7, metavar="DAYS",
                        help="by how many days of log time the ledger's stock may be older than the history (default: 7)")
    parser.add_argument("--slice-changes", type=int, default=2_000_000, metavar="CHANGES",
                        help="the most changes that are loaded at a time; more need more memory (default: 2000000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout; dbt's own output goes to stderr")
    return parser.parse_args(argv)


def changes_path(given):
    """The archive's folder or URL; ends the program when it is not there."""
    if given.startswith("s3://"):
        return given.rstrip("/")
    folder = Path(given).resolve()
    if not folder.is_dir():
        stop(f"--changes: {given} is not a folder; archive changes into it first")
    return str(folder)


def stop(message):
    sys.stderr.write(f"error: {message}\n")
    sys.exit(2)


class Busy(Exception):
    """The database is open in another program. The message says in which one."""


def connect(database, changes=""):
    """Opens the database, with access to the object store if the archive is there."""
    import duckdb

    try:
        connection = duckdb.connect(str(database))
    except duckdb.IOException as error:
        raise Busy(busy(database, str(error))) from None
    if changes.startswith("s3://"):
        import duckdb_extensions

        duckdb_extensions.import_extension("httpfs")
        setting = lambda name, default="": os.environ.get(name, default).replace("'", "''")
        endpoint = setting("AWS_ENDPOINT_URL")
        place = f"endpoint '{endpoint.split('://')[-1]}', use_ssl {not endpoint.startswith('http://')}, url_style 'path'," if endpoint else ""
        connection.execute(f"load httpfs; create or replace secret (type s3, {place} key_id '{setting('AWS_ACCESS_KEY_ID')}', "
                           f"secret '{setting('AWS_SECRET_ACCESS_KEY')}', session_token '{setting('AWS_SESSION_TOKEN')}', "
                           f"region '{setting('AWS_REGION', 'us-east-1')}')")
    return connection


def busy(database, error):
    """Says who keeps a DuckDB file open. DuckDB lets only one process write, and none read meanwhile."""
    if "lock" not in error:
        return f"{database} cannot be opened: {error}"
    holder = re.search(r"held in (.+?) \(PID (\d+)\)", error)
    program = f"{holder[1]}, process {holder[2]}" if holder else "another program"
    return (f"{database} is open in {program}; DuckDB writes only while nobody else has the file open: close it there, or read from "
            "a copy, and build again")


def run_dbt(args, changes, ledger_stock, database, work, exclude):
    """Runs dbt; everything it writes beside the database lands in `work`. Returns the results, and an error of dbt itself."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    work.mkdir(parents=True, exist_ok=True)
    variables = {"ledger_stock_path": str(ledger_stock), "business_time_zone": args.business_time_zone, "prove": args.prove,
                 "ledger_stock_max_age_days": args.ledger_stock_max_age_days}
    command = ["build", "--project-dir", str(environment.HERE), "--profiles-dir", str(environment.HERE),
               "--target", "duckdb_s3" if changes.startswith("s3://") else "duckdb", "--vars", json.dumps(variables),
               "--target-path", str(work), "--log-path", str(work / "logs"), "--no-use-colors", "--no-write-json", "--quiet"]
    for tag in exclude:
        command += ["--exclude", f"tag:{tag}"]
    os.environ |= {"HOLDFAST_WAREHOUSE_DATABASE": str(database), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "DO_NOT_TRACK": "1"}
    with contextlib.redirect_stdout(sys.stderr):
        done = dbtRunner().invoke(command)
    DuckDBConnectionManager.close_all_connections()
    ran = getattr(done.result, "results", None) or []
    error = None if done.success or ran else str(done.exception or "dbt ran nothing")
    if error and "lock" in error:
        raise Busy(busy(database, error))
    return ran, error


def failures(ran, database):
    """A line for each model or test that failed, what to do, and the first rows that made a test fail."""
    lines = []
    for one in ran:
        if str(one.status) not in ("error", "fail", "runtime error"):
            continue
        lines.append(f"{one.node.name}: {one.message}")
        if advice := one.node.config.meta.get("advice"):
            lines.append(f"  what to do: {advice}")
        if str(one.status) == "fail":
            with connect(database) as connection:
                connection.execute("set memory_limit = '2GB'")
                rows = connection.execute(f"select * from ({one.node.compiled_code}) limit 3")
                names = [column[0] for column in rows.description]
                lines += [f"  for example {dict(zip(names, map(str, row)))}" for row in rows.fetchall()]
    return lines


def counted_marts(ran):
    """Names of the marts whose rows are counted: all but those whose `meta` says that this takes too long."""
    marts = [one.node for one in ran if one.node.resource_type == "model" and one.node.schema == "marts"]
    return sorted(mart.name for mart in marts if mart.config.meta.get("count_rows", True))


def count_rows(database, marts):
    with connect(database) as connection:
        count = lambda table: connection.execute(f"select count(*) from {table}").fetchone()[0]
        return count("staging.stg_changes"), {mart: count(f"marts.{mart}") for mart in marts}


def build(args, changes, ledger_stock, database, work):
    """Builds slice by slice. Returns the number of passed tests, what failed, and the names of the marts to count."""
    with connect(database, changes) as connection:
        new = inputs.fix(connection, changes)
        first = not connection.execute("select count(*) from load.positions where tested_through > 0").fetchone()[0]
    passed, pieces = 0, inputs.slices(new, args.slice_changes)
    for number, piece in enumerate(pieces, start=1):
        is_last = number == len(pieces)
        with connect(database) as connection:
            inputs.choose(connection, piece)
        # The first build of a short history proves all of it at once. The stock is compared at the end.
        proves = is_last and (args.prove or first and number == 1)
        exclude = [tag for tag, left_out in (("ledger", not is_last), ("prove", not proves)) if left_out]
        ran, error = run_dbt(args, changes, ledger_stock, database, work, exclude)
        if error:
            return passed, [error], []
        passed += sum(str(one.status) == "pass" for one in ran)
        if failed := failures(ran, database):
            return passed, failed, []
        if not is_last:
            sys.stderr.write(f"built slice {number} of {len(pieces)}\n")
    return passed, [], counted_marts(ran)


def rebuilt(database):
    """The file in which everything is built anew."""
    return database.with_name(f"{database.name}.rebuild")


def rebuild(args, changes, ledger_stock, database, work):
    """Builds everything anew beside the database, which stays as it is until the new one has passed every test."""
    fresh = rebuilt(database)
    for leftover in (fresh, fresh.with_name(f"{fresh.name}.wal")):
        leftover.unlink(missing_ok=True)
    with connect(fresh, changes) as connection:
        files = inputs.fix(connection, changes)
    if database.exists():
        with connect(database) as connection:
            inputs.check_coverage(connection, files)
    passed, failed, marts = build(args, changes, ledger_stock, fresh, work)
    if failed:
        fresh.unlink()
    else:
        fresh.replace(database)
    return passed, failed, marts


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

    existed = database.exists()
    started = time.time()
    try:
        passed, failed, marts = (rebuild if args.full_refresh else build)(args, changes, ledger_stock, database, work)
    except inputs.InputError as error:
        for made in ([] if existed else [database]) + [rebuilt(database)]:
            made.unlink(missing_ok=True)
        stop(str(error))
    except Busy as error:
        passed, failed, marts = 0, [str(error)], []
    report = {
        "ok": not failed,
        "database": str(database),
        "seconds": round(time.time() - started, 1),
        "tests_passed": passed,
        "failed": failed,
    }
    if report["ok"]:
        report["changes"], report["rows"] = count_rows(database, marts)
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
