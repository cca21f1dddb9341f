"""What is wrong in the input fails the build, and the test that fails is the one that says why."""

import copy
import datetime
import shutil

import duckdb
import pytest

import archive
import history
from conftest import Warehouse, bad

RECONCILIATION = "assert_stock_current_equals_the_ledger"


@pytest.fixture(scope="module")
def small():
    return history.generate(seed=3, entries=90, shards=2)


@pytest.fixture
def warehouse(folder, small):
    """Input of a small history without a fault, not built."""
    warehouse = Warehouse(folder)
    warehouse.clear()
    archive.write_history(warehouse.changes, small, about=40)
    archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows(small))
    return warehouse


def failures(warehouse):
    return bad(warehouse.build())


def found_by_all_tests(warehouse):
    """What the tests find when everything is built first. A build stops at the first table that fails a test."""
    assert bad(warehouse.dbt("run")) == set()
    return bad(warehouse.dbt("test"))


def with_change(warehouse, small, shard, pick, **values):
    """Writes the archive of a shard again, with one change altered."""
    rows = copy.deepcopy(small[shard].changes)
    altered = next(row for row in rows if pick(row))
    altered.update(values)
    for path in (warehouse.changes / f"shard={shard:04}").iterdir():
        path.unlink()
    archive.write_changes(warehouse.changes, rows)
    return altered


def test_sound_input_builds_and_reconciliation_finds_each_unit_in_each_bucket_either_way(warehouse, small):
    assert failures(warehouse) == set()

    def reconcile(rows):
        archive.write_ledger_stock(warehouse.ledger_stock, rows)
        return bad(warehouse.build("--select", "stg_ledger_stock", RECONCILIATION, "assert_history_reaches_the_ledger"))

    rows = archive.ledger_rows(small)
    name = lambda row: f"{row[2]}@{row[3]}"
    wrong = set()
    for number, bucket in enumerate(history.BUCKETS):
        rows[number][archive.LEDGER_COLUMNS.index(bucket)] += 1 if number % 2 else -1
        wrong.add(name(rows[number]))
    missing = next(row for row in rows[len(history.BUCKETS):] if row[archive.LEDGER_COLUMNS.index("on_hand")] > 0)
    rows.remove(missing)
    extra = [0, len(small[0].changes), "never-moved", "BER", 1, 1, *[0] * (len(history.BUCKETS) - 2)]
    rows.append(extra)
    assert reconcile(rows) == {RECONCILIATION}
    query = next((warehouse.folder / "duckdb" / "compiled").rglob(f"{RECONCILIATION}.sql")).read_text()
    assert {row[0] for row in warehouse.rows(query)} == wrong | {name(missing), name(extra)}

    assert "assert_history_reaches_the_ledger" in reconcile([]), "nothing to reconcile with is not a success"


def test_a_ledger_asked_before_the_last_changes_is_reconciled_as_of_then(warehouse, small):
    earlier = history.generate(seed=3, entries=70, shards=2)
    assert [len(shard.changes) for shard in earlier] < [len(shard.changes) for shard in small]
    archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows(earlier))
    assert failures(warehouse) == set()


def test_a_missing_file_is_a_gap_and_what_lies_behind_it_waits_until_it_arrives(warehouse, small):
    pieces = archive.whole_entries(small[1].changes, 40)
    missing = sorted((warehouse.changes / "shard=0001").iterdir())[1]
    kept = missing.rename(warehouse.folder / missing.name)
    assert "assert_history_has_no_gap" in failures(warehouse)
    assert warehouse.rows("select max(seq) from staging.stg_changes where shard = 1") == [(len(pieces[0]),)]
    kept.rename(missing)
    assert failures(warehouse) == set()
    assert warehouse.rows("select max(seq) from staging.stg_changes where shard = 1") == [(len(small[1].changes),)]


def test_a_missing_end_is_found_because_the_ledger_is_ahead(warehouse):
    sorted((warehouse.changes / "shard=0001").iterdir())[-1].unlink()
    assert "assert_history_reaches_the_ledger" in failures(warehouse)


def test_half_an_entry_is_not_loaded(warehouse, small):
    shard = small[0]
    cut = next(index for index, row in enumerate(shard.changes) if row["entry_offset"] + 1 < row["entry_changes"] and index > 50) + 1
    for path in (warehouse.changes / "shard=0000").iterdir():
        path.unlink()
    archive.write_changes(warehouse.changes, shard.changes[:cut])
    assert "assert_history_has_no_gap" in failures(warehouse)
    whole = cut - 1 - shard.changes[cut - 1]["entry_offset"]
    assert warehouse.rows("select max(seq) from staging.stg_changes where shard = 0") == [(whole,)]


def test_changes_delivered_twice_count_once(warehouse, small):
    archive.write_changes(warehouse.changes, small[0].changes[5:50])
    archive.write_changes(warehouse.changes, small[1].changes)
    assert failures(warehouse) == set()
    assert warehouse.rows("select count(*) from staging.stg_changes") == [(sum(len(shard.changes) for shard in small),)]


