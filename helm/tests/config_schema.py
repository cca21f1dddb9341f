"""The part `config` of values.schema.json: `python helm/tests/config_schema.py` writes it anew from the node's own schema.

That one is files/config.schema.json, which the tests of crates/node print when they run with UPDATE_DOCS=1. What only the
chart knows of a key is in CHART_SAYS.
"""

import json
import re
from pathlib import Path

CHART = Path(__file__).resolve().parents[1] / "holdfast"
SCHEMA = CHART / "values.schema.json"
NODE_SCHEMA = CHART / "files" / "config.schema.json"

# Where a node listens, its certificates and who may do what, the chart says itself.
SECTIONS = ["node", "cluster", "shards", "raft", "ledger", "storage", "limits", "log", "telemetry"]
OWN_KEYS = {("node", "node_id"), ("node", "data_dir")}
REQUIRED = {"cluster": ["replication_factor"], "shards": ["count"]}
CHART_SAYS = {
    ("node", "cluster_id"): {
        "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        "description": "The cluster's id, a UUID. Without one it follows from the release's namespace and name. "
        "Fixed when the cluster is made.",
    },
    ("node", "zone"): {"pattern": "^[A-Za-z0-9._-]{1,63}$", "adds": "Here it is the zone of every node: see zoneFromPodLabel for a zone of each."},
    ("log", "level"): {"pattern": "^[A-Za-z0-9_:=,-]+$"},
    ("telemetry", "otlp_endpoint"): {
        "pattern": '^http://[^\\s"\\\\]+$',
        "adds": "networkPolicy.collectorTo lets the nodes reach it.",
    },
}
COPIED = ["type", "enum", "items", "minimum", "maximum", "pattern", "default", "x-unit", "x-minimum", "x-maximum"]

UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
UNITS |= {unit: 1024**power for power, unit in enumerate(["B", "KiB", "MiB", "GiB", "TiB", "PiB"])}
# Beyond it JSON's numbers are not exact.
MOST = 2**53 - 1


def number(text):
    """A time in milliseconds, or a size in bytes."""
    return sum(int(count) * UNITS[unit] for count, unit in re.findall(r"([0-9]+) ?([A-Za-z]+)", text))


def node_schema():
    return json.loads(NODE_SCHEMA.read_text())["properties"]


def key(section, name, about):
    says = CHART_SAYS.get((section, name), {})
    description = says.get("description", " ".join(filter(None, [about["description"], says.get("adds")])))
    copied = {each: about[each] for each in COPIED if each in about}
    return {"description": description} | copied | {each: says[each] for each in ["pattern"] if each in says}


def old_key(name, about):
    return {
        "description": f"The old spelling of {name}, in {'milliseconds' if about['x-unit'] == 'time' else 'bytes'}.",
        "type": "integer",
        "minimum": number(about.get("x-minimum", "0ms")),
        "maximum": number(about["x-maximum"]) if "x-maximum" in about else MOST,
        "deprecated": True,
    }


def section(name, about):
    properties = {}
    for each, said in about["properties"].items():
        if (name, each) in OWN_KEYS:
            continue
        properties[each] = key(name, each, said)
        if "x-old-key" in said:
            properties[said["x-old-key"]] = old_key(each, said)
    made = {"description": about["description"], "type": "object", "additionalProperties": False, "properties": properties}
    return made | ({"required": REQUIRED[name]} if name in REQUIRED else {})


def config():
    node = node_schema()
    return {name: section(name, node[name]) for name in SECTIONS}


def schema():
    """The whole schema of the values, with the part `config` made anew."""
    made = json.loads(SCHEMA.read_text())
    made["properties"]["config"]["properties"] = config()
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema())
