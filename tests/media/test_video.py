import numpy as np
import pytest

from headsup_cli.errors import HeadsupError, InputError, MissingDependencyError
from headsup_cli.media import video
from headsup_cli.media.video import open_video_writer, read_video


def frames(width, height, count=5):
    """A smooth colour gradient that brightens, far from the ends of the range."""
    y, x = np.mgrid[:height, :width]
    ramp = np.stack([60 + 100 * x / width, 60 + 100 * y / height, np.full(x.shape, 90.0)], axis=-1)
    return [(ramp + 8 * i).astype(np.uint8) for i in range(count)]


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
    with pytest.raises(InputError, match=r"expected \.mp4"):
        write(tmp_path / "a.gif", frames(64, 48))


def test_missing_ffmpeg_and_unreadable_video(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match="not readable by ffmpeg"):
        next(read_video(tmp_path / "a.mp4"))
    monkeypatch.setattr(video.imageio_ffmpeg, "get_ffmpeg_exe", lambda: (_ for _ in ()).throw(RuntimeError))
    with pytest.raises(MissingDependencyError, match="IMAGEIO_FFMPEG_EXE"):
        write(tmp_path / "b.mp4", frames(64, 48))
