"""Real nodes with the chart's configuration: the binary in place of the image, ports of this machine in place of DNS names."""

import json
import os
import random
import signal
import socket
import subprocess
import time
import tomllib
import urllib.error
import urllib.request


def free_ports(count):
    """Ports that nobody listens on, below those that outgoing connections get: a node's own would take its neighbour's."""
    free = []
    while len(free) < count:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as probe:
            if port not in free and probe.connect_ex(("127.0.0.1", port)) != 0:
                free.append(port)
    return free


def eventually(what, condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"{what}: not after {seconds} s"
        time.sleep(0.05)


class Node:
    def __init__(self, holdfast, folder, rendered, pod, ports, peers):
        self.folder, self.client, self.http = folder, ports[0], ports[2]
        config = folder / "node.toml"
        config.write_text(rendered.node_toml)
        environment = rendered.environment(pod) | {
            "HOLDFAST__NODE__DATA_DIR": str(folder / "data"),
            "HOLDFAST__LISTEN__CLIENT": f"127.0.0.1:{ports[0]}",
            "HOLDFAST__LISTEN__PEER": f"127.0.0.1:{ports[1]}",
            "HOLDFAST__LISTEN__HTTP": f"127.0.0.1:{ports[2]}",
            "HOLDFAST__LISTEN__ADMIN": f"127.0.0.1:{ports[3]}",
            "HOLDFAST__PEERS": peers,
        }
        arguments = [argument.replace("/etc/holdfast/node/node.toml", str(config)) for argument in rendered.node_container["args"]]
        self.errors = open(folder / "errors", "w")
        self.process = subprocess.Popen([holdfast, *arguments], env=environment, stderr=self.errors)

    def get(self, path):
        """The status and the text of one of its pages; no status while it does not listen."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()
        except OSError as error:
            assert self.process.poll() is None, (self.folder / "errors").read_text()
            return None, str(error)

    def is_ready(self):
        return self.get("/readyz")[0] == 200

    def stop(self):
        """As Kubernetes does: the seconds that it took, and the exit code."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        return time.monotonic() - began, code

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.errors.close()


class Cluster:
    def __init__(self, holdfast, folder, rendered):
        self.holdfast, self.folder, self.rendered, self.nodes = holdfast, folder, rendered, []

    def __enter__(self):
        pods = list(self.rendered.pods)
        numbers = free_ports(4 * len(pods))
        ports = {pod: numbers[4 * index : 4 * index + 4] for index, pod in enumerate(pods)}
        # The ids are the chart's; only the addresses are of this machine.
        ids = [peer["node_id"] for peer in tomllib.loads(self.rendered.node_toml)["peers"]]
        assert ids == pods
        entry = '{{node_id = {}, client_address = "127.0.0.1:{}", peer_address = "127.0.0.1:{}"}}'
        peers = "[" + ", ".join(entry.format(pod, *ports[pod][:2]) for pod in pods) + "]"
        try:
            for pod in pods:
                folder = self.folder / f"node-{pod}"
                folder.mkdir()
                self.nodes.append(Node(self.holdfast, folder, self.rendered, pod, ports[pod], peers))
            eventually("all nodes are ready", lambda: all(node.is_ready() for node in self.nodes))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for node in self.nodes:
            node.end()

    @property
    def endpoints(self):
        return ",".join(f"http://127.0.0.1:{node.client}" for node in self.nodes)

    def run_test_pod(self, wrapper=None):
        """What the pod of `helm test` runs, with a `holdfast` that is the binary or a script that stands for it."""
        (container,) = self.rendered.test_pod["containers"]
        programs = self.folder / ("wrapped" if wrapper else "programs")
        programs.mkdir(exist_ok=True)
        program = programs / "holdfast"
        program.write_text(wrapper or f'#!/bin/sh\nexec {self.holdfast} "$@"\n')
        program.chmod(0o755)
        environment = {"PATH": f"{programs}:{os.environ['PATH']}", "HOLDFAST_ENDPOINTS": self.endpoints}
        assert {each["name"] for each in container["env"]} == {"HOLDFAST_ENDPOINTS"}, "these nodes speak plaintext"
        return subprocess.run(
            container["command"] + container["args"], env=environment, capture_output=True, text=True, timeout=120
        )

    def ask(self, *arguments):
        done = subprocess.run(
            [self.holdfast, "--json", "--endpoints", self.endpoints, *arguments], capture_output=True, text=True, check=True
        )
        return [json.loads(line) for line in done.stdout.splitlines()]
