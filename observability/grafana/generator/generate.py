"""Writes the dashboards: python3 observability/grafana/generator/generate.py. Standard library only."""

import json
from pathlib import Path

import cluster
import function
import side_by_side
import trace
import vertical

FOLDER = Path(__file__).parents[1] / "dashboards"


def dashboards() -> dict[str, str]:
    """Each file's name and its text."""
    modules = [side_by_side, function, vertical, cluster, trace]
    return {f"{module.__name__.replace('_', '-')}.json": json.dumps(module.DASHBOARD, indent=1, ensure_ascii=False) + "\n" for module in modules}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in dashboards().items():
        (FOLDER / name).write_text(text)
