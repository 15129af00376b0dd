"""What a capture is made from, and when it counts as changed."""

import os
import zipfile

import pytest

from headsup_cli.capture.rig_dump import RigDump, RigFrame
from headsup_cli.media.pictures import Picture
from headsup_cli.preprocessing.inventory import digest, take_inventory
from headsup_cli.preprocessing.options import PreprocessOptions
from headsup_cli.runtime.hashing import sha256_of


@pytest.fixture
def dump(tmp_path):
    archive = tmp_path / "cam.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("0.png", b"never decoded")
    (tmp_path / "b.png").write_bytes(b"nor is this")
    frame = RigFrame(images={"a": Picture(archive, member="0.png"), "b": Picture(tmp_path / "b.png")})
    return RigDump(tmp_path, "test", metres_per_unit=1.0, cameras={}, frames={"only": frame})


def test_pictures_are_hashed_and_archives_looked_at(dump, toy_template):
    recorded = take_inventory(dump, PreprocessOptions(), toy_template).inputs_sha256
    assert recorded["b.png"] == sha256_of(dump.path / "b.png")
    assert recorded["cam.zip"].startswith(f"{(dump.path / 'cam.zip').stat().st_size} bytes")


def test_a_touched_archive_counts_as_changed(dump, toy_template):
    def taken():
        return digest(take_inventory(dump, PreprocessOptions(), toy_template))

    before = taken()
    assert taken() == before
    os.utime(dump.path / "cam.zip", ns=(0, 1))
    assert taken() != before
