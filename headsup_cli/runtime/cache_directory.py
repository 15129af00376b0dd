"""The folder for what is slow to make and safe to lose: the built template, compiled kernels."""

import os
from pathlib import Path

import platformdirs


def cache_directory() -> Path:
    """Return the cache folder, which need not exist yet: `$HEADSUP_CACHE_DIR`, or the user's cache folder."""
    override = os.environ.get("HEADSUP_CACHE_DIR")
    return Path(override).expanduser() if override else platformdirs.user_cache_path("headsup")
