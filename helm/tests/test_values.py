"""Wrong values are refused by name, the right ones make a configuration that a node takes, and the table in the README has them all."""

import json
import subprocess
import tomllib

import config_schema
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
    ({"config": {"raft": {"heartbeats": "50ms"}}}, ["/config/raft", "heartbeats"]),
    ({"config": {"raft": {"heartbeat": 50}}}, ["/config/raft/heartbeat", "string"]),
    ({"config": {"raft": {"heartbeat": "50"}}}, ["/config/raft/heartbeat", "ms|s|m|h|d"]),
    ({"config": {"storage": {"log_segment": 67108864}}}, ["/config/storage/log_segment", "string"]),
    ({"config": {"storage": {"log_segment": "64 firkins"}}}, ["/config/storage/log_segment"]),
    ({"config": {"raft": {"heartbeat": "60ms", "heartbeat_ms": 60}}}, ["config.raft.heartbeat_ms is the old spelling", "keep config.raft.heartbeat"]),
    ({"config": {"raft": {"heartbeat": "1ms"}}}, ["config.raft.heartbeat is 1ms: choose a value from 5ms to 10s"]),
    ({"config": {"raft": {"spread_leaders": "yes"}}}, ["/config/raft/spread_leaders", "boolean"]),
    ({"config": {"log": {"format": "xml"}}}, ["/config/log/format", "json"]),
    ({"config": {"log": {"level": 'info"\n[node]'}}}, ["/config/log/level"]),
    ({"config": {"telemetry": {"otlp_endpoint": "collector:4317"}}}, ["/config/telemetry/otlp_endpoint"]),
    ({"config": {"limits": {"drain_ms": 20001}}}, ["terminationGracePeriodSeconds is 30", "36", "drain (20001ms)", "preStopSleepSeconds (5)"]),
    ({"config": {"limits": {"drain": "20001ms"}}}, ["terminationGracePeriodSeconds is 30", "36", "drain (20001ms)", "preStopSleepSeconds (5)"]),
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
    ({"sinks": {"enabled": True}}, ["sinks.config is empty"]),
    ({"sinks": {"enabled": True, "config": "listen = '[::]:1'\n[sinks.a]"}}, ["sinks.config sets listen"]),
    ({"sinks": {"enabled": True, "config": "[sinks.a]\npassword = 'hush'"}}, ["sinks.config contains a secret", "sinks.secretFiles"]),
    ({"sinks": {"enabled": True, "config": "[sinks.a]\nurl = 'redis://user:hush@redis'"}}, ["sinks.config contains a secret"]),
    ({"sinks": {"enabled": True, "config": "[sinks.a.client]\n'sasl.password' = \"hush\""}}, ["sinks.config contains a secret"]),
    ({"sinks": {"config": {"sinks": {}}}}, ["/sinks/config", "string"]),
    ({"sinks": {"replicaCount": 0}}, ["/sinks/replicaCount", "1"]),
    ({"sinks": {"secretFiles": ["Redis"]}}, ["/sinks/secretFiles/0"]),
    ({"sinks": {"secretEnv": [{"name": "PASSWORD", "secret": "redis"}]}}, ["/sinks/secretEnv/0", "key"]),
    ({"sinks": {"enabled": True, "config": "x", "secretEnv": [{"name": "HOLDFAST_TLS_KEY", "secret": "s", "key": "k"}]}}, ["sinks.secretEnv names HOLDFAST_TLS_KEY"]),
    ({"sinks": {"targets": [{"to": [], "ports": [6379]}]}}, ["/sinks/targets/0/to"]),
    ({"sinks": {"targets": [{"to": [{"podSelector": {}}], "ports": ["6379"]}]}}, ["/sinks/targets/0/ports/0"]),
    ({"sinks": {"logLevel": "in fo"}}, ["/sinks/logLevel"]),
]


@pytest.mark.parametrize("values, says", WRONG, ids=[json.dumps(values) for values, _ in WRONG])
def test_a_wrong_value_is_refused_by_name(values, says):
    with pytest.raises(helm_python.HelmError) as refused:
        Rendered(values)
    for part in says:
        assert part in str(refused.value)


def test_several_values_that_do_not_fit_each_other_are_told_at_once():
    with pytest.raises(helm_python.HelmError) as refused:
        Rendered({"terminationGracePeriodSeconds": 10, "config": {"raft": {"heartbeat": "200ms"}}})
    assert "terminationGracePeriodSeconds" in str(refused.value)
    assert "config.raft.election_timeout_min is 200ms: choose at least 600ms" in str(refused.value)


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
    assert "# low_space =" in reference and "# ballast =" in reference
    known["storage"] |= {"low_space", "ballast"}
    # Where it listens, and that it has no certificates, the chart says itself.
    for section in ("listen", "security", "tls"):
        del known[section]
    ours = {
        section: {name for name, said in each["properties"].items() if "deprecated" not in said} for section, each in CONFIG.items()
    }
    assert ours == known


