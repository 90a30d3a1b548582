"""The JSON schema of a sweep file, by which editors complete, explain and check it while it is written."""

from __future__ import annotations

import json
from typing import Any

from hwcls.config.optim import COSTS, METRICS, CostConfig, MetricConfig
from hwcls.config.reference.keys import DRAWN, section_classes
from hwcls.config.reference.sections import NULL, Sections, any_of
from hwcls.config.reference.values import Schema
from hwcls.config.sweep import TRACKERS, SweepConfig
from hwcls.config.trial import DRAWN_SECTIONS, TrialConfig

DRAFT = "http://json-schema.org/draft-07/schema#"  # the newest that editors of YAML know completely
EMPTY: Schema = {"type": "object", "maxProperties": 0}


def build_sweep_schema() -> Schema:
    """The schema, as plain values.

    It refuses unknown keys, wrong types and values out of range; hwcls alone checks what depends on several.
    """
    sections = Sections()
    entries = {name: _top_entry(sections, name) for name in SweepConfig.model_fields if name != "presets"}
    dotted = f"^({'|'.join(entries)})\\..+$"
    preset = {
        "type": "object",
        "properties": {name: {"$ref": f"#/properties/{name}"} for name in entries},
        "patternProperties": {dotted: True},
        "additionalProperties": False,
    }
    about = {"description": SweepConfig.model_fields["presets"].description}
    entries["presets"] = {**about, **any_of(NULL, {"type": "object", "additionalProperties": preset})}
    return {
        "$schema": DRAFT,
        "title": "A sweep file of hwcls",
        "type": "object",
        "required": [DRAWN],
        "properties": entries,
        "patternProperties": {"^x-": True},
        "additionalProperties": False,
        "definitions": sections.definitions,
    }


def format_schema(schema: Schema) -> str:
    """As the text of a file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _top_entry(sections: Sections, name: str) -> Schema:
    """A key at the top of the file; null leaves it out."""
    if name == DRAWN:
        entries = {key: sections.entry(TrialConfig, key, searched=True) for key in DRAWN_SECTIONS}
        drawn = {"type": "object", "properties": entries, "additionalProperties": False}
        return {"description": _about(name), **drawn, "required": ["data", "model", "optimizer"]}
    if name == "metric":
        return {"description": _about(name), **any_of(NULL, *_metrics(sections))}
    if name == "early_terminate":
        return {"description": _about(name), **any_of(NULL, *_rules(sections))}
    found = sections.entry(SweepConfig, name, searched=False)
    if name == "trackers":
        known = sections.definitions["Trackers"]["properties"]
        known |= {one: any_of(NULL, EMPTY) for one in TRACKERS.names() if one not in known}
    about: Schema = {word: found.pop(word) for word in ("description", "examples", "default") if word in found}
    return {**about, **any_of(NULL, *found["anyOf"] if list(found) == ["anyOf"] else [found])}


def _about(name: str) -> Any:
    return SweepConfig.model_fields[name].description


def _metrics(sections: Sections) -> list[Schema]:
    """The forms of `metric`: a name, a mapping, or a list of them whose further ones are costs."""
    one = any_of({"enum": list(METRICS)}, sections.plain(MetricConfig))
    costs = any_of({"enum": [name for name, found in COSTS.items() if found.goal]}, sections.plain(CostConfig))
    sections.definitions[MetricConfig.__name__]["properties"]["costs"]["items"] = costs
    return [one, {"type": "array", "minItems": 1, "items": [one], "additionalItems": costs}]


def _rules(sections: Sections) -> list[Schema]:
    """The forms of `early_terminate`: a name, or a mapping with `type`."""
    rules = section_classes(SweepConfig.model_fields["early_terminate"])
    types = any_of({"enum": [*rules, "none"]}, {"type": "string", "pattern": "^[Nn][Oo][Nn][Ee]$"})
    return [types, {**sections.by_type(rules, "type", next(iter(rules))), "properties": {"type": types}}]
