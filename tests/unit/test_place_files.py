"""The action place_files: a directory of the host holds exactly the given files, and their content is shown nowhere."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.lab.plugins.plugin_utils.placing import archive, parse_listing, tree_files

from tests.unit.plays import Done, play

CANARY = "canary-of-place-files"


def place(folder: Path, *options: str, **arguments: Any) -> Done:
    """Place files in ``folder/dest`` and return what the play did."""
    task = {"mlops.lab.place_files": {"dest": str(folder / "dest"), **arguments}, "register": "result"}
    return play(folder, [task], *options)


def content(folder: Path) -> dict[str, str]:
    """Return what lies in ``folder/dest``."""
    dest = folder / "dest"
    return {path.relative_to(dest).as_posix(): path.read_text(encoding="utf-8") for path in dest.rglob("*") if path.is_file()}


def mode(path: Path) -> str:
    return f"{path.stat().st_mode & 0o7777:o}"


def test_caches_and_hidden_files_of_a_tree_stay_behind(tmp_path: Path) -> None:
    for name in ("train.py", "lib/steps.py", "lib/__pycache__/steps.cpython-313.pyc", "old.pyc", ".git/config", ".env", "lib/.hidden", "with space.yml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    assert tree_files(tmp_path) == {name: name.encode() for name in ("lib/steps.py", "train.py", "with space.yml")}
    assert set(tree_files(tmp_path, [".env"])) == {"lib/steps.py", "train.py", "with space.yml", ".env"}


def test_a_checkout_below_a_hidden_directory_is_no_hidden_file(tmp_path: Path) -> None:
    root = tmp_path / ".cache" / "dags"
    root.mkdir(parents=True)
    (root / "train.py").touch()
    assert list(tree_files(root)) == ["train.py"]


def test_an_archive_holds_directories_and_files_as_root_with_their_modes() -> None:
    with tarfile.open(fileobj=io.BytesIO(archive([("b", None, 0o750), ("b/c.txt", b"two", 0o440)]))) as opened:
        members = opened.getmembers()
        assert [(member.name, member.isdir(), member.mode, member.uid, member.gid) for member in members] == [
            ("b", True, 0o750, 0, 0),
            ("b/c.txt", False, 0o440, 0, 0),
        ]
        read = opened.extractfile("b/c.txt")
        assert read and read.read() == b"two"


def test_a_listing_with_spaces_in_names_is_understood() -> None:
    hashed = "0123456789abcdef" * 4
    listing = f"644 ./plain\n600 ./with space ./and more\n{hashed}  ./plain\n{hashed}  ./with space ./and more\n"
    assert parse_listing(listing) == {"plain": ("644", hashed), "with space ./and more": ("600", hashed)}
    assert parse_listing("") == {}


def test_a_directory_becomes_what_the_control_node_has(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep/er").mkdir(parents=True)
    for name, text in {"one.yml": "1", "a name with spaces.yml": "2", "it's $HOME; `id`.yml": "3", "deep/er/four.yml": "4"}.items():
        (source / name).write_text(text, encoding="utf-8")
    dest = tmp_path / "dest"
    (dest / "gone/with").mkdir(parents=True)
    (dest / "gone/with/its folder.txt").touch()
    (dest / "one.yml").write_text("old", encoding="utf-8")
    inode = (dest / "one.yml").stat().st_ino

    predicted = place(tmp_path, "--check", src=str(source))
    assert predicted.returncode == 0 and predicted.result["changed"]
    assert sorted(content(tmp_path)) == ["gone/with/its folder.txt", "one.yml"], "check mode changed something"

    done = place(tmp_path, src=str(source))
    assert done.returncode == 0, done.output
    assert content(tmp_path) == {"one.yml": "1", "a name with spaces.yml": "2", "it's $HOME; `id`.yml": "3", "deep/er/four.yml": "4"}
    assert (done.result["placed"], done.result["removed"]) == (predicted.result["placed"], predicted.result["removed"])
    assert done.result["removed"] == ["gone/with/its folder.txt"] and not (dest / "gone").exists()
    assert (dest / "one.yml").stat().st_ino == inode, "a container that has this very file mounted would not see the change"

    again = place(tmp_path, src=str(source))
    assert again.result["changed"] is False and again.result["placed"] == again.result["removed"] == []
    # One file more costs one file.
    (source / "five.yml").write_text("5", encoding="utf-8")
    assert place(tmp_path, src=str(source)).result["placed"] == ["five.yml"]


def test_a_file_takes_the_place_of_a_directory_and_back(tmp_path: Path) -> None:
    for files in ({"a": "file"}, {"a/b": "in a directory"}, {"a": "file again"}):
        done = place(tmp_path, files=files)
        assert done.returncode == 0, done.output
        assert content(tmp_path) == files


def test_changed_modes_are_corrected(tmp_path: Path) -> None:
    files = {"secret": "x"}
    place(tmp_path, files=files, mode="0440", directory_mode="0700")
    dest, file = tmp_path / "dest", tmp_path / "dest" / "secret"
    assert (mode(dest), mode(file)) == ("700", "440")
    file.chmod(0o644)
    assert place(tmp_path, files=files, mode="0440", directory_mode="0700").result["placed"] == ["secret"]
    dest.chmod(0o755)
    assert place(tmp_path, files=files, mode="0440", directory_mode="0700").result["changed"]
    assert (mode(dest), mode(file)) == ("700", "440")
    assert not place(tmp_path, files=files, mode="0440", directory_mode="0700").result["changed"]


@pytest.mark.parametrize("old", [None, f"old-{CANARY}"])
def test_no_content_is_shown_however_loudly_ansible_speaks(tmp_path: Path, old: str | None) -> None:
    if old:
        (tmp_path / "dest").mkdir()
        (tmp_path / "dest" / "secret").write_text(old, encoding="utf-8")
    done = play(
        tmp_path,
        [
            {
                "mlops.lab.place_files": {"dest": str(tmp_path / "dest"), "files": {"secret": "{{ lookup('ansible.builtin.env', 'THE_SECRET') }}"}},
                "register": "result",
            }
        ],
        "-vvv",
        "--diff",
        THE_SECRET=CANARY,
    )
    assert content(tmp_path) == {"secret": CANARY}
    assert "secret (new content)" in done.output
    assert CANARY not in done.output
    assert done.left() == []


def test_directories_below_have_the_mode_of_the_directory(tmp_path: Path) -> None:
    assert place(tmp_path, files={"deep/er/file": "x"}, directory_mode="0750").returncode == 0
    assert {mode(path) for path in (tmp_path / "dest", tmp_path / "dest/deep", tmp_path / "dest/deep/er")} == {"750"}


def test_a_relative_path_of_the_host_is_refused(tmp_path: Path) -> None:
    done = place(tmp_path, files={"a": "x"}, dest="some/where")
    assert done.returncode != 0 and "some/where is not an absolute path of the host." in done.output


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = place(tmp_path, src=str(tmp_path / "nowhere"))
    assert done.returncode != 0
    assert f"{tmp_path}/nowhere is not a directory on the control node." in done.output
