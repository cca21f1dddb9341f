"""What the tests share: the rendered chart, the holdfast binary, promtool."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import helm_python
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "holdfast"
RELEASE, NAMESPACE = "holdfast", "shop"

# What the values must say before there is a cluster: with certificates, or knowingly without.
PLAINTEXT = {"allowPlaintext": True, "tls": {"enabled": False}}
CERT_MANAGER = {"tls": {"certManager": {"enabled": True, "nodeIssuer": {"name": "holdfast-ca"}}}}
RULE = {"principals": ["spiffe://shop/checkout"], "verbs": ["reserve", "read"], "storefronts": ["web"], "warehouses": ["*"]}

# The value files, and what they leave off.
EVERYTHING = {
    "replicaCount": 5,
    "tls": {
        "nodeSecretPrefix": "our-node-",
        "operatorSecret": "our-operator",
        "testSecret": "our-test",
        "sinksSecret": "our-sinks",
        "clientCaSecret": "our-clients",
        "operatorPrincipal": "spiffe://shop/operator",
    },
    "policy": {"rules": [RULE]},
    "zoneFromPodLabel": True,
    "image": {"digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "pull"}],
    "config": {
        "node": {"cluster_id": "0197a3c0-7f1e-7c5a-9b1d-3f2c5a6b7c8d", "threads": 4},
        "cluster": {"replication_factor": 5},
        "raft": {"heartbeat": "60ms", "spread_leaders": True},
        "ledger": {"shipped_retention": "90d"},
        "storage": {"log_segment": "128MiB"},
        "telemetry": {"otlp_endpoint": "http://collector.monitoring.svc.cluster.local:4317", "trace_per_mille": 5},
        "log": {"format": "json", "level": "info,openraft=error,holdfast_node=debug"},
    },
    "persistence": {"storageClassName": "fast", "whenScaled": "Delete"},
    "nodeSelector": {"disk": "nvme"},
    "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "holdfast", "effect": "NoSchedule"}],
    "priorityClassName": "shop-critical",
    "networkPolicy": {"collectorTo": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]},
    "podAnnotations": {"example.org/owner": "inventory"},
    "serviceMonitor": {"enabled": True, "labels": {"release": "monitoring"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "monitoring"}, "runbookBaseUrl": "https://runbooks.example.org/"},
    "dashboard": {"enabled": True},
    "sinks": {
        "enabled": True,
        "replicaCount": 3,
        "config": """
[sinks.product-pages]
type = "redis"
url = "redis://redis.shop.svc.cluster.local:6379"
password = { env = "REDIS_PASSWORD" }

[sinks.second-view]
type = "redis"
url = "rediss://redis.other.svc.cluster.local:6380"
password = { file = "/etc/holdfast/secrets/other-redis/password" }
""",
        "secretFiles": ["other-redis"],
        "secretEnv": [{"name": "REDIS_PASSWORD", "secret": "redis", "key": "password"}],
        "mayRead": True,
        "targets": [
            {"to": [{"podSelector": {"matchLabels": {"app": "redis"}}}], "ports": [6379]},
            {"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}, {"namespaceSelector": {"matchLabels": {"team": "data"}}}], "ports": [6380, 9094]},
        ],
        "nodeSelector": {"disk": "any"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "podAnnotations": {"example.org/owner": "data"},
    },
}
VARIANTS = ["values.yaml", "values-production.yaml", "values-minimal.yaml", "everything"]


def values_of(variant):
    if variant == "everything":
        return EVERYTHING
    values = yaml.safe_load((CHART / variant).read_text())
    return values | PLAINTEXT if variant == "values.yaml" else values


class Rendered:
    """The objects of one rendering, and the notes."""

    def __init__(self, values, name=RELEASE, namespace=NAMESPACE):
        self.name = name
        if "tls" not in values and "allowPlaintext" not in values:
            values = values | PLAINTEXT
        with helm_python.Chart.load(CHART) as chart:
            files = chart.render(values, name=name, namespace=namespace)
            self.values = chart.merge_values(values)
        self.notes = files.pop("holdfast/templates/NOTES.txt")
        documents = [yaml.safe_load_all(text) for path, text in files.items() if not path.endswith(".tpl")]
        self.objects = [each for document in documents for each in document if each]

    def all(self, kind):
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind, suffix=""):
        found = [each for each in self.all(kind) if each["metadata"]["name"] == self.name + suffix]
        assert len(found) == 1, f"{len(found)} of {kind} {self.name}{suffix}"
        return found[0]

    @property
    def node_pod(self):
        return self.one("StatefulSet")["spec"]["template"]["spec"]

    @property
    def node_container(self):
        return self.node_pod["containers"][0]

    @property
    def test_pod(self):
        return self.one("Pod", "-test")["spec"]

    @property
    def has_sinks(self):
        return self.values["sinks"]["enabled"]

    @property
    def sinks_pod(self):
        return self.one("Deployment", "-sinks")["spec"]["template"]["spec"]

    @property
    def sinks_toml(self):
        return self.one("ConfigMap", "-sinks")["data"]["sinks.toml"]

    @property
    def has_tls(self):
        return self.values["tls"]["enabled"]

    def job_pod(self, name):
        return self.one("Job", f"-{name}")["spec"]["template"]["spec"]

    @property
    def all_pods(self):
        jobs = [each["spec"]["template"]["spec"] for each in self.all("Job")]
        return [self.node_pod, self.test_pod, *jobs, *([self.sinks_pod] if self.has_sinks else [])]

    @property
    def node_toml(self):
        return self.one("ConfigMap", "-node")["data"]["node.toml"]

    @property
    def pods(self):
        """Each node's pod with the number in its name, which is also in the label that Kubernetes gives it."""
        stateful_set = self.one("StatefulSet")["spec"]
        first = stateful_set["ordinals"]["start"]
        return range(first, first + stateful_set["replicas"])

    def environment(self, pod):
        """The environment of one node's pod, with what Kubernetes fills in."""
        fields = {
            "metadata.labels['apps.kubernetes.io/pod-index']": str(pod),
            "metadata.labels['topology.kubernetes.io/zone']": "zone-a",
        }
        environment = {}
        for each in self.node_container["env"]:
            value = each["value"] if "value" in each else fields[each["valueFrom"]["fieldRef"]["fieldPath"]]
            environment[each["name"]] = re.sub(r"\$\((\w+)\)", lambda name: environment[name[1]], value)
        return environment


@pytest.fixture(scope="session", params=VARIANTS)
def rendered(request):
    return Rendered(values_of(request.param))


@pytest.fixture(scope="session")
def holdfast():
    binary = Path(os.environ.get("HOLDFAST_BINARY", ROOT / "target" / "debug" / "holdfast"))
    assert binary.exists(), f"{binary} is missing: cargo build --package holdfast, or run cargo xtask test --only chart"
    return binary


@pytest.fixture(scope="session")
def check_config(holdfast):
    """Has the node's own loader look at a configuration: the problem it tells, or nothing."""

    def check(folder, text, environment):
        file = folder / "node.toml"
        file.write_text(text)
        done = subprocess.run([holdfast, "config", "check", file], env=environment, capture_output=True, text=True)
        return None if done.returncode == 0 else done.stderr

    return check


@pytest.fixture(scope="session")
def promtool():
    found = shutil.which("promtool")
    assert found, "promtool is missing: install Debian's package prometheus, or run cargo xtask test --only chart"

    def run(*arguments, cwd=ROOT):
        done = subprocess.run([found, *arguments], cwd=cwd, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    return run
