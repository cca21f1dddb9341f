"""The marts say what the generator knows, and building in parts gives what building at once gives."""

import collections
import datetime
import json
import random
import re

import archive
import history
from conftest import MODELS, PROJECT, Warehouse, bad

BALANCES = ", ".join(history.BUCKETS)
TABLES = [f"{schema}.{model}" for model, schema in MODELS.items() if model != "load_status"]
"""All tables but load_status, which says when and from which file a shard was loaded."""


def naive(moment):
    return moment and moment.replace(tzinfo=None)


def whole(shards):
    """The states of the parts of each reservation."""
    states = collections.defaultdict(set)
    for shard in shards:
        for reservation in shard.reservations.values():
            if reservation.allocations:
                states[reservation.id].add(reservation.state)
    return states


def state_of_whole(states):
    """The state of an order. A paid order is as far as its slowest part. Before that, its home is ahead and the others follow."""
    paid = states & {"committed", "shipped", "returned", "cancelled"}
    if paid:
        behind = states & {"prepared", "held", "committed"}
        return "committed" if behind else next(state for state in ("shipped", "returned", "cancelled") if state in paid)
    return next(state for state in ("expired", "released", "held", "prepared") if state in states)


def test_the_generated_history_has_every_kind_and_every_hard_case(shards):
    changes = [change for shard in shards for change in shard.changes]
    assert {change["kind"] for change in changes} == {
        "reserved", "extended", "committed", "released", "expired", "shipped", "cancelled", "returned", "received", "adjusted",
        "counted", "bucket_moved", "policy_set", "pool_allocated", "prepared", "confirmed", "aborted",
        "transferred_out", "transferred_in", "transfer_closed", "supply_expected"}
    assert any(change["deficit_delta"] > 0 for change in changes) and any(change["deficit_delta"] < 0 for change in changes)
    assert any(change["backordered_delta"] > 0 for change in changes) and any(change["backordered_delta"] < 0 for change in changes)
    assert any(change["kind"] == "received" and change["supply_id"] for change in changes)
    assert any(change["pool_delta"] and change["free_delta"] for change in changes)
    assert len({change["log_time"].date() for change in changes}) > 3
    parts = [r for shard in shards for r in shard.reservations.values() if r.home is not None]
    assert any(part.state == "prepared" for part in parts), "an order that nobody has decided yet"
    assert any(change["kind"] == "committed" and change["sku"] is None for change in changes), "a home without units"
    assert any(len(states) > 1 and states & {"prepared", "held"} for states in whole(shards).values()), "a part that has not heard yet"
    tried = {(change["reservation_id"], change["log_index"], change["shard"]) for change in changes if change["kind"] == "prepared"}
    attempts = collections.Counter((reservation, shard) for reservation, _, shard in tried)
    assert any(count > 1 for count in attempts.values()), "an order that was tried again"
    lines = [a for shard in shards for r in shard.reservations.values() for a in r.allocations]
    assert any(a.shipped and a.committed for a in lines) and any(a.cancelled and a.shipped for a in lines)
    assert any(stockout[3] is None for shard in shards for stockout in shard.stockouts)
    told = [change for change in changes if change["occurred_at"]]
    assert any(change["occurred_at"] > change["log_time"] for change in told) and any(change["occurred_at"] == edge for change in told for edge in history.EDGES)
    assert any(change["occurred_at"] is None for change in changes if change["operation_id"])
    assert not any(change["occurred_at"] for change in changes if change["kind"] == "expired")
    alone = collections.Counter((change["kind"], history.is_balanced(change)) for change in changes)
    assert all(alone[kind, False] for kind in ("released", "reserved", "received", "counted")), "changes that keep the equation only together"


def test_stock_current_is_the_stock_that_the_history_left(built, shards):
    expected = sorted((sku, warehouse, *cell.balances(), cell.sellable())
                      for shard in shards for (sku, warehouse), cell in shard.cells.items() if (sku, warehouse) in shard.sellable)
    assert built.rows(f"select sku, warehouse, {BALANCES}, sellable from marts.stock_current order by sku, warehouse") == expected


