"""Checks dashboards against Grafana's own types, which its foundation SDK has, generated from its schema.

The SDK's builders do not write the dashboards: its classic Dashboard is on its way out in favour of the v2 form,
which Grafana 12 does not read from files, and `make dashboards` would then need a package. Its types know what
we need: which keys there are, which values each may have.
"""

import copy
import enum
import json
import typing
import warnings

from grafana_foundation_sdk.cog import plugins, runtime
from grafana_foundation_sdk.cog.encoder import JSONEncoder

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # "Prefer using dashboardv2"
    from grafana_foundation_sdk.models.dashboard import Dashboard

plugins.register_default_plugins()
# Kinds of panels that have no options of their own, so that the SDK does not list them.
WITHOUT_OPTIONS = {"row", "traces"}


def faults(ours: dict) -> list[str]:
    """Every key that Grafana does not know, and every value that is none of those which it takes."""
    read = Dashboard.from_json(ours)
    written = json.loads(JSONEncoder().encode(read))
    kinds = {panel["type"] for panel in _all(ours)}
    unknown = [f"no panel is called {kind}" for kind in kinds - WITHOUT_OPTIONS if runtime.panelcfg_config(kind) is None]
    return unknown + _lost(ours, written, "") + _wrong(read, type(read), "")


def _all(ours: dict) -> list[dict]:
    return [inner for panel in ours["panels"] for inner in (panel, *panel.get("panels", []))]


def with_overrides(ours: dict) -> dict:
    """The same with what overrides set as if it were set for all series: the schema has no types for an override."""
    ours = copy.deepcopy(ours)
    for panel in _all(ours):
        defaults = panel.get("fieldConfig", {}).get("defaults", {})
        for override in panel.get("fieldConfig", {}).get("overrides", []):
            for setting in override["properties"]:
                *inside, key = setting["id"].split(".")
                place = defaults.setdefault(inside[0], {}) if inside else defaults
                place[key] = setting["value"]
    return ours


def _lost(ours: object, theirs: object, where: str) -> list[str]:
    """What did not come back from their types: they have no such key."""
    if isinstance(ours, dict):
        if not isinstance(theirs, dict):
            return [f"{where} became {theirs!r}"]
        found = []
        for key, value in ours.items():
            if key in theirs:
                found += _lost(value, theirs[key], f"{where}.{key}")
            elif value is not None:
                found.append(f"{where}.{key} is unknown")
        return found
    if isinstance(ours, list):
        if not isinstance(theirs, list) or len(ours) != len(theirs):
            return [f"{where} became {theirs!r}"]
        return [fault for i, (one, other) in enumerate(zip(ours, theirs)) for fault in _lost(one, other, f"{where}[{i}]")]
    return [] if ours == theirs else [f"{where} = {ours!r} became {theirs!r}"]


def _wrong(value: object, wanted: object, where: str) -> list[str]:
    """Values of another type than theirs, and names that are not in their lists."""
    if isinstance(value, enum.Enum):
        return []  # a default of the SDK's own
    if type(value).__module__.startswith("grafana_foundation_sdk"):
        hints = {name: hint for name, hint in typing.get_type_hints(type(value)).items() if hasattr(value, name)}
        # What depends on the kind of panel is declared as any object, and is of a type all the
        # same.
        return [fault for name, hint in hints.items() for fault in _wrong(getattr(value, name), hint, f"{where}.{name}")]
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Union:
        tried = [_wrong(value, one, where) for one in inner]
        return [] if [] in tried else tried[0]
    if origin is list and isinstance(value, list):
        return [fault for i, item in enumerate(value) for fault in _wrong(item, inner[0], f"{where}[{i}]")]
    if origin is typing.Literal:
        return [] if value in inner else [f"{where} = {value!r}, may be {inner}"]
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        names = [member.value for member in wanted]
        return [] if value in names else [f"{where} = {value!r}, may be {names}"]
    if wanted is float:
        return [] if isinstance(value, (int, float)) and not isinstance(value, bool) else [f"{where} = {value!r} is no number"]
    if wanted in (int, str, bool, type(None)):
        return [] if type(value) is wanted else [f"{where} = {value!r} is no {wanted.__name__}"]
    return []  # an object without a type
