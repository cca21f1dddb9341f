"""Alerts, runbooks and the dashboard: sound, tested, linked, and the same in the chart as beside it."""

import json
import re
import subprocess

import pytest
import yaml
from conftest import CHART, ROOT, Rendered

CLUSTER = ROOT / "cluster"
RULES = CLUSTER / "alerts" / "holdfast.rules.yaml"
TESTS = CLUSTER / "alerts" / "holdfast.rules.test.yaml"
DASHBOARD = CLUSTER / "dashboards" / "holdfast.json"
RUNBOOKS = CLUSTER / "runbooks"


def alerts():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_promtool_takes_the_rules_and_their_tests_pass(promtool):
    promtool("check", "rules", RULES)
    promtool("test", "rules", TESTS)


def test_every_alert_is_shown_firing_and_has_what_a_woken_person_needs():
    tests = [each for test in yaml.safe_load(TESTS.read_text())["tests"] for each in test["alert_rule_test"]]
    firing = {each["alertname"] for each in tests if each["exp_alerts"]}
    assert firing == {alert["alert"] for alert in alerts()}
    assert len(alerts()) == len(firing), "two alerts of one name"
    for alert in alerts():
        assert alert["labels"]["severity"] in ("critical", "warning"), alert["alert"]
        assert set(alert["annotations"]) == {"summary", "description", "runbook"}, alert["alert"]


def test_every_alert_has_a_runbook_that_names_it_and_every_runbook_an_alert():
    linked = set()
    for alert in alerts():
        runbook = ROOT / alert["annotations"]["runbook"]
        linked.add(runbook)
        assert runbook.is_file(), runbook
        assert f"`{alert['alert']}`" in runbook.read_text(), f"{runbook} does not name {alert['alert']}"
    # When everything is lost nothing is left to alert.
    without_alert = {RUNBOOKS / "README.md", RUNBOOKS / "disaster-recovery.md"}
    assert linked == set(RUNBOOKS.glob("*.md")) - without_alert


def test_runbooks_link_to_what_exists_and_name_alerts_that_exist():
    known = {alert["alert"] for alert in alerts()}
    for runbook in RUNBOOKS.glob("*.md"):
        text = runbook.read_text()
        for link in re.findall(r"\]\(([^)]+)\)", text):
            assert (runbook.parent / link).exists(), f"{runbook}: {link}"
        assert set(re.findall(r"`(Holdfast\w+)`", text)) <= known, runbook


def commands_in(text):
    """What is told to be run: the words after `holdfast`, up to what cannot be a command or an option."""
    # Not the release of that name, as in `helm test holdfast --logs`.
    for found in re.findall(r"(?:^|[`\s])(?<!install )(?<!upgrade )(?<!test )holdfast((?: +(?:--)?[a-z][a-z-]*)+)", text, re.MULTILINE):
        yield found.split()


def test_commands_in_runbooks_and_in_the_chart_exist(holdfast):
    told = 0
    files = [*RUNBOOKS.glob("*.md"), CHART / "README.md", CHART / "templates" / "NOTES.txt", CHART / "files" / "test.sh"]
    for file in files:
        code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", file.read_text(), re.DOTALL)) if file.suffix == ".md" else file.read_text()
        for words in commands_in(code):
            path = []
            for word in words:
                if word.startswith("--"):
                    break
                path.append(word)
            options = [word for word in words if word.startswith("--")]
            done = subprocess.run([holdfast, *path, "--help"], capture_output=True, text=True)
            assert done.returncode == 0, f"{file}: holdfast {' '.join(words)}"
            for option in options:
                assert option in done.stdout + " --version", f"{file}: {option} of holdfast {' '.join(path)}"
            told += 1
    assert told > 15


@pytest.mark.parametrize(
    "source, copy", [(RULES, CHART / "files" / "holdfast.rules.yaml"), (DASHBOARD, CHART / "files" / "holdfast.dashboard.json")]
)
def test_the_chart_has_the_same_file(source, copy):
    assert copy.read_bytes() == source.read_bytes(), f"run: cp {source.relative_to(ROOT)} {copy.relative_to(ROOT)}"


def test_the_chart_renders_the_same_rules_with_a_link_to_where_the_runbooks_are():
    wanted = yaml.safe_load(RULES.read_text())
    plain = Rendered({"prometheusRule": {"enabled": True}}).one("PrometheusRule")
    assert plain["spec"] == wanted
    linked = Rendered({"prometheusRule": {"enabled": True, "runbookBaseUrl": "https://runbooks.example.org/holdfast/"}})
    for group in wanted["groups"]:
        for rule in group["rules"]:
            name = rule["annotations"]["runbook"].removeprefix("cluster/runbooks/")
            rule["annotations"]["runbook_url"] = f"https://runbooks.example.org/holdfast/{name}"
    assert linked.one("PrometheusRule")["spec"] == wanted


def test_the_chart_renders_the_same_dashboard_for_the_sidecar():
    config = Rendered({"dashboard": {"enabled": True}}).one("ConfigMap", "-dashboard")
    assert json.loads(config["data"]["holdfast.json"]) == json.loads(DASHBOARD.read_text())
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_the_dashboard_is_sound(promtool, tmp_path):
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = set()
    for panel in panels:
        at = panel["gridPos"]
        covered = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not covered & cells and at["x"] + at["w"] <= 24, panel["title"]
        cells |= covered
    graphs = [panel for panel in panels if panel["type"] != "row"]
    assert all(panel["description"] and panel["title"] and panel["targets"] for panel in graphs)
    # promtool looks at expressions only as rules.
    expressions = [target["expr"].replace("$__rate_interval", "5m") for panel in graphs for target in panel["targets"]]
    rules = [{"record": f"panel:{index}", "expr": expression} for index, expression in enumerate(expressions)]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", file)
