"""What a package may do to its own process, and what comes of it: a sentence, and the lab's process goes on."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import lab_environments
from lab_experiment import checking, folders, output
from lab_experiment.failures import Failure, Mistakes
from lab_experiment.package import Package

Make = Callable[..., Package]


@pytest.fixture
def theirs(package: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A function that writes the package ``theirs``, and gives a process whose objective is ``theirs:f``."""
    made: list[Package] = []

    def make(source: str, steps: Sequence[dict[str, Any]] = ()) -> Package:
        monkeypatch.setenv("PYTHONPATH", str(package(source)))
        run = {"mlflow_run_id": "r", "experiment_id": "e", "search_run_id": "s"}
        document = {"inputs": {}, "steps": list(steps), "search": {"objective": {"call": "theirs:f", "with": {}}, "direction": ["minimize"]}}
        made.append(Package(lambda: {"document": document, "folder": str(tmp_path / "run"), "run": run}))
        return made[-1]

    yield make
    for one in made:
        one.close()


def value(process: Package) -> Any:
    """The value of the objective."""
    (number,) = process.ask("objective", params={})
    return number


SENTENCES = {
    "input()": r"raised EOFError: EOF when reading a line; it asks for something to be typed in, but a task has no terminal",
    "__import__('getpass').getpass()": r"raised EOFError",
    "breakpoint()": r"raised BdbQuit: it stops in a debugger, but a task has no terminal",
    "sys.exit(2)": r"ended with exit code 2 \(sys\.exit\)",
    "sys.exit('no table')": r"ended with the words 'no table' \(sys\.exit\)",
    "os._exit(0)": r"ended its process with exit code 0 \(os\._exit or the like\) instead of returning",
    "os._exit(3)": r"ended its process with exit code 3 \(os\._exit or the like\) instead of returning",
    "os.kill(os.getpid(), 9)": r"did not return: its process was ended by SIGKILL, by itself, or by the system because there was no memory left",
    "os.kill(0, 9)": r"its process was ended by SIGKILL",
    "__import__('ctypes').string_at(0)": r"its process was ended by SIGSEGV, as when a library crashes",
    "os.closerange(3, 64) or time.sleep(0)": r"ended its process with exit code|closed the files of its process",
    "(_ for _ in ()).throw(KeyboardInterrupt('enough'))": r"raised KeyboardInterrupt: enough",
    "argparse.ArgumentParser().parse_args(['--no-such'])": r"ended with exit code 2 \(sys\.exit\)",
    "click.command()(click.argument('file')(lambda file: None))()": r"ended with exit code 2 \(sys\.exit\)",
}


@pytest.mark.parametrize("code", SENTENCES)
def test_what_does_not_return_is_a_sentence_and_the_next_call_is_made(theirs: Make, code: str, tmp_path: Path) -> None:
    mark = tmp_path / "once"
    source = "import argparse, click, os, pathlib, sys, time\ndef f():\n"
    source += f"    if os.path.exists({str(mark)!r}): return 7\n    pathlib.Path({str(mark)!r}).touch()\n    {code}\n"
    process = theirs(source)
    begun = time.monotonic()
    with pytest.raises(Failure, match=rf"^search\.objective: theirs:f(\(\))? .*{SENTENCES[code]}"):
        value(process)
    assert time.monotonic() - begun < 30
    assert value(process) == 7, "the next trial is evaluated"


RETURNS = {
    "def f(): return sys.argv[1:] or 7": 7,
    "async def f():\n    import asyncio\n    await asyncio.sleep(0)\n    return 7": 7,
    "def f():\n    async def g(): return 7\n    return g()": 7,
    "def f():\n    p = argparse.ArgumentParser(); p.add_argument('--rounds', type=int, default=7)\n    return p.parse_args().rounds": 7,
    "def f():\n    sys.stdout.close(); sys.stderr.close()\n    return 7": 7,
    "def f():\n    os.environ.clear(); os.chdir('/'); signal.signal(15, signal.SIG_IGN); warnings.simplefilter('error'); return 7": 7,
    "def f():\n    if os.fork() == 0: time.sleep(1)\n    return os.getpid() > 1 and 7": 7,
    "def f():\n    if os.fork() == 0: sys.exit(0)\n    return 7": 7,
}


