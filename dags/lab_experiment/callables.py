"""The callables an experiment file names: found, their arguments checked, called, and their failures told in the package's own words."""

from __future__ import annotations

import bdb
import difflib
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lab_experiment import commands, configurations, returns, storable
from lab_experiment.failures import Failure, Stopped

Function = Callable[..., Any]

HERE = f"the environment of {sys.executable}"
"""How sentences call this environment."""

_out: int | None = None


def say_to(descriptor: int) -> None:
    """Have :func:`say` write there from now on, whatever a package makes of ``sys.stdout``."""
    global _out
    _out = descriptor


def say(line: str) -> None:
    """Print a line of the lab's own, below what a package printed before."""
    if _out is None:
        print(line, flush=True)
        return
    flush()
    os.write(_out, f"{line}\n".encode("utf-8", "backslashreplace"))


def flush() -> None:
    """Have all printed that a package printed, if it left the streams as they were."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()


def check(
    calls: Sequence[tuple[str, str, Mapping[str, Any]]],
    scorers: Sequence[tuple[str, str]],
    modules: Sequence[tuple[str, str, str]],
    results: Mapping[str, Any],
    at: Callable[[str], None],
) -> list[tuple[str, str]]:
    """Import every callable, hold the arguments given against those it takes, and what is made of its result against what it says of it.

    Args:
        calls: Key, ``package.module:function`` and arguments of each.
        scorers: Key and name of each scorer that is asked for.
        modules: Key, name and purpose of each module that the lab needs here.
        results: What is expected of results; the arguments of :func:`lab_experiment.returns.mistakes` but the first.
        at: Is told what is imported next, for an import may end the process.

    Returns:
        The mistakes: a package, module or function is not there, an argument is unknown or missing, a result cannot be what it is taken for, there is no such
        scorer. Of each the key, and the sentence.
    """
    found: list[tuple[str, str]] = []
    locked = _locked()
    functions: dict[str, tuple[str, Function]] = {}
    for key, call, arguments in calls:
        at(f"{key}.call has {call!r}, and importing {call.partition(':')[0]}")
        try:
            _refuse_others(call, locked)
            function: Any = load(call)
            _refuse_borrowed(function)
            if arguments:
                function = commands.behind(function)
            functions[key] = call, function.callback if arguments and commands.is_command(function) else function
            found += [(where, f"{key}{words}") for where, words in _unfit(key, call, function, arguments)]
            found += [] if commands.is_command(function) else configurations.unfit(f"{key}.with", function, arguments)
        except LookupError as error:
            found.append((f"{key}.call", f"{key}.call has {call!r}; {error.args[0]}."))
    found += returns.mistakes(functions, **results)
    found += [(key, f"{key}: {HERE} has no module {module!r}, {words}.") for key, module, words in modules if not importlib.util.find_spec(module)]
    return [*found, *_unknown_scorers(scorers)]


OURS = "allowed: functions of the packages in the requirement lists, and of what those depend on"


def _locked() -> set[str] | None:
    """The distributions in the lock of this environment; None if it was not made from one."""
    lock = next((path for path in (Path(sys.prefix, "project.txt"), Path(sys.prefix, "requirements.txt")) if path.is_file()), None)
    if lock is None:
        return None
    found = re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    return {_normalised(name) for name in found}


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _refuse_others(call: str, locked: set[str] | None) -> None:
    """Refuse what comes from no package of the requirement lists, before it is imported.

    Raises:
        LookupError: It is Python's own, the lab's, or installed beside the lock.
    """
    name = call.partition(":")[0].partition(".")[0]
    if name in sys.stdlib_module_names:
        raise LookupError(f"{name} is a part of Python itself; {OURS}")
    try:
        found = importlib.util.find_spec(name)
    except ValueError:  # a module that says nothing of where it came from
        return
    if found and found.origin and Path(found.origin).resolve().is_relative_to(Path(__file__).resolve().parents[1]):
        raise LookupError(f"{name} is a part of the lab; {OURS}")
    if found and locked is not None:
        owners = importlib.metadata.packages_distributions().get(name, [])
        if not locked.intersection(map(_normalised, owners)):
            raise LookupError(f"{name} is of {' and '.join(sorted(set(owners))) or 'no package'}, which is not in the lock of this environment; {OURS}")


def _refuse_borrowed(function: Function) -> None:
    """Refuse what a package merely imported from Python's own library (``from subprocess import getoutput``).

    Raises:
        LookupError: It is.
    """
    home = str(getattr(function, "__module__", None) or "")
    if not (inspect.isroutine(function) or inspect.isclass(function)) or home.partition(".")[0] not in sys.stdlib_module_names:
        return
    there: Any = sys.modules.get(home)
    for name in getattr(function, "__qualname__", "").split("."):
        there = getattr(there, name, None)
    if getattr(there, "__func__", there) is getattr(function, "__func__", function):  # what Python's library makes for others may say that it is of there, too
        raise LookupError(f"it is {getattr(function, '__name__', 'a function')} of {home}, a part of Python itself; {OURS}")


def _unknown_scorers(wanted: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Scorers that scikit-learn does not have: key and sentence."""
    if not wanted:
        return
    try:
        from sklearn.metrics import get_scorer_names  # only where a scorer is named: its import takes a second
    except ImportError:
        yield wanted[0][0], f"{wanted[0][0]} has {wanted[0][1]!r}; {HERE} has no module 'sklearn', which scoring needs."
        return
    names = get_scorer_names()
    for key, name in wanted:
        if name not in names:
            like = difflib.get_close_matches(name, names, 5, 0.5)
            yield key, f"{key} has {name!r}; allowed: scikit-learn's scorers, such as {', '.join(like or ['accuracy', 'f1_macro', 'r2'])}."


