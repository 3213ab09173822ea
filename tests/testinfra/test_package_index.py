"""A lab host with the lab's own index: what an installer, a publisher and a stranger get from it."""

from __future__ import annotations

import json
import re
import shlex
import time
from typing import Any
from urllib.parse import quote, urljoin

import pytest
import yaml
from testinfra.host import Host

from tests.conftest import ROOT

PROJECT = "mlops-lab-index"
URL = "http://127.0.0.1:8081"
GROUP, HOSTED = f"{URL}/repository/pypi-all", f"{URL}/repository/pypi-internal"
# A project of the public index that nothing needs: an upload of the same name hides it.
SHADOWED = "sampleproject"

# Runs on the host, whose only certain tool is Python. Standard input: [method, url, user or null, password, form fields or null].
ASK = r"""
import base64, json, sys, urllib.error, urllib.request
method, url, user, password, fields = json.load(sys.stdin)
headers, data = {"Accept": "text/html"}, None
if user: headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
if fields:
    headers["Content-Type"] = "multipart/form-data; boundary=x"
    data = "".join(f'--x\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items()).encode() + b"--x--\r\n"
class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_): return None
try: answer = urllib.request.build_opener(Stay).open(urllib.request.Request(url, data, headers, method=method), timeout=60)
except urllib.error.HTTPError as error: answer = error
print(json.dumps([answer.status, answer.read().decode(errors="replace")]))
"""

# Runs in a container of the host, with uv and twine from the index itself: builds a wheel of two files, uploads it, installs it. Its variables come
# over standard input: containerd's database keeps the environment of a container after its end, where the search for credentials finds it.
CIRCLE = r"""
set -eu
. /dev/stdin
cd "$(mktemp -d)"
python - "$NAME" "$VERSION" <<'END'
import sys, zipfile
name, version = sys.argv[1:]
module = name.replace("-", "_")
with zipfile.ZipFile(f"{module}-{version}-py3-none-any.whl", "w") as wheel:
    info = f"{module}-{version}.dist-info"
    wheel.writestr(f"{module}.py", f"VERSION = '{version}'\n")
    wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", "")
END
uv --no-config venv --quiet tools
uv --no-config pip install --quiet --no-cache --python tools/bin/python --default-index "$INDEX" twine pip
TWINE_USERNAME=$UPLOADER TWINE_PASSWORD=$UPLOADER_PASSWORD tools/bin/twine upload --non-interactive --repository-url "$UPLOAD" ./*.whl
PIP_CONFIG_FILE=/dev/null tools/bin/pip install --quiet --no-cache-dir --index-url "$INDEX" --target clean "$NAME==$VERSION"
PYTHONPATH=clean python -c "import $(echo "$NAME" | tr - _) as module; print('installed', module.VERSION)"
"""


@pytest.fixture(scope="module")
def accounts() -> dict[str, tuple[str | None, str]]:
    """Name of a role -> user and password."""
    given = yaml.safe_load((ROOT / "molecule/inventory/host_vars/labhost/credentials.yml").read_text(encoding="utf-8"))
    return {
        "reader": (given["vault_nexus_user"], given["vault_nexus_pass"]),
        "publisher": (given["vault_nexus_publisher_user"], given["vault_nexus_publisher_pass"]),
        "wrong password": (given["vault_nexus_user"], "wrong"),
        "nobody": (None, ""),
    }


def ask(host: Host, account: tuple[str | None, str], url: str, method: str = "GET", fields: dict[str, str] | None = None) -> tuple[int, str]:
    """Return the status and text of the index's answer, as the host gets it."""
    question = json.dumps([method, url, *account, fields])
    answer: Any = json.loads(host.check_output(f"printf %s {shlex.quote(question)} | python3 -c {shlex.quote(ASK)}"))
    return answer[0], answer[1]


def circle(host: Host, accounts: dict[str, tuple[str | None, str]], uploader: str, name: str, version: str) -> Any:
    """Upload a wheel with twine and install it with pip, in a container of the host; return what the command did."""
    reader, password = accounts[uploader]
    user, word = accounts["reader"]
    values = {
        "INDEX": f"http://{quote(str(user), safe='')}:{quote(word, safe='')}@127.0.0.1:8081/repository/pypi-all/simple/",
        "UPLOAD": f"{HOSTED}/",
        "UPLOADER": reader,
        "UPLOADER_PASSWORD": password,
        "NAME": name,
        "VERSION": version,
    }
    exports = "".join(f"export {key}={shlex.quote(str(value))}\n" for key, value in values.items())
    image = host.check_output("docker image ls --format '{{.Repository}}:{{.Tag}}' --filter 'reference=mlops-lab/airflow-base' | head -n 1")
    return host.run(f"printf %s {shlex.quote(exports)} | docker run --rm --interactive --network host --entrypoint bash {image} -c {shlex.quote(CIRCLE)}")


@pytest.mark.parametrize(("who", "status"), [("reader", 200), ("publisher", 200), ("wrong password", 401), ("nobody", 401)])
def test_pages_and_files_need_a_login(host: Host, accounts: dict[str, tuple[str | None, str]], who: str, status: int) -> None:
    page = f"{GROUP}/simple/six/"
    assert ask(host, accounts[who], page)[0] == status
    link = ask(host, accounts["reader"], page)[1].split('href="../../../', 1)[1].split("#", 1)[0]
    assert ask(host, accounts[who], f"{URL}/repository/{link}", method="HEAD")[0] == status


@pytest.mark.parametrize("path", ["/simple/", "/simple"])
@pytest.mark.parametrize("repository", [GROUP, HOSTED])
def test_there_is_no_list_of_projects(host: Host, accounts: dict[str, tuple[str | None, str]], repository: str, path: str) -> None:
    status, text = ask(host, accounts["reader"], repository + path)
    assert status == 404
    assert "list of its projects" in text


