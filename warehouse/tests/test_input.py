"""The input of a build is fixed once, before it starts, and nothing that is loaded is lost or replaced in silence."""

import copy
import datetime
import random

import duckdb
import pytest

import archive
import history
import inputs
import shop
from conftest import Warehouse, bad
from test_marts import TABLES


@pytest.fixture(scope="module")
def small():
    return history.generate(seed=3, entries=90, shards=2)


@pytest.fixture
def warehouse(folder):
    warehouse = Warehouse(folder)
    warehouse.clear()
    return warehouse


def supply(warehouse, shards, about=40):
    archive.write_history(warehouse.changes, shards, about)
    archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows(shards))


def fixed(warehouse, full_refresh=False):
    with duckdb.connect(str(warehouse.database)) as connection:
        inputs.choose(connection, inputs.fix(connection, str(warehouse.changes), full_refresh))


def test_files_that_arrive_during_a_build_wait_for_the_next_one(warehouse, small):
    earlier = history.generate(seed=3, entries=70, shards=2)
    supply(warehouse, earlier)
    fixed(warehouse)
    for shard, before in zip(small, earlier):
        archive.write_changes(warehouse.changes, shard.changes[len(before.changes):])
    assert bad(warehouse.build(fix=False)) == set()
    assert warehouse.rows("select count(*) from staging.stg_changes") == [(sum(len(shard.changes) for shard in earlier),)]
    archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows(small))
    assert bad(warehouse.build()) == set()
    assert warehouse.rows("select count(*) from staging.stg_changes") == [(sum(len(shard.changes) for shard in small),)]


def test_a_file_is_read_once(warehouse, small):
    supply(warehouse, small)
    assert bad(warehouse.build()) == set()
    fixed(warehouse)
    assert warehouse.rows("select count(*) from load.input_files") == [(0,)]
    files = warehouse.rows("select count(*) from load.archive_files")
    assert warehouse.rows("select count(*) from load.loaded_files") == files and files[0][0] > 4


def test_a_ledger_that_is_ahead_is_named_and_its_cells_are_no_differences(warehouse, small):
    earlier = history.generate(seed=3, entries=70, shards=2)
    archive.write_history(warehouse.changes, earlier, 40)
    archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows(small))
    assert bad(warehouse.build()) == {"assert_history_reaches_the_ledger"}
    behind = [(shard.shard, len(before.changes), len(shard.changes) - len(before.changes)) for shard, before in zip(small, earlier)]
    assert warehouse.rows("select shard, loaded_through, behind_changes from marts.load_status order by shard") == behind


def test_a_ledger_stock_that_is_much_older_than_the_history_is_refused(warehouse):
    shard = history.Shard(0, random.Random(0), ["A"], ["BER"])
    rows = []
    for days in (0, 6, 9):
        shard.now = history.START + datetime.timedelta(days=days)
        shard.change("received", "A", "BER", moves={"on_hand": 3, "free": 3})
        shard.commit_entry()
        rows.append(archive.ledger_rows([shard]))
    archive.write_history(warehouse.changes, [shard])
    archive.write_ledger_stock(warehouse.ledger_stock, rows[0])
    assert bad(warehouse.build()) == {"assert_ledger_stock_is_recent"}
    assert bad(warehouse.build(ledger_stock_max_age_days=9)) == set()
    archive.write_ledger_stock(warehouse.ledger_stock, rows[1])
    assert bad(warehouse.build()) == set()


def test_a_full_refresh_that_could_not_rebuild_everything_destroys_nothing(warehouse, small):
    supply(warehouse, small)
    assert bad(warehouse.build()) == set()
    before = {table: warehouse.table(table) for table in TABLES}
    expired = sorted((warehouse.changes / "shard=0001").iterdir())[0]
    expired.unlink()
    with pytest.raises(inputs.InputError, match="would lose history: the warehouse has the changes of shard 1 up to"):
        warehouse.build("--full-refresh")
    # dbt alone refuses too: here with the input that the last build had.
    with pytest.raises(Exception, match="would lose history: the warehouse has the changes of shard 1 up to"):
        with duckdb.connect(str(warehouse.database)) as connection:
            inputs.choose(connection, inputs.find(connection, str(warehouse.changes)))
        warehouse.build("--full-refresh", fix=False)
    assert {table: warehouse.table(table) for table in TABLES} == before
    assert bad(warehouse.build()) == set(), "and a build goes on from what is loaded"


