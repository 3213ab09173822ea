"""The preflight's rules: each problem is found, named with its value and its place, and answered with what to write."""

from __future__ import annotations

import base64
import datetime
import hashlib
import http.server
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from ansible_collections.mlops.lab.plugins.action import lab_preflight as judge
from ansible_collections.mlops.lab.plugins.module_utils import lab_machine
from ansible_collections.mlops.lab.plugins.modules import lab_host as measure
from ansible_collections.mlops.lab.plugins.plugin_utils.requirement_sources import Entry
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from packaging.requirements import Requirement

import role_docs
from tests.conftest import Run

FERNET = base64.urlsafe_b64encode(bytes(32)).decode()
SPECS = {
    "docker_engine": {
        "docker_engine_source": {"type": "str", "choices": ["auto", "distribution"]},
        "docker_engine_pool_size": {"type": "int"},
        "docker_engine_password_count": {"type": "int", "no_log": True},
    }
}


@pytest.fixture
def inventory(tmp_path: Path) -> judge.Inventory:
    """Return an inventory of a hosts file, two variable files and an encrypted one."""
    variables = tmp_path / "group_vars" / "all"
    variables.mkdir(parents=True)
    (tmp_path / "hosts.yml").write_text("lab_control:\n  hosts:\n    vm1:\n      lab_port: 1\n", encoding="utf-8")
    (variables / "a.yml").write_text('lab_port: 8080\ndocker_engine_sorce: auto\nuses: "{{ lab_name }}"\n', "utf-8")
    (variables / "shared.yml").write_text("# lab_port: 1\nlab_name: x\nlab_prot: 2\n", encoding="utf-8")
    (variables / "vault.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n3031\n", encoding="utf-8")
    return judge.Inventory([str(tmp_path)], command_line=["lab_forced"])


def sentence(problems: list[str], *words: str) -> str:
    """Return the one problem of the list, which has to contain the words."""
    assert len(problems) == 1, problems
    assert all(word in problems[0] for word in words), problems[0]
    return problems[0]


def test_the_place_is_the_one_that_wins(inventory: judge.Inventory) -> None:
    """A comment is no place, group_vars win over the hosts file, and -e over everything."""
    assert inventory.where("lab_port").endswith("group_vars/all/a.yml:1")
    assert inventory.where("lab_forced") == "with -e"
    assert inventory.where("nothing") == ""


def test_a_key_in_a_value_is_no_place(tmp_path: Path) -> None:
    """A mapping with the names of credentials says where none of them is set."""
    variables = tmp_path / "group_vars" / "all"
    variables.mkdir(parents=True)
    (variables / "a.yml").write_text('secrets:\n  vault_a: "{{ vault_a }}"\nlist:\n  - my-numpy\n  - numpy\n  - "pandas==2" # why\n', "utf-8")
    (tmp_path / "hosts.yml").write_text("all:\n  hosts:\n    vm1:\n      lab_port: 1\n", encoding="utf-8")
    inventory = judge.Inventory([str(tmp_path)], command_line=["survey_list"])
    assert inventory.where("vault_a") == ""
    assert inventory.where("lab_port").endswith("hosts.yml:4")
    assert inventory.where("list") == "in the survey"
    assert judge.Inventory([str(tmp_path)]).where("list", "pandas==2").endswith("a.yml:6")
    assert judge.Inventory([str(tmp_path)]).where("list", "numpy").endswith("a.yml:5")
    assert judge.Inventory([str(tmp_path)]).where("list", "polars").endswith("a.yml:3")


def test_a_job_of_awx_is_told_of_surveys_and_credentials(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("#! /usr/bin/env python3\nprint('{}')\n")
    given = {"awx_job_id": 1, "survey_lab_index_url": "https://u:p@nexus.example.com/simple/", "survey_lab_index_upload_url": "", "base_images_source": "auto"}
    job = judge.Inventory([str(tmp_path / "hosts")], command_line={**given, "nexus_credentials_file": "x", "encrypted_vault_file": "y"})
    assert job.where("lab_index_url") == job.where("base_images_source") == "in the survey"
    assert judge.set_at(job, "lab_index_upload_url") == "in the controller's inventory", "an empty answer counts as not given"
    (problem,) = judge.index_url_problems({"url": given["survey_lab_index_url"]}, job)
    assert problem == (
        "lab_index_url, set in the survey, holds a user or a password: write the URL without and put them in the controller's credential of type Nexus."
    )
    wanted = [{"name": "vault_nexus_pass"}, {"name": "vault_airflow_admin_password"}, {"name": "vault_other"}]
    missing, index, other = judge.credential_problems(wanted, ["vault_nexus_pass", "vault_airflow_admin_password"], lambda _name: "", [], {}, "HINT", job)
    assert index == "Credential vault_nexus_pass, set in the controller's credential of type Nexus, is empty: write 12 or more random characters there."
    assert "set in the controller's credential of type Encrypted vault, is empty" in other
    assert missing == "Credential vault_other is not defined in the controller's credentials: HINT"


def test_unknown_variables_get_a_guess(inventory: judge.Inventory) -> None:
    """A typing error is answered with the name that was meant."""
    problems = judge.unknown_names(["docker_engine_sorce", "docker_engine_source", "other_thing"], SPECS, inventory)
    sentence(problems, "docker_engine_sorce", "a.yml:2", "did you mean docker_engine_source?")


def test_lab_names_that_nobody_uses_are_reported(inventory: judge.Inventory) -> None:
    """lab_name is used by another line, lab_prot by none."""
    sentence(judge.unknown_names(["lab_name", "lab_prot"], SPECS, inventory), "lab_prot", "shared.yml:3")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("docker_engine_pool_size", "many", ["'many'", "a whole number"]),
        ("docker_engine_pool_size", True, ["'True'"]),
        ("docker_engine_source", "snap", ["'snap'", "auto, distribution"]),
    ],
)
def test_wrong_types_and_choices(inventory: judge.Inventory, name: str, value: Any, words: list[str]) -> None:
    """The found value is shown beside what may be written."""
    sentence(judge.wrong_values([name], SPECS, lambda _name: value, inventory), name, *words)


def test_a_secret_of_the_wrong_type_is_not_shown(inventory: judge.Inventory) -> None:
    """The sentence says that the value is wrong, not what it is."""
    found = judge.wrong_values(["docker_engine_password_count"], SPECS, lambda _name: "hunter2", inventory)
    assert "hunter2" not in sentence(found, "its value is not a whole number")


@pytest.mark.parametrize("value", ["12", 12, None])
def test_right_values_are_accepted(inventory: judge.Inventory, value: Any) -> None:
    """Numbers may be written as text, and null means the default."""
    assert judge.wrong_values(["docker_engine_pool_size"], SPECS, lambda _name: value, inventory) == []


def test_a_value_is_wrong_where_a_user_wrote_it(inventory: judge.Inventory) -> None:
    """A variable that hands on another one's value is nobody's mistake, and two of them are one sentence."""
    specs = {"docker_engine": {"docker_engine_pool_port": {"type": "int"}, "docker_engine_pool_size": {"type": "int"}}}
    raw = {"docker_engine_pool_port": "{{ lab_port }}", "docker_engine_pool_size": "{{lab_port}}", "lab_port": "many"}
    sentence(judge.wrong_values(specs["docker_engine"], specs, lambda _name: "many", inventory, raw.get), "lab_port, set", "a.yml:1", "'many'")


@pytest.mark.parametrize(
    "value",
    [80800, 65536, 0, -1, "eighty", "8080 ", " 8080", "8080\n", "0x50", "8_080", "\uff18\uff10\uff18\uff10", "08080", 8080.0, 80.5, True, None, "", [8080]],
)
def test_what_is_no_port(value: Any) -> None:
    assert not judge.is_port(value)


@pytest.mark.parametrize("value", [1, 8080, "8080", 65535])
def test_ports_are_numbers_and_numbers_as_text(value: Any) -> None:
    """With -e and in surveys all values are texts."""
    assert judge.is_port(value)


@pytest.mark.parametrize("address", ["::1", "[::1]", "localhost", "", "127.0.0.1 ", "256.0.0.1", "127.1", "10.0.0.0/8", "127.0.0.01"])
def test_addresses_that_nothing_can_be_published_at(inventory: judge.Inventory, address: str) -> None:
    found = judge.page_problems({"lab_port": address}, "", "lab_gateway", inventory)
    sentence(found, "lab_port, set", "a.yml:1", f"'{address}'", "write 127.0.0.1")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "127.0.1.1", "127.255.255.254"])
@pytest.mark.parametrize("front", ["", "with several hosts", "with lab_gateway"])
def test_pages_may_be_at_any_address_of_the_loopback(inventory: judge.Inventory, address: str, front: str) -> None:
    assert judge.page_problems({"lab_port": address}, front, "lab_gateway", inventory) == []


