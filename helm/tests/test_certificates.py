"""Certificates: who gets which, where nodes look for theirs, and that nothing is open by default."""

import subprocess
import tomllib

import helm_python
import pytest
from conftest import CERT_MANAGER, EVERYTHING, RULE, Rendered


def test_the_defaults_alone_make_no_cluster_and_say_what_to_choose():
    with pytest.raises(helm_python.HelmError) as refused:
        Rendered({"tls": {}})
    for part in ["tls.certManager.enabled", "tls.nodeSecretPrefix", "allowPlaintext"]:
        assert part in str(refused.value)


def test_plaintext_has_to_be_said():
    with pytest.raises(helm_python.HelmError, match="allowPlaintext: true"):
        Rendered({"tls": {"enabled": False}})
    plain = tomllib.loads(Rendered({}).node_toml)
    assert plain["security"] == {"allow_plaintext": True} and "tls" not in plain
    secure = tomllib.loads(Rendered(CERT_MANAGER).node_toml)
    assert "allow_plaintext" not in secure["security"]


def test_each_node_has_a_certificate_with_its_name_and_the_hosts_that_are_dialled():
    rendered = Rendered(CERT_MANAGER | {"replicaCount": 4})
    certificates = rendered.all("Certificate")
    assert len(certificates) == 4 + 2
    for node in range(1, 5):
        spec = rendered.one("Certificate", f"-node-{node}")["spec"]
        assert spec["uris"] == [f"spiffe://holdfast/node/{node}"]
        assert {"server auth", "client auth"} <= set(spec["usages"])
        (peer,) = [each for each in tomllib.loads(rendered.node_toml)["peers"] if each["node_id"] == node]
        dialled = {peer[key].rsplit(":", 1)[0] for key in ("client_address", "admin_address")}
        dialled |= {"localhost", "holdfast", "holdfast.shop.svc.cluster.local", "holdfast-admin.shop.svc.cluster.local"}
        assert dialled <= set(spec["dnsNames"])
        assert spec["issuerRef"] == {"name": "holdfast-ca", "kind": "Issuer", "group": "cert-manager.io"}
        assert spec["privateKey"]["rotationPolicy"] == "Always"
    for suffix in ("-operator", "-test"):
        spec = rendered.one("Certificate", suffix)["spec"]
        assert "server auth" not in spec["usages"]
        assert not spec["uris"][0].startswith("spiffe://holdfast/node/")
    secrets = [each["spec"]["secretName"] for each in certificates]
    assert len(set(secrets)) == len(secrets)


def test_clients_can_have_an_issuer_of_their_own():
    values = {"tls": {"certManager": CERT_MANAGER["tls"]["certManager"] | {"clientIssuer": {"name": "clients", "kind": "ClusterIssuer"}}}}
    rendered = Rendered(values)
    issuers = {each["metadata"]["name"]: each["spec"]["issuerRef"]["name"] for each in rendered.all("Certificate")}
    assert issuers["holdfast-operator"] == issuers["holdfast-test"] == "clients"
    assert issuers["holdfast-node-1"] == "holdfast-ca"


def files(rendered, volume):
    """The files of a projected volume, with the secret and the key that they come from."""
    (found,) = [each for each in rendered.node_pod["volumes"] if each["name"] == volume]
    return {
        item["path"]: (source["secret"]["name"], item["key"])
        for source in found["projected"]["sources"]
        for item in source["secret"]["items"]
    }


@pytest.mark.parametrize("values, prefix", [(CERT_MANAGER, "holdfast-node-"), (EVERYTHING, "our-node-")], ids=["made", "brought"])
def test_a_node_looks_where_its_own_secret_is_mounted(values, prefix):
    rendered = Rendered(values)
    mounts = {each["name"]: each["mountPath"] for each in rendered.node_container["volumeMounts"]}
    of_nodes = files(rendered, "tls")
    for pod in rendered.pods:
        environment = rendered.environment(pod)
        for variable, key in [("CERTIFICATE", "tls.crt"), ("KEY", "tls.key"), ("PEER_CA", "ca.crt")]:
            path = environment[f"HOLDFAST__TLS__{variable}"]
            inside = path.removeprefix(mounts["tls"] + "/")
            assert of_nodes[inside] == (f"{prefix}{pod}", key)
    client_ca = tomllib.loads(rendered.node_toml)["tls"]["client_ca"]
    assert client_ca.removeprefix(mounts["clients"] + "/") in files(rendered, "clients")
    assert {key for _, key in files(rendered, "clients").values()} == {"ca.crt"}, "no key of an operator is in a node"
    # A subPath would never see a renewed certificate.
    assert not any("subPath" in each or "subPathExpr" in each for each in rendered.node_container["volumeMounts"])


