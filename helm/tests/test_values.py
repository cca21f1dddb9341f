"""Wrong values are refused by name, the right ones make a configuration that a node takes, and the table in the README has them all."""

import json
import subprocess
import tomllib

import helm_python
import pytest
import values_table
from conftest import CERT_MANAGER, CHART, RULE, Rendered

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
CONFIG = SCHEMA["properties"]["config"]["properties"]

WRONG = [
    ({"replicaCount": 0}, ["/replicaCount", "1"]),
    ({"replicaCount": 10}, ["/replicaCount", "9"]),
    ({"replicaCount": "3"}, ["/replicaCount"]),
    ({"replicas": 3}, ["replicas"]),
    ({"clusterDomain": "cluster.local."}, ["/clusterDomain"]),
    ({"fullnameOverride": "Holdfast"}, ["/fullnameOverride"]),
    ({"fullnameOverride": "a" * 41}, ["/fullnameOverride"]),
    ({"listenAddress": "10.0.0.1"}, ["/listenAddress", "0.0.0.0"]),
    ({"image": {"repository": "holdfast:1"}}, ["/image/repository"]),
    ({"image": {"digest": "sha256:12"}}, ["/image/digest"]),
    ({"image": {"pullPolicy": "Sometimes"}}, ["/image/pullPolicy", "IfNotPresent"]),
    ({"image": {"name": "x"}}, ["/image", "name"]),
    ({"imagePullSecrets": ["pull"]}, ["/imagePullSecrets/0"]),
    ({"config": {"peers": []}}, ["/config", "peers"]),
    ({"config": {"listen": {"client": "0.0.0.0:1"}}}, ["/config", "listen"]),
    ({"config": {"node": {"node_id": 1}}}, ["/config/node", "node_id"]),
    ({"config": {"node": {"cluster_id": "mine"}}}, ["/config/node/cluster_id"]),
    ({"config": {"shards": {"count": 65}}}, ["/config/shards/count", "64"]),
    ({"config": {"shards": {"count": None}}}, ["/config/shards", "count"]),
    ({"config": {"raft": {"heartbeat": 50}}}, ["/config/raft", "heartbeat"]),
    ({"config": {"raft": {"spread_leaders": "yes"}}}, ["/config/raft/spread_leaders", "boolean"]),
    ({"config": {"log": {"format": "xml"}}}, ["/config/log/format", "json"]),
    ({"config": {"log": {"level": 'info"\n[node]'}}}, ["/config/log/level"]),
    ({"config": {"telemetry": {"otlp_endpoint": "collector:4317"}}}, ["/config/telemetry/otlp_endpoint"]),
    ({"config": {"limits": {"drain_ms": 20001}}}, ["terminationGracePeriodSeconds is 30", "36", "drain_ms", "preStopSleepSeconds (5)"]),
    ({"terminationGracePeriodSeconds": 24}, ["terminationGracePeriodSeconds is 24", "25"]),
    ({"preStopSleepSeconds": -1}, ["/preStopSleepSeconds", "0"]),
    ({"tls": {"enabled": False}}, ["allowPlaintext: true"]),
    (CERT_MANAGER | {"allowPlaintext": True}, ["allowPlaintext is true although tls.enabled is"]),
    ({"tls": {"certManager": {"enabled": True}}}, ["tls.certManager.nodeIssuer.name is empty"]),
    ({"tls": {"certManager": {"enabled": True, "nodeIssuer": {"name": "ca"}, "duration": "30d"}}}, ["/tls/certManager/duration"]),
    ({"tls": {"certificates": {}}}, ["/tls", "certificates"]),
    ({"tls": {"operatorPrincipal": "Jane Doe"}}, ["/tls/operatorPrincipal"]),
    ({"policy": {"rules": [RULE]}}, ["policy is set without tls.enabled"]),
    (CERT_MANAGER | {"policy": {"rules": [RULE], "admins": ["a"]}}, ["policy.admins is set beside policy.rules"]),
    (CERT_MANAGER | {"policy": {"rules": [{"principals": ["a"]}]}}, ["/policy/rules/0", "verbs"]),
    (CERT_MANAGER | {"policy": {"rules": [RULE | {"verbs": []}]}}, ["/policy/rules/0/verbs"]),
    ({"scaling": {"timeoutSeconds": 1}}, ["/scaling/timeoutSeconds", "60"]),
    ({"zoneFromPodLabel": "yes"}, ["/zoneFromPodLabel", "boolean"]),
    ({"config": {"cluster": {"replication_factor": 4}}}, ["/config/cluster/replication_factor"]),
    ({"config": {"node": {"zone": "a"}}, "zoneFromPodLabel": True}, ["config.node.zone is set beside zoneFromPodLabel"]),
    ({"config": {"node": {"zone": "z" * 64}}}, ["/config/node/zone"]),
    ({"persistence": {"whenScaled": "Never"}}, ["/persistence/whenScaled", "Retain"]),
    ({"config": {"cluster": {"nodes": 4}}}, ["/config/cluster", "nodes"]),
    ({"networkPolicy": {"adminFrom": [{}]}}, ["/networkPolicy/adminFrom/0"]),
    ({"resources": {"limits": {"memory": "lots"}}}, ["/resources/limits/memory"]),
    ({"resources": {"limit": {}}}, ["/resources", "limit"]),
    ({"persistence": {"size": "20"}}, ["/persistence/size"]),
    ({"persistence": {"storageClassName": "Fast"}}, ["/persistence/storageClassName"]),
    ({"startupPatienceSeconds": 5}, ["/startupPatienceSeconds", "30"]),
    ({"minReadySeconds": -1}, ["/minReadySeconds", "0"]),
    ({"podDisruptionBudget": {"maxUnavailable": 2}}, ["/podDisruptionBudget", "maxUnavailable"]),
    ({"topologySpread": {"hosts": "Never"}}, ["/topologySpread/hosts", "DoNotSchedule"]),
    ({"nodeSelector": {"disk": True}}, ["/nodeSelector/disk", "string"]),
    ({"tolerations": [{"effect": "NoWay"}]}, ["/tolerations/0/effect", "NoSchedule"]),
    ({"networkPolicy": {"clientFrom": [{}]}}, ["/networkPolicy/clientFrom/0"]),
    ({"networkPolicy": {"clientFrom": [{"pods": {}}]}}, ["/networkPolicy/clientFrom/0", "pods"]),
    ({"networkPolicy": {"monitoringFrom": [{"ipBlock": {"cidr": "ten"}}]}}, ["/networkPolicy/monitoringFrom/0/ipBlock/cidr"]),
    ({"serviceMonitor": {"interval": "often"}}, ["/serviceMonitor/interval"]),
    ({"prometheusRule": {"runbookBaseUrl": "runbooks"}}, ["/prometheusRule/runbookBaseUrl"]),
    ({"dashboard": {"labels": {"a": 1}}}, ["/dashboard/labels/a"]),
]