@pytest.mark.parametrize("address", ["0.0.0.0", "10.0.0.4", "192.168.127.1", "128.0.0.1", "126.255.255.255", "203.0.113.7"])
def test_pages_over_plain_http_stay_on_the_loopback(inventory: judge.Inventory, tmp_path: Path, address: str) -> None:
    (problem,) = judge.page_problems({"lab_port": address}, "", "lab_gateway", inventory)
    assert problem == (
        f"lab_port, set in {tmp_path}/group_vars/all/a.yml:1, is '{address}', where the pages would be plain HTTP and passwords would cross the network in the "
        f"clear: remove the value and write 'lab_gateway: true' into {tmp_path}/group_vars/lab/lab.yml, which publishes the pages at https://<lab_address> for "
        "lab_allowed_networks."
    )


@pytest.mark.parametrize("front", ["with several hosts", "with lab_gateway"])
@pytest.mark.parametrize("address", ["0.0.0.0", "10.0.0.4", "::1"])
def test_pages_behind_a_gateway_stay_on_the_loopback(inventory: judge.Inventory, address: str, front: str) -> None:
    found = judge.page_problems({"lab_port": address, "lab_name": "127.0.0.1"}, front, "lab_gateway", inventory)
    advice = "the gateway publishes the pages on lab_address of the control host over TLS: remove the value."
    sentence(found, "lab_port, set in ", f"a.yml:1, is {address}, but {front} {advice}")


def test_an_address_of_another_machine() -> None:
    assert measure.foreign_addresses(["127.0.0.1", "0.0.0.0", "203.0.113.9"]) == ["203.0.113.9"]


def test_the_address_from_which_a_host_reaches_another() -> None:
    assert measure.sources(["127.0.0.1", "127.0.0.9", "no address"]) == {"127.0.0.1": "127.0.0.1", "127.0.0.9": "127.0.0.1", "no address": ""}


def test_a_host_that_others_do_not_let_in_since_it_comes_from_another_address() -> None:
    peers = {"control": "10.0.0.4", "second": "10.0.0.5"}
    assert judge.source_problems("vm2", "10.0.0.6", peers, dict.fromkeys(peers.values(), "10.0.0.6"), "set in hosts.yml:9") == []
    found = judge.source_problems("vm2", "192.168.7.6", peers, dict.fromkeys(peers.values(), "10.0.0.6"), "set in hosts.yml:9")
    sentence(
        found,
        "lab_address of vm2, set in hosts.yml:9, is '192.168.7.6', but it reaches control (10.0.0.4) from '10.0.0.6', which is not let in there: "
        "write '10.0.0.6', or for control an address that is reached from '192.168.7.6'.",
    )
    found = judge.source_problems("vm2", "10.0.0.6", {"control": "10.0.0.4"}, {"10.0.0.4": ""}, "")
    sentence(found, "vm2 has no road to control, whose lab_address is '10.0.0.4': write the address of control by which others reach it.")


@pytest.mark.parametrize("registry", ["", "registry.example.org", "10.0.0.4:5001", "registry.example.org:5000/lab/of-churn", "localhost/lab"])
def test_a_registry_that_images_can_be_named_after(inventory: judge.Inventory, registry: str) -> None:
    assert judge.registry_problems(registry, inventory) == []


@pytest.mark.parametrize("registry", ["https://registry.example.org/lab", "registry.example.org/lab/", "registry.example.org/Lab", "registry .example.org"])
def test_a_registry_that_no_image_can_be_named_after(inventory: judge.Inventory, registry: str) -> None:
    sentence(judge.registry_problems(registry, inventory), "lab_image_registry, set ", f"is '{registry}', which no image's name can begin with: write it")


def test_a_value_of_the_lab_that_one_host_has_otherwise(several: judge.Inventory, tmp_path: Path) -> None:
    shared = {"lab_port": 80, "lab_address": "{{ ansible_host }}", "lab_of_nobody": 1}
    others = {"vm2": {"lab_address": "10.0.0.2"}, "vm5": {"lab_data_dir": "/srv"}}
    assert judge.different_values({host: {**shared, **others.get(host, {})} for host in ("vm1", "vm2", "vm5")}, several) == []
    (tmp_path / "host_vars/vm5.yml").write_text("lab_port: 81\n", encoding="utf-8")
    inventory = judge.Inventory([str(tmp_path / "hosts.yml")])
    found = judge.different_values({"vm1": shared, "vm2": shared, "vm5": {**shared, "lab_port": 81, "lab_of_nobody": 2}}, inventory)
    sentence(found, "lab_port, set in ", "host_vars/vm5.yml:1, is not the same for vm1 and vm5, and a lab has one: write it into ")


def test_an_experiment_that_does_not_exist(inventory: judge.Inventory, tmp_path: Path) -> None:
    folder = str(tmp_path / "experiments")
    (tmp_path / "experiments").mkdir()
    for name in ("diabetes", "wine", "wine_search"):
        (tmp_path / "experiments" / f"{name}.yml").touch()
    sentence(judge.experiment_problems("wine_serch", "lab_port", folder, inventory), "a.yml:1", "experiments/wine_serch.yml: did you mean wine_search?")
    sentence(judge.experiment_problems("wine.yml", "lab_port", folder, inventory), "did you mean wine?")
    sentence(judge.experiment_problems("x", "lab_port", folder, inventory), "write one of diabetes, wine")
    assert judge.experiment_problems("wine", "lab_port", folder, inventory) == judge.experiment_problems("x", "lab_port", "", inventory) == []


def test_packages_that_the_index_does_not_have(inventory: judge.Inventory, root: Path) -> None:
    """Each where it is asked for; what the lab uploads later is not looked for."""
    index_of_lab = {"url": "https://nexus.example.com/repository/pypi/simple/", "variable": "lab_index_url"}
    entries = [Entry(Requirement("My.Pkg==1"), "r.txt:2 (v)"), Entry(Requirement("my-pkg"), "r.txt:3 (v)"), Entry(Requirement("optuna"), "")]
    mine, own = judge.missing_packages(["my-pkg", "optuna"], entries, index_of_lab, inventory)
    assert "no package My.Pkg, which r.txt:2 (v) asks for: correct the name, or publish it there." in mine
    assert "no package optuna, which the lab itself needs" in own
    assert judge.published_names([root / "examples/wine_cultivars", "/nonexistent", "dist/My.Pkg-1.0-py3-none-any.whl", "no.whl"]) == {
        "wine-cultivars",
        "my-pkg",
    }


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"lab_controll": ["a"]}, ["is missing", "did you mean it by lab_controll?"]),
        ({"lab_control": []}, ["has no host", "exactly 1"]),
        ({"lab_control": ["a", "b"]}, ["has 2 hosts (a, b)", "exactly 1"]),
    ],
)
def test_groups(groups: dict[str, list[str]], words: list[str]) -> None:
    """A group that is missing, empty or too large."""
    sentence(judge.group_problems([{"name": "lab_control", "min": 1, "max": 1}], groups, "hosts.yml"), *words)


def test_groups_that_fit() -> None:
    """Without an upper limit any number will do."""
    assert judge.group_problems([{"name": "lab_workers", "min": 1}], {"lab_workers": ["a", "b"]}, "hosts.yml") == []


@pytest.mark.parametrize(
    ("value", "kind", "fault"),
    [
        ("", "password", "is empty"),
        ("  ", "user", "is empty"),
        ("Change-Me", "password", "placeholder"),
        ("<your password>", "password", "placeholder"),
        ("the example's own", "password", "placeholder"),
        ("short", "password", "has 5 characters, it needs at least 12"),
        ("long enough it is\n", "password", "white space"),
        ("no key at all", "fernet", "is not a Fernet key"),
        (f"{FERNET},{FERNET[:-4]}", "fernet", "is not a Fernet key"),
    ],
)
def test_credentials_that_do_not_fit(value: str, kind: str, fault: str) -> None:
    """Each is refused, and the words never contain the value."""
    words = judge.credential_fault(value, kind, 12, ["change-me"], "the example's own")
    assert fault in words
    assert len(value) < 6 or value not in words


@pytest.mark.parametrize(
    ("value", "kind"),
    [("reader", "user"), ("correct horse battery", "password"), (FERNET, "fernet"), (f"{FERNET}, {FERNET}", "fernet")],
)
def test_credentials_that_fit(value: str, kind: str) -> None:
    """A user may keep the example's name; two Fernet keys are a rotation."""
    assert judge.credential_fault(value, kind, 12, ["change-me"], "reader") == ""


