"""`headsup export`: what headsup has made, as other programs read it."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from headsup_cli.commands.options import OutputOption, QuietOption, TemplateOption

_Format = Literal["colmap", "nerfstudio", "ply", "compressed-ply", "spz", "glb", "splat"]


def export(
    subjects: Annotated[
        list[Path],
        typer.Argument(
            metavar="SUBJECT", help="Captures (for data sets) or heads, or folders of them.", show_default=False
        ),
    ],
    to: Annotated[_Format, typer.Option("--to", help="Format.", show_default=False)],
    output: OutputOption,
    frame: Annotated[
        str | None, typer.Option("--frame", help="Which moment of a capture; the most neutral.", show_default=False)
    ] = None,
    template: TemplateOption = None,
    quiet: QuietOption = False,
) -> None:
    """Write captures as data sets, and heads as files for viewers and engines.

    colmap: DIR/<subject>/ with images, masks and sparse/0 (text), and points within the silhouettes to start from.
    nerfstudio: DIR/<subject>/ with images, masks and transforms.json. The world is the head frame, in metres.

    ply, compressed-ply, spz, glb, splat: DIR/<subject>.<suffix> of a head. Each file is read back, rendered and
    compared with the head before it gets its name. splat holds no directional colour.

    Example:
        headsup export captures/anna --to colmap -o datasets
        headsup export heads/anna --to spz -o web
    """
    from headsup_cli.batch.subjects import check_outcomes, expand_subjects, run_subjects
    from headsup_cli.capture.capture import is_capture
    from headsup_cli.gaussians.head import is_head

    data_set = to in ("colmap", "nerfstudio")
    work = partial(_export_capture, to, output, frame) if data_set else partial(_export_head, to, output, template)
    manifest = output / "manifest.jsonl"
    paths = expand_subjects(subjects, is_capture if data_set else is_head)
    check_outcomes(run_subjects(paths, work, manifest=manifest), manifest)


def _export_capture(to: str, output: Path, frame: str | None, subject: Path) -> None:
    from headsup_cli.capture.capture import read_capture
    from headsup_cli.capture.exports.colmap import write_colmap
    from headsup_cli.capture.exports.dataset import chosen_frame
    from headsup_cli.capture.exports.nerfstudio import write_transforms_json
    from headsup_cli.runtime.atomic import atomic_directory

    capture = read_capture(subject)
    with atomic_directory(output / capture.subject) as unfinished:
        write = write_colmap if to == "colmap" else write_transforms_json
        write(capture, chosen_frame(capture, frame), unfinished)
    print(output / capture.subject)


def _export_head(to: str, output: Path, template: Path | None, subject: Path) -> None:
    from headsup_cli.gaussians.head import read_head
    from headsup_cli.inference.head_export import FORMATS, export_head
    from headsup_cli.template.default import load_template

    head = read_head(subject)
    path = output / f"{head.subject}{FORMATS[to].suffix}"
    likeness_db = export_head(head.gaussians(load_template(template)), path, FORMATS[to])
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {likeness_db:.1f} dB from the head")