@pytest.mark.parametrize("source", RETURNS)
def test_what_returns_gives_its_value(theirs: Make, source: str) -> None:
    assert value(theirs(f"import argparse, os, signal, sys, time, warnings\n{source}\n")) == RETURNS[source]


NO_NUMBER = {
    "sys.exit()": "None",
    "sys.exit(0)": "None",
    "return [1, 2.5]": r"\[1, 2\.5\]",
    "return object": "<class 'object'>",
}


@pytest.mark.parametrize("code", NO_NUMBER)
def test_an_objective_that_returns_no_number_is_a_sentence(theirs: Make, code: str) -> None:
    with pytest.raises(Failure, match=rf"^search\.objective: theirs:f returned {NO_NUMBER[code]}; allowed is a number$"):
        value(theirs(f"import sys\ndef f(): {code}\n"))


STEPS = {"sys.exit()": None, "sys.exit(0)": None, "sys.exit(4)": r"ended with exit code 4 \(sys\.exit\)", "os._exit(0)": "ended its process with exit code 0"}


FILES = """
import pathlib
def step():
    pathlib.Path("out").mkdir(exist_ok=True)
    pathlib.Path("out/a.txt").write_text("1")
    pathlib.Path("large").write_bytes(bytes(2**24 + 1))
    return "out/a.txt"
def f(file):
    model = pathlib.Path("out/model.txt")
    found = int(pathlib.Path(file).read_text()) + 10 * model.exists() + (pathlib.Path("large").stat().st_size < 2**24)
    model.write_text("")
    pathlib.Path(file).write_text("5")
    return found
"""


def test_a_file_that_a_step_wrote_by_a_relative_path_is_found_and_tasks_side_by_side_have_their_own(
    package: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(package(FILES)))
    objective = {"call": "theirs:f", "with": {"file": "{{ steps.first }}"}}
    document = {"inputs": {}, "steps": [{"name": "first", "call": "theirs:step", "with": {}}], "search": {"objective": objective, "direction": ["minimize"]}}
    folder = tmp_path / "run"

    def task(apart: str) -> list[float]:
        run = {"mlflow_run_id": "r", "experiment_id": "e", "search_run_id": "s"}
        with closing(Package(lambda: {"document": document, "folder": str(folder), "run": run, "apart": apart})) as process:
            return [process.ask("objective", params={})[0] for _ in range(2)]

    assert task("searcher-1") == [1, 15], "which did the step; a trial finds what the one before it wrote"
    assert task("searcher-2") == [1, 15], "nothing of the first one's"
    assert task("searcher-1") == [15, 15], "another try goes on where the first was"
    assert sorted(path.name for path in folder.rglob("*") if folders.KEPT not in path.parts) == ["a.txt", "large", "out"]
    assert task("") == [1, 15]
    assert {path.name for path in (folder / folders.KEPT / "searcher-2").rglob("*") if path.is_symlink()} == {"large"}


AWAY = """
import sys, types
sys.modules["mlflow"] = types.SimpleNamespace(active_run=lambda: None, get_tracking_uri=lambda: "http://me:secret@away:5000")
def f(): raise LookupError("no experiment, and MLFLOW_EXPERIMENT_ID is 3")
"""


def test_another_address_of_mlflow_is_named_where_its_experiment_is_missing(theirs: Make) -> None:
    words = r"MLFLOW_EXPERIMENT_ID is 3.*; the package set MLflow's address to http://\*\*\*@away:5000, where the lab's experiment is not: let it call"
    with pytest.raises(Failure, match=words):
        value(theirs(AWAY))
    with pytest.raises(Failure, match=words):
        theirs(AWAY, steps=[{"name": "first", "call": "theirs:f", "with": {}}]).ask("steps")


