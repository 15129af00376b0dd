"""`headsup calibrate-check`: whether a calibration can be trusted."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headsup_cli.commands.console import print_json
from headsup_cli.commands.options import FormatOption, JsonOption, QuietOption
from headsup_cli.errors import CheckFailed, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from headsup_cli.calibration.check import CheckResult
    from headsup_cli.calibration.refinement import Refined
    from headsup_cli.calibration.tracks import Tracks
    from headsup_cli.capture.rig_dump import RigCamera, RigDump

_WIDTH_IN_PIPES = 160
_COLOURS = {"failed": "bold red", "warning": "yellow", "unchecked": "yellow", "ok": "green"}


def calibrate_check(
    rig: Annotated[Path, typer.Argument(metavar="RIG", help="A rig dump.", show_default=False)],
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="FILE",
            help="Check this calibration.json instead of the rig's.",
            show_default=False,
        ),
    ] = None,
    refine: Annotated[
        Path | None,
        typer.Option("--refine", metavar="FILE", help="Write a better calibration.json here.", show_default=False),
    ] = None,
    intrinsics: Annotated[
        bool, typer.Option("--intrinsics", help="Refine focal length, principal point and distortion as well.")
    ] = False,
    board: Annotated[
        str | None,
        typer.Option(
            "--board",
            metavar="SPEC",
            help="Use a board seen in the frames: chessboard:9x6:25mm (inner corners, square) or "
            "charuco:7x5:40mm:30mm:DICT_5X5_100 (squares, square, marker).",
            show_default=False,
        ),
    ] = None,
    frames: Annotated[
        list[str] | None,
        typer.Option("--frame", metavar="NAME", help="A frame to look at, repeatable; the first.", show_default=False),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write an HTML page with pictures here.", show_default=False),
    ] = None,
    format: FormatOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check a rig's calibration against its pictures: conventions, units, and each camera's accuracy.

    Says which camera is wrong and in what way; leaves with 1 if one is. The pictures are not touched.

    Example:
        headsup calibrate-check my_rig/anna
        headsup calibrate-check my_rig/anna --refine better.json --report check.html
    """
    from headsup_cli.calibration.check import check_calibration, with_picture_sizes
    from headsup_cli.calibration.refinement import refine_calibration
    from headsup_cli.calibration.sanity import Finding
    from headsup_cli.capture.rigs.detection import read_rig_dump
    from headsup_cli.capture.rigs.native import read_calibration, write_calibration
    from headsup_cli.preprocessing.masks import mask_from_plate

    dump = read_rig_dump(rig, format)
    cameras, sizes = dump.cameras, list[Finding]()
    if calibration:
        cameras, sizes = with_picture_sizes(read_calibration(calibration), dump, calibration)
    corners = _board_corners(board, dump, cameras) if board else None
    result = check_calibration(
        dump, cameras, _chosen_frames(dump, frames), mask_from_plate, board_tracks=corners, known=sizes
    )
    refined = None
    if refine:
        refined = refine_calibration(result, intrinsics=intrinsics)
        write_calibration(refine, refined.cameras)
    if report:
        from headsup_cli.calibration.report_page import write_report

        write_report(report, dump, result, refined)
    board_px = _board_px(corners, result) if corners else None
    if as_json:
        print_json(_as_json(result, refined, board_px))
    else:
        _print(result, refined, board_px)
    if result.failed:
        raise CheckFailed(f"{rig}: {_verdict(result)}.")


def _board_corners(spec: str, dump: "RigDump", cameras: "Mapping[str, RigCamera]") -> "Tracks":
    from headsup_cli.calibration.board import board_tracks, parse_board

    return board_tracks(parse_board(spec), list(dump.frames.values()), cameras)


def _board_px(corners: "Tracks", result: "CheckResult") -> float:
    """Median reprojection error of a board's corners under the calibration as it was read."""
    from headsup_cli.calibration.suspects import residuals
    from headsup_cli.calibration.tracks import median_length

    return median_length(residuals(corners, list(result.given.values())))


