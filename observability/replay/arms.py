"""The arms of the comparison as comparison/arms.toml lists them: names for people, and which runs belong together."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).parents[2] / "comparison" / "arms.toml"
# Version 2 of the results files called some settings otherwise, as the crate `scenario` has it
# (renamed_from_v2): its KPA had a utilization of 100 %, and what was tuned was tuned by hand.
RENAMED_FROM_V2 = {("knative", "defaults"): "hpa-target", ("knative", "tuned"): "hand-tuned", ("k8s-autoscalers", "tuned"): "hand-tuned"}
LEFT, RIGHT = "knative", "k8s-autoscalers"


@dataclass(frozen=True)
class Arm:
    """One workload under one autoscaler with one set of settings."""

    variant: str
    configuration: str
    title: str


@dataclass(frozen=True)
class Pair:
    """Two arms that are compared, one of each variant."""

    question: str
    left: Arm
    right: Arm


def _read() -> tuple[dict[str, Arm], list[Pair]]:
    listed = tomllib.loads(FILE.read_text())
    named = {arm["name"]: Arm(arm["variant"], arm["configuration"], arm["title"]) for arm in listed["arm"]}
    found = []
    for pair in listed["pair"]:
        sides = {named[name].variant: named[name] for name in pair["arms"]}
        # Two arms of one variant have no place beside each other: a side is a variant.
        if len(sides) == 2:
            found.append(Pair(pair["question"], sides[LEFT], sides[RIGHT]))
    return named, found


ARMS, PAIRS = _read()


def of(variant: str, configuration: str) -> Arm | None:
    """The arm under whose settings a run was made; an ablation has its name after a plus sign."""
    base, *changes = configuration.split("+")
    found = next((arm for arm in ARMS.values() if (arm.variant, arm.configuration) == (variant, base)), None)
    return Arm(variant, configuration, ", ".join([found.title, *changes])) if found else None


def renamed_from_v2(variant: str, configuration: str) -> str:
    return RENAMED_FROM_V2.get((variant, configuration), configuration)