def packages(modules: Sequence[str]) -> str:
    """The distributions that modules come from, ``name==version``, separated by blanks."""
    by_module = importlib.metadata.packages_distributions()
    names = sorted({name for module in modules for name in by_module.get(module, [])})
    return " ".join(f"{name}=={importlib.metadata.version(name)}" for name in names)


def installed() -> list[str]:
    """All distributions of this environment, ``name==version``, sorted."""
    found = ((distribution.metadata["Name"], distribution.version) for distribution in importlib.metadata.distributions())
    return sorted({f"{name.lower()}=={version}" for name, version in found if name})


def load(call: str) -> Function:
    """Import ``package.module:function``, or ``package.module:Class.method``.

    Raises:
        LookupError: It is not there, or its import fails (whose traceback is then printed); the message says which.
    """
    module_name, _, function_name = call.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise LookupError(f"{HERE} has no module {error.name!r}; allowed: what is installed there") from None
        tell(error)
        raise LookupError(f"importing {module_name} failed: it needs the module {error.name!r}, which is not installed") from None
    except Stopped:
        raise
    except SystemExit as error:
        raise LookupError(
            f'importing {module_name} {ended(error)}, as a script does; allowed: modules that do so only below `if __name__ == "__main__":`'
        ) from None
    except BaseException as error:
        tell(error)
        raise LookupError(f"importing {module_name} failed with {storable.raised(error)}{_hint(error)}") from None
    owner, _, method = function_name.rpartition(".")
    holder: Any = module
    for name in filter(None, owner.split(".")):
        holder = getattr(holder, name, None)
        if not inspect.isclass(holder):
            raise LookupError(f"the module {module_name} has no class {owner}; {_there(module, owner)}")
    function = getattr(holder, method, None)
    if not callable(function):
        what = "has no such function" if function is None else "holds something there that cannot be called"
        raise LookupError(f"{f'the class {owner}' if owner else f'the module {module_name}'} {what}; {_there(holder, method)}")
    return function  # type: ignore[no-any-return]


def _there(module: Any, wanted: str) -> str:
    """The functions and classes of a package that a module or a class has, in words; of many those with a name like the one wanted."""
    package = getattr(module, "__module__", module.__name__).partition(".")[0]
    values = ((name, getattr(module, name, None)) for name in vars(module))
    own = {name for name, value in values if callable(value) and str(getattr(value, "__module__", "")).partition(".")[0] == package}
    names = sorted(name for name in own if not name.startswith("_"))
    if len(names) > 12:
        names = difflib.get_close_matches(wanted, names, 5, 0.4)
        return f"it has many others, such as {', '.join(names)}" if names else "it has many others, none with such a name"
    return f"its functions are {', '.join(names) or 'none'}"


def call(key: str, name: str, arguments: Mapping[str, Any]) -> Any:
    """Call ``package.module:function`` with arguments, and say so; a coroutine is awaited.

    Raises:
        LookupError: It is not there, or its import fails.
        Failure: It raised something. The package's traceback is printed, without the frames of this module; the message names the callable, its arguments
            and the exception.
    """
    say(f"[{key}] {name}({shown_arguments(arguments)})")
    result = None
    function = load(name)
    with telling(key, name, arguments):
        result = invoke(name, function, arguments)
    return result


