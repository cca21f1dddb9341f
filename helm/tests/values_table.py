"""The table of values in the chart's README: `python helm/tests/values_table.py` writes it anew from the schema and the defaults."""

import json
from pathlib import Path

import yaml

CHART = Path(__file__).resolve().parents[1] / "holdfast"
BEGIN, END = "<!-- values -->\n", "<!-- end of values -->\n"


def leaves(schema, path=""):
    """Every key that holds a value rather than more keys."""
    for name, each in schema["properties"].items():
        if each.get("deprecated"):
            continue
        if each.get("properties"):
            yield from leaves(each, f"{path}{name}.")
        elif name != "global":
            yield f"{path}{name}", each


def default(values, path, schema):
    for name in path.split("."):
        if not isinstance(values, dict) or name not in values:
            return f"`{json.dumps(schema['default'])}`" if "default" in schema else ""
        values = values[name]
    return f"`{json.dumps(values)}`"


def allowed(schema):
    if "enum" in schema:
        return "one of " + ", ".join(f"`{each}`" for each in schema["enum"])
    if "x-unit" in schema:
        least, most = schema.get("x-minimum"), schema.get("x-maximum")
        example = {"time": "a time, such as 50ms", "size": "a size, such as 64MiB"}[schema["x-unit"]]
        return f"{least} to {most}" if least and most else f"at most {most}" if most else example
    if "minimum" in schema:
        return f"{schema['minimum']} to {schema['maximum']}"
    return {"object": "map", "array": "list", "boolean": "true, false", "string": "text"}[schema["type"]]


def table():
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    rows = ["| key | default | may be | what it is |", "|---|---|---|---|"]
    for path, each in leaves(schema):
        rows.append(f"| `{path}` | {default(values, path, each)} | {allowed(each)} | {each['description']} |")
    return BEGIN + "\n".join(rows) + "\n" + END


if __name__ == "__main__":
    readme = CHART / "README.md"
    before, rest = readme.read_text().split(BEGIN)
    readme.write_text(before + table() + rest.split(END)[1])