def pem(*, passphrase: bytes = b"", ca: bool | None = True, days: int = 9, name: str = "lab CA", issuer: str = "") -> dict[str, str]:
    """Return a key and the certificate of an authority that signed itself, in PEM; of another issuer, it says that one signed it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    own, signer = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, one)]) for one in (name, issuer or name))
    builder = x509.CertificateBuilder(signer, own, key.public_key(), 1, now + datetime.timedelta(days=days - 10), now + datetime.timedelta(days=days))
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return {
        "private_key": key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock).decode(),
        "certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(),
    }


@pytest.mark.parametrize("kind", ["private_key", "certificate"])
def test_keys_and_certificates_that_fit(kind: str) -> None:
    """They have several lines, and one more at the end or none; a certificate may be a chain."""
    text = pem()[kind]
    chain = pem(issuer="root")["certificate"] + pem(name="root")["certificate"]
    for value in (text, text.strip(), f"{text}\n", chain if kind == "certificate" else text, text + pem(name="another root")["certificate"]):
        assert judge.credential_fault(value, kind, 12, ["change-me"], "change-me") == ""


@pytest.mark.parametrize(
    ("kind", "value", "fault"),
    [
        ("private_key", "change-me", "still has the example's placeholder"),
        ("private_key", "no key at all", "is no private key in PEM"),
        ("private_key", pem()["certificate"], "is no private key in PEM"),
        ("private_key", pem()["private_key"].replace("\n", " "), "is no private key in PEM"),
        ("private_key", pem(passphrase=b"secret")["private_key"], "has a passphrase"),
        ("certificate", "", "is empty"),
        ("certificate", pem()["private_key"], "is no certificate in PEM"),
        ("certificate", pem()["certificate"][:90], "is no certificate in PEM"),
        ("certificate", pem(ca=False)["certificate"], "is not the certificate of an authority (CA:TRUE)"),
        ("certificate", pem(ca=None)["certificate"], "is not the certificate of an authority (CA:TRUE)"),
        ("certificate", pem(days=-1)["certificate"], "expired on 20"),
        ("certificate", pem()["certificate"] + pem(days=-1)["certificate"], "expired on 20"),
        ("certificate", pem(issuer="our root")["certificate"], "lacks the certificate of CN=our root, which signed it"),
        ("certificate", pem(name="our root")["certificate"] + pem(issuer="our root")["certificate"], "has its certificates in another order"),
    ],
    ids=[
        *("key: example", "key: words", "key: certificate", "key: one line", "key: locked"),
        *("empty", "key", "cut", "no CA", "says nothing", "expired", "root expired", "no root", "root first"),
    ],
)
def test_keys_and_certificates_that_do_not_fit(kind: str, value: str, fault: str) -> None:
    """Each is refused, and the words contain no line of it."""
    words = judge.credential_fault(value, kind, 12, ["change-me"], "change-me")
    assert fault in words
    assert not [line for line in value.splitlines() if line in words]


def test_a_certificate_of_another_key_is_named(inventory: judge.Inventory) -> None:
    """The two are in the vault one below the other, and a wrong pair would be found by OpenSSL on a host."""
    wanted = [{"name": "vault_ca_key", "kind": "private_key"}, {"name": "vault_ca_certificate", "kind": "certificate", "key": "vault_ca_key"}]
    pair = pem()

    def found(certificate: str) -> list[str]:
        values = {"vault_ca_key": pair["private_key"], "vault_ca_certificate": certificate}
        return judge.credential_problems(wanted, values, values.__getitem__, [], {}, "", inventory, lambda _name: "")

    assert found(pair["certificate"]) == []
    [problem] = found(pem()["certificate"])
    assert problem.endswith("is not the certificate of the key in vault_ca_key: write the two that belong together.")


def test_missing_credentials_are_one_sentence(inventory: judge.Inventory) -> None:
    """All that are missing together, with the encrypted file and what to type; a near name gets a guess."""
    wanted = [{"name": "vault_one"}, {"name": "vault_two"}, {"name": "vault_redis_password"}]

    def value(_name: str) -> str:
        raise AssertionError("must not be asked for")

    found = judge.credential_problems(wanted, ["vault_redis_pasword"], value, [], {}, "run `make vault`.", inventory)
    assert len(found) == 2
    assert "2 credentials are not defined" in found[0]
    assert "vault.yml" in found[0]
    assert "(vault_one, vault_two): run `make vault`." in found[0]
    assert "did you mean it by vault_redis_pasword" in found[1]


@pytest.mark.parametrize(
    ("made_with", "volume_there", "refused"), [("the former password", True, True), ("the former password", False, False), ("the present one", True, False)]
)
def test_a_password_that_data_was_made_with_stays(
    made_with: str, volume_there: bool, refused: bool, inventory: judge.Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new vault beside the volumes of the former one fails at the database, after minutes."""
    file = tmp_path / "postgres_password"
    file.write_text(made_with + "\n", encoding="utf-8")
    asked = []

    def docker(*arguments: str, **_: Any) -> Any:
        asked.append(arguments)
        return subprocess.CompletedProcess(arguments, 0 if volume_there else 1)

    monkeypatch.setattr(measure, "docker", docker)
    wanted = hashlib.sha256(b"salt" + b"the present one").hexdigest()
    kept = [{"name": "vault_mlflow_db_password", "file": str(file), "volume": "lab-mlflow_postgres", "digest": wanted}]
    names = measure.kept_otherwise(kept, "salt")
    assert names == (["vault_mlflow_db_password"] if refused else [])
    assert set(asked) == {("volume", "inspect", "lab-mlflow_postgres")}
    assert measure.kept_otherwise([{**kept[0], "file": str(tmp_path / "none")}], "salt") == []
    found = judge.kept_problems(names, kept, inventory)
    if refused:
        sentence(
            found, "vault_mlflow_db_password, set", "volume lab-mlflow_postgres was made with", "write the former one there, or remove the lab with its data"
        )
        assert made_with not in found[0]


def test_a_credential_that_the_lab_does_not_need_may_be_missing(inventory: judge.Inventory) -> None:
    wanted = [{"name": "vault_one", "needed": False}, {"name": "vault_two", "needed": True}]
    found = judge.credential_problems(wanted, [], str, [], {}, "run `make vault`.", inventory)
    assert len(found) == 1 and found[0].startswith("Credential vault_two is not defined")


def test_nobody_keeps_a_secret_of_the_example(root: Path) -> None:
    example = judge.read_example(str(root / "playbooks/files/credentials_example.yml"))
    for credential in role_docs.credentials():
        value = example[credential["name"]]
        assert bool(judge.credential_fault(value, credential["kind"], 1, [], value)) == (credential["kind"] != "user"), credential


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"url": "nexus.example.com/simple/"}, ["is no URL"]),
        ({"url": "https://me:pw@nexus.example.com/repository/pypi/simple/"}, ["holds a user or a password"]),
        ({"url": "https://nexus.example.com/repository/pypi/"}, ["ends with /simple/"]),
        ({"ca_file": "/nonexistent"}, ["lab_ca_bundle", "cannot be read"]),
        ({"ca_file": __file__}, ["lab_ca_bundle", "no PEM certificate"]),
    ],
)
def test_index_urls(inventory: judge.Inventory, index: dict[str, str], words: list[str]) -> None:
    """What cannot work is found without asking the index."""
    assert "pw@" not in sentence(judge.index_url_problems(index, inventory), *words)


STORE = {"variable": "lab_port", "endpoint_variable": "lab_port", "mlflow_variable": "lab_name"}


@pytest.mark.parametrize("url", ["s3://lab", "s3://lab/", "s3://my.lab-1/churn/2026_a=b", "s3://lab/a/b"])
@pytest.mark.parametrize("endpoint", ["", "https://s3.example.com", "http://10.0.0.9:9000/", "https://store.example.com/s3"])
def test_object_stores_that_can_be_used(inventory: judge.Inventory, url: str, endpoint: str) -> None:
    assert judge.object_store_problems({**STORE, "url": url, "endpoint": endpoint, "mlflow_url": ""}, inventory) == []


@pytest.mark.parametrize(
    ("store", "words"),
    [
        ({"url": "lab-artifacts"}, ["lab_port, set in ", "is 'lab-artifacts', which is no place in a store", "write s3://bucket or s3://bucket/prefix"]),
        ({"url": "https://s3.example.com/lab"}, ["no place in a store"]),
        ({"url": "s3://Lab"}, ["those of the bucket small"]),
        ({"url": "s3://lab/../other"}, ["no place in a store"]),
        ({"url": "s3://lab/a b"}, ["no place in a store"]),
        ({"url": "s3://lab//a"}, ["no place in a store"]),
        ({"url": "s3://key:hunter2@lab"}, ["holds a user or a password", "put the keys in the vault"]),
        ({"url": "s3://lab", "endpoint": "s3.example.com"}, ["is 's3.example.com', which is no address of a store: write one like https://s3.example.com"]),
        ({"url": "s3://lab", "endpoint": "https://key:hunter2@s3.example.com"}, ["holds a user or a password"]),
        ({"url": "", "endpoint": "https://s3.example.com"}, ["lab_port is empty, so that nobody uses it", "or remove the address"]),
        ({"url": "s3://lab", "mlflow_url": "https://mlflow.example.com"}, ["lab_name, set in ", "which has a store of its own: remove one of them"]),
    ],
)
def test_object_stores_that_cannot_be_used(inventory: judge.Inventory, store: dict[str, str], words: list[str]) -> None:
    assert "hunter2" not in sentence(judge.object_store_problems({**STORE, **store}, inventory), *words)


def test_clock() -> None:
    """Only what exceeds the time the measurement took counts as an offset."""
    assert lab_machine.clock_offset(105.0, 100.0, 110.0) == 0.0
    assert lab_machine.clock_offset(140.0, 100.0, 110.0) == 30.0
    assert lab_machine.clock_offset(70.0, 100.0, 110.0) == -30.0
    assert judge.clock_problems(19.0, 20) == []
    assert judge.clock_problems(-30.0, 0) == []
    sentence(judge.clock_problems(-30.0, 20), "30 s behind", "NTP")