@pytest.mark.parametrize("values, says", WRONG, ids=[json.dumps(values) for values, _ in WRONG])
def test_a_wrong_value_is_refused_by_name(values, says):
    with pytest.raises(helm_python.HelmError) as refused:
        Rendered(values)
    for part in says:
        assert part in str(refused.value)


def test_several_values_that_do_not_fit_each_other_are_told_at_once():
    with pytest.raises(helm_python.HelmError) as refused:
        Rendered({"terminationGracePeriodSeconds": 10, "config": {"raft": {"heartbeat_ms": 200}}})
    assert "terminationGracePeriodSeconds" in str(refused.value)
    assert "config.raft.election_timeout_min_ms" in str(refused.value)


def objects_of(schema, path=""):
    """Every part of the schema that describes an object, with where it is."""
    if schema.get("type") == "object":
        yield path, schema
    for name, each in schema.get("properties", {}).items():
        yield from objects_of(each, f"{path}/{name}")
    for name, each in schema.get("definitions", {}).items():
        yield from objects_of(each, f"#{name}")
    if "items" in schema:
        yield from objects_of(schema["items"], f"{path}[]")


def test_the_schema_describes_every_key_and_lets_no_other_through():
    found = dict(objects_of(SCHEMA))
    assert len(found) > 20
    # What an umbrella chart shares with its parts is not ours to describe.
    del found["/global"]
    for path, schema in found.items():
        assert schema.get("additionalProperties") in (False, {"type": "string"}), path
        for name, each in schema.get("properties", {}).items():
            assert len(each.get("description", "")) > 5, f"{path}/{name}"