AGAIN = {
    "return 1 / 0": True,
    "return [][3]": True,
    "return thiny": True,
    "return json.loads('{')": True,
    "raise Theirs('no such table')": True,
    "raise RuntimeError('no such table')": True,
    "raise Exception('no such table')": True,
    "raise ConnectionResetError": False,
    "raise TimeoutError": False,
    "return open('/nowhere')": False,
    "return bytearray(2**60)": False,
    "raise IncompleteRead(b'')": True,  # of a library, but raised here
    "return executor.submit(os._exit, 1).result()": False,
    "sys.exit(1)": False,
    "os._exit(1)": False,
    "try: raise ConnectionError\n    except OSError: raise ValueError": False,
    "try: raise ConnectionError\n    except OSError as error: raise Theirs from error": False,
    "try: open('/nowhere')\n    except OSError: return 1 / 0": True,
    "raise ExceptionGroup('several', [ValueError(), TimeoutError()])": False,
}
"""Whether trying again is of no use."""


@pytest.mark.parametrize("code", AGAIN)
def test_what_a_package_raises_for_what_it_is_is_not_tried_again(theirs: Make, code: str) -> None:
    head = "import concurrent.futures, json, os, sys\nfrom http.client import IncompleteRead\nclass Theirs(Exception): ...\n"
    executor = "concurrent.futures.ProcessPoolExecutor(1)"
    process = theirs(f"{head}def f():\n    {code.replace('executor', executor)}\n", steps=[{"name": "first", "call": "theirs:f", "with": {}}])
    with pytest.raises(Failure) as caught:
        process.ask("steps")
    assert caught.value.final == AGAIN[code], caught.value


@pytest.mark.parametrize("code", STEPS)
def test_a_step_that_exits_with_0_is_done_and_with_another_code_is_a_sentence(theirs: Make, code: str) -> None:
    process = theirs(f"import os, sys\ndef f(): {code}\n", steps=[{"name": "first", "call": "theirs:f", "with": {}}])
    if STEPS[code] is None:
        assert process.ask("steps") == ["first"]
    else:
        with pytest.raises(Failure, match=rf"^steps\.first: theirs:f(\(\))? {STEPS[code]}"):
            process.ask("steps")


def test_an_asynchronous_generator_is_refused(theirs: Make) -> None:
    with pytest.raises(Failure, match=r"theirs:f is an asynchronous generator \(async def with yield\); allowed: def, async def without yield"):
        value(theirs("async def f():\n    yield 1\n"))


def test_the_lab_keeps_its_own_process_as_it_is(theirs: Make) -> None:
    def state() -> Any:
        return dict(os.environ), os.getcwd(), signal.getsignal(signal.SIGTERM), socket.getdefaulttimeout(), list(warnings.filters), list(sys.argv)

    process = theirs(
        "import os, signal, socket, sys, warnings\n"
        "os.environ.update(MLFLOW_TRACKING_URI='sqlite:////nowhere', HTTP_PROXY='http://127.0.0.1:9', HOME='/nowhere', NO_PROXY='')\n"
        "warnings.simplefilter('error'); socket.setdefaulttimeout(0.001); os.chdir('/')\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsys.argv[:] = ['theirs']\ndef f(): return 1\n"
    )
    before = state()
    assert value(process) == 1
    assert state() == before
    assert "theirs" not in sys.modules


def test_a_package_is_imported_once_for_all_trials(theirs: Make, tmp_path: Path) -> None:
    process = theirs(f"open({str(tmp_path / 'imported')!r}, 'a').write('x')\ncount = 0\ndef f():\n    global count; count += 1; return count\n")
    begun = time.monotonic()
    assert [value(process) for _ in range(200)] == list(range(1, 201))
    assert time.monotonic() - begun < 60
    assert (tmp_path / "imported").read_text() == "x"