def test_the_schema_says_of_a_nodes_keys_what_the_node_says():
    assert (CHART / "values.schema.json").read_text() == config_schema.schema(), "run: python helm/tests/config_schema.py"


def test_the_schema_of_the_chart_is_the_one_that_the_binary_prints(holdfast):
    printed = subprocess.run([holdfast, "config", "schema"], capture_output=True, text=True, check=True).stdout
    assert config_schema.NODE_SCHEMA.read_text() == printed


NODE = config_schema.node_schema()
NUMBERS = [
    (section, key, each["minimum"], each["maximum"])
    for section, keys in CONFIG.items()
    for key, each in keys["properties"].items()
    if each["type"] == "integer" and "maximum" in each and "deprecated" not in each
]
# Each key that is a time or a size, with its old spelling if it has one, and what a node allows: in
# milliseconds or bytes.
MEASURES = [
    (section, key, said.get("x-old-key"), config_schema.number(said["x-minimum"]), config_schema.number(said["x-maximum"]))
    for section in CONFIG
    for key, said in NODE[section]["properties"].items()
    if "x-minimum" in said
]
OLD_KEYS = {
    (section, key): said["x-old-key"] for section in CONFIG for key, said in NODE[section]["properties"].items() if "x-old-key" in said
}
MEASURED = {(section, key) for section, key, *_ in MEASURES} | OLD_KEYS.keys()
SMALLEST = {"time": "ms", "size": "B"}


def written(section, key, value):
    """A number of milliseconds or bytes as a value of a key."""
    return f"{value}{SMALLEST[NODE[section]['properties'][key]['x-unit']]}"


def spelled(section, values, old):
    """A section of numbers, in the old spelling or in the new one."""
    return {
        OLD_KEYS[section, key] if old else key: value if old else written(section, key, value) for key, value in values.items()
    }


def fitting(section, key, value, old=False):
    """Values in which only this one is at its limit, because what depends on it follows."""
    others = {
        "heartbeat": {"election_timeout_min": max(250, 3 * value), "election_timeout_max": max(500, 6 * value)},
        "election_timeout_min": {"heartbeat": 5, "election_timeout_max": value + 1},
        "election_timeout_max": {"heartbeat": 5, "election_timeout_min": 15},
        "operation_window": {"closed_retention": max(86400000, value)},
        "closed_retention": {"operation_window": 60000},
        "shipped_retention": {"operation_window": 60000},
        "default_deadline": {"max_deadline": 600000},
        "max_deadline": {"default_deadline": 10},
    }
    if (section, key) not in MEASURED:
        return {"config": {section: {key: value}}, "terminationGracePeriodSeconds": 3600}
    values = spelled(section, {key: value, **others.get(key, {})}, old)
    return {"config": {section: values}, "terminationGracePeriodSeconds": 3600}


def refused_by_both(section, key, limit, beyond, says, tmp_path, check_config, old=False):
    """A value beyond a limit is refused, by the chart with these words and by a node by its name."""
    with pytest.raises(helm_python.HelmError, match=says):
        Rendered(fitting(section, key, beyond, old))
    rendered = Rendered(fitting(section, key, limit, old))
    line, other = (f"\n{key} = {json.dumps(tomllib.loads(rendered.node_toml)[section][key])}\n", json.dumps(beyond))
    if (section, key) in MEASURED:
        other = json.dumps(written(section, key, beyond))
    assert rendered.node_toml.count(line) == 1
    problem = check_config(tmp_path, rendered.node_toml.replace(line, f"\n{key} = {other}\n"), rendered.environment(1))
    assert problem is not None and f"{section}.{key}" in problem


@pytest.mark.parametrize("section, key, least, most", NUMBERS, ids=[f"{each[0]}.{each[1]}" for each in NUMBERS])
def test_a_range_of_the_schema_is_the_nodes_own(section, key, least, most, tmp_path, check_config):
    for limit, beyond in [(least, least - 1), (most, most + 1)]:
        rendered = Rendered(fitting(section, key, limit))
        assert tomllib.loads(rendered.node_toml)[section][key] == limit
        assert check_config(tmp_path, rendered.node_toml, rendered.environment(1)) is None
        if beyond < 0:
            with pytest.raises(helm_python.HelmError, match=f"/config/{section}/{key}"):
                Rendered(fitting(section, key, beyond))
        else:
            refused_by_both(section, key, limit, beyond, f"/config/{section}/{key}", tmp_path, check_config)