PORT = {"port": 8080, "what": "Airflow", "variable": "lab_port", "address": "127.0.0.1"}


@pytest.mark.parametrize(
    ("address", "project", "count"),
    [("0.0.0.0", "", 1), ("127.0.0.1", "other", 1), ("127.0.0.1", "ours", 0), ("192.0.2.7", "", 0), ("::", "", 1)],
)
def test_ports(inventory: judge.Inventory, address: str, project: str, count: int) -> None:
    """A port is taken by whoever is in the way; our own containers and other addresses are not."""
    taken = [{"port": 8080, "address": address, "owner": "nginx, pid 7", "project": project}]
    found = judge.port_problems([PORT], taken, ["ours"], inventory)
    assert len(found) == count
    assert all("nginx, pid 7" in text and "a.yml:1" in text and "8081" in text for text in found)


def test_a_port_wanted_twice(inventory: judge.Inventory) -> None:
    """Two services of the lab cannot have one port."""
    twice = [PORT, {"port": 8080, "what": "Flower", "variable": "lab_flower_port"}]
    sentence(judge.port_problems(twice, [], [], inventory), "Airflow", "Flower", "write different ports")


def test_a_port_is_published_for_the_host_itself_and_by_a_gateway_for_the_others(inventory: judge.Inventory) -> None:
    """Two services may have one port at two addresses of a host, and nobody else in the way of either."""
    gateway = {"port": 8080, "what": "the gateway", "variable": "lab_gateway_port", "address": "10.0.0.5"}
    assert judge.port_problems([PORT, gateway], [], [], inventory) == []
    taken = [{"port": 8080, "address": "10.0.0.5", "owner": "nginx, pid 7", "project": ""}]
    sentence(judge.port_problems([PORT, gateway], taken, [], inventory), "Port 8080 for the gateway", "nginx, pid 7")
    sentence(judge.port_problems([{**PORT, "address": "0.0.0.0"}, gateway], [], [], inventory), "wanted by Airflow", "by the gateway")
    page = {**PORT, "address": "10.0.0.5"}
    sentence(judge.port_problems([PORT, gateway, page], [], [], inventory), "wanted by the gateway", "by Airflow")
    assert judge.port_problems([{**PORT, "address": "0.0.0.0"}, page], [], [], inventory) == [], "the address is another sentence"
    sentence(judge.port_problems([PORT, page], [{**taken[0], "address": "0.0.0.0"}], [], inventory), "Port 8080 for Airflow", "nginx, pid 7")


HOSTS = """lab:
  children:
    lab_control:
      hosts:
        vm1:
          ansible_host: 10.0.0.1 # lab_address: 10.9.9.9
    lab_workers:
      hosts:
        vm2: {ansible_host: vm2.example.org, lab_address: 10.0.0.2}
        # vm3: as vm2
        vm3:
          lab_address: 10.0.0.2
        vm4:
        vm5:
"""


@pytest.fixture
def several(tmp_path: Path) -> judge.Inventory:
    """Return an inventory of several hosts, one of them with a file of its own."""
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "hosts.yml").write_text(HOSTS, encoding="utf-8")
    (tmp_path / "host_vars/vm5.yml").write_text("lab_data_dir: /srv\nlab_address: vm5.example.org\n", encoding="utf-8")
    return judge.Inventory([str(tmp_path / "hosts.yml")])


@pytest.mark.parametrize(
    ("host", "place"), [("vm2", "hosts.yml:9"), ("vm3", "hosts.yml:12"), ("vm5", "host_vars/vm5.yml:2"), ("vm1", ""), ("vm4", ""), ("vm", "")]
)
def test_the_place_of_what_is_set_for_one_host(several: judge.Inventory, host: str, place: str) -> None:
    found = several.where_of_host("lab_address", host)
    assert found.endswith(place) and bool(found) == bool(place)


def test_the_place_of_what_is_set_for_one_host_in_an_ini_file() -> None:
    lines = ["[lab_workers]", "vm1 lab_address=10.0.0.1", "vm10 lab_data_dir=/srv", "[lab_workers:vars]", "lab_address=10.0.0.9"]
    assert [judge.host_line(lines, host, "lab_address") for host in ("vm1", "vm10", "vm11")] == [2, 0, 0]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.1.1", "0.0.0.0", "224.0.0.1", "vm2", "::1", "fe80::1", "10.0.0.256", "", " 10.0.0.2", "10.0.0.2/24"])
def test_addresses_that_no_other_host_reaches(several: judge.Inventory, address: str) -> None:
    found = judge.reach_problems({"vm1": "10.0.0.1", "vm2": address}, several, "SOURCES")
    sentence(found, "lab_address of vm2, set in ", f"hosts.yml:9, is '{address}': write the IPv4 address by which others reach it.")


def test_networks_that_no_firewall_lets_in(inventory: judge.Inventory, tmp_path: Path) -> None:
    for right in (None, [], ["10.1.0.0/16", "10.1.2.3/8", "10.1.2.3", "0.0.0.0/0"]):
        assert judge.network_problems(right, inventory) == []
    (tmp_path / "group_vars/all/a.yml").write_text("lab_allowed_networks:\n  - 10.1.0.0/16\n  - fd00::/8\n", encoding="utf-8")
    there = judge.Inventory([str(tmp_path)])
    sentence(judge.network_problems(["10.1.0.0/16", "fd00::/8"], there), "lab_allowed_networks, set in ", "a.yml:3, has 'fd00::/8', which is no IPv4 address")
    sentence(judge.network_problems("10.1.0.0/16", there), "a.yml:1, is '10.1.0.0/16', which is no list: write one, as [10.1.0.0/16] is, or [] for nobody.")
    for wrong in ("10.1.0.0/33", "10.1.0/16", "10.256.0.0/16", "10.1.0.0/255.255.0.0", "10.1.0.0 /16", "office", "", "10.0.0.0/0", "10.0.0.01", 10, None):
        sentence(judge.network_problems([wrong], there), f"has '{wrong}', which is no IPv4 address and no network as 10.1.0.0/16 is one: write such a one")


def test_networks_that_tasks_shall_reach_alone(inventory: judge.Inventory, tmp_path: Path) -> None:
    for right in (None, ["0.0.0.0/0"], ["10.1.0.0/16", "0.0.0.0/0"]):
        assert judge.egress_problems(right, False, inventory) == []
    for limited in ([], ["10.1.0.0/16"]):
        assert judge.egress_problems(limited, True, inventory) == []
    (tmp_path / "group_vars/all/a.yml").write_text("lab_egress_networks:\n", encoding="utf-8")
    found = judge.empty_problems(["lab_egress_networks"], judge.Inventory([str(tmp_path)]))
    sentence(found, "lab_egress_networks, set in ", "a.yml:1, is empty: write [] for none, or remove the line.")
    (tmp_path / "group_vars/all/a.yml").write_text("lab_egress_networks:\n  - s3.example.com\n", encoding="utf-8")
    there = judge.Inventory([str(tmp_path)])
    words = "has 's3.example.com', which is no IPv4 address and no network as 10.1.0.0/16 is one: write such a one, or 0.0.0.0/0 for everywhere."
    sentence(judge.egress_problems(["s3.example.com"], True, there), "lab_egress_networks, set in ", f"a.yml:2, {words}")
    sentence(
        judge.egress_problems("10.1.0.0/16", True, there),
        "a.yml:1, is '10.1.0.0/16', which is no list: write one, as [10.1.0.0/16] is, or [] for the lab alone.",
    )
    no_firewall = "has no effect on one host without a gateway, which has no firewall: write 'lab_gateway: true' beside it, or remove it."
    sentence(judge.egress_problems([], False, there), f"a.yml:1, {no_firewall}")


@pytest.mark.parametrize("url", ["https://127.0.0.9:5000", "http://localhost/mlflow"])
def test_tasks_are_not_kept_from_an_mlflow_elsewhere(inventory: judge.Inventory, tmp_path: Path, url: str) -> None:
    (tmp_path / "group_vars/all/a.yml").write_text(f"lab_mlflow_url: {url}\n", encoding="utf-8")
    there = judge.Inventory([str(tmp_path)])
    for let in (None, ["0.0.0.0/0"], ["10.1.0.0/16", "127.0.0.0/8"], ["elsewhere"], "10.1.0.0/16"):
        assert judge.kept_from_mlflow(let, url, there) == [], "what is no network is told elsewhere"
    address = "127.0.0.9" if "127" in url else "127.0.0.1"
    for kept in ([], ["10.1.0.0/16"]):
        words = f"a.yml:1, is at {address}, which lab_egress_networks keeps tasks from: add {address} to lab_egress_networks."
        sentence(judge.kept_from_mlflow(kept, url, there), "lab_mlflow_url, set in ", words)
        for none in ("", None, "https://nowhere.invalid", "https://[broken"):
            assert judge.kept_from_mlflow(kept, none, there) == []


