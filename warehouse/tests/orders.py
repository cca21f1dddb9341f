"""Orders over several shards, in a generated history: one shard, the home, decides, and the others hear of it later."""

import datetime
import uuid
from dataclasses import dataclass, field

UNDECIDED = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass
class Order:
    """An order, and what each of its shards knows of it."""

    id: str
    home: int
    storefront: str
    lines: dict
    """The number, SKU and units of each line, by shard. A home without units has no lines."""
    parts: dict = field(default_factory=dict)
    refused: set = field(default_factory=set)
    decisions: list = field(default_factory=list)
    """Kinds of the home's decisions, with the end of the hold and their business time."""
    heard: dict = field(default_factory=dict)
    """The number of decisions that each other shard has heard of."""
    occurred_at: datetime.datetime | None = None
    """Business time of the present attempt, as its Reserve said it."""

    def last(self):
        return self.decisions[-1][0] if self.decisions else None

    def is_asked(self, shard):
        return shard in self.parts or shard in self.refused


class Orders:
    """All orders; each shard is visited once in each of its log entries."""

    def __init__(self, shards, random_source, reservation, torn):
        self.random = random_source
        self.reservation = reservation
        self.shards = shards
        self.torn = torn
        self.orders = []

    def visit(self, shard):
        if len(self.shards) > 1 and self.random.random() < 0.2:
            self.begin(shard)
        for order in self.orders:
            if shard.shard not in order.lines or self.random.random() < 0.4:
                continue
            if not order.is_asked(shard.shard) and not order.decisions:
                self.prepare(order, shard)
            elif shard.shard == order.home:
                self.decide(order, shard)
            else:
                self.follow(order, shard)
        self.orders = [order for order in self.orders if not self.is_over(order)]

    def begin(self, home):
        others = [shard for shard in self.shards if shard is not home]
        chosen = [home, *self.random.sample(others, self.random.randint(1, len(others)))]
        lines, number = {}, 0
        for shard in chosen:
            count = self.random.randint(0 if shard is home else 1, 2)
            lines[shard.shard] = [(number + at, sku, self.random.randint(1, 4)) for at, sku in enumerate(self.random.sample(shard.skus, count))]
            number += count
        identifier = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        order = Order(identifier, home.shard, self.random.choice(["web", "app"]), lines)
        self.orders.append(order)
        order.occurred_at = self.business_time(home)
        self.prepare(order, home)

    def business_time(self, home):
        """A business time that is not ahead of the log time of any shard, because each shard must accept it."""
        told = home.business_time()
        return told and min(told, *(shard.now for shard in self.shards))

    def prepare(self, order, shard):
        """Prepares all lines or none. An attempt that another shard refused already is not prepared any more."""
        lines = order.lines[shard.shard]
        sellable = lambda sku: sum(cell.free + cell.pools[order.storefront] for (of, _), cell in list(shard.cells.items()) if of == sku)
        if order.refused or any(sellable(sku) < units for _, sku, units in lines):
            order.refused.add(shard.shard)
            return
        shard.command(order.occurred_at)
        part = self.reservation(order.id, order.storefront, f"order#{order.id[:8]}", UNDECIDED, [], "prepared",
                                reserved=shard.happened_at(), home=order.home)
        for number, sku, units in lines:
            shard.take("prepared", part, number, sku, units)
        order.parts[shard.shard] = part
        order.heard[shard.shard] = 0
        if lines:
            shard.reservations[order.id] = part

    def decide(self, order, home):
        last, part = order.last(), order.parts.get(order.home)
        ends = order.decisions[-1][1] if order.decisions else UNDECIDED
        if last is None:
            if not order.refused and len(order.parts) == len(order.lines):
                ends = home.now + datetime.timedelta(seconds=self.random.choice([60, 20_000, 900_000]))
                kind = "confirmed"
            elif order.refused or self.random.random() < 0.05:
                kind = "aborted"
            else:
                return
        elif last in ("confirmed", "extended"):
            if ends <= home.now:
                kind = "expired"
            else:
                kind = self.random.choice([None, None, "extended", "committed", "committed", "released"])
            if kind == "extended":
                ends += datetime.timedelta(hours=3)
        elif last == "aborted" and not order.parts and self.random.random() < 0.5:
            order.refused, order.decisions, order.heard = set(), [], {}
            order.occurred_at = self.business_time(home)
            self.prepare(order, home)
            return
        else:
            return
        if kind:
            occurred_at = order.occurred_at if kind in ("confirmed", "aborted") else self.business_time(home)
            order.decisions.append((kind, ends, occurred_at))
            if part:
                self.carry_out(order, home, part, *order.decisions[-1])

    def follow(self, order, shard):
        """The shard hears of one of the decisions that it does not know; those before it, it missed."""
        part = order.parts.get(shard.shard)
        known = order.heard.get(shard.shard, 0)
        if not part or known == len(order.decisions):
            return
        heard = self.random.randint(known, len(order.decisions) - 1)
        kind, ends, occurred_at = order.decisions[heard]
        if kind == "extended" and part.state == "prepared":
            kind = "confirmed"
        order.heard[shard.shard] = heard + 1
        if kind == "committed" and order.lines[order.home] and self.torn:
            kind, self.torn = self.torn, None
        self.carry_out(order, shard, part, kind, ends, occurred_at)

    def carry_out(self, order, shard, part, kind, ends, occurred_at):
        shard.command(occurred_at)
        if kind != "aborted":
            part.expires_at = ends
        if kind in ("confirmed", "extended"):
            part.state = "held"
            shard.change(kind, reservation=part, reservation_state="held")
        elif not part.allocations:
            part.state = "released" if kind == "aborted" else kind
            shard.change(kind, reservation=part, cause=kind != "expired", reservation_state=part.state)
        elif kind == "committed":
            shard.pay(part)
        else:
            shard.give_back(part, kind)
        if kind == "aborted":
            # It came to nothing here, and may be tried again.
            shard.reservations.pop(order.id, None)
            del order.parts[shard.shard]

    def is_over(self, order):
        """True if nothing more will be decided, and all shards have heard everything."""
        settled = all(order.heard[shard] == len(order.decisions) for shard in order.parts if shard != order.home)
        if order.last() == "aborted":
            return settled and not order.parts and self.random.random() < 0.1
        return settled and order.last() in ("committed", "released", "expired")
