"""`build.py` as people and the demo call it: a process, a report, an exit status."""

import json
import os
import shutil
import subprocess
import sys

import boto3
import duckdb
import pytest
from moto.server import ThreadedMotoServer

import archive
import days
import history
from conftest import MODELS, PROJECT
from test_marts import TABLES


@pytest.fixture(scope="module")
def small():
    return history.generate(seed=11, entries=40, shards=2)


def run_build(changes, ledger_stock, database, *options, **settings):
    command = [sys.executable, PROJECT / "build.py", "--changes", changes, "--ledger-stock", ledger_stock, "--database", database, *options]
    return subprocess.run(command, env=os.environ | settings, capture_output=True, text=True)


def test_one_unit_too_many_fails_the_build_and_its_cell_is_named(tmp_path, small):
    archive.write_history(tmp_path / "changes", small)
    rows = archive.ledger_rows(small)
    rows[3][archive.LEDGER_COLUMNS.index("free")] += 1
    ledger_stock = archive.write_ledger_stock(tmp_path / "ledger_stock.csv", rows)
    done = run_build(tmp_path, ledger_stock, tmp_path / "warehouse.duckdb", "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert not report["ok"] and report["failed"][0].startswith("assert_stock_current_equals_the_ledger")
    assert f"{rows[3][2]}@{rows[3][3]}" in done.stderr


@pytest.mark.parametrize("what", ["no changes", "no folder", "no ledger stock", "other columns", "a quote in the path", "no such zone"])
def test_wrong_arguments_say_what_to_do_and_build_nothing(tmp_path, small, what):
    folder = tmp_path / ("it's" if what == "a quote in the path" else "changes")
    if what not in ("no changes", "no folder"):
        archive.write_history(folder, small[:1])
    elif what == "no changes":
        folder.mkdir()
    ledger_stock = tmp_path / "ledger_stock.csv"
    if what != "no ledger stock":
        archive.write_ledger_stock(ledger_stock, archive.ledger_rows(small))
    if what == "other columns":
        ledger_stock.write_text(ledger_stock.read_text().replace("on_hand,free", "free,on_hand"))
    options = ["--business-time-zone", "Europe/Atlantis"] if what == "no such zone" else []
    done = run_build(folder, ledger_stock, tmp_path / "warehouse.duckdb", *options)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "warehouse.duckdb").exists()


@pytest.fixture(scope="module")
def supplied(tmp_path_factory, small):
    """A folder with an archive and the ledger's stock, and the database that one build has made of them."""
    folder = tmp_path_factory.mktemp("supplied")
    archive.write_archive(folder, small, about=40)
    archive.write_ledger_stock(folder / "ledger_stock.csv", archive.ledger_rows(small))
    done = run_build(folder, folder / "ledger_stock.csv", folder / "warehouse.duckdb", "--json")
    assert done.returncode == 0, done.stderr
    return folder


def tables(database):
    with duckdb.connect(str(database), read_only=True) as connection:
        return {table: connection.execute(f"select * from {table} order by all").fetchall() for table in TABLES}


def test_a_history_in_slices_gives_the_same_as_one_at_once(tmp_path, supplied):
    database = tmp_path / "warehouse.duckdb"
    done = run_build(supplied, supplied / "ledger_stock.csv", database, "--slice-changes", "60")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("built slice") >= 2
    assert tables(database) == tables(supplied / "warehouse.duckdb")


def test_a_reader_of_the_database_is_named(supplied):
    before = tables(supplied / "warehouse.duckdb")
    with duckdb.connect(str(supplied / "warehouse.duckdb"), read_only=True):
        done = run_build(supplied, supplied / "ledger_stock.csv", supplied / "warehouse.duckdb", "--json")
    assert done.returncode == 1
    told, = json.loads(done.stdout)["failed"]
    assert f"{supplied / 'warehouse.duckdb'} is open in " in told and f"process {os.getpid()}; DuckDB writes only while nobody else" in told
    assert tables(supplied / "warehouse.duckdb") == before


