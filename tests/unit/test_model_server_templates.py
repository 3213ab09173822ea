"""What the templates of role model_server promise beyond what test_templates.py asks of all roles."""

from __future__ import annotations

from typing import Any

import yaml

from tests.conftest import ROOT
from tests.unit.rendering import COMPOSE_FILES, DOCKERFILES, Case

ROLE = ROOT / "roles" / "model_server"


def models(**values: Any) -> dict[str, Any]:
    """Return the one service."""
    base = next(case for case in COMPOSE_FILES if case.role == "model_server")
    service: dict[str, Any] = yaml.safe_load(Case("", base.role, base.template, {**base.values, **values}).render())["services"]["models"]
    return service


def test_the_service_has_no_rights_and_nothing_to_write_on_but_downloads() -> None:
    service = models()
    assert service["user"] == "50000:0" and service["cap_drop"] == ["ALL"] and service["read_only"] is True
    assert [volume for volume in service["volumes"] if not volume.endswith(":ro")] == ["downloads:/var/lib/models"]


def test_it_is_published_where_it_is_meant_to_be() -> None:
    assert models()["ports"] == ["127.0.0.1:8002:8000"]
    assert models(model_server_bind_address="10.0.0.5", model_server_port=80)["ports"] == ["10.0.0.5:80:8000"]


def test_an_option_of_the_user_counts_whatever_is_in_it() -> None:
    environment = models(model_server_environment={"OMP_NUM_THREADS": 2, "LAB_MODELS_POLL": '"5" $HOME: #'})["environment"]
    assert environment["OMP_NUM_THREADS"] == "2" and environment["LAB_MODELS_POLL"] == '"5" $$HOME: #'  # Compose takes two dollars for one
    assert environment["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"


def test_a_changed_password_makes_the_container_again() -> None:
    digests = [models(**values)["labels"]["lab.mlops.files"] for values in ({}, {"model_server_password": "x"}, {"model_server_mlflow_password": "x"})]
    assert len(set(digests)) == 3 and digests[0] == models()["labels"]["lab.mlops.files"]


def test_the_image_holds_every_file_of_the_application_and_none_can_be_changed_by_who_runs_it() -> None:
    context = yaml.safe_load((ROLE / "tasks" / "build.yml").read_text())[0]["mlops.lab.image_build"]["files"]
    assert context.keys() - {"requirements.txt"} == {path.name for path in (ROLE / "files" / "model_server").glob("*.py")}
    text = next(case for case in DOCKERFILES if case.role == "model_server").render()
    before, _, after = text.partition("USER 50000:0")
    assert "COPY" in before and "COPY" not in after and "--chown" not in text
    assert after.index("ENTRYPOINT") > 0
