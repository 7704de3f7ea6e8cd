"""A recorded run as time series: the same names as the rules give live (observability/prometheus/rules).

Reads the results files of the comparison (schema: the module `recording` of its runner), writes OpenMetrics
with timestamps. What a results file does not hold is not made up; lacking() names it.
"""

import bisect
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

import arms

# Version 3 adds to version 2, and calls some settings otherwise: see arms.renamed_from_v2().
V2, V3 = "nv-micro/comparison-run/v2", "nv-micro/comparison-run/v3"
# As often as Prometheus looks, live (prometheus/prometheus.yaml).
EVERY_S = 5
# The window of the rules' rates.
WINDOW_S = 30
GIB = 2**30
# Requests that may break the objective before their second does; as the comparison's MAX_LATE_SHARE
# of the load and rules/slo.yaml have it.
TOLERATED = 0.01
# Where simulated runs are put, which have no time of their own, when there is no measured one
# beside them.
SIMULATED_EPOCH = datetime(2026, 1, 1, tzinfo=timezone.utc)
# Between two of them.
GAP = timedelta(minutes=10)
# Bounds of the latency histogram: each this much above the one before, from 1 ms to above an hour,
# and around these quantiles so close that they come out as the report has them.
BOUND_RATIO = 1.1
QUANTILES = (0.5, 0.9, 0.99, 0.999)
CLOSE = 0.999

Labels = tuple[tuple[str, str], ...]
Points = list[tuple[float, float]]


class NotAResult(Exception):
    """A file that cannot be replayed, and what to do about it."""


@dataclass
class Run:
    """One results file, put in time."""

    path: Path
    results: dict
    start: datetime
    series: dict[str, dict[Labels, Points]] = field(default_factory=dict)

    @property
    def variant(self) -> str:
        return self.results["variant"]

    @property
    def simulated(self) -> bool:
        return self.results["origin"] == "simulated"

    @property
    def scenario(self) -> str:
        """What a simulation produced is labelled so, everywhere."""
        return self.results["scenario"] + (" (simulated)" if self.simulated else "")

    @property
    def name(self) -> str:
        results = self.results
        prefix = "simulated-" if self.simulated else ""
        return f"{prefix}{results['scenario']}-{results['variant']}-{results['configuration']}-{results['repeat']}"

    @property
    def arm(self) -> str:
        """For people; the configuration where arms.toml does not have it any more."""
        found = arms.of(self.variant, self.results["configuration"])
        return found.title if found else f"{self.variant} {self.results['configuration']}"

    @property
    def counted(self) -> tuple[float, float]:
        """The seconds over which quality and cost are counted: whole cycles, or all that was watched."""
        start, end = self.results["draw"].get("counted") or (0.0, self.observed)
        return start, min(end, self.observed)

    @property
    def observed(self) -> float:
        return self.results["recording"]["observed_s"]

    @property
    def end(self) -> datetime:
        return self.start + timedelta(seconds=self.observed)

    def add(self, name: str, points: Points, **labels: str) -> None:
        if points:
            self.series.setdefault(name, {})[tuple(sorted(labels.items()))] = points


