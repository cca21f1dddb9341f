"""Histories to build the warehouse from: a small ledger of plain numbers that writes what it does as changes.

It follows the words of `proto/holdfast/v1`, shares nothing with the real ledger, and keeps for itself what the marts
must say at the end: stock, closing balances of each day, stockouts, and where each unit of each reservation line is.
A command may say when it happened in the business: minutes or months before it is in the log, or a little after.
Orders over several shards are in `orders.py`.
"""

import datetime
import random
import uuid
from collections import defaultdict
from dataclasses import dataclass, field

from orders import Orders

BUCKETS = ["on_hand", "free", "pool", "safety", "held", "committed", "damaged", "quality_hold", "deficit",
           "backordered", "in_transit"]
FIRST_BUCKETS = 9
"""How many of them have their columns right after the storefront; the others came later."""
START = datetime.datetime(2026, 3, 1, 20, 0, tzinfo=datetime.UTC)
STOREFRONTS = ["web", "app"]


def utc(text):
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


EDGES = [utc(text) for text in [
    # Times around the first and last moments of the days on which Berlin and New York change their clocks.
    "2025-03-29T22:59:59.999", "2025-03-29T23:00", "2025-03-30T00:59:59.999", "2025-03-30T01:00", "2025-03-30T21:59:59.999",
    "2025-03-30T22:00", "2025-10-25T21:59:59.999", "2025-10-25T22:00", "2025-10-26T00:30", "2025-10-26T01:30",
    "2025-10-26T22:59:59.999", "2025-10-26T23:00", "2025-11-02T03:59:59.999", "2025-11-02T04:00", "2025-11-02T05:30",
    "2025-11-02T06:30", "2025-11-03T04:59:59.999", "2025-11-03T05:00", "2025-12-31T23:59:59.999", "2026-01-01T00:00"]]
"""Moments at which a day ends or begins somewhere."""


@dataclass
class Cell:
    """Units of one SKU in one warehouse."""

    on_hand: int = 0
    free: int = 0
    safety: int = 0
    held: int = 0
    committed: int = 0
    damaged: int = 0
    quality_hold: int = 0
    deficit: int = 0
    backordered: int = 0
    in_transit: int = 0
    pools: dict = field(default_factory=lambda: defaultdict(int))

    @property
    def pool(self):
        return sum(self.pools.values())

    def balances(self):
        return tuple(getattr(self, bucket) for bucket in BUCKETS)

    def sellable(self):
        return self.free + self.pool


@dataclass
class Allocation:
    """Units of a reservation line from one warehouse, and where each is now."""

    line: int
    sku: str
    warehouse: str
    requested: int
    from_pool: int
    from_free: int
    from_backorder: int = 0
    held: int = 0
    committed: int = 0
    shipped: int = 0
    released: int = 0
    expired: int = 0
    cancelled: int = 0
    returned: int = 0

    def granted(self):
        return self.from_pool + self.from_free + self.from_backorder


@dataclass
class Reservation:
    """A reservation as it stands."""

    id: str
    storefront: str
    reference: str
    expires_at: datetime.datetime
    allocations: list
    state: str = "held"
    reserved: datetime.datetime | None = None
    """Business time of its Reserve."""
    committed: datetime.datetime | None = None
    """Business time of its Commit."""
    home: int | None = None
    """The shard that decides, if this is the part of an order over several shards."""