def test_the_right_file_for_a_wrong_value_that_was_loaded_is_told_and_a_full_refresh_repairs(warehouse, small):
    rows = copy.deepcopy(small[0].changes)
    altered = next(row for row in rows if row["principal"])
    altered["principal"] = "someone-else"
    right = archive.write_changes(warehouse.changes, small[0].changes)
    wrong = archive.write_changes(warehouse.changes, rows)
    assert right == wrong, "the same name, and later other content"
    archive.write_changes(warehouse.changes, small[1].changes)
    archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows(small))
    assert bad(warehouse.build()) == set(), "no arithmetic shows it"
    archive.write_changes(warehouse.changes, small[0].changes)
    for _ in range(2):
        assert "assert_loaded_changes_keep_their_content" in bad(warehouse.build())
        query = next((warehouse.folder / "duckdb" / "compiled").rglob("assert_loaded_changes_keep_their_content.sql")).read_text()
        assert warehouse.rows(query) == [(0, altered["seq"], str(right))]
    assert bad(warehouse.build("--full-refresh")) == set()
    assert warehouse.rows(f"select principal from staging.stg_changes where shard = 0 and seq = {altered['seq']}") == [("anonymous",)]


def test_a_warehouse_of_an_older_release_asks_for_a_rebuild(warehouse, small):
    supply(warehouse, small)
    assert bad(warehouse.build()) == set()
    with duckdb.connect(str(warehouse.database)) as connection:
        connection.execute("drop schema load cascade")
    with pytest.raises(Exception, match="was built by an older release.*--full-refresh"):
        warehouse.build()
    assert bad(warehouse.build("--full-refresh")) == set()


def test_what_failed_a_test_is_tested_again_until_it_is_right(warehouse, small):
    pieces = archive.whole_entries(small[0].changes, 40)
    wrong = copy.deepcopy(pieces[1])
    altered = next(row for row in wrong if row["free_delta"])
    altered["free_after"] += 1
    archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows([small[0]]))
    for piece in (pieces[0], wrong):
        archive.write_changes(warehouse.changes, piece)
    for rest in ([], pieces[2:]):
        for piece in rest:
            archive.write_changes(warehouse.changes, piece)
        assert "assert_after_images_follow_from_deltas" in bad(warehouse.build())
        assert warehouse.rows("select max(tested_through) from load.positions") == [(0,)]


def test_a_fault_in_what_was_tested_before_is_found_by_a_proof(warehouse, small):
    supply(warehouse, small)
    assert bad(warehouse.build()) == set()
    with duckdb.connect(str(warehouse.database)) as connection:
        connection.execute("update staging.stg_changes set free_after = free_after + 1 where shard = 0 and seq = (select min(seq) from staging.stg_changes where shard = 0 and free_delta <> 0)")
    assert bad(warehouse.dbt("test")) == set()
    assert bad(warehouse.dbt("test", prove=True)) == {"assert_after_images_follow_from_deltas"}


def test_an_archive_that_is_older_than_the_youngest_columns_is_built(warehouse):
    sales, deliveries = shop.december(sales=20)
    shard = shop.booked(sales, deliveries)
    archive.write_history(warehouse.changes, [shard], 30, archive.FIRST_SCHEMA)
    archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows([shard]))
    assert bad(warehouse.build()) == set()
    assert warehouse.rows("select count(*), sum(in_transit_delta), count(occurred_at) from staging.stg_changes") == [(len(shard.changes), 0, 0)]


def attempts():
    """Two shards with an order that is tried twice, as best effort may: shard 1 takes part only in the first attempt. Its
    abort is in shard 1's log, and shard 0 goes on with the order alone."""
    home, other = (history.Shard(number, random.Random(number), [sku], ["BER"]) for number, sku in enumerate("AB"))
    order = home.uuid()
    for shard, sku in ((home, "A"), (other, "B")):
        shard.command(None)
        shard.change("received", sku, "BER", moves={"on_hand": 5, "free": 5})
        shard.commit_entry()
    part = history.Reservation(order, "web", "order#1", history.START, [], "prepared", home=0)
    other.command(None)
    other.take("prepared", part, 1, "B", 2)
    other.commit_entry()
    other.now += datetime.timedelta(seconds=1)
    other.command(None)
    other.give_back(part, "aborted")
    other.commit_entry()
    home.now += datetime.timedelta(seconds=2)
    paid = history.Reservation(order, "web", "order#1", history.START + datetime.timedelta(days=1), [], "prepared", home=0)
    home.command(None)
    home.take("prepared", paid, 0, "A", 3)
    home.commit_entry()
    home.command(None)
    paid.state = "held"
    home.change("confirmed", reservation=paid, reservation_state="held")
    home.commit_entry()
    home.command(None)
    home.pay(paid)
    home.commit_entry()
    other.now += datetime.timedelta(days=1)
    other.command(None)
    other.change("received", "B", "BER", moves={"on_hand": 1, "free": 1})
    other.commit_entry()
    return home, other


