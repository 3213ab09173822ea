"""Role nexus_repositories on a real Nexus: what it declares, what each user may then do, and what it says when something is wrong."""

from __future__ import annotations

import base64
import datetime
import http.client
import ipaddress
import json
import re
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conftest import BIN, run_tool
from tests.nexus import server
from tests.nexus.conftest import PUBLIC, Ask, Lab

pytestmark = pytest.mark.nexus

GROUP, PROXY, HOSTED = "repository/pypi-all/", "repository/pypi/", "repository/pypi-internal/"


def repositories(lab: Lab) -> dict[str, dict[str, Any]]:
    """Return the repositories of Nexus by name."""
    return {entry["name"]: entry for entry in lab.api("repositorySettings")}


def pip(lab: Lab, account: tuple[str, str], folder: Path, *what: str) -> subprocess.CompletedProcess[str]:
    """Download with pip through the group; the account stands in a netrc file, as in the image's build."""
    netrc = folder / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login {account[0]} password {account[1]}\n", encoding="utf-8")
    netrc.chmod(0o600)
    clean = {"NETRC": str(netrc), "PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": f"{lab.nexus.url}/{GROUP}simple/"}
    options: list[str | Path] = ["--no-input", "--no-deps", "--no-cache-dir", "--retries", "0", "--dest", folder / "got"]
    return run_tool([sys.executable, "-m", "pip", "download", *options, *what], folder, **clean)


def upload(lab: Lab, account: tuple[str, str], wheel: Path, repository: str = HOSTED) -> subprocess.CompletedProcess[str]:
    """Upload with twine."""
    given = {"TWINE_USERNAME": account[0], "TWINE_PASSWORD": account[1], "TWINE_NON_INTERACTIVE": "1"}
    return run_tool([BIN / "twine", "upload", "--disable-progress-bar", "--repository-url", f"{lab.nexus.url}/{repository}", wheel], wheel.parent, **given)


# -------------------------------------------------------------------- declaring


def test_the_second_run_changes_nothing(lab: Lab) -> None:
    assert lab.run().changed == 0


def test_the_list_of_all_projects_is_blocked_before_the_proxy_exists(lab: Lab) -> None:
    first = lab.outputs[0].output
    assert first.index("- what: routing rule") < first.index("- what: proxy repository")
    assert repositories(lab)["pypi"]["routingRuleName"] == "pypi-no-project-list"


def test_the_group_asks_the_hosted_repository_first(lab: Lab) -> None:
    assert repositories(lab)["pypi-all"]["group"]["memberNames"] == ["pypi-internal", "pypi"]


def test_a_dry_run_says_what_differs_and_the_next_run_mends_it_and_nothing_else(lab: Lab) -> None:
    hosted, proxy = repositories(lab)["pypi-internal"], repositories(lab)["pypi"]
    role = lab.api("security/roles/pypi-all-reader")
    lab.put("repositories/pypi/hosted/pypi-internal", {**hosted, "storage": {**hosted["storage"], "writePolicy": "ALLOW"}})
    # Without routingRule, PUT takes the rule away; how long things are kept is the operator's own choice.
    lab.put("repositories/pypi/proxy/pypi", {**proxy, "proxy": {**proxy["proxy"], "contentMaxAge": 60}})
    lab.put("security/roles/pypi-all-reader", {**role, "privileges": ["nx-all"]})
    before = [lab.api(path) for path in ("repositorySettings", "security/roles")]

    dry = lab.run("--check", "--diff")
    assert dry.changes == 3
    assert [lab.api(path) for path in ("repositorySettings", "security/roles")] == before
    for words in ("hosted repository 'pypi-internal'", "proxy repository 'pypi'", "role 'pypi-all-reader'", "before:", "ALLOW", "nx-all"):
        assert words in dry.output, dry.output

    assert lab.run().changes == 3
    after = repositories(lab)
    assert after["pypi-internal"] == hosted
    assert after["pypi"] == {**proxy, "proxy": {**proxy["proxy"], "contentMaxAge": 60}}
    assert lab.api("security/roles/pypi-all-reader") == role


def test_another_password_in_the_vault_reaches_nexus(lab: Lab, ask: Ask) -> None:
    try:
        other = lab.values["nexus_repositories_reader_password"] + "2"
        assert lab.run(nexus_repositories_reader_password=other).changes == 1
        assert ask("reader", "GET", f"{GROUP}simple/{PUBLIC}/") == 401
    finally:
        assert lab.run().changes == 1
    assert ask("reader", "GET", f"{GROUP}simple/{PUBLIC}/") == 200


