"""A small site of rows that nothing was run for, some of them with names that no sane person gives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image

from benchmark.boards import aggregates
from benchmark.boards.aggregates import CostCell, Origin
from benchmark.boards.board import Row
from benchmark.reporting.overview import overview
from benchmark.reporting.ranking import rankings
from benchmark.reporting.sheet import sheets
from benchmark.reporting.site.write import write_site

IMAGE = "<img src=x onerror=alert(1)>"
SCRIPT = "</script><script>document.title='owned'</script>"
VECTOR = '"><svg onload=alert(1)>'
HOSTILE = (IMAGE, SCRIPT, VECTOR)
TOW = {"original": 0.0, "retrain": 1.0, "finetune": 0.91, "eu-k": 0.5, "cf-k": 0.105, "logit-mask": 0.99}
KINDS = {"original": "reference", "retrain": "reference", "logit-mask": "cheat", "svd-forgetting": "paper"}


def make_row(method: str, tow: float | None, scenario: str = "plain", seeds: int = 5, **changes: Any) -> Row:
    """A row of class-forget: ``tow`` differs a little between seeds; None leaves it blank."""
    clusters = {
        seed: [
            {"tow": None if tow is None else tow + seed * 1e-3, "accuracy.test.retain": 90.0 + seed, **_extra(scenario)}
        ]
        for seed in range(seeds)
    }
    names = list(dict.fromkeys(name for values in clusters.values() for name in values[0]))
    fields: dict[str, Any] = {
        "task": "class-forget",
        "scenario": scenario,
        "method": method,
        "kind": KINDS.get(method, "baseline"),
        "device": "cpu",
        "n": seeds,
        "cells": seeds,
        "units": seeds,
        "status": "ok",
        "reasons": [],
        "metrics": {name: aggregates.metric_cell(name, clusters) for name in names},
        "cost": CostCell(1.5, 1.4, 0.2, 3 * 2**20, True),
        "access": {"retain": {"samples": 12.0, "labels": 12.0}},
        "code": "current",
        "devices": ["a processor"],
        "label_free": False,
        "track": "",
        "rank_by": "tow",
        "choice": None,
        "groups": {},
        "origin": _origin(method, scenario, seeds),
    }
    return Row(**{**fields, **changes})


def _extra(scenario: str) -> dict[str, float | None]:
    """The second scenario has a metric that the first has not."""
    return {"change.features": 3.0} if scenario != "plain" else {}


def _origin(method: str, scenario: str, seeds: int) -> Origin:
    folder = f"embedded/class-forget/{scenario}/{method}"
    return Origin(
        settings={"data": "digits", "training": {"lr": 0.1}},
        parameters={"lr": 0.01},
        provenance="tuned by hand",
        threads=1,
        versions={"task": 1, "method": 2},
        records={f"{folder}/class-{seed}-seed{seed}-cpu.json": f"{seed:032d}" for seed in range(seeds)},
        seeds=list(range(seeds)),
        failed=[],
        units={seed: [f"class-{seed}"] for seed in range(seeds)},
        environments=[{"commit": "0123456789ab", "torch": "2.6"}],
        data=["sum"],
        created=("2025-01-01T00:00:00+00:00", "2025-01-02T00:00:00+00:00"),
    )


def plain_rows() -> list[Row]:
    """Two scenarios, of which one has a method without a value, and one with a failed row."""
    rows = [make_row(name, tow, code="moved") for name, tow in TOW.items()]
    rows.append(make_row("ssd", None, status="failed", reasons=["seed 0: failed: Error: it was lost"]))
    rows += [make_row(name, tow, "residual") for name, tow in list(TOW.items())[:4]]
    ranked = [row for row in rows if row.kind == "baseline" and row.status == "ok"]
    numbers = {id(row): str(i) for i, row in enumerate(ranked, 1)}
    return [_ranked(row, int(numbers[id(row)])) if id(row) in numbers else row for row in rows]


def _ranked(row: Row, rank: int) -> Row:
    return Row(**{**{name: getattr(row, name) for name in row.__struct_fields__}, "rank": rank})


def hostile_rows() -> list[Row]:
    """Names of methods, scenarios, reasons, devices, settings and groups that are HTML."""
    rows = [make_row(name, TOW.get(name, 0.3), IMAGE) for name in ("original", "retrain", *HOSTILE)]
    rows.append(
        make_row(SCRIPT, 0.2, VECTOR, status="unreliable", reasons=list(HOSTILE), devices=[IMAGE], device=VECTOR)
    )
    groups = {IMAGE: aggregates.GroupCell(50.0, 10)}
    origin = _origin(SCRIPT, VECTOR, 2)
    changes = {"settings": {IMAGE: SCRIPT}, "parameters": {VECTOR: SCRIPT}, "provenance": IMAGE}
    worse = Origin(**{**{name: getattr(origin, name) for name in origin.__struct_fields__}, **changes})
    return [*rows, make_row(IMAGE, 0.1, VECTOR, seeds=2, groups=groups, origin=worse)]


def drawing(stem: str, folder: Path, size: tuple[int, int] = (60, 40), **fields: Any) -> Any:
    """A figure of which there is a PNG in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "white").save(folder / f"{stem}.png")
    own = {
        "suite": "embedded",
        "task": "class-forget",
        "scenario": None,
        "kind": "forest",
        "caption": "A *caption*",
        "alt": "dots",
    }
    return SimpleNamespace(stem=stem, **{**own, **fields})


def make_site(
    folder: Path,
    rows: list[Row],
    drawings: tuple[Any, ...] = (),
    published: Mapping[str, list[dict[str, Any]]] | None = None,
    suite: str = "embedded",
) -> list[Path]:
    """The site of one suite in ``folder``/site, beside ``folder``/figures."""
    own = {suite: sheets(suite, rows)}
    scored, ranked = {suite: overview(rows)}, {suite: rankings(rows)}
    return write_site(own, scored, ranked, drawings, folder / "figures", published or {}, folder / "site")
