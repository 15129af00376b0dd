"""`headsup export`: what headsup has made, as other programs read it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from headsup_cli.commands.options import OutputOption, QuietOption


def export(
    subjects: Annotated[
        list[Path], typer.Argument(metavar="CAPTURE", help="Captures, or folders of them.", show_default=False)
    ],
    to: Annotated[Literal["colmap", "nerfstudio"], typer.Option("--to", help="Format.", show_default=False)],
    output: OutputOption,
    frame: Annotated[
        str | None, typer.Option("--frame", help="Which moment of the capture; the most neutral.", show_default=False)
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Write captures as data sets for gsplat, nerfstudio, Brush, Postshot and others.

    colmap: DIR/<subject>/ with images, masks and sparse/0 (text), and points within the silhouettes to start from.
    nerfstudio: DIR/<subject>/ with images, masks and transforms.json. The world is the head frame, in metres.

    Example:
        headsup export captures/anna --to colmap -o datasets
    """
    from headsup_cli.batch.subjects import check_outcomes, expand_subjects, run_subjects
    from headsup_cli.capture.capture import is_capture, read_capture
    from headsup_cli.capture.exports.colmap import write_colmap
    from headsup_cli.capture.exports.dataset import chosen_frame
    from headsup_cli.capture.exports.nerfstudio import write_transforms_json
    from headsup_cli.runtime.atomic import atomic_directory

    write = {"colmap": write_colmap, "nerfstudio": write_transforms_json}[to]

    def work(subject: Path) -> None:
        capture = read_capture(subject)
        folder = output / capture.subject
        with atomic_directory(folder) as unfinished:
            write(capture, chosen_frame(capture, frame), unfinished)
        print(folder)

    manifest = output / "manifest.jsonl"
    paths = expand_subjects(subjects, is_capture)
    check_outcomes(run_subjects(paths, work, manifest=manifest), manifest)
