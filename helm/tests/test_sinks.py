"""The runner of the sinks: its objects, what it may do and call, and that it runs as the chart configures it."""

import re
import subprocess
import tomllib

import authority
import pytest
import yaml
from conftest import CERT_MANAGER, EVERYTHING, NAMESPACE, ROOT, RULE, Rendered, values_of
from nodes import Cluster
from runner import Redis, Runner

PORT = 7305
# Where nobody listens, for a runner that soon says so.
NOWHERE = {"endpoints": "http://localhost:1", "options": ["--deadline", "100ms"]}
ONE_SINK = {"enabled": True, "config": '[sinks.product-pages]\ntype = "redis"\nurl = "redis://redis:6379"\n'}


def production():
    """values-production.yaml with the sinks that it shows."""
    values = values_of("values-production.yaml")
    return values | {"sinks": values["sinks"] | {"enabled": True}}


@pytest.fixture(params=[EVERYTHING, production()], ids=["everything", "production"])
def with_sinks(request):
    return Rendered(request.param)


def test_without_sinks_there_is_nothing_of_them():
    rendered = Rendered(CERT_MANAGER | {"policy": {"rules": [RULE]}})
    assert rendered.all("Deployment") == []
    assert not [each for each in rendered.objects if "sinks" in each["metadata"]["name"]]
    assert "sinks" not in rendered.one("ConfigMap", "-policy")["data"]["policy.toml"]
    assert "holdfast sinks" not in rendered.notes
    assert "holdfast-sinks -- holdfast sinks status" in Rendered({"sinks": ONE_SINK}).notes


def test_everything_of_the_sinks_selects_the_runners_and_nothing_else(with_sinks):
    deployment = with_sinks.one("Deployment", "-sinks")["spec"]
    template = deployment["template"]["metadata"]["labels"]
    others = [with_sinks.one("StatefulSet")["spec"]["template"]["metadata"]["labels"], with_sinks.one("Pod", "-test")["metadata"]["labels"]]
    others += [each["spec"]["template"]["metadata"]["labels"] for each in with_sinks.all("Job")]
    selectors = [
        deployment["selector"]["matchLabels"],
        with_sinks.one("Service", "-sinks")["spec"]["selector"],
        with_sinks.one("PodDisruptionBudget", "-sinks")["spec"]["selector"]["matchLabels"],
        with_sinks.one("NetworkPolicy", "-sinks")["spec"]["podSelector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in with_sinks.sinks_pod["topologySpreadConstraints"]),
    ]
    for selector in selectors:
        assert selector.items() <= template.items()
        assert not any(selector.items() <= labels.items() for labels in others)
    (monitor,) = [each for each in with_sinks.all("ServiceMonitor") if each["metadata"]["name"] == "holdfast-sinks"]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    assert [each["metadata"]["name"] for each in with_sinks.all("Service") if wanted <= each["metadata"]["labels"].items()] == ["holdfast-sinks"]


def test_runners_are_scraped_ready_or_not_under_a_job_of_their_own(with_sinks):
    service = with_sinks.one("Service", "-sinks")["spec"]
    assert service["clusterIP"] == "None" and service["publishNotReadyAddresses"] is True
    monitor = with_sinks.one("ServiceMonitor", "-sinks")["spec"]
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["ports"]} and endpoint["path"] == "/metrics"
    # The alerts of nodes select the job `holdfast`, and a runner is no node.
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "holdfast-sinks"}]
    assert monitor["namespaceSelector"] == {"matchNames": [NAMESPACE]}


