"""Business days: each movement on the day on which it happened, whenever it was booked, and the same however
it was built."""

import datetime
import itertools
import random
import re

import pytest
import pytz

import archive
import days
import history
import shop
from conftest import PROJECT, Warehouse, bad
from test_marts import TABLES

BUSINESS_DAYS = ["+int_stock_business_days", "+stock_business_daily", "+fct_daily_movements", "+stock_current"]


@pytest.fixture
def warehouse(folder):
    warehouse = Warehouse(folder)
    warehouse.clear()
    return warehouse


def supply(warehouse, shards, about=10_000):
    archive.write_history(warehouse.changes, shards, about)
    archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows(shards))


def all_changes(shards):
    return [change for shard in shards for change in shard.changes]


def test_each_business_day_has_its_movements_and_the_balances_at_its_end(built, shards):
    found = built.rows(days.STOCK_BUSINESS_DAILY)
    assert found == days.stock_business_daily(all_changes(shards), "UTC")
    balances = [row[-len(history.BUCKETS):] for row in found]
    assert any(units < 0 for row in balances for units in row), "something that left before it is said to have come"
    present = {row[:2]: row[-len(history.BUCKETS):] for row in found}
    assert present == {key: shard.cells[key].balances() for shard in shards for key in shard.sellable}


def test_daily_movements_have_each_flow_of_each_day(built, shards):
    expected = {}
    flows = {"received": "units_received", "committed": "units_sold", "shipped": "units_shipped", "returned": "units_returned",
             "adjusted": "units_adjusted", "counted": "units_counted", "cancelled": "units_cancelled",
             **dict.fromkeys(["reserved", "prepared"], "units_reserved"),
             **dict.fromkeys(["released", "expired", "aborted"], "units_given_back"),
             **dict.fromkeys(["transferred_out", "transferred_in"], "units_transferred")}
    of_reservations = {"units_sold", "units_cancelled", "units_reserved", "units_given_back"}
    columns = ["changes", "on_hand_delta", "reservation_units", *sorted(set(flows.values()))]
    for change in days.movements(all_changes(shards)):
        key = (days.business_day(days.happened_at(change), "UTC"), change["sku"], change["warehouse"], change["storefront"], change["kind"])
        row = expected.setdefault(key, dict.fromkeys(columns, 0))
        row["changes"] += 1
        row["on_hand_delta"] += change["on_hand_delta"]
        row["reservation_units"] += change["quantity"] or 0
        if flow := flows.get(change["kind"]):
            units = change["quantity"] if flow in of_reservations else change["on_hand_delta"]
            row[flow] += -units if flow == "units_shipped" else units
    found = built.rows(f"select business_date, sku, warehouse, storefront, kind, {', '.join(columns)} from marts.fct_daily_movements")
    assert len(found) == len(expected)
    assert {row[:5]: dict(zip(columns, row[5:])) for row in found} == expected


def test_movements_reservations_and_transfers_say_both_times(built, shards):
    expected = sorted((shard.shard, change["seq"], days.naive(change["log_time"]), days.naive(change["occurred_at"]),
                       days.naive(days.happened_at(change)), days.business_day(days.happened_at(change), "UTC"))
                      for shard in shards for change in days.movements(shard.changes))
    columns = "shard, seq, log_time, occurred_at, happened_at, business_date"
    assert built.rows(f"select {columns} from marts.fct_stock_movements order by shard, seq") == expected
    assert built.rows("select count(*) from marts.fct_reservations where reserved_on <> cast(reserved_happened_at as date) "
                      "or committed_on <> cast(committed_happened_at as date)") == [(0,)]
    assert built.rows("select count(*) > 5 from marts.fct_reservations where reserved_at <> reserved_happened_at "
                      "and committed_on is not null") == [(True,)]
    arrivals = {}
    for change in all_changes(shards):
        if change["transfer_id"]:
            sent, received = arrivals.setdefault((change["transfer_id"], change["sku"]), ([], []))
            if change["kind"] != "transfer_closed":
                (sent if change["kind"] == "transferred_out" else received).append(days.naive(days.happened_at(change)))
    last = lambda received: max(received, default=None)
    expected = sorted((*key, min(sent), min(sent).date(), last(received), last(received) and last(received).date())
                      for key, (sent, received) in arrivals.items())
    found = built.rows("select transfer_id, sku, sent_happened_at, sent_on, last_received_happened_at, last_received_on from marts.fct_transfers")
    assert sorted(found) == expected


