"""The chart's configuration and its test pod with real nodes, and what their /metrics show."""

import json
import re
import shutil
import subprocess

import promql
import pytest
import yaml
from conftest import CERT_MANAGER, ROOT, RULE, Rendered
from nodes import Cluster, eventually, free_ports
from runner import Runner

# What Prometheus adds by itself to what it scrapes.
OF_PROMETHEUS = {"up"}
LABELS_OF_A_TARGET = {"namespace", "service", "job", "instance", "pod"}


@pytest.fixture(scope="module")
def cluster(holdfast, tmp_path_factory):
    with Cluster(holdfast, tmp_path_factory.mktemp("cluster"), Rendered({})) as cluster:
        yield cluster


def test_the_test_pod_reserves_commits_reads_and_releases_and_leaves_nothing(cluster):
    done = cluster.run_test_pod()
    assert done.returncode == 0, done.stdout + done.stderr
    for state in ["held", "committed", "cancelled", "released"]:
        assert f"is {state}" in done.stdout
    (answer,) = cluster.ask("stock", "get", "CHART-TEST")
    (cell,) = answer["cells"]
    moved = {key: value for key, value in cell.items() if isinstance(value, int) and value != 0}
    assert moved == {}, cell
    # It can be run again.
    assert cluster.run_test_pod().returncode == 0


@pytest.mark.parametrize("command", ["commit", "release", "reserve", "get"])
def test_the_test_pod_fails_when_a_command_does_nothing(cluster, command):
    wrapper = f'#!/bin/sh\nfor word in "$@"; do test "$word" = {command} && exit 0; done\nexec {cluster.holdfast} "$@"\n'
    done = cluster.run_test_pod(wrapper)
    assert done.returncode != 0
    assert "failed: " in done.stderr


def test_with_certificates_the_chart_grants_its_own_pods_what_they_need_and_no_more(holdfast, tmp_path):
    clients = {"certManager": CERT_MANAGER["tls"]["certManager"] | {"clientIssuer": {"name": "clients"}}}
    rendered = Rendered({"replicaCount": 3, "tls": clients, "policy": {"rules": [RULE]}})
    with Cluster(holdfast, tmp_path, rendered) as cluster:
        done = cluster.run_test_pod()
        assert done.returncode == 0, done.stdout + done.stderr
        operator, tester = cluster.certificate_of(rendered.job_pod("add")), cluster.certificate_of(rendered.test_pod)

        def run(certificate, *arguments):
            environment = certificate | {
                "HOLDFAST_ENDPOINTS": cluster.endpoints,
                "HOLDFAST_ADMIN_ADDRESS": ",".join(f"localhost:{node.admin}" for node in cluster.nodes),
            }
            return subprocess.run([holdfast, *arguments], env=environment, capture_output=True, text=True, timeout=120)

        handed_over = run(operator, "cluster", "transfer-leader", "0")
        assert handed_over.returncode == 0, handed_over.stderr
        for certificate, arguments in [
            (tester, ["cluster", "transfer-leader", "0"]),
            (operator, ["stock", "receive", "SHIRT-1", "--warehouse", "LONDON", "--quantity", "1"]),
            (tester, ["stock", "receive", "SHIRT-1", "--warehouse", "LONDON", "--quantity", "1"]),
        ]:
            denied = run(certificate, *arguments)
            assert denied.returncode == 1 and "permission_denied" in denied.stderr, denied.stderr
        assert cluster.nodes[0].get(rendered.node_container["livenessProbe"]["httpGet"]["path"])[0] == 200


def metrics_of_a_runner(cluster, folder):
    """The metrics of a runner whose target is away: it shows the same ones as any other."""
    rendered = Rendered({"sinks": {"enabled": True, "config": '[sinks.pages]\ntype = "redis"\nurl = "redis://redis"\n'}})
    away = f"redis://127.0.0.1:{free_ports(1)[0]}"
    with Runner(cluster.holdfast, folder, rendered, cluster.endpoints, redis=away) as runner:
        runner.is_eventually("showing its shards", lambda: "holdfast_sink_position{" in runner.get("/metrics")[1])
        return runner.get("/metrics")[1]


@pytest.fixture(scope="module")
def page(cluster, tmp_path_factory):
    """The metrics of nodes and of a runner after some calls: names with the suffixes that Prometheus sees, labels, and values."""
    assert cluster.run_test_pod().returncode == 0
    with pytest.raises(subprocess.CalledProcessError):
        cluster.ask("reserve", "NO-SUCH-SKU=1")
    cluster.ask("changes", "consumers", "register", "archive", "--required", "--location", "/archive")
    registered = lambda: all('required="true"' in node.get("/metrics")[1] for node in cluster.nodes)
    eventually("every node knows the consumer", registered)
    # It is chance who leads and which node a caller asks first, so some things are known only from all nodes.
    # Only leaders hear clocks.
    clocks = lambda: any("holdfast_clock_skew_ms{" in node.get("/metrics")[1] for node in cluster.nodes)
    eventually("a peer's clock is heard", clocks)
    pages = [node.get("/metrics")[1] for node in cluster.nodes]
    text = "\n".join([*pages, metrics_of_a_runner(cluster, tmp_path_factory.mktemp("runner"))])
    suffixes = {
        "counter": ["_total"],
        "gauge": [""],
        "info": ["_info"],
        "histogram": ["_bucket", "_sum", "_count"],
    }
    families = re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE)
    names = {name + suffix for name, kind in families for suffix in suffixes[kind]}
    samples = re.findall(r"^(\w+)\{([^}]*)\}", text, re.MULTILINE)
    assert names >= {name for name, _ in samples}
    pairs = {pair for _, labels in samples for pair in re.findall(r'(\w+)="([^"]*)"', labels)}
    return names, {label for label, _ in pairs}, pairs