def test_members_that_the_group_has_besides_stay(lab: Lab) -> None:
    lab.post("repositories/pypi/hosted", {"name": "theirs", "online": True, "storage": repositories(lab)["pypi-internal"]["storage"]})
    group = repositories(lab)["pypi-all"]
    try:
        lab.put("repositories/pypi/group/pypi-all", {**group, "group": {"memberNames": ["theirs", "pypi", "pypi-internal"]}})
        assert lab.run().changes == 1
        assert repositories(lab)["pypi-all"]["group"]["memberNames"] == ["pypi-internal", "pypi", "theirs"]
        assert lab.run("--check").changed == 0
    finally:
        lab.put("repositories/pypi/group/pypi-all", group)


# -------------------------------------------------------------------- rights


@pytest.mark.parametrize(
    ("who", "method", "path", "status"),
    [
        ("reader", "GET", f"{GROUP}simple/{PUBLIC}/", 200),
        ("publisher", "GET", f"{GROUP}simple/{PUBLIC}/", 200),
        ("nobody", "GET", f"{GROUP}simple/{PUBLIC}/", 401),
        ("wrong password", "GET", f"{GROUP}simple/{PUBLIC}/", 401),
        # Only through the group, where what is hosted goes first
        ("reader", "GET", f"{PROXY}simple/{PUBLIC}/", 403),
        ("publisher", "GET", f"{PROXY}simple/{PUBLIC}/", 403),
        ("reader", "GET", f"{HOSTED}simple/{PUBLIC}/", 403),
        ("publisher", "GET", f"{HOSTED}simple/{PUBLIC}/", 404),
        ("reader", "POST", HOSTED, 403),
        ("nobody", "POST", HOSTED, 401),
        ("reader", "GET", "service/rest/v1/security/users", 403),
        ("publisher", "GET", "service/rest/v1/security/users", 403),
        ("publisher", "DELETE", "service/rest/v1/repositories/pypi-internal", 403),
    ],
)
def test_each_user_may_do_what_the_lab_needs_and_no_more(ask: Ask, who: str, method: str, path: str, status: int) -> None:
    more = {"files": {"content": ("x.whl", b"x")}, "data": {":action": "file_upload"}} if method == "POST" else {}
    assert ask(who, method, path, **more) == status


@pytest.mark.parametrize("path", ["simple/", "simple", "/simple//", "simple/?x=1", "simple/?x=%0a", "simple/x/../", "simple%2F", "simple/index.html"])
@pytest.mark.parametrize("repository", [PROXY, GROUP])
@pytest.mark.parametrize("who", ["admin", "reader"])
def test_nobody_makes_nexus_ask_for_the_list_of_all_projects(lab: Lab, who: str, repository: str, path: str) -> None:
    """Only the stand-in for the public index is asked here: never try this with the real one."""
    lab.upstream.asked.clear()
    # A client that mends no path
    connection = http.client.HTTPConnection(lab.nexus.url.removeprefix("http://"), timeout=60)
    login = base64.b64encode(":".join(lab.admin if who == "admin" else lab.reader).encode()).decode()
    connection.request("GET", f"/{repository}{path}", headers={"Authorization": f"Basic {login}"})
    status = connection.getresponse().status
    connection.close()
    assert lab.upstream.asked == []
    assert status in (403, 404) if repository == PROXY else status in (200, 404)


def test_the_reader_installs_public_and_hosted_packages_and_the_publisher_alone_uploads(lab: Lab, tmp_path: Path) -> None:
    wheel = server.wheel(tmp_path, "lab-hosted", "1.0", "ours")
    refused = upload(lab, lab.reader, wheel)
    assert refused.returncode != 0 and "403" in refused.stdout, refused.stdout
    done = upload(lab, lab.publisher, wheel)
    assert done.returncode == 0, done.stdout
    again = upload(lab, lab.publisher, wheel)
    assert again.returncode != 0 and "400" in again.stdout, again.stdout
    server.wheel(tmp_path, "lab-hosted", "1.0", "forged")
    forged = upload(lab, lab.publisher, wheel)
    assert forged.returncode != 0 and "400" in forged.stdout, forged.stdout
    server.wheel(tmp_path, "lab-hosted", "1.0", "ours")
    component = next(entry["id"] for entry in lab.api("components?repository=pypi-internal")["items"] if entry["name"] == "lab-hosted")
    assert lab.nexus.ask("DELETE", f"service/rest/v1/components/{component}", lab.publisher).status_code == 403

    got = pip(lab, lab.reader, tmp_path, "lab-hosted==1.0", f"{PUBLIC}==1.0")
    assert got.returncode == 0, got.stdout
    assert {path.name: path.read_bytes() for path in (tmp_path / "got").iterdir()} == {wheel.name: wheel.read_bytes(), **lab.upstream.files[PUBLIC]}
    wrong = pip(lab, (lab.reader[0], "wrong"), tmp_path, "lab-hosted==1.0")
    assert wrong.returncode != 0, wrong.stdout


