"""What Kubernetes gets: every object is valid, and they fit together."""

import tomllib

import config_schema
import helm_python
import kubernetes_validate
import pytest
import yaml
from conftest import CERT_MANAGER, CHART, NAMESPACE, PLAINTEXT, RELEASE, ROOT, RULE, VARIANTS, Rendered, values_of

# Of the Prometheus operator and cert-manager, and not in Kubernetes' own schemas.
OPERATOR_KINDS = {"ServiceMonitor", "PrometheusRule", "Certificate"}
OLDEST_KUBERNETES = "1.30"


@pytest.mark.parametrize("variant", VARIANTS)
def test_helm_finds_nothing_to_complain_about(variant):
    report = helm_python.lint(CHART, values_of(variant), strict=True)
    findings = [each["error"] for each in report["messages"] if each["error"] != "icon is recommended"]
    assert (findings, report["errors"]) == ([], [])


@pytest.mark.parametrize("version", [OLDEST_KUBERNETES, kubernetes_validate.utils.latest_version()])
def test_every_object_is_valid_in_the_oldest_and_the_newest_kubernetes(rendered, version):
    assert {each["kind"] for each in rendered.objects} >= {"StatefulSet", "Service", "ConfigMap", "ServiceAccount", "Pod"}
    for each in rendered.objects:
        if each["kind"] not in OPERATOR_KINDS:
            kubernetes_validate.validate(each, version, strict=True)


def test_an_object_with_a_wrong_field_is_not_valid():
    broken = Rendered({}).one("StatefulSet")
    broken["spec"]["replicass"] = 3
    with pytest.raises(kubernetes_validate.ValidationError, match="replicass"):
        kubernetes_validate.validate(broken, OLDEST_KUBERNETES, strict=True)


def test_the_chart_says_which_kubernetes_and_which_holdfast():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())
    assert chart["appVersion"] == workspace["workspace"]["package"]["version"]
    assert chart["kubeVersion"] == f">={OLDEST_KUBERNETES}.0-0"


def test_names_are_short_enough_for_every_release_and_the_objects_of_two_releases_differ():
    longest = Rendered({}, name="a" * 53)
    for each in longest.objects:
        # A pod gets an ordinal, a StatefulSet's revision a hash of ten and a dash.
        limit = 52 if each["kind"] == "StatefulSet" else 63
        assert len(each["metadata"]["name"]) <= limit, each["metadata"]["name"]

    def names(name):
        return {(each["kind"], each["metadata"]["name"]) for each in Rendered({}, name=name).objects}

    assert names("one").isdisjoint(names("two"))


def of_nodes(rendered, kind):
    """The objects of a kind, without those of the runner of the sinks."""
    return [each for each in rendered.all(kind) if each["metadata"]["name"] != f"{rendered.name}-sinks"]


