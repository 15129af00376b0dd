import numpy as np
import pytest

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.capture.capture import (
    Capture,
    CaptureCamera,
    CaptureFrame,
    CaptureView,
    OriginalCamera,
    write_capture,
)
from headsup_cli.capture.lens import Lens
from headsup_cli.capture.schemas import HeadFrameEntry, ProvenanceEntry


@pytest.fixture
def write_people(tmp_path):
    """Write captures of flat coloured ellipses: `write_people(count, views=6, frames=1)` gives their folder."""

    def write(count: int, *, views: int = 6, frames: int = 1, masked: bool = True):
        folder = tmp_path / "captures"
        for person in range(count):
            write_capture(_person(person, views, frames, masked), folder / f"person_{person:02d}")
        return folder

    return write


def _person(seed: int, views: int, frames: int, masked: bool) -> Capture:
    rng = np.random.default_rng(seed)
    cameras = orbit(views, 36, 48)
    y, x = np.mgrid[:48, :36]
    mask = (((x - 17.5) / 9) ** 2 + ((y - 23.5) / 14) ** 2 < 1).astype(np.uint8) * 255
    names = [f"cam{i}" for i in range(views)]

    def view() -> CaptureView:
        colours = rng.integers(0, 255, 3)
        picture = np.where(mask[..., None] > 0, colours, 90) + rng.integers(-20, 20, (48, 36, 3))
        return CaptureView(picture.clip(0, 255).astype(np.uint8), mask if masked else None)

    return Capture(
        subject=f"person_{seed:02d}",
        cameras={
            name: CaptureCamera(
                K=cameras.K[i].double().numpy(),
                cam_from_head=cameras.cam_from_world[i].double().numpy(),
                width=36,
                height=48,
                original=OriginalCamera(cameras.K[i].double().numpy(), Lens(), 36, 48),
            )
            for i, name in enumerate(names)
        },
        frames={f"{frame:03d}": CaptureFrame({name: view() for name in names}) for frame in range(frames)},
        rig_from_head=np.eye(4),
        head_frame=HeadFrameEntry(method="cameras", template_scale=[1.0, 1.0, 1.0], residual_mm=None),
        provenance=ProvenanceEntry(
            program="test", source="test", importer="test", inputs_sha256={}, options={}, left_out={}
        ),
    )
