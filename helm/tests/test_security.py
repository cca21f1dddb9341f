"""Who may do what: the pods against the Pod Security standard `restricted` and more, and the network."""

import copy

import pytest
from conftest import ROOT, Rendered, values_of

# What `restricted` allows, less what this chart does not need.
VOLUMES = {"configMap", "emptyDir", "persistentVolumeClaim", "projected"}


def violations(pod, secrets=()):
    """What is wrong with a pod that may have these keys of secrets in its environment."""
    found = []

    def must(condition, text):
        if not condition:
            found.append(text)

    for key in ["hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace"]:
        must(key not in pod, key)
    must(pod.get("automountServiceAccountToken") is False, "service account token")
    must(pod.get("enableServiceLinks") is False, "service links")
    context = pod.get("securityContext", {})
    must(context.get("runAsNonRoot") is True, "pod runAsNonRoot")
    must(context.get("runAsUser", 0) > 0 and context.get("runAsGroup", 0) > 0, "pod user")
    must(context.get("seccompProfile") == {"type": "RuntimeDefault"}, "pod seccomp")
    must(not {"sysctls", "seLinuxOptions", "supplementalGroups"} & set(context), "pod extras")
    for volume in pod.get("volumes", []):
        must(set(volume) - {"name"} <= VOLUMES, f"volume {volume['name']}")
    containers = pod["containers"] + pod.get("initContainers", []) + pod.get("ephemeralContainers", [])
    for container in containers:
        context = container.get("securityContext", {})
        must(context.get("allowPrivilegeEscalation") is False, "privilege escalation")
        must(context.get("readOnlyRootFilesystem") is True, "root file system")
        must(context.get("runAsNonRoot") is True, "runAsNonRoot")
        must(context.get("runAsUser", 1) > 0, "user")
        must(context.get("capabilities") == {"drop": ["ALL"]}, "capabilities")
        must(context.get("seccompProfile") == {"type": "RuntimeDefault"}, "seccomp")
        must(not context.get("privileged"), "privileged")
        must(not any("hostPort" in port for port in container.get("ports", [])), "hostPort")
        must("memory" in container.get("resources", {}).get("limits", {}), "memory limit")
        must({"cpu", "memory"} <= set(container.get("resources", {}).get("requests", {})), "requests")
        keys = [each["valueFrom"]["secretKeyRef"] for each in container.get("env", []) if "secretKeyRef" in each.get("valueFrom", {})]
        must(all((key["name"], key["key"]) in secrets for key in keys), "secret")
    return found


def test_every_pod_is_restricted(rendered):
    assert len(rendered.all_pods) == (5 if rendered.has_sinks else 4)
    for pod in rendered.all_pods:
        named = rendered.values["sinks"]["secretEnv"] if rendered.has_sinks and pod == rendered.sinks_pod else []
        assert violations(pod, {(each["secret"], each["key"]) for each in named}) == []


@pytest.mark.parametrize(
    "name, spoil",
    [
        ("hostNetwork", lambda pod: pod.update(hostNetwork=True)),
        ("service account token", lambda pod: pod.pop("automountServiceAccountToken")),
        ("service links", lambda pod: pod.pop("enableServiceLinks")),
        ("pod runAsNonRoot", lambda pod: pod["securityContext"].pop("runAsNonRoot")),
        ("pod user", lambda pod: pod["securityContext"].update(runAsUser=0)),
        ("pod seccomp", lambda pod: pod["securityContext"].update(seccompProfile={"type": "Unconfined"})),
        ("volume host", lambda pod: pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}})),
        ("privilege escalation", lambda pod: pod["containers"][0]["securityContext"].pop("allowPrivilegeEscalation")),
        ("root file system", lambda pod: pod["containers"][0]["securityContext"].update(readOnlyRootFilesystem=False)),
        ("capabilities", lambda pod: pod["containers"][0]["securityContext"]["capabilities"].update(add=["NET_ADMIN"])),
        ("privileged", lambda pod: pod["containers"][0]["securityContext"].update(privileged=True)),
        ("user", lambda pod: pod["containers"][0]["securityContext"].update(runAsUser=0)),
        ("hostPort", lambda pod: pod["containers"][0]["ports"][0].update(hostPort=7301)),
        ("memory limit", lambda pod: pod["containers"][0]["resources"].pop("limits")),
        ("secret", lambda pod: pod["containers"][0]["env"].append({"name": "X", "valueFrom": {"secretKeyRef": {"name": "x", "key": "x"}}})),
    ],
)
def test_a_pod_that_is_not_restricted_is_found(name, spoil):
    pod = copy.deepcopy(Rendered({}).node_pod)
    spoil(pod)
    assert violations(pod) == [name]


