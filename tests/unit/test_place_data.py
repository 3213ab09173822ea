"""The action place_data: files of any size come to the host once, whole, and nothing of what is there is removed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.lab.plugins.action.place_data import batches, pack

from tests.unit.plays import Done, play


def place(folder: Path, *options: str, **arguments: Any) -> Done:
    """Place what is in ``folder/source``."""
    task = {"mlops.lab.place_data": {"src": str(folder / "source"), "dest": str(folder / "above" / "dest"), **arguments}, "register": "result"}
    return play(folder, [task], *options)


def test_data_come_once_and_again_only_when_they_change(tmp_path: Path) -> None:
    source, dest = tmp_path / "source", tmp_path / "above" / "dest"
    (source / "deep" / "er").mkdir(parents=True)
    names = ("a.csv", "deep/er/b $HOME `id` 'x'.bin", "deep/.hidden")
    for name in names:
        (source / name).write_bytes(name.encode())
    predicted = place(tmp_path, "--check", "--diff")
    assert predicted.result["placed"] == sorted(names[:2]) and not dest.exists(), predicted.output
    done = place(tmp_path, "--diff")
    assert done.returncode == 0 and done.result["placed"] == sorted(names[:2]), done.output
    assert {path.relative_to(dest).as_posix(): path.read_bytes() for path in dest.rglob("*") if path.is_file()} == {name: name.encode() for name in names[:2]}
    assert [f"{path.stat().st_mode & 0o777:o}" for path in (dest, dest / "deep" / "er", dest / "a.csv")] == ["750", "750", "640"]
    assert done.left() == [], "nothing lies in Ansible's own folder any more"
    assert place(tmp_path).result["changed"] is False
    reader = (dest / "a.csv").open("rb")
    (dest / "of somebody else").touch()
    (source / "a.csv").write_bytes(b"A.CSV")  # of the same size
    os.utime(source / "a.csv", (1, 1))
    assert place(tmp_path).result["placed"] == ["a.csv"]
    assert (dest / "a.csv").read_bytes() == b"A.CSV" and reader.read() == b"a.csv", "who reads the former file goes on reading that"
    assert (dest / "of somebody else").exists() and not (dest / ".incoming").exists()


def test_a_fresh_checkout_of_the_same_data_sends_nothing_and_is_read_once(tmp_path: Path) -> None:
    source, dest = tmp_path / "source", tmp_path / "above" / "dest"
    source.mkdir()
    (source / "a b.csv").write_text("1")
    place(tmp_path)
    inode = (dest / "a b.csv").stat().st_ino
    os.utime(source / "a b.csv", (86400, 86400))
    assert place(tmp_path).result["changed"] is False
    assert ((dest / "a b.csv").stat().st_mtime, (dest / "a b.csv").stat().st_ino) == (86400, inode), "the next time its time tells enough"


def test_what_cannot_be_placed_is_a_sentence(tmp_path: Path) -> None:
    assert f"{tmp_path}/source is not a directory on the control node." in place(tmp_path).output
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "two\nlines").touch()
    done = place(tmp_path)
    assert done.returncode and "has a name that no list can hold" in done.output
    (tmp_path / "source" / "two\nlines").rename(tmp_path / "source" / "one")
    (tmp_path / "above" / "dest" / "one").mkdir(parents=True)
    done = place(tmp_path)
    assert done.returncode and f"The data could not be placed in {tmp_path}/above/dest:" in done.output and done.left() == []


@pytest.mark.parametrize(("sizes", "groups"), [([], []), ([1, 2, 3], [2, 1]), ([9, 1], [1, 1]), ([1, 9, 1, 1], [1, 1, 2])])
def test_files_are_sent_in_groups_that_a_disk_has_room_for(tmp_path: Path, sizes: list[int], groups: list[int]) -> None:
    files = {str(number): tmp_path / str(number) for number in range(len(sizes))}
    for path, size in zip(files.values(), sizes, strict=True):
        path.write_bytes(b"x" * size)
    assert [len(batch) for batch in batches(files, 3)] == groups


def test_a_link_is_sent_as_what_it_leads_to(tmp_path: Path) -> None:
    import tarfile

    (tmp_path / "real").write_text("content")
    (tmp_path / "link").symlink_to("real")
    pack({"link": tmp_path / "link"}, 0o640, tmp_path / "out.tar")
    with tarfile.open(tmp_path / "out.tar") as archive:
        (member,) = archive.getmembers()
        assert (member.isfile(), member.mode, member.size) == (True, 0o640, 7)
