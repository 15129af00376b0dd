"""The same toy rig in every dialect is the same rig."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rigs.detection import IMPORTERS, list_importers, read_rig_dump
from headsup_cli.errors import InputError
from headsup_cli.media.images import write_image
from headsup_cli.media.pictures import picture_size, read_mask_picture, read_picture

POINTS = np.random.default_rng(0).uniform(-0.12, 0.12, (40, 3))  # metres, in front of all cameras


def projected(camera, points):
    seen = points @ camera.cam_from_rig[:3, :3].T + camera.cam_from_rig[:3, 3]
    return camera.project(seen[:, :2] / seen[:, 2:])


def similarity(truth, found):
    """What takes the truth's world to the found one's: from one camera's pose, and from how far two stand apart."""
    first, last = next(iter(truth)), list(truth)[-1]
    scale = np.linalg.norm(found[first].centre - found[last].centre)
    scale /= np.linalg.norm(truth[first].centre - truth[last].centre)
    in_camera = truth[first].cam_from_rig.copy()
    in_camera[:3] *= scale
    return np.linalg.inv(found[first].cam_from_rig) @ in_camera, scale


def test_projections_agree(dialect):
    importer, folder, written = dialect
    dump = read_rig_dump(folder)
    assert dump.importer == importer
    assert set(dump.cameras) == set(written.rig)
    world, scale = similarity(written.rig, dump.cameras)
    points = POINTS @ world[:3, :3].T + world[:3, 3]
    for name, truth in written.rig.items():
        camera = dump.cameras[name]
        assert (camera.width, camera.height) == (truth.width, truth.height)
        np.testing.assert_allclose(projected(camera, points), projected(truth, POINTS), atol=1e-4)
    if dump.scale == "metric":
        np.testing.assert_allclose(scale, 1.0, rtol=1e-6)
    else:
        assert 0.3 < np.median([np.linalg.norm(camera.centre - points.mean(0)) for camera in dump.cameras.values()]) < 3


def test_one_importer_recognises_each(dialect):
    importer, folder, _ = dialect
    assert [candidate.name for candidate in IMPORTERS if candidate.recognises(folder)] == [importer]


def test_every_picture_is_read(dialect):
    _, folder, written = dialect
    dump = read_rig_dump(folder)
    assert len(dump.frames) == written.frames
    assert not dump.left_out
    for frame in dump.frames.values():
        assert set(frame.images) == set(written.rig)
        assert set(frame.masks) == (set(written.rig) if written.masks else set())
        for name, picture in frame.images.items():
            camera = dump.cameras[name]
            assert picture_size(picture) == (camera.width, camera.height)
            assert read_picture(picture).shape == (camera.height, camera.width, 3)
        for picture in frame.masks.values():
            mask = read_mask_picture(picture)
            assert mask[20, 20] == 1.0
            assert mask[2, 2] == 0.0


def test_every_importer_is_listed_with_its_tree():
    listed = list_importers()
    for importer in IMPORTERS:
        assert f"{importer.name}: " in listed
        assert importer.tree.strip().splitlines()[0] in listed


@pytest.mark.parametrize("choice", ["apply", "ignore"])
def test_distortion_is_a_choice(write_dialect, tmp_path, choice):
    write_dialect("ava-256", tmp_path / "d")
    dump = read_rig_dump(tmp_path / "d", distortion=choice)
    assert all(camera.lens.is_ideal == (choice == "ignore") for camera in dump.cameras.values())


def test_nersemble_colours_are_corrected_on_reading(write_dialect, tmp_path):
    write_dialect("nersemble v1", tmp_path / "v1")
    dump = read_rig_dump(tmp_path / "v1")
    picture = dump.frames["EXP-1-head_00003"].images["222200036"]
    plain = read_picture(replace(picture, colour=None)).astype(float)
    np.testing.assert_allclose(read_picture(picture), plain * 0.5 + 255 * np.array([0.1, 0.2, 0.3]), atol=0.51)
    write_dialect("nersemble v2", tmp_path / "v2")
    dump = read_rig_dump(tmp_path / "v2")
    assert list(dump.frames) == [f"EXP-3-cheeks+nose_{index:05d}" for index in range(5)]
    for index, value in enumerate((0, 60, 120, 180, 240)):
        picture = dump.frames[f"EXP-3-cheeks+nose_{index:05d}"].images["222200037"]
        plain, corrected = read_picture(replace(picture, colour=None)), read_picture(picture)
        np.testing.assert_allclose(plain, value, atol=4)
        light = ((plain / 255 + 0.055) / 1.055) ** 2.4  # halved, away from black
        if value > 60:
            np.testing.assert_allclose(corrected, 255 * (1.055 * (light / 2) ** (1 / 2.4) - 0.055), atol=0.6)
    assert set(dump.backgrounds) == {"222200036", "222200037", "220700191"}
    assert list(read_rig_dump(tmp_path / "v2", every=2).frames) == [f"EXP-3-cheeks+nose_{i:05d}" for i in (0, 2, 4)]