@pytest.mark.parametrize("section, key, old_key, least, most", MEASURES, ids=[f"{each[0]}.{each[1]}" for each in MEASURES])
def test_a_range_of_a_time_or_a_size_is_the_nodes_own_in_each_spelling(section, key, old_key, least, most, tmp_path, check_config):
    spellings = (False, True) if old_key else (False,)
    assert not old_key or CONFIG[section]["properties"][old_key]["deprecated"] is True
    for limit, beyond in [(least, least - 1), (most, most + 1)]:
        texts = [Rendered(fitting(section, key, limit, old)) for old in spellings]
        assert len({each.node_toml for each in texts}) == 1, "the old spelling is not written"
        assert config_schema.number(tomllib.loads(texts[0].node_toml)[section][key]) == limit
        assert check_config(tmp_path, texts[0].node_toml, texts[0].environment(1)) is None
        if beyond >= 0:
            refused_by_both(section, key, limit, beyond, f"config.{section}.{key} is ", tmp_path, check_config)
        if old_key:
            with pytest.raises(helm_python.HelmError, match=f"/config/{section}/{old_key}"):
                Rendered(fitting(section, key, beyond, old=True))


@pytest.mark.parametrize("key, most", [("election_timeout_max", 60000), ("closed_retention", 2**53 - 1), ("shipped_retention", 2**53 - 1)])
def test_the_longest_times_are_exact_in_both_spellings(key, most, tmp_path, check_config):
    section = "raft" if key == "election_timeout_max" else "ledger"
    for old in (False, True):
        rendered = Rendered(fitting(section, key, most, old))
        assert tomllib.loads(rendered.node_toml)[section][key] == f"{most}ms"
        problem = check_config(tmp_path, rendered.node_toml, rendered.environment(1))
        assert problem is None
        with pytest.raises(helm_python.HelmError, match=key):
            Rendered(fitting(section, key, most + 1, True))
    with pytest.raises(helm_python.HelmError, match="at most 1m"):
        Rendered(fitting("raft", "election_timeout_max", 60001))


@pytest.mark.parametrize("text", ["24h", "30d", "1h 30m", "1m30s", "2d", "90s"])
def test_a_time_is_the_same_number_to_the_chart_and_to_a_node(text, tmp_path, check_config):
    millis = config_schema.number(text)
    values = {"operation_window": f"{millis}ms", "closed_retention": text}
    rendered = Rendered({"config": {"ledger": values}})
    environment = rendered.environment(1)
    assert check_config(tmp_path, rendered.node_toml, environment) is None
    with pytest.raises(helm_python.HelmError, match="config.ledger.closed_retention is "):
        Rendered({"config": {"ledger": values | {"operation_window": f"{millis + 1}ms"}}})
    problem = check_config(tmp_path, rendered.node_toml.replace(f'"{millis}ms"', f'"{millis + 1}ms"'), environment)
    assert "ledger.closed_retention is " in problem


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
    node = {
        section: {key: config_schema.number(value) for key, value in keys.items() if (section, key) in OLD_KEYS}
        for section, keys in tomllib.loads(reference).items()
        if section in CONFIG
    }
    raft, limits, ledger = node["raft"], node["limits"], node["ledger"]
    for section, key, last_good, first_bad in [
        ("raft", "heartbeat", raft["election_timeout_min"] // 3, raft["election_timeout_min"] // 3 + 1),
        ("raft", "election_timeout_min", raft["heartbeat"] * 3, raft["heartbeat"] * 3 - 1),
        ("raft", "election_timeout_min", raft["election_timeout_max"] - 1, raft["election_timeout_max"]),
        ("raft", "election_timeout_max", raft["election_timeout_min"] + 1, raft["election_timeout_min"]),
        ("limits", "default_deadline", limits["max_deadline"], limits["max_deadline"] + 1),
        ("limits", "max_deadline", limits["default_deadline"], limits["default_deadline"] - 1),
        ("ledger", "operation_window", ledger["closed_retention"], ledger["closed_retention"] + 1),
        ("ledger", "closed_retention", ledger["operation_window"], ledger["operation_window"] - 1),
        ("ledger", "shipped_retention", ledger["operation_window"], ledger["operation_window"] - 1),
    ]:
        for old in (False, True):
            Rendered({"config": {section: spelled(section, {key: last_good}, old)}})
            with pytest.raises(helm_python.HelmError, match=f"config.{section}"):
                Rendered({"config": {section: spelled(section, {key: first_bad}, old)}})
    # The window's other neighbour: only a very long one reaches it.
    values = {"operation_window": "30d", "closed_retention": "30d"}
    Rendered({"config": {"ledger": values}})
    assert ledger["shipped_retention"] >= 2592000000


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
            "ledger": {"shipped_retention": "7776000001ms"},
            "raft": {"heartbeat": "60ms", "spread_leaders": True},
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
