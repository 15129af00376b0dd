import io
import struct
import zipfile

import cv2
import numpy as np
import pytest

from headsup_cli.errors import InputError, MissingDependencyError
from headsup_cli.media import images
from headsup_cli.media.colour_correction import CHEUNG_TERMS, ColourCorrection
from headsup_cli.media.images import has_alpha, read_image_size, write_image
from headsup_cli.media.pictures import Picture, archive_members, picture_size, read_mask_picture, read_picture
from headsup_cli.media.video import open_video_writer, read_video_frame, read_video_info

HEIGHT, WIDTH = 37, 53


@pytest.fixture
def pixels():
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x * 4, y * 6, (x + y) * 2], axis=-1).astype(np.uint8)


def avif(pixels):
    return cv2.imencode(".avif", pixels[..., ::-1], [cv2.IMWRITE_AVIF_QUALITY, 95])[1].tobytes()


def test_member_of_an_archive(tmp_path, pixels):
    path = tmp_path / "é a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cam 1/ü.png", cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())
        archive.writestr("cam 1/b.avif", avif(pixels))
    assert archive_members(path) == ["cam 1/ü.png", "cam 1/b.avif"]
    for member, tolerance in (("cam 1/ü.png", 0), ("cam 1/b.avif", 20)):
        picture = Picture(path, member=member)
        assert picture_size(picture) == (WIDTH, HEIGHT)
        assert np.abs(read_picture(picture).astype(int) - pixels).max() <= tolerance
        assert str(picture) == f"{path}/{member}"


def test_avif_by_pillow_where_opencv_cannot(tmp_path, pixels, monkeypatch):
    features = pytest.importorskip("PIL.features")
    (tmp_path / "a.avif").write_bytes(avif(pixels))
    by_opencv = read_picture(Picture(tmp_path / "a.avif"))
    monkeypatch.setattr(images.cv2, "imdecode", lambda *_: None)
    with pytest.raises(InputError, match="damaged"):  # OpenCV has AVIF, so the picture is at fault
        read_picture(Picture(tmp_path / "a.avif"))
    monkeypatch.setattr(images.cv2, "haveImageWriter", lambda _: False)
    if features.check("avif"):
        np.testing.assert_array_equal(read_picture(Picture(tmp_path / "a.avif")), by_opencv)
    monkeypatch.setattr(features, "check", lambda _: False)
    with pytest.raises(MissingDependencyError, match=r"pip install 'headsup-cli\[avif\]'"):
        read_picture(Picture(tmp_path / "a.avif"))


def test_avif_that_lies_or_ends_early_is_refused(tmp_path, pixels):
    whole = avif(pixels)
    at = whole.index(b"ispe") + 8
    (tmp_path / "a.avif").write_bytes(whole[:at] + struct.pack(">2I", 70_000, 70_000) + whole[at + 8 :])
    with pytest.raises(InputError, match="70000 x 70000 pixels"):
        read_picture(Picture(tmp_path / "a.avif"))
    for kept in (20, 100, len(whole) // 2, len(whole) - 3):
        (tmp_path / "a.avif").write_bytes(whole[:kept])
        with pytest.raises(InputError):
            read_picture(Picture(tmp_path / "a.avif"))


def test_frame_of_a_video(tmp_path):
    path = tmp_path / "clip é.mp4"
    with open_video_writer(path, width=64, height=48, fps=73.0, crf=10) as append:
        for value in range(40):
            append(np.full((48, 64, 3), value * 6, np.uint8))
    info = read_video_info(path)
    assert (info.width, info.height, info.frame_count) == (64, 48, 40)
    assert picture_size(Picture(path, video_frame=3)) == (64, 48)
    for index in (0, 1, 2, 17, 38, 39):  # between key frames, and past frames that are stored out of order
        assert abs(read_picture(Picture(path, video_frame=index)).mean() - index * 6) < 2
    with pytest.raises(InputError, match="without a readable frame 40"):
        read_video_frame(path, 40)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{path}\n#EXT-X-ENDLIST\n"
    for name, content in (("no.mp4", "no video"), ("playlist.mp4", playlist)):
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match="not readable by ffmpeg"):
            picture_size(Picture(tmp_path / name, video_frame=0))