def test_a_name_that_nothing_can_have_is_refused(inventory: judge.Inventory) -> None:
    for right in ("churn-lab", "a", "lab_2", "x" * 40, None):
        assert judge.name_problems(right, inventory) == []
    for wrong in ("Team.Lab", "my lab", "-lab", "", "x" * 41, "churn-bench", 7):
        words = f"is '{wrong}', which can be no lab's name: write at most 40 small letters, digits, - and _, without -bench at the end, such as churn-lab."
        sentence(judge.name_problems(wrong, inventory), "lab_name, set in ", "shared.yml:2, ", words)


def test_addresses_are_named_where_they_come_from(several: judge.Inventory) -> None:
    """From ansible_host or the host's name, where nobody wrote one; two hosts cannot have the same one."""
    right = {"vm1": "10.0.0.1", "vm2": "10.0.0.2"}
    assert judge.reach_problems(right, several, "SOURCES") == []
    first, twice, name, own = judge.reach_problems(
        {"vm1": "127.0.0.1", "vm2": "10.0.0.2", "vm3": "10.0.0.2", "vm4": "vm4", "vm5": "vm5.example.org"}, several, "SOURCES"
    )
    assert first.startswith("lab_address of vm1, which is its ansible_host, set in ") and "hosts.yml:6, is '127.0.0.1': write" in first
    assert "lab_address of vm3, set in " in twice and "hosts.yml:12, is '10.0.0.2', which vm2 has already: write" in twice
    assert name == ("lab_address of vm4, which is its name or its ansible_host, set in SOURCES, is 'vm4': write the IPv4 address by which others reach it.")
    assert "host_vars/vm5.yml:2, is 'vm5.example.org'" in own


def test_an_address_that_is_set_for_all_hosts_is_named_there(inventory: judge.Inventory, tmp_path: Path) -> None:
    (tmp_path / "group_vars/all/a.yml").write_text("lab_address: 10.0.0.1\n", encoding="utf-8")
    found = judge.reach_problems({"vm1": "10.0.0.1", "vm2": "10.0.0.1"}, judge.Inventory([str(tmp_path)]), "SOURCES")
    sentence(found, "lab_address of vm2, set in ", "a.yml:1, is '10.0.0.1', which vm1 has already")


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("3.3.0", []),
        ("", []),
        ("newest", []),
        ("3.10.1", []),
        ("3.1.8", ["lab_name, set in ", "is 3.1.8, and a lab of several hosts needs 3.3 or later"]),
    ],
)
def test_what_a_lab_of_several_hosts_cannot_have(inventory: judge.Inventory, version: str, words: list[str]) -> None:
    found = judge.airflow_problems({"version": version, "variable": "lab_name"}, inventory)
    if words:
        sentence(found, *words)
    else:
        assert found == []


def host(**changes: Any) -> dict[str, Any]:
    """Return the measurements of a host that fits, with changes."""
    found = {
        "memory_mb": 3915,
        "cores": 2,
        "python": [3, 11, 2],
        "system": {"id": "debian", "version": "12", "name": "Debian GNU/Linux 12 (bookworm)"},
        "machine": "x86_64",
        "disks": [{"path": "/a", "device": 1, "free_gb": 11.0}, {"path": "/b", "device": 1, "free_gb": 11.0}],
        "lab_present": False,
    }
    return {**found, **changes}


LIMITS = {
    "limits": {"memory_mb": 3800, "cores": 2, "disk_gb": 10, "disk_running_gb": 2, "python": "3.9"},
    "systems": ["debian 12", "ubuntu 24.04"],
    "machines": ["x86_64"],
}


def test_a_host_that_fits() -> None:
    """A machine of 4 GB and 2 cores is enough, and a full disk is, where the lab already lies on it."""
    assert judge.host_problems(host(), LIMITS) == []
    full = [{"path": "/a", "device": 1, "free_gb": 3.0}]
    assert judge.host_problems(host(disks=full, lab_present=True), LIMITS) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"memory_mb": 2950}, ["2950 MB", "3800 MB", "preflight_min_memory_mb"]),
        ({"cores": 1}, ["are 1", "preflight_min_cores"]),
        ({"disks": [{"path": "/a", "device": 1, "free_gb": 9.5}] * 2}, ["/a and /a", "9.5 GB", "preflight_min_disk_gb"]),
        ({"python": [3, 8, 10]}, ["3.8.10", "3.9", "ansible_python_interpreter"]),
        ({"system": {"id": "debian", "version": "11", "name": "Bullseye"}}, ["debian 11", "debian 12, ubuntu 24.04"]),
        ({"machine": "riscv64"}, ["riscv64", "x86_64"]),
    ],
)
def test_a_host_that_does_not_fit(changes: dict[str, Any], words: list[str]) -> None:
    """One sentence per shortage; one file system is reported once."""
    sentence(judge.host_problems(host(**changes), LIMITS), *words)


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (401, "", ["the user in vault_nexus_user", "write the right vault_nexus_user and vault_nexus_pass in ", "group_vars/all/vault.yml."]),
        (403, "", ["the user in vault_nexus_user but does not let it read (403)"]),
        (404, "", ["no page of 'pip'", "preflight_index_package"]),
        (503, "", ["answers 503"]),
        (-1, "[Errno 111] Connection refused", ["vm1 does not reach", "Connection refused", "Start it"]),
        (-1, "[SSL: CERTIFICATE_VERIFY_FAILED]", ["vm1 does not trust", "lab_ca_bundle"]),
    ],
)
def test_what_the_index_answered(inventory: judge.Inventory, status: int, reason: str, words: list[str]) -> None:
    """Each answer has its own remedy."""
    index = {
        "url": "https://nexus.example.com/repository/pypi/simple/",
        "variable": "lab_index_url",
        "ca_variable": "lab_ca_bundle",
        "package": "pip",
        "user_variable": "vault_nexus_user",
        "password_variable": "vault_nexus_pass",
    }
    sentence(judge.index_problem({"status": status, "reason": reason}, index, inventory, "vm1"), "nexus.example.com", *words)
    nobody = judge.index_problem({"status": 401, "reason": ""}, {**index, "user_variable": "", "password_variable": ""}, inventory, "vm1")
    sentence(nobody, "answers 401: it wants a user", "lab_index_url, set ")
    assert judge.index_problem({"status": 200, "reason": ""}, index, inventory, "vm1") == []
    assert judge.index_problem(None, index, inventory, "vm1") == []


def test_memory_is_the_smaller_of_machine_and_control_group() -> None:
    """A container that may use 3 GB is a machine of 3 GB."""
    assert measure.memory_mb("MemTotal:        4009000 kB\nMemFree: 1 kB\n", None) == 3915
    assert measure.memory_mb("MemTotal:        4009000 kB\n", 3 << 30) == 3072


def test_os_release() -> None:
    """Quotes are no part of the values, and Debian's testing has no version."""
    text = '# comment\nID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04 LTS"\n'
    assert measure.os_release(text) == {"id": "ubuntu", "version": "24.04", "name": "Ubuntu 24.04 LTS"}
    assert measure.os_release("ID=debian\n")["version"] == ""


@pytest.mark.skipif(sys.byteorder == "big", reason="the sample was taken on a little-endian machine")
def test_listeners() -> None:
    """Listening sockets of both tables, and no established connection."""
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    rest = "00000000:00000000 00:00000000 00000000     0        0"
    table = (
        f"{head}   0: 0100007F:1F90 00000000:0000 0A {rest} 4711 1\n"
        f"   1: 0100007F:0050 0100007F:1234 01 {rest} 4712 1\n"
        f"   2: 00000000000000000000000000000000:15B3 {'0' * 32}:0000 0A {rest} 4713 1\n"
        f"   3: 0000000000000000FFFF00000100007F:1388 {'0' * 32}:0000 0A {rest} 4714 1\n"
    )
    assert measure.listeners(table) == [
        {"address": "127.0.0.1", "port": 8080, "inode": "4711"},
        {"address": "::", "port": 5555, "inode": "4713"},
        {"address": "127.0.0.1", "port": 5000, "inode": "4714"},
    ]


def test_containers() -> None:
    """Published ports of every kind, none of a port that is only exposed."""
    text = (
        "mlops-lab-airflow\tapi\trunning\t127.0.0.1:8080->8080/tcp, 9090/tcp\n"
        "\tother\trunning\t0.0.0.0:7000-7001->7000-7001/tcp, [::]:5000->5000/tcp\n"
        "x\tstopped\texited\t\n"
    )
    ours, other, stopped = measure.containers(text)
    assert ours["project"] == "mlops-lab-airflow"
    assert ours["ports"] == [{"address": "127.0.0.1", "port": 8080}]
    assert [(p["address"], p["port"]) for p in other["ports"]] == [("0.0.0.0", 7000), ("0.0.0.0", 7001), ("::", 5000)]
    assert stopped["ports"] == []


def test_disk_of_a_path_that_does_not_exist_yet(tmp_path: Path) -> None:
    """The file system is the one of the nearest parent."""
    found = lab_machine.disk(str(tmp_path / "not" / "there"))
    assert found["device"] == tmp_path.stat().st_dev
    assert found["free_gb"] >= 0


