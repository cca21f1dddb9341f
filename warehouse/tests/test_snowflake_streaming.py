"""The road by Snowpipe Streaming: its table, and the statements of docs/snowflake.md. A parser of Snowflake's dialect reads all
of them; fakesnow, an imitation of Snowflake, runs those that it knows."""

import json
import re
import warnings

import pytest
import sqlfluff

import archive
from conftest import PROJECT

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import fakesnow
    import snowflake.connector

REPOSITORY = PROJECT.parent
STREAMING = (PROJECT / "snowflake" / "streaming_once.sql").read_text()
PAGE = (REPOSITORY / "docs" / "snowflake.md").read_text()
BLOCKS = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
CONNECTOR = json.loads((REPOSITORY / "cluster" / "snowflake-connector.json").read_text())

# What only an account knows: roles, users, channels, error tables, metering. The imitation has none of it.
ONLY_SNOWFLAKE = re.compile(r"(?i)^(use role|grant|create role|create user|alter user|create network policy|alter table .* set error_logging)|error_table\(|account_usage")


def parse_errors(sql):
    return [one["description"] for one in sqlfluff.lint(sql, dialect="snowflake", rules=["LT12"]) if one["code"] == "PRS"]


def statements(sql):
    return [one.strip() for one in re.sub(r"--.*", "", sql).split(";") if one.strip()]


@pytest.fixture
def cursor():
    with fakesnow.patch():
        cursor = snowflake.connector.connect(database="HOLDFAST", schema="RAW").cursor()
        for statement in statements(STREAMING):
            if not ONLY_SNOWFLAKE.search(statement):
                cursor.execute(re.sub(r"(?s)\)\s*cluster by .*", ")", statement))
        yield cursor


def land(cursor, *changes):
    """Inserts changes as the sink would: only their numbers matter here."""
    for shard, seq, offset, of in changes:
        deltas = [name for name in archive.SCHEMA.names if name.endswith("_delta")]
        names = ["shard", "seq", "entry_changes", "entry_offset", "log_index", "log_time", "kind", "ingested_at", *deltas]
        values = [shard, seq, of, offset, seq, "sysdate()", "'received'", "sysdate()", *[0] * len(deltas)]
        cursor.execute(f"insert into holdfast.raw.changes_streamed ({', '.join(names)}) select {', '.join(map(str, values))}")


def block(part):
    (found,) = [one for one in BLOCKS if part in one]
    return found


def rows(cursor, sql):
    cursor.execute(sql.strip().removesuffix(";"))
    return [tuple(int(v) if hasattr(v, "as_tuple") else v for v in row) for row in cursor.fetchall()]


@pytest.mark.parametrize("sql", [STREAMING, *BLOCKS])
def test_every_statement_parses_as_snowflake(sql):
    assert parse_errors(sql) == [], sql


def test_the_parser_refuses_what_is_wrong():
    assert len(BLOCKS) > 10
    assert parse_errors(STREAMING.replace("create table", "create tabel", 1)) != []


def test_the_table_has_the_archives_columns_in_order_and_the_time_of_sending():
    table = STREAMING[STREAMING.index("changes_streamed ("):STREAMING.index("\n)")]
    assert re.findall(r"^    (\w+) ", table, re.MULTILINE) == [*archive.SCHEMA.names, "ingested_at"]


def test_the_statements_that_the_imitation_knows_run(cursor):
    ran = 0
    for sql in BLOCKS:
        for statement in statements(sql):
            if not ONLY_SNOWFLAKE.search(statement):
                cursor.execute(statement.replace("error_logging = true", ""))
                ran += 1
    assert ran >= 9


def test_the_queries_find_gaps_and_doubles_and_where_to_go_on(cursor):
    whole = [(0, 1, 0, 1), (0, 2, 0, 2), (0, 3, 1, 2), (1, 1, 0, 1)]
    land(cursor, *whole)
    assert rows(cursor, block("having count(*)")) == []
    assert rows(cursor, block("previous_seq")) == []
    # Shard 0 misses change 4 and ends inside an entry; shard 1 has change 1 twice.
    land(cursor, (0, 5, 0, 1), (0, 6, 0, 2), (1, 1, 0, 1))
    assert [row[0] for row in rows(cursor, block("having count(*)"))] == [0, 1]
    assert (0, 5, 3) in rows(cursor, block("previous_seq"))
    assert rows(cursor, block("as resume_after")) == [(0, 5), (1, 1)]


def test_the_connector_reads_committed_records_into_tables_of_the_page_and_has_no_secret():
    tables = dict(pair.split(":") for pair in CONNECTOR["snowflake.topic2table.map"].split(","))
    assert set(tables) == set(CONNECTOR["topics"].split(","))
    for table in tables.values():
        assert f"create table if not exists holdfast.raw.{table.lower()} (" in PAGE
    assert CONNECTOR["consumer.override.isolation.level"] == "read_committed"
    assert CONNECTOR["errors.tolerance"] == "none"
    for name in ("snowflake.private.key", "snowflake.private.key.passphrase"):
        assert CONNECTOR[name].startswith("${file:")
