"""The target ``endpoint``: the lab's scoring service, which serves the versions that bear the alias ``live`` or ``candidate`` in MLflow's registry."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import requests
from requests.auth import HTTPBasicAuth

from lab_deployment.target import Deployment, Option, Target
from lab_experiment import pages
from lab_experiment.failures import Failure, Mistakes

LIVE, CANDIDATE = "live", "candidate"
CREDENTIALS = "/run/secrets/models_credentials"
POLL_SECONDS = 0.5


class Endpoint(Target):
    """Makes the version the candidate, lets the service prove it, and then makes it live; the service changes versions without dropping a request."""

    name = "endpoint"
    summary = "The lab's scoring service answers with this version under `/models/<name>/invocations`."
    options: ClassVar[dict[str, Option]] = {
        "name": Option(
            "name under which a model is registered that is not registered yet; for models:/m-..., runs:/ and mlflow-artifacts:/", str, pattern="[^/:@]+"
        ),
        "wait": Option("seconds that the service may take to load the version, without those in which it makes its environment", int, default=300),
    }

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(deployment)
        from lab_deployment import models  # here, because it imports MLflow's client, which Airflow's own environment has not

        self._models = models
        self._server = Server()
        self._client = models.client()
        self._alias = CANDIDATE
        self._former: str | None = None
        self._released = False

    @classmethod
    def check(cls, options: Mapping[str, Any], model: Mapping[str, Any]) -> list[str]:
        """The service answers, and the model has a name or gets one."""
        sentences = []
        if not model["name"] and not options["name"]:
            sentences.append(
                f"target_options lacks 'name', under which {model['uri']} is registered, since the service follows MLflow's registry; allowed: text."
            )
        if model["name"] and options["name"] and options["name"] != model["name"]:
            sentences.append(f"target_options: name has {options['name']!r}, but {model['uri']} is registered as {model['name']!r}; leave it out.")
        if not sentences:
            Server().served()
        return sentences

    def stage(self) -> None:
        """Register the version if need be, and make it the candidate, unless it is live already."""
        from dataclasses import replace

        name, version = self._models.registered(vars(self.model), self.deployment.options["name"])
        self.model = replace(self.model, name=name, version=version)
        self._former = self._bearer(LIVE)
        if self._former == str(version):
            self.deployment.say(f"{name} {version} is live already")
            self._alias = LIVE
        else:
            self._set(CANDIDATE, str(version))
        self._wait(self._alias)

    def predict(self) -> Any:
        """What the service answers for the input example."""
        assert self.model.name
        version, answer = self._server.invoke(self.model.name, self._alias, self.deployment.serving_input)
        if version != str(self.model.version):
            raise self._superseded(version)
        return answer["predictions"]

    def release(self) -> str:
        """Make the candidate live."""
        if self._alias == CANDIDATE:
            if (bearer := self._bearer(CANDIDATE)) != str(self.model.version):
                raise self._superseded(bearer)
            self._released = True
            self._set(LIVE, str(self.model.version))
            self._alias = LIVE
            self._wait(LIVE)
        assert self.model.name
        self.page = f"{pages.models()}/models"
        return f"{self.page}/{quote(self.model.name, safe='')}"

    def confirm(self) -> None:
        """Prove the live version, and drop the candidate."""
        super().confirm()
        self._drop(CANDIDATE)

    def withdraw(self) -> None:
        """Give the alias ``live`` back to the former version, and drop the candidate; what another deployment did meanwhile stays."""
        if self.model.version is None:
            return
        self._drop(CANDIDATE)
        if self._released and self._bearer(LIVE) == str(self.model.version):
            if self._former:
                self._set(LIVE, self._former)
            else:
                self._drop(LIVE)

    def _bearer(self, alias: str) -> str | None:
        """The version that bears an alias."""
        with self._models.asking():
            version = dict(self._client.get_registered_model(self.model.name).aliases).get(alias)
        return None if version is None else str(version)

    def _set(self, alias: str, version: str) -> None:
        self.deployment.say(f"alias {alias} of {self.model.name} goes to version {version}")
        with self._models.asking():
            self._client.set_registered_model_alias(self.model.name, alias, version)

    def _drop(self, alias: str) -> None:
        """Take an alias from our version; not from another one that bears it now."""
        if self._bearer(alias) == str(self.model.version):
            with self._models.asking():
                self._client.delete_registered_model_alias(self.model.name, alias)

    def _wait(self, alias: str) -> None:
        """Wait until the service serves our version under an alias. While it makes an environment, which has an end of its own, no time counts."""
        begun = looked = time.monotonic()
        making = 0.0
        wanted = str(self.model.version)
        seconds = self.deployment.options["wait"]
        while True:
            slot = self._server.slot(str(self.model.name), alias)
            if slot and str(slot.get("version")) == wanted:
                self.deployment.say(f"the service has {self.model.name} {wanted} as {alias} after {time.monotonic() - begun:.1f} s")
                return
            bearer = self._bearer(alias)
            if bearer is not None and bearer != wanted:
                raise self._superseded(bearer)
            if bearer is None:
                raise Failure(f"the alias {alias} of {self.model.name} was taken away while this deployment waited for the service")
            if slot and slot.get("error") and str(slot.get("wanted", wanted)) == wanted:
                raise Failure(f"the service cannot load {self.model.name} {wanted}: {slot['error']}")
            now = time.monotonic()
            if slot and slot.get("making") and str(slot.get("wanted")) == wanted:
                if not making:
                    self.deployment.say(f"the service makes the environment of {self.model.name} {wanted}")
                making += now - looked
            looked = now
            if now - begun - making > seconds:
                raise Failure(f"the service at {self._server.url} did not have {self.model.name} {wanted} as {alias} after {seconds} s (target_options: wait)")
            time.sleep(POLL_SECONDS)

    def _superseded(self, version: str | None) -> Mistakes:
        """Another deployment of the same model came in between: it shall win, so this one is not tried again."""
        return Mistakes(
            [f"{self.model.name} {self.model.version} is not deployed: version {version} was put in its place while this deployment was under way."]
        )


class Server:
    """The scoring service as its clients see it: MLflow's scoring protocol below ``/models/<name>`` and ``/models/<name>@candidate``."""

    def __init__(self) -> None:
        self.url = os.environ.get("LAB_MODELS_URL", "").rstrip("/")
        file = Path(os.environ.get("LAB_MODELS_CREDENTIALS_FILE", CREDENTIALS))
        if not self.url:
            raise Mistakes(["target endpoint: LAB_MODELS_URL is not set in the worker's environment; it must hold the address of the scoring service."])
        try:
            user, _, password = file.read_text(encoding="utf-8").strip().partition(":")
        except OSError as error:
            raise Mistakes([f"target endpoint: {file} cannot be read ({error.strerror}); it must hold user:password of the scoring service."]) from None
        self._login = HTTPBasicAuth(user.encode(), password.encode())  # requests itself would send Latin-1

    def address(self, name: str, alias: str) -> str:
        """The address of a model."""
        return f"{self.url}/models/{quote(name, safe='')}{'' if alias == LIVE else f'@{alias}'}"

    def served(self) -> list[dict[str, Any]]:
        """What is served: ``name``, ``alias``, ``version``, ``wanted``, ``since``, ``error``."""
        return list(self._ask(lambda: requests.get(f"{self.url}/models", auth=self._login, timeout=30)).json()["models"])

    def slot(self, name: str, alias: str) -> dict[str, Any] | None:
        """What is served under a name and an alias."""
        return next((slot for slot in self.served() if (slot["name"], slot["alias"]) == (name, alias)), None)

    def invoke(self, name: str, alias: str, body: str) -> tuple[str | None, dict[str, Any]]:
        """Score; returns the version that answered, and its answer."""
        answer = self._ask(
            lambda: requests.post(
                f"{self.address(name, alias)}/invocations", data=body.encode(), headers={"Content-Type": "application/json"}, auth=self._login, timeout=120
            )
        )
        return answer.headers.get("X-Model-Version"), answer.json()

    def _ask(self, question: Callable[[], requests.Response]) -> requests.Response:
        try:
            answer = question()
        except requests.RequestException as error:
            raise Failure(f"target endpoint: the scoring service at {self.url} does not answer: {type(error).__name__}") from None
        if answer.status_code == 401:
            raise Failure(f"target endpoint: the scoring service at {self.url} refuses user and password in LAB_MODELS_CREDENTIALS_FILE")
        if not answer.ok:
            raise Failure(f"target endpoint: the scoring service answered with {answer.status_code}: {answer.text[:500]}")
        return answer
