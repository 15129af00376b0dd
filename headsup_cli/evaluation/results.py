"""Figures on disk: `scores.json` for each subject; `metrics.json` and `metrics.csv` for all of them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from headsup_cli.config_files.json_config import load_json_config
from headsup_cli.config_files.schema import StrictModel
from headsup_cli.errors import InputError
from headsup_cli.evaluation.protocol import Protocol, combined
from headsup_cli.evaluation.scoring import SCORE_NAMES, Scores, higher_is_better
from headsup_cli.runtime.atomic import atomic_write_text

SCORES_FILE = "scores.json"
METRICS_FILE, TABLE_FILE = "metrics.json", "metrics.csv"
RANKED_BY = "psnr_foreground"


class Summary(StrictModel):
    """One figure over many views."""

    mean: float  # over views
    spread_views: float  # standard deviation over views
    spread_subjects: float | None = None  # of the subjects' means, where there are several
    worst: float
    views: int


class SubjectScores(StrictModel, populate_by_name=True):
    """`scores.json`: a subject's figures by view."""

    schema_: Literal["headsup-scores/1"] = Field(default="headsup-scores/1", alias="schema")
    subject: str
    made_from: str  # hash of all that the figures depend on
    protocol: Protocol
    views: dict[str, Scores] = Field(min_length=1)

    def mean(self, score: str) -> float | None:
        """A figure's mean over the views that have it."""
        return mean(view.get(score) for view in self.views.values())


class Metrics(StrictModel, populate_by_name=True):
    """`metrics.json`: what an evaluation found."""

    schema_: Literal["headsup-metrics/1"] = Field(default="headsup-metrics/1", alias="schema")
    protocol: Protocol
    protocol_line: str
    summary: dict[str, Summary]
    subjects: dict[str, dict[str, Summary]]
    views: dict[str, dict[str, Scores]]  # by subject and camera
    failed: dict[str, str] = Field(default_factory=dict)  # why, by subject

    def worst_first(self) -> list[str]:
        """The subjects, the one with the lowest `RANKED_BY` first."""
        return sorted(self.subjects, key=lambda name: rank(self.subjects[name].get(RANKED_BY)))

    def views_worst_first(self) -> list[tuple[str, str]]:
        """Subject and camera of every view, the one with the lowest `RANKED_BY` first."""
        pairs = [(subject, camera) for subject, views in self.views.items() for camera in views]
        return sorted(pairs, key=lambda pair: rank(self.views[pair[0]][pair[1]].get(RANKED_BY)))


def summarised(subjects: Sequence[SubjectScores], failed: Mapping[str, str]) -> Metrics:
    """Everything that `metrics.json` holds, of at least one subject."""
    protocol = combined([subject.protocol for subject in subjects])
    return Metrics(
        protocol=protocol,
        protocol_line=protocol.line,
        summary=_summaries(subjects),
        subjects={subject.subject: _summaries([subject]) for subject in subjects},
        views={subject.subject: subject.views for subject in subjects},
        failed=dict(failed),
    )


def write_scores(scores: SubjectScores, folder: Path) -> None:
    """Write `scores.json`."""
    atomic_write_text(folder / SCORES_FILE, scores.model_dump_json(by_alias=True, indent=1) + "\n")


def read_scores(folder: Path) -> SubjectScores:
    """Read `scores.json`.

    Raises:
        InputError: It is missing or damaged.
    """
    return load_json_config(folder / SCORES_FILE, SubjectScores)


def write_metrics(metrics: Metrics, folder: Path) -> None:
    """Write `metrics.json` and `metrics.csv`, which has a row for each view."""
    atomic_write_text(folder / METRICS_FILE, metrics.model_dump_json(by_alias=True, indent=1) + "\n")
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("subject", "camera", *SCORE_NAMES, "protocol"))
    for subject, views in metrics.views.items():
        for camera, scores in views.items():
            values = ("" if (value := scores.get(name)) is None else f"{value:.6g}" for name in SCORE_NAMES)
            table.writerow((subject, camera, *values, metrics.protocol_line))
    atomic_write_text(folder / TABLE_FILE, text.getvalue())


def read_metrics(folder: Path) -> Metrics:
    """Read what an evaluation found.

    Raises:
        InputError: `folder` is not the result of one.
    """
    if not (folder / METRICS_FILE).is_file():
        raise InputError(
            folder,
            found=f"without {METRICS_FILE}",
            expected="the result of an evaluation",
            remedy="give a folder that headsup evaluate wrote",
        )
    return load_json_config(folder / METRICS_FILE, Metrics)


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are there."""
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None


def rank(value: Summary | float | None) -> float:
    """What to sort by, smallest first: the mean or value, and last what has none."""
    number = value.mean if isinstance(value, Summary) else value
    return math.inf if number is None else number


def _summaries(subjects: Sequence[SubjectScores]) -> dict[str, Summary]:
    found = {}
    for score in SCORE_NAMES:
        values = [v for subject in subjects for view in subject.views.values() if (v := view.get(score)) is not None]
        if values:
            means = [value for subject in subjects if (value := subject.mean(score)) is not None]
            found[score] = Summary(
                mean=float(np.mean(values)),
                spread_views=float(np.std(values)),
                spread_subjects=float(np.std(means)) if len(means) > 1 else None,
                worst=min(values) if higher_is_better(score) else max(values),
                views=len(values),
            )
    return found
