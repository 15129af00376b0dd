import subprocess

import numpy as np
import pytest

from headsup_cli.errors import HeadsupError, InputError, MissingDependencyError
from headsup_cli.media import video
from headsup_cli.media.video import ffmpeg_executable, open_video_writer, read_video


def frames(width, height, count=5):
    """A smooth colour gradient that brightens, far from the ends of the range."""
    y, x = np.mgrid[:height, :width]
    ramp = np.stack([60 + 100 * x / width, 60 + 100 * y / height, np.full(x.shape, 90.0)], axis=-1)
    return [(ramp + 8 * i).astype(np.uint8) for i in range(count)]


def cut_out(width, height):
    """The same frames, half transparent on the left and whole on the right, with nothing at the top."""
    alpha = np.full((height, width), 255, np.uint8)
    alpha[:, : width // 2] = 128
    alpha[: height // 3] = 0
    return [np.dstack([frame, alpha]) for frame in frames(width, height)]


def decoded_rgba(path, width, height):
    """Frames with their alpha, which ffmpeg's own VP9 decoder leaves out."""
    decoder = ["-c:v", "libvpx-vp9"] if path.suffix == ".webm" else []
    command = [
        ffmpeg_executable(),
        "-loglevel",
        "error",
        *decoder,
        "-i",
        path,
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgba",
        "-",
    ]
    decoded = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(decoded, np.uint8).reshape(-1, height, width, 4)


def write(path, pictures, **options):
    height, width, _ = pictures[0].shape
    with open_video_writer(path, width=width, height=height, **options) as append:
        for picture in pictures:
            append(picture)


@pytest.mark.parametrize(("width", "height"), [(64, 48), (65, 47)])
def test_frames_come_back_in_order_and_colour(tmp_path, width, height):
    pictures = frames(width, height)
    write(tmp_path / "a.mp4", pictures, fps=29.97, crf=4)
    back = list(read_video(tmp_path / "a.mp4"))
    assert len(back) == len(pictures)
    assert back[0].shape == (height + height % 2, width + width % 2, 3)
    for picture, decoded in zip(pictures, back, strict=True):
        assert np.abs(decoded[:height, :width].astype(int) - picture).mean() < 3
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(("suffix", "worst"), [(".webm", 3), (".gif", 6)])
def test_other_formats_hold_the_same_pictures(tmp_path, suffix, worst):
    pictures = frames(65, 47)
    write(tmp_path / f"a{suffix}", pictures, fps=25.0, crf=4)
    back = list(read_video(tmp_path / f"a{suffix}"))
    assert len(back) == len(pictures)
    for picture, decoded in zip(pictures, back, strict=True):
        assert np.abs(decoded[:47, :65].astype(int) - picture).mean() < worst


@pytest.mark.parametrize("suffix", [".webm", ".gif"])
def test_alpha_is_kept_as_the_format_can(tmp_path, suffix):
    pictures = cut_out(64, 48)
    write(tmp_path / f"a{suffix}", pictures, crf=4, pixels="rgba")
    back = decoded_rgba(tmp_path / f"a{suffix}", 64, 48)
    assert len(back) == len(pictures)
    assert back[:, 2:13, 2:-2, 3].max() < 20
    assert back[:, 20:, 36:, 3].min() > 235
    if suffix == ".webm":
        np.testing.assert_allclose(back[:, 20:, 2:28, 3], 128, atol=12)
    whole = (slice(None), slice(20, None), slice(36, None), slice(3))
    assert np.abs(back[whole].astype(int) - np.stack(pictures)[whole]).mean() < 6


def test_stream_is_what_browsers_play(tmp_path):
    write(tmp_path / "a.mp4", frames(64, 48))
    data = (tmp_path / "a.mp4").read_bytes()
    assert b"avc1" in data
    assert data.index(b"moov") < data.index(b"mdat")


def test_an_exception_while_rendering_leaves_no_video(tmp_path):
    with pytest.raises(ZeroDivisionError), open_video_writer(tmp_path / "a.mp4", width=64, height=48) as append:  # noqa: PT012
        append(frames(64, 48)[0])
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_failure_of_ffmpeg_is_told_with_its_last_line(tmp_path):
    with pytest.raises(HeadsupError, match=r"a\.mp4: ffmpeg failed \(.+\)"):
        write(tmp_path / "a.mp4", frames(64, 48, count=200), crf=-1000)
    assert list(tmp_path.iterdir()) == []


def test_wrong_frame_size_and_name_are_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="64 x 48"),
        open_video_writer(tmp_path / "a.mp4", width=64, height=48) as append,
    ):
        append(frames(48, 64)[0])
    with pytest.raises(InputError, match=r"expected \.mp4 or \.webm or \.gif"):
        write(tmp_path / "a.avi", frames(64, 48))
    with pytest.raises(InputError, match=r"transparent \.mp4"):
        write(tmp_path / "a.mp4", cut_out(64, 48), pixels="rgba")


def test_missing_ffmpeg_and_unreadable_video(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match="not readable by ffmpeg"):
        next(read_video(tmp_path / "a.mp4"))
    monkeypatch.setattr(video.imageio_ffmpeg, "get_ffmpeg_exe", lambda: (_ for _ in ()).throw(RuntimeError))
    with pytest.raises(MissingDependencyError, match="IMAGEIO_FFMPEG_EXE"):
        write(tmp_path / "b.mp4", frames(64, 48))