def test_one_number_with_two_contents_fails_the_uniqueness_of_changes(warehouse, small):
    other = copy.deepcopy(small[0].changes[10])
    other["principal"] = "someone-else"
    archive.write_changes(warehouse.changes, [other])
    assert "unique_stg_changes_change_id" in failures(warehouse)


def test_an_altered_delta_breaks_the_equation(warehouse, small):
    altered = next(row for row in small[0].changes if row["kind"] == "received")
    with_change(warehouse, small, 0, lambda row: row["seq"] == altered["seq"], on_hand_delta=altered["on_hand_delta"] + 1)
    assert "assert_entries_keep_the_equation" in failures(warehouse)
    assert {"assert_entries_keep_the_equation", "assert_after_images_follow_from_deltas"} <= found_by_all_tests(warehouse)


def test_an_altered_after_image_does_not_follow_from_the_deltas(warehouse, small):
    altered = next(row for row in small[0].changes[20:] if row["free_delta"])
    with_change(warehouse, small, 0, lambda row: row["seq"] == altered["seq"], free_after=altered["free_after"] + 1)
    assert failures(warehouse) == {"assert_after_images_follow_from_deltas"}


def test_a_reservation_that_says_other_units_than_its_buckets_is_found(warehouse, small):
    altered = next(row for row in small[0].changes if row["kind"] == "committed")
    with_change(warehouse, small, 0, lambda row: row["seq"] == altered["seq"], quantity=altered["quantity"] + 1)
    assert "assert_reservation" in " ".join(failures(warehouse))


def test_an_unknown_kind_and_a_missing_value_are_found(warehouse, small):
    with_change(warehouse, small, 0, lambda row: row["kind"] == "policy_set", kind="quarantined", log_index=None)
    found = bad(warehouse.build("--select", "stg_changes"))
    assert "no_nulls_stg_changes_shard__seq" in " ".join(found)
    assert any(name.startswith("accepted_values_stg_changes_kind") for name in found)


def test_a_log_time_that_goes_back_is_found(warehouse, small):
    with_change(warehouse, small, 1, lambda row: row["seq"] == len(small[1].changes), log_time=history.START)
    assert "assert_log_never_goes_back" in failures(warehouse)


@pytest.mark.parametrize("other", ["released", "expired", "aborted"])
def test_an_order_that_is_paid_in_one_shard_and_given_back_in_another_is_found(warehouse, other):
    torn = history.generate(seed=5, entries=90, shards=2, torn=other)
    warehouse.clear()
    archive.write_history(warehouse.changes, torn)
    archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows(torn))
    assert failures(warehouse) == {"assert_orders_are_all_or_nothing"}
    query = next((warehouse.folder / "duckdb" / "compiled").rglob("assert_orders_are_all_or_nothing.sql")).read_text()
    paid = {row["reservation_id"] for row in torn[0].changes + torn[1].changes if row["kind"] == "committed"}
    given_back = {row["reservation_id"] for row in torn[0].changes + torn[1].changes if row["kind"] == other and row["quantity"]}
    found = {row[0] for row in warehouse.rows(query)}
    assert len(found) == 1 and found <= paid & given_back


def test_goods_that_arrive_twice_are_found(warehouse, small):
    arrived = lambda row: row["kind"] == "transferred_in"
    with_change(warehouse, small, 0, arrived, transfer_quantity=1_000)
    assert "assert_transfers_explain_what_is_in_transit" in failures(warehouse)


def test_half_of_a_pair_that_keeps_the_equation_together_is_found(warehouse, small):
    pair = next(row for row in small[0].changes if row["kind"] == "reserved" and not history.is_balanced(row))
    with_change(warehouse, small, 0, lambda row: row["seq"] == pair["seq"], held_delta=pair["held_delta"] + 1)
    assert {"assert_entries_keep_the_equation", "assert_after_images_follow_from_deltas"} <= found_by_all_tests(warehouse)


@pytest.mark.parametrize("fault", ["seconds", "two days ahead", "of an expiry", "another one in the same command"])
def test_a_business_time_that_no_command_can_have_said_is_found(warehouse, small, fault):
    in_entry = lambda row: row["entry_changes"] > 1 and [other["operation_id"] for other in small[0].changes].count(row["operation_id"]) > 1
    pick = {"of an expiry": lambda row: row["kind"] == "expired",
            "another one in the same command": lambda row: row["occurred_at"] and row["entry_offset"] == 1 and in_entry(row)}
    pick = pick.get(fault, lambda row: row["kind"] == "received" and row["entry_changes"] == 1)
    log_time = next(row for row in small[0].changes if pick(row))["log_time"]
    told = {"seconds": datetime.datetime.fromtimestamp(log_time.timestamp() / 1000, datetime.UTC),
            "two days ahead": log_time + datetime.timedelta(days=2)}.get(fault, log_time - datetime.timedelta(hours=2))
    with_change(warehouse, small, 0, pick, occurred_at=told)
    assert failures(warehouse) == {"assert_business_time_is_possible"}


