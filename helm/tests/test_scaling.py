"""More nodes and fewer nodes: jobs before and after an upgrade, and nothing restarted that stays."""

import helm_python
import pytest
from conftest import CERT_MANAGER, Rendered

HOOKS = {"add": "post-install,post-upgrade,post-rollback", "drain": "pre-upgrade,pre-rollback"}


def test_nodes_are_drained_before_and_admitted_after_the_stateful_set_changes():
    rendered = Rendered({"replicaCount": 4})
    assert len(rendered.all("Job")) == 2
    for name, hook in HOOKS.items():
        job = rendered.one("Job", f"-{name}")
        annotations = job["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == hook
        # A succeeded one too: a second upgrade must not meet the first one's job.
        assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation"
    assert rendered.job_pod("add")["containers"][0]["args"] == ["cluster", "add", "--up-to", "4", "--timeout", "3600s"]
    drain = ["cluster", "drain", "--above", "4", "--remove", "--timeout", "3600s"]
    assert rendered.job_pod("drain")["containers"][0]["args"] == drain


@pytest.mark.parametrize("nodes", range(1, 10))
def test_any_number_of_nodes_up_to_nine_is_a_cluster(nodes):
    rendered = Rendered({"replicaCount": nodes})
    assert rendered.one("StatefulSet")["spec"]["replicas"] == nodes
    assert str(nodes) in rendered.job_pod("add")["containers"][0]["args"]
    assert [str(pod) for pod in rendered.pods] == [rendered.environment(pod)["HOLDFAST__NODE__NODE_ID"] for pod in rendered.pods]


def test_the_jobs_ask_the_admin_ports_of_nodes_that_are_ready():
    for values, scheme in [({}, "http"), (CERT_MANAGER, "https")]:
        rendered = Rendered(values)
        service = rendered.one("Service", "-admin")
        assert "publishNotReadyAddresses" not in service["spec"]
        for name in HOOKS:
            environment = {each["name"]: each["value"] for each in rendered.job_pod(name)["containers"][0]["env"]}
            assert environment["HOLDFAST_ADMIN_ADDRESS"] == "holdfast-admin.shop.svc.cluster.local:7304"
            assert environment["HOLDFAST_ENDPOINTS"] == f"{scheme}://holdfast:7301"


def test_the_jobs_end_are_tried_again_and_go_away():
    values = {"scaling": {"timeoutSeconds": 600, "backoffLimit": 3, "ttlSecondsAfterFinished": 60}}
    rendered = Rendered(values)
    for name in HOOKS:
        spec = rendered.one("Job", f"-{name}")["spec"]
        assert (spec["activeDeadlineSeconds"], spec["backoffLimit"], spec["ttlSecondsAfterFinished"]) == (600, 3, 60)
        assert spec["template"]["spec"]["restartPolicy"] == "Never"
        # The command waits as long as the job may, so it does not give up sooner and is not begun again for
        # nothing.
        assert rendered.job_pod(name)["containers"][0]["args"][-2:] == ["--timeout", "600s"]


def test_whoever_scales_by_hand_has_no_jobs():
    assert Rendered({"scaling": {"jobs": False}}).all("Job") == []


@pytest.mark.parametrize("values", [{}, CERT_MANAGER, {"topologySpread": {"zones": "DoNotSchedule"}}], ids=["plaintext", "tls", "spread"])
def test_another_number_of_nodes_restarts_none_of_those_that_stay(values):
    three, five = (Rendered(values | {"replicaCount": nodes}) for nodes in (3, 5))
    assert three.one("StatefulSet")["spec"]["template"] == five.one("StatefulSet")["spec"]["template"]
    assert three.node_toml != five.node_toml, "whoever comes finds the others"


def test_a_node_is_told_its_zone_where_that_is_wanted():
    rendered = Rendered({"zoneFromPodLabel": True})
    assert rendered.environment(1)["HOLDFAST__NODE__ZONE"] == "zone-a"
    assert "HOLDFAST__NODE__ZONE" not in Rendered({}).environment(1)


def test_a_volume_goes_with_its_node_only_where_somebody_said_so_and_nodes_are_drained():
    policy = lambda values: Rendered(values).one("StatefulSet")["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert policy({}) == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    delete = {"persistence": {"whenScaled": "Delete"}}
    # An uninstall never takes the volumes.
    assert policy(delete) == {"whenDeleted": "Retain", "whenScaled": "Delete"}
    assert "never with kubectl scale" in Rendered(delete).notes
    with pytest.raises(helm_python.HelmError, match="persistence.whenScaled is Delete although scaling.jobs is false"):
        Rendered(delete | {"scaling": {"jobs": False}})
