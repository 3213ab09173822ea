"""What the templates of role model_server promise beyond what test_templates.py asks of all roles."""

from __future__ import annotations

import json
from typing import Any

import yaml

from tests.conftest import ROOT
from tests.unit.rendering import COMPOSE_FILES, DOCKERFILES, Case

ROLE = ROOT / "roles" / "model_server"


def project(**values: Any) -> dict[str, Any]:
    """Return the compose file."""
    base = next(case for case in COMPOSE_FILES if case.role == "model_server")
    found: dict[str, Any] = yaml.safe_load(Case("", base.role, base.template, {**base.values, **values}).render())
    return found


def models(**values: Any) -> dict[str, Any]:
    """Return the front's service."""
    service: dict[str, Any] = project(**values)["services"]["models"]
    return service


def test_no_service_has_rights_or_more_to_write_on_than_it_needs() -> None:
    services = project()["services"]
    writable = {"models": ["downloads:/var/lib/models"], "runner": ["sockets:/run/models"]}
    assert services.keys() == writable.keys()
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"] and "cap_add" not in service and service["read_only"] is True and "privileged" not in service
        assert [volume for volume in service["volumes"] if not volume.endswith(":ro")] == writable[name]


def test_models_run_as_another_user_without_any_secret_and_the_front_reaches_their_sockets() -> None:
    front, runner = (project()["services"][name] for name in ("models", "runner"))
    assert (front["user"], runner["user"], front["group_add"]) == ("50000:0", "50001:50001", ["50001"])
    assert front["secrets"] and "secrets" not in runner
    assert runner["environment"] == {"LAB_MODELS_ENVIRONMENT": "{}"}
    text = next(case for case in DOCKERFILES if case.role == "model_server").render()
    assert "useradd --uid 50001 --gid 50001" in text and "install -d -o models -g models -m 0770 /run/models" in text


def test_what_models_find_in_their_environment_is_theirs_alone() -> None:
    services = project(model_server_models_environment={"OMP_NUM_THREADS": 2, "WORDS": '"$x"'})["services"]
    assert json.loads(services["runner"]["environment"]["LAB_MODELS_ENVIRONMENT"].replace("$$", "$")) == {"OMP_NUM_THREADS": "2", "WORDS": '"$x"'}
    assert "OMP_NUM_THREADS" not in services["models"]["environment"]


def test_environments_are_seen_in_the_volume_of_the_service_that_makes_them() -> None:
    found = project(model_server_environments_volume="lab-b-environments")
    assert found["volumes"]["environments"] == {"external": True, "name": "lab-b-environments"}
    assert all("environments:/opt/environments:ro" in service["volumes"] for service in found["services"].values())


def test_it_is_published_where_it_is_meant_to_be() -> None:
    assert models()["ports"] == ["127.0.0.1:8002:8000"]
    assert models(model_server_bind_address="10.0.0.5", model_server_port=80)["ports"] == ["10.0.0.5:80:8000"]


def test_an_option_of_the_user_counts_whatever_is_in_it() -> None:
    environment = models(model_server_environment={"OMP_NUM_THREADS": 2, "LAB_MODELS_POLL": '"5" $HOME: #'})["environment"]
    assert environment["OMP_NUM_THREADS"] == "2" and environment["LAB_MODELS_POLL"] == '"5" $$HOME: #'  # Compose takes two dollars for one
    assert environment["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"


def test_the_image_holds_every_file_of_the_application_and_none_can_be_changed_by_who_runs_it() -> None:
    context = yaml.safe_load((ROLE / "tasks" / "build.yml").read_text())[0]["mlops.lab.image_build"]["files"]
    assert context.keys() - {"requirements.txt"} == {path.name for path in (ROLE / "files" / "model_server").glob("*.py")}
    text = next(case for case in DOCKERFILES if case.role == "model_server").render()
    before, _, after = text.partition("USER 50000:0")
    assert "COPY" in before and "COPY" not in after and "--chown" not in text
    assert after.index("ENTRYPOINT") > 0
