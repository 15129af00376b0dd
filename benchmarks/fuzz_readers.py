"""Fuzz every text and binary reader of rig dumps with atheris: no crash but our own errors.

pip install atheris, then: python benchmarks/fuzz_readers.py DIALECT [-max_total_time=60] [-rss_limit_mb=4096]

DIALECT is a key of FILES in tests/capture/rigs/test_hostile.py, such as "colmap binary", or "pictures".
"""

import importlib.util
import logging
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import atheris
import numpy as np

with atheris.instrument_imports(include=["headsup_cli.capture", "headsup_cli.media"]):
    from headsup_cli.capture.rigs.detection import IMPORTERS
    from headsup_cli.errors import InputError
    from headsup_cli.media.opencv import cv2
    from headsup_cli.media.pictures import Picture, read_picture

_TESTS = Path(__file__).parents[1] / "tests" / "capture" / "rigs"


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, _TESTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Mutate the dialect's files, several at a time, for as long as libFuzzer is told to."""
    dialect, arguments = sys.argv[1], sys.argv[2:]
    logging.disable()
    folder = Path(tempfile.mkdtemp()) / "d"
    corpus = Path(tempfile.mkdtemp())
    if dialect == "pictures":
        folder.mkdir()
        for suffix in (".png", ".jpg", ".tif", ".webp", ".avif"):
            encoded = cv2.imencode(suffix, np.arange(192, dtype=np.uint8).reshape(8, 8, 3))[1].tobytes()
            (corpus / suffix[1:]).write_bytes(encoded)
            with zipfile.ZipFile(corpus / f"{suffix[1:]}.zip", "w") as archive:
                archive.writestr("a.png", encoded)

        def one(data: bytes) -> None:
            (folder / "a").write_bytes(data)
            _told(lambda: read_picture(Picture(folder / "a")))
            _told(lambda: read_picture(Picture(folder / "a", member="a.png")))

    else:
        name, write = _module("conftest").WRITERS[dialect]
        read = next(importer.read for importer in IMPORTERS if importer.name == name)
        folder.mkdir()
        write(folder)
        files = [folder / file for file in _module("test_hostile").FILES[dialect]]
        originals = [file.read_bytes() for file in files]
        for index, content in enumerate(originals):
            (corpus / str(index)).write_bytes(bytes([index]) + content)

        def one(data: bytes) -> None:
            index = data[0] % len(files) if data else 0
            files[index].write_bytes(data[1:])
            _told(lambda: read(folder))
            files[index].write_bytes(originals[index])

    atheris.Setup([sys.argv[0], *arguments, str(corpus)], one)
    atheris.Fuzz()


def _told(read: Callable[[], object]) -> None:
    with suppress(InputError):
        read()


if __name__ == "__main__":
    main()