def test_the_account_may_do_nothing_and_there_are_no_secrets(rendered):
    kinds = {each["kind"] for each in rendered.objects}
    assert not kinds & {"Secret", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    account = rendered.one("ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    assert {pod["serviceAccountName"] for pod in rendered.all_pods} == {account["metadata"]["name"]}


def test_the_user_is_the_one_of_the_image_and_only_the_volume_can_be_written(rendered):
    dockerfile = (ROOT / "cluster" / "Dockerfile").read_text()
    context = rendered.node_pod["securityContext"]
    assert f"USER {context['runAsUser']}:{context['runAsGroup']}\n" in dockerfile
    assert context["fsGroup"] == context["runAsGroup"]
    writable = [each["mountPath"] for each in rendered.node_container["volumeMounts"] if not each.get("readOnly")]
    assert writable == ["/var/lib/holdfast"]
    assert 'ENTRYPOINT ["holdfast"]\n' in dockerfile, "the chart gives arguments only"


def policy(rendered):
    return rendered.one("NetworkPolicy")["spec"]


def callers(rendered, port):
    """Who may call a port of the nodes."""
    rules = [rule for rule in policy(rendered)["ingress"] if {"port": port} in rule["ports"]]
    assert all(rule["from"] for rule in rules), "an empty `from` is everybody"
    return [peer for rule in rules for peer in rule["from"]]


def test_only_nodes_call_the_peer_port(rendered):
    nodes = {"podSelector": {"matchLabels": rendered.one("StatefulSet")["spec"]["selector"]["matchLabels"]}}
    assert callers(rendered, 7302) == [nodes]


def test_values_say_who_calls_the_client_port_besides_nodes_and_helm_test(rendered):
    labels = rendered.one("StatefulSet")["spec"]["selector"]["matchLabels"]
    nodes = {"podSelector": {"matchLabels": labels}}
    test, jobs = ({"podSelector": {"matchLabels": {**labels, "app.kubernetes.io/component": each}}} for each in ("test", "operator"))
    sinks = {"podSelector": {"matchLabels": {**labels, "app.kubernetes.io/component": "sinks"}}}
    own = [nodes, test, jobs, sinks] if rendered.has_sinks else [nodes, test, jobs]
    assert callers(rendered, 7301) == own + rendered.values["networkPolicy"]["clientFrom"]
    assert test["podSelector"]["matchLabels"].items() <= rendered.one("Pod", "-test")["metadata"]["labels"].items()


def test_only_the_jobs_of_the_chart_and_named_operators_call_the_admin_port():
    friend = {"namespaceSelector": {"matchLabels": {"team": "sre"}}}
    for extra in ([], [friend]):
        rendered = Rendered({"networkPolicy": {"adminFrom": extra}})
        labels = rendered.one("StatefulSet")["spec"]["selector"]["matchLabels"] | {"app.kubernetes.io/component": "operator"}
        assert callers(rendered, 7304) == [{"podSelector": {"matchLabels": labels}}, *extra]
        for job in rendered.all("Job"):
            assert labels.items() <= job["spec"]["template"]["metadata"]["labels"].items()
        others = [rendered.one("Pod", "-test")["metadata"]["labels"], rendered.one("StatefulSet")["spec"]["template"]["metadata"]["labels"]]
        assert not any(labels.items() <= each.items() for each in others)


def test_only_a_headless_service_of_its_own_has_the_admin_port(rendered):
    found = [each for each in rendered.all("Service") if any(port["port"] == 7304 for port in each["spec"]["ports"])]
    assert [each["metadata"]["name"] for each in found] == ["holdfast-admin"]
    assert found[0]["spec"]["clusterIP"] == "None" and len(found[0]["spec"]["ports"]) == 1


def test_only_monitoring_reads_the_metrics(rendered):
    assert callers(rendered, 7303) == rendered.values["networkPolicy"]["monitoringFrom"]


def test_nodes_call_only_each_other_dns_and_the_collector(rendered):
    assert policy(rendered)["policyTypes"] == ["Ingress", "Egress"]
    nodes = {"podSelector": {"matchLabels": rendered.one("StatefulSet")["spec"]["selector"]["matchLabels"]}}
    peers, dns, *collector = policy(rendered)["egress"]
    wanted = rendered.values["networkPolicy"]["collectorTo"]
    assert collector == ([{"to": wanted, "ports": [{"port": 4317}]}] if wanted else [])
    assert peers == {"to": [nodes], "ports": [{"port": 7301}, {"port": 7302}]}
    assert dns["to"] == rendered.values["networkPolicy"]["dnsTo"]
    assert {(each["protocol"], each["port"]) for each in dns["ports"]} == {("UDP", 53), ("TCP", 53)}


def test_every_port_of_a_policy_is_in_some_test(rendered):
    ports = {each["port"] for rule in policy(rendered)["ingress"] for each in rule["ports"]}
    assert ports == {7301, 7302, 7303, 7304}


def test_nobody_is_let_in_where_the_list_is_empty():
    closed = Rendered({"networkPolicy": {"clientFrom": [], "adminFrom": [], "monitoringFrom": [], "dnsTo": []}})
    assert len(policy(closed)["ingress"]) == 3 and len(policy(closed)["egress"]) == 1
    assert all(rule["from"] for rule in policy(closed)["ingress"])


def test_production_lets_in_only_whom_it_names():
    clients = Rendered(values_of("values-production.yaml")).values["networkPolicy"]["clientFrom"]
    assert clients and all(each["podSelector"]["matchLabels"] and each["namespaceSelector"]["matchLabels"] for each in clients)
