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

ONCE, EACH_RUN = ((PROJECT / "snowflake" / name).read_text() for name in ("once.sql", "each_run.sql"))
MADE = ("create database", "create schema if not exists holdfast.raw", "create table", "alter table")
"""How the statements of once.sql begin that the imitation runs. It has no roles, integrations, stages, pipes, streams and tasks."""
COLUMNS = {name: "* exclude reservation_key" for name in ("int_reservation_lines", "fct_reservations")} | {
    "load_status": "shard, loaded_through, loaded_until, behind_changes"}
"""The columns that both engines must agree on, where these are not all. A reservation's key is made otherwise on Snowflake, and
the file and the time of a load are those of another run."""
ZONE = "Europe/Berlin"


def parse_errors(sql):
    return [one["description"] for one in sqlfluff.lint(sql, dialect="snowflake", rules=["LT12"]) if one["code"] == "PRS"]


def without_temporary_relations(patcher):
    """Makes temporary relations permanent. fakesnow has none with a qualified name, and dbt drops them itself."""
    execute = fakesnow.cursor.FakeSnowflakeCursor.execute

    def without_temporary(self, command, *args, **kwargs):
        return execute(self, re.sub(r"(?i)create or replace\s+temporary\s", "create or replace ", command), *args, **kwargs)

    patcher.setattr(fakesnow.cursor.FakeSnowflakeCursor, "execute", without_temporary)


def statements(script):
    return [statement.strip() for statement in re.sub(r"--.*", "", script).split(";") if statement.strip()]


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
        for statement in statements(ONCE):
            if statement.startswith(MADE):
                cursor.execute(statement)
        cursor.execute("create schema HOLDFAST.ANALYTICS")
        # Stands in for Snowpipe: the rows go straight into the database below the imitation.
        duck = connection._duck_conn
        archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows(shards))
        for statement in statements(EACH_RUN):
            if statement.startswith("copy into holdfast.raw.ledger_stock_next"):
                duck.execute(f"insert into HOLDFAST.RAW.LEDGER_STOCK_NEXT select * from read_csv('{warehouse.ledger_stock}', header = true)")
            elif not statement.startswith(("use", "select")):
                cursor.execute(statement)
        landed = set()
        for part in (1, 99):
            for shard in shards:
                for piece in archive.whole_entries(shard.changes, 400)[:part]:
                    path = archive.write_changes(warehouse.changes, piece)
                    if path not in landed:
                        duck.execute("set timezone = 'UTC'")
                        duck.execute(f"insert into HOLDFAST.RAW.LEDGER_CHANGES by name "
                                     f"select * exclude (filename, file_row_number), filename as file_name, file_row_number as file_row, timestamp '2026-03-09' as loaded_at "
                                     f"from read_parquet('{path}', hive_partitioning = false, filename = true, file_row_number = true)")
                    landed.add(path)
            assert bad(dbt("run")) == set()
        assert bad(dbt("test")) == set()
        rows = {}
        for name, schema in MODELS.items():
            cursor.execute(f"select {COLUMNS.get(name, '*')} from HOLDFAST.ANALYTICS_{schema}.{name}")
            rows[name] = plain(cursor.fetchall())
    return warehouse, rows


def test_snowflake_builds_the_same_marts_as_duckdb(snowflake_warehouse, shards):
    warehouse, rows = snowflake_warehouse
    archive.write_history(warehouse.changes, shards)
    assert bad(warehouse.dbt("run", business_time_zone=ZONE)) == set()
    for name, schema in MODELS.items():
        assert rows[name] == plain(warehouse.rows(f"select {COLUMNS.get(name, '*')} from {schema}.{name}")), name


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
    for script in (ONCE, EACH_RUN):
        assert parse_errors(script) == []
    assert parse_errors(ONCE.replace("create table", "create tabel", 1)) != [], "the parser refuses what is wrong"


def test_the_landing_table_has_the_archives_columns_in_order_and_where_a_row_came_from():
    table = ONCE[ONCE.index("holdfast.raw.ledger_changes ("):ONCE.index("cluster by (shard")]
    assert re.findall(r"^    (\w+) ", table, re.MULTILINE) == [*archive.SCHEMA.names, "file_name", "file_row", "loaded_at"]


def test_an_older_landing_table_gets_the_columns_that_came_later():
    create = next(one for one in statements(ONCE) if one.startswith("create table") and "ledger_changes" in one)
    with fakesnow.patch():
        cursor = snowflake.connector.connect(database="OLDER", schema="RAW").cursor()
        first = [column for column in re.findall(r"^    .*$", create, re.MULTILINE) if column.split()[0] in archive.FIRST_SCHEMA.names]
        cursor.execute(f"create table older.raw.ledger_changes ({' '.join(first).rstrip(',')})")
        for _ in range(2):
            for one in statements(ONCE):
                if one.startswith("alter table"):
                    cursor.execute(one.replace("holdfast.", "older."))
        cursor.execute("select * from older.raw.ledger_changes")
        columns = [column[0].lower() for column in cursor.description]
    assert sorted(columns) == sorted([*archive.SCHEMA.names, "file_name", "file_row", "loaded_at"])


def test_each_role_has_the_least_that_it_needs():
    """Only dbt's role makes schemas, only the owner owns the landing schema, and nobody but the loader and the owner writes there."""
    grants = [re.sub(r"\s+", " ", one) for one in statements(ONCE) if one.startswith("grant")]
    of = lambda role: [one for one in grants if one.endswith(f"to role {role}") or f"to role {role} " in one]
    assert [one for one in grants if " all " in one and "select on all" not in one] == []
    assert all(one.startswith(("grant usage", "grant select on", "grant create schema", "grant role holdfast_reader")) for one in of("holdfast_builder"))
    assert all(one.startswith(("grant usage", "grant select on")) and "raw" not in one for one in of("holdfast_reader"))
    assert any("insert" in one for one in of("holdfast_loader")) and not any("ownership" in one for one in of("holdfast_loader"))


def test_a_list_of_stock_replaces_the_old_one_at_once_and_a_bad_one_does_not():
    """The statements that empty the present list come after the copy, inside one transaction."""
    run = statements(EACH_RUN)
    place = lambda start: next(at for at, one in enumerate(run) if one.startswith(start))
    assert place("copy into holdfast.raw.ledger_stock_next") < place("begin") < place("delete from holdfast.raw.ledger_stock") < place("insert into") < place("commit")
    assert "on_error = abort_statement" in run[place("copy into")]