def test_devpi_itself_knows_only_the_projects_that_were_asked_for(host: Host) -> None:
    """The public index has hundreds of thousands: had its list been fetched, they would be here."""
    program = (
        "import http.client, socket; c = http.client.HTTPConnection('devpi'); c.sock = socket.socket(socket.AF_UNIX);"
        "c.sock.connect('/run/index/devpi.sock'); c.request('GET', '/repository/pypi-public/+simple/', headers={'Accept': 'text/html'});"
        "r = c.getresponse(); print(r.status, r.read().count(b'<a '))"
    )
    status, count = host.check_output(f'docker compose -p {PROJECT} exec -T devpi /opt/index/bin/python -c "{program}"').split()
    assert status == "200"
    assert int(count) < 5000


@pytest.mark.parametrize(
    ("who", "method", "url", "status"),
    [
        ("reader", "POST", f"{HOSTED}/", 403),
        ("nobody", "POST", f"{HOSTED}/", 401),
        ("wrong password", "POST", f"{HOSTED}/", 401),
        ("publisher", "POST", f"{GROUP}/", 404),
        ("publisher", "DELETE", f"{GROUP}/simple/six/", 403),
        ("publisher", "GET", f"{URL}/+api", 404),
        ("publisher", "POST", f"{URL}/+login", 404),
        ("publisher", "GET", f"{URL}/repository/pypi-public/+simple/", 404),
    ],
)
def test_only_a_publisher_uploads_and_devpi_s_own_commands_are_out_of_reach(
    host: Host, accounts: dict[str, tuple[str | None, str]], who: str, method: str, url: str, status: int
) -> None:
    fields = {":action": "file_upload", "name": "x"} if method == "POST" else None
    assert ask(host, accounts[who], url, method, fields)[0] == status


def test_a_wheel_goes_the_whole_circle_with_twine_uv_and_pip(host: Host, accounts: dict[str, tuple[str | None, str]]) -> None:
    version = f"0.{int(time.time())}"
    refused = circle(host, accounts, "reader", "mlops-lab-probe", version)
    assert refused.rc != 0 and "403" in refused.stdout + refused.stderr
    done = circle(host, accounts, "publisher", "mlops-lab-probe", version)
    assert done.rc == 0, done.stderr
    assert f"installed {version}" in done.stdout


def test_a_hosted_name_hides_the_public_one_whatever_its_version(host: Host, accounts: dict[str, tuple[str | None, str]]) -> None:
    """Also one whose page was read just before, and is kept for others."""
    address = f"{GROUP}/simple/{SHADOWED}/"
    assert [ask(host, accounts["reader"], address)[0] for _ in range(2)] == [200, 200]
    version = f"0.0.{int(time.time())}"
    done = circle(host, accounts, "publisher", SHADOWED, version)
    assert done.rc == 0, done.stderr
    page = ask(host, accounts["reader"], address)[1]
    links = [link.partition("#")[0] for link in re.findall(r'href="([^"]+)"', page)]
    assert "pypi-public" not in page and [link for link in links if f"-{version}-" in link]
    assert [ask(host, accounts["reader"], urljoin(address, link), method="HEAD")[0] for link in links] == [200] * len(links)
    assert [ask(host, accounts["nobody"], urljoin(address, link), method="HEAD")[0] for link in links] == [401] * len(links)


def test_a_page_of_the_public_index_is_made_once_for_all_who_ask_in_a_while(host: Host, accounts: dict[str, tuple[str | None, str]]) -> None:
    """And nobody gets it without a login."""
    pages = [ask(host, accounts["reader"], f"{GROUP}/simple/six/") for _ in range(3)]
    assert pages[0][0] == 200 and pages[0] == pages[1] == pages[2]
    kept = f"docker compose -p {PROJECT} exec -T nginx sh -c 'grep -rlw six /tmp/pages | wc -l'"
    assert int(host.check_output(kept)) >= 1
    assert ask(host, accounts["nobody"], f"{GROUP}/simple/six/")[0] == 401


def test_packages_are_there_after_a_restart(host: Host, accounts: dict[str, tuple[str | None, str]]) -> None:
    page = f"{GROUP}/simple/{SHADOWED}/"
    before = ask(host, accounts["reader"], page)
    assert host.run(f"docker compose -p {PROJECT} restart").rc == 0
    for _ in range(240):
        after = ask(host, accounts["reader"], page)
        if after[0] == 200:
            break
        time.sleep(0.5)
    assert after == before
    for service in ("devpi", "nginx"):
        policy = host.check_output(f"docker inspect --format '{{{{.HostConfig.RestartPolicy.Name}}}}' {PROJECT}-{service}-1")
        assert policy == "unless-stopped"


def test_nobody_but_root_reads_the_hashes_and_no_password_is_anywhere(host: Host, accounts: dict[str, tuple[str | None, str]]) -> None:
    folder = "/opt/mlops-lab/package_index"
    for name in ("readers", "publishers"):
        assert host.run(f"setpriv --reuid=nobody --regid=nogroup --clear-groups cat {folder}/nginx/{name}").rc != 0
    passwords = [accounts["reader"][1], accounts["publisher"][1]]
    seen = host.check_output(f"cat {folder}/compose.yml {folder}/nginx/*; docker inspect {PROJECT}-devpi-1 {PROJECT}-nginx-1; ps -eo args")
    seen += host.check_output(f"docker compose -p {PROJECT} logs --no-color 2>&1")
    assert [password for password in passwords if password in seen] == []