class Shard:
    """One shard: cells, reservations and the changes they made."""

    def __init__(self, shard, random_source, skus, warehouses, times=None):
        """`times` draws the business times that commands give. Without it no command gives one."""
        self.shard = shard
        self.random = random_source
        self.times = times
        self.skus = skus
        self.warehouses = warehouses
        self.cells = {}
        self.reservations = {}
        self.changes = []
        self.entry = []
        self.log_index = 3
        self.now = START
        self.days = {}
        self.sellable = {}
        self.stockouts = []
        self.transfers = {}
        self.supplies = {}
        self.operation_id = None
        self.occurred_at = None

    def command(self, *told):
        """Begins a command. Its changes have one operation and one business time, which is given here or drawn."""
        self.operation_id = self.uuid()
        self.occurred_at = told[0] if told else self.business_time()

    def business_time(self):
        """A business time: mostly none, otherwise earlier in the hour, days before, up to an hour ahead, or where a day ends."""
        if not self.times:
            return None
        draw = self.times.random()
        if draw < 0.4:
            return None
        if draw < 0.85:
            days = 0 if draw < 0.6 else self.times.randint(1, 20)
            return self.now - datetime.timedelta(days=days, milliseconds=self.times.randrange(3_600_000))
        if draw < 0.93:
            return self.now + datetime.timedelta(milliseconds=self.times.randint(0, 3_600_000))
        return self.times.choice(EDGES)

    def happened_at(self):
        return self.occurred_at or self.now

    def cell(self, sku, warehouse):
        return self.cells.setdefault((sku, warehouse), Cell())

    def change(self, kind, sku=None, warehouse=None, storefront=None, moves=None, reservation=None, allocation=None,
               quantity=None, cause=True, **rest):
        """Moves the units of one cell and records the change."""
        row = dict.fromkeys(COLUMNS)
        row.update(shard=self.shard, seq=len(self.changes) + len(self.entry) + 1, log_index=self.log_index,
                   log_time=self.now, kind=kind, sku=sku, warehouse=warehouse, storefront=storefront, **rest)
        for bucket in BUCKETS:
            row[f"{bucket}_delta"] = 0
        for bucket, delta in (moves or {}).items():
            if delta == 0:
                continue
            cell = self.cell(sku, warehouse)
            if bucket == "pool":
                cell.pools[storefront] += delta
                after = cell.pools[storefront]
            else:
                setattr(cell, bucket, getattr(cell, bucket) + delta)
                after = getattr(cell, bucket)
            assert after >= 0, (kind, bucket, after)
            row[f"{bucket}_delta"], row[f"{bucket}_after"] = delta, after
        if reservation:
            row.update(reservation_id=reservation.id, line=allocation.line if allocation else 0,
                       expires_at=reservation.expires_at, requested=allocation.requested if allocation else 0,
                       quantity=quantity or 0, storefront=reservation.storefront, reference=reservation.reference,
                       home=reservation.home)
        if cause:
            row.update(operation_id=self.operation_id, principal="anonymous", reason=rest.get("reason"),
                       occurred_at=self.occurred_at)
        self.entry.append((row, reservation))

    def commit_entry(self):
        """Ends the entry. Its changes get their numbers, and what the marts must say is brought up to date."""
        touched = []
        for offset, (row, reservation) in enumerate(self.entry):
            row.update(entry_changes=len(self.entry), entry_offset=offset)
            if reservation:
                row["reservation_state"] = row["reservation_state"] or reservation.state
            self.changes.append(row)
            if any(row[f"{bucket}_delta"] for bucket in BUCKETS):
                touched.append((row["sku"], row["warehouse"], row["seq"]))
        self.entry = []
        self.log_index += self.random.choice([1, 1, 1, 3])
        last_seq = {(sku, warehouse): seq for sku, warehouse, seq in touched}
        for key, seq in last_seq.items():
            cell = self.cells[key]
            terms = cell.free + cell.pool + cell.safety + cell.held + cell.committed + cell.damaged + cell.quality_hold
            assert cell.on_hand == terms - cell.deficit - cell.backordered, key
            self.days[(*key, self.now.date())] = cell.balances()
            before, after = self.sellable.get(key), cell.sellable()
            if after == 0 and before != 0:
                self.stockouts.append([key, self.now, seq, None, None])
            elif after > 0 and before == 0:
                opened = next(s for s in reversed(self.stockouts) if s[0] == key)
                opened[3:] = [self.now, seq]
            self.sellable[key] = after

    def uuid(self):
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def step(self, orders):
        """One log entry of one to three operations, and of steps of orders; expiry comes first, as in the ledger."""
        self.now += datetime.timedelta(milliseconds=self.random.choice([0, 1, 250, 60_000, 900_000, 4_000_000]))
        for reservation in list(self.reservations.values()):
            if reservation.state == "held" and reservation.home is None and reservation.expires_at <= self.now:
                self.give_back(reservation, "expired")
        for _ in range(self.random.choice([1, 1, 2, 3])):
            self.command()
            self.random.choice(OPERATIONS)(self)
        orders.visit(self)
        if self.entry:
            self.commit_entry()

    # Operations. Each picks what it needs and does nothing when there is none of it.

    def any_cell(self):
        return self.random.choice(self.skus), self.random.choice(self.warehouses)

    def any_reservation(self, *states):
        found = [r for r in self.reservations.values() if r.state in states and (r.home is None or r.state != "held")]
        return self.random.choice(found) if found else None

    def receive(self):
        sku, warehouse = self.any_cell()
        units = self.random.randint(1, 12)
        supply = {}
        expected = [key for key in self.supplies if key[:2] == (sku, warehouse)]
        if expected and self.random.random() < 0.7:
            quantity, expected_at = self.supplies[expected[0]]
            left = max(0, quantity - units)
            self.supplies[expected[0]] = (left, expected_at)
            if not left:
                del self.supplies[expected[0]]
            supply = {"supply_id": expected[0][2], "supply_quantity": left, "supply_expected_at": expected_at}
        self.change("received", sku, warehouse, moves={"on_hand": units, **self.sold(sku, warehouse, units)}, **supply)

    def sold(self, sku, warehouse, units):
        """The moves of units that become sellable: first into the deficit, then to backorders, the rest to free."""
        cell = self.cell(sku, warehouse)
        found = min(units, cell.deficit)
        arrived = min(units - found, cell.backordered)
        return {"deficit": -found, "backordered": -arrived, "free": units - found - arrived}

    def receive_what_was_counted(self):
        """An arrival that is booked after a count that had seen its goods: the count is put right in the same entry, and only
        both together keep the equation."""
        sku, warehouse = self.any_cell()
        units = self.random.randint(1, 40)
        self.change("received", sku, warehouse, moves={"on_hand": units})
        self.change("counted", sku, warehouse, moves={"on_hand": -units})

    def expect_supply(self):
        sku, warehouse = self.any_cell()
        supply_id = self.random.choice(["po-1", "po#2"])
        quantity = self.random.choice([0, 3, 8, 20])
        expected_at = self.now + datetime.timedelta(days=self.random.randint(-1, 5))
        if quantity:
            self.supplies[(sku, warehouse, supply_id)] = (quantity, expected_at)
        else:
            self.supplies.pop((sku, warehouse, supply_id), None)
        self.change("supply_expected", sku, warehouse, supply_id=supply_id, supply_quantity=quantity,
                    supply_expected_at=expected_at)

    def transfer_out(self):
        source, target = self.random.sample(self.warehouses, 2)
        skus = [sku for sku in self.skus if self.cell(sku, source).free]
        if not skus:
            return
        transfer = {"transfer_id": self.uuid(), "transfer_from": source, "transfer_to": target,
                    "transfer_expected_at": self.now + datetime.timedelta(days=2)}
        for sku in self.random.sample(skus, self.random.randint(1, min(2, len(skus)))):
            units = self.random.randint(1, min(5, self.cell(sku, source).free))
            told = {**transfer, "transfer_quantity": units, "transfer_in_transit": units}
            self.change("transferred_out", sku, source, moves={"on_hand": -units, "free": -units}, **told)
            self.change("transferred_out", sku, target, moves={"in_transit": units}, **told)
            self.transfers[(transfer["transfer_id"], sku)] = {**transfer, "sent": units, "received": 0, "written_off": 0}

    def transfer_in(self):
        on_the_way = [(key, t) for key, t in self.transfers.items() if t["sent"] > t["received"] + t["written_off"]]
        if not on_the_way:
            return
        (_, sku), transfer = self.random.choice(on_the_way)
        left = transfer["sent"] - transfer["received"] - transfer["written_off"]
        lost = self.random.random() < 0.2
        units = left if lost else self.random.randint(1, left)
        transfer["written_off" if lost else "received"] += units
        target = transfer["transfer_to"]
        moves = {"in_transit": -units}
        if not lost:
            moves |= {"on_hand": units, **self.sold(sku, target, units)}
        told = {name: value for name, value in transfer.items() if name.startswith("transfer_")}
        self.change("transfer_closed" if lost else "transferred_in", sku, target, moves=moves,
                    transfer_quantity=units, transfer_in_transit=left - units, **told)

    def adjust(self):
        sku, warehouse = self.any_cell()
        cell = self.cell(sku, warehouse)
        self.take_away("adjusted", sku, warehouse, min(self.random.randint(1, 4), cell.sellable() + cell.safety))

    def take_away(self, kind, sku, warehouse, units, raises_deficit=0):
        """Corrects stock down: from free, then safety, then pools. Each pool is a change of its own."""
        cell = self.cell(sku, warehouse)
        free = min(units, cell.free)
        safety = min(units - free, cell.safety)
        first = free + safety + raises_deficit
        if first:
            moves = {"on_hand": -first, "free": -free, "safety": -safety, "deficit": raises_deficit}
            self.change(kind, sku, warehouse, moves=moves, reason="recount")
        units -= free + safety
        for storefront in sorted(cell.pools):
            pooled = min(units, cell.pools[storefront])
            if pooled:
                self.change(kind, sku, warehouse, storefront, {"on_hand": -pooled, "pool": -pooled}, reason="recount")
                units -= pooled

    def count(self):
        sku, warehouse = self.any_cell()
        cell = self.cell(sku, warehouse)
        lost = min(self.random.randint(0, 6), cell.on_hand - cell.damaged - cell.quality_hold)
        takeable = cell.sellable() + cell.safety
        if lost > 0:
            self.take_away("counted", sku, warehouse, min(lost, takeable), max(0, lost - takeable))

    def move_bucket(self):
        sku, warehouse = self.any_cell()
        source, target = self.random.sample(["free", "safety", "damaged", "quality_hold"], 2)
        cell = self.cell(sku, warehouse)
        units = min(self.random.randint(1, 3), getattr(cell, source))
        if units and not cell.deficit and not cell.backordered:
            self.change("bucket_moved", sku, warehouse, moves={source: -units, target: units})

    def set_policy(self):
        self.change("policy_set", self.random.choice(self.skus), storefront=self.random.choice(STOREFRONTS),
                    policy_may_borrow=self.random.random() < 0.5, policy_max_per_reservation=self.random.randint(0, 5),
                    policy_backorder_limit=self.random.randint(0, 9), policy_preorder_limit=0,
                    policy_preorder_until=datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC))

    def allocate_pool(self):
        sku, warehouse = self.any_cell()
        storefront = self.random.choice(STOREFRONTS)
        cell = self.cell(sku, warehouse)
        pool = cell.pools[storefront]
        delta = min(self.random.randint(0, 5) - pool, cell.free)
        if delta and not cell.backordered:
            self.change("pool_allocated", sku, warehouse, storefront, {"free": -delta, "pool": delta})

    def reserve(self):
        storefront = self.random.choice(STOREFRONTS)
        lifetime = datetime.timedelta(seconds=self.random.choice([60, 7200, 400_000]))
        reservation = Reservation(self.uuid(), storefront, f"order#{self.log_index}", self.now + lifetime, [],
                                  reserved=self.happened_at())
        for line, sku in enumerate(self.random.sample(self.skus, self.random.randint(1, 2))):
            self.take("reserved", reservation, line, sku, self.random.randint(1, 6))
        if reservation.allocations:
            self.reservations[reservation.id] = reservation

    def take(self, kind, reservation, line, sku, requested):
        """Takes as many units for a line as there are, from pool and free."""
        wanted = requested
        for warehouse in self.warehouses:
            cell = self.cell(sku, warehouse)
            pool = min(wanted, cell.pools[reservation.storefront])
            free = min(wanted - pool, cell.free)
            is_last = warehouse == self.warehouses[-1]
            beyond = wanted - pool - free if kind == "reserved" and is_last and self.random.random() < 0.2 else 0
            if pool + free + beyond:
                units = pool + free + beyond
                allocation = Allocation(line, sku, warehouse, requested, pool, free, beyond, held=units)
                reservation.allocations.append(allocation)
                self.change(kind, sku, warehouse, reservation.storefront,
                            {"pool": -pool, "free": -free, "held": units, "backordered": beyond}, reservation, allocation,
                            units, reservation_state=reservation.state, sourcing="preferred" if pool + free else "backordered")
                wanted -= units

    def extend(self):
        if reservation := self.any_reservation("held"):
            reservation.expires_at += datetime.timedelta(hours=3)
            self.change("extended", reservation=reservation)
            self.entry[-1][0]["reservation_state"] = "held"

    def commit(self):
        if reservation := self.any_reservation("held"):
            self.pay(reservation)

    def pay(self, reservation):
        reservation.state = "committed"
        reservation.committed = self.happened_at()
        for allocation in reservation.allocations:
            units, allocation.held, allocation.committed = allocation.held, 0, allocation.held
            self.change("committed", allocation.sku, allocation.warehouse, None,
                        {"held": -units, "committed": units}, reservation, allocation, units,
                        reservation_state="committed")

    def release(self):
        if reservation := self.any_reservation("held"):
            self.give_back(reservation, "released")

    def replace(self):
        """A reservation takes the place of another one of the same storefront: units that both want stay held, the rest goes
        back. What is released and what is reserved keep the equation only together."""
        old = self.any_reservation("held")
        if not old or old.home is not None:
            return
        new = Reservation(self.uuid(), old.storefront, f"order#{self.log_index}", old.expires_at, [], reserved=self.happened_at())
        old.state = "released"
        for allocation in old.allocations:
            units, allocation.held, allocation.released = allocation.held, 0, allocation.held
            kept = self.random.randint(1, units)
            sold = self.sold(allocation.sku, allocation.warehouse, units - kept)
            pool = min(sold["free"], allocation.from_pool)
            self.change("released", allocation.sku, allocation.warehouse, old.storefront,
                        {"held": -units, **sold, "pool": pool, "free": sold["free"] - pool}, old, allocation, units,
                        reservation_state="released")
            from_pool = min(kept, allocation.from_pool - pool)
            taken = Allocation(allocation.line, allocation.sku, allocation.warehouse, allocation.requested, from_pool,
                               kept - from_pool, held=kept)
            new.allocations.append(taken)
            self.change("reserved", taken.sku, taken.warehouse, new.storefront, {"held": kept}, new, taken, kept,
                        reservation_state="held", sourcing="preferred")
        self.reservations[new.id] = new

    def give_back(self, reservation, kind):
        reservation.state = "released" if kind == "aborted" else kind
        for allocation in reservation.allocations:
            units, allocation.held = allocation.held, 0
            setattr(allocation, reservation.state, units)
            self.sellable_again(kind, reservation, allocation, units, "held", units_of_pool=allocation.from_pool)

    def sellable_again(self, kind, reservation, allocation, units, bucket, units_of_pool):
        sold = self.sold(allocation.sku, allocation.warehouse, units)
        pool = min(sold["free"], units_of_pool)
        moves = {bucket: -units, **sold, "pool": pool, "free": sold["free"] - pool}
        self.change(kind, allocation.sku, allocation.warehouse, reservation.storefront, moves, reservation, allocation,
                    units, cause=kind != "expired", reservation_state=reservation.state)

    def ship(self):
        reservation = self.any_reservation("committed")
        if not reservation:
            return
        for allocation in self.random.sample(reservation.allocations, self.random.randint(1, len(reservation.allocations))):
            units = min(self.random.randint(1, 4), allocation.committed,
                        self.cell(allocation.sku, allocation.warehouse).on_hand)
            cell = self.cell(allocation.sku, allocation.warehouse)
            there = cell.held + cell.committed - cell.deficit - cell.backordered
            units = min(units, there)
            if not units:
                continue
            allocation.committed -= units
            allocation.shipped += units
            if not any(a.committed for a in reservation.allocations):
                reservation.state = "shipped"
            self.change("shipped", allocation.sku, allocation.warehouse, None,
                        {"on_hand": -units, "committed": -units}, reservation, allocation, units,
                        reservation_state=reservation.state)

    def cancel(self):
        reservation = self.any_reservation("committed")
        if not reservation:
            return
        allocation = self.random.choice(reservation.allocations)
        units = min(self.random.randint(1, 4), allocation.committed)
        if units:
            allocation.committed -= units
            allocation.cancelled += units
            if not any(a.committed for a in reservation.allocations):
                shipped = any(a.shipped for a in reservation.allocations)
                reservation.state = "shipped" if shipped else "cancelled"
            self.sellable_again("cancelled", reservation, allocation, units, "committed", units_of_pool=0)

    def take_back(self):
        """Brings shipped units back, or units that this ledger never sold."""
        reservation = self.any_reservation("shipped")
        if not reservation or self.random.random() < 0.2:
            sku, warehouse = self.any_cell()
            self.change("returned", sku, warehouse, moves={"on_hand": 1, "quality_hold": 1})
            return
        allocation = self.random.choice(reservation.allocations)
        units = min(2, allocation.shipped - allocation.returned)
        if units:
            allocation.returned += units
            if all(a.returned == a.shipped for a in reservation.allocations):
                reservation.state = "returned"
            self.change("returned", allocation.sku, allocation.warehouse, None,
                        {"on_hand": units, "damaged": units}, reservation, allocation, units,
                        reservation_state=reservation.state)