def test_the_lab_proves_this_index_and_publishes_to_it_once(lab: Lab, tmp_path: Path) -> None:
    project = tmp_path / "lab-project"
    (project / "src/lab_project").mkdir(parents=True)
    (project / "src/lab_project/__init__.py").write_text("TEXT = 'first'\n", encoding="utf-8")
    (project / "pyproject.toml").write_text(
        "[build-system]\nrequires = ['setuptools==80.9.0']\nbuild-backend = 'setuptools.build_meta'\n[project]\nname = 'lab-project'\nversion = '1.0'\n",
        encoding="utf-8",
    )
    values = {
        "package_index_url": f"{lab.nexus.url}/{GROUP}simple/",
        "package_index_upload_url": f"{lab.nexus.url}/{HOSTED}",
        "package_index_user": lab.reader[0],
        "package_index_password": lab.reader[1],
        "package_index_publisher_user": lab.publisher[0],
        "package_index_publisher_password": lab.publisher[1],
        "package_index_probe": PUBLIC,
        "package_index_publish": [str(project)],
        "package_index_publish_cache": str(tmp_path / "cache"),
    }
    assert lab.run(role="package_index", **values).changed == 1
    assert lab.run(role="package_index", **values).changed == 0
    (project / "src/lab_project/__init__.py").write_text("TEXT = 'second'\n", encoding="utf-8")
    other = lab.run(role="package_index", **values)
    assert other.returncode != 0 and "with another content" in other.output, other.output
    settings = project / "pyproject.toml"
    settings.write_text(settings.read_text(encoding="utf-8").replace("'1.0'", "'1.1'"), encoding="utf-8")
    swapped = lab.run(role="package_index", **{**values, "package_index_publisher_user": lab.reader[0], "package_index_publisher_password": lab.reader[1]})
    assert swapped.returncode != 0 and "answered 403" in swapped.output and "this user may not upload" in swapped.output, swapped.output
    wrong = lab.run(role="package_index", **{**values, "package_index_password": "wrong"})
    assert wrong.returncode != 0 and "package_index_password" in wrong.output and "(401)" in wrong.output, wrong.output


# -------------------------------------------------------------------- TLS of a company's own authority


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return a TLS context for 127.0.0.1 and the certificate, signed by itself, that it shows."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a company's mirror")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - datetime.timedelta(days=1), now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    shown, secret = folder / "ca.pem", folder / "key.pem"
    shown.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown, secret)
    return context, shown


def test_a_mirror_whose_tls_a_company_signs_is_trusted_when_its_certificate_is_given(lab: Lab, ask: Ask, tmp_path: Path) -> None:
    context, shown = certificate(tmp_path)
    names = {f"nexus_repositories_{kind}": f"tls-{kind}" for kind in ("hosted", "proxy", "group")}
    users = {f"nexus_repositories_{kind}_user": f"tls-{kind}" for kind in ("reader", "publisher")}
    with server.upstream(context) as mirror:
        mirror.files["behind-tls"] = {path.name: path.read_bytes() for path in [server.wheel(tmp_path, "behind-tls", "1.0")]}
        own = {**names, **users, "nexus_repositories_upstream_url": mirror.url}
        assert lab.run(**own).changes == 7
        assert ask("admin", "GET", "repository/tls-proxy/simple/behind-tls/") != 200 and not mirror.asked
        given = {**own, "nexus_repositories_ca_file": str(shown)}
        assert lab.run(**given).changes == 2
        assert lab.run(**given).changed == 0
        lab.nexus.ask("POST", "service/rest/v1/repositories/tls-proxy/invalidate-cache", lab.admin)
        assert ask("admin", "GET", "repository/tls-proxy/simple/behind-tls/") == 200 and mirror.asked == ["/simple/behind-tls/"]
        assert lab.run(nexus_repositories_state="absent", **given).changes == 7


# -------------------------------------------------------------------- undo


