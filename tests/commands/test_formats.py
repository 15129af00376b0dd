from headsup_cli.capture.rigs.detection import IMPORTER_NAMES


def test_every_format_is_explained(program):
    code, out, _ = program("preprocess", "--list-formats")
    assert code == 0
    assert all(f"{name}: " in out for name in IMPORTER_NAMES)


def test_format_is_a_choice(program, repository, tmp_path):
    sample = repository / "sample_data" / "anna"
    code, _, err = program("preprocess", sample, "-o", tmp_path, "--format", "max")
    assert code == 2
    assert "max: no known format, expected one of native, colmap" in err
    code, _, err = program("preprocess", sample, "-o", tmp_path, "--format", "kalibr")
    assert code == 2
    assert "camchain.yaml: missing" in err
