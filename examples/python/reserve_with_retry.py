#!/usr/bin/env python3
"""Reserves stock for orders and commits it, and goes on when a node dies.

  python reserve_with_retry.py [--orders 3]

It shows three things: a retry with the same operation id, an unknown outcome, and how a refusal is read.
"""

import argparse
import time
import uuid

from cluster import Cluster, OutcomeUnknown, Refused, new_operation_id, reason_of, tell
from holdfast.v1 import common_pb2 as common
from holdfast.v1 import reservations_pb2 as reservations
from holdfast.v1 import stock_pb2 as stock
from holdfast.v1.reservations_pb2_grpc import ReservationsStub
from holdfast.v1.stock_pb2_grpc import StockStub

SKU, WAREHOUSE, STOREFRONT = "EXAMPLE-MUG", "LDN-1", "web"


def until_known(cluster, stub, method, request, deadline=60.0):
    """Calls until the outcome is known. Each call has its own deadline, and all of them send one id.

    Raises OutcomeUnknown if the outcome is still unknown after `deadline` seconds.
    """
    until = time.monotonic() + deadline
    while True:
        try:
            return cluster.call(stub, method, request)
        except OutcomeUnknown as unknown:
            if time.monotonic() >= until:
                raise
            # Do not make a new id here: the units would be taken twice if the first attempt took effect. A
            # shop with no more time tells its buyer to wait, keeps the request, and settles it later.
            tell(f"the outcome is unknown ({unknown}), asking again with the same id")


def reserve_request(operation_id, quantity, reference):
    return reservations.ReserveRequest(
        operation=common.Operation(operation_id=operation_id, reference=reference),
        storefront=STOREFRONT,
        lines=[reservations.ReserveLine(sku=SKU, quantity=quantity)],
        ttl_ms=15 * 60 * 1000,
        mode=reservations.RESERVE_MODE_ALL_OR_NOTHING,
    )


def place_order(cluster, number):
    """Holds one unit for an order and commits it. Returns the Reserve request."""
    # A shop writes both ids into its order before the first call. After a crash it then repeats the calls
    # with these ids, and nothing happens twice.
    hold_id, commit_id = new_operation_id(), new_operation_id()
    reference = f"order-{number}"

    reserve = reserve_request(hold_id, 1, reference)
    granted = until_known(cluster, ReservationsStub, "Reserve", reserve)

    # The buyer pays here. The answer named the shard, so the next call finds the hold at once.
    shard = granted.receipt.position.shard
    commit = reservations.CommitRequest(
        operation=common.Operation(operation_id=commit_id, reference=reference),
        reservation=reservations.ReservationKey(reservation_id=hold_id, shard=shard),
    )
    committed = until_known(cluster, ReservationsStub, "Commit", commit)
    assert committed.state == reservations.RESERVATION_STATE_COMMITTED
    tell(f"order {number}: {uuid.UUID(bytes=hold_id)} is committed in shard {shard}")
    return reserve


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--orders", type=int, default=3)
    orders = parser.parse_args().orders
    cluster = Cluster()

    goods = stock.ReceiveRequest(
        operation=common.Operation(operation_id=new_operation_id(), reference="delivery-1"),
        sku=SKU,
        warehouse=WAREHOUSE,
        quantity=orders,
    )
    until_known(cluster, StockStub, "Receive", goods)
    tell(f"{orders} units of {SKU} arrived in {WAREHOUSE}")

    for number in range(1, orders + 1):
        reserve = place_order(cluster, number)

    # The same request again takes nothing. The answer is that of the first time, and says so.
    again = until_known(cluster, ReservationsStub, "Reserve", reserve)
    tell(f"the last reserve again: replayed={again.receipt.replayed}, nothing was taken")

    too_much = reserve_request(new_operation_id(), 1_000_000, "order-x")
    try:
        until_known(cluster, ReservationsStub, "Reserve", too_much)
    except Refused as refused:
        refusal = refused.refusal
        tell(f"refused: {reason_of(refusal)}, retry_after_ms={refusal.retry_after_ms}")
        for line in refusal.shortages:
            tell(f"  line {line.line}: {line.requested} of {line.sku} wanted, {line.available} there")


if __name__ == "__main__":
    main()
