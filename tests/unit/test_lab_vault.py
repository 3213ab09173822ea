"""The action lab_vault, for what test_vault.py does not show: check mode, diffs, links, odd forms of a vault, and a disk that is full."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.mlops.lab.plugins.action import lab_vault
from ansible_collections.mlops.lab.plugins.plugin_utils import writing

from tests.unit.plays import Done, play

CREDENTIALS = [
    {"name": "vault_index_user", "kind": "user", "first": "reader"},
    {"name": "vault_redis_password", "kind": "password"},
    {"name": "vault_fernet_key", "kind": "fernet"},
]


def provide(home: Path, *options: str, **arguments: Any) -> Done:
    """Run the action for the lab in a folder; returns what the play did."""
    places = {"home": str(home), "file": str(home / "lab/vault.yml"), "password_file": str(home / ".vault_password")}
    task = {"mlops.lab.lab_vault": {**places, "credentials": CREDENTIALS, "renewable": ["redis"], **arguments}, "register": "result"}
    (home.parent / "play").mkdir(exist_ok=True)
    return play(home.parent / "play", [task], *options)


def secret_of(home: Path) -> VaultSecret:
    """Return the password of a lab's vault."""
    return VaultSecret((home / ".vault_password").read_bytes().strip())


def opened(home: Path) -> str:
    """Return the text of a lab's vault."""
    return bytes(VaultLib([("default", secret_of(home))]).decrypt((home / "lab/vault.yml").read_bytes())).decode()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of a lab with a vault that has two of three values."""
    home = tmp_path / "churn"
    (home / "lab").mkdir(parents=True)
    (home / ".vault_password").write_text("of this lab\n", encoding="utf-8")
    text = "vault_redis_password: former-secret # the broker's\nvault_index_user: me\n"
    (home / "lab/vault.yml").write_bytes(VaultLib().encrypt(text, secret=secret_of(home)))
    return home


def test_check_mode_predicts_and_writes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "churn"
    home.mkdir()
    done = provide(home, "--check")
    assert done.returncode == 0 and done.result["changed"] and done.result["added"] == [entry["name"] for entry in CREDENTIALS], done.output
    assert not done.result["there"] and list(home.iterdir()) == []


def test_a_diff_has_names_alone_and_the_run_after_it_changes_nothing(home: Path) -> None:
    done = provide(home, "--diff", "-vvv", renew=["redis"])
    assert done.returncode == 0 and (done.result["added"], done.result["renewed"]) == (["vault_fernet_key"], ["vault_redis_password"]), done.output
    values = yaml.safe_load(opened(home))
    for line in ("-vault_redis_password: (hidden)", "+vault_redis_password: (hidden, another one)", "+vault_fernet_key: (hidden)"):
        assert line in done.output
    assert values["vault_redis_password"] != "former-secret" and values["vault_index_user"] == "me"
    assert not [value for value in ("former-secret", values["vault_redis_password"], values["vault_fernet_key"]) if value in done.output + str(done.result)]
    before = (home / "lab/vault.yml").stat()
    again = provide(home)
    assert not again.result["changed"] and (home / "lab/vault.yml").stat() == before


def test_a_link_to_the_vault_stays_one_and_the_file_keeps_its_rights(home: Path) -> None:
    kept = home.parent / "kept.yml"
    (home / "lab/vault.yml").rename(kept)
    kept.chmod(0o640)
    (home / "lab/vault.yml").symlink_to(kept)
    assert provide(home).result["changed"]
    assert (home / "lab/vault.yml").is_symlink() and kept.stat().st_mode & 0o7777 == 0o640 and "vault_fernet_key: " in opened(home)


def test_an_empty_password_encrypts_nothing(home: Path) -> None:
    (home / "lab/vault.yml").unlink()
    (home / ".vault_password").write_text("", encoding="utf-8")
    done = provide(home)
    assert f"The vault password is empty: write one into {home}/.vault_password, or remove that file to get a random one." in done.output
    assert not (home / "lab/vault.yml").exists()


@pytest.mark.parametrize("text", ["vault_redis_password : old\n", "{vault_redis_password: old}\n", "vault_redis_password: |\n  old\n"])
def test_a_value_that_is_not_on_one_line_of_its_own_is_not_replaced(text: str) -> None:
    with pytest.raises(ValueError, match="form"):
        lab_vault.written(text, {"vault_redis_password": "new"}, ["vault_redis_password"])


def test_lines_that_are_not_replaced_stay_to_the_letter() -> None:
    text = "a: x # not of a line's end\r\nb: old"
    assert lab_vault.written(text, {"b": "new"}, ["a", "b"]) == text.replace("old", '"new"') + "\n"


def test_a_write_that_fails_leaves_the_former_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "vault.yml"
    path.write_text("former", encoding="utf-8")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        writing.write(path, b"new")
    assert path.read_text(encoding="utf-8") == "former" and list(tmp_path.iterdir()) == [path]


def test_a_long_name_of_a_lab_fits_into_its_authority_s() -> None:
    key, certificate = lab_vault.authority("ü" * 60)
    assert "PRIVATE KEY" in key.splitlines()[0] and certificate.startswith("-----BEGIN CERTIFICATE-----")