def invoke(name: str, function: Function, arguments: Mapping[str, Any]) -> Any:
    """Call a function; what can be awaited is awaited.

    Raises:
        Failure: It is an asynchronous generator.
    """
    function, arguments = _bound(name, function, arguments)
    if arguments:  # a command line without any reads its own, which is empty
        function = commands.behind(function)
    if arguments and commands.is_command(function):
        result = commands.run(function, arguments)
    else:
        result = function(**{**commands.defaults(function, arguments), **configurations.built(function, arguments)})
    if inspect.isasyncgen(result):
        raise Failure(f"{name} {ASYNC_GENERATOR}")
    if inspect.isawaitable(result):
        import asyncio  # only where it is needed: its import is a third of what this process needs to start

        return asyncio.run(_awaited(result))
    return result


def _bound(name: str, function: Function, arguments: Mapping[str, Any]) -> tuple[Function, Mapping[str, Any]]:
    """A method of the object that is its argument ``self``, which may be of a class derived from the one named, and the others; else both as they are."""
    owner, _, method = name.partition(":")[2].rpartition(".")
    if not owner or "self" not in arguments:
        return function, arguments
    rest = {argument: value for argument, value in arguments.items() if argument != "self"}
    return getattr(arguments["self"], method, None) or functools.partial(function, arguments["self"]), rest


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


ASYNC_GENERATOR = "is an asynchronous generator (async def with yield); allowed: def, async def without yield, and for search.objective def with yield"


@contextmanager
def telling(key: str, name: str, arguments: Mapping[str, Any]) -> Iterator[None]:
    """Tell what a callable does instead of returning. Ending with exit code 0, as command lines do, is a return (of nothing).

    Raises:
        Failure: It raised something, or ended with another exit code.
    """
    try:
        yield
    except (Failure, Stopped):
        raise
    except BaseException as error:
        if type(error).__name__ == "TrialPruned":  # Optuna's word for a trial that is given up is no failure
            raise
        if isinstance(error, SystemExit) and error.code in (None, 0):
            return
        tell(error)
        raise Failure(f"{key}: {name}({shown_arguments(arguments)}) {ended(error)}", final=comes_again(error, name)) from None


LASTING = (ValueError, TypeError, LookupError, AttributeError, NameError, AssertionError, ArithmeticError, ImportError, SyntaxError, NotImplementedError)
"""What is raised for what code or its data are, wherever it is raised: the next try would raise it again."""


def comes_again(error: BaseException, call: str) -> bool:
    """Whether trying again is of no use after an exception of a package's function.

    It is of use after whatever the network, a disk, the memory or another process may have to do with, be it only what was being handled when the exception was
    raised, and after an exception of a library that nobody here knows.

    Args:
        error: The exception.
        call: The function, ``package.module:function``; exceptions that its package raises, or that are of a class of its own, come again.
    """
    if _passing(error):
        return False
    if isinstance(error, LASTING):
        return True
    package = call.partition(":")[0].partition(".")[0]
    frames = list(traceback.walk_tb(error.__traceback__))
    by = {type(error).__module__.partition(".")[0]} | ({str(frames[-1][0].f_globals.get("__name__")).partition(".")[0]} if frames else set())
    return isinstance(error, Exception) and (package in by or bool(_hint(error)))


def _passing(error: BaseException, seen: tuple[BaseException, ...] = ()) -> bool:
    """Whether an exception, or one that it came of, may be gone at the next try."""
    if isinstance(error, (OSError, MemoryError)) and not (seen and isinstance(error, FileNotFoundError)):  # what looks for a cache finds none, and goes on
        return True
    above = [error.__cause__, None if error.__suppress_context__ else error.__context__, *getattr(error, "exceptions", ())]
    return any(_passing(one, (*seen, error)) for one in above if isinstance(one, BaseException) and one not in seen)


def ended(error: BaseException) -> str:
    """What somebody did who raised this, in words."""
    if isinstance(error, SystemExit):
        known = isinstance(error.code, int | None)
        return f"ended with {f'exit code {error.code or 0}' if known else f'the words {storable.short(error.code, 2000)}'} (sys.exit)"
    return f"raised {storable.raised(error)}{_hint(error)}"


def _hint(error: BaseException) -> str:
    if isinstance(error, EOFError) and "reading a line" in str(error):
        return "; it asks for something to be typed in, but a task has no terminal"
    if isinstance(error, bdb.BdbQuit):
        return "it stops in a debugger, but a task has no terminal: take out breakpoint() or pdb.set_trace()"
    return ""


def shown_arguments(arguments: Mapping[str, Any]) -> str:
    """Arguments as a message shows them; of what is neither text, number nor collection only the type."""
    plain = (str, int, float, type(None), list, dict, tuple)
    return ", ".join(f"{name}={storable.short(value) if isinstance(value, plain) else f'<{type(value).__name__}>'}" for name, value in arguments.items())