def readme_query():
    return re.search(r"```sql\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)[1]


def test_a_month_of_imported_orders_lies_on_the_shops_own_days(warehouse):
    sales, deliveries = shop.december()
    supply(warehouse, [shop.booked(sales, deliveries)])
    assert bad(warehouse.build(business_time_zone=shop.ZONE)) == set()

    placed = shop.units_by_day(sales, lambda sale: sale.placed)
    shipped = shop.units_by_day(sales, lambda sale: sale.shipped)
    arrived = shop.units_by_day(deliveries, lambda delivery: delivery.arrived)
    for column, expected in (("units_sold", placed), ("units_reserved", placed), ("units_shipped", shipped), ("units_received", arrived)):
        found = warehouse.rows(f"select business_date, sku, storefront, sum({column}) from marts.fct_daily_movements "
                               f"group by all having sum({column}) > 0")
        assert {row[:3]: row[3] for row in found} == expected, column
    sold = {}
    for (day, sku, _), units in placed.items():
        sold[day, sku] = sold.get((day, sku), 0) + units
    assert {row[:2]: row[2] for row in warehouse.rows(readme_query())} == sold

    # By log time all of it is one day.
    assert warehouse.rows("select count(distinct log_date) from marts.fct_stock_movements") == [(1,)]
    assert warehouse.rows("select count(*) from marts.stock_each_day") == [(len(shop.SKUS),)]
    on_hand = lambda sku, day: (sum(one.units for one in deliveries if one.sku == sku and one.arrived.date() <= day)
                                - sum(one.units for one in sales if one.sku == sku and one.shipped.date() <= day))
    found = warehouse.rows("select sku, business_date, on_hand from marts.stock_business_daily where business_date < '2026-01-01'")
    assert len(found) > 15 * 365 and all(on_hand(sku, day) == units for sku, day, units in found)
    assert any(units < 0 for _, _, units in found), "shipped before its delivery is said to have come"
    assert warehouse.rows("select business_date, units_adjusted from marts.fct_daily_movements where kind = 'adjusted'") == [
        (shop.NOW.date(), -5)]


def test_what_a_transfer_over_several_shards_reserves_is_not_sold(warehouse):
    shard = history.Shard(0, random.Random(0), ["A"], ["BER", "NYC-1"])
    reservation = history.Reservation(shard.uuid(), "holdfast:transfer", "", shard.now, [])
    transfer = {"transfer_id": reservation.id, "transfer_from": "BER", "transfer_to": "NYC-1", "transfer_expected_at": shard.now,
                "transfer_quantity": 4, "transfer_in_transit": 4}
    departure = shard.now - datetime.timedelta(days=3)
    shard.command(None)
    shard.change("received", "A", "BER", moves={"on_hand": 10, "free": 10})
    shard.command(departure)
    shard.take("reserved", reservation, 0, "A", 4)
    shard.pay(reservation)
    shard.command(departure)
    allocation, reservation.state = reservation.allocations[0], "shipped"
    shard.change("transferred_out", "A", "BER", None, {"on_hand": -4, "committed": -4}, reservation, allocation, 4,
                 reservation_state="shipped", **transfer)
    shard.change("transferred_out", "A", "NYC-1", moves={"in_transit": 4}, **transfer)
    shard.commit_entry()
    supply(warehouse, [shard])
    assert bad(warehouse.build()) == set()
    found = warehouse.rows("select business_date, sum(units_reserved), sum(units_sold), sum(units_shipped), sum(units_transferred) "
                           "from marts.fct_daily_movements group by all order by all")
    assert found == [(departure.date(), 0, 0, 0, -4), (shard.now.date(), 0, 0, 0, 0)]


@pytest.mark.parametrize("order", ["newest first", "shuffled"])
def test_the_order_of_booking_changes_no_business_day(warehouse, order):
    sales, deliveries = shop.december(seed=2)
    if order == "newest first":
        listed = sorted(sales, key=lambda sale: sale.placed, reverse=True)
    else:
        listed = random.Random(order).sample(sales, len(sales))
    shard = shop.booked(listed, deliveries)
    archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows([shard]))
    for piece in archive.whole_entries(shard.changes, 80):
        archive.write_changes(warehouse.changes, piece)
        assert bad(warehouse.dbt("run", "--select", *BUSINESS_DAYS, business_time_zone=shop.ZONE)) == set()
    in_order = shop.booked(sorted(sales, key=lambda sale: sale.placed), deliveries)
    assert warehouse.rows(days.STOCK_BUSINESS_DAILY) == days.stock_business_daily(in_order.changes, shop.ZONE)


