"""Files that are written on the machine that runs Ansible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.plays import play


def writing(folder: Path) -> dict[str, Any]:
    """Return the task. Ansible templates values, and no keys."""
    files = {f"{folder}/new/one.json": "{}\n", f"{folder}/two.html": "<p>{{ 1 + 1 }} é</p>\n"}
    return {"mlops.lab.write_locally": {"files": files}, "register": "result"}


def test_files_are_written_once_and_directories_made(tmp_path: Path) -> None:
    old = tmp_path / "two.html"
    old.write_bytes(b"\xff")
    old.chmod(0o600)
    wanted = {tmp_path / "new/one.json": "{}\n", old: "<p>2 é</p>\n"}
    would = play(tmp_path, [writing(tmp_path)], "--check")
    assert would.result["written"] == list(map(str, wanted)) and old.read_bytes() == b"\xff" and not (tmp_path / "new").exists()
    first = play(tmp_path, [writing(tmp_path)])
    assert first.returncode == 0 and first.result["changed"], first.output
    assert first.result["written"] == list(map(str, wanted))
    assert {path: path.read_text(encoding="utf-8") for path in wanted} == wanted
    assert {oct(path.stat().st_mode & 0o777) for path in wanted} == {"0o644"}
    again = play(tmp_path, [writing(tmp_path)])
    assert not again.result["changed"] and again.result["written"] == []
    old.chmod(0o600)
    assert play(tmp_path, [writing(tmp_path)]).result["written"] == [str(old)]


def test_what_stands_in_the_way_is_named_and_nothing_half_written_stays(tmp_path: Path) -> None:
    (tmp_path / "two.html").mkdir()
    done = play(tmp_path, [writing(tmp_path)])
    assert done.returncode != 0
    assert f"{tmp_path}/two.html cannot be written on the machine that runs Ansible: Is a directory." in " ".join(done.output.split())
    assert not list(tmp_path.glob(".two*"))