def read(path: Path) -> dict:
    """One results file."""
    try:
        results = json.loads(path.read_text())
        schema = results["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise NotAResult(f"{path} is no results file of the comparison ({error}): give a folder that holds nothing else as *.json") from error
    if schema not in (V2, V3):
        raise NotAResult(f"{path} has schema {schema!r}, this reads {V2} and {V3}: record it again with make compare")
    if schema == V2:
        results["configuration"] = arms.renamed_from_v2(results["variant"], results["configuration"])
    return results


def read_folder(folder: Path) -> list[Run]:
    """All runs of a folder, in time: measured ones when they were, simulated ones side by side after them."""
    found = [(path, read(path)) for path in sorted(folder.glob("*.json"))]
    if not found:
        raise NotAResult(f"no results files in {folder}: make compare records some, make simulate makes simulated ones")
    runs = [Run(path, results, datetime.fromisoformat(results["started"])) for path, results in found if results["started"]]
    free = max((run.end for run in runs), default=SIMULATED_EPOCH).replace(microsecond=0)
    slots: dict[tuple, datetime] = {}
    before: dict[tuple, int] = {}
    for path, results in found:
        if results["started"]:
            continue
        # Two variants of a scenario at the same time, one arm of each after the other.
        place = (results["scenario"], results["repeat"], results["variant"])
        before[place] = before.get(place, 0) + 1
        pair = (results["scenario"], results["repeat"], before[place])
        if pair not in slots:
            free = slots[pair] = free + GAP
        run = Run(path, results, slots[pair])
        free = max(free, run.end)
        runs.append(run)
    runs.sort(key=lambda run: run.start)
    for variant in {run.variant for run in runs}:
        own = [run for run in runs if run.variant == variant]
        for one, other in zip(own, own[1:]):
            if other.start <= one.end:
                raise NotAResult(f"{one.path.name} and {other.path.name} are of the same variant and overlap in time: put them into folders of their own")
    for run in runs:
        fill(run)
    return runs


class Held:
    """A series that holds each value until the next, and the area under it."""

    def __init__(self, points: Iterable):
        self.moments, self.values = [], []
        for moment, value, *_ in points:
            self.moments.append(moment)
            self.values.append(value)
        parts = [(b - a) * value for a, b, value in zip(self.moments, self.moments[1:], self.values)]
        self.areas = [0.0, *itertools.accumulate(parts)]

    def at(self, second: float, before: float = 0.0) -> float:
        """The value of a moment; `before` until there is one."""
        place = bisect.bisect_right(self.moments, second)
        return self.values[place - 1] if place else before

    def _until(self, second: float) -> float:
        place = bisect.bisect_right(self.moments, second)
        return self.areas[place - 1] + (second - self.moments[place - 1]) * self.values[place - 1] if place else 0.0

    def area(self, start: float, end: float) -> float:
        """Between two moments; nothing is below the time before the first value."""
        return self._until(end) - self._until(start) if end > start else 0.0


def fill(run: Run) -> None:
    """All series of a run; the seconds of their points count from its start."""
    ticks = [float(second) for second in range(0, int(run.observed) + 1, EVERY_S)]
    # Where it ends and where counting begins and ends, to the moment.
    ticks = sorted({*ticks, run.observed, *run.counted})
    _marks(run, ticks)
    _load(run, ticks)
    _latency(run)
    _pods(run, ticks)
    _costs(run, ticks)
    _vertical(run, ticks)


def _marks(run: Run, ticks: list[float]) -> None:
    labels = {"run": run.name, "scenario": run.scenario, "variant": run.variant, "configuration": run.results["configuration"]}
    marked = labels | {"arm": run.arm}
    run.add("comparison_run", [(t, 1) for t in ticks], **marked)
    moments = {"start": 0.0, "end": run.observed}
    if run.results["draw"].get("counted"):
        moments |= dict(zip(("counted_start", "counted_end"), run.counted))
    for name, second in moments.items():
        run.add(f"comparison_run_{name}_timestamp_seconds", [(t, run.start.timestamp() + second) for t in ticks], **marked)
    # The zero ends it at once: OpenMetrics has no way to say that a series is over.
    run.add("run:eye_state:info", [(t, 1) for t in ticks] + [(run.observed + 1, 0)], **labels)


def _load(run: Run, ticks: list[float]) -> None:
    seconds = run.results["load"]["seconds"]

    def sums(what: Callable[[dict], float]) -> list[float]:
        total, found = 0.0, [0.0]
        for second in seconds:
            total += what(second)
            found.append(total)
        return found

    def at(cumulated: list[float], second: float) -> float:
        return cumulated[min(max(int(second), 0), len(seconds))]

    def rates(cumulated: list[float]) -> Points:
        return [(t, (at(cumulated, t) - at(cumulated, t - WINDOW_S)) / WINDOW_S) for t in ticks]

    def counts(cumulated: list[float]) -> Points:
        return [(t, at(cumulated, t)) for t in ticks]

    planned, answered = sums(lambda s: s["planned"]), sums(lambda s: s["ok"])
    refused, failed = sums(lambda s: s["refused"]), sums(lambda s: s["failed"])
    without = sums(lambda s: s["refused"] + s["failed"])
    good = sums(lambda s: s["planned"] - s["broke_slo"])
    over = sums(lambda s: s["broke_slo"] > TOLERATED * s["planned"])
    run.add("variant:eye_state_requests_offered:rate30s", rates(planned), variant=run.variant)
    run.add("variant:eye_state_requests_achieved:rate30s", rates(answered), variant=run.variant)
    run.add("variant:eye_state_errors:rate30s", rates(without), variant=run.variant)
    for kind, cumulated in (("refused", refused), ("failed", failed)):
        run.add("variant_kind:eye_state_errors:rate30s", rates(cumulated), variant=run.variant, kind=kind)
    run.add("variant:eye_state_requests_offered:integral", counts(planned), variant=run.variant)
    run.add("variant:eye_state_errors:integral", counts(without), variant=run.variant)
    run.add("variant:eye_state_requests_good:integral", counts(good), variant=run.variant)
    run.add("variant:eye_state_slo_violation_seconds:integral", counts(over), variant=run.variant)
    for key, quantile in (("p50_ms", "0.5"), ("p99_ms", "0.99")):
        points = [(float(i + 1), second[key] / 1000) for i, second in enumerate(seconds) if second[key] is not None]
        run.add("variant_point:eye_state_latency_seconds:quantile30s", points, variant=run.variant, point="client, each second", quantile=quantile)


def bounds(buckets: list[list[int]]) -> list[float]:
    """Upper bounds in seconds for a histogram of `[microseconds, count]`."""
    found = {0.001 * BOUND_RATIO**i for i in range(160)}
    total, seen, rank = sum(count for _, count in buckets), 0, 0
    for upper, count in buckets:
        seen += count
        while rank < len(QUANTILES) and seen >= max(1, QUANTILES[rank] * total):
            found |= {upper / 1e6, upper / 1e6 * CLOSE}
            rank += 1
    return sorted(found)


def _latency(run: Run) -> None:
    """The histogram of the whole run, known when its load is over."""
    buckets = run.results["load"]["latency_us"]
    uppers = [upper / 1e6 for upper, _ in buckets]
    cumulated = [0]
    for _, count in buckets:
        cumulated.append(cumulated[-1] + count)
    # Of the part that counts alone, where only a part does.
    begun, over = run.counted[0], min(float(len(run.results["load"]["seconds"])), run.observed)
    for bound in [*bounds(buckets), float("inf")]:
        count = cumulated[bisect.bisect_right(uppers, bound)]
        le = "+Inf" if bound == float("inf") else f"{bound:.9g}"
        run.add("variant_point_le:eye_state_latency_bucket:integral", [(begun, 0), (over, count)], variant=run.variant, point="client", le=le)


def _ready_at(pod: dict, second: float) -> bool:
    gone = pod["gone_s"] is not None and pod["gone_s"] <= second
    return not gone and Held(pod["ready"]).at(second, False)


def _life(pod: dict, observed: float) -> tuple[float, float]:
    """The part of a pod's life that is paid for; one that waits for a node costs nothing yet."""
    if pod["scheduled_s"] is None:
        return observed, observed
    end = observed if pod["gone_s"] is None else min(pod["gone_s"], observed)
    return min(max(pod["scheduled_s"], 0.0), end), end


def _pods(run: Run, ticks: list[float]) -> None:
    recording = run.results["recording"]
    pods = recording["pods"]
    lives = [_life(pod, run.observed) for pod in pods]
    if recording["desired"]:
        desired = Held(recording["desired"])
        run.add("variant:eye_state_pods_desired:sum", [(t, desired.at(t, desired.values[0])) for t in ticks], variant=run.variant)
    # At its last moment a run still has the pods that it had just before.
    run.add("variant:eye_state_pods_allocated:sum", [(t, sum(start <= t and (t < end or end == run.observed) and start < end for start, end in lives)) for t in ticks], variant=run.variant)
    run.add("variant:eye_state_pods_ready:sum", [(t, sum(_ready_at(pod, t) for pod in pods)) for t in ticks], variant=run.variant)
    run.add("variant:eye_state_load_over_target:ratio30s", _held(recording["seen"], ticks), variant=run.variant)
    panic = recording.get("panic", [])
    run.add("kn_revision_panic_mode", _held(panic, ticks), variant=run.variant, kn_revision_name=run.name)
    run.add("node:eye_state_cpu_busy:ratio30s", _held(recording["node_busy"], ticks), node="the node")
    for pod in pods:
        for phase, seconds in pod["startup"].items():
            began = max(pod["created_s"], 0.0)
            points = [(t, seconds) for t in ticks if began <= t and (pod["gone_s"] is None or t < pod["gone_s"])]
            run.add("eye_state_startup_duration_seconds", points, variant=run.variant, pod=pod["name"], phase=phase)


def _held(points: list, ticks: list[float]) -> Points:
    """Held until the next; nothing before the first."""
    held = Held(points)
    return [(t, held.at(t)) for t in ticks if held.moments and held.moments[0] <= t]


def _costs(run: Run, ticks: list[float]) -> None:
    recording = run.results["recording"]
    pods = [(pod, *_life(pod, run.observed)) for pod in recording["pods"]]
    components = recording["components"]
    run.add("variant:eye_state_pod_seconds:integral", [(t, sum(max(0.0, min(end, t) - start) for _, start, end in pods)) for t in ticks], variant=run.variant)

    def requested(column: int, scale: float) -> tuple[Points, Points]:
        """Of the function's pods over time, and what that has come to."""
        now, so_far = [], []
        containers = [(Held((r[0], r[column]) for r in c["requests"]), start, end) for pod, start, end in pods for c in pod["containers"]]
        for t in ticks:
            now.append((t, sum(held.at(t) for held, start, end in containers if start <= t < end or t == end == run.observed) * scale))
            so_far.append((t, sum(held.area(start, min(end, t)) for held, start, end in containers) * scale))
        return now, so_far

    cores, core_seconds = requested(1, 1.0)
    memory, _ = requested(2, 1.0)
    _, gib_seconds = requested(2, 1 / GIB)
    function, platform = {"variant": run.variant, "role": "function"}, {"variant": run.variant, "role": "platform"}
    run.add("variant_role:eye_state_cpu_cores_requested:sum", cores, **function)
    run.add("variant_role:eye_state_memory_bytes_requested:sum", memory, **function)
    run.add("variant_role:eye_state_core_seconds_requested:integral", core_seconds, **function)
    run.add("variant_role:eye_state_gib_seconds_requested:integral", gib_seconds, **function)
    if components:
        per_core, per_gib = sum(c["requested_cores"] for c in components), sum(c["requested_gib"] for c in components)
        run.add("variant_role:eye_state_cpu_cores_requested:sum", [(t, per_core) for t in ticks], **platform)
        run.add("variant_role:eye_state_memory_bytes_requested:sum", [(t, per_gib * GIB) for t in ticks], **platform)
        run.add("variant_role:eye_state_core_seconds_requested:integral", [(t, per_core * t) for t in ticks], **platform)
        run.add("variant_role:eye_state_gib_seconds_requested:integral", [(t, per_gib * t) for t in ticks], **platform)

    _used(run, ticks, function, recording, [container for pod, _, _ in pods for container in pod["containers"]])
    # The parts of the platform are looked at at the same moments.
    together = {key: _sum([c[key] for c in components if c.get(key)]) for key in ("cores_used", "gib_used")}
    _used(run, ticks, platform, together, components)


def _used(run: Run, ticks: list[float], labels: dict[str, str], over_time: dict, totals: list[dict]) -> None:
    """What was used: over time where it is recorded so, and else as a total at the end. Totals are of the time that counts."""
    begun, over = run.counted
    for now, factor, so_far, series, total in (
        ("variant_role:eye_state_cpu_cores_used:rate1m", 1, "variant_role:eye_state_core_seconds_used:integral", "cores_used", "core_seconds"),
        ("variant_role:eye_state_memory_bytes_used:sum", GIB, "variant_role:eye_state_gib_seconds_used:integral", "gib_used", "gib_seconds"),
    ):
        points, amount = over_time.get(series, []), sum(part[total] for part in totals)
        run.add(now, [(t, value * factor) for t, value in _held(points, ticks)], **labels)
        held = Held(points)
        area = held.area(begun, over)
        # The total is exact, the series is read once a scrape: scaled to it, it says when.
        if area > 0 and amount > 0:
            run.add(so_far, [(t, held.area(0.0, t) / area * amount) for t in ticks], **labels)
        elif amount > 0:
            # A simulation has no memory, and no platform.
            run.add(so_far, [(t, amount if t >= over else 0.0) for t in ticks], **labels)


def _sum(several: list[list]) -> list[tuple[float, float]]:
    """The sum of series that hold each value until the next."""
    moments = sorted({point[0] for points in several for point in points})
    held = [Held(points) for points in several]
    return [(t, sum(series.at(t) for series in held)) for t in moments]


def _vertical(run: Run, ticks: list[float]) -> None:
    """What the dashboard "Vertical" reads of kube-state-metrics and of the VPA."""
    moved = [0] * len(ticks)
    for pod in run.results["recording"]["pods"]:
        for container in pod["containers"]:
            rows = container["requests"]
            for column, resource in ((1, "cpu"), (2, "memory")):
                asked = Held((r[0], r[column]) for r in rows)
                points = [(t, asked.at(t)) for t in ticks if rows and rows[0][0] <= t and (pod["gone_s"] is None or t < pod["gone_s"])]
                labels = {"variant": run.variant, "role": "function", "namespace": "eye-state", "pod": pod["name"], "container": container["name"], "resource": resource}
                run.add("kube_pod_container_resource_requests", points, **labels)
            moved = [count + sum(0 <= row[0] <= t for row in rows[1:]) for count, t in zip(moved, ticks)]
    if run.variant == "k8s-autoscalers":
        run.add("vpa_updater_in_place_updated_pods_total", list(zip(ticks, moved)), component="vpa-updater")
        target = "kube_customresource_verticalpodautoscaler_status_recommendation_containerrecommendations_target"
        run.add(target, _held(run.results["recording"]["vpa_target_cores"], ticks), variant=run.variant, container="eye-state", resource="cpu")


def lacking(run: Run) -> list[str]:
    """What this recording does not hold, one line each."""
    recording, lines = run.results["recording"], []
    if not recording["node_busy"]:
        lines.append("how busy the node was")
    if not recording["seen"]:
        lines.append("what the autoscaler saw (load over target)")
    if not recording["desired"]:
        lines.append("what the autoscaler desired")
    if run.variant == "k8s-autoscalers" and not recording["vpa_target_cores"]:
        lines.append("what the VPA recommended")
    if not recording["components"]:
        lines.append("what the platform's parts cost")
    elif not any(component.get("cores_used") for component in recording["components"]):
        lines.append("when the platform's parts used CPU and memory (its total is at the end)")
    if not recording.get("gib_used"):
        lines.append("memory over time (its total is at the end)")
    if run.variant == "knative" and not recording.get("panic"):
        lines.append("when the KPA panicked")
    return lines + ["what the load of each moment asked for (pods wanted)"]


def write(runs: list[Run]) -> Iterator[str]:
    """OpenMetrics: all samples of a family together, each series in the order of time."""
    families: dict[str, dict[Labels, list[tuple[float, float]]]] = {}
    for run in runs:
        start = run.start.timestamp()
        for name, series in run.series.items():
            for labels, points in series.items():
                families.setdefault(name, {}).setdefault(labels, []).extend((start + second, value) for second, value in points)
    for name in sorted(families):
        yield f"# TYPE {name} unknown\n"
        for labels, points in families[name].items():
            shown = ",".join(f'{key}="{escaped(value)}"' for key, value in labels)
            # The node's series come from runs of both variants, which may overlap in a folder of
            # simulations.
            for moment, value in sorted(dict(points).items()):
                yield f"{name}{{{shown}}} {value:.10g} {moment:.3f}\n"
    yield "# EOF\n"


def escaped(value: str) -> str:
    return re.sub(r'[\\"]', lambda match: "\\" + match[0], value)
