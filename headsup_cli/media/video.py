"""Video (H.264, VP9, GIF) through the ffmpeg that imageio-ffmpeg brings along."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Literal

import imageio_ffmpeg
import numpy as np
from jaxtyping import UInt8

from headsup_cli.errors import HeadsupError, InputError, MissingDependencyError
from headsup_cli.media.images import MAX_PIXELS
from headsup_cli.runtime.atomic import atomic_path

VideoFrame = UInt8[np.ndarray, "h w 3"]
Pixels = Literal["rgb", "rgba"]
_SUFFIXES = (".mp4", ".webm", ".gif")
_MOST_X264_CRF, _MOST_VP9_CRF = 51, 63


@contextmanager
def open_video_writer(
    path: Path, *, width: int, height: int, fps: float = 30.0, crf: int = 18, pixels: Pixels = "rgb"
) -> Iterator[Callable[[UInt8[np.ndarray, "h w c"]], None]]:
    """Write a video in the format that its name ends in.

    .mp4 is H.264, yuv420p, BT.709, index in front: every player and browser takes it. .webm is VP9, which can be
    transparent. .gif has 256 colours in each picture, one of which may be transparent, and turns for ever.

    Args:
        path: Where the video appears once it is complete.
        width: Width of the frames in pixels.
        height: Height of the frames in pixels.
        fps: Frames per second; GIF rounds their durations to 10 ms.
        crf: x264's constant rate factor: 0 is lossless, 18 looks it, 51 is the worst; VP9's is set alike.
        pixels: What frames hold; the alpha of `rgba` is straight.

    Yields:
        A function that appends one sRGB frame. An odd width or height, which yuv420p cannot hold, is made even by
        repeating the last column or row.

    Raises:
        InputError: The name ends otherwise, or an .mp4 is to be transparent.
        MissingDependencyError: There is no ffmpeg.
        HeadsupError: ffmpeg failed; the message carries its last line.
    """
    _check_format(path, pixels)
    across, down = (0, 0) if path.suffix.lower() == ".gif" else (width % 2, height % 2)
    with atomic_path(path) as temporary, tempfile.TemporaryFile() as log:
        command = _encode_command(temporary, f"{width + across}x{height + down}", fps, crf, pixels)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log)
        pipe = process.stdin
        assert pipe is not None

        def append(frame: UInt8[np.ndarray, "h w c"]) -> None:
            if frame.shape != (height, width, len(pixels)):
                raise ValueError(f"frame of shape {frame.shape} in a {width} x {height} video of {pixels}")
            even = np.pad(frame, ((0, down), (0, across), (0, 0)), mode="edge")
            try:
                pipe.write(np.ascontiguousarray(even).data)
            except BrokenPipeError:
                process.wait()
                raise _ffmpeg_failure(path, log) from None

        try:
            yield append
            pipe.close()
            if process.wait() != 0:
                raise _ffmpeg_failure(path, log)
        finally:
            process.kill()
            process.wait()
            with suppress(OSError):  # frames that ffmpeg has not taken
                pipe.close()


def read_video(path: Path) -> Iterator[VideoFrame]:
    """Yield a video's frames, decoded to sRGB.

    Raises:
        InputError: ffmpeg cannot read the file.
    """
    frames = imageio_ffmpeg.read_frames(str(path), pix_fmt="rgb24")
    with _unreadable_told(path):
        width, height = next(frames)["size"]
    for frame in frames:
        yield np.frombuffer(frame, np.uint8).reshape(height, width, 3)


@dataclass(frozen=True)
class VideoInfo:
    """What a video says about itself."""

    width: int
    height: int
    fps: float
    seconds: float

    @property
    def frame_count(self) -> int:
        """How many frames that makes."""
        return max(1, round(self.fps * self.seconds))


@lru_cache(maxsize=4096)
def read_video_info(path: Path) -> VideoInfo:
    """Read a video's size, rate and length without decoding it.

    Raises:
        InputError: ffmpeg cannot read the file.
    """
    reading = imageio_ffmpeg.read_frames(str(path), pix_fmt="rgb24", input_params=_input_options(path))
    with closing(reading) as frames, _unreadable_told(path):
        meta = next(frames)
    (width, height), fps, seconds = meta["size"], float(meta["fps"]), float(meta["duration"])
    if not (0 < width * height <= MAX_PIXELS and 0 < fps < 10_000 and 0 <= seconds < 1e6):
        raise _no_video(path, f"{width} x {height} pixels at {fps:g} frames per second for {seconds:g} s")
    return VideoInfo(width, height, fps, seconds)


def read_video_frame(path: Path, index: int) -> VideoFrame:
    """Decode one frame, counted from 0, of a video with a constant frame rate.

    Raises:
        InputError: ffmpeg cannot read the file, or it has no such frame.
    """
    info = read_video_info(path)
    seek = ["-ss", f"{(index - 0.5) / info.fps:.6f}"] if index else []  # ffmpeg drops what comes before that time
    size = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{info.width}x{info.height}"]
    source = [*_input_options(path), *seek, "-i", str(path)]
    command = [ffmpeg_executable(), "-loglevel", "error", *source, "-frames:v", "1", *size, "-"]
    decoded = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).stdout
    if len(decoded) != info.width * info.height * 3:
        raise _no_video(path, f"without a readable frame {index}")
    return np.frombuffer(decoded, np.uint8).reshape(info.height, info.width, 3)


def ffmpeg_executable() -> str:
    """Return the path of the ffmpeg program.

    Raises:
        MissingDependencyError: imageio-ffmpeg has none for this machine and none is on the PATH.
    """
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise MissingDependencyError(
            "ffmpeg is missing; reinstall imageio-ffmpeg, or install ffmpeg and set IMAGEIO_FFMPEG_EXE to its path."
        ) from error


def _input_options(path: Path) -> list[str]:
    """Files alone, and no playlist under the name of a video: ffmpeg would fetch what it names."""
    container = ["-f", "mov"] if path.suffix.lower() in (".mp4", ".m4v", ".mov") else []
    return ["-protocol_whitelist", "file", *container]


@contextmanager
def _unreadable_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, StopIteration, KeyError, ValueError, IndexError) as error:  # the last three: no such stream
        raise _no_video(path, "not readable by ffmpeg") from error


def _no_video(path: Path, found: str) -> InputError:
    return InputError(path, found=found, expected="a video", remedy="check that it plays")


def _check_format(path: Path, pixels: Pixels) -> None:
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        found = f"a name ending in '{path.suffix}'"
        raise InputError(path, found=found, expected=" or ".join(_SUFFIXES), remedy="rename it")
    if suffix == ".mp4" and pixels == "rgba":
        raise InputError(path, found="a transparent .mp4", expected=".webm or .gif", remedy="choose one of them")


def _encode_command(path: Path, size: str, fps: float, crf: int, pixels: Pixels) -> list[str]:
    source = ["-f", "rawvideo", "-pix_fmt", {"rgb": "rgb24", "rgba": "rgba"}[pixels], "-s", size, "-r", f"{fps:g}"]
    start = [ffmpeg_executable(), "-loglevel", "error", "-y", *source, "-i", "-"]
    if path.suffix.lower() == ".gif":  # a palette for each picture, so that nothing waits for the last one
        keep = int(pixels == "rgba")
        palette = f"palettegen=stats_mode=single:reserve_transparent={keep}"
        graph = f"split[a][b];[a]{palette}[p];[b][p]paletteuse=new=1:dither=sierra2_4a:alpha_threshold=128"
        return [*start, "-filter_complex", graph, "-loop", "0", str(path)]
    sampling = "yuva420p" if pixels == "rgba" else "yuv420p"
    colour = ["-vf", f"scale=out_color_matrix=bt709:out_range=tv,format={sampling}"]
    for tag in ("-colorspace", "-color_primaries", "-color_trc"):
        colour += [tag, "bt709"]
    if path.suffix.lower() == ".mp4":
        encoder = ["-c:v", "libx264", "-preset", "medium", "-crf", str(crf), "-movflags", "+faststart"]
    else:
        quality = ["-crf", str(round(crf * _MOST_VP9_CRF / _MOST_X264_CRF)), "-b:v", "0"]
        pace = ["-deadline", "good", "-cpu-used", "4", "-row-mt", "1"]
        encoder = ["-c:v", "libvpx-vp9", *quality, *pace, "-auto-alt-ref", "0"]  # alt-ref frames cannot carry alpha
    return [*start, *colour, *encoder, str(path)]


def _ffmpeg_failure(path: Path, log: IO[bytes]) -> HeadsupError:
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return HeadsupError(f"{path}: ffmpeg failed ({lines[-1] if lines else 'no message'}).")