def test_every_key_of_a_node_can_be_set_except_what_is_the_charts_own(holdfast):
    reference = subprocess.run([holdfast, "config", "reference"], capture_output=True, text=True, check=True).stdout
    sections = tomllib.loads(reference)
    known = {section: set(keys) for section, keys in sections.items()}
    assert "# cluster_id =" in reference and "# threads =" in reference and "# otlp_endpoint =" in reference
    known["node"] = (known["node"] | {"cluster_id", "threads"}) - {"node_id", "data_dir"}
    known["telemetry"].add("otlp_endpoint")
    assert "# connections =" in reference
    known["limits"].add("connections")
    assert "# low_space_bytes =" in reference and "# ballast_bytes =" in reference
    known["storage"] |= {"low_space_bytes", "ballast_bytes"}
    # Where it listens, and that it has no certificates, the chart says itself.
    for section in ("listen", "security", "tls"):
        del known[section]
    ours = {section: set(each["properties"]) for section, each in CONFIG.items()}
    assert ours == known


NUMBERS = [
    (section, key, each["minimum"], each["maximum"])
    for section, keys in CONFIG.items()
    for key, each in keys["properties"].items()
    if each["type"] == "integer" and "minimum" in each
]
# A node has no such limit; beyond it JSON's numbers are not exact.
NO_LIMIT_OF_THE_NODE = {("closed_retention_ms", 2**53 - 1), ("shipped_retention_ms", 2**53 - 1)}


def fitting(section, key, value):
    """Values in which only this one is at its limit, because what depends on it follows."""
    others = {
        "heartbeat_ms": {"election_timeout_min_ms": max(250, 3 * value), "election_timeout_max_ms": max(500, 6 * value)},
        "election_timeout_min_ms": {"heartbeat_ms": 5, "election_timeout_max_ms": value + 1},
        "election_timeout_max_ms": {"heartbeat_ms": 5, "election_timeout_min_ms": 15},
        "operation_window_ms": {"closed_retention_ms": max(86400000, value)},
        "closed_retention_ms": {"operation_window_ms": 60000},
        "shipped_retention_ms": {"operation_window_ms": 60000},
        "default_deadline_ms": {"max_deadline_ms": 600000},
        "max_deadline_ms": {"default_deadline_ms": 10},
    }
    return {"config": {section: {key: value, **others.get(key, {})}}, "terminationGracePeriodSeconds": 3600}


@pytest.mark.parametrize("section, key, least, most", NUMBERS, ids=[f"{each[0]}.{each[1]}" for each in NUMBERS])
def test_a_range_of_the_schema_is_the_nodes_own(section, key, least, most, tmp_path, check_config):
    for limit, beyond in [(least, least - 1), (most, most + 1)]:
        rendered = Rendered(fitting(section, key, limit))
        environment = rendered.environment(1)
        assert tomllib.loads(rendered.node_toml)[section][key] == limit
        assert check_config(tmp_path, rendered.node_toml, environment) is None
        if (key, limit) in NO_LIMIT_OF_THE_NODE:
            continue
        with pytest.raises(helm_python.HelmError, match=f"/config/{section}/{key}"):
            Rendered(fitting(section, key, beyond))
        line = f"\n{key} = {limit}\n"
        assert rendered.node_toml.count(line) == 1
        problem = check_config(tmp_path, rendered.node_toml.replace(line, f"\n{key} = {beyond}\n"), environment)
        assert problem is not None and key in problem


@pytest.mark.parametrize("factor", range(0, 8))
def test_a_shard_can_have_as_many_replicas_as_a_node_says(factor, tmp_path, check_config):
    line = "\nreplication_factor = 3\n"
    text, environment = Rendered({}).node_toml, Rendered({}).environment(1)
    assert text.count(line) == 1
    problem = check_config(tmp_path, text.replace(line, f"\nreplication_factor = {factor}\n"), environment)
    if factor in CONFIG["cluster"]["properties"]["replication_factor"]["enum"]:
        assert problem is None
    else:
        assert "cluster.replication_factor" in problem


