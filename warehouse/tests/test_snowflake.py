"""The same project for Snowflake, without Snowflake. The real dbt-snowflake adapter talks to fakesnow, which runs Snowflake's
dialect on DuckDB. A parser of that dialect reads every statement, also those that fakesnow does not run."""

import re
import warnings

import pytest
import sqlfluff

import archive
from conftest import MODELS, PROJECT, Warehouse, bad

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import fakesnow
    import fakesnow.cursor
    import snowflake.connector

LOAD = (PROJECT / "snowflake" / "load.sql").read_text()
ZONE = "Europe/Berlin"


def parse_errors(sql):
    return [one["description"] for one in sqlfluff.lint(sql, dialect="snowflake", rules=["LT12"]) if one["code"] == "PRS"]


def without_temporary_relations(patcher):
    """Makes temporary relations permanent. fakesnow has none with a qualified name, and dbt drops them itself."""
    execute = fakesnow.cursor.FakeSnowflakeCursor.execute

    def without_temporary(self, command, *args, **kwargs):
        return execute(self, re.sub(r"(?i)create or replace\s+temporary\s", "create or replace ", command), *args, **kwargs)

    patcher.setattr(fakesnow.cursor.FakeSnowflakeCursor, "execute", without_temporary)


def plain(rows):
    """Rows in an order of their own, numbers as int: Snowflake's only number type is a decimal."""
    return sorted((tuple(int(v) if hasattr(v, "as_tuple") else v for v in row) for row in rows), key=repr)


@pytest.fixture(scope="module")
def snowflake_warehouse(folder, shards):
    """The history built on fakesnow in two parts; every relation's rows and the folder with the SQL that ran."""
    settings = {"SNOWFLAKE_ACCOUNT": "imitation", "SNOWFLAKE_USER": "dbt", "SNOWFLAKE_PASSWORD": "none", "SNOWFLAKE_ROLE": "dbt",
                "SNOWFLAKE_WAREHOUSE": "build"}
    warehouse = Warehouse(folder)
    warehouse.clear()

    def dbt(*command):
        # One thread: the imitation's connections trip over each other when they create the same schema.
        return warehouse.dbt(*command, "--threads", "1", target="snowflake", business_time_zone=ZONE)

    with pytest.MonkeyPatch.context() as patcher, fakesnow.patch():
        for name, value in settings.items():
            patcher.setenv(name, value)
        without_temporary_relations(patcher)
        connection = snowflake.connector.connect(database="HOLDFAST", schema="RAW")
        cursor = connection.cursor()
        for statement in re.sub(r"--.*", "", LOAD).split(";"):
            if statement.strip().startswith(("create database", "create schema", "create table")):
                cursor.execute(statement)
        cursor.execute("create schema HOLDFAST.ANALYTICS")
        # Stands in for Snowpipe: the rows go straight into the database below the imitation.
        duck = connection._duck_conn
        archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows(shards))
        duck.execute(f"insert into HOLDFAST.RAW.LEDGER_STOCK select * from read_csv('{warehouse.ledger_stock}', header = true)")
        landed = set()
        for part in (1, 99):
            for shard in shards:
                for piece in archive.whole_entries(shard.changes, 400)[:part]:
                    path = archive.write_changes(warehouse.changes, piece)
                    if path not in landed:
                        duck.execute("set timezone = 'UTC'")
                        duck.execute(f"insert into HOLDFAST.RAW.LEDGER_CHANGES by name select * from read_parquet('{path}', hive_partitioning = false)")
                    landed.add(path)
            assert bad(dbt("run")) == set()
        assert bad(dbt("test")) == set()
        rows = {}
        for name, schema in MODELS.items():
            cursor.execute(f"select * from HOLDFAST.ANALYTICS_{schema}.{name}")
            rows[name] = plain(cursor.fetchall())
    return warehouse, rows


def test_snowflake_builds_the_same_marts_as_duckdb(snowflake_warehouse, shards):
    warehouse, rows = snowflake_warehouse
    archive.write_history(warehouse.changes, shards)
    assert bad(warehouse.dbt("run", business_time_zone=ZONE)) == set()
    for name, schema in MODELS.items():
        assert rows[name] == plain(warehouse.table(f"{schema}.{name}")), name


def test_every_model_and_singular_test_parses_as_snowflake(snowflake_warehouse):
    warehouse, _ = snowflake_warehouse
    ours = {path.name for folder in ("models", "data_tests") for path in (PROJECT / folder).rglob("*.sql") if path.parent.name != "generic"}
    # Tests are queries. For models, the statements around the query are worth parsing too; here they are
    # those of an incremental run.
    found = {path.name: path for kind in ("compiled", "run") for path in (warehouse.folder / "snowflake" / kind).rglob("*.sql")}
    assert ours <= set(found)
    for name in ours:
        assert parse_errors(found[name].read_text()) == [], found[name]


def test_the_landing_statements_parse_as_snowflake():
    assert parse_errors(LOAD) == []
    assert parse_errors(LOAD.replace("create table", "create tabel", 1)) != [], "the parser refuses what is wrong"


def test_the_landing_table_has_the_archives_columns_in_order():
    table = LOAD[LOAD.index("holdfast.raw.ledger_changes ("):LOAD.index(");")]
    assert re.findall(r"^    (\w+) ", table, re.MULTILINE) == archive.SCHEMA.names


def test_an_older_landing_table_gets_the_columns_that_came_later():
    statements = [statement.strip() for statement in re.sub(r"--.*", "", LOAD).split(";")]
    with fakesnow.patch():
        cursor = snowflake.connector.connect(database="OLDER", schema="RAW").cursor()
        create = next(one for one in statements if one.startswith("create table") and "ledger_changes" in one)
        cursor.execute(create.replace("holdfast.", "older.").replace(",\n    occurred_at timestamp_ntz", ""))
        for _ in range(2):
            for one in statements:
                if one.startswith("alter table"):
                    cursor.execute(one.replace("holdfast.", "older."))
        cursor.execute("select * from older.raw.ledger_changes")
        assert [column[0].lower() for column in cursor.description][-2:] == ["supply_expected_at", "occurred_at"]
