import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# xdist's processes share the cores, and so do the programs that tests start. More threads than cores, each spinning
# while it waits for the others, take several times as long. OpenMP reads this when torch and numpy are imported.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    _CORES = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ["OMP_NUM_THREADS"] = str(max(1, _CORES))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

settings.register_profile("untimed", deadline=None)  # timings decide no test: machines are shared
settings.load_profile("untimed")

REPOSITORY = Path(__file__).parent.parent

# Begun in this order, so that no process works alone at the end and each compiles other kernels at first.
_BEGUN_FIRST = (
    "test_architecture.py",
    "rendering/test_render.py",
    "simulation/test_subject.py",
    "commands/test_reconstruct.py",
    "training/test_head_stage.py",
    "commands/test_evaluate.py",
    "commands/test_reconstruct_many.py",
    "commands/test_preprocess.py",
    "calibration/test_check.py",
    "commands/test_calibrate_check.py",
    "inference/test_refine.py",
    "rendering/test_gsplat_agreement.py",
    "training/test_training.py",
    "training/test_processes.py",
    "commands/test_simulate.py",
    "commands/test_train.py",
    "capture/rigs/test_hostile.py",
    "preprocessing/test_preprocess.py",
    "simulation/hair/test_hair.py",
    "simulation/dress/test_worn.py",
    "training/test_loop.py",
    "template/test_default.py",
    "animation/test_geometric_rig.py",
    "model/test_properties.py",
    "test_cli.py",
)


def pytest_collection_modifyitems(items):
    ranks = {REPOSITORY / "tests" / name: rank for rank, name in enumerate(_BEGUN_FIRST)}
    assert not [path for path in ranks if not path.exists()]
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Let no test's random numbers depend on what ran before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def _run(arguments, **environment):
    """Run Python in a process of its own, as a script would: no terminal, 100 columns."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "100", **environment},
    )


@pytest.fixture
def run_python():
    """Run a program text: `run_python(code, **environment)`."""
    return lambda code, **environment: _run(["-c", code], **environment)


@pytest.fixture
def headsup():
    """Run the program: `headsup("render", path, **environment)`."""
    return lambda *arguments, **environment: _run(["-m", "headsup_cli", *arguments], **environment)


@pytest.fixture
def repository():
    """The folder that holds pyproject.toml."""
    return REPOSITORY


@pytest.fixture(scope="session")
def template():
    """The default template."""
    from headsup_cli.template.default import load_template

    return load_template()


@pytest.fixture(scope="session")
def toy_template():
    """An egg of head size, cut open at the back, that fills the middle 94 % of the UV square."""
    import numpy as np

    from headsup_cli.template.template import Template

    side = 17
    v, u = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side), indexing="ij")
    azimuth, polar = (u - 0.5) * 2 * np.pi, np.pi * (0.08 + 0.84 * v)
    vertices = np.stack(
        [0.08 * np.sin(polar) * np.sin(azimuth), 0.12 * np.cos(polar), 0.1 * np.sin(polar) * np.cos(azimuth)], -1
    ).reshape(-1, 3)
    corner = np.arange(side * side).reshape(side, side)
    a, b, c, d = (corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:])
    faces = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, c, b), (b, c, d))]).astype(np.int32)
    uvs = 0.015 + 0.97 * np.stack([u, v], -1).reshape(-1, 2)
    return Template.with_hash(
        name="toy",
        vertices=vertices.astype(np.float32),
        faces=faces,
        uvs=uvs.astype(np.float32),
        uv_faces=faces.copy(),
        blendshapes=np.zeros((52, len(vertices), 3), np.float32),
        landmarks={},
        part_names=("skin",),
        face_parts=np.zeros(len(faces), np.uint8),
        regions={"face": np.ones(len(vertices), np.float32)},
    )


@pytest.fixture(scope="session")
def crowd():
    """Latents [4, 8, 8] of 60 invented people, neutral and smiling: women apart from men, the smile a pattern."""
    import torch

    from headsup_cli.model.latent_set import LatentSet
    from headsup_cli.template.arkit import ARKIT_NAMES

    people = 60
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(256, 10, generator=generator)).Q.T
    place = torch.randn(people, 8, generator=generator) * torch.tensor([3.0, 2.0, 2.0, 1.0, 1.0, 1.0, 0.5, 0.5])
    woman = torch.arange(people) % 2
    neutral = 4 * (2 * woman[:, None] - 1) * basis[8] + place @ basis[:8]
    both = torch.stack([neutral, neutral + 0.3 * basis[9]], 1).flatten(0, 1)
    coefficients = torch.zeros(2 * people, 52)
    coefficients[1::2, [ARKIT_NAMES.index("mouthSmileLeft"), ARKIT_NAMES.index("mouthSmileRight")]] = 0.8
    words = [
        {
            "sex": "female" if w else "male", "age_years": 30.0, "build": "average", "melanin": 0.2, "freckles": False,
            "eyes": "brown", "hair": "short", "hair_colour": "brown", "beard": "none", "lipstick": False,
            "clothes": "none", "clothes_colour": "none", "glasses": "none", "earrings": "none", "headwear": "none",
            "headwear_colour": "none",
        }
        for w in woman.tolist()
    ]  # fmt: skip
    return LatentSet(
        latents=both.unflatten(1, (4, 8, 8)),
        subject=torch.arange(people).repeat_interleave(2),
        coefficients=coefficients,
        attributes=tuple(entry for entry in words for _ in range(2)),
        model_hash="c" * 64,
    )
