"""Masks by a matting network that the user has installed."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from headsup_cli.errors import MissingDependencyError


@dataclass(frozen=True)
class MattingModel:
    """A session of rembg (github.com/danielgatis/rembg, MIT), whose default network is U2-Net."""

    remove: Any
    session: Any

    def mask(self, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
        """Coverage of the foreground, 255 = subject."""
        found = np.asarray(self.remove(image, session=self.session, only_mask=True))
        return found if found.ndim == 2 else found[..., 0]


def load_matting_model() -> MattingModel:
    """Start rembg with the model that it prefers; it fetches its weights on first use.

    Raises:
        MissingDependencyError: rembg or its runtime is not installed.
    """
    try:
        rembg = importlib.import_module("rembg")
    except (ImportError, SystemExit) as error:  # rembg exits where onnxruntime is missing
        raise MissingDependencyError(
            "--masks rembg needs rembg, which is not installed: pip install 'rembg[cpu]', or leave --masks out."
        ) from error
    return MattingModel(rembg.remove, rembg.new_session())
