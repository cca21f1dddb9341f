#!/usr/bin/env python3
"""Reads what a storefront can sell from the view in Redis, in one round trip, and says how old that is.

  python product_page.py SHIRT-1 [MUG-2 ...] [--storefront web] [--max-age-ms 2500]

docs/redis.md is the contract. The address is in HOLDFAST_REDIS_URL.
"""

import argparse
import os
import time
import zlib
from dataclasses import dataclass

import redis

# How long the answer which generation is live may be kept, in seconds.
LIVE_SECONDS = 1.0


class NoView(Exception):
    """Redis has no view at the moment. Show no number."""


@dataclass
class Page:
    # What the storefront can sell, over all warehouses. None when the ledger does not know the SKU.
    units: int | None
    # The time since the view had everything that the cluster had, in milliseconds.
    age_ms: int


def shard_of(sku, shards):
    """Returns the shard of a SKU: the one that owns its slot."""
    slot = zlib.crc32(sku.encode()) % 4096
    return ((slot + 1) * shards - 1) // 4096


class View:
    """The view of one prefix."""

    def __init__(self, connection, prefix="holdfast"):
        self.connection, self.prefix = connection, prefix
        self.live, self.read_at = None, 0.0

    def read_live(self, again=False):
        """Returns the live generation and the number of shards."""
        if again or self.live is None or time.monotonic() - self.read_at > LIVE_SECONDS:
            read_at = time.monotonic()
            generation, shards = self.connection.hmget(f"{{{self.prefix}}}:live", "generation", "shards")
            if generation is None or shards is None:
                self.live = None
                raise NoView
            self.live, self.read_at = (int(generation), int(shards)), read_at
        return self.live

    def page(self, sku, storefront):
        """Reads one product page."""
        # The generation that was kept may have been removed since.
        for again in (False, True):
            generation, shards = self.read_live(again)
            of_shard = f"{self.prefix}:{generation}:{{{shard_of(sku, shards):04}}}:"
            # Both answers are of one moment.
            together = self.connection.pipeline(transaction=True)
            together.hmget(f"{of_shard}sku:{sku}", storefront, "*")
            together.hget(f"{of_shard}shard", "current_at_ms")
            (own, everybody), current_at_ms = together.execute()
            if current_at_ms is None:
                continue
            # A storefront without a number of its own has everybody's.
            units = everybody if own is None else own
            age_ms = max(0, time.time_ns() // 1_000_000 - int(current_at_ms))
            return Page(None if units is None else int(units), age_ms)
        raise NoView


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("skus", nargs="+", metavar="SKU")
    parser.add_argument("--storefront", default="web")
    parser.add_argument("--max-age-ms", type=int, default=2500, help="show no number that is older")
    parser.add_argument("--prefix", default="holdfast")
    arguments = parser.parse_args()
    url = os.environ.get("HOLDFAST_REDIS_URL", "redis://127.0.0.1:6379")
    view = View(redis.Redis.from_url(url, decode_responses=True), arguments.prefix)
    for sku in arguments.skus:
        try:
            page = view.page(sku, arguments.storefront)
        except NoView:
            print(f"{sku}: there is no view, so no number")
            continue
        if page.age_ms > arguments.max_age_ms:
            print(f"{sku}: the view is {page.age_ms} ms old, so no number")
        elif page.units is None:
            print(f"{sku}: unknown, {page.age_ms} ms old")
        else:
            print(f"{sku}: {page.units} to sell, {page.age_ms} ms old")


if __name__ == "__main__":
    main()