def test_undo_removes_what_was_declared_and_nothing_else(lab: Lab, tmp_path: Path) -> None:
    names = {f"nexus_repositories_{kind}": f"gone-{kind}" for kind in ("hosted", "proxy", "group")}
    users = {f"nexus_repositories_{kind}_user": f"gone-{kind}" for kind in ("reader", "publisher")}
    own = {**names, **users, "nexus_repositories_routing_rule": "gone-rule"}
    everything = ["repositorySettings", "routing-rules", "security/roles", "security/users", "security/anonymous"]
    before = {path: lab.api(path) for path in everything}
    assert lab.run(**own).changes == 8
    done = upload(lab, ("gone-publisher", lab.publisher[1]), server.wheel(tmp_path, "lab-gone", "1.0"), "repository/gone-hosted/")
    assert done.returncode == 0, done.stdout

    absent = {**own, "nexus_repositories_state": "absent"}
    refused = lab.run(**absent)
    assert refused.returncode != 0 and "holds packages (lab-gone), so nothing is removed" in refused.output, refused.output
    assert lab.run("--check", nexus_repositories_delete_packages=True, **absent).changes == 8
    assert len(lab.api("repositorySettings")) == len(before["repositorySettings"]) + 3
    assert lab.run(nexus_repositories_delete_packages=True, **absent).changes == 8
    assert {path: sorted(lab.api(path), key=str) for path in everything} == {path: sorted(before[path], key=str) for path in everything}
    assert lab.run(**absent).changed == 0


# -------------------------------------------------------------------- what is wrong, in one sentence


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"nexus_repositories_admin_password": "wrong"}, ["refuses the administrator 'admin'", "(401)", "nexus_repositories_admin_password"]),
        (
            {"nexus_repositories_admin_password": "wrong", "nexus_repositories_first_password": "wrong too"},
            ["refuses the administrator 'admin'", "and with nexus_repositories_first_password (401)"],
        ),
        ({"nexus_repositories_url": "http://127.0.0.1:9"}, ["does not reach a Nexus at http://127.0.0.1:9", "(nexus_repositories_url)", "Connection refused."]),
        ({"nexus_repositories_url": "UPSTREAM"}, ["is no Nexus 3 (404"]),
        ({"nexus_repositories_url": ""}, ["No Nexus is named", "nexus_repositories_url, as in https://nexus.example.com."]),
        (
            {"nexus_repositories_url": "http://127.0.0.1:9/repository/pypi-all/simple/"},
            ["is no address of a Nexus", "write it as in https://nexus.example.com, without"],
        ),
        (
            {"nexus_repositories_proxy": "their-npm"},
            ["has a repository 'their-npm' already", "'npm hosted' instead of 'pypi proxy'", "nexus_repositories_proxy"],
        ),
        ({"nexus_repositories_reader_user": "their-user"}, ["has the user 'their-user' already, not made by this role", "nexus_repositories_reader_user"]),
        ({"nexus_repositories_reader_user": "publisher"}, ["have to be three users"]),
        ({"nexus_repositories_routing_rule": "another-rule"}, ["'pypi-no-project-list' already", "nexus_repositories_routing_rule"]),
        ({"nexus_repositories_routing_rule": "their-rule"}, ["lists what is allowed"]),
        ({"nexus_repositories_upstream_url": "http://user:word@127.0.0.1/simple/"}, ["without credentials"]),
        ({"nexus_repositories_hosted": "new", "nexus_repositories_blob_store": "nowhere"}, ["has no blob store 'nowhere': write one of default"]),
        ({"nexus_repositories_hosted": "PYPI-internal"}, ["Nexus answered 400 to the hosted repository 'PYPI-internal'", "duplicated key"]),
        ({"nexus_repositories_admin_user": "reader", "nexus_repositories_reader_user": "r2"}, ["does not let it administer (403)", "nx-admin"]),
    ],
)
def test_one_sentence_says_what_is_wrong_and_nothing_is_changed(lab: Lab, values: dict[str, Any], words: list[str]) -> None:
    if "their-npm" not in repositories(lab):
        lab.post("repositories/npm/hosted", {"name": "their-npm", "online": True, "storage": repositories(lab)["pypi-internal"]["storage"]})
        lab.post("routing-rules", {"name": "their-rule", "description": "", "mode": "ALLOW", "matchers": [".*"]})
        user = {"userId": "their-user", "firstName": "T", "lastName": "U", "emailAddress": "t@example.com", "password": "x", "status": "active"}
        lab.post("security/users", {**user, "roles": ["nx-anonymous"]})
    given = {name: lab.upstream.url.removesuffix("/simple/") if value == "UPSTREAM" else value for name, value in values.items()}
    if given.get("nexus_repositories_admin_user") == "reader":
        given["nexus_repositories_admin_password"] = lab.reader[1]
    done = lab.run(**given)
    assert done.returncode != 0
    message = " ".join(json.loads(text) for text in re.findall(r'"msg": ("(?:[^"\\]|\\.)*")', done.output))
    assert [word for word in words if word not in message] == [], done.output
    assert "changed=0" in done.output


def test_no_password_is_in_anything_that_was_shown(lab: Lab) -> None:
    """Of all the runs above, and of one that shows all that Ansible can show."""
    lab.run("-vvvvv", "--diff")
    assert len(lab.outputs) > 1
    shown = "\n".join(done.output for done in lab.outputs)
    assert "canary" not in shown
    assert lab.nexus.first_password not in shown
