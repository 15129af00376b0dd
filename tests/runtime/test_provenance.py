import hashlib
import json
import sys
from datetime import datetime
from pathlib import Path

from headsup_cli import __version__
from headsup_cli.runtime.cache_directory import cache_directory
from headsup_cli.runtime.hashing import sha256_of
from headsup_cli.runtime.provenance import record_provenance


def test_record_names_program_seed_and_inputs(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    record = json.loads(json.dumps(record_provenance([tmp_path / "a"], seed=7).to_json()))
    assert record["program"] == f"headsup {__version__}"
    assert record["seed"] == 7
    assert record["inputs_sha256"] == {str(tmp_path / "a"): hashlib.sha256(b"abc").hexdigest()}
    assert record["command_line"] == sys.argv
    assert "torch" in record["packages"]
    assert datetime.fromisoformat(record["created_utc"]).utcoffset().total_seconds() == 0


def test_folder_hash_sees_names_and_contents_but_no_hidden_files(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_text("1")
    before = sha256_of(tmp_path)
    (tmp_path / ".DS_Store").touch()
    assert sha256_of(tmp_path) == before
    (tmp_path / "sub" / "a").rename(tmp_path / "sub" / "b")
    renamed = sha256_of(tmp_path)
    (tmp_path / "sub" / "b").write_text("2")
    assert len({before, renamed, sha256_of(tmp_path)}) == 3


def test_cache_directory_can_be_moved(monkeypatch):
    monkeypatch.setenv("HEADSUP_CACHE_DIR", "~/elsewhere")
    assert cache_directory() == Path.home() / "elsewhere"
    monkeypatch.delenv("HEADSUP_CACHE_DIR")
    assert cache_directory().name == "headsup"