def test_another_zone_than_the_warehouse_was_built_with_is_found(warehouse):
    assert failures(warehouse) == set()
    with pytest.raises(Exception, match="was built with the business time zone UTC, and this run has Pacific/Auckland"):
        warehouse.build(business_time_zone="Pacific/Auckland")
    assert bad(warehouse.build("--full-refresh", business_time_zone="Pacific/Auckland")) == set()


BUSINESS_DAYS = "intermediate.int_stock_business_days"
ONE_DAY = f"stock_business_day_id = (select max(stock_business_day_id) from {BUSINESS_DAYS} where next_date is not null)"
ONE_SALE = "daily_movement_id = (select min(daily_movement_id) from marts.fct_daily_movements where units_sold > 0)"
FAULTS_IN_TABLES = {
    "a day counts a unit too many": (
        f"update {BUSINESS_DAYS} set damaged_delta = damaged_delta + 1 where {ONE_DAY}",
        {"assert_each_movement_is_on_one_business_day", "assert_business_balances_follow_from_deltas", "assert_business_days_and_log_days_agree"}),
    "a late movement is not carried to later days": (
        f"update {BUSINESS_DAYS} set on_hand = on_hand + 1, free = free + 1 where {ONE_DAY}",
        {"assert_business_balances_follow_from_deltas"}),
    "the newest balances lack a unit": (
        f"update {BUSINESS_DAYS} set on_hand = on_hand - 1, free = free - 1 where cell_id = (select min(cell_id) from {BUSINESS_DAYS}) and next_date is null",
        {"assert_business_balances_follow_from_deltas", "assert_stock_business_daily_ends_in_stock_current"}),
    "a balance breaks the equation": (
        f"update {BUSINESS_DAYS} set on_hand_delta = on_hand_delta + 1, on_hand = on_hand + 1 "
        f"where cell_id = (select min(cell_id) from {BUSINESS_DAYS}) and next_date is null",
        {"assert_each_movement_is_on_one_business_day", "assert_business_balances_follow_from_deltas",
         "assert_business_days_and_log_days_agree", "assert_stock_business_daily_ends_in_stock_current"}),
    "a movement is on two days": (
        f"insert into {BUSINESS_DAYS} by name select * replace (stock_business_day_id || 'x' as stock_business_day_id, "
        f"date '2020-01-01' as business_date, business_date as next_date) from {BUSINESS_DAYS} "
        f"where cell_id = (select min(cell_id) from {BUSINESS_DAYS}) order by business_date limit 1",
        {"assert_each_movement_is_on_one_business_day", "assert_business_balances_follow_from_deltas", "assert_business_days_and_log_days_agree"}),
    "a day does not end where the next one begins": (
        f"update {BUSINESS_DAYS} set next_date = null where {ONE_DAY}",
        {"assert_business_balances_follow_from_deltas", "assert_stock_business_daily_ends_in_stock_current"}),
    "a sale is on another day": (
        f"update marts.fct_daily_movements set business_date = business_date - 500 where {ONE_SALE}",
        {"assert_daily_movements_add_up"}),
    "a sale is missing": (
        f"delete from marts.fct_daily_movements where {ONE_SALE}",
        {"assert_daily_movements_add_up", "assert_daily_sales_are_those_of_reservations"}),
    "goods moved by no flow": (
        "update marts.fct_daily_movements set units_received = 0 where kind = 'received'",
        {"assert_flows_explain_daily_movements"}),
    "a reservation in no flow": (
        "update marts.fct_daily_movements set units_given_back = 0 where kind = 'released'",
        {"assert_flows_explain_daily_movements"}),
    "a business day that is not that of its time": (
        "update staging.stg_changes set business_date = business_date + 1 where seq = 3",
        {"assert_business_time_is_what_was_told", "assert_each_movement_is_on_one_business_day", "assert_daily_movements_add_up"}),
    "a business time that nobody said": (
        "update staging.stg_changes set happened_at = log_time + interval 1 millisecond where seq = 3",
        {"assert_business_time_is_what_was_told", "assert_each_movement_is_on_one_business_day"}),
}


def test_each_fault_in_the_tables_of_business_days_is_found_by_the_tests_about_it(warehouse):
    assert bad(warehouse.dbt("run")) == set()
    sound = shutil.copy(warehouse.database, warehouse.folder / "sound.duckdb")
    for fault, (statement, expected) in FAULTS_IN_TABLES.items():
        shutil.copy(sound, warehouse.database)
        with duckdb.connect(str(warehouse.database)) as connection:
            assert connection.execute(statement).fetchone()[0] > 0, fault
        assert bad(warehouse.dbt("test", "--select", "test_type:singular")) == expected, fault
