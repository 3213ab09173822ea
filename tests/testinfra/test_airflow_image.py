"""The lab's Airflow images of a lab host: two environments that do not mix, a lock that tells the truth, and no credential in any layer."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from urllib.parse import quote

import pytest
from testinfra.host import Host

from tests.conftest import ROOT
from tests.testinfra.test_secrets import MARKER, PATTERN

# Where the control node keeps the lock of the image: molecule/inventory has it beside the report.
LOCKS = Path(os.environ["LAB_REPORT"]).parent if os.environ.get("LAB_REPORT") else ROOT / "locks/lab"


@pytest.fixture(scope="module")
def images(host: Host) -> list[str]:
    """The names of the lab's images, one for each version of Airflow."""
    tags = host.check_output("docker image ls --format '{{.Repository}}:{{.Tag}}' mlops-lab/airflow").split()
    found = [tag for tag in tags if "-" not in tag.rsplit(":", 1)[1]]
    assert found
    return found


def lock_of(image: str) -> Path:
    """Return the directory of the control node with the lock of an image."""
    other = LOCKS / f"airflow-{image.rsplit(':', 1)[1]}"
    return other if other.is_dir() else LOCKS


def in_image(host: Host, image: str, script: str) -> str:
    """Return what a bash script prints in a container of the image that reaches no network."""
    return str(host.check_output(shlex.join(["docker", "run", "--rm", "--network", "none", image, "bash", "-euc", script])))


def pins(text: str) -> dict[str, str]:
    """Return name -> version of what a requirements file pins, or an environment holds."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s\\;]+)", text.lower().replace("_", "-"), re.MULTILINE))


def test_the_two_environments_do_not_mix(host: Host, images: list[str]) -> None:
    """A project's pins can break Airflow only where they meet it."""
    for image in images:
        script = 'uv pip freeze --quiet --python /opt/project/bin/python; echo ===; uv pip freeze --quiet --python "$(command -v python)"'
        project, airflow = (pins(part) for part in in_image(host, image, script).split("==="))
        assert {"mlflow-skinny", "scikit-learn", "wine-cultivars"} <= project.keys()
        assert not {name for name in project if name.startswith("apache-airflow")} and "celery" not in project
        assert airflow["apache-airflow"] == image.rsplit(":", 1)[1]
        assert not {"mlflow-skinny", "scikit-learn", "wine-cultivars"} & airflow.keys()


def test_both_environments_are_complete_and_without_conflict(host: Host, images: list[str]) -> None:
    for image in images:
        in_image(host, image, 'uv pip check --python /opt/project/bin/python && uv pip check --python "$(command -v python)"')


def test_the_control_node_has_the_lock_of_what_is_installed(host: Host, images: list[str]) -> None:
    """Every package of the project's environment stands in it with its version and hashes, and nothing else does."""
    for image in images:
        lock = lock_of(image) / "project.txt"
        text = lock.read_text(encoding="utf-8")
        installed = in_image(host, image, "uv pip freeze --quiet --python /opt/project/bin/python")
        assert pins(text) == pins(installed), f"{image} and {lock}"
        entries = re.split(r"^(?=[a-zA-Z])", text, flags=re.MULTILINE)[1:]
        assert all("--hash=sha256:" in entry for entry in entries)


def test_airflow_s_own_versions_are_those_of_its_base_image(host: Host, images: list[str]) -> None:
    for image in images:
        script = 'uv pip freeze --quiet --python "$(command -v python)"; echo ===; cat ~/constraints.txt'
        installed, constraints = (pins(part) for part in in_image(host, image, script).split("==="))
        assert {name: version for name, version in installed.items() if constraints.get(name, version) != version} == {}


def test_tasks_can_write_where_they_should_and_nowhere_else(host: Host, images: list[str]) -> None:
    script = "touch /opt/airflow/runs/x /opt/airflow/logs/x; for f in /x /etc/x /usr/local/x; do touch $f 2>/dev/null && echo $f is open; done; id -u"
    for image in images:
        assert in_image(host, image, script).splitlines() == ["50000"]


def test_the_project_s_environment_is_compiled_and_whole(host: Host, images: list[str]) -> None:
    """Nothing compiles beside the index's credential, where a package's .pth files lie aside meanwhile."""
    script = "cd /opt/project/lib; find . -name '*.pyc' | wc -l; find . -name '*.aside'; find . -name '*.pyc' -path '*wine_cultivars*' | head -n 1"
    for image in images:
        count, *rest = in_image(host, image, script).splitlines()
        assert int(count) > 2000 and len(rest) == 1 and "wine_cultivars" in rest[0]


def test_pip_in_the_project_s_environment_asks_the_lab_s_index_without_credentials(host: Host, images: list[str]) -> None:
    for image in images:
        settings = in_image(host, image, "cat /opt/project/pip.conf")
        urls = re.findall(r"https?://\S+", settings)
        assert len(urls) == 1 and "@" not in urls[0] and not re.search("extra|trusted", settings)


def test_no_layer_and_no_history_holds_a_credential(host: Host, images: list[str]) -> None:
    """The archive that `docker save` would hand to anybody: manifest, history and every layer, also files that a later layer removes."""
    encoded = re.escape(quote("canary7q-reader@:/%41", safe=""))
    for image in images[:1]:
        done = host.run(f"docker history --no-trunc {image} | grep -aE '{PATTERN}|{encoded}'; docker save {image} | grep -acE '{PATTERN}|{encoded}'")
        assert done.stdout.strip() == "0", f"{MARKER} is in {image}"
