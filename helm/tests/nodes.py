"""Real nodes with the chart's configuration: the binary in place of the image, ports of this machine in place of DNS names."""

import json
import os
import random
import signal
import socket
import ssl
import subprocess
import time
import tomllib
import urllib.error
import urllib.request

import authority


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


# As many as the chart can have.
MOST_PODS = 9


class Node:
    def __init__(self, holdfast, folder, rendered, pod, ports, peers):
        self.folder, self.client, self.http, self.admin = folder, ports[0], ports[2], ports[3]
        folder.mkdir(exist_ok=True)
        config = folder / "node.toml"
        etc = f"{folder.parent / 'etc'}/"
        config.write_text(rendered.node_toml.replace("/etc/holdfast/", etc))
        environment = {name: value.replace("/etc/holdfast/", etc) for name, value in rendered.environment(pod).items()}
        self.scheme, self.tls = "http", None
        if rendered.has_tls:
            self.scheme, self.tls = "https", ssl.create_default_context(cafile=environment["HOLDFAST__TLS__PEER_CA"])
        environment |= {
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
            with urllib.request.urlopen(f"{self.scheme}://localhost:{self.http}{path}", timeout=5, context=self.tls) as answer:
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
        self.holdfast, self.folder, self.rendered, self.pods = holdfast, folder, rendered, {}
        numbers = free_ports(4 * MOST_PODS)
        self.ports = {pod: numbers[4 * pod - 4 : 4 * pod] for pod in range(1, MOST_PODS + 1)}

    def __enter__(self):
        if self.rendered.has_tls:
            self.mount_secrets()
        try:
            self.start(self.rendered)
            eventually("all nodes are ready", lambda: all(node.is_ready() for node in self.nodes))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for node in self.nodes:
            node.end()

    @property
    def nodes(self):
        return list(self.pods.values())

    def start(self, rendered):
        """Starts the nodes of a rendering that do not run yet, as a StatefulSet does that was told of more."""
        # The ids are the chart's; only the addresses are of this machine.
        ids = [peer["node_id"] for peer in tomllib.loads(rendered.node_toml)["peers"]]
        assert ids == list(rendered.pods)
        entry = '{{node_id = {}, client_address = "localhost:{}", peer_address = "127.0.0.1:{}"}}'
        peers = "[" + ", ".join(entry.format(pod, *self.ports[pod][:2]) for pod in ids) + "]"
        for pod in ids:
            if pod not in self.pods:
                self.pods[pod] = Node(self.holdfast, self.folder / f"node-{pod}", rendered, pod, self.ports[pod], peers)

    def start_job(self, rendered, name):
        """What one of the chart's jobs runs, in plaintext; it asks the admin ports of the release that is being changed."""
        (container,) = rendered.job_pod(name)["containers"]
        ports = [self.ports[pod] for pod in self.rendered.pods]
        environment = {
            "HOLDFAST_ADMIN_ADDRESS": ",".join(f"localhost:{admin}" for _, _, _, admin in ports),
            "HOLDFAST_ENDPOINTS": ",".join(f"http://localhost:{client}" for client, _, _, _ in ports),
        }
        assert {each["name"] for each in container["env"]} == environment.keys()
        command = [self.holdfast, *container["args"]]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run_job(self, rendered, name):
        """What it says, when it has ended well."""
        job = self.start_job(rendered, name)
        said, _ = job.communicate(timeout=120)
        assert job.returncode == 0, said
        return said

    def placement(self):
        """Members, waiting nodes and replicas."""
        admin = f"localhost:{self.nodes[0].admin}"
        command = [self.holdfast, "--json", "cluster", "placement", "--admin-address", admin]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    @property
    def endpoints(self):
        return ",".join(f"{node.scheme}://localhost:{node.client}" for node in self.nodes)

    def mount_secrets(self):
        """What Kubernetes and cert-manager put below /etc/holdfast."""
        secrets = self.folder / "secrets"
        secrets.mkdir()
        authority.issue_all(self.rendered, secrets)
        for volume in self.rendered.node_pod["volumes"]:
            folder = self.folder / "etc" / volume["name"]
            if "projected" in volume:
                authority.mount(secrets, volume, folder)
            if volume["name"] == "policy":
                folder.mkdir(parents=True)
                (folder / "policy.toml").write_text(self.rendered.one("ConfigMap", "-policy")["data"]["policy.toml"])

    def certificate_of(self, pod):
        """The environment that names the certificate of one of the chart's own pods; nothing without certificates."""
        (container,) = pod["containers"]
        named = {each["name"]: each["value"] for each in container["env"] if each["name"].startswith("HOLDFAST_TLS_")}
        if not named:
            return {}
        (volume,) = pod["volumes"]
        folder = self.folder / "mounted" / volume["projected"]["sources"][0]["secret"]["name"]
        authority.mount(self.folder / "secrets", volume, folder)
        return {name: value.replace("/etc/holdfast/tls", str(folder)) for name, value in named.items()}

    def run_test_pod(self, wrapper=None):
        """What the pod of `helm test` runs, with a `holdfast` that is the binary or a script that stands for it."""
        (container,) = self.rendered.test_pod["containers"]
        programs = self.folder / ("wrapped" if wrapper else "programs")
        programs.mkdir(exist_ok=True)
        program = programs / "holdfast"
        program.write_text(wrapper or f'#!/bin/sh\nexec {self.holdfast} "$@"\n')
        program.chmod(0o755)
        certificate = self.certificate_of(self.rendered.test_pod)
        environment = {"PATH": f"{programs}:{os.environ['PATH']}", "HOLDFAST_ENDPOINTS": self.endpoints} | certificate
        assert {each["name"] for each in container["env"]} == environment.keys() - {"PATH"}
        return subprocess.run(
            container["command"] + container["args"], env=environment, capture_output=True, text=True, timeout=120
        )

    def ask(self, *arguments):
        done = subprocess.run(
            [self.holdfast, "--json", "--endpoints", self.endpoints, *arguments], capture_output=True, text=True, check=True
        )
        return [json.loads(line) for line in done.stdout.splitlines()]