def test_stock_daily_has_the_closing_balances_of_the_days_with_movement_and_stock_each_day_of_all(built, shards):
    last_day = max(day for shard in shards for (_, _, day) in shard.days)
    moved, each = [], []
    for shard in shards:
        for sku, warehouse in shard.sellable:
            days = {day: balances for (s, w, day), balances in shard.days.items() if (s, w) == (sku, warehouse)}
            following = dict(zip(sorted(days), [*sorted(days)[1:], None]))
            moved += [(sku, warehouse, day, following[day], *balances) for day, balances in days.items()]
            day, balances = min(days), None
            while day <= last_day:
                balances = days.get(day, balances)
                each.append((sku, warehouse, day, *balances))
                day += datetime.timedelta(days=1)
    assert built.rows(f"select sku, warehouse, stock_date, next_date, {BALANCES} from marts.stock_daily order by 1, 2, 3") == sorted(moved, key=lambda row: row[:3])
    assert built.rows(f"select sku, warehouse, stock_date, {BALANCES} from marts.stock_each_day order by 1, 2, 3") == sorted(each)


def test_a_day_without_movement_has_no_row_in_stock_daily_and_one_in_stock_each_day(tmp_path):
    shard = history.Shard(0, random.Random(0), ["A", "B"], ["BER"])
    for sku, day in (("A", 0), ("B", 0), ("A", 5)):
        shard.now = history.START + datetime.timedelta(days=day)
        shard.change("received", sku, "BER", moves={"on_hand": 3, "free": 3})
        shard.commit_entry()
    warehouse = Warehouse(tmp_path)
    archive.write_history(warehouse.changes, [shard])
    archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows([shard]))
    assert bad(warehouse.build()) == set()
    first = history.START.date()
    last = first + datetime.timedelta(days=5)
    assert warehouse.rows("select sku, stock_date, next_date, free from marts.stock_daily order by all") == [
        ("A", first, last, 3), ("A", last, None, 6), ("B", first, None, 3)]
    assert warehouse.rows("select sku, count(*), sum(free) from marts.stock_each_day group by sku order by sku") == [("A", 6, 21), ("B", 6, 18)]


def test_stockouts_are_the_times_with_nothing_sellable(built, shards):
    expected = sorted((*key, naive(started), started_seq, naive(ended), ended_seq)
                      for shard in shards for key, started, started_seq, ended, ended_seq in shard.stockouts)
    found = built.rows("select sku, warehouse, started_at, started_seq, ended_at, ended_seq from marts.stockouts")
    assert sorted(found) == expected
    durations = built.rows("select started_at, ended_at, duration_ms from marts.stockouts where ended_at is not null")
    assert durations and all((ended - started) / datetime.timedelta(milliseconds=1) == ms for started, ended, ms in durations)


def test_each_reservation_line_says_where_its_units_are(built, shards):
    places = ["held", "committed", "shipped", "released", "expired", "cancelled", "returned"]
    states = {reservation: state_of_whole(parts) for reservation, parts in whole(shards).items()}
    ends, reserved, committed = (collections.defaultdict(list) for _ in range(3))
    expected = {}
    for shard in shards:
        for reservation in shard.reservations.values():
            if reservation.state != "prepared" and reservation.allocations:
                ends[reservation.id].append(naive(reservation.expires_at))
            if reservation.allocations:
                reserved[reservation.id].append(naive(reservation.reserved))
            if reservation.committed:
                committed[reservation.id].append(naive(reservation.committed))
    for shard in shards:
        for reservation in shard.reservations.values():
            if states.get(reservation.id) in (None, "prepared"):
                continue
            for allocation in reservation.allocations:
                line = expected.setdefault((reservation.id, allocation.line), {
                    "shard": shard.shard, "home": reservation.home,
                    "sku": allocation.sku, "storefront": reservation.storefront, "reference": reservation.reference,
                    "state": states[reservation.id], "expires_at": max(ends[reservation.id]),
                    "reserved_happened_at": min(reserved[reservation.id]), "committed_happened_at": min(committed[reservation.id], default=None),
                    "requested": allocation.requested, "warehouses": 0, "granted": 0, **dict.fromkeys(places, 0)})
                line["warehouses"] += 1
                line["granted"] += allocation.granted()
                for place in places:
                    line[place] += getattr(allocation, place)
    columns = list(next(iter(expected.values())))
    found = built.rows(f"select reservation_id, line, {', '.join(columns)} from marts.fct_reservations")
    assert {(row[0], row[1]): dict(zip(columns, row[2:])) for row in found} == expected


