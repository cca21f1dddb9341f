#!/usr/bin/env python3
"""Runs the Python examples against three nodes, and kills one node in the middle. Then it reads product pages
from the view in Redis, in Python, and in TypeScript where a new enough Node is installed.

  HOLDFAST_BINARY=target/release/holdfast python3 examples/test.py

It needs redis-server. It makes the Python package first. All data is in a temporary folder, and the ports are free ones. At its end
no process of it is left, whether it passed or failed.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PYTHON_EXAMPLES = Path(__file__).resolve().parent / "python"
TYPESCRIPT_EXAMPLES = PYTHON_EXAMPLES.with_name("typescript")
SHARDS = 4
MUG, MUG_ORDERS, KILL_AFTER_ORDER = "EXAMPLE-MUG", 300, 20
BATCH_ORDERS = 5000


def say(text):
    print(f"==> {text}", flush=True)


def until(what, condition, seconds=60):
    """Waits until a condition holds, and returns what it returned."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.02)
    return result


class Program:
    """A program that runs, and the lines that it has printed so far."""

    def __init__(self, command, environment=None, errors=subprocess.STDOUT):
        self.name = Path(command[-1] if len(command) == 2 else command[1]).name
        self.lines, self.printed = [], threading.Condition()
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=errors, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.printed:
                self.lines.append(line.rstrip("\n"))
                self.printed.notify_all()

    def wait_for(self, pattern, seconds=120):
        """Waits for a line, and returns its match."""

        def find():
            return next(filter(None, (re.search(pattern, line) for line in self.lines)), None)

        end = time.monotonic() + seconds
        with self.printed:
            while not (match := find()):
                running = self.process.poll() is None or self.reader.is_alive()
                assert running and time.monotonic() < end, f"{self.name}: no line {pattern!r}:\n{self.text()}"
                self.printed.wait(0.1)
            return match

    def finish(self, seconds=180):
        """Waits until the program has ended well, and returns its lines."""
        code = self.process.wait(timeout=seconds)
        self.reader.join()
        assert code == 0, f"{self.name} ended with {code}:\n{self.text()}"
        return self.lines

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def text(self):
        return "\n".join(self.lines)


def free_base_port(nodes=3):
    """Returns a port from which `holdfast dev` finds all its ports free.

    It lies below the ports that outgoing connections get.
    """
    while True:
        base = random.randrange(10_000, 29_000)
        wanted = [base + 10 * node + port for node in range(nodes) for port in range(4)]
        with contextlib.ExitStack() as sockets:
            try:
                for port in wanted:
                    sockets.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return base


def free_port():
    return free_base_port(nodes=1)


class Redis:
    """A Redis server, and the runner that keeps the view in it. Both end with the `with` block."""

    def __init__(self, nodes, folder, environment):
        self.nodes, self.folder, self.environment = nodes, folder, environment

    def __enter__(self):
        self.url = f"redis://127.0.0.1:{free_port()}"
        settings = ["--bind", "127.0.0.1", "--port", self.url.rpartition(":")[2], "--save", ""]
        self.server = Program(["redis-server", *settings, "--dir", str(self.folder)])
        self.config = self.folder / "sinks.toml"
        self.config.write_text(f"[sinks.pages]\ntype = 'redis'\nurl = '{self.url}'\n")
        self.runner = None
        try:
            self.server.wait_for("Ready to accept connections")
            self.start_runner()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start_runner(self):
        command = [self.nodes.binary, "sinks", "run", "--config", str(self.config)]
        self.runner = Program(command, self.environment)

    def stop_runner(self):
        self.runner.process.send_signal(signal.SIGINT)
        self.runner.finish()

    def __exit__(self, *_):
        for program in filter(None, (self.runner, self.server)):
            program.kill()


