#!/usr/bin/env python3
"""Sends a thousand orders over the batch stream: goods arrive, are held, committed and shipped.

  python batch.py [--orders 1000]

One message carries many items, so this is much faster than one call for each order. Results come in the order
of completion, and name their item by its tag.
"""

import argparse
import time
from collections import Counter

import grpc
from cluster import NO_ANSWER, Cluster, Failure, Pauses, may_change, new_operation_id, reason_of, tell
from holdfast.v1 import common_pb2 as common
from holdfast.v1 import reservations_pb2 as reservations
from holdfast.v1 import stock_pb2 as stock
from holdfast.v1.reservations_pb2_grpc import ReservationsStub

SKUS = 50
WAREHOUSE, STOREFRONT = "LDN-1", "web"
# A message may have up to 1024 items.
ITEMS_IN_A_MESSAGE = 256
# How long one stream may take, and how long the items are tried in all, in seconds.
STREAM_SECONDS, DEADLINE = 10.0, 60.0


def operation():
    return common.Operation(operation_id=new_operation_id())


def operation_of(item):
    """Returns the operation of an item, whichever mutation the item is."""
    return getattr(item, item.WhichOneof("request")).operation


def messages(items):
    for begin in range(0, len(items), ITEMS_IN_A_MESSAGE):
        yield reservations.BatchRequest(items=items[begin : begin + ITEMS_IN_A_MESSAGE])


def is_final(item, result):
    """Returns whether a result is the item's outcome. Marks an item whose attempt may have taken effect."""
    if result.WhichOneof("result") != "refused":
        return True
    if may_change(result.refused):
        if result.refused.reason in NO_ANSWER:
            operation_of(item).repeats = True
        return False
    # After an attempt without an answer, only a refusal that has sealed the operation id is certain.
    return result.refused.settled or not operation_of(item).repeats


def run(cluster, items):
    """Sends items until each has its outcome. Returns the results by tag.

    The items of one run are decided in no certain order. An item that depends on another's answer belongs
    into a later run.
    """
    unanswered = {item.tag: item for item in items}
    results = {}
    until = time.monotonic() + DEADLINE
    pauses = Pauses()
    while unanswered and time.monotonic() < until:
        retry_after_ms = 0
        try:
            # The stream ends when all messages are sent and all items have a result.
            sent = messages(list(unanswered.values()))
            for answer in ReservationsStub(cluster.channel()).Batch(sent, timeout=STREAM_SECONDS):
                for result in answer.results:
                    if is_final(unanswered[result.tag], result):
                        results[result.tag] = result
                        del unanswered[result.tag]
                    else:
                        retry_after_ms = max(retry_after_ms, result.refused.retry_after_ms)
            why = "some items have to wait"
        except grpc.RpcError as error:
            failure = Failure(error)
            if failure.final:
                raise failure.final from error
            # The node may have taken any of these items, so each further attempt says that it repeats one.
            for item in unanswered.values():
                operation_of(item).repeats = True
            why, retry_after_ms = failure.why, failure.retry_after_ms
        if unanswered:
            cluster.go_on(f"{why}, {len(unanswered)} items are left")
            time.sleep(pauses.next(retry_after_ms))
    if unanswered:
        raise SystemExit(f"{len(unanswered)} items have no known outcome: send them again with the same ids")
    return results


def report(step, results):
    """Prints how many items of a step were done. Returns the tags of these."""
    done = [tag for tag, result in results.items() if result.WhichOneof("result") != "refused"]
    tell(f"{step}: {len(done)} done, {len(results) - len(done)} refused")
    return done


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--orders", type=int, default=1000)
    orders = parser.parse_args().orders
    cluster = Cluster()
    # The SKU of each order. The order's number is the tag of its items.
    sku_of = {number: f"EXAMPLE-BATCH-{number % SKUS + 1}" for number in range(1, orders + 1)}

    goods = [
        stock.ReceiveRequest(operation=operation(), sku=sku, warehouse=WAREHOUSE, quantity=quantity)
        for sku, quantity in Counter(sku_of.values()).items()
    ]
    items = [reservations.BatchItem(tag=tag, receive=each) for tag, each in enumerate(goods)]
    report("receive", run(cluster, items))

    # One order more asks for goods that never arrived. Its refusal does not touch the others.
    sku_of[orders + 1] = "EXAMPLE-BATCH-NEVER"
    holds = {
        tag: reservations.ReserveRequest(
            operation=operation(),
            storefront=STOREFRONT,
            lines=[reservations.ReserveLine(sku=sku, quantity=1)],
            ttl_ms=15 * 60 * 1000,
        )
        for tag, sku in sku_of.items()
    }
    results = run(cluster, [reservations.BatchItem(tag=tag, reserve=hold) for tag, hold in holds.items()])
    held = report("reserve", results)
    for tag in results.keys() - set(held):
        tell(f"  order {tag}: {reason_of(results[tag].refused)}")

    # The answer names the shard. An item that names it again is passed on at once.
    keys = {
        tag: reservations.ReservationKey(
            reservation_id=holds[tag].operation.operation_id,
            shard=results[tag].reserved.receipt.position.shard,
        )
        for tag in held
    }
    commits = [
        reservations.BatchItem(
            tag=tag, commit=reservations.CommitRequest(operation=operation(), reservation=key)
        )
        for tag, key in keys.items()
    ]
    report("commit", run(cluster, commits))

    ships = [
        reservations.BatchItem(tag=tag, ship=reservations.ShipRequest(operation=operation(), reservation=key))
        for tag, key in keys.items()
    ]
    report("ship", run(cluster, ships))


if __name__ == "__main__":
    main()