def test_each_transfer_says_where_its_units_are(built, shards):
    expected = sorted((transfer, sku, told["transfer_from"], told["transfer_to"], told["sent"], told["received"],
                       told["written_off"], told["sent"] - told["received"] - told["written_off"])
                      for shard in shards for (transfer, sku), told in shard.transfers.items())
    found = built.rows("select transfer_id, sku, from_warehouse, to_warehouse, sent, received, written_off, in_transit from marts.fct_transfers")
    assert sorted(found) == expected and any(row[-1] for row in expected)


def test_supplies_are_what_is_still_to_come(built, shards):
    expected = sorted((*key, quantity, naive(expected_at))
                      for shard in shards for key, (quantity, expected_at) in shard.supplies.items())
    found = built.rows("select sku, warehouse, supply_id, quantity, expected_at from marts.supply_current")
    assert sorted(found) == expected and expected


def test_an_order_over_several_shards_is_one_reservation(built, shards):
    decided = {reservation for reservation, states in whole(shards).items() if states != {"prepared"}}
    assert built.rows("select count(distinct reservation_id) from marts.fct_reservations") == [(len(decided),)]
    over_several = "select reservation_id from marts.fct_reservations group by reservation_id having count(distinct shard) > 1"
    for column in ("state", "home", "storefront", "reference", "reserved_at"):
        assert built.rows(f"select max(n) from (select count(distinct {column}) as n from marts.fct_reservations where reservation_id in ({over_several}) group by reservation_id)") == [(1,)]


def test_every_change_that_moved_stock_is_a_movement_and_no_other(built, shards):
    expected = sorted((shard.shard, change["seq"], naive(change["log_time"]), change["kind"])
                      for shard in shards for change in shard.changes if any(change[f"{b}_delta"] for b in history.BUCKETS))
    assert built.rows("select shard, seq, log_time, kind from marts.fct_stock_movements order by shard, seq") == expected


def test_skus_and_warehouses_are_listed_once(built, shards):
    assert built.rows("select sku, warehouses from marts.dim_sku order by sku") == sorted(
        (sku, len([w for s, w in shard.sellable if s == sku])) for shard in shards for sku in {s for s, _ in shard.sellable})
    assert built.rows("select warehouse from marts.dim_warehouse order by warehouse") == [("BER",), ("NYC-1",)]


def test_every_column_is_described_and_every_described_column_exists(built):
    manifest = json.loads((built.folder / "duckdb" / "manifest.json").read_text())
    for node in manifest["nodes"].values():
        if node["resource_type"] != "model":
            continue
        found = {row[0] for row in built.rows(
            f"select column_name from information_schema.columns where table_schema = '{node['schema']}' and table_name = '{node['name']}'")}
        described = {name for name, column in node["columns"].items() if column["description"].strip()}
        assert node["description"] and described == found, node["name"]


def test_the_page_has_every_mart():
    page = (PROJECT / "README.md").read_text()
    table = page[page.index("| mart |"):].split("\n\n", 1)[0]
    listed = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(listed) == sorted(model for model, schema in MODELS.items() if schema == "marts")


def test_building_in_parts_gives_the_same_as_building_at_once(built, shards, tmp_path):
    at_once = {table: built.table(table) for table in TABLES}
    warehouse = Warehouse(built.folder)
    warehouse.clear()
    pieces = [archive.whole_entries(shard.changes, 97) for shard in shards]
    # The shards do not advance together, one starts late, and a run without anything new comes in between.
    for cut in [(3, 2, 0), (3, 2, 0), (4, 6, 1), (99, 99, 99)]:
        for rows, files in zip(pieces, cut):
            for piece in rows[:files]:
                archive.write_changes(warehouse.changes, piece)
        archive.write_ledger_stock(warehouse.ledger_stock, archive.ledger_rows(shards))
        assert bad(warehouse.dbt("run")) == set()
    assert bad(warehouse.dbt("test", "--select", "test_type:singular")) == set()
    for table in TABLES:
        assert warehouse.table(table) == at_once[table], table
