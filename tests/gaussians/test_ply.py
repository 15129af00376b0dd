from pathlib import Path

import gsply
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headsup_cli.errors import InputError
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.ply import read_ply, turn_over, write_ply
from headsup_cli.gaussians.transform import transform_gaussians


def scene(count: int = 50, degree: int = 1) -> Gaussians:
    generator = torch.Generator().manual_seed(1)
    return Gaussians(
        means=torch.randn(count, 3, generator=generator),
        quats=torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=-1),
        scales=torch.rand(count, 3, generator=generator) * 0.01 + 1e-4,
        opacities=torch.rand(count, generator=generator) * 0.98 + 0.01,
        sh=torch.randn(count, (degree + 1) ** 2, 3, generator=generator),
    )


def assert_same(actual: Gaussians, expected: Gaussians) -> None:
    for name in ("means", "scales", "opacities", "sh"):
        torch.testing.assert_close(getattr(actual, name), getattr(expected, name), atol=1e-5, rtol=1e-4)
    aligned = (actual.quats * expected.quats).sum(-1).abs()  # q and -q are the same rotation
    torch.testing.assert_close(aligned, torch.ones_like(aligned), atol=1e-5, rtol=0)


@pytest.mark.parametrize("degree", range(4))
@pytest.mark.parametrize("up", ["-y", "+y"])
def test_round_trip(tmp_path, degree, up):
    gaussians = scene(degree=degree)
    write_ply(tmp_path / "a.ply", gaussians, up=up)
    assert_same(read_ply(tmp_path / "a.ply"), gaussians)


def test_an_independent_reader_sees_the_same_gaussians(tmp_path):
    gaussians = scene()
    write_ply(tmp_path / "a.ply", gaussians)
    data = gsply.plyread(tmp_path / "a.ply")
    coefficients = np.concatenate([data.sh0[:, None], data.shN.reshape(len(gaussians), 3, 3)], 1)
    theirs = Gaussians(
        means=torch.from_numpy(data.means),
        quats=torch.from_numpy(data.quats),
        scales=torch.from_numpy(data.scales).exp(),
        opacities=torch.from_numpy(data.opacities.reshape(-1)).sigmoid(),
        sh=torch.from_numpy(coefficients),
    )
    assert_same(transform_gaussians(theirs, turn_over()), gaussians)


def test_up_points_down_the_y_axis_of_the_file(tmp_path):
    gaussians = scene()
    write_ply(tmp_path / "a.ply", gaussians)
    stored = gsply.plyread(tmp_path / "a.ply").means
    np.testing.assert_allclose(stored, gaussians.means.numpy() * [1, -1, -1], rtol=1e-6)


def test_properties_are_found_by_name_whatever_their_order_and_type(tmp_path):
    gaussians = scene(degree=0)
    write_ply(tmp_path / "a.ply", gaussians, up="+y")
    header, body = (tmp_path / "a.ply").read_bytes().split(b"end_header\n", 1)
    names = [line.split()[-1] for line in header.decode().splitlines() if line.startswith("property")]
    table = np.frombuffer(body, [(name, "<f4") for name in names])
    order = [*names[::-1], "label"]
    shuffled = np.zeros(len(table), [(name, "u1" if name == "label" else "<f8") for name in order])
    for name in names:
        shuffled[name] = table[name]
    lines = [f"property {'uchar' if name == 'label' else 'double'} {name}" for name in order]
    start = ["ply", "format binary_little_endian 1.0", "comment up +y", f"element vertex {len(table)}"]
    text = "\n".join([*start, *lines, "end_header", ""])
    (tmp_path / "b.ply").write_bytes(text.encode() + shuffled.tobytes())
    assert_same(read_ply(tmp_path / "b.ply"), gaussians)


def test_non_finite_attributes_are_not_written(tmp_path):
    gaussians = scene()
    gaussians.means[3, 1] = float("nan")
    with pytest.raises(InputError, match="not finite"):
        write_ply(tmp_path / "a.ply", gaussians)
    assert not list(tmp_path.iterdir())


def test_damaged_files_are_refused_in_a_sentence(tmp_path):
    path = tmp_path / "a.ply"
    write_ply(path, scene())
    whole = path.read_bytes()
    damaged = {
        "cut short": whole[:-10],
        "no header": b"hello",
        "ascii": whole.replace(b"binary_little_endian", b"ascii"),
        "no opacity": whole.replace(b"property float opacity", b"property float opaqueness"),
        "huge": whole.replace(b"element vertex 50", b"element vertex 5000000000"),
        "odd rest": whole.replace(b"f_rest_8", b"f_best_8"),
        "list": whole.replace(b"property float nx", b"property list uchar int nx"),
    }
    for content in damaged.values():
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.ply.*expected.*;"):
            read_ply(path)


@given(st.binary(max_size=300), st.sampled_from([b"", b"ply\n", b"ply\nformat binary_little_endian 1.0\n"]))
def test_any_bytes_are_read_or_refused(tmp_path_factory, body, start):
    path = Path(tmp_path_factory.mktemp("ply")) / "x.ply"
    path.write_bytes(start + body)
    with pytest.raises(InputError):
        read_ply(path)


def test_infinite_opacity_logits_are_opaque_or_clear(tmp_path):
    gaussians = scene(4)
    path = tmp_path / "a.ply"
    write_ply(path, gaussians)
    header, body = path.read_bytes().split(b"end_header\n", 1)
    names = [line.split()[2].decode() for line in header.splitlines() if line.startswith(b"property")]
    rows = np.frombuffer(body, "<f4").reshape(4, -1).copy()
    rows[:2, names.index("opacity")] = np.inf, -np.inf
    path.write_bytes(header + b"end_header\n" + rows.tobytes())
    assert read_ply(path).opacities[:2].tolist() == [1, 0]


def test_a_count_of_too_many_digits_is_told(tmp_path):
    header = "ply\nformat binary_little_endian 1.0\nelement vertex " + "9" * 5000 + "\nproperty float x\nend_header\n"
    (tmp_path / "a.ply").write_text(header)
    with pytest.raises(InputError, match="element vertex 999"):
        read_ply(tmp_path / "a.ply")


def test_a_scale_beyond_all_numbers_is_told(tmp_path):
    gaussians = scene()
    write_ply(tmp_path / "a.ply", gaussians)
    content = (tmp_path / "a.ply").read_bytes()
    stored = gaussians.scales[0, 0].log().numpy().astype("<f4").tobytes()
    assert stored in content
    (tmp_path / "a.ply").write_bytes(content.replace(stored, np.float32(1e4).astype("<f4").tobytes(), 1))
    with pytest.raises(InputError, match="scale"):
        read_ply(tmp_path / "a.ply")
