"""From scores by view to summaries, tables, comparisons and the page."""

import csv
import json
import re

import numpy as np
import pytest

from headsup_cli.errors import InputError
from headsup_cli.evaluation.comparison import compared
from headsup_cli.evaluation.conclusion import conclude
from headsup_cli.evaluation.pictures import strip_path
from headsup_cli.evaluation.protocol import Protocol, metric_settings
from headsup_cli.evaluation.results import SubjectScores, read_metrics, summarised, write_scores
from headsup_cli.evaluation.scoring import SCORE_NAMES
from headsup_cli.media.images import write_image


def protocol(**changes):
    values = {
        "heads": "weights x", "refine": "none", "frames": ["neutral"], "heldout": "spread around",
        "input_views": (4, 4), "heldout_views": (2, 2), "sizes": ["32x40"], "background": "#000000",
        "metrics": metric_settings(None),
    }  # fmt: skip
    return Protocol(**(values | changes))


def subject(name, psnrs, **changes):
    """A subject with a foreground PSNR per camera; FLIP is a tenth of it, and eyes are seen by the first camera."""
    views = {}
    for camera, psnr in psnrs.items():
        views[camera] = dict.fromkeys(SCORE_NAMES) | {"psnr_foreground": psnr, "flip_full": psnr / 100}
    next(iter(views.values()))["psnr_eyes"] = 20.0
    return SubjectScores(subject=name, made_from="0", protocol=protocol(**changes), views=views)


@pytest.fixture
def metrics():
    few = subject("few", {"a": 30.0}, input_views=(4, 4), heldout_views=(1, 1))
    many = subject("many", {"a": 20.0, "b": 24.0, "c": 28.0}, input_views=(6, 6), heldout_views=(3, 3), sizes=["9x9"])
    return summarised([few, many], {"bad": "it failed"})


def test_means_are_over_images_and_spread_is_over_views_and_subjects(metrics):
    summary = metrics.summary["psnr_foreground"]
    assert summary.mean == pytest.approx(25.5), "of four images, not of two subjects"
    assert summary.spread_views == pytest.approx(np.std([30, 20, 24, 28]))
    assert summary.spread_subjects == pytest.approx(np.std([30, 24]))
    assert (summary.worst, summary.views) == (20, 4)
    assert metrics.summary["flip_full"].worst == pytest.approx(0.3), "less FLIP is better"
    assert metrics.summary["psnr_eyes"].views == 2, "views without eyes do not count"
    assert "lpips_full" not in metrics.summary
    assert metrics.subjects["few"]["psnr_foreground"].spread_subjects is None
    assert metrics.worst_first() == ["many", "few"]
    assert metrics.views_worst_first()[:2] == [("many", "a"), ("many", "b")]


def test_the_protocol_line_says_how(metrics):
    for words in ("4 to 6 input views", "1 to 3 held-out cameras", "9x9 to 32x40", "on #000000", "frame neutral",
                  "refine none", "Gaussian 11 px sigma 1.5", "LPIPS not computed"):  # fmt: skip
        assert words in metrics.protocol_line
    assert "LPIPS alex[-1,1]" in protocol(metrics=metric_settings("alex[-1,1]")).line


def written(folder, *subjects, against=None):
    for scores in subjects:
        write_scores(scores, folder / scores.subject)
    return conclude(folder, [scores.subject for scores in subjects], {}, against)


def test_files_say_what_memory_does(tmp_path):
    metrics, comparison = written(tmp_path, subject("s", {"a": 20.0, "b": 10.0}))
    assert comparison is None
    assert read_metrics(tmp_path) == metrics == conclude(tmp_path, [], {}, None)[0]
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [(row["subject"], row["camera"], float(row["psnr_foreground"])) for row in rows] == [
        ("s", "a", 20), ("s", "b", 10),
    ]  # fmt: skip
    assert rows[1]["psnr_eyes"] == ""
    assert rows[0]["protocol"] == metrics.protocol_line
    with pytest.raises(InputError, match=r"without metrics\.json"):
        conclude(tmp_path / "nothing", [], {}, None)


def test_two_results_are_compared_over_the_views_in_common(tmp_path):
    written(tmp_path / "old", subject("s", {"a": 20.0, "b": 10.0, "z": 0.0}), subject("t", {"a": 30.0}))
    ours = subject("s", {"a": 23.0, "b": 11.0}), subject("t", {"a": 29.0}), subject("new", {"a": 1.0})
    _, comparison = written(tmp_path / "new", *ours, against=tmp_path / "old")
    psnr, flip = comparison.differences["psnr_foreground"], comparison.differences["flip_full"]
    assert psnr.mean == pytest.approx((2 - 1) / 2)
    assert psnr.spread == pytest.approx(1.5)
    assert (psnr.wins, psnr.losses, psnr.subjects, psnr.view_wins, psnr.views) == (1, 1, 2, 2, 3)
    assert (flip.wins, flip.losses, flip.view_wins) == (1, 1, 1), "less FLIP is better"
    assert comparison.subjects["s"]["psnr_foreground"] == pytest.approx(2)
    stored = json.loads((tmp_path / "new" / "comparison.json").read_text())
    assert stored["differences"]["psnr_foreground"]["wins"] == 1
    assert "mean difference" in (tmp_path / "new" / "report.html").read_text()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"sizes": ["64x80"]}, "sizes"),
        ({"background": "#ffffff"}, "background"),
        ({"frames": ["smile"]}, "frames"),
        ({"metrics": metric_settings(None) | {"FLIP": "other"}}, r"metrics\.FLIP"),
    ],
)
def test_results_of_other_protocols_are_not_compared(changes, named, tmp_path):
    ours, theirs = (summarised([subject("s", {"a": 1.0}, **some)], {}) for some in ({}, changes))
    with pytest.raises(InputError, match=f"protocol.{named}"):
        compared(ours, theirs, tmp_path)


def test_results_may_differ_in_what_is_compared(tmp_path):
    changes = {"input_views": (16, 16), "refine": "60 s", "heads": "weights y", "metrics": metric_settings("vgg[-1,1]")}
    ours, theirs = (summarised([subject("s", {"a": 1.0}, **some)], {}) for some in ({}, changes))
    assert compared(ours, theirs, tmp_path).differences["psnr_foreground"].mean == 0
    other = summarised([subject("s", {"b": 1.0})], {})
    with pytest.raises(InputError, match="in common"):
        compared(ours, other, tmp_path)


def test_the_page_stands_alone_and_shows_the_worst_first(tmp_path):
    name = "<b>&s"
    for camera in ("a", "b"):
        write_image(strip_path(tmp_path / name, camera), np.full((8, 20, 3), 90, np.uint8))
    written(tmp_path, subject(name, {"a": 20.0, "b": 10.0}))
    page = (tmp_path / "report.html").read_text()
    captions = re.findall(r"<figcaption><b>(.*?)</b>", page)
    assert captions == ["&lt;b&gt;&amp;s b", "&lt;b&gt;&amp;s a"]
    assert page.count("data:image/jpeg;base64,/9j/") == 2
    assert not re.search(r"(src|href)=[\"'](?!data:)|<script|url\(", page)
    assert "protocol: 4 input views" in page
    for words in ("PSNR foreground", "FLIP full", "PSNR eyes"):
        assert words in page
    assert "psnr_" not in page