LEFT = {
    "a child": ("subprocess.Popen(['sleep', '600'])", "sleep 600 (process "),
    "a grandchild in a session of its own": ("subprocess.Popen(['sh', '-c', 'setsid sleep 601 & exit 0'])", "sleep 601 (process "),
    "a copy made by fork": ("os.fork() or time.sleep(600)", "(process "),
    "a process of multiprocessing": ("multiprocessing.get_context('fork').Process(target=time.sleep, args=(600,)).start()", "(process "),
    "a child that ignores SIGTERM": ("subprocess.Popen(['sh', '-c', \"trap '' TERM; while :; do sleep 1; done\"])", "sh -c (process "),
    "a thread": ("threading.Thread(target=time.sleep, args=(600,), name='counting').start()", "thread counting"),
    "an exit handler that does not end": ("atexit.register(time.sleep, 600)", "exit handlers (atexit)"),
}


@pytest.mark.parametrize("kind", LEFT)
def test_what_is_left_running_ends_with_the_task_and_is_named(theirs: Make, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    code, named = LEFT[kind]
    process = theirs(f"import atexit, multiprocessing, os, subprocess, threading, time\ndef f():\n    {code}\n    return 1\n")
    assert value(process) == 1
    begun = time.monotonic()
    process.close()
    assert time.monotonic() - begun < 25
    said = capsys.readouterr().out
    assert "[package] left running, and ended now: " in said and named in said
    assert not [number for number in re.findall(r"\(process (\d+)\)", said) if Path("/proc", number).exists()]


def test_what_ends_in_order_is_not_named(theirs: Make, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab_experiment.package.FINISH", 120.0)  # a busy machine
    process = theirs(
        "import atexit, concurrent.futures, pathlib, threading, time\n"
        f"atexit.register(pathlib.Path({str(tmp_path / 'ended')!r}).touch)\n"
        "pool = concurrent.futures.ThreadPoolExecutor(2)\n"
        "def f():\n    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n    return pool.submit(int, 3).result()\n"
    )
    assert value(process) == 3
    process.close()
    assert "left running" not in capsys.readouterr().out
    assert (tmp_path / "ended").exists(), "exit handlers are run"


IMPORTS = {
    "import sys\nif len(sys.argv) < 2: sys.exit('usage: theirs FILE')": (
        "importing theirs ended with the words 'usage: theirs FILE' (sys.exit), as a script does; allowed: modules that do so only below `if __name__"
    ),
    "import argparse\np = argparse.ArgumentParser(); p.add_argument('file'); p.parse_args()": "importing theirs ended with exit code 2 (sys.exit)",
    "raise KeyboardInterrupt('no')": "importing theirs failed with KeyboardInterrupt: no",
    "class Odd(BaseException): pass\nraise Odd('no')": "importing theirs failed with Odd: no",
    "name = input()": "importing theirs failed with EOFError: EOF when reading a line; it asks for something to be typed in",
    "import os; os.closerange(0, 3); raise SystemExit": "importing theirs ended with exit code 0 (sys.exit), as a script does",
    "async def f():\n    yield 1": "which is an asynchronous generator (async def with yield); allowed: def, async def",
    "def f():\n    yield 1": "which is a generator (def with yield); allowed here: functions that return their result",
}
TRAINING: dict[str, Any] = {
    "queues": {},
    **dict.fromkeys(("search", "cross_validation", "register", "deploy")),
    "steps": [],
    "train": {"call": "theirs:f", "with": {}},
}


def check(package: Package) -> None:
    """Look at the training of a package."""
    checking.check(TRAINING, "x.yml", {}, lab_environments.project(), package)


@pytest.mark.parametrize("source", IMPORTS)
def test_check_says_what_is_wrong_with_a_module(theirs: Make, source: str) -> None:
    with pytest.raises(Mistakes) as raised:
        check(theirs(source))
    [sentence] = raised.value.sentences
    assert sentence.startswith("x.yml: train.call has 'theirs:f'") and IMPORTS[source] in sentence


def test_check_takes_async_def_and_modules_with_a_script_below_name_is_main(theirs: Make) -> None:
    source = "async def f(): return 1\nif __name__ == '__main__': raise SystemExit(2)\n"
    check(theirs(source))


def test_a_module_that_ends_the_process_when_imported_is_named(theirs: Make) -> None:
    with pytest.raises(Failure, match=r"^x\.yml: train\.call has 'theirs:f', and importing theirs ended its process with exit code 3"):
        check(theirs("import os\nos._exit(3)\n"))


def test_output_is_shown_before_the_answer_in_the_order_it_was_printed(theirs: Make, capsys: pytest.CaptureFixture[str]) -> None:
    process = theirs(
        "import os, sys\ndef f():\n    print('one'); os.system('echo two >&2'); sys.stderr.write('three'); sys.stdout.buffer.write(bytes([255, 0])); return 1\n"
    )
    value(process)
    process.close()
    assert capsys.readouterr().out.splitlines() == ["one", "two", "three\\xff\\x00"]


def test_much_output_and_a_progress_bar_of_one_line_are_bounded_in_the_log(theirs: Make, capsys: pytest.CaptureFixture[str]) -> None:
    process = theirs(
        "import sys\ndef f():\n    for number in range(50_000): sys.stderr.write(f'\\r{number / 500:.0f}%|' + '#' * 90)\n"
        "    sys.stderr.write('\\n')\n    for _ in range(100): print('x' * 2**20)\n    print('the end'); return 1\n"
    )
    assert value(process) == 1
    process.close()
    said = capsys.readouterr().out
    assert len(said) < output.MOST + 2 * output.LAST
    lines = said.splitlines()
    assert lines[-1] == "the end" and max(map(len, lines)) <= output.LONGEST
    assert sum(line.endswith("#" * 90) for line in lines) < 20 and any(line.startswith("100%|#") for line in lines)
    assert "[output] the package has printed 10 MB" in said and "of what the package printed are left out here" in said


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock."""
    return Clock()


def test_a_progress_bar_is_its_last_state_every_few_seconds(clock: Clock) -> None:
    shown: list[str] = []
    lines = output.Lines(shown.append, clock)
    for percent in range(101):
        clock.now += 0.1
        lines.add(f"\r{percent}%|{'#' * 60}|".encode())
    lines.add(b"\ndone\r\n")
    assert [line.partition("%")[0] for line in shown] == ["50", "100", "done"]


def test_bars_below_one_another_are_a_line_every_few_seconds(clock: Clock) -> None:
    shown: list[str] = []
    lines = output.Lines(shown.append, clock)
    for number in range(1000):
        clock.now += 0.1
        lines.add(f"\n\rinner {number}\x1b[A\router {number // 100}".encode())
    lines.add(b"\nthe end\n")
    assert len(shown) <= 100 / output.EVERY + 3
    assert shown[-1] == "the end" and "\x1b" not in "".join(shown)


def test_a_line_that_was_begun_is_shown_though_it_does_not_end(clock: Clock) -> None:
    shown: list[str] = []
    lines = output.Lines(shown.append, clock)
    lines.add(b"loading ...")
    clock.now += 6
    lines.tick()
    assert shown == ["loading ..."]
    lines.add(b" done\n")
    assert shown == ["loading ...", " done"]


def test_endless_output_is_bounded_and_what_is_left_out_is_said() -> None:
    shown: list[str] = []
    lines = output.Lines(shown.append)
    for _ in range(1600):
        lines.add(b"x" * 2**16)
    lines.add(b"\nlast words\n")
    lines.end()
    assert max(map(len, shown)) <= output.LONGEST
    first = len(shown)
    lines.add(b"x\n" * 10**6)  # of a process that was started again
    lines.end()
    assert sum(map(len, shown[first:])) <= output.LAST + output.LONGEST
    del shown[first:]
    assert sum(map(len, shown)) < output.MOST + 2 * output.LAST
    assert shown[-1] == "last words"
    assert any(
        line.startswith("[output] 89.9 MB of what the package printed are left out here: a log holds the first 10 MB and the last 64 KB") for line in shown
    )
