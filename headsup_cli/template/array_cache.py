"""Arrays kept in the user's cache folder under a name that tells whether they are whole."""

import hashlib
import logging
import time
import zipfile
from collections.abc import Callable

import numpy as np

from headsup_cli.runtime.atomic import atomic_path
from headsup_cli.runtime.cache_directory import cache_directory

logger = logging.getLogger(__name__)


def cached_arrays(name: str, what: str, build: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Reads arrays from the cache, or builds them and puts them there.

    The file is `<name>-<start of the content's SHA-256>.npz`; one that does not match its name is built anew. Several
    processes may build at once: each writes the whole file, under the same name.

    Args:
        name: File name without the hash; carries a version.
        what: What is built, for the log.
        build: Makes the arrays.
    """
    folder = cache_directory()
    for path in folder.glob(f"{name}-*.npz"):
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {key: file[key] for key in file.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            continue
        if path.stem == f"{name}-{_digest(arrays)}":
            return arrays
    logger.info("building %s, once", what)
    start = time.monotonic()
    arrays = build()
    path = folder / f"{name}-{_digest(arrays)}.npz"
    with atomic_path(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)
    logger.info("built %s in %.0f s; it is kept in %s", what, time.monotonic() - start, path)
    return arrays


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for key in sorted(arrays):
        digest.update(f"{key} {arrays[key].dtype.str} {arrays[key].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[key]).data)
    return digest.hexdigest()[:16]
