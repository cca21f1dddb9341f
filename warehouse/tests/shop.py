"""A shop's own records of one month. They are booked into the ledger years later, in any order."""

import datetime
import random
from collections import Counter
from dataclasses import dataclass

import pytz

import history

ZONE = "Europe/London"
SKUS = ["85123A", "84029/E", "POST"]
NOW = datetime.datetime(2026, 11, 20, 9, 0, tzinfo=datetime.UTC)


@dataclass
class Sale:
    """An order of the shop: when it was placed and when its goods left, by the clock on the shop's wall."""

    number: int
    storefront: str
    sku: str
    units: int
    placed: datetime.datetime
    shipped: datetime.datetime


@dataclass
class Delivery:
    """Goods from a supplier, by the same clock."""

    sku: str
    units: int
    arrived: datetime.datetime


def december(sales=60, seed=1):
    """December 2010: sales at all hours, some in the minutes around midnight, and two deliveries of each SKU.
    The first one is said to have come on the 6th, days after the first sales."""
    draw = random.Random(seed)
    made = []
    for number in range(sales):
        day = datetime.datetime(2010, 12, draw.randint(1, 23))
        placed = day + datetime.timedelta(minutes=draw.choice([0, 1, 1439, draw.randrange(1440)]))
        shipped = placed + datetime.timedelta(hours=draw.choice([2, 30, 70]))
        made.append(Sale(number, draw.choice(history.STOREFRONTS), draw.choice(SKUS), draw.randint(1, 9), placed, shipped))
    deliveries = [Delivery(sku, units, datetime.datetime(2010, 12, day, 8)) for sku in SKUS for day, units in ((6, 200), (20, 150))]
    return made, deliveries


def units_by_day(records, day_of):
    """Units of each day, SKU and storefront, from the shop's records alone; a delivery has no storefront."""
    units = Counter()
    for record in records:
        units[day_of(record).date(), record.sku, getattr(record, "storefront", None)] += record.units
    return units


def utc(wall_clock):
    return pytz.timezone(ZONE).localize(wall_clock).astimezone(datetime.UTC)


def booked(sales, deliveries):
    """One shard into which everything was booked today, within an hour: the deliveries, then the sales in the order of the
    list. The last entry corrects the stock of one SKU and gives no business time."""
    shard = history.Shard(0, random.Random(0), SKUS, ["LDN-1"])
    shard.now = NOW

    def entry(*commands):
        for occurred_at, act, *arguments in commands:
            shard.command(occurred_at and utc(occurred_at))
            act(*arguments)
        shard.commit_entry()
        shard.now += datetime.timedelta(seconds=1)

    def receive(delivery):
        shard.change("received", delivery.sku, "LDN-1", moves={"on_hand": delivery.units, "free": delivery.units})

    def reserve(sale, reservation):
        shard.take("reserved", reservation, 0, sale.sku, sale.units)

    def ship(reservation):
        allocation = reservation.allocations[0]
        units, allocation.committed, allocation.shipped = allocation.committed, 0, allocation.committed
        reservation.state = "shipped"
        shard.change("shipped", allocation.sku, "LDN-1", None, {"on_hand": -units, "committed": -units}, reservation,
                     allocation, units, reservation_state="shipped")

    for delivery in deliveries:
        entry((delivery.arrived, receive, delivery))
    for sale in sales:
        reservation = history.Reservation(shard.uuid(), sale.storefront, f"order-{sale.number}", NOW + datetime.timedelta(days=1), [],
                                          reserved=utc(sale.placed))
        shard.reservations[reservation.id] = reservation
        entry((sale.placed, reserve, sale, reservation), (sale.placed, shard.pay, reservation), (sale.shipped, ship, reservation))
    entry((None, shard.take_away, "adjusted", "POST", "LDN-1", 5))
    return shard