class Index(http.server.BaseHTTPRequestHandler):
    """An index that knows one user, and notes what it was asked for."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Answer 200 to the right password, 401 to any other, and 404 for two packages."""
        self.asked.append(self.path)
        right = "Basic " + base64.b64encode(b"reader:right").decode()
        absent = self.path.endswith(("/skops/", "/absent-package/"))
        self.send_response(401 if self.headers.get("Authorization") != right else 404 if absent else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def index() -> Iterator[str]:
    """Serve the index on a free port and return its URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/repository/pypi-all/simple/"
    server.shutdown()
    server.server_close()


def test_the_index_is_asked_for_one_package_alone(index: str) -> None:
    """Right and wrong passwords, nobody there, and never the index's root."""
    Index.asked.clear()
    assert measure.ask_index(index, "pip", ["skops", "six"], "reader", "right", "") == ({"status": 200, "reason": ""}, ["skops"])
    assert sorted(path.rpartition("/simple/")[2] for path in Index.asked) == ["pip/", "six/", "skops/"]
    Index.asked.clear()
    assert measure.ask_index(index, "pip", ["skops"], "reader", "wrong", "") == ({"status": 401, "reason": ""}, [])
    assert Index.asked == ["/repository/pypi-all/simple/pip/"]
    nobody, _missing = measure.ask_index("http://127.0.0.1:9/simple/", "pip", [], "", "", "")
    assert nobody["status"] == -1 and "refused" in nobody["reason"]
    broken, _missing = measure.ask_index(index, "pip", [], "reader", "right", "no certificate")
    assert broken["status"] == -1 and broken["reason"]


def test_everything_is_reported_at_once(tmp_path: Path, tool: Run) -> None:
    """On a host with nothing, in check mode too: all problems in one message, non-zero, and no password in it at -vvv."""
    variables = tmp_path / "group_vars"
    variables.mkdir()
    local = "ansible_connection: local, ansible_become: false, ansible_python_interpreter: /usr/bin/python3"
    (tmp_path / "hosts.yml").write_text(f"lab_control: {{hosts: {{vm1: {{{local}}}}}}}\n", encoding="utf-8")
    (variables / "all.yml").write_text("lab_airflow_port: 8090\n", encoding="utf-8")
    values = {
        "preflight_min_memory_mb": 99999999,
        "preflight_prots": [],
        "vault_redis_password": "hunter2",
        "vault_flower_password": "a-good-long-password",
    }
    (variables / "lab_control.yml").write_text(yaml.safe_dump(values), encoding="utf-8")
    done = tool(["ansible-playbook", "playbooks/preflight.yml", "-i", tmp_path, "--check", "-vvv"])
    assert done.returncode != 0
    for words in (
        "to put right on vm1",
        "the lab needs 99999999 MB",
        "Group lab_builder is missing",
        "Group lab_workers is missing",
        "15 credentials are not defined",
        "Credential vault_redis_password, set in",
        "did you mean preflight_ports?",
        f"lab_airflow_port, set in {variables}/all.yml, has no effect there",
        f"move it to {variables}/lab/lab.yml.",
        f"vm1 is not in group lab, so that no value in {variables}/lab counts there",
    ):
        assert words in done.stdout, words
    for secret in ("hunter2", "a-good-long-password"):
        assert secret not in done.stdout


@pytest.fixture(scope="module")
def new_lab(tmp_path_factory: pytest.TempPathFactory, tool: Run) -> Path:
    """Return a new lab's folder."""
    folder = tmp_path_factory.mktemp("new") / "lab"
    done = tool(["ansible-playbook", "playbooks/new_lab.yml", "-i", "localhost,", "-e", f"lab_home={folder}", "-e", "new_lab_name=mlops-lab"])
    assert done.returncode == 0, done.stdout
    (folder / ".vault_password").unlink()
    return folder


@pytest.fixture
def lab(tmp_path: Path, root: Path, new_lab: Path) -> Path:
    """Return a new lab with credentials, which is right: the file of its values."""
    copy = Path(shutil.copytree(new_lab, tmp_path / "lab"))
    example = judge.read_example(str(root / "playbooks/files/credentials_example.yml"))
    kinds = {"user": "reader", "fernet": FERNET}
    values = {name: kinds.get(name.rpartition("_")[2] if "fernet" not in name else "fernet", f"long-and-random-{name}-0123456789") for name in example}
    authority = pem()
    values |= {"vault_ca_certificate": authority["certificate"], "vault_ca_key": authority["private_key"]}
    (copy / "group_vars/lab/vault.yml").write_text(yaml.safe_dump(values), encoding="utf-8")
    more = "preflight_min_memory_mb: 1\npreflight_min_cores: 1\npreflight_min_disk_gb: 0\npreflight_systems: []\nansible_become: false\n"
    (copy / "group_vars/lab/zz_test.yml").write_text(more, encoding="utf-8")
    change(copy / "group_vars/lab/lab.yml", "lab_dir", f"{tmp_path}/opt")  # not that of a lab on this machine, whose databases keep other passwords
    return copy / "group_vars/lab/lab.yml"


def preflight(lab: Path, tool: Run, *options: str | Path) -> list[str]:
    """Run the preflight on a copy and return its sentences; each of them is printed once."""
    done = tool(["ansible-playbook", "playbooks/preflight.yml", "-i", lab.parents[2] / "hosts.yml", *options])
    sentences = re.findall(r"^ +- (.*)$", done.stdout, re.MULTILINE)
    assert bool(done.returncode) == bool(sentences), done.stdout
    assert all(done.stdout.count(one) == 1 for one in sentences), done.stdout
    assert "__lab" not in done.stdout and "Traceback" not in done.stdout
    return sentences


def change(file: Path, name: str, value: str) -> str:
    """Set a variable in a file; return the words that say where."""
    lines = file.read_text(encoding="utf-8").splitlines()
    number = next((number for number, line in enumerate(lines) if line.startswith(f"{name}:")), len(lines))
    lines[number : number + 1] = [f"{name}: {value}"] if value else []
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"{name}, set in {file}:{number + 1}, "


def test_the_shipped_inventory_is_right_and_each_mistake_in_it_is_named_where_it_is(lab: Path, tool: Run) -> None:
    """File, line and variable of the user, all of them at once, and nothing that the collection made of the value."""
    assert preflight(lab, tool) == []
    (lab.parent / "mine.txt").write_text("pandas\n--extra-index-url https://me:hunter2@elsewhere.example\n", encoding="utf-8")
    image = lab.parents[2] / "requirements.txt"
    places = [
        change(lab, "lab_airflow_port", "eighty"),
        change(lab, "lab_flower_port", '"8080 "'),
        change(lab, "lab_mlflow_port", "80800"),
        change(lab, "lab_models_port", "0"),
        change(lab, "lab_bind_address", '"::1"'),
        change(lab, "lab_workbench", "ture").rstrip(", ") + ": 'ture' is not true or false",
        change(lab, "lab_first_experiment", "wine_serch"),
        change(lab.with_name("zz_test.yml"), "airflow_image_custom_requirements", "/nonexistent/mine.txt"),
    ]
    image.write_text(image.read_text(encoding="utf-8").replace("pandas\n", "pandas >=\n"), encoding="utf-8")
    line = 1 + image.read_text(encoding="utf-8").splitlines().index("pandas >=")
    found = preflight(lab, tool)
    for place in (*places[:-1], f"{image}:{line} (airflow_image_requirements, set by the collection itself"):
        assert [one.startswith(place) for one in found].count(True) == 1, (place, found)
    assert any("/nonexistent/mine.txt, which does not exist" in one for one in found)
    assert len(found) == 9, found


def test_a_lab_of_one_host_shows_its_pages_to_others_by_a_gateway_alone(lab: Path, tool: Run) -> None:
    """At the address of the host that others reach; a role's own variable is judged as the lab's."""
    hosts = lab.parents[2] / "hosts.yml"
    clear = "where the pages would be plain HTTP and passwords would cross the network in the clear"
    places = [change(lab, "lab_bind_address", "0.0.0.0"), change(lab, "model_server_bind_address", "203.0.113.7")]
    found = preflight(lab, tool, "-e", "lab_gateway=false")
    assert [one.split(", where ")[0] for one in found] == [f"{places[0]}is '0.0.0.0'", f"{places[1]}is '203.0.113.7'"], found
    assert all(f"{clear}: remove the value and write 'lab_gateway: true' into {lab}, which" in one for one in found), found

    change(lab, "lab_bind_address", "127.0.0.2")
    change(lab, "model_server_bind_address", "127.0.0.1")
    assert preflight(lab, tool) == []

    place = change(lab, "lab_bind_address", "0.0.0.0")
    change(lab, "lab_gateway", "true")
    networks = change(lab, "lab_allowed_networks", "10.1.0.0/16")
    found = preflight(lab, tool)
    assert found.pop() == f"{networks}is '10.1.0.0/16', which is no list: write one, as [10.1.0.0/16] is, or [] for nobody."
    change(lab, "lab_allowed_networks", "null")
    assert f"{networks}is empty: write [] for none, or remove the line." in preflight(lab, tool)
    change(lab, "lab_allowed_networks", "[10.1.0.0/16]")
    assert found[0] == f"{place}is 0.0.0.0, but with lab_gateway the gateway publishes the pages on lab_address of the control host over TLS: remove the value."
    name = "lab_address of localhost, which is its name or its ansible_host, set in "
    assert found[1:] == [f"{name}{hosts}, is 'localhost': write the IPv4 address by which others reach it."]

    change(lab, "lab_bind_address", "127.0.0.1")
    place = change(lab, "lab_address", "203.0.113.7")
    advice = "which is no address of this host: write the one of its own by which others reach it."
    assert preflight(lab, tool) == [f"lab_address of localhost, set in {place.split('set in ')[1]}is '203.0.113.7', {advice}"]
    place = change(lab, "lab_gateway", "ture")
    assert any(one.startswith(f"{place.rstrip(', ')}: 'ture' is not true or false") for one in preflight(lab, tool))


def test_an_object_store_is_judged_before_anything_is_changed(lab: Path, tool: Run) -> None:
    """Its place, its address and its keys, of which nobody else's are asked for."""
    change(lab, "mlflow_server_project", "mlflow-without-files")  # a lab of the usual name may run on this machine
    places = [change(lab, "lab_object_store_url", "lab/churn"), change(lab, "lab_object_store_endpoint", "s3.example.com")]
    found = preflight(lab, tool)
    assert [one.partition("is '")[0] for one in found if "Credential" not in one] == places, found
    change(lab, "lab_object_store_url", "s3://lab/churn")
    change(lab, "lab_object_store_endpoint", "")
    keys = ["vault_object_store_access_key", "vault_object_store_secret_key"]
    vault = lab.with_name("vault.yml")
    right = yaml.safe_load(vault.read_text(encoding="utf-8"))
    vault.write_text(yaml.safe_dump({name: value for name, value in right.items() if name not in keys}), encoding="utf-8")
    assert all(key in sentence(preflight(lab, tool)) for key in keys)
    vault.write_text(yaml.safe_dump({**right, **dict.fromkeys(keys, "k")}), encoding="utf-8")
    assert preflight(lab, tool) == []


def test_environments_for_the_image_and_data_of_the_hosts_are_looked_at_too(lab: Path, tool: Run) -> None:
    place = change(lab, "lab_environments_in_image", "[churn]")
    assert preflight(lab, tool) == [f"{place}names churn, which is not in {lab.parents[2]}/environments: write churn.in there, or take the name out."]
    change(lab, "lab_environments_in_image", "[]")
    place = change(lab, "lab_data_dir", "/nonexistent")
    advice = "mount it there, write the path of one that is there, or leave the value empty."
    assert preflight(lab, tool) == [f"{place}is '/nonexistent', which is no directory of this host: {advice}"]


def test_a_value_where_the_collection_s_own_wins_is_named_with_its_place(lab: Path, tool: Run) -> None:
    """In an inventory's group_vars/all, and for a group in its file of hosts; a name that the collection does not set counts there, too."""
    home = lab.parents[2]
    (home / "group_vars/all").mkdir()
    (home / "group_vars/all/mine.yml").write_text("lab_airflow_port: 8090\nairflow_stack_worker_concurrency: 2\n", encoding="utf-8")
    hosts = home / "hosts.yml"
    hosts.write_text(hosts.read_text(encoding="utf-8") + "  vars: {lab_mlflow_port: 5050, lab_worker_queues: [default, gpu]}\n", encoding="utf-8")
    assert sorted(preflight(lab, tool)) == [
        f"lab_airflow_port, set in {home}/group_vars/all/mine.yml, has no effect there, "
        f"since the collection's own values win over group_vars/all: move it to {lab}.",
        f"lab_mlflow_port, set for a group in {hosts}, has no effect there, since the collection's own values win: move it to {lab}.",
        f"lab_worker_queues, set for a group in {hosts}, has no effect there, "
        f"since the collection's own values win: move it to {home}/group_vars/<group>/lab.yml, with the name of the group.",
    ]


def test_an_inventory_of_an_older_version_is_told_where_its_values_go(lab: Path, tool: Run, root: Path) -> None:
    home = lab.parents[2]
    shutil.copytree(root / "playbooks/group_vars/all", home / "group_vars/all")
    (found,) = preflight(lab, tool)
    assert found.startswith(f"{home}/group_vars/all holds what an older version wanted in every inventory") and f"you changed to {lab}, a vault to" in found


def test_groups_of_an_ini_file_have_variables_too() -> None:
    assert judge.group_variables(["[lab_control]", "vm1 x=1", "[lab:vars]", "lab_name=churn", "[lab:children]", "lab_control"]) == {"lab_name"}


def test_names_that_are_not_defined_are_found_before_they_stop_something(lab: Path, tool: Run) -> None:
    """At the value that has the name, and not at all those that are made of it; of every host."""
    places = [
        change(lab, "lab_dir", '"{{ lab_rot }}/x"'),
        change(lab, "lab_flower_port", '"{{ lab_airflw_port + 1 }}"'),
        change(lab, "lab_index_url", '"{{ oops"'),
        change(lab, "airflow_stack_api_workers", '"{{ lab_gone }}"'),
    ]
    found = preflight(lab, tool)
    assert any(one.startswith(places[0]) and "refers to lab_rot, which is not defined" in one for one in found)
    assert any(one.startswith(places[1]) and "lab_airflw_port, which is not defined: did you mean lab_airflow_port?" in one for one in found)
    assert any(one.startswith(places[2]) and "is no expression" in one for one in found)
    assert any(one.startswith(places[3]) and "refers to lab_gone, which is not defined" in one for one in found)
    assert len(found) == 4, found


def test_a_value_of_another_host_that_is_not_defined(tmp_path: Path, tool: Run) -> None:
    """Said once, although both hosts share the rest."""
    local = "{ansible_connection: local, ansible_become: false, ansible_python_interpreter: /usr/bin/python3}"
    (tmp_path / "hosts.yml").write_text(f"lab_control: {{hosts: {{vm1: {local}, vm2: {local}}}}}\n", encoding="utf-8")
    for name, text in (("group_vars/all.yml", 'lab_a: "{{ lab_b }}"\nlab_b: 1\n'), ("host_vars/vm2.yml", 'lab_b: "{{ lab_gone }}"\n')):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = tool(["ansible-playbook", "playbooks/preflight.yml", "-i", tmp_path])
    assert done.returncode != 0
    assert done.stdout.count("refers to lab_gone, which is not defined") == 1, done.stdout
    assert f"- lab_b, set in {tmp_path}/host_vars/vm2.yml:1, refers to lab_gone" in done.stdout


def test_packages_that_are_not_in_the_index(lab: Path, tool: Run, index: str) -> None:
    """Of the lists and of what the lab needs; what the lab publishes itself is not asked for, and the list of all names never."""
    vault, image = lab.with_name("vault.yml"), lab.parents[2] / "requirements.txt"
    change(lab, "lab_index_url", index)
    change(vault, "vault_nexus_user", "reader")
    change(vault, "vault_nexus_pass", "right")
    image.write_text(image.read_text(encoding="utf-8").replace("pandas\n", "Absent_Package>=2\n"), encoding="utf-8")
    line = 1 + image.read_text(encoding="utf-8").splitlines().index("Absent_Package>=2")
    Index.asked.clear()
    found = preflight(lab, tool)
    assert len(found) == 2, found
    assert any(f"has no package Absent_Package, which {image}:{line} (airflow_image_requirements, set by the collection itself" in one for one in found), found
    assert any("has no package skops, which the lab itself needs" in one for one in found), found
    names = {path.removeprefix("/repository/pypi-all/simple/") for path in Index.asked}
    assert "" not in names and "wine-cultivars/" not in names and "optuna/" in names, names


def test_braces_in_an_encrypted_value(lab: Path, tool: Run, tmp_path: Path) -> None:
    """Ansible would stop at some, and silently change others; what is marked is taken as it is. None of them is shown."""
    vault, password = lab.with_name("vault.yml"), tmp_path / "password"
    password.write_text("a password\n", encoding="utf-8")
    change(vault, "vault_redis_password", '"hunter2-{{-abcdefghijk"')
    change(vault, "vault_mlflow_db_password", '"hunter2-{{ 5 }}-abcdefghijk"')
    change(vault, "vault_optuna_db_password", '"hunter2-{# 5 #}-abcdefghijk"')
    change(vault, "vault_celery_db_password", '!unsafe "hunter2-{{ 5 }}-abcdefghijk"')
    change(vault, "vault_flower_password", "\"{{ lookup('ansible.builtin.env', 'HOME') * 9 }}\"")
    done = tool(["ansible-vault", "encrypt", "--vault-password-file", password, vault], cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    found = preflight(lab, tool, "--vault-password-file", password)
    names = ("vault_redis_password", "vault_mlflow_db_password", "vault_optuna_db_password")
    assert len(found) == 3 and "hunter2" not in str(found), found
    for name in names:
        assert any(one.startswith(f"Credential {name}, set in {vault}, has {{{{") and f"`{name}: !unsafe '...'`" in one for one in found), found


def test_an_inventory_without_hosts_is_an_error(tmp_path: Path, tool: Run) -> None:
    """Ansible alone would skip every play and call it a success."""
    (tmp_path / "hosts.yml").write_text("lab_control:\n  hosts:\n", encoding="utf-8")
    done = tool(["ansible-playbook", "playbooks/preflight.yml", "-i", tmp_path])
    assert done.returncode != 0
    assert "There is no host in the inventory" in done.stdout


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("lab_check_min_cores", "preflight_min_cores"),
        ("lab_check_airflow_url", "first_model_airflow_url and verdict_airflow_url"),
        ("lab_check_experiment", "lab_first_experiment"),
        ("lab_check_no_such_thing", ""),
        ("lab_checkout", ""),
    ],
)
def test_a_variable_of_the_role_that_is_three_now_has_its_new_name(old: str, new: str) -> None:
    assert judge.renamed(old, judge.read_specs(judge.ROLES)) == new