def test_values_that_depend_on_a_default_know_the_nodes_default(holdfast):
    reference = subprocess.run([holdfast, "config", "reference"], capture_output=True, text=True, check=True).stdout
    node = tomllib.loads(reference)
    raft, limits, ledger = node["raft"], node["limits"], node["ledger"]
    for section, key, last_good, first_bad in [
        ("raft", "heartbeat_ms", raft["election_timeout_min_ms"] // 3, raft["election_timeout_min_ms"] // 3 + 1),
        ("raft", "election_timeout_min_ms", raft["heartbeat_ms"] * 3, raft["heartbeat_ms"] * 3 - 1),
        ("raft", "election_timeout_min_ms", raft["election_timeout_max_ms"] - 1, raft["election_timeout_max_ms"]),
        ("raft", "election_timeout_max_ms", raft["election_timeout_min_ms"] + 1, raft["election_timeout_min_ms"]),
        ("limits", "default_deadline_ms", limits["max_deadline_ms"], limits["max_deadline_ms"] + 1),
        ("limits", "max_deadline_ms", limits["default_deadline_ms"], limits["default_deadline_ms"] - 1),
        ("ledger", "operation_window_ms", ledger["closed_retention_ms"], ledger["closed_retention_ms"] + 1),
        ("ledger", "closed_retention_ms", ledger["operation_window_ms"], ledger["operation_window_ms"] - 1),
        ("ledger", "shipped_retention_ms", ledger["operation_window_ms"], ledger["operation_window_ms"] - 1),
    ]:
        Rendered({"config": {section: {key: last_good}}})
        with pytest.raises(helm_python.HelmError, match=f"config.{section}"):
            Rendered({"config": {section: {key: first_bad}}})
    # The window's other neighbour: only a very long one reaches it.
    values = {"operation_window_ms": 2592000000, "closed_retention_ms": 2592000000}
    Rendered({"config": {"ledger": values}})
    assert ledger["shipped_retention_ms"] >= 2592000000


def test_every_node_takes_its_configuration_and_is_one_of_its_peers(rendered, tmp_path, check_config):
    for pod in rendered.pods:
        environment = rendered.environment(pod)
        assert check_config(tmp_path, rendered.node_toml, environment) is None
    stranger = rendered.environment(max(rendered.pods) + 1)
    assert "peers does not list this node" in check_config(tmp_path, rendered.node_toml, stranger)


def test_peers_have_the_dns_names_of_their_pods(rendered):
    node = tomllib.loads(rendered.node_toml)
    stateful_set = rendered.one("StatefulSet")
    set_name, service = stateful_set["metadata"]["name"], stateful_set["spec"]["serviceName"]
    domain = f"{service}.shop.svc.{rendered.values['clusterDomain']}"
    wanted = [
        {
            "node_id": int(rendered.environment(pod)["HOLDFAST__NODE__NODE_ID"]),
            "client_address": f"{set_name}-{pod}.{domain}:7301",
            "peer_address": f"{set_name}-{pod}.{domain}:7302",
            "admin_address": f"{set_name}-{pod}.{domain}:7304",
        }
        for pod in rendered.pods
    ]
    assert node["peers"] == wanted
    assert len(wanted) == rendered.values["replicaCount"]


def test_what_is_set_is_what_the_node_reads(tmp_path, holdfast):
    values = {
        "config": {
            "node": {"zone": "eu-1"},
            "cluster": {"replication_factor": 5},
            "ledger": {"shipped_retention_ms": 7776000001},
            "raft": {"heartbeat_ms": 60, "spread_leaders": True},
            "log": {"level": "info,holdfast_node=debug"},
        }
    }
    rendered = Rendered(values)
    file = tmp_path / "node.toml"
    file.write_text(rendered.node_toml)
    done = subprocess.run(
        [holdfast, "--json", "config", "check", file], env=rendered.environment(2), capture_output=True, text=True, check=True
    )
    config = json.loads(done.stdout)["config"]
    assert config["node"]["node_id"] == 2
    for section, keys in values["config"].items():
        assert keys.items() <= config[section].items()


def test_the_readme_has_the_table_of_all_values():
    assert values_table.table() in (CHART / "README.md").read_text(), "run: python helm/tests/values_table.py"