def rules():
    groups = yaml.safe_load((ROOT / "cluster" / "alerts" / "holdfast.rules.yaml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def panels():
    dashboard = json.loads((ROOT / "cluster" / "dashboards" / "holdfast.json").read_text())
    return {
        f"{panel['title']} {target['refId']}": target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])
    }


def values_of_labels():
    """What labels can be that no healthy cluster shows."""
    reasons = re.findall(r"^\| `(REASON_\w+)`", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)
    roles = re.findall(r'Self::\w+ => "(\w+)"', (ROOT / "crates" / "shard" / "src" / "status.rs").read_text())
    assert len(reasons) > 10 and "leader" in roles
    return {("reason", reason) for reason in reasons} | {("role", role) for role in roles}


EXPRESSIONS = {**rules(), **panels()}


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_alerts_and_panels_name_only_metrics_and_labels_that_nodes_show(expression, page):
    names, labels, pairs = page
    metrics, used, compared = promql.named(expression)
    assert metrics, "an expression without a metric"
    assert metrics <= names | OF_PROMETHEUS
    assert used <= labels | LABELS_OF_A_TARGET
    for label, text in compared:
        if label in LABELS_OF_A_TARGET:
            continue
        for value in text.split("|"):
            assert (label, value) in pairs | values_of_labels()


def test_names_are_found_in_an_expression():
    metrics, labels, compared = promql.named(
        'sum by (shard, le) (rate(a_total{x=~"1|2", y="z"}[5m] offset 2m)) / on (job) group_left () b > 0.01 and c == 1 unless time() - d'
    )
    assert metrics == {"a_total", "b", "c", "d"}
    assert labels == {"shard", "le", "x", "y", "job"}
    assert compared == {("x", "1|2"), ("y", "z")}
    # A label that is made from another one is not shown by a node, and text inside strings is not looked at.
    assert promql.named('a and on (p) label_replace(b, "p", "$1", "n", "(.+)")')[0] == {"a", "b"}


def test_a_metric_that_does_not_exist_is_found(page):
    names, _, _ = page
    metrics, _, _ = promql.named("holdfast_replica_leads == 0 or holdfast_replica_leader == 0")
    assert metrics - names == {"holdfast_replica_leader"}


def test_the_variables_of_the_dashboard_come_from_a_metric_that_exists(page):
    dashboard = json.loads((ROOT / "cluster" / "dashboards" / "holdfast.json").read_text())
    queries = [each["query"]["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    sources = {re.fullmatch(r"label_values\((\w+), (\w+)\)", query).groups() for query in queries}
    assert len(sources) == 2
    for metric, label in sources:
        assert metric in page[0] and label in LABELS_OF_A_TARGET


def test_a_node_without_a_majority_is_alive_for_its_probe_and_stops_in_time(holdfast, tmp_path):
    rendered = Rendered({})
    liveness = rendered.node_container["livenessProbe"]["httpGet"]["path"]
    with Cluster(holdfast, tmp_path, rendered) as cluster:
        first, *others = cluster.nodes
        grace = rendered.node_pod["terminationGracePeriodSeconds"]
        # A node that leaves in good order.
        seconds, code = others[0].stop()
        assert code == 0 and seconds < grace
        # One that does not.
        others[1].end()
        eventually("the last node is not ready", lambda: first.get("/readyz")[0] == 503)
        assert first.get(liveness)[0] == 200
        seconds, code = first.stop()
        assert code == 0 and seconds < grace


def test_the_charts_jobs_let_a_node_join_and_leave_and_join_again(holdfast, tmp_path):
    three, four = Rendered({}), Rendered({"replicaCount": 4})
    cluster = Cluster(holdfast, tmp_path, three)
    # Helm starts it when the objects are there, which may be long before the nodes are.
    early = cluster.start_job(three, "add")
    with cluster:
        said, _ = early.communicate(timeout=120)
        assert early.returncode == 0, said
        # An upgrade that changes nothing.
        assert "no node to drain" in cluster.run_job(three, "drain")
        cluster.ask("stock", "receive", "SHIRT-1", "--warehouse", "LDN-1", "--quantity", "7")

        cluster.start(four)
        cluster.run_job(four, "add")
        members = {member["node_id"]: member for member in cluster.placement()["members"]}
        assert members.keys() == {1, 2, 3, 4} and members[4]["replicas"] > 0
        eventually("the new node is ready", cluster.pods[4].is_ready)

        cluster.run_job(three, "drain")
        assert [member["node_id"] for member in cluster.placement()["members"]] == [1, 2, 3]
        cluster.pods.pop(4).end()

        # With the volume that was kept it is refused, and told what to do.
        cluster.start(four)
        eventually("it knows that it is out", lambda: "empty its data folder" in cluster.pods[4].get("/readyz")[1])
        cluster.pods.pop(4).end()
        shutil.rmtree(tmp_path / "node-4" / "data")
        cluster.start(four)
        cluster.run_job(four, "add")
        eventually("it is ready again", cluster.pods[4].is_ready)
        (answer,) = cluster.ask("stock", "get", "SHIRT-1")
        assert [cell["on_hand"] for cell in answer["cells"]] == [7]


def test_the_configuration_of_the_compose_file_is_one_that_nodes_take(tmp_path, check_config):
    text = (ROOT / "cluster" / "node.toml").read_text()
    compose = yaml.safe_load((ROOT / "cluster" / "compose.yaml").read_text())
    nodes = {name: each for name, each in compose["services"].items() if name.startswith("holdfast-")}
    assert len(nodes) == 3
    for service in nodes.values():
        assert check_config(tmp_path, text, service["environment"]) is None
