"""What the linter and the harness refuse: a pipeline that a controller would not take, or that would write a credential into a command."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.jenkins.conftest import HERE, Controller

PIPELINE = """\
pipeline {
    agent any
    parameters { string(name: 'WHO', defaultValue: 'you', description: 'Who is greeted') }
    environment { GREETING = "hello ${params.WHO}" }
    stages {
        stage('one') {
            steps {
                withCredentials([usernamePassword(credentialsId: 'nexus', usernameVariable: 'U', passwordVariable: 'P')]) {
                    sh 'echo "$GREETING $U"; test -n "$P"; test ! -e broken'
                }
            }
        }
        stage('two') {
            when { environment name: 'WHO', value: 'me' }
            steps { echo "second" }
        }
    }
    post {
        failure { echo 'it failed' }
        always { script { currentBuild.description = env.GREETING } }
    }
}
"""


def lint(jars: list[Path], *files: Path) -> str:
    """Return what CodeNarc says of some files."""
    path = ":".join(map(str, jars[1:]))
    options = [f"-basedir={files[0].parent}", f"-sourcefiles={','.join(file.name for file in files)}", f"-rulesetfiles=file:{HERE}/codenarc.xml"]
    command = ["java", "-XX:TieredStopAtLevel=1", "-cp", path, "org.codenarc.CodeNarc", *options, "-report=console", "-failOnError=true"]
    return subprocess.run(command, cwd=files[0].parent, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False).stdout


@pytest.mark.lint
def test_codenarc(jars: list[Path], tmp_path: Path) -> None:
    said = lint(jars, ROOT / "Jenkinsfile", ROOT / "Jenkinsfile.publish")
    assert "TotalFiles=2 FilesWithViolations=0 P1=0 P2=0 P3=0" in said, said
    (tmp_path / "Jenkinsfile").write_text("def unused = 1 \nprintln('a');\n", encoding="utf-8")
    assert "UnusedVariable" in lint(jars, tmp_path / "Jenkinsfile"), "the linter finds what there is to find"


@pytest.fixture
def workspace(controller: Controller, tmp_path: Path) -> Path:
    """The workspace of the job `small`."""
    workspace = tmp_path / "small"
    workspace.mkdir()
    (workspace / "Jenkinsfile").write_text(PIPELINE, encoding="utf-8")
    controller.job("small", workspace / "Jenkinsfile", workspace)
    controller.credentials["nexus"] = {"kind": "usernamePassword", "username": "reader", "password": "planted-3c"}
    return workspace


def test_the_language_has_its_meaning(controller: Controller, workspace: Path) -> None:
    build = controller.build("small", WHO="me")
    assert build.result == "SUCCESS" and build.stages == {"one": "SUCCESS", "two": "SUCCESS"}
    assert "hello me reader" in build.console and build.description == "hello me"
    (workspace / "broken").touch()
    build = controller.build("small")
    assert build.result == "FAILURE" and build.stages == {"one": "FAILURE", "two": "SKIPPED"}
    assert "it failed" in build.console and build.description == "hello you"


def test_a_secret_in_the_console_is_masked_and_counted(controller: Controller, workspace: Path) -> None:
    (workspace / "Jenkinsfile").write_text(PIPELINE.replace('test -n "$P"', 'printf "%s" "$P"'), encoding="utf-8")
    build = controller.build("small")
    assert "planted-3c" not in build.console and build.told["masked"] == 2, "once traced by the shell, once printed"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("""sh 'echo "$GREETING $U\"""", 'sh "echo ${params.WHO}', "sh takes a text in single quotes"),
        ('echo "second"', 'echo "second ${env.P}"', "P is a credential, and Groovy would write it into a text"),
        ('steps { echo "second" }', "steps { if (params.WHO) { echo 'second' } }", "only steps stand here; other code belongs into script { }"),
        ("    agent any\n", "", "pipeline { } has no agent"),
        ("    post {\n", "    afterwards {\n", "pipeline { } has no afterwards"),
        ("        failure {", "        broken {", "post { } has no condition broken"),
        ("'nexus'", "'forgotten'", "Could not find credentials entry with ID 'forgotten'"),
        ('echo "second"', "sing 'second'", "No such DSL method 'sing'"),
        (", description: 'Who is greeted'", "", "The parameter WHO has no name or no description"),
    ],
)
def test_what_is_refused(controller: Controller, workspace: Path, old: str, new: str, sentence: str) -> None:
    assert old in PIPELINE
    text = PIPELINE.replace(old, new)
    if new.startswith('sh "'):
        text = text.replace("""; test -n "$P"; test ! -e broken'""", '"')
    (workspace / "Jenkinsfile").write_text(text, encoding="utf-8")
    build = controller.build("small", WHO="me")
    assert build.result == "FAILURE"
    assert sentence in build.console, build.console


def test_a_parameter_that_is_not_declared_is_refused(controller: Controller, workspace: Path) -> None:
    assert "The job small has no parameter WHERE" in controller.build("small", WHERE="here").console