def test_a_line_that_has_vanished_leaves_its_reservation(warehouse):
    """Shard 1 is loaded up to its part of the first attempt, when shard 0 has paid the second one already. Then the rest comes."""
    home, other = attempts()
    archive.write_changes(warehouse.changes, home.changes)
    archive.write_changes(warehouse.changes, other.changes[:2])
    archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows([home, other]))
    assert bad(warehouse.dbt("run")) == set()
    lines = "select line, granted, state from marts.fct_reservations order by line"
    assert warehouse.rows(lines) == [(0, 3, "committed"), (1, 2, "committed")]
    archive.write_changes(warehouse.changes, other.changes[2:])
    assert bad(warehouse.dbt("run")) == set()
    assert warehouse.rows(lines) == [(0, 3, "committed")]
    assert bad(warehouse.dbt("test")) == set(), "and a part that only the first attempt had is no torn order"
    in_parts = warehouse.table("marts.fct_reservations")
    assert bad(warehouse.build("--full-refresh")) == set()
    assert warehouse.table("marts.fct_reservations") == in_parts


def test_the_manifest_says_which_files_count(warehouse, small):
    root = warehouse.folder / "archive"
    archive.write_archive(root, small)
    left_over = copy.deepcopy(small[0].changes[:30])
    left_over[3]["principal"] = "nobody"
    archive.write_archived_file(root, left_over, entry=None)
    archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows(small))
    for place in (root, root / "changes"):
        warehouse.database.unlink(missing_ok=True)
        warehouse.changes = place
        assert bad(warehouse.build()) == set()
        assert warehouse.rows("select count(*) from staging.stg_changes") == [(sum(len(shard.changes) for shard in small),)]
        assert warehouse.rows("select count(*) from staging.stg_changes where principal = 'nobody'") == [(0,)]
    one = next((root / "changes").rglob("0001-*.parquet"))
    content = bytearray(one.read_bytes())
    content[len(content) // 2] ^= 1
    one.write_bytes(content)
    warehouse.database.unlink()
    with pytest.raises(inputs.InputError, match=f"{one.name} is damaged: its SHA-256 is"):
        fixed(warehouse)
    one.unlink()
    with pytest.raises(inputs.InputError, match=f"{one.name} cannot be read, but .*json names it"):
        fixed(warehouse)
    warehouse.database.unlink()
    entry = next((root / "manifest").rglob("*.json"))
    entry.write_text('{"version":2}')
    with pytest.raises(inputs.InputError, match=f"{entry.name} has version 2"):
        fixed(warehouse)


def test_a_file_without_an_archives_name_is_refused(warehouse, small):
    supply(warehouse, small)
    (warehouse.changes / "shard=0000" / "copy of a file.parquet").write_bytes(b"")
    with pytest.raises(inputs.InputError, match="copy of a file.parquet has no name of an archived file"):
        fixed(warehouse)


def test_slices_take_every_file_once_in_order_and_the_shards_together():
    files = [inputs.ArchivedFile(None, f"{shard}/{at}", "", shard, at * 100 + 1, at * 100 + 100) for shard, count in ((0, 40), (1, 10)) for at in range(count)]
    pieces = inputs.slices(random.Random(0).sample(files, len(files)), 1000)
    taken = [file for piece in pieces for file in piece]
    assert sorted(taken, key=lambda file: file.path) == sorted(files, key=lambda file: file.path)
    assert all(sum(file.rows() for file in piece) <= 1000 for piece in pieces) and len(pieces) == 5
    for shard in (0, 1):
        assert [file.first_seq for file in taken if file.shard == shard] == sorted(file.first_seq for file in files if file.shard == shard)
        assert [sum(file.shard == shard for file in piece) for piece in pieces] == [{0: 8, 1: 2}[shard]] * 5


def test_load_status_says_how_far_each_shard_is(warehouse, small):
    supply(warehouse, small)
    missing = sorted((warehouse.changes / "shard=0001").iterdir())[-2]
    kept = missing.rename(warehouse.folder / missing.name)
    warehouse.build()
    assert "assert_history_has_no_gap" in bad(warehouse.build())
    assert bad(warehouse.dbt("run")) == set()
    found = {row[0]: row[1:] for row in warehouse.rows("select shard, loaded_through, loaded_until, file_name, behind_changes, behind_ms > 0 from marts.load_status")}
    whole = len(small[0].changes)
    newest = sorted((warehouse.changes / "shard=0000").iterdir())[-1]
    assert found[0] == (whole, small[0].changes[-1]["log_time"].replace(tzinfo=None), str(newest), 0, True)
    loaded = int(missing.name.split("-")[1]) - 1
    assert found[1][0] == loaded and found[1][3] == len(small[1].changes) - loaded
    kept.rename(missing)