def test_the_port_is_the_same_in_configuration_service_probes_and_policy(with_sinks):
    (container,) = with_sinks.sinks_pod["containers"]
    assert tomllib.loads(with_sinks.sinks_toml)["listen"] == f"0.0.0.0:{PORT}"
    assert container["ports"] == [{"name": "http", "containerPort": PORT}]
    for probe, path in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]:
        assert container[probe]["httpGet"] == {"path": path, "port": "http"}
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= with_sinks.values["sinks"]["startupPatienceSeconds"]
    (port,) = with_sinks.one("Service", "-sinks")["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (PORT, "http")
    (rule,) = with_sinks.one("NetworkPolicy", "-sinks")["spec"]["ingress"]
    assert rule == {"from": with_sinks.values["networkPolicy"]["monitoringFrom"], "ports": [{"port": PORT}]}
    assert tomllib.loads(Rendered({"sinks": ONE_SINK, "listenAddress": "[::]"}).sinks_toml)["listen"] == f"[::]:{PORT}"


def test_runners_call_only_nodes_dns_and_the_targets_that_are_named(with_sinks):
    spec = with_sinks.one("NetworkPolicy", "-sinks")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    nodes, dns, *targets = spec["egress"]
    labels = with_sinks.one("StatefulSet")["spec"]["selector"]["matchLabels"]
    assert nodes == {"to": [{"podSelector": {"matchLabels": labels}}], "ports": [{"port": 7301}]}
    assert {(each["protocol"], each["port"]) for each in dns["ports"]} == {("UDP", 53), ("TCP", 53)}
    wanted = with_sinks.values["sinks"]["targets"]
    assert targets == [{"to": each["to"], "ports": [{"port": port} for port in each["ports"]]} for each in wanted]
    assert all(each["to"] for each in spec["egress"]), "an empty `to` is everybody"


def test_nobody_reads_the_metrics_where_the_list_is_empty():
    closed = Rendered({"sinks": ONE_SINK, "networkPolicy": {"monitoringFrom": [], "dnsTo": []}}).one("NetworkPolicy", "-sinks")["spec"]
    # A policy of the type Ingress without a rule lets nobody in.
    assert "Ingress" in closed["policyTypes"] and "ingress" not in closed and len(closed["egress"]) == 1


def test_an_upgrade_or_a_drain_always_leaves_a_runner(with_sinks):
    deployment = with_sinks.one("Deployment", "-sinks")["spec"]
    assert deployment["replicas"] == with_sinks.values["sinks"]["replicaCount"] >= 2
    assert deployment["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    budget = with_sinks.one("PodDisruptionBudget", "-sinks")["spec"]
    assert budget["maxUnavailable"] == 1
    # A target that is down makes runners unready. That must not stop the drain of a machine.
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    without = Rendered({"sinks": ONE_SINK, "podDisruptionBudget": {"enabled": False}})
    assert without.all("PodDisruptionBudget") == []


def test_a_changed_configuration_restarts_the_runners_and_no_node():
    def templates(config):
        rendered = Rendered(CERT_MANAGER | {"policy": {"rules": [RULE]}, "sinks": ONE_SINK | {"config": config}})
        return [rendered.one(kind, suffix)["spec"]["template"] for kind, suffix in [("Deployment", "-sinks"), ("StatefulSet", "")]]

    before, after = templates("[sinks.a]"), templates("[sinks.b]")
    assert before[0] != after[0] and before[1] == after[1]
    off = Rendered(CERT_MANAGER | {"policy": {"rules": [RULE]}}).one("StatefulSet")["spec"]["template"]
    assert off == before[1], "to begin with sinks restarts no node"


def test_secrets_come_by_reference_only():
    rendered = Rendered(EVERYTHING)
    (container,) = rendered.sinks_pod["containers"]
    by_name = {each["name"]: each for each in container["env"]}
    assert by_name["REDIS_PASSWORD"]["valueFrom"] == {"secretKeyRef": {"name": "redis", "key": "password"}}
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    assert all(each["readOnly"] for each in container["volumeMounts"]), "a runner writes nothing"
    volumes = {each["name"]: each for each in rendered.sinks_pod["volumes"]}
    mounted = volumes[mounts["/etc/holdfast/secrets/other-redis"]]["projected"]
    assert mounted == {"defaultMode": 0o440, "sources": [{"secret": {"name": "other-redis"}}]}
    # Each file and each variable that the configuration refers to is there.
    for sink in tomllib.loads(rendered.sinks_toml)["sinks"].values():
        ((kind, where),) = sink["password"].items()
        assert where in by_name if kind == "env" else where.rsplit("/", 1)[0] in mounts


def test_a_runner_shows_its_own_certificate_and_knows_the_nodes_ca():
    rendered = Rendered(EVERYTHING)
    (volume,) = [each for each in rendered.sinks_pod["volumes"] if each["name"] == "tls"]
    items = {item["path"]: (source["secret"]["name"], item["key"]) for source in volume["projected"]["sources"] for item in source["secret"]["items"]}
    assert items == {"tls.crt": ("our-sinks", "tls.crt"), "tls.key": ("our-sinks", "tls.key"), "ca.crt": ("our-node-1", "ca.crt")}
    made = Rendered(CERT_MANAGER | {"sinks": ONE_SINK}).one("Certificate", "-sinks")["spec"]
    assert made["uris"] == ["spiffe://holdfast/chart/sinks"] and made["secretName"] == "holdfast-sinks"
    assert "server auth" not in made["usages"]
    assert [each["metadata"]["name"] for each in Rendered(CERT_MANAGER).all("Certificate") if "sinks" in each["metadata"]["name"]] == []
    # Plaintext nodes have nobody's certificate.
    assert [each["name"] for each in Rendered({"sinks": ONE_SINK}).sinks_pod["volumes"]] == ["config"]


@pytest.mark.parametrize("may_read, verbs", [(False, ["changes"]), (True, ["changes", "read"])])
def test_a_policy_lets_the_runner_read_changes_and_stock_only_on_request(may_read, verbs):
    rendered = Rendered(CERT_MANAGER | {"policy": {"rules": [RULE]}, "sinks": ONE_SINK | {"mayRead": may_read}})
    rules = tomllib.loads(rendered.one("ConfigMap", "-policy")["data"]["policy.toml"])["rules"]
    ours = [each for each in rules if "spiffe://holdfast/chart/sinks" in each["principals"]]
    assert ours == [{"principals": ["spiffe://holdfast/chart/sinks"], "verbs": verbs, "storefronts": ["*"], "warehouses": ["*"]}]


def test_a_runner_may_take_longer_to_stop_than_it_gives_its_targets(with_sinks):
    text = (ROOT / "crates" / "sinks" / "src" / "runner" / "shard.rs").read_text()
    patience = int(re.search(r"const FINISH_PATIENCE: Duration = Duration::from_secs\((\d+)\)", text)[1])
    assert with_sinks.sinks_pod["terminationGracePeriodSeconds"] >= patience + 5


def test_the_image_exposes_the_port_and_is_built_with_every_sink():
    dockerfile = (ROOT / "cluster" / "Dockerfile").read_text()
    assert str(PORT) in dockerfile.split("EXPOSE ")[1].splitlines()[0].split()
    (wanted,) = re.findall(r"^ARG FEATURES=\"?([a-z,]*)\"?$", dockerfile, re.MULTILINE)
    assert '--features "$FEATURES"' in dockerfile
    features = tomllib.loads((ROOT / "crates" / "sinks" / "Cargo.toml").read_text())["features"]
    every = set(features) - {"default"}
    assert set(filter(None, wanted.split(","))) == every, f"write into cluster/Dockerfile: ARG FEATURES=\"{','.join(sorted(every))}\""


@pytest.mark.parametrize("values", [EVERYTHING, production()], ids=["everything", "production"])
def test_a_runner_takes_the_configuration_of_the_chart(values, holdfast, tmp_path):
    rendered = Rendered(values)
    with Runner(holdfast, tmp_path, rendered, **NOWHERE) as runner:
        # It has read the configuration by then, and goes on looking for the cluster.
        runner.says("the cluster does not answer, trying again")
        assert runner.stop() == 0


def blocks(page, language):
    """The examples of a page in one language that are about sinks."""
    found = re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return [each for each in found if "sinks" in each]


def test_a_runner_takes_the_configuration_that_the_pages_show(holdfast, tmp_path):
    (shown,) = blocks("docs/operations.md", "toml")
    (values,) = blocks("helm/holdfast/README.md", "yaml")
    rendered = Rendered(yaml.safe_load(values))
    for number, options in enumerate([{"rendered": None, "text": shown}, {"rendered": rendered}]):
        with Runner(holdfast, tmp_path / str(number), **options, **NOWHERE) as runner:
            runner.says("the cluster does not answer, trying again")


def test_a_runner_refuses_a_configuration_that_cannot_work(holdfast, tmp_path):
    rendered = Rendered({"sinks": {"enabled": True, "config": '[sinks.pages]\ntype = "rdis"\n'}})
    with Runner(holdfast, tmp_path, rendered, **NOWHERE) as runner:
        assert runner.process.wait(timeout=60) != 0
        assert "unknown variant" in runner.errors.read_text()


@pytest.fixture(scope="module")
def secure(holdfast, tmp_path_factory):
    """Nodes with a policy, and what belongs to the runner of the same release."""
    clients = {"certManager": CERT_MANAGER["tls"]["certManager"] | {"clientIssuer": {"name": "clients"}}}
    rendered = Rendered({"replicaCount": 1, "tls": clients, "policy": {"rules": [RULE]}, "sinks": ONE_SINK})
    with Cluster(holdfast, tmp_path_factory.mktemp("secure"), rendered) as cluster:
        yield cluster


def certificate_of(cluster):
    """The environment that names the certificate of the runner's pod."""
    folder = cluster.folder / "mounted" / "sinks"
    (volume,) = [each for each in cluster.rendered.sinks_pod["volumes"] if each["name"] == "tls"]
    authority.mount(cluster.folder / "secrets", volume, folder)
    return {f"HOLDFAST_TLS_{name}": str(folder / file) for name, file in [("CA", "ca.crt"), ("CERT", "tls.crt"), ("KEY", "tls.key")]}


def test_the_runners_certificate_reads_changes_and_nothing_else(secure, holdfast):
    environment = certificate_of(secure) | {"HOLDFAST_ENDPOINTS": secure.endpoints, "HOLDFAST_ADMIN_ADDRESS": f"localhost:{secure.nodes[0].admin}"}

    def run(*arguments):
        return subprocess.run([holdfast, *arguments], env=environment, capture_output=True, text=True, timeout=120)

    allowed = run("changes", "positions")
    assert allowed.returncode == 0, allowed.stderr
    for denied in [
        ["stock", "list"],
        ["stock", "receive", "SHIRT-1", "--warehouse", "LONDON", "--quantity", "1"],
        ["reserve", "SHIRT-1=1", "--storefront", "web"],
        ["cluster", "transfer-leader", "0"],
    ]:
        done = run(*denied)
        assert done.returncode == 1 and "permission_denied" in done.stderr, (denied, done.stderr)


def test_a_runner_delivers_stands_beside_a_second_one_and_stops_in_time(secure, holdfast, tmp_path):
    rendered = secure.rendered
    grace = rendered.sinks_pod["terminationGracePeriodSeconds"]
    with Redis(tmp_path / "redis") as redis:
        options = {"endpoints": secure.endpoints, "certificate": certificate_of(secure), "redis": redis.url}
        with Runner(holdfast, tmp_path / "a", rendered, **options) as first, Runner(holdfast, tmp_path / "b", rendered, **options) as second:
            for runner in (first, second):
                runner.is_eventually("ready", lambda runner=runner: runner.get("/readyz")[0] == 200)
            assert first.stop(grace) == 0
            assert second.get("/readyz")[0] == 200
            redis.stop()
            # A target that is down is told by readiness. To start the runner again would not help.
            second.is_eventually("unready", lambda: second.get("/readyz")[0] == 503)
            assert second.get("/livez")[0] == 200
            assert second.stop(grace) == 0


def test_the_configuration_of_the_compose_file_is_one_that_a_runner_takes(holdfast, tmp_path):
    compose = yaml.safe_load((ROOT / "cluster" / "compose.yaml").read_text())
    services = {name: each for name, each in compose["services"].items() if each.get("profiles") == ["sinks"]}
    assert set(services) == {"sinks", "redis"}
    (mount,) = services["sinks"]["volumes"]
    source, target, mode = mount.split(":")
    text = (ROOT / "cluster" / source).read_text()
    assert services["sinks"]["environment"]["HOLDFAST_SINKS_CONFIG"] == target and mode == "ro"
    (sink,) = tomllib.loads(text)["sinks"].values()
    assert sink["url"] == "redis://redis:6379", "the name of the service"
    endpoints = services["sinks"]["environment"]["HOLDFAST_ENDPOINTS"].split(",")
    nodes = {name for name in compose["services"] if name.startswith("holdfast-")}
    assert {each.removeprefix("http://").removesuffix(":7301") for each in endpoints} == nodes
    with Runner(holdfast, tmp_path, None, text=text, **NOWHERE) as runner:
        runner.says("the cluster does not answer, trying again")
