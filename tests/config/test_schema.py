from __future__ import annotations

import json
import re

import pytest

from sweepdiag.config import ParameterSpec, SweepConfig, json_schema, load_config
from sweepdiag.config.yaml_reading import read_text
from sweepdiag.errors import ConfigError

KINDS = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}


def accepts(schema, value, root):
    """Whether a value is valid, by the part of JSON Schema that the schema uses."""
    known = {
        "$defs", "$ref", "$schema", "additionalProperties", "anyOf", "default", "description",
        "enum", "exclusiveMaximum", "exclusiveMinimum", "items", "maxItems", "maxLength",
        "maximum", "minItems", "minLength", "minimum", "not", "pattern", "properties",
        "propertyNames", "required", "title", "type", "uniqueItems",
    }  # fmt: skip
    assert set(schema) <= known, set(schema) - known
    if "$ref" in schema:
        return accepts(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, root)
    return (
        ("anyOf" not in schema or any(accepts(s, value, root) for s in schema["anyOf"]))
        and ("not" not in schema or not accepts(schema["not"], value, root))
        and ("enum" not in schema or value in schema["enum"])
        and ("type" not in schema or has_type(schema["type"], value))
        and accepts_size(schema, value)
        and accepts_members(schema, value, root)
    )


def has_type(kind, value):
    if kind in {"number", "integer"}:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and (kind == "number" or float(value).is_integer())
    return isinstance(value, KINDS[kind])


def accepts_size(schema, value):
    if isinstance(value, str):
        fits = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
        return fits and re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, int | float):
        return (
            value >= schema.get("minimum", value)
            and value <= schema.get("maximum", value)
            and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
            and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
        )
    return True


def accepts_members(schema, value, root):
    if isinstance(value, list):
        unique = not schema.get("uniqueItems") or len(set(map(str, value))) == len(value)
        fits = len(value) >= schema.get("minItems", 0)
        return unique and fits and all(accepts(schema.get("items", {}), v, root) for v in value)
    if not isinstance(value, dict):
        return True
    if not set(schema.get("required", ())) <= set(value):
        return False
    other = schema.get("additionalProperties", {})
    known = schema.get("properties", {})
    for key, item in value.items():
        if not accepts(schema.get("propertyNames", {}), key, root):
            return False
        if key not in known and other is False:
            return False
        if not accepts(known.get(key, other), item, root):
            return False
    return True


GOOD = [
    "workload: digits",
    """
workload: my_workload.py:build
workload_parameters: {n: 3, nested: [{a: null}]}
parameters:
  lr: {min: 1e-4, max: 10, distribution: log_uniform_values, n: 8}
  batch_size: [16, 64, 256]
  capacity: {values: [8, 64]}
  activation: relu
  dropout: {value: 0.1}
  width: 3
seeds: [1, 2]
sampler: qmc
n_configurations: 10
optimizer: {name: adam, beta2: 0.99}
schedule: {name: cosine, warmup_epochs: 2}
loss: null
evaluation: {every_steps: 10}
diagnosis: {thresholds: {rise: 0.1}, ignore: [SD101]}
execution: {gpus: 8, executor: ray, address: auto}
output: results/a
""",
]
BAD = [
    "epochs: 3",
    "workload: w\nepochs: 0",
    "workload: w\nepochs: 1.5",
    "workload: w\nepoch: 1",
    "workload: w\noptimizer: {momentum: 1}",
    "workload: w\noptimizer: {name: sdg}",
    "workload: w\noptimizer: {foo: 1}",
    "workload: w\nseeds: 0",
    "workload: w\nseeds: [1, 1]",
    "workload: w\nseeds: []",
    "workload: w\nloss: a b",
    "workload: w\nparameters: {lr: {min: 1}}",
    "workload: w\nparameters: {lr: {min: 1, max: 2, foo: 3}}",
    "workload: w\nparameters: {lr: []}",
    "workload: w\nparameters: {trial_id: [1]}",
    "workload: w\nparameters: {a b: [1]}",
    "workload: w\nparameters: {a: [x y]}",
    "workload: w\nexecution: {gpus: -1}",
    "workload: w\nsplit: {validation_fraction: 1}",
    "workload: w\ndiagnosis: {ignore: [a b]}",
    "workload: w\nnumerics: rough",
]


def is_loadable(text, tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    try:
        load_config(path)
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("text", GOOD)
def test_accepts_what_loads(text, tmp_path):
    assert is_loadable(text, tmp_path)
    schema = json_schema()
    assert accepts(schema, read_text(text, name="x").value, schema)


@pytest.mark.parametrize("text", BAD)
def test_refuses_what_does_not_load(text, tmp_path):
    assert not is_loadable(text, tmp_path)
    schema = json_schema()
    assert not accepts(schema, read_text(text, name="x").value, schema)


def test_accepts_what_to_yaml_writes():
    config = SweepConfig(workload="w", parameters={"lr": (1e-4, 1.0), "batch_size": [16]})
    schema = json_schema()
    assert accepts(schema, config.to_mapping(), schema)


def test_is_plain_json_and_names_every_setting_with_its_meaning():
    schema = json.loads(json.dumps(json_schema()))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == ["workload"]
    assert set(schema["properties"]) == set(SweepConfig.model_fields)
    for name, block in schema["properties"].items():
        inner = schema["$defs"].get(block.get("$ref", "").removeprefix("#/$defs/"), {})
        assert block.get("description") or inner["description"], name
    range_form = schema["properties"]["parameters"]["additionalProperties"]["anyOf"][0]
    assert set(range_form["properties"]) == set(ParameterSpec.model_fields) - {"values"}
    assert all(field["description"] for field in range_form["properties"].values())
