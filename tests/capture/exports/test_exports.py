from pathlib import Path

import numpy as np
import pytest

from headsup_cli.capture.capture import (
    Capture,
    CaptureCamera,
    CaptureFrame,
    CaptureView,
    OriginalCamera,
    read_capture,
    write_capture,
)
from headsup_cli.capture.exports.colmap import write_colmap
from headsup_cli.capture.exports.nerfstudio import write_transforms_json
from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rigs.detection import read_rig_dump
from headsup_cli.capture.schemas import HeadFrameEntry, ProvenanceEntry
from headsup_cli.media.pictures import read_mask_picture, read_picture

POINTS = np.random.default_rng(0).uniform(-0.1, 0.1, (30, 3))
WIDTH, HEIGHT = 40, 48


def toy_capture():
    """Four cameras around a ball of 8 cm in the head frame."""
    cameras, views = {}, {}
    for i, name in enumerate(("a cam", "ŕight", "2", "top")):
        c, s = np.cos(0.6 * i - 0.8), np.sin(0.6 * i - 0.8)
        R = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]]) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = R, [0.01 * i, 0.02, 1.0]
        K = np.array([[95.0 + i, 0, 20.3], [0, 94.0, 23.1], [0, 0, 1]])
        original = OriginalCamera(K, Lens("brown", (-0.1, 0.0, 0.0, 0.0, 0.0, 0.1)), WIDTH, HEIGHT)
        cameras[name] = CaptureCamera(K, pose, WIDTH, HEIGHT, original)
        y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
        centre = K @ pose[:3, 3] / pose[2, 3]
        mask = np.where(np.hypot(x - centre[0], y - centre[1]) < 8, 255, 0).astype(np.uint8)
        image = np.random.default_rng(i).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        image[mask > 0] = (200, 100, 50)
        views[name] = CaptureView(image, mask)
    frames = {"neutral": CaptureFrame(views), "smile": CaptureFrame(dict(list(views.items())[:2]))}
    provenance = ProvenanceEntry(
        program="x", source="anna", importer="native", inputs_sha256={}, options={}, left_out={}
    )
    head_frame = HeadFrameEntry(method="cameras", template_scale=[1.0, 1.0, 1.0], residual_mm=None)
    return Capture("anna", cameras, frames, np.eye(4), head_frame, provenance)


WRITERS = {"colmap": write_colmap, "nerfstudio": write_transforms_json}


@pytest.fixture
def exported(tmp_path):
    """Export the toy capture, read from disk, and return the data set."""

    def run(to):
        write_capture(toy_capture(), tmp_path / "anna")
        folder = tmp_path / to
        WRITERS[to](read_capture(tmp_path / "anna"), "neutral", folder)
        return folder

    return run


@pytest.mark.parametrize("to", ["colmap", "nerfstudio"])
def test_what_is_exported_is_imported(exported, to):
    capture, dump = toy_capture(), read_rig_dump(exported(to))
    assert (dump.importer, dump.scale, dump.metres_per_unit) == (to, "arbitrary", 1.0)
    assert set(dump.cameras) == {"a_cam", "ŕight", "2", "top"}
    for name, camera in capture.cameras.items():
        exported_name = name.replace(" ", "_")
        found = dump.cameras[exported_name]
        seen = POINTS @ camera.cam_from_head[:3, :3].T + camera.cam_from_head[:3, 3]
        theirs = POINTS @ found.cam_from_rig[:3, :3].T + found.cam_from_rig[:3, 3]
        truth = seen[:, :2] / seen[:, 2:] @ camera.K[:2, :2].T + camera.K[:2, 2]
        np.testing.assert_allclose(found.project(theirs[:, :2] / theirs[:, 2:]), truth, atol=1e-4)
        view = capture.frames["neutral"].views[name]
        np.testing.assert_array_equal(read_picture(dump.frames["frame"].images[exported_name]), view.image)
        np.testing.assert_array_equal(read_mask_picture(dump.frames["frame"].masks[exported_name]) * 255, view.mask)


def test_colmap_reads_it(exported):
    pycolmap = pytest.importorskip("pycolmap")
    model = pycolmap.Reconstruction(str(exported("colmap") / "sparse" / "0"))
    capture = toy_capture()
    assert model.num_images() == 4
    for image in model.images.values():
        camera = capture.cameras[Path(image.name).stem.replace("_", " ")]
        np.testing.assert_allclose(image.cam_from_world().matrix(), camera.cam_from_head[:3], atol=1e-9)
        np.testing.assert_allclose(image.camera.calibration_matrix(), camera.K, atol=1e-9)
    points = np.array([point.xyz for point in model.points3D.values()])
    assert 1000 < len(points) <= 20_000
    assert np.linalg.norm(points - points.mean(0), axis=1).max() < 0.14  # of a ball of 8 cm, seen from one side
    assert all(tuple(point.color) == (200, 100, 50) for point in model.points3D.values())


def test_lens_of_any_model_survives_a_capture(tmp_path):
    write_capture(toy_capture(), tmp_path / "anna")
    assert read_capture(tmp_path / "anna").cameras["2"].original.lens == toy_capture().cameras["2"].original.lens