def test_a_node_waits_for_its_certificate_and_for_no_others():
    rendered = Rendered(CERT_MANAGER)
    (volume,) = [each for each in rendered.node_pod["volumes"] if each["name"] == "tls"]
    assert all(source["secret"]["optional"] for source in volume["projected"]["sources"])
    (waiting,) = rendered.node_pod["initContainers"]
    assert "/etc/holdfast/tls/$(HOLDFAST__NODE__NODE_ID)/tls.crt" in [each.get("value") for each in waiting["env"]]
    assert "initContainers" not in Rendered({}).node_pod


def test_the_wait_ends_when_the_certificate_is_there(tmp_path):
    (waiting,) = Rendered(CERT_MANAGER).node_pod["initContainers"]
    certificate = tmp_path / "tls.crt"
    command = waiting["command"] + waiting["args"]
    with subprocess.Popen(command, env={"CERTIFICATE": str(certificate), "PATH": "/usr/bin:/bin"}, stdout=subprocess.PIPE, text=True) as process:
        assert "waiting for" in process.stdout.readline()
        assert process.poll() is None
        certificate.write_text("a certificate")
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize("pods", [lambda r: [r.test_pod], lambda r: [r.job_pod("add"), r.job_pod("drain")]], ids=["test", "jobs"])
def test_the_charts_own_pods_show_their_own_certificate(pods):
    rendered = Rendered(EVERYTHING)
    own = "our-test" if pods(rendered) == [rendered.test_pod] else "our-operator"
    for pod in pods(rendered):
        (volume,) = pod["volumes"]
        items = {
            item["path"]: (source["secret"]["name"], item["key"])
            for source in volume["projected"]["sources"]
            for item in source["secret"]["items"]
        }
        # The CA of the nodes without a node's key.
        assert items == {"tls.crt": (own, "tls.crt"), "tls.key": (own, "tls.key"), "ca.crt": ("our-node-1", "ca.crt")}
        (container,) = pod["containers"]
        (mount,) = container["volumeMounts"]
        environment = {each["name"]: each["value"] for each in container["env"]}
        for variable, file in [("CA", "ca.crt"), ("CERT", "tls.crt"), ("KEY", "tls.key")]:
            assert environment[f"HOLDFAST_TLS_{variable}"] == f"{mount['mountPath']}/{file}"
        assert environment["HOLDFAST_ENDPOINTS"].startswith("https://")


def rules(rendered):
    return tomllib.loads(rendered.one("ConfigMap", "-policy")["data"]["policy.toml"])["rules"]


def test_a_policy_has_the_rules_of_the_values_and_what_the_charts_own_pods_need():
    rendered = Rendered(EVERYTHING)
    first, *own = rules(rendered)
    assert first == RULE
    admins = [each["principals"] for each in own if "admin" in each["verbs"]]
    assert admins == [["spiffe://shop/operator"]]
    for rule in own:
        assert "*" not in rule["principals"] and "*" not in rule["verbs"]
        if "admin" not in rule["verbs"] and rule["principals"] != ["spiffe://holdfast/chart/sinks"]:
            assert rule["warehouses"] == ["CHART-TEST"]
    security = tomllib.loads(rendered.node_toml)["security"]
    assert security == {"policy": "/etc/holdfast/policy/policy.toml"}
    mounts = {each["name"]: each["mountPath"] for each in rendered.node_container["volumeMounts"]}
    assert mounts["policy"] == "/etc/holdfast/policy"


def test_without_rules_only_the_jobs_and_named_admins_may_administer():
    rendered = Rendered(CERT_MANAGER | {"policy": {"admins": ["spiffe://shop/sre"]}})
    security = tomllib.loads(rendered.node_toml)["security"]
    assert security == {"admins": ["spiffe://holdfast/chart/operator", "spiffe://shop/sre"]}
    assert not [each for each in rendered.all("ConfigMap") if each["metadata"]["name"].endswith("-policy")]


def test_a_changed_rule_restarts_no_node():
    def template(rule):
        return Rendered(CERT_MANAGER | {"policy": {"rules": [rule]}}).one("StatefulSet")["spec"]["template"]

    assert template(RULE) == template(RULE | {"verbs": ["read"]})


@pytest.mark.parametrize("values", [CERT_MANAGER, EVERYTHING | {"config": {}, "zoneFromPodLabel": False}], ids=["no policy", "policy"])
def test_nodes_take_the_configuration_with_certificates(values, tmp_path, check_config):
    rendered = Rendered(values)
    for pod in rendered.pods:
        assert check_config(tmp_path, rendered.node_toml, rendered.environment(pod)) is None


def test_services_and_addresses_speak_tls_everywhere():
    rendered = Rendered(CERT_MANAGER)
    protocols = {port.get("appProtocol") for each in rendered.all("Service") for port in each["spec"]["ports"]}
    assert protocols == {"https", None}
    texts = [each.get("value", "") for pod in rendered.all_pods for container in pod["containers"] for each in container.get("env", [])]
    assert not any("http://" in text for text in texts)