def test_two_calibrations_in_one_folder_are_asked_about(write_dialect, tmp_path):
    write_dialect("stereo yml", tmp_path / "d")
    write_dialect("krt", tmp_path / "d")
    with pytest.raises(InputError, match=r"several calibrations \(krt and opencv\).*--format"):
        read_rig_dump(tmp_path / "d")
    assert read_rig_dump(tmp_path / "d", "krt").importer == "krt"
    with pytest.raises(InputError, match="no known format"):
        read_rig_dump(tmp_path / "d", "max")


def test_our_own_format_goes_before_what_lies_beside_it(write_dialect, tmp_path):
    write_dialect("stereo yml", tmp_path / "d")
    write_dialect("native", tmp_path / "d")
    assert read_rig_dump(tmp_path / "d").importer == "native"


def test_one_sparse_model_for_several_moments(write_dialect, tmp_path):
    write_dialect("colmap binary", tmp_path / "d")
    for kind in ("images", "masks"):
        pictures = sorted((tmp_path / "d" / kind).iterdir())
        for frame in ("smile", "neutral"):
            (tmp_path / "d" / kind / frame).mkdir()
            for path in pictures:
                shutil.copy(path, path.parent / frame)
        for path in pictures:
            path.unlink()
    dump = read_rig_dump(tmp_path / "d")
    assert list(dump.frames) == ["neutral", "smile"]
    assert all(len(frame.images) == len(frame.masks) == len(dump.cameras) == 5 for frame in dump.frames.values())


def test_folders_of_cameras_and_folders_of_moments_are_told_apart(write_dialect, tmp_path):
    folder = tmp_path / "d"
    write_dialect("colmap text", folder)
    text = (folder / "sparse/0/images.txt").read_text()
    for frame in ("smile", "neutral"):
        for path in sorted((folder / "images" / frame).iterdir()):
            turned = folder / "images" / path.stem / f"{frame}.png"
            turned.parent.mkdir(exist_ok=True)
            path.rename(turned)
            text = text.replace(f"{frame}/{path.name}", f"{path.stem}/{frame}.png")
    (folder / "sparse/0/images.txt").write_text(text)
    dump = read_rig_dump(folder)
    assert list(dump.frames) == ["neutral", "smile"]
    assert set(dump.cameras) == {"front cam", "sidé", "left", "top", "5"}


def test_images_txt_without_lines_of_points(write_dialect, tmp_path):
    write_dialect("colmap text", tmp_path / "d")
    path = tmp_path / "d" / "sparse/0/images.txt"
    path.write_text("\n".join(line for line in path.read_text().split("\n") if line))
    assert len(read_rig_dump(tmp_path / "d").cameras) == 5
    path.write_text(path.read_text().replace("\n", "\n10.5 20.5 -1 3 4 7 1 2 3 4 5 6\n"))
    assert len(read_rig_dump(tmp_path / "d").cameras) == 5


def test_camera_missing_from_a_moment_is_told_once(write_dialect, tmp_path, caplog):
    write_dialect("krt", tmp_path / "d")
    (tmp_path / "d/images/E001_Neutral/400004/000221.png").unlink()
    dump = read_rig_dump(tmp_path / "d")
    assert dump.left_out == {"E001_Neutral_000221/400004": "no picture"}
    assert "camera 400004 has no picture in 1 of 2 frames" in caplog.text


@pytest.mark.parametrize(
    ("factor", "unit", "scale"),
    [(1, 1.0, "metric"), (100, 0.01, "metric"), (1000, 0.001, "metric"), (10, None, "arbitrary")],
)
def test_units_are_guessed_from_the_working_distance(write_dialect, tmp_path, factor, unit, scale):
    write_dialect("krt", tmp_path / "d")
    path = tmp_path / "d" / "KRT"
    lines = path.read_text().split("\n")
    for i in range(0, len(lines) - 8, 9):
        for j in (5, 6, 7):
            *rotation, t = lines[i + j].split()
            lines[i + j] = " ".join([*rotation, str(float(t) / 1000 * factor)])
    path.write_text("\n".join(lines))
    dump = read_rig_dump(tmp_path / "d")
    assert dump.scale == scale
    assert unit is None or dump.metres_per_unit == unit
    assert 0.8 < np.linalg.norm(next(iter(dump.cameras.values())).centre) < 1.3