def test_queues_that_no_worker_can_consume_are_named(inventory: judge.Inventory) -> None:
    assert judge.queue_problems({"vm1": ["default"], "vm2": ["gpu", "a.b_c-1"]}, "lab_worker_queues", inventory) == []
    for wanted in ([], "gpu", ["default", "g pu"], ["default", "default"], ["default", 1], ["default", "a,b"], ["default", "host.vm1"]):
        found = judge.queue_problems({"vm1": ["default"], "vm2": wanted}, "lab_worker_queues", inventory)
        sentence(found, "lab_worker_queues of vm2, set ", f"is '{wanted}', which is no list of queues: write names of letters, digits, _, - and ., each once")
    found = judge.queue_problems({"vm1": ["gpu"], "vm2": ["big"]}, "lab_worker_queues", inventory)
    sentence(found, "has no worker consume the queue default, where everything is that names no other: add it for one of vm1, vm2.")


def test_names_of_hosts_that_no_queue_and_no_certificate_can_have_are_named_once() -> None:
    assert judge.host_name_problems(["vm1", "vm_2.example-lab.org"]) == []
    sentence(
        judge.host_name_problems(["vm1", "vm:1", "vm:1"]), "The lab has the host 'vm:1', and ", "write one of letters, digits, _, - and . in the inventory."
    )


