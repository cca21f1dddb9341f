"""Calls to a Holdfast cluster that survive the death of a node. The three examples share this file.

The rules are those of docs/errors.md:

- A request keeps its operation id on every attempt. The ledger applies an id once, so a retry is safe.
- After an attempt without an answer, the next attempts carry `repeats = true`. A refusal then seals the id.
- Any node takes any request. When one node does not answer, the next one is asked.
"""

import os
import random
import secrets
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "generated"))  # the package that generate.py makes

import grpc
from google.rpc import status_pb2
from holdfast.v1 import common_pb2 as common

# The nodes of `holdfast dev`. The command line reads the same variable, in the same form.
DEV_ENDPOINTS = "http://127.0.0.1:7411,http://127.0.0.1:7421,http://127.0.0.1:7431"
ENDPOINTS = os.environ.get("HOLDFAST_ENDPOINTS", DEV_ENDPOINTS)

# How long one attempt waits for its answer, in seconds.
ATTEMPT_SECONDS = 3.0
# The first and the longest pause between two attempts, in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.5

# With these refusals nothing happened, and the same request may be granted a moment later.
NOT_NOW = {common.REASON_NO_LEADER, common.REASON_OVERLOADED, common.REASON_CONTENDED}
# With these refusals the request may have taken effect. The same request again settles it. docs/errors.md
# says that an internal error does not pass by itself. It is here because only the same request with the same
# id tells its outcome, and another node may answer.
NO_ANSWER = {common.REASON_OUTCOME_UNKNOWN, common.REASON_DEADLINE, common.REASON_INTERNAL}
# Codes without a refusal come from gRPC itself. With one of these, another attempt may be answered.
MAY_PASS = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}

CHANNEL_OPTIONS = [
    # A stream that is quiet asks every 10 seconds whether its node is still there.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # A node has a second to accept a connection, and one that comes back is found within a second.
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]

TELLING = threading.Lock()


class Refused(Exception):
    """The cluster refused, and the request had no effect. `refusal` has the reason."""

    def __init__(self, refusal):
        super().__init__(f"{reason_of(refusal)}: {refusal.message}")
        self.refusal = refusal


class Unavailable(Exception):
    """Nobody took the request before the deadline. It had no effect."""


class OutcomeUnknown(Exception):
    """The request may or may not have taken effect. Call again with the same request to learn it."""


def new_operation_id():
    """Returns the 16 bytes of a new UUIDv7 (RFC 9562): the time in milliseconds, then 74 random bits."""
    bits = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    bits = bits & ~(0b1111 << 76) | 7 << 76  # the version
    bits = bits & ~(0b11 << 62) | 0b10 << 62  # the variant
    return bits.to_bytes(16, "big")


def reason_of(refusal):
    """Returns the name of a refusal's reason, also of one that is newer than this package."""
    known = common.Reason.DESCRIPTOR.values_by_number.get(refusal.reason)
    return known.name if known else f"reason {refusal.reason}"


def may_change(refusal):
    """Returns whether the same request may be answered otherwise a moment later."""
    return refusal.reason in NOT_NOW | NO_ANSWER


def refusal_of(error):
    """Returns the refusal in the details of a gRPC error; None when the error has none."""
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    if details is None:
        return None
    refusal = common.Refusal()
    for packed in status_pb2.Status.FromString(details).details:
        # The details are google.protobuf.Any. Unpack checks the type and says whether it is this one.
        if packed.Unpack(refusal):
            return refusal
    return None


class Failure:
    """An attempt that failed: why, and what the caller has to think of it."""

    def __init__(self, error):
        self.refusal = refusal_of(error)
        # The exception for the caller when another attempt does not change the answer; otherwise None.
        self.final = None
        self.retry_after_ms = 0
        if self.refusal is None:
            self.why = f"no answer ({error.code().name})"
            # Python does not tell whether an attempt without an answer was sent, so it counts as sent.
            self.may_have_acted = True
            if error.code() not in MAY_PASS:
                self.final = error
        else:
            self.why = reason_of(self.refusal)
            self.may_have_acted = self.refusal.reason in NO_ANSWER
            self.retry_after_ms = self.refusal.retry_after_ms
            if not may_change(self.refusal):
                self.final = Refused(self.refusal)

    @property
    def settles(self):
        """True when no attempt with this operation id takes effect any more, not even an earlier one."""
        return self.refusal is not None and self.refusal.settled


def tell(text):
    """Prints one line, also when several threads print."""
    with TELLING:
        print(text, flush=True)


class Pauses:
    """The pauses between attempts: each one is about twice the one before, up to the longest."""

    def __init__(self):
        self.step = FIRST_PAUSE

    def next(self, retry_after_ms=0):
        """Returns the next pause in seconds, at least as long as the cluster asked for."""
        pause = self.step * random.uniform(0.5, 1.0)
        self.step = min(self.step * 2, LONGEST_PAUSE)
        return max(pause, retry_after_ms / 1000)


class Cluster:
    """The nodes of one cluster. All calls go to one node until that node does not answer."""

    def __init__(self, endpoints=ENDPOINTS):
        self.addresses = [endpoint.removeprefix("http://") for endpoint in endpoints.split(",")]
        self.channels = {}
        self.at = 0

    def channel(self):
        """Returns the channel to the node that is asked at the moment."""
        address = self.addresses[self.at]
        if address not in self.channels:
            # With certificates this is grpc.secure_channel; docs/security.md says which certificates.
            self.channels[address] = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        return self.channels[address]

    def go_on(self, why):
        """Turns to the next node."""
        left = self.addresses[self.at]
        self.at = (self.at + 1) % len(self.addresses)
        tell(f"{left}: {why}, going on at {self.addresses[self.at]}")

    def call(self, stub, method, request, deadline=10.0):
        """Calls until there is an answer, a refusal that another attempt does not change, or the deadline.

        The mark `repeats` stays in the request. So the caller of a call that ended in OutcomeUnknown can
        send the very same request again.
        """
        until = time.monotonic() + deadline
        operation = getattr(request, "operation", None)  # a read has none
        pauses = Pauses()
        while True:
            wait = max(0.02, min(ATTEMPT_SECONDS, until - time.monotonic()))
            try:
                return getattr(stub(self.channel()), method)(request, timeout=wait)
            except grpc.RpcError as error:
                failure = Failure(error)
            if failure.final:
                # An earlier attempt may still act, unless this refusal has sealed the operation id.
                if operation is not None and operation.repeats and not failure.settles:
                    raise OutcomeUnknown(failure.why)
                raise failure.final
            if operation is not None and failure.may_have_acted:
                operation.repeats = True
            pause = pauses.next(failure.retry_after_ms)
            if time.monotonic() + pause >= until:
                unknown = operation is not None and operation.repeats
                raise OutcomeUnknown(failure.why) if unknown else Unavailable(failure.why)
            self.go_on(failure.why)
            time.sleep(pause)