def test_services_and_policies_select_the_nodes_and_nothing_else(rendered):
    template = rendered.one("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    test_labels = rendered.one("Pod", "-test")["metadata"]["labels"]
    job_labels = rendered.one("Job", "-add")["spec"]["template"]["metadata"]["labels"]
    selectors = [service["spec"]["selector"] for service in of_nodes(rendered, "Service")]
    selectors += [each["spec"]["selector"]["matchLabels"] for each in of_nodes(rendered, "PodDisruptionBudget")]
    selectors += [each["spec"]["podSelector"]["matchLabels"] for each in of_nodes(rendered, "NetworkPolicy")]
    selectors += [rendered.one("StatefulSet")["spec"]["selector"]["matchLabels"]]
    selectors += [each["labelSelector"]["matchLabels"] for each in rendered.node_pod["topologySpreadConstraints"]]
    assert len(selectors) >= 6
    for selector in selectors:
        assert selector.items() <= template.items(), selector
        assert not selector.items() <= test_labels.items(), selector
        assert not selector.items() <= job_labels.items(), selector


def test_ports_of_services_probes_and_policies_are_those_that_the_nodes_listen_on(rendered):
    listen = tomllib.loads(rendered.node_toml)["listen"]
    ports = {name: int(address.rsplit(":", 1)[1]) for name, address in listen.items()}
    container = rendered.node_container
    assert {each["name"]: each["containerPort"] for each in container["ports"]} == ports
    for service in of_nodes(rendered, "Service"):
        for port in service["spec"]["ports"]:
            assert port["port"] == ports[port["targetPort"]]
    if not rendered.has_tls:
        assert container["readinessProbe"]["grpc"]["port"] == ports["client"]
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"]:
        if "httpGet" in container[probe]:
            assert container[probe]["httpGet"]["port"] == "http"
            assert container[probe]["httpGet"].get("scheme", "HTTP") == ("HTTPS" if rendered.has_tls else "HTTP")
    exposed = (ROOT / "cluster" / "Dockerfile").read_text().split("EXPOSE ")[1].splitlines()[0]
    runner = 7305
    assert {int(port) for port in exposed.split()} == set(ports.values()) | {runner}


def test_readiness_asks_grpc_and_liveness_asks_nothing_that_needs_a_quorum(rendered):
    container = rendered.node_container
    if rendered.has_tls:
        # The probe for gRPC speaks no TLS.
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz" and "grpc" not in container["readinessProbe"]
    else:
        assert set(container["readinessProbe"]) & {"httpGet", "exec", "tcpSocket"} == set()
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["startupProbe"]["httpGet"]["path"] == "/livez"
    patience = container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"]
    assert patience >= rendered.values["startupPatienceSeconds"]


def test_a_node_may_take_as_long_to_stop_as_it_drains_and_longer(rendered):
    default = config_schema.node_schema()["limits"]["properties"]["drain"]["default"]
    drain_ms = config_schema.number(tomllib.loads(rendered.node_toml).get("limits", {}).get("drain", default))
    sleep_ms = rendered.node_container["lifecycle"]["preStop"]["sleep"]["seconds"] * 1000
    # Whoever routes to the pod hears of its end within seconds, and the sleep counts.
    assert sleep_ms >= 5_000
    assert rendered.node_pod["terminationGracePeriodSeconds"] * 1000 >= sleep_ms + drain_ms + 10_000


def test_a_node_that_need_not_wait_has_no_hook():
    assert "lifecycle" not in Rendered({"preStopSleepSeconds": 0}).node_container


@pytest.mark.parametrize("nodes", range(1, 10))
def test_a_drain_never_takes_the_majority(nodes):
    budget = Rendered({"replicaCount": nodes}).one("PodDisruptionBudget")["spec"]
    assert set(budget) == {"maxUnavailable", "selector"}
    majority = nodes // 2 + 1
    assert nodes - budget["maxUnavailable"] >= majority
    if nodes > 2:
        assert budget["maxUnavailable"] >= 1, "machines could never be drained"


def test_nodes_start_together_find_each_other_before_they_are_ready_and_keep_their_volumes(rendered):
    stateful_set = rendered.one("StatefulSet")["spec"]
    nodes = rendered.one("Service", "-nodes")["spec"]
    # One after the other, the first would wait for ever: it is ready only with a majority.
    assert stateful_set["podManagementPolicy"] == "Parallel"
    assert nodes["publishNotReadyAddresses"] is True and nodes["clusterIP"] == "None"
    assert stateful_set["serviceName"] == rendered.one("Service", "-nodes")["metadata"]["name"]
    assert stateful_set["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
    assert "publishNotReadyAddresses" not in rendered.one("Service")["spec"]


def test_nodes_are_spread_over_zones_and_machines(rendered):
    constraints = {each["topologyKey"]: each for each in rendered.node_pod["topologySpreadConstraints"]}
    assert set(constraints) == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    assert {each["maxSkew"] for each in constraints.values()} == {1}
    wanted = rendered.values["topologySpread"]
    assert constraints["topology.kubernetes.io/zone"]["whenUnsatisfiable"] == wanted["zones"]
    assert constraints["kubernetes.io/hostname"]["whenUnsatisfiable"] == wanted["hosts"]


@pytest.mark.parametrize("nodes", [1, 3, 9])
def test_nodes_that_must_be_spread_wait_where_there_are_too_few_machines_or_zones(nodes):
    strict, loose = (
        Rendered({"replicaCount": nodes, "topologySpread": {"zones": when, "hosts": when}}).node_pod["topologySpreadConstraints"]
        for when in ("DoNotSchedule", "ScheduleAnyway")
    )
    # Without it Kubernetes takes two machines for all there are, and puts two of three nodes on one. With
    # fewer than minDomains the emptiest counts as empty: then no machine gets a second node, and no zone of
    # two gets a second.
    zones, machines = (each["minDomains"] for each in strict)
    assert zones == 3 and machines >= nodes
    # Kubernetes refuses it there.
    assert not any("minDomains" in each for each in loose)


def test_production_never_puts_two_of_three_nodes_on_one_machine_or_in_one_zone():
    rendered = Rendered(values_of("values-production.yaml"))
    constraints = rendered.node_pod["topologySpreadConstraints"]
    assert [(each["whenUnsatisfiable"], each["minDomains"]) for each in constraints] == [("DoNotSchedule", 3), ("DoNotSchedule", 9)]


def test_a_changed_configuration_restarts_the_nodes():
    def checksum(values):
        return Rendered(values).one("StatefulSet")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    assert checksum({}) == checksum({"persistence": {"size": "30Gi"}})
    assert checksum({}) != checksum({"config": {"log": {"level": "debug"}}})


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"cluster": {"replication_factor": 5}}},
        {"config": {"shards": {"count": 8}}},
        {"config": {"ledger": {"operation_window": "1h"}}},
        {"config": {"ledger": {"operation_window_ms": 3600000}}},
        {"config": {"node": {"cluster_id": "0197a3c0-7f1e-7c5a-9b1d-3f2c5a6b7c8d"}}},
    ],
)
def test_what_is_fixed_is_in_an_immutable_object_that_would_have_to_change(change):
    before, after = Rendered({}).one("ConfigMap", "-facts"), Rendered(change).one("ConfigMap", "-facts")
    assert before["immutable"] is True
    assert before["data"] != after["data"]
    # An uninstall leaves the volumes, so it leaves this too.
    assert before["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_what_is_fixed_may_be_written_in_either_spelling():
    """A release that was made with the old spelling may go over to the new one, though its object is immutable."""

    def facts(ledger):
        return Rendered({"config": {"ledger": ledger}}).one("ConfigMap", "-facts")["data"]

    old = {"shipped_retention_ms": 2592000000, "operation_window_ms": 3600000}
    assert facts(old) == facts({"shipped_retention": "30d", "operation_window": "60m"})
    # The text is the one of the chart that knew only the old spelling.
    assert facts(old)["ledger"] == '{"operation_window_ms":3600000,"shipped_retention_ms":2592000000}'
    assert facts({})["ledger"] == "{}"


def test_what_is_not_fixed_can_be_changed():
    change = {"replicaCount": 5, "config": {"limits": {"drain": "5s"}, "raft": {"spread_leaders": True}, "log": {"format": "pretty"}}}
    facts = [Rendered(values).one("ConfigMap", "-facts")["data"] for values in ({}, change)]
    assert facts[0] == facts[1]


def test_helm_comes_to_the_fixed_object_before_the_one_that_nodes_read():
    with helm_python.Config(namespace=NAMESPACE) as config:
        manifest = config.install(CHART, RELEASE, PLAINTEXT, dry_run="client")["manifest"]
    order = [each["metadata"]["name"] for each in yaml.safe_load_all(manifest) if each["kind"] in ("ConfigMap", "StatefulSet")]
    assert order == ["holdfast-facts", "holdfast-node", "holdfast"]


def test_the_cluster_id_is_the_same_at_every_upgrade_and_another_elsewhere():
    def cluster_id(**release):
        return tomllib.loads(Rendered({}, **release).node_toml)["node"]["cluster_id"]

    assert cluster_id() == cluster_id()
    assert len({cluster_id(), cluster_id(namespace="other"), cluster_id(name="holdfast-2")}) == 3


def test_monitoring_scrapes_every_node_ready_or_not_under_the_name_that_the_alerts_know():
    rendered = Rendered(values_of("everything"))
    monitor = rendered.one("ServiceMonitor")
    selector = monitor["spec"]["selector"]["matchLabels"].items()
    services = [each for each in rendered.all("Service") if selector <= each["metadata"]["labels"].items()]
    assert [each["metadata"]["name"] for each in services] == ["holdfast-nodes"]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["path"] == "/metrics"
    assert endpoint["port"] in {port["name"] for port in services[0]["spec"]["ports"]}
    assert services[0]["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "holdfast"
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": [NAMESPACE]}
    assert monitor["metadata"]["labels"]["release"] == "monitoring"
    assert set(monitor["spec"]) == {"jobLabel", "namespaceSelector", "selector", "endpoints"}
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"]["ca"]["secret"] == {"name": "our-node-1", "key": "ca.crt"}


def test_the_notes_say_how_to_go_on(rendered):
    scheme = "https" if rendered.has_tls else "http"
    for part in [f"{scheme}://holdfast.shop.svc.cluster.local:7301", "holdfast-admin.shop", "helm test holdfast --namespace shop"]:
        assert part in rendered.notes
    assert ("everything is plaintext" in rendered.notes) == (not rendered.has_tls)
    assert ("no loss" in rendered.notes) == (rendered.values["replicaCount"] < 3)


def test_the_notes_warn_of_what_is_left_open():
    assert "may do everything but administer" in Rendered(CERT_MANAGER).notes
    assert "may do everything" not in Rendered(CERT_MANAGER | {"policy": {"rules": [RULE]}}).notes
    assert "Two nodes survive" in Rendered({"replicaCount": 2}).notes
    assert "holdfast cluster drain" in Rendered({"scaling": {"jobs": False}}).notes