@contextmanager
def told_as(beginning: str, first_line: bool = False, call: str = "") -> Iterator[None]:
    """Turn whatever is raised within into one sentence, below its own traceback.

    Args:
        beginning: What the sentence begins with; the exception's type and words follow.
        first_line: Leave out all but the first line of its words.
        call: The function of a package that does it, if one does; trying again is then of no use after what :func:`comes_again`.

    Raises:
        Failure: Something was raised. A failure is passed on as it is.
    """
    try:
        yield
    except (Failure, Stopped):
        raise
    except (Exception, SystemExit) as error:
        tell(error)
        raise Failure(f"{beginning} {storable.raised(error, first_line)}{_hint(error)}", final=bool(call) and comes_again(error, call)) from None


def tell(error: BaseException) -> None:
    """Print an exception's traceback from the first frame that is neither this project's nor the import machinery's; none of an end by ``sys.exit``."""
    if isinstance(error, SystemExit):
        return
    frames = error.__traceback__
    while frames and _ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    say(storable.text("".join(traceback.format_exception(type(error), error, frames)).rstrip("\n"), 100_000))


def _ours(file: str) -> bool:
    return file == importlib.__file__ or file.startswith("<frozen importlib") or Path(file).parent == Path(__file__).parent


def _unfit(key: str, name: str, function: Function, arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What does not fit between a function and the arguments given: the key where it is said, and the end of a sentence."""
    if commands.is_command(function):
        names, needed = commands.parameters(function)
        unknown, missing, allowed = [one for one in arguments if one not in names], [one for one in needed if one not in arguments], ", ".join(names) or "none"
        return _unfitting(key, name, unknown, missing, allowed)
    try:
        parameters = _parameters(function)
    except (ValueError, TypeError):  # some functions written in C do not tell
        return []
    by_name = [parameter for parameter in parameters if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)]
    allowed = ", ".join(parameter.name for parameter in by_name) or "none"
    takes_any = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters)
    taken = {parameter.name for parameter in by_name}
    unknown = [] if takes_any else [argument for argument in arguments if argument not in taken]
    missing = [parameter.name for parameter in by_name if not commands.has_default(parameter) and parameter.name not in arguments]
    return [
        *_unfitting(key, name, unknown, missing, allowed),
        *((f"{key}.call", f".call has {name!r}, which {words}.") for words in _unawaited(key, function)),
        *(
            (f"{key}.call", f".call has {name!r}, whose argument {parameter.name!r} cannot be given by name; allowed: functions that take arguments by name.")
            for parameter in parameters
            if parameter.kind == parameter.POSITIONAL_ONLY and parameter.default is parameter.empty
        ),
    ]


def _parameters(function: Function) -> list[inspect.Parameter]:
    """What a function takes. Of a decorator's wrapper it is what that itself names, and where it takes any argument what the function within it takes besides.

    Most of those that take any (``*args, **kwargs``) pass on what they are given, so what the function within needs is missed; one that gives it that argument
    itself has to say so, in a ``__signature__`` or by naming what it takes.

    Raises:
        ValueError: It does not tell.
        TypeError: So does this.
    """
    within = inspect.signature(function).parameters
    try:
        own = inspect.signature(function, follow_wrapped=False).parameters
    except (ValueError, TypeError):  # a wrapper in C, as functools.lru_cache makes it
        return [*within.values()]
    if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in own.values()):
        return [*own.values()]
    named = {name: parameter for name, parameter in own.items() if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)}
    return [*{**within, **named}.values()]


def _unfitting(key: str, name: str, unknown: Sequence[str], missing: Sequence[str], allowed: str) -> list[tuple[str, str]]:
    """Arguments that a function does not have, and those that it lacks."""
    return [
        *((f"{key}.with.{argument}", f".with has {argument!r}, which is no argument of {name}; allowed: {allowed}.") for argument in unknown),
        *((f"{key}.with", f".with lacks {argument!r}, which {name} needs{_object_of(name, argument)}; its arguments are {allowed}.") for argument in missing),
    ]


def _object_of(name: str, argument: str) -> str:
    """What a method's first argument is, in words."""
    owner, _, _ = name.partition(":")[2].rpartition(".")
    return f" (an object of {owner}, which a step can make)" if owner and argument == "self" else ""


def _unawaited(key: str, function: Function) -> Iterator[str]:
    """What is wrong with a function that gives its result in another way than by returning it."""
    if inspect.isasyncgenfunction(function):
        yield ASYNC_GENERATOR
    elif inspect.isgeneratorfunction(function) and key != "search.objective" and not key.startswith("steps."):
        yield "is a generator (def with yield); allowed here: functions that return their result"