def test_masks_from_alpha_and_labels(tmp_path, pixels):
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[5:20, 10:30] = 255
    write_image(tmp_path / "rgba.png", np.dstack([pixels, alpha]))
    write_image(tmp_path / "rgb.png", pixels)
    assert has_alpha(tmp_path / "rgba.png")
    assert not has_alpha(tmp_path / "rgb.png")
    np.testing.assert_array_equal(read_mask_picture(Picture(tmp_path / "rgba.png", coverage="alpha")), alpha / 255)
    with pytest.raises(InputError, match="without alpha channel"):
        read_mask_picture(Picture(tmp_path / "rgb.png", coverage="alpha"))
    labels = np.repeat(np.arange(6, dtype=np.uint8)[:, None], 4, axis=1)
    write_image(tmp_path / "labels.png", labels)
    mask = read_mask_picture(Picture(tmp_path / "labels.png", coverage=(1, 2, 4)))
    np.testing.assert_array_equal(mask[:, 0], [0, 1, 1, 0, 1, 0])


def test_pictures_are_scaled(tmp_path):
    image = np.kron(np.arange(12, dtype=np.uint8).reshape(3, 4) * 20, np.ones((2, 2), np.uint8))
    write_image(tmp_path / "a.png", image)
    picture = Picture(tmp_path / "a.png", size=(4, 3))
    assert picture_size(picture) == (4, 3)
    np.testing.assert_array_equal(read_picture(picture)[..., 0], np.arange(12).reshape(3, 4) * 20)
    assert read_mask_picture(picture).shape == (3, 4)


def test_affine_correction_acts_on_encoded_values(tmp_path, pixels):
    write_image(tmp_path / "a.png", pixels)
    rows = ((0.5, 0.0, 0.2, 0.1), (0.0, 0.9, 0.0, 0.0), (0.0, 0.0, 2.0, -0.1))
    corrected = read_picture(Picture(tmp_path / "a.png", colour=ColourCorrection("affine", rows)))
    matrix = np.array(rows)
    expected = np.clip(pixels / 255 @ matrix[:, :3].T + matrix[:, 3], 0, 1) * 255
    np.testing.assert_allclose(corrected, expected, atol=0.51)


def test_polynomial_correction_is_cheungs(pixels, tmp_path, run_python):
    """Against colour-science, in a process of its own: it puts stand-ins for matplotlib into `sys.modules`."""
    rng = np.random.default_rng(0)
    matrices = {f"{terms}": np.eye(3, terms) + rng.uniform(-0.1, 0.1, (3, terms)) for terms in CHEUNG_TERMS}
    np.savez(tmp_path / "matrices.npz", pixels=pixels, **matrices)
    code = f"""
import colour, numpy as np
given = dict(np.load({str(tmp_path / "matrices.npz")!r}))
linear = colour.models.eotf_sRGB(given.pop("pixels") / 255)
mixed = {{n: colour.characterisation.matrix_augmented_Cheung2004(linear, int(n)) @ m.T for n, m in given.items()}}
encoded = {{n: colour.models.eotf_inverse_sRGB(np.clip(x, 0, 1)) * 255 for n, x in mixed.items()}}
np.savez({str(tmp_path / "theirs.npz")!r}, **encoded)
"""
    result = run_python(code, PYTHONWARNINGS="ignore")
    assert result.returncode == 0, result.stderr
    theirs = np.load(tmp_path / "theirs.npz")
    assert set(theirs) == set(matrices)
    for terms, matrix in matrices.items():
        corrected = ColourCorrection("cheung", tuple(map(tuple, matrix.tolist()))).apply(pixels)
        np.testing.assert_allclose(corrected, np.clip(theirs[terms], 0, 255), atol=0.55)


def test_identity_correction_changes_nothing(pixels):
    linear = tuple(map(tuple, np.eye(3, 10).tolist()))
    np.testing.assert_array_equal(ColourCorrection("cheung", linear).apply(pixels), pixels)


def test_cmyk_jpeg_is_read_as_rgb(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    encoded = io.BytesIO()
    Image.fromarray(np.full((40, 60, 3), (200, 30, 90), np.uint8)).convert("CMYK").save(encoded, "JPEG", quality=95)
    (tmp_path / "a.jpg").write_bytes(encoded.getvalue())
    assert read_image_size(tmp_path / "a.jpg") == (60, 40)
    np.testing.assert_allclose(read_picture(Picture(tmp_path / "a.jpg")).mean((0, 1)), (200, 30, 90), atol=4)