def test_a_rebuild_takes_the_place_of_the_database_only_when_every_test_has_passed(tmp_path, supplied, small):
    database = tmp_path / "warehouse.duckdb"
    shutil.copy(supplied / "warehouse.duckdb", database)
    rows = archive.ledger_rows(small)
    rows[0][archive.LEDGER_COLUMNS.index("free")] += 1
    wrong = archive.write_ledger_stock(tmp_path / "wrong.csv", rows)
    before = database.read_bytes()
    done = run_build(supplied, wrong, database, "--full-refresh")
    assert done.returncode == 1 and "assert_stock_current_equals_the_ledger" in done.stderr
    assert database.read_bytes() == before and not (tmp_path / "warehouse.duckdb.rebuild").exists()

    lost = tmp_path / "lost"
    shutil.copytree(supplied, lost, ignore=shutil.ignore_patterns("*.duckdb"))
    last = max((lost / "manifest" / "shard=0001").rglob("*.json"), key=lambda path: path.name)
    last.unlink()
    done = run_build(lost, supplied / "ledger_stock.csv", database, "--full-refresh")
    assert done.returncode == 2 and "--full-refresh would lose history: the warehouse has the changes of shard 1 up to" in done.stderr
    assert database.read_bytes() == before and not (tmp_path / "warehouse.duckdb.rebuild").exists()

    done = run_build(supplied, supplied / "ledger_stock.csv", database, "--full-refresh")
    assert done.returncode == 0, done.stderr
    assert database.read_bytes() != before and tables(database) == tables(supplied / "warehouse.duckdb")


def test_a_proof_reads_what_was_tested_before_and_advice_comes_with_a_failure(tmp_path, supplied):
    database = tmp_path / "warehouse.duckdb"
    shutil.copy(supplied / "warehouse.duckdb", database)
    with duckdb.connect(str(database)) as connection:
        connection.execute("delete from staging.stg_changes where shard = 0 and seq = 1")
    assert run_build(supplied, supplied / "ledger_stock.csv", database).returncode == 0, "nothing is new"
    done = run_build(supplied, supplied / "ledger_stock.csv", database, "--prove")
    assert done.returncode == 1 and "failed: assert_history_has_no_gap" in done.stderr
    assert "what to do: bring the missing file of the archive back" in done.stderr


@pytest.mark.parametrize("with_manifest", [False, True])
def test_an_archive_in_an_object_store_is_built_and_its_rows_are_reported(tmp_path, small, with_manifest):
    if with_manifest:
        archive.write_archive(tmp_path, small)
    else:
        archive.write_history(tmp_path / "changes", small)
    ledger_stock = archive.write_ledger_stock(tmp_path / "ledger_stock.csv", archive.ledger_rows(small))
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
        s3 = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1")
        s3.create_bucket(Bucket="archive")
        for path in [*tmp_path.rglob("*.parquet"), *tmp_path.rglob("shard=*/*/*.json")]:
            s3.upload_file(str(path), "archive", f"holdfast/{path.relative_to(tmp_path)}")
        done = run_build("s3://archive/holdfast/changes", ledger_stock, tmp_path / "warehouse.duckdb", "--json", "--business-time-zone", "Asia/Tokyo",
                         AWS_ENDPOINT_URL=endpoint, **keys)
    finally:
        server.stop()
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] and report["failed"] == []
    assert report["changes"] == sum(len(shard.changes) for shard in small)
    marts = {model for model, schema in MODELS.items() if schema == "marts"}
    assert set(report["rows"]) == marts - {"stock_business_daily", "stock_each_day"}, "every mart but those that take too long to count"
    assert report["rows"]["stock_current"] == sum(len(shard.sellable) for shard in small)
    movements = days.moved([change for shard in small for change in shard.changes], "Asia/Tokyo")
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        assert connection.execute("select count(*) from intermediate.int_stock_business_days").fetchone() == (len(movements),)
    assert report["rows"]["stockouts"] == sum(len(shard.stockouts) for shard in small)
