import numpy as np
import pytest
from simple_rigs import changed, named, ring, silhouette, turned

from headsup_cli.calibration.check import judge
from headsup_cli.calibration.outlines import outline_of
from headsup_cli.calibration.report_page import write_report
from headsup_cli.calibration.tracks import Tracks
from headsup_cli.capture.rigs import native
from headsup_cli.capture.rigs.detection import read_rig_dump

CAMERAS = ring(10, 150, 200, 480.0, 360.0)
NOTHING_SEEN = Tracks(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 2)))


@pytest.fixture(scope="module")
def dump(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ball")
    masks = {c.id: (silhouette(c) * 255).astype(np.uint8) for c in CAMERAS}
    images = {name: np.repeat(mask[..., None], 3, -1) for name, mask in masks.items()}
    native.write_rig_frame(folder, images, masks, frame="a")
    native.write_calibration(folder / "calibration.json", named(CAMERAS))
    return read_rig_dump(folder)


@pytest.mark.parametrize(
    ("degrees", "caption"), [(0.0, "red where it shows the subject"), (2.0, "from where the others put its outline")]
)
def test_draws_outlines_of_cameras_without_points(dump, tmp_path, degrees, caption):
    outlines = [outline_of(silhouette(camera), camera) for camera in CAMERAS]
    cameras = changed(CAMERAS, 3, turned(CAMERAS[3], degrees))
    result = judge(NOTHING_SEEN, named(cameras), outlines=outlines, frame="a")
    write_report(tmp_path / "check.html", dump, result, None)
    html = (tmp_path / "check.html").read_text()
    assert html.count("<figure>") == 8
    assert caption in html
    assert ("<path" in html) == bool(degrees)
    assert "NaN" not in html
