"""H.264 video through the ffmpeg that imageio-ffmpeg brings along."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

import imageio_ffmpeg
import numpy as np
from jaxtyping import UInt8

from headsup_cli.errors import HeadsupError, InputError, MissingDependencyError
from headsup_cli.media.images import MAX_PIXELS
from headsup_cli.runtime.atomic import atomic_path

VideoFrame = UInt8[np.ndarray, "h w 3"]


@contextmanager
def open_video_writer(
    path: Path, *, width: int, height: int, fps: float = 30.0, crf: int = 18
) -> Iterator[Callable[[VideoFrame], None]]:
    """Write an .mp4 that every player and browser takes: H.264, yuv420p, BT.709, index in front.

    Args:
        path: Where the video appears once it is complete.
        width: Width of the frames in pixels.
        height: Height of the frames in pixels.
        fps: Frames per second.
        crf: x264's constant rate factor: 0 is lossless, 18 looks it, 51 is the worst.

    Yields:
        A function that appends one sRGB frame. An odd width or height, which yuv420p cannot hold, is made even by
        repeating the last column or row.

    Raises:
        InputError: The name does not end in .mp4.
        MissingDependencyError: There is no ffmpeg.
        HeadsupError: ffmpeg failed; the message carries its last line.
    """
    if path.suffix.lower() != ".mp4":
        raise InputError(path, found=f"a name ending in '{path.suffix}'", expected=".mp4", remedy="rename it")
    with atomic_path(path) as temporary, tempfile.TemporaryFile() as log:
        command = _encode_command(temporary, width + width % 2, height + height % 2, fps, crf)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log)
        pipe = process.stdin
        assert pipe is not None

        def append(frame: VideoFrame) -> None:
            if frame.shape != (height, width, 3):
                raise ValueError(f"frame of shape {frame.shape} in a {width} x {height} video")
            even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
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


def _encode_command(path: Path, width: int, height: int, fps: float, crf: int) -> list[str]:
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:g}", "-i", "-"]
    colour = ["-vf", "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p"]
    for tag in ("-colorspace", "-color_primaries", "-color_trc"):
        colour += [tag, "bt709"]
    encoder = ["-c:v", "libx264", "-preset", "medium", "-crf", str(crf), "-movflags", "+faststart"]
    return [ffmpeg_executable(), "-loglevel", "error", "-y", *source, *colour, *encoder, str(path)]


def _ffmpeg_failure(path: Path, log: IO[bytes]) -> HeadsupError:
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return HeadsupError(f"{path}: ffmpeg failed ({lines[-1] if lines else 'no message'}).")