def _verdict(result: "CheckResult") -> str:
    names = ", ".join(result.wrong)
    told = [f"camera {names} is wrong" if len(result.wrong) == 1 else f"cameras {names} are wrong"] if names else []
    return "; ".join([*told, *(finding.sentence for finding in result.rig if finding.severity == "failed")])


def _chosen_frames(dump: "RigDump", frames: list[str] | None) -> list[str]:
    for name in frames or []:
        if name not in dump.frames:
            raise InputError(
                dump.path, field="--frame", found=f"'{name}'", expected=f"one of {', '.join(list(dump.frames)[:8])}",
                remedy="name a frame of the dump",
            )  # fmt: skip
    return frames or [next(iter(dump.frames))]


def _print(result: "CheckResult", refined: "Refined | None", board_px: float | None) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    out = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_IN_PIPES)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("camera", "status"):
        table.add_column(name, no_wrap=True)
    for name in ("points", "error px", "left out px", "correction px", "allowed px"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("finding", overflow="fold")
    for camera in result.cameras:
        status = f"[{_COLOURS[camera.status]}]{camera.status}[/]"  # names come from files: no markup in them
        correction = _number(camera.moved_px)
        numbers = [
            _number(camera.reprojection_px),
            _number(camera.leave_one_out_px),
            correction if camera.correction_stands else f"({correction})",
            _number(camera.allowed_px),
        ]
        table.add_row(
            escape(camera.id), status, str(camera.observations), *numbers, escape("; ".join(camera.sentences))
        )
    out.print(table)
    for finding in result.rig:
        out.print(f"[{_COLOURS.get(finding.severity, 'bold')}]{finding.severity}[/]: {escape(finding.sentence)}")
    if board_px is not None:
        out.print(f"board: median error {board_px:.3f} px")
    if refined:
        _print_refined(out, result, refined)


def _print_refined(out: "Console", result: "CheckResult", refined: "Refined") -> None:
    from rich.markup import escape

    rows = [
        ("", refined.whole),
        *((f" {name}", refined.by_camera[name]) for name in result.wrong if name in refined.by_camera),
    ]
    for name, change in rows:
        out.print(
            f"refined{escape(name)}: median error {change.before_px:.3f} px before, {change.after_px:.3f} px after"
        )
    for name in refined.needs_intrinsics:
        out.print(
            f"[yellow]refined {escape(name)}: its focal length or lens is wrong, which no pose mends: "
            "add --intrinsics[/]"
        )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _as_json(result: "CheckResult", refined: "Refined | None", board_px: float | None) -> dict[str, Any]:
    cameras = [
        {
            "camera": camera.id,
            "status": camera.status,
            "findings": camera.sentences,
            "points": camera.observations,
            "reprojection_px": camera.reprojection_px,
            "leave_one_out_px": camera.leave_one_out_px,
            "correction_px": camera.moved_px,
            "allowed_px": camera.allowed_px,
            "correction_stands": camera.correction_stands,
            "cause": camera.diagnosis and camera.diagnosis.cause,
            "rotation_deg": camera.diagnosis and camera.diagnosis.rotation_deg,
            "shift_mm": camera.diagnosis and camera.diagnosis.shift_mm,
            "focal_percent": camera.diagnosis and camera.diagnosis.focal_percent,
        }
        for camera in result.cameras
    ]
    return {
        "passed": not result.failed,
        "reading": result.reading.reading.name,
        "median_reprojection_px": result.median_px,
        "limit_px": result.limit_px,
        "board_px": board_px,
        "rig": [{"severity": finding.severity, "finding": finding.sentence} for finding in result.rig],
        "cameras": cameras,
        "refined": refined
        and {
            **asdict(refined.whole),
            "cameras": {n: asdict(c) for n, c in refined.by_camera.items()},
            "needs_intrinsics": refined.needs_intrinsics,
        },
    }
