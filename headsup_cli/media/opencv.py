"""The one place that imports OpenCV, so that its commonest failure has one answer.

Everyone else writes `from headsup_cli.media.opencv import cv2`.
"""

import os

from headsup_cli.errors import MissingDependencyError

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what its calls return says what failed
try:
    import cv2
except ImportError as error:  # opencv-python links libGL and glib, which servers and containers often lack
    raise MissingDependencyError(
        f"OpenCV cannot be loaded ({error}); install its system libraries (apt install libgl1 libglib2.0-0) "
        "or the build without windows (pip uninstall opencv-python, then pip install opencv-python-headless)."
    ) from error

__all__ = ["cv2"]
