"""Builds warehouses from a generated history, in this process and in one folder, so that dbt parses once."""

import json
import os
import shutil
import sys
from pathlib import Path

import duckdb
import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner

import archive
import history

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import inputs  # noqa: E402

PROJECT = Path(__file__).resolve().parent.parent
os.environ |= {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "DO_NOT_TRACK": "1"}

# The name of each model, with its schema. Both follow from the place of its file.
MODELS = {path.stem: path.parent.name for path in sorted((PROJECT / "models").rglob("*.sql"))}


class Warehouse:
    """A folder with an archive, ledger stock and a DuckDB file."""

    def __init__(self, folder):
        self.folder = folder
        self.changes = folder / "changes"
        self.ledger_stock = folder / "ledger_stock.csv"
        self.database = folder / "warehouse.duckdb"

    def clear(self):
        shutil.rmtree(self.changes, ignore_errors=True)
        self.ledger_stock.unlink(missing_ok=True)
        self.database.unlink(missing_ok=True)

    def dbt(self, *command, target="duckdb", fix=True, **variables):
        """Runs dbt, on the files that the archive has now if `fix`; returns each node's status by name, or raises when dbt itself could not run."""
        os.environ["HOLDFAST_WAREHOUSE_DATABASE"] = str(self.database)
        variables = {"ledger_stock_path": str(self.ledger_stock)} | variables
        if fix and target == "duckdb" and command[0] in ("build", "run"):
            with duckdb.connect(str(self.database)) as connection:
                inputs.choose(connection, inputs.fix(connection, str(self.changes), "--full-refresh" in command))
        result = dbtRunner().invoke([
            *command, "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target", target, "--quiet",
            "--target-path", str(self.folder / target), "--log-path", str(self.folder / "logs"), "--vars", json.dumps(variables)])
        # dbt keeps the database open until the process ends; the tests want to read it.
        DuckDBConnectionManager.close_all_connections()
        if result.exception:
            raise result.exception
        return {one.node.name: str(one.status) for one in result.result}

    def build(self, *options, **variables):
        return self.dbt("build", *options, **variables)

    def rows(self, query):
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return connection.execute(query).fetchall()

    def table(self, name):
        """All rows of a table, in an order that depends on nothing but them."""
        return self.rows(f"select * from {name} order by all")


def bad(statuses):
    """The nodes that failed, without those that were skipped because of them."""
    return {name for name, status in statuses.items() if status in ("fail", "error", "runtime error")}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("warehouse")


@pytest.fixture(scope="session")
def shards():
    """The history that most tests build from."""
    return history.generate(seed=5, entries=300)


@pytest.fixture(scope="module")
def built(folder, shards):
    """A warehouse built at once from the whole history."""
    warehouse = Warehouse(folder)
    warehouse.clear()
    archive.write_history(warehouse.changes, shards)
    archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows(shards))
    assert bad(warehouse.build()) == set()
    return warehouse
