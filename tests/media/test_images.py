import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headsup_cli.errors import InputError
from headsup_cli.media.images import IMAGE_SUFFIXES, read_image, read_image_size, read_mask, to_8bit, write_image
from headsup_cli.media.opencv import cv2

LOSSLESS = (".png", ".tif", ".tiff", ".webp")


@pytest.fixture
def picture():
    """RGB of an uneven size, different in every channel."""
    y, x = np.mgrid[:37, :53]
    return np.stack([x * 4, y * 6, (x + y) * 2], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_round_trip(tmp_path, picture, suffix):
    path = tmp_path / f"a{suffix}"
    write_image(path, picture)
    assert read_image_size(path) == (53, 37)
    difference = np.abs(read_image(path).astype(int) - picture)
    assert difference.max() <= (0 if suffix in LOSSLESS else 12)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_gray_alpha_and_16_bit_become_rgb8(tmp_path, picture, suffix):
    gray, rgba = picture[..., 0], np.dstack([picture, picture[..., :1]])
    write_image(tmp_path / f"gray{suffix}", gray)
    write_image(tmp_path / f"rgba{suffix}", rgba)
    cv2.imwrite(str(tmp_path / f"deep{suffix}"), picture[..., ::-1].astype(np.uint16) * 257 + 128)
    assert (read_image(tmp_path / f"gray{suffix}") == gray[..., None]).all()
    assert (read_image(tmp_path / f"rgba{suffix}") == picture).all()
    assert (read_image(tmp_path / f"deep{suffix}") == picture).all()


def test_exif_rotation_is_not_applied(tmp_path, picture):
    path = tmp_path / "a.jpg"
    write_image(path, picture)
    plain, tag = path.read_bytes(), struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + tag
    path.write_bytes(plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:])
    assert read_image(path).shape == (37, 53, 3)
    assert read_image_size(path) == (53, 37)
    assert cv2.imread(str(path)).shape == (53, 37, 3), "the tag is there and asks for a rotation"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.95])
def test_truncated_files_are_named(tmp_path, picture, suffix, kept):
    path = tmp_path / f"a{suffix}"
    write_image(path, np.tile(picture, (8, 8, 1)))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(InputError, match=rf"a{suffix}"):
        read_image(path)


@given(
    data=st.binary(max_size=200), magic=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"II*\0", b"MM\0+"])
)
def test_any_bytes_are_refused_in_one_sentence(tmp_path_factory, data, magic):
    path = tmp_path_factory.getbasetemp() / "fuzz.png"
    path.write_bytes(magic + data)
    with pytest.raises(InputError):
        read_image(path)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_image(tmp_path / "a.png")


def test_huge_pictures_are_refused_by_their_header(tmp_path, picture):
    path = tmp_path / "a.png"
    write_image(path, picture)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">2I", 100_000, 100_000)
    path.write_bytes(data)
    with pytest.raises(InputError, match="100000 x 100000 pixels"):
        read_image(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_size_of_big_tiff_and_both_byte_orders(tmp_path, order):
    mark = b"II" if order == "<" else b"MM"
    classic = mark + struct.pack(order + "HIH", 42, 8, 2)
    classic += struct.pack(order + "HHIHH", 256, 3, 1, 640, 0) + struct.pack(order + "HHII", 257, 4, 1, 480)
    big = mark + struct.pack(order + "HHHQQ", 43, 8, 0, 16, 2)
    big += struct.pack(order + "HHQHHI", 256, 3, 1, 640, 0, 0) + struct.pack(order + "HHQII", 257, 4, 1, 480, 0)[:20]
    for data in (classic, big):
        (tmp_path / "a.tif").write_bytes(data)
        assert read_image_size(tmp_path / "a.tif") == (640, 480)


@pytest.mark.parametrize("lossless", [True, False])
def test_size_of_both_webp_codecs(tmp_path, picture, lossless):
    cv2.imwrite(str(tmp_path / "a.webp"), picture, [cv2.IMWRITE_WEBP_QUALITY, 101 if lossless else 50])
    assert read_image_size(tmp_path / "a.webp") == (53, 37)


def test_masks_of_every_kind_are_coverage(tmp_path):
    subject = np.zeros((8, 6), np.uint8)
    subject[2:5, 1:4] = 1
    write_image(tmp_path / "labels.png", subject)
    write_image(tmp_path / "white.png", subject * 255)
    write_image(tmp_path / "rgb.png", np.repeat(subject[..., None] * 255, 3, axis=2))
    write_image(tmp_path / "soft.png", subject * 51)
    cv2.imwrite(str(tmp_path / "deep.png"), subject.astype(np.uint16) * 65535)
    write_image(tmp_path / "empty.png", subject * 0)
    for name in ("labels", "white", "rgb", "deep"):
        assert (read_mask(tmp_path / f"{name}.png") == subject).all()
    assert np.allclose(read_mask(tmp_path / "soft.png"), subject * 0.2)
    assert read_mask(tmp_path / "empty.png").max() == 0


def test_unknown_suffix_is_refused(tmp_path, picture):
    with pytest.raises(InputError, match=r"ending in '\.bmp'"):
        write_image(tmp_path / "a.bmp", picture)


def test_quantisation_rounds_and_clamps():
    values = np.array([[-1.0, 0.0, 0.5 / 255 + 1e-6, 1.0, 2.0]])
    assert to_8bit(values).tolist() == [[0, 0, 1, 255, 255]]


def test_opencv_without_its_libraries_names_both_ways_out(run_python):
    code = """
import sys
class NoLibGL:
    def find_spec(self, name, path=None, target=None):
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")
sys.meta_path.insert(0, NoLibGL())
from headsup_cli.app import run
import headsup_cli.app, headsup_cli.commands.doctor as doctor
doctor.doctor.__globals__["_CHECKS"] = {"OpenCV": doctor._opencv}
sys.exit(run(["doctor"]))
"""
    result = run_python(code)
    assert result.returncode == 1
    assert "apt install libgl1 libglib2.0-0" in result.stdout
    assert "pip install opencv-python-headless" in result.stdout
    assert "Traceback" not in result.stderr