def test_late_movements_in_every_order_give_what_building_at_once_gives(warehouse):
    """Each SKU has movements on four days, booked in each possible order with repetitions, one a run."""
    runs = list(range(4))
    orders = {f"SKU-{''.join(map(str, order))}": order for order in itertools.product(runs, repeat=len(runs))}
    shard = history.Shard(0, random.Random(0), list(orders), ["BER"])
    for run in runs:
        for at, (sku, order) in enumerate(orders.items()):
            shard.command(history.START - datetime.timedelta(days=10 - 3 * order[run], minutes=at))
            units = 10 ** run
            shard.change("received", sku, "BER", moves={"on_hand": units, "free": units})
        shard.commit_entry()
        shard.now += datetime.timedelta(hours=1)
    pieces = archive.whole_entries(shard.changes, len(orders))
    assert len(pieces) == len(runs)
    archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows([shard]))
    for run, piece in enumerate(pieces, 1):
        archive.write_changes(warehouse.changes, piece)
        assert bad(warehouse.dbt("run", "--select", *BUSINESS_DAYS)) == set()
        assert warehouse.rows(days.STOCK_BUSINESS_DAILY) == days.stock_business_daily(shard.changes[:run * len(orders)], "UTC")
    tables = ["intermediate.int_stock_business_days", "marts.fct_daily_movements", "marts.stock_business_daily"]
    in_parts = {table: warehouse.table(table) for table in tables}
    assert bad(warehouse.dbt("run", "--full-refresh", "--select", *BUSINESS_DAYS)) == set()
    assert {table: warehouse.table(table) for table in tables} == in_parts


def test_an_order_that_is_tried_again_was_reserved_when_its_last_attempt_happened(warehouse):
    """This holds even if the last attempt gives an earlier business time than the first, and comes in a later run."""
    shard = history.Shard(0, random.Random(0), ["A"], ["BER"])
    first, last = history.START - datetime.timedelta(days=1), history.START - datetime.timedelta(days=9)
    shard.command(first)
    shard.change("received", "A", "BER", moves={"on_hand": 10, "free": 10})
    order = shard.uuid()
    for occurred_at in (first, last):
        shard.command(occurred_at)
        part = history.Reservation(order, "web", "order#1", history.START, [], "prepared", home=0)
        shard.take("prepared", part, 0, "A", 4)
        shard.commit_entry()
        shard.command(occurred_at)
        if occurred_at == first:
            shard.give_back(part, "aborted")
        else:
            part.state = "held"
            shard.change("confirmed", reservation=part, reservation_state="held")
        shard.commit_entry()
    for piece in archive.whole_entries(shard.changes, 3):
        archive.write_changes(warehouse.changes, piece)
        assert bad(warehouse.dbt("run", "--select", "+fct_reservations")) == set()
    assert warehouse.rows("select reserved_happened_at, reserved_on, granted, held from marts.fct_reservations") == [
        (days.naive(last), last.date(), 4, 4)]


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Apia"])
def test_another_business_time_zone_has_other_days(warehouse, zone):
    shards = history.generate(seed=6, entries=80, shards=2)
    supply(warehouse, shards, about=60)
    assert bad(warehouse.build(business_time_zone=zone)) == set()
    changes = all_changes(shards)
    assert warehouse.rows(days.STOCK_BUSINESS_DAILY) == days.stock_business_daily(changes, zone)
    assert warehouse.rows(days.STOCK_BUSINESS_DAILY) != days.stock_business_daily(changes, "UTC")
    reserved = {reservation.id: days.business_day(reservation.reserved, zone)
                for shard in shards for reservation in shard.reservations.values() if reservation.home is None}
    found = dict(warehouse.rows("select reservation_id, reserved_on from marts.fct_reservations where home is null"))
    assert found and all(reserved[reservation] == day for reservation, day in found.items())