OPERATIONS = [Shard.receive] * 4 + [Shard.reserve] * 8 + [Shard.commit] * 4 + [Shard.ship] * 4 + [Shard.extend] * 2 + [
    Shard.adjust, Shard.count, Shard.move_bucket, Shard.set_policy, Shard.allocate_pool, Shard.allocate_pool,
    Shard.release, Shard.cancel, Shard.take_back, Shard.take_back, Shard.expect_supply, Shard.transfer_out, Shard.transfer_in,
    Shard.transfer_in, Shard.replace, Shard.receive_what_was_counted]

COLUMNS = (
    ["shard", "seq", "entry_changes", "entry_offset", "log_index", "log_time", "kind", "sku", "warehouse", "storefront"]
    + [f"{bucket}_{part}" for bucket in BUCKETS[:FIRST_BUCKETS] for part in ("delta", "after")]
    + ["reservation_id", "line", "reservation_state", "expires_at", "requested", "quantity", "policy_may_borrow",
       "policy_max_per_reservation", "operation_id", "principal", "reason", "reference", "home"]
    + [f"{bucket}_{part}" for bucket in BUCKETS[FIRST_BUCKETS:] for part in ("delta", "after")]
    + ["sourcing", "policy_backorder_limit", "policy_preorder_limit", "policy_preorder_until", "transfer_id", "transfer_from",
       "transfer_to", "transfer_expected_at", "transfer_quantity", "transfer_in_transit", "supply_id", "supply_quantity",
       "supply_expected_at", "occurred_at"])



def is_balanced(change):
    """Does the change keep the ledger's equation by itself?"""
    delta = {bucket: change[f"{bucket}_delta"] for bucket in BUCKETS}
    owed = delta["deficit"] + delta["backordered"]
    terms = sum(delta[bucket] for bucket in BUCKETS if bucket not in ("on_hand", "deficit", "backordered", "in_transit"))
    return delta["on_hand"] == terms - owed


def generate(seed=1, entries=400, shards=3, skus=5, warehouses=("BER", "NYC-1"), torn=None, told=True):
    """Shards with `entries` log entries each. One SKU is all digits, as many shops have them. With `torn` one shard takes
    the first paid order for what that says: a fault, in changes that are right otherwise. Commands say business times, unless
    `told` is false."""
    result = []
    for shard in range(shards):
        names = [f"{shard}{number:04}" if number % 2 else f"S{shard}-{number}/a" for number in range(skus)]
        times = random.Random(f"{seed}/{shard}/times") if told else None
        result.append(Shard(shard, random.Random(f"{seed}/{shard}"), names, list(warehouses), times))
    orders = Orders(result, random.Random(f"{seed}/orders"), Reservation, torn)
    for _ in range(entries):
        for one in result:
            one.step(orders)
    return result