def test_sizes_that_differ_are_refused(write_dialect, tmp_path):
    write_dialect("kalibr", tmp_path / "d")
    write_image(tmp_path / "d/images/cam1.png", np.zeros((32, 24, 3), np.uint8))
    with pytest.raises(InputError, match="24 x 32 pixels, expected 48 x 64 as calibrated"):
        read_rig_dump(tmp_path / "d")


def test_masks_of_another_size_are_scaled(write_dialect, tmp_path):
    write_dialect("kalibr", tmp_path / "d")
    mask = np.zeros((128, 96), np.uint8)
    mask[20:80, 24:60] = 255
    write_image(tmp_path / "d/masks/cam1.png", mask)
    found = read_mask_picture(read_rig_dump(tmp_path / "d").frames["frame"].masks["cam1"])
    np.testing.assert_array_equal(found, mask[::2, ::2] / 255)
    write_image(tmp_path / "d/masks/cam1.png", mask[:96])
    with pytest.raises(InputError, match="96 x 96 pixels, expected 48 x 64"):
        read_rig_dump(tmp_path / "d")


def test_metashape_without_scale_is_arbitrary(write_dialect, tmp_path):
    write_dialect("metashape", tmp_path / "d")
    assert read_rig_dump(tmp_path / "d").scale == "metric"
    path = tmp_path / "d" / "cameras.xml"
    path.write_text(re.sub("<components>.*</components>", "", path.read_text(encoding="utf-8")), encoding="utf-8")
    dump = read_rig_dump(tmp_path / "d")
    assert dump.scale == "arbitrary"
    assert 0.5 < np.linalg.norm(dump.cameras["left"].centre - dump.cameras["5"].centre) < 2  # 5 times as many units


@pytest.mark.parametrize(
    ("kind", "coefficients"),
    [("fisheye", (0.1, 0.02, -0.003, 0.002, 0.01, 0.02, 0.0, 0.0)), ("spherical", None)],
)
def test_metashape_sensors(write_dialect, tmp_path, kind, coefficients):
    write_dialect("metashape", tmp_path / "d")
    path = tmp_path / "d" / "cameras.xml"
    text = path.read_text(encoding="utf-8").replace('type="frame"', f'type="{kind}"')
    for key, value in zip(("k1", "k2", "p2", "p1", "k3", "k4"), coefficients or (), strict=False):
        text = re.sub(f"<{key}>[^<]*<", f"<{key}>{value}<", text)
    path.write_text(text, encoding="utf-8")
    if coefficients is None:
        with pytest.raises(InputError, match="sensor 0 is of type spherical"):
            read_rig_dump(tmp_path / "d")
        return
    lens = read_rig_dump(tmp_path / "d").cameras["left"].lens
    assert (lens.model, lens.coefficients) == ("thin_prism_fisheye", coefficients)


@pytest.mark.parametrize(
    ("model", "lens"),
    [
        ("perspective", Lens()),
        ("brown3", Lens("opencv", (-0.2, 0.05, 0.0, 0.0, 0.01))),
        ("brown3t2", Lens("opencv", (-0.2, 0.05, 0.002, -0.003, 0.01))),
        ("brown4", Lens("brown", (-0.2, 0.05, 0.0, 0.0, 0.01, 0.02))),
        ("division", None),
        ("mystery", None),
    ],
)
def test_models_of_sidecars(write_dialect, tmp_path, model, lens):
    write_dialect("realityscan xmp", tmp_path / "d")
    for path in (tmp_path / "d").rglob("*.xmp"):
        path.write_text(path.read_text().replace("brown4t2", model))
    if lens is None:
        with pytest.raises(InputError, match="DistortionModel"):
            read_rig_dump(tmp_path / "d")
    else:
        assert read_rig_dump(tmp_path / "d").cameras["left"].lens == lens


def test_rows_and_pictures_without_each_other_are_told(write_dialect, tmp_path, caplog):
    write_dialect("realityscan csv", tmp_path / "d")
    images = tmp_path / "d" / "images"
    (images / "left.png").rename(images / "stranger.png")
    (images / "top.png").write_bytes(b"no picture")
    assert set(read_rig_dump(tmp_path / "d").cameras) == {"front cam", "sidé", "5"}
    assert "stranger.png: not in cameras.csv" in caplog.text
    assert "no pictures for 1 rows: left.png" in caplog.text
    assert "top.png" in caplog.text
