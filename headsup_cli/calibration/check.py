"""Whether a rig's calibration agrees with its pictures, camera by camera, and what to do where it does not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from headsup_cli.calibration.adjustment import Adjusted, adjust
from headsup_cli.calibration.diagnosis import Diagnosis, diagnose, diagnosis_by_outline
from headsup_cli.calibration.features import Features, detect_features
from headsup_cli.calibration.matching import match_pictures
from headsup_cli.calibration.numerals import rounded
from headsup_cli.calibration.outline_suspects import (
    FLOOR,
    LEAST_CAMERAS,
    OutlineSuspects,
    find_outline_suspects,
)
from headsup_cli.calibration.outlines import UNITS, Outline, OutlineRig, outline_of
from headsup_cli.calibration.readings import ReadingFit, best_reading, fit_origin
from headsup_cli.calibration.sanity import Finding, by_camera, check_cameras, check_units
from headsup_cli.calibration.suspects import Suspects, find_suspects, in_front
from headsup_cli.calibration.tracks import (
    Tracks,
    concatenate,
    join_matches,
    leave_one_out,
    median_length,
    reproject,
    triangulate,
)
from headsup_cli.capture.rig_dump import RigCamera, RigDump, RigFrame
from headsup_cli.errors import InputError
from headsup_cli.media.pictures import read_mask_picture, read_picture
from headsup_cli.runtime.progress import StageTimes, progress

Picture8 = UInt8[np.ndarray, "h w 3"]
Status = Literal["failed", "warning", "unchecked", "ok"]
SubjectFromPlate = Callable[[Picture8, Picture8], UInt8[np.ndarray, "h w"]]

_NEIGHBOURS = 4  # pictures of like direction that each is matched with whatever the pictures say
_PICTURE_THREADS = 2
_FEWEST_PICTURES = 2  # that can be read; with fewer the reason is the answer
_MOST_UNCHECKED = 0.25  # share of the rig that goes without saying
_LEAST_LEFT_OUT = 6  # points that a median is taken of
_OVERRULED = "its correction would only fit wrong matches, and does not count"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CameraReport:
    """What was found out about one camera."""

    id: str
    status: Status
    sentences: list[str]
    observations: int
    reprojection_px: float | None  # median, against points that all right cameras agree on
    leave_one_out_px: float | None  # median, against points of the others alone
    moved_px: float | None  # that correcting its pose would move its points by
    allowed_px: float | None  # that this may be; None where its outline judged
    diagnosis: Diagnosis | None = None

    @property
    def correction_stands(self) -> bool:
        """Whether its correction counts: beyond what is allowed, that of a camera found right fits wrong matches."""
        doubted = self.moved_px is not None and self.allowed_px is not None and self.moved_px > self.allowed_px
        return self.diagnosis is not None or not doubted


@dataclass(frozen=True)
class CheckResult:
    """The answer, and what it rests on."""

    cameras: list[CameraReport]  # worst first
    rig: list[Finding]
    reading: ReadingFit
    given_reading: ReadingFit
    given: dict[str, RigCamera]  # as read and understood
    corrected: dict[str, RigCamera]
    tracks: Tracks
    points: Float64[np.ndarray, "p 3"]  # rig's world
    median_px: float
    limit_px: float
    frame: str  # the first that was looked at
    outlines: Sequence[Outline | None] = ()  # of the subject there, by camera
    unreadable: frozenset[str] = frozenset()  # cameras whose pictures there could not be used

    @property
    def failed(self) -> bool:
        """Whether anything is wrong."""
        return any(c.status == "failed" for c in self.cameras) or any(f.severity == "failed" for f in self.rig)

    @property
    def wrong(self) -> list[str]:
        """Cameras that failed, worst first."""
        return [c.id for c in self.cameras if c.status == "failed"]


def check_calibration(
    dump: RigDump,
    cameras: Mapping[str, RigCamera],
    frames: Sequence[str],
    subject_from_plate: SubjectFromPlate,
    *,
    board_tracks: Tracks | None = None,
    known: Sequence[Finding] = (),
) -> CheckResult:
    """Check a calibration against a dump's pictures.

    Args:
        dump: The pictures.
        cameras: The calibration, which need not be the dump's own; picture sizes must agree.
        frames: Moments to look at, at least one.
        subject_from_plate: Masks the subject of a picture by its clean plate.
        board_tracks: Corners of a calibration board, camera indices as in `cameras`.
        known: What was found already.

    Raises:
        InputError: Hardly any picture can be read, or no pictures show anything in common.
    """
    times = StageTimes()
    with times.stage("features and matches"):
        seen = [look(dump, dump.frames[name], list(cameras.values()), subject_from_plate) for name in frames]
        tracks = concatenate([*(s.tracks for s in seen), *([board_tracks] if board_tracks is not None else [])])
    missing = {name.split("/", 1)[1]: why for name, why in dump.left_out.items() if name.split("/", 1)[0] in frames}
    missing |= {name: why for s in seen for name, why in s.unreadable.items()}
    with times.stage("comparing"):
        outlines = seen[0].outlines
        result = judge(
            tracks, cameras, outlines=outlines, source=dump.path, frame=frames[0], known=known, missing=missing
        )
    return replace(result, unreadable=frozenset(seen[0].unreadable))


def judge(
    tracks: Tracks,
    cameras: Mapping[str, RigCamera],
    *,
    outlines: Sequence[Outline | None] = (),
    source: object = "pictures",
    frame: str = "",
    known: Sequence[Finding] = (),
    missing: Mapping[str, str] | None = None,
) -> CheckResult:
    """Check a calibration against what the cameras saw.

    Args:
        tracks: What was seen, camera indices in the order of `cameras`.
        cameras: The calibration.
        outlines: Of the subject at one moment, by camera, for those that points do not settle.
        source: What errors name.
        frame: The moment that the tracks are from.
        known: What was found already.
        missing: Why cameras have no picture, by id.

    Raises:
        InputError: No point was seen twice, and there are no outlines.
    """
    if not len(tracks.point) and sum(outline is not None for outline in outlines) < LEAST_CAMERAS:
        raise InputError(
            source, found="pictures that have nothing in common", expected="overlapping views of one subject",
            remedy="check that they are of one moment; plain surfaces need some texture, such as a patterned cloth",
        )  # fmt: skip
    given = list(cameras.values())
    reading, given_reading = best_reading(tracks, given)
    rig = [reading.reading.read(camera) for camera in given]
    suspects = find_suspects(tracks, rig)
    diagnoses = {i: diagnose(tracks, suspects.cameras, rig, i) for i in suspects.wrong}
    corrected = [diagnoses[i].camera if i in diagnoses else camera for i, camera in enumerate(suspects.cameras)]
    by_outline = _judge_outlines(outlines, corrected, suspects)
    for i, correction in by_outline.wrong.items():
        diagnoses[i] = diagnosis_by_outline(correction, rig, i)
        corrected[i] = correction.camera
    named = by_camera([*known, *check_cameras(rig)])
    settled = adjust(tracks, corrected, in_front(triangulate(tracks, corrected), corrected), {}, iterations=8)
    reports = [
        _camera_report(
            tracks, i, corrected, settled,
            _Evidence(
                camera, suspects.moved_px.get(i), suspects.allowed_px.get(i), diagnoses.get(i),
                named.get(camera.id, []), (missing or {}).get(camera.id),
                by_outline, i < len(outlines) and outlines[i] is not None,
            ),
        )
        for i, camera in enumerate(rig)
    ]  # fmt: skip
    wrong = [*suspects.wrong, *by_outline.wrong]
    order = {index: rank for rank, index in enumerate(wrong)}
    severity = {"failed": 0, "warning": 1, "unchecked": 2, "ok": 3}
    worst_first = sorted(
        range(len(rig)),
        key=lambda i: (severity[reports[i].status], order.get(i, len(rig)), -_weight_px(reports[i])),
    )
    right = ~np.isin(tracks.camera, wrong)
    return CheckResult(
        cameras=[reports[i] for i in worst_first],
        rig=_rig_findings(tracks, rig, corrected, reports, reading, given_reading),
        reading=reading,
        given_reading=given_reading,
        given={c.id: c for c in rig},
        corrected={c.id: c for c in corrected},
        tracks=tracks,
        points=settled.points,
        median_px=median_length(settled.errors[right]),
        limit_px=suspects.limit_px,
        frame=frame,
        outlines=outlines,
    )


def with_picture_sizes(
    cameras: Mapping[str, RigCamera], dump: RigDump, source: object
) -> tuple[dict[str, RigCamera], list[Finding]]:
    """Another calibration's cameras for the dump's pictures, scaled to them where it is for another resolution.

    Raises:
        InputError: A camera of the dump is not in the calibration, or its picture has another shape.
    """
    fitted, findings = {}, []
    for name, own in dump.cameras.items():
        if name not in cameras:
            raise InputError(
                source, field=f"cameras.{name}", found="missing", expected="every camera of the dump",
                remedy="give the calibration of this rig",
            )  # fmt: skip
        camera = cameras[name]
        wanted, size = (own.width, own.height), (camera.width, camera.height)
        if wanted == size:
            fitted[name] = camera
            continue
        if wanted == size[::-1]:
            sentence = (
                f"portrait against landscape: calibrated for {size[0]} x {size[1]}, pictures are "
                f"{wanted[0]} x {wanted[1]}"
            )
            fitted[name] = replace(camera, width=own.width, height=own.height)
        elif abs(wanted[0] * size[1] / (wanted[1] * size[0]) - 1) < 0.01:
            scale = np.array([[wanted[0] / size[0]], [wanted[1] / size[1]], [1.0]])
            sentence = (
                f"intrinsics for another resolution: calibrated for {size[0]} x {size[1]}, pictures are "
                f"{wanted[0]} x {wanted[1]}; multiply the first two rows of K by {scale[0, 0]:.4g}"
            )
            fitted[name] = replace(camera, K=camera.K * scale, width=own.width, height=own.height)
        else:
            raise InputError(
                source, field=f"cameras.{name}", found=f"for {size[0]} x {size[1]} pixels",
                expected=f"{wanted[0]} x {wanted[1]} as the pictures", remedy="give these pictures' own calibration",
            )  # fmt: skip
        findings.append(Finding("failed", sentence, name))
    return fitted, findings


@dataclass(frozen=True)
class Seen:
    """What the pictures of one moment show."""

    tracks: Tracks
    outlines: list[Outline | None]  # of the subject, by camera
    unreadable: dict[str, str]  # cameras whose pictures could not be used, and why


def look(dump: RigDump, frame: RigFrame, rig: Sequence[RigCamera], subject_from_plate: SubjectFromPlate) -> Seen:
    """Find what the cameras saw in common at one moment.

    Args:
        dump: The pictures.
        frame: The moment.
        rig: The cameras; only their lenses and viewing directions matter, and those little.
        subject_from_plate: Masks the subject of a picture by its clean plate.

    Raises:
        InputError: Fewer than two pictures can be read.
    """
    index = {camera.id: i for i, camera in enumerate(rig)}
    names = [name for name in frame.images if name in index]
    outlines: list[Outline | None] = [None] * len(rig)

    def features(name: str) -> Features | InputError:
        try:
            picture = read_picture(frame.images[name])
            subject = _subject(dump, frame, name, picture, subject_from_plate)
        except InputError as error:
            return error
        if subject is not None:
            outlines[index[name]] = outline_of(subject, rig[index[name]])
        return detect_features(picture, None if subject is None else subject > 0.5)

    with ThreadPoolExecutor(_PICTURE_THREADS) as pool:
        results = list(progress(pool.map(features, names), "finding features", len(names)))
    failures = {name: result for name, result in zip(names, results, strict=True) if isinstance(result, InputError)}
    if failures and len(names) - len(failures) < _FEWEST_PICTURES:
        raise next(iter(failures.values()))
    for name, failure in failures.items():
        logger.warning("camera %s is left out: %s", name, failure)
    names = [name for name in names if name not in failures]
    found = [result for result in results if not isinstance(result, InputError)]
    cameras = [rig[index[name]] for name in names]
    flattened = [
        camera.unproject(f.pixels) @ camera.K[:2, :2].T + camera.K[:2, 2]
        for camera, f in zip(cameras, found, strict=True)
    ]
    matches = match_pictures(found, flattened, _neighbours(cameras))
    tracks = join_matches([index[name] for name in names], found, matches)
    return Seen(tracks, outlines, {name: str(failure) for name, failure in failures.items()})


def _subject(
    dump: RigDump, frame: RigFrame, name: str, picture: Picture8, subject_from_plate: SubjectFromPlate
) -> Float32[np.ndarray, "h w"] | None:
    """Coverage, 0 to 1, where a mask or a clean plate tells it."""
    if name in frame.masks:
        return read_mask_picture(frame.masks[name])
    if name in dump.backgrounds:
        return subject_from_plate(picture, read_picture(dump.backgrounds[name])).astype(np.float32) / 255
    return None


def _judge_outlines(
    outlines: Sequence[Outline | None], cameras: Sequence[RigCamera], suspects: Suspects
) -> OutlineSuspects:
    """Ask the outlines about the cameras that points leave open."""
    if sum(outline is not None for outline in outlines) < LEAST_CAMERAS:
        return OutlineSuspects({}, {}, [])
    sure = {
        i for i, moved in suspects.moved_px.items()
        if i in suspects.wrong or moved < FLOOR * max(cameras[i].width, cameras[i].height) / UNITS
    }  # fmt: skip
    asked = [i for i in range(len(cameras)) if i not in sure]
    return find_outline_suspects(OutlineRig(outlines), cameras, asked)


def _neighbours(cameras: Sequence[RigCamera]) -> set[tuple[int, int]]:
    axes = np.array([camera.cam_from_rig[2, :3] for camera in cameras])
    nearest = np.argsort(-(axes @ axes.T), axis=1, kind="stable")[:, : _NEIGHBOURS + 1]
    return {(min(i, j), max(i, j)) for i, row in enumerate(nearest.tolist()) for j in row if i != j}


def _rig_findings(
    tracks: Tracks,
    rig: Sequence[RigCamera],
    corrected: Sequence[RigCamera],
    reports: Sequence[CameraReport],
    reading: ReadingFit,
    given: ReadingFit,
) -> list[Finding]:
    findings: list[Finding] = []
    if reading is not given:
        told = f"{reading.reading.name}: {reading.reading.meaning}"
        why = f"so read, {reading.explained:.0%} of the matches agree, as given {given.explained:.0%}"
        if given.explained > 0.3:
            read_px, given_px = rounded(reading.median_px), rounded(given.median_px)
            why = f"so read, matches agree to {read_px} px, as given to {given_px} px"
        findings.append(Finding("failed", f"{told}; {why}; {reading.reading.remedy}"))
    elif tracks.count and reading.explained < 0.3:
        findings.append(
            Finding("failed", "the calibration does not fit the pictures, in any way of reading it known here")
        )
    origin = fit_origin(tracks, corrected)
    if origin is not None:
        findings.append(Finding("warning", f"{origin.name}: {origin.meaning}; {origin.remedy}"))
    unchecked = sum(report.status == "unchecked" for report in reports)
    if unchecked > _MOST_UNCHECKED * len(rig):
        told = f"{unchecked} of {len(rig)} cameras could not be checked"
        remedy = (
            "add masks or clean plates, for their outlines; or use larger pictures, more frames (--frame), a --board"
        )
        findings.append(Finding("warning", f"{told}; {remedy}"))
    units = check_units([camera for camera, report in zip(rig, reports, strict=True) if report.diagnosis is None])
    return findings + ([units] if units else [])


@dataclass(frozen=True)
class _Evidence:
    """What is known of one camera."""

    camera: RigCamera
    moved_px: float | None  # by the points' judgement
    allowed_px: float | None
    diagnosis: Diagnosis | None
    findings: Sequence[Finding]
    missing: str | None  # why it has no picture
    outlines: OutlineSuspects
    has_outline: bool

    @property
    def remedy(self) -> str:
        """What would let it be checked."""
        more = "more frames, larger pictures or a board would help"
        return f"its outline tells too little; {more}" if self.has_outline else f"a mask, a clean plate, {more}"


def _weight_px(report: CameraReport) -> float:
    return report.moved_px if report.moved_px is not None and report.correction_stands else 0.0


def _camera_report(
    tracks: Tracks, index: int, corrected: Sequence[RigCamera], settled: Adjusted, known: _Evidence
) -> CameraReport:
    seen = tracks.camera == index
    count = int(seen.sum())
    findings, moved_px, allowed_px = known.findings, known.moved_px, known.allowed_px
    if known.diagnosis:  # which explains why it looks odd
        findings = [finding for finding in findings if finding.severity == "failed"]
    sentences = [known.diagnosis.sentence] if known.diagnosis else []
    sentences += [finding.sentence for finding in findings]
    status: Status = "warning" if any(finding.severity == "warning" for finding in findings) else "ok"
    if index in known.outlines.wrong:
        moved_px = known.outlines.wrong[index].moved * max(known.camera.width, known.camera.height) / UNITS
        allowed_px = None
    elif index in known.outlines.contradicting:
        status = "warning"
        sentences.append("its outline contradicts the others', and no pose mends that: look at its mask or clean plate")
    elif moved_px is None and index in known.outlines.agreeing:
        noticed_px = known.outlines.agreeing[index] * max(known.camera.width, known.camera.height) / UNITS
        sentences.append(f"by its outline, which shows errors from {noticed_px:.0f} px on")
    elif moved_px is None:
        status = "unchecked"
        sentences.append(known.missing or f"{count} points in common with others, too few to judge by; {known.remedy}")
    if known.diagnosis or any(finding.severity == "failed" for finding in findings):
        status = "failed"
    own = Tracks(np.zeros(count, int), tracks.point[seen], tracks.pixel[seen])
    left_out = leave_one_out(tracks, index, known.camera, corrected)
    reprojection = own.pixel - reproject(own, settled.points, [known.camera])
    report = CameraReport(
        id=known.camera.id,
        status=status,
        sentences=sentences,
        observations=count,
        reprojection_px=median_length(reprojection) if count else None,
        leave_one_out_px=median_length(left_out) if len(left_out) >= _LEAST_LEFT_OUT else None,
        moved_px=moved_px,
        allowed_px=allowed_px,
        diagnosis=known.diagnosis,
    )
    return report if report.correction_stands else replace(report, sentences=[*sentences, _OVERRULED])