class Nodes:
    """Three nodes of `holdfast dev`. They end with the `with` block."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder

    def __enter__(self):
        self.errors = open(self.folder / "dev.log", "w")
        arguments = ["--data-dir", self.folder / "dev", "--base-port", str(free_base_port())]
        command = [self.binary, "dev", "--json", *arguments, "--shards", str(SHARDS)]
        self.dev = Program(command, errors=self.errors)
        try:
            ready = json.loads(self.dev.wait_for('.*"event":"ready".*')[0])
        except BaseException:
            self.__exit__()
            raise
        self.pids = {node["node_id"]: node["pid"] for node in ready["nodes"]}
        self.admins = [node["admin_address"] for node in ready["nodes"]]
        self.endpoints = ",".join(f"http://{node['client_address']}" for node in ready["nodes"])
        return self

    def __exit__(self, *_):
        # Ctrl-C stops the nodes. They also end when the process that started them does.
        self.dev.process.send_signal(signal.SIGINT)
        try:
            self.dev.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.dev.kill()
        for pid in getattr(self, "pids", {}).values():
            until(f"process {pid} has ended", lambda pid=pid: not is_alive(pid))
        self.errors.close()

    def kill(self, node_id):
        os.kill(self.pids[node_id], signal.SIGKILL)
        self.dev.wait_for(rf'"event":"node_died","node_id":{node_id}\b')

    def ask(self, *arguments):
        """Runs a command of the binary, and returns its answer: one object for each line."""
        command = [self.binary, "--json", "--endpoints", self.endpoints, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return [json.loads(line) for line in done.stdout.splitlines()]


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def check_reserve(nodes, start):
    # The node that the example asks first also leads the shard of the mugs, so its death hits both.
    (unknown,) = nodes.ask("stock", "get", MUG)
    shard = unknown["read"]["position"]["shard"]
    address = ["--admin-address", nodes.admins[0]]
    nodes.ask("cluster", "transfer-leader", shard, "--to", 1, *address)

    example = start("reserve_with_retry.py", "--orders", MUG_ORDERS)
    example.wait_for(rf"^order {KILL_AFTER_ORDER}:")
    before = len(example.lines)
    nodes.kill(1)
    lines = example.finish()

    assert lines[0] == f"{MUG_ORDERS} units of {MUG} arrived in LDN-1", lines[0]
    orders = [match for line in lines if (match := re.fullmatch(r"order (\d+): (\S+) is committed .*", line))]
    assert [int(order[1]) for order in orders] == list(range(1, MUG_ORDERS + 1)), "an order is missing"
    moved_on = [line for line in lines if "going on at" in line]
    assert moved_on and all(lines.index(line) >= KILL_AFTER_ORDER for line in moved_on), moved_on
    assert before < MUG_ORDERS, "the node was killed too late"
    assert "the last reserve again: replayed=True, nothing was taken" in lines
    assert "refused: REASON_INSUFFICIENT_STOCK, retry_after_ms=0" in lines
    assert lines[-1] == f"  line 0: 1000000 of {MUG} wanted, 0 there", lines[-1]
    print("\n".join([*moved_on, *lines[-3:]]))

    # The ledger has exactly these orders: none is lost, and none was taken twice.
    (answer,) = nodes.ask("stock", "get", MUG)
    (cell,) = answer["cells"]
    found = {bucket: cell[bucket] for bucket in ("on_hand", "free", "held", "committed")}
    assert found == {"on_hand": MUG_ORDERS, "free": 0, "held": 0, "committed": MUG_ORDERS}, found
    committed = [
        change["reservation"]["reservation_id"]
        for change in nodes.ask("changes", "tail", "--sku", MUG)
        if change["kind"] == "committed"
    ]
    assert sorted(committed) == sorted(order[2] for order in orders), "other reservations than were printed"


def check_batch(nodes, start, follower):
    """Runs the batch while a consumer follows the changes, and kills the consumer in the middle."""
    follower.wait_for("^shard .: through change")
    example = start("batch.py", "--orders", BATCH_ORDERS)
    example.wait_for("^reserve:")
    follower.kill()
    lines = example.finish()
    moved_on = [line for line in lines if "going on at" in line]
    # The first node is dead, so the first stream breaks.
    assert moved_on and lines[0] == moved_on[0], lines
    assert [line for line in lines if line not in moved_on] == [
        "receive: 50 done, 0 refused",
        f"reserve: {BATCH_ORDERS} done, 1 refused",
        f"  order {BATCH_ORDERS + 1}: REASON_INSUFFICIENT_STOCK",
        f"commit: {BATCH_ORDERS} done, 0 refused",
        f"ship: {BATCH_ORDERS} done, 0 refused",
    ], lines
    print("\n".join(lines))
    shipped = [change for change in nodes.ask("changes", "tail") if change["kind"] == "shipped"]
    assert sum(change["reservation"]["quantity"] for change in shipped) == BATCH_ORDERS
    assert len({change["reservation"]["reservation_id"] for change in shipped}) == BATCH_ORDERS


def stock_of_ledger(nodes):
    """Returns the units of each bucket that has any."""
    cells = [cell for cell in nodes.ask("stock", "list") if "sku" in cell]
    names = {"warehouse", "sku", "pools"}
    return {
        (cell["sku"], cell["warehouse"], bucket): units
        for cell in cells
        for bucket, units in cell.items()
        if bucket not in names and units != 0
    }


def stock_of_copy(database):
    rows = database.execute("SELECT sku, warehouse, bucket, units FROM stock WHERE units != 0")
    return {(sku, warehouse, bucket): units for sku, warehouse, bucket, units in rows}


def check_changes(nodes, start, path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        taken_before = dict(database.execute("SELECT shard, through_seq FROM cursor"))
        (positions,) = nodes.ask("changes", "positions")
        ends = {shard["shard"]: shard["last_seq"] for shard in positions["shards"]}
        behind = {shard: last - taken_before.get(shard, 0) for shard, last in ends.items()}
        in_the_middle = any(taken_before.values()) and any(behind.values())
        assert in_the_middle, "the consumer was not killed in the middle"

        # The second run takes nothing, because the first one has taken everything.
        for new in (behind, dict.fromkeys(ends, 0)):
            lines = start("changes.py", "--database", path).finish()
            wanted = [f"on hand, all cells together: {MUG_ORDERS}"]
            for shard, last in ends.items():
                wanted.append(f"shard {shard}: {new[shard]} new changes, the last one is {last}")
            told = [line for line in lines if "going on at" not in line]
            assert sorted(told) == sorted(wanted), (told, wanted)
            print("\n".join(lines))
        assert stock_of_copy(database) == stock_of_ledger(nodes)


def check_pages(say_page):
    """Reads product pages while the view is built, is current, and is old. `say_page` runs the example."""
    skus = [MUG, "EXAMPLE-APPLE", "EXAMPLE-PEAR", "EXAMPLE-POLICY", "EXAMPLE-SUPPLY", "EXAMPLE-NEVER"]

    def numbers():
        pages = [re.fullmatch(r"(\S+): (.*), (\d+) ms old", line) for line in say_page(skus)]
        return {page[1]: page[2] for page in pages} if all(pages) else None

    # The view becomes live when every shard of it is current.
    found = until("the view is current", numbers)
    wanted = {
        MUG: "0 to sell",
        "EXAMPLE-APPLE": "9007199254740993 to sell",
        # 7 of the 10 pears are for everybody, and the storefront has 3 of its own.
        "EXAMPLE-PEAR": "10 to sell",
        # The stock policy came before the goods.
        "EXAMPLE-POLICY": "0 to sell",
        # Goods are expected, so the cell is known.
        "EXAMPLE-SUPPLY": "0 to sell",
        "EXAMPLE-NEVER": "unknown",
    }
    assert found == wanted, found
    print(found)


def check_view(nodes, redis, pages):
    """The pages in each language, also while nobody keeps the view current, and after it is there again."""
    goods = {"EXAMPLE-APPLE": 2**53 + 1, "EXAMPLE-PEAR": 10}
    nodes.ask("stock", "policy", "EXAMPLE-POLICY", "--storefront", "web", "--may-borrow", "false")
    for sku, units in (goods | {"EXAMPLE-POLICY": 4}).items():
        nodes.ask("stock", "receive", sku, "--warehouse", "LDN-1", "--quantity", units)
    of_pear = ["EXAMPLE-PEAR", "--warehouse", "LDN-1"]
    nodes.ask("stock", "pool", *of_pear, "--storefront", "web", "--target", 3)
    supply = ["--supply-id", "delivery-1", "--quantity", 5, "--at", "2100-01-01T00:00:00Z"]
    nodes.ask("stock", "expect", "EXAMPLE-SUPPLY", "--warehouse", "LDN-1", *supply)
    for say_page in pages:
        check_pages(say_page)

    (compared,) = nodes.ask("sinks", "compare", "--config", redis.config)
    assert compared["comparison"]["differences"] == 0 and compared["comparison"]["cells"] > 3, compared

    redis.stop_runner()
    for say_page in pages:
        (line,) = until("the page is too old", lambda: [x for x in say_page([MUG]) if "no number" in x])
        assert re.fullmatch(rf"{MUG}: the view is \d+ ms old, so no number", line), line
        print(line)
    redis.start_runner()
    (rebuilt,) = nodes.ask("sinks", "rebuild", "--config", redis.config, "--keep-old", "3s")
    assert rebuilt["live"] and rebuilt["generation"] == 2, rebuilt
    for say_page in pages:
        check_pages(say_page)


def node_is_new_enough():
    if not (shutil.which("node") and shutil.which("npm")):
        return False
    version = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout
    match = re.match(r"v(\d+)\.(\d+)", version)
    return match is not None and (int(match[1]), int(match[2])) >= (20, 15)


def build_typescript():
    npm = {"cwd": TYPESCRIPT_EXAMPLES, "check": True, "stdout": sys.stderr}
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], **npm)
    subprocess.run(["npm", "run", "--silent", "build"], **npm)


def main():
    binary = os.environ.get("HOLDFAST_BINARY")
    if not binary:
        sys.exit("HOLDFAST_BINARY must name the built binary, such as target/release/holdfast")
    binary = str(Path(binary).resolve())
    # A test run that is told to stop ends its processes, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))

    say("making the Python package")
    made = subprocess.run(
        [sys.executable, PYTHON_EXAMPLES / "generate.py"], check=True, stdout=subprocess.PIPE, text=True
    )
    interpreter = made.stdout.split()[-1]

    with contextlib.ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-examples-")))
        say("starting three nodes")
        nodes = cleanup.enter_context(Nodes(binary, folder))
        environment = os.environ | {"HOLDFAST_ENDPOINTS": nodes.endpoints, "no_proxy": "127.0.0.1"}

        def start(example, *arguments):
            command = [interpreter, str(PYTHON_EXAMPLES / example), *map(str, arguments)]
            program = Program(command, environment)
            cleanup.callback(program.kill)
            return program

        say(f"reserve_with_retry.py, and node 1 is killed after order {KILL_AFTER_ORDER}")
        check_reserve(nodes, start)
        say("batch.py without node 1, and the consumer is killed in the middle")
        database = folder / "stock.sqlite"
        check_batch(nodes, start, start("changes.py", "--database", database, "--follow"))
        say("changes.py goes on where the killed one was, twice")
        check_changes(nodes, start, database)
        say("holdfast verify")
        (verified,) = nodes.ask("verify")
        assert verified["ok"], verified
        print(f"{verified['changes']} changes, nothing oversold, lost or doubled")

        say("product pages from the view in Redis")
        redis = cleanup.enter_context(Redis(nodes, folder, environment))
        environment = environment | {"HOLDFAST_REDIS_URL": redis.url}
        pages = [lambda skus: start("product_page.py", *skus).finish()]
        if node_is_new_enough():
            build_typescript()

            def page_in_typescript(skus):
                command = ["node", str(TYPESCRIPT_EXAMPLES / "build" / "product_page.js"), *skus]
                return subprocess.run(
                    command, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=60
                ).stdout.splitlines()

            pages.append(page_in_typescript)
        else:
            print("the page in TypeScript is left out: it needs Node 20.15 or newer, with npm")
        check_view(nodes, redis, pages)
    say("the examples work")


if __name__ == "__main__":
    main()
