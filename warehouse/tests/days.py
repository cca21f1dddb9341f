"""Business days, added up in Python from the changes themselves, without the SQL of the marts."""

import datetime
from collections import defaultdict

import pytz

import history


def business_day(moment, zone):
    return moment.astimezone(pytz.timezone(zone)).date()


def naive(moment):
    return moment and moment.replace(tzinfo=None)


def happened_at(change):
    return change["occurred_at"] or change["log_time"]


def movements(changes):
    return [change for change in changes if any(change[f"{bucket}_delta"] for bucket in history.BUCKETS)]


def moved(changes, zone):
    """The number of changes and the delta of each bucket, for each cell and business day."""
    days = defaultdict(lambda: [0] * (1 + len(history.BUCKETS)))
    for change in movements(changes):
        day = days[change["sku"], change["warehouse"], business_day(happened_at(change), zone)]
        for at, units in enumerate([1, *(change[f"{bucket}_delta"] for bucket in history.BUCKETS)]):
            day[at] += units
    return days


def stock_business_daily(changes, zone):
    """Rows of SKU, warehouse, day, movements, deltas and balances, from each cell's first day to the last day
    of all cells."""
    days = moved(changes, zone)
    last = max(day for _, _, day in days)
    rows = []
    for sku, warehouse in {key[:2] for key in days}:
        day = min(at for s, w, at in days if (s, w) == (sku, warehouse))
        balances = [0] * len(history.BUCKETS)
        while day <= last:
            count, *deltas = days.get((sku, warehouse, day), [0] * (1 + len(balances)))
            balances = [held + delta for held, delta in zip(balances, deltas)]
            rows.append((sku, warehouse, day, count, *deltas, *balances))
            day += datetime.timedelta(days=1)
    return sorted(rows)


STOCK_BUSINESS_DAILY = "select sku, warehouse, business_date, movements, {}, {} from marts.stock_business_daily order by all".format(
    ", ".join(f"{bucket}_delta" for bucket in history.BUCKETS), ", ".join(history.BUCKETS))
"""The query that gets the same rows from the mart."""
