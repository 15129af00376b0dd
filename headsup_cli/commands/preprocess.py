"""`headsup preprocess`: from rig dumps to captures."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from headsup_cli.commands.options import OutputOption, QuietOption, TemplateOption


def preprocess(
    rigs: Annotated[
        list[Path], typer.Argument(metavar="RIG", help="Rig dumps, or folders of them.", show_default=False)
    ],
    output: OutputOption,
    size: Annotated[int, typer.Option("--size", min=64, help="Longer side of the pictures, pixels.")] = 1000,
    crop: Annotated[
        Literal["none", "subject"], typer.Option("--crop", help="Keep whole pictures, or the subject's surroundings.")
    ] = "none",
    frames: Annotated[
        list[str] | None,
        typer.Option("--frame", metavar="NAME", help="A frame to take, repeatable; all.", show_default=False),
    ] = None,
    codec: Annotated[Literal["png", "jpg"], typer.Option("--codec", help="Format of the pictures.")] = "png",
    quality: Annotated[int, typer.Option("--quality", min=1, max=100, help="Of jpg.")] = 95,
    template: TemplateOption = None,
    quiet: QuietOption = False,
) -> None:
    """Turn rig dumps into captures: undistorted, masked, in metres, in the head frame.

    Writes DIR/<subject>/ with capture.json, images and masks (docs/capture-format.md). The rig dumps are not touched.

    Example:
        headsup preprocess my_rig/anna -o captures
        headsup preprocess my_rig -o captures --size 1500 --crop subject --codec jpg
    """
    from headsup_cli.batch.subjects import check_outcomes, expand_subjects, run_subjects
    from headsup_cli.capture.capture import write_capture
    from headsup_cli.capture.rigs.detection import is_rig_dump, read_rig_dump
    from headsup_cli.preprocessing.preprocess import PreprocessOptions, preprocess_rig
    from headsup_cli.template.default import load_template

    paths = expand_subjects(rigs, is_rig_dump)
    surface = load_template(template)
    options = PreprocessOptions(size=size, crop=crop, frames=tuple(frames) if frames else "all")

    def work(rig: Path) -> None:
        capture = preprocess_rig(read_rig_dump(rig), options, surface)
        folder = output / capture.subject
        write_capture(capture, folder, suffix=f".{codec}", jpeg_quality=quality)
        print(folder)

    manifest = output / "manifest.jsonl"
    check_outcomes(run_subjects(paths, work, manifest=manifest), manifest)