def clock_changes(zone):
    """The full hours from 1987 to 2025 at which a zone changed its clock."""
    hours = [history.utc("1987-01-01") + datetime.timedelta(hours=hour) for hour in range(38 * 8766)]
    offsets = [hour.astimezone(pytz.timezone(zone)).utcoffset() for hour in hours]
    return [hour for hour, before, after in zip(hours[1:], offsets, offsets[1:]) if before != after]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia"])
def test_a_business_day_begins_and_ends_at_the_zones_own_midnight(warehouse, zone):
    """The movements are around every change of the zone's clock in forty years. Some changes are at midnight, and
    Apia left out a whole day."""
    shard = history.Shard(0, random.Random(0), ["A"], ["BER"])
    moments = [changed + datetime.timedelta(hours=hours, milliseconds=ms)
               for changed in clock_changes(zone) for hours in range(-26, 27) for ms in (-1, 0)]
    assert len(moments) > 1000
    for moment in moments:
        shard.command(moment)
        shard.change("supply_expected", "A", "BER", supply_id="po", supply_quantity=1, supply_expected_at=shard.now)
        shard.commit_entry()
    supply(warehouse, [shard])
    assert bad(warehouse.dbt("run", "--select", "stg_changes", business_time_zone=zone)) == set()
    found = warehouse.rows("select happened_at, business_date from staging.stg_changes order by seq")
    assert found == [(days.naive(moment), days.business_day(moment, zone)) for moment in moments]


def test_a_zone_that_does_not_exist_stops_before_anything_is_built(warehouse):
    supply(warehouse, history.generate(seed=6, entries=5, shards=1))
    with pytest.raises(Exception, match="business_time_zone is 'Europe/Atlantis', which is no time zone"):
        warehouse.dbt("run", business_time_zone="Europe/Atlantis")
    assert warehouse.rows("select count(*) from information_schema.tables where table_schema = 'staging'") == [(0,)]


def test_files_of_before_business_time_are_followed_by_files_with_it(warehouse):
    shards = history.generate(seed=8, entries=90, shards=2)
    archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows(shards))
    changes = []
    for part, schema in (("older", archive.SCHEMA_BEFORE_BUSINESS_TIME), ("newer", archive.SCHEMA)):
        for shard in shards:
            pieces = archive.whole_entries(shard.changes, 50)
            for piece in pieces[:2] if part == "older" else pieces[2:]:
                archive.write_changes(warehouse.changes, piece, schema)
                changes += [change | {"occurred_at": None} if part == "older" else change for change in piece]
        assert bad(warehouse.dbt("run")) == set()
        assert warehouse.rows(days.STOCK_BUSINESS_DAILY) == days.stock_business_daily(changes, "UTC")
        told = warehouse.rows("select shard, seq, occurred_at from staging.stg_changes where occurred_at is not null order by all")
        assert told == sorted((change["shard"], change["seq"], days.naive(change["occurred_at"])) for change in changes if change["occurred_at"])
        assert bool(told) == (part == "newer")
    assert bad(warehouse.dbt("test")) == set()
    in_parts = {table: warehouse.table(table) for table in TABLES}
    assert bad(warehouse.build("--full-refresh")) == set()
    assert {table: warehouse.table(table) for table in TABLES} == in_parts


def test_the_same_change_in_a_file_with_and_without_the_column_counts_once(warehouse):
    shards = history.generate(seed=9, entries=30, shards=1, told=False)
    supply(warehouse, shards)
    archive.write_changes(warehouse.changes, shards[0].changes[:-1], archive.SCHEMA_BEFORE_BUSINESS_TIME)
    assert bad(warehouse.build()) == set()
    assert warehouse.rows("select count(*) from staging.stg_changes") == [(len(shards[0].changes),)]