def test_what_ansible_does_not_bring_is_named_with_the_command() -> None:
    assert judge.control_problems(["yaml", "jinja2"]) == [] == judge.control_problems([])
    sentence(judge.control_problems(["yaml", "nothing_q", "nothing_r"]), sys.executable, f"run `{sys.executable} -m pip install nothing_q nothing_r`.")


def test_queues_of_a_host_are_judged_before_anything_is_changed(lab: Path, tool: Run) -> None:
    """Those of one host, which win over the lab's."""
    hosts = lab.parents[2] / "hosts.yml"
    hosts.write_text(
        hosts.read_text(encoding="utf-8").replace("ansible_connection: local\n", "ansible_connection: local\n          lab_worker_queues: [gpu]\n", 1), "utf-8"
    )
    (found,) = preflight(lab, tool)
    assert found.startswith("lab_worker_queues, set in ") and f"{hosts}:" in found and "has no worker consume the queue default" in found


def local_hosts(lab: Path, **hosts: str) -> None:
    """Make a lab's inventory one of several hosts, all of them this machine: the first has control and builder, the others are workers."""
    local = "ansible_connection: local, ansible_become: false, ansible_python_interpreter: /usr/bin/python3"
    lines = [f"{name}: {{{local}, lab_address: {address}}}" for name, address in hosts.items()]
    groups = {"lab_control": lines[:1], "lab_builder": lines[:1], "lab_workers": lines[1:]}
    text = "lab:\n  children:\n" + "".join(f"    {group}:\n      hosts:\n" + "".join(f"        {line}\n" for line in of) for group, of in groups.items())
    (lab.parents[2] / "hosts.yml").write_text(text, encoding="utf-8")


def test_a_lab_of_several_hosts_is_judged_on_all_of_them_and_on_one_alone(lab: Path, tool: Run) -> None:
    """Each host's own address has to be one of its own; a run for one worker asks nothing of the others, and judges the inventory there."""
    hosts = lab.parents[2] / "hosts.yml"
    local_hosts(lab, vm1="203.0.113.1", vm2="203.0.113.2", vm3="203.0.113.3")
    advice = "which is no address of this host: write the one of its own by which others reach it."
    lines = {"vm1": 5, "vm2": 11, "vm3": 12}
    assert sorted(preflight(lab, tool)) == [f"lab_address of {name}, set in {hosts}:{line}, is '203.0.113.{name[2]}', {advice}" for name, line in lines.items()]
    assert preflight(lab, tool, "--limit", "vm3") == [f"lab_address of vm3, set in {hosts}:12, is '203.0.113.3', {advice}"]

    local_hosts(lab, vm1="203.0.113.1", vm2="203.0.113.1", vm3="vm3.example.org, lab_broker_port: 6380, airflow_stack_worker_concurrency: many")
    places = [change(lab, "lab_bind_address", "0.0.0.0"), change(lab, "lab_airflow_version", "3.1.8")]
    found = preflight(lab, tool, "--limit", "vm3")
    assert [one for one in found if one.startswith(f"lab_address of vm2, set in {hosts}:11, is '203.0.113.1', which vm1 has already: write")]
    assert [one for one in found if one.startswith(f"lab_address of vm3, set in {hosts}:12, is 'vm3.example.org': write the IPv4 address")]
    assert [one for one in found if one.startswith(f"{places[0]}is 0.0.0.0, but with several hosts the gateway")]
    assert [one for one in found if one.startswith(f"{places[1]}is 3.1.8, and a lab of several hosts needs 3.3 or later")]
    assert [one for one in found if one.startswith(f"lab_broker_port, set in {hosts}:12, is not the same for vm1 and vm3")]
    assert [one for one in found if one.startswith(f"airflow_stack_worker_concurrency, set in {hosts}:12: 'many' is not a whole number")]
    assert len(found) == 6, found


def test_a_worker_that_is_off_is_told_and_the_others_are_judged(lab: Path, tool: Run) -> None:
    """What it has in the inventory is judged, too."""
    local_hosts(lab, vm1="203.0.113.1", vm2="203.0.113.2", vm3="203.0.113.3")
    hosts = lab.parents[2] / "hosts.yml"
    head, vm2, rest = hosts.read_text(encoding="utf-8").partition("vm2: {ansible_connection: local,")
    assert vm2
    hosts.write_text(f"{head}vm2: {{ansible_host: 127.0.0.1, ansible_port: 1, lab_worker_queues: [a b],{rest}", encoding="utf-8")
    done = tool(["ansible-playbook", "playbooks/preflight.yml", "-i", hosts])
    assert done.returncode != 0 and "vm2 is not reached: the run goes on without it, and ends with an error." in done.stdout, done.stdout
    found = re.findall(r"^ +- (.*)$", done.stdout, re.MULTILINE)
    assert sorted(one[:22] for one in found) == ["lab_address of vm1, se", "lab_address of vm3, se", "lab_worker_queues of v"], found


@pytest.mark.parametrize("builder", ["x86_64", "aarch64", None])
def test_a_machine_of_another_architecture_than_the_builders(builder: str | None, tmp_path: Path, root: Path, tool: Run) -> None:
    """The play by itself, with what was measured before; of a builder that the run leaves out nothing was."""
    play = yaml.safe_load((root / "playbooks/preflight.yml").read_text(encoding="utf-8"))[-1]
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    measured = {"vm1": builder, "vm2": "aarch64", "vm3": "aarch64"}
    hosts = {name: {"ansible_connection": "local"} | ({"preflight_measured": {"found": {"machine": one}}} if one else {}) for name, one in measured.items()}
    groups = {"lab_control": ["vm2"], "lab_builder": ["vm1"], "lab_workers": ["vm2", "vm3"]}
    inventory = {"lab": {"children": {group: {"hosts": {name: hosts[name] for name in of}} for group, of in groups.items()}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    done = tool(["ansible-playbook", tmp_path / "play.yml", "-i", tmp_path / "hosts.yml", *([] if builder else ["--limit", "vm2,vm3"])])
    if builder == "x86_64":
        words = "vm3 is a machine of architecture aarch64, and vm1, which builds the image, one of x86_64: list machines of one architecture in hosts.yml."
        assert done.returncode != 0 and words in " ".join(done.stdout.split()), done.stdout
    else:
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("hosts", "reached", "first"),
    [
        (["vm1", "vm2"], None, "vm1"),
        (["vm1", "vm2"], ["vm2"], "vm2"),
        (["other", "vm1", "vm2"], ["vm1", "vm2"], "vm1"),
        (["other"], ["vm1"], "other"),
        ([], None, ""),
    ],
)
def test_the_lab_as_a_whole_is_judged_on_a_host_that_is_there(hosts: list[str], reached: list[str] | None, first: str) -> None:
    assert judge.first_host(hosts, {"all": hosts} if reached is None else {judge.REACHED: reached}) == first
