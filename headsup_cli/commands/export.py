"""`headsup export`: what headsup has made, as other programs read it."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from headsup_cli.commands.options import OutputOption, QuietOption, TemplateOption, WorkersOption

_Format = Literal["colmap", "nerfstudio", "ply", "compressed-ply", "spz", "glb", "splat", "usd", "sog", "html"]


def export(
    subjects: Annotated[
        list[Path],
        typer.Argument(
            metavar="SUBJECT",
            help="Captures (for data sets), heads or 3DGS PLYs, or folders of captures or heads.",
            show_default=False,
        ),
    ],
    to: Annotated[_Format, typer.Option("--to", help="Format.", show_default=False)],
    output: OutputOption,
    frame: Annotated[
        str | None,
        typer.Option(
            "--frame", metavar="NAME", help="Which moment of a capture; the most neutral.", show_default=False
        ),
    ] = None,
    up: Annotated[
        Literal["+y", "-y"] | None,
        typer.Option("--up", help="What points up in a head's file; what its readers expect.", show_default=False),
    ] = None,
    scale: Annotated[
        float, typer.Option("--scale", min=1e-3, max=1e4, metavar="X", help="Units of a head's file per metre.")
    ] = 1.0,
    prune: Annotated[
        str | None,
        typer.Option(
            "--prune",
            metavar="around|FILE",
            help="Drop Gaussians that cannot be seen: from anywhere around, or by the cameras of a calibration.json.",
            show_default=False,
        ),
    ] = None,
    spz_version: Annotated[
        int, typer.Option("--spz-version", min=3, max=4, metavar="3|4", help="3 is read everywhere; 4 is smaller.")
    ] = 3,
    workers: WorkersOption = 1,
    template: TemplateOption = None,
    quiet: QuietOption = False,
) -> None:
    """Write captures as data sets, and heads as files for viewers and engines.

    colmap: DIR/<subject>/ with images, masks and sparse/0 (text), and points within the silhouettes to start from.
    nerfstudio: DIR/<subject>/ with images, masks and transforms.json. The world is the head frame, in metres.

    The others: DIR/<subject>.<suffix> of a head. Each file is read back, rendered and compared with the head before
    it gets its name; one that is there already and would be the same is left alone. usd needs usd-core; sog and
    html need Node.js 22 and splat-transform. docs/export.md says which format is for what.

    Example:
        headsup export captures/anna --to colmap -o datasets
        headsup export heads/anna --to spz -o web --prune around
        headsup export heads --to glb -o engine --scale 100 --workers 4
    """
    from headsup_cli.batch.subjects import check_outcomes, expand_subjects, run_subjects
    from headsup_cli.capture.capture import is_capture
    from headsup_cli.gaussians.head_folder import is_head
    from headsup_cli.inference.head_export import Placement
    from headsup_cli.jobs.exporting import ExportJob

    manifest = output / "manifest.jsonl"
    if to in ("colmap", "nerfstudio"):
        work = partial(_export_capture, to, output, frame)
        outcomes = run_subjects(expand_subjects(subjects, is_capture), work, manifest=manifest, workers=workers)
    else:
        name = "spz-4" if to == "spz" and spz_version == 4 else to
        job = ExportJob(output, name, Placement(up, scale), prune, template)
        heads = expand_subjects(subjects, is_head)
        outcomes = run_subjects(heads, job, manifest=manifest, is_done=job.is_done, workers=workers)
    check_outcomes(outcomes, manifest)


def _export_capture(to: str, output: Path, frame: str | None, subject: Path) -> None:
    from headsup_cli.capture.capture import read_capture
    from headsup_cli.capture.exports.colmap import write_colmap
    from headsup_cli.capture.exports.nerfstudio import write_transforms_json
    from headsup_cli.runtime.atomic import atomic_directory

    capture = read_capture(subject)
    with atomic_directory(output / capture.subject) as unfinished:
        write = write_colmap if to == "colmap" else write_transforms_json
        write(capture, capture.frame_named(frame), unfinished)
    print(output / capture.subject)
