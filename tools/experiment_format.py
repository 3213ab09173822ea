"""The format of an experiment file: which keys it has, what each says, what it may be, and what holds when it is left out.

This is the only place where that is written. ``make docs`` makes of it the schema that editors read and that files are checked by
(``dags/lab_experiment/schema.json``, which has the defaults too), and the tables of keys in ``dags/README.md``. What holds between keys (an order, a reference
that cannot be met) is code, in ``dags/lab_experiment/document.py``. Nothing imports this module where experiments run, since pydantic may be missing there,
or be one that a package has pinned.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

sys.path.append(str(Path(__file__).resolve().parent.parent / "dags"))
from lab_experiment.document import MOST_TRIALS, NAME


class Also:
    """Keywords that the schema has beside those of the type; of a mapping, entries beside those that it has."""

    def __init__(self, **keywords: Any) -> None:
        self.keywords = keywords

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The type's schema with the keywords."""
        made = handler(schema)
        return {**made, **{word: {**made.get(word, {}), **value} if isinstance(value, dict) else value for word, value in self.keywords.items()}}


def says(allowed: str) -> Also:
    """What the sentence for a mistake says is allowed."""
    return Also(errorMessage=f"allowed: {allowed}")


class Named:
    """A mapping with a name and options, or the name alone.

    Args:
        options: How the sentence for a mistake calls the options.
        alone: The names that need no options; all of them, if none is given.
        otherwise: The name that a mapping without one has; it belongs to the first kind.
    """

    def __init__(self, options: str, *alone: str, otherwise: str | None = None) -> None:
        self.options, self.alone, self.otherwise = options, alone, otherwise

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Takes a name for a mapping with this name."""

        def mapping(given: Any) -> Any:
            return {"name": given} if isinstance(given, str) else {"name": self.otherwise, **given} if self.otherwise and isinstance(given, dict) else given

        return core_schema.no_info_before_validator_function(mapping, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema of the name alone and that of the mapping."""
        mapping = handler(schema)
        names = self.alone or tuple(mapping["properties"]["name"]["enum"])
        if self.otherwise:
            del mapping["required"], mapping["allOf"][0]["if"]["required"]
        shown = [name for name in names if name != self.otherwise]
        message = {"errorMessage": f"allowed: {', '.join(shown)}, or a mapping with name and {self.options}"}
        name = {"enum": list(names), **(message if self.alone else {})}
        either = [{"if": {"type": "string"}, "then": name}, {"if": {"type": "object"}, "then": mapping}]
        return {"type": ["string", "object"], "examples": shown, "allOf": either, **message}


def key(description: str | None = None, default: Any = ..., otherwise: str = "") -> Any:
    """A key of the file.

    Args:
        description: What it says; the words of its class, if none are given.
        default: What it is when it is left out: no value for a key that must be there, None where there is nothing to fill in.
        otherwise: In words, what holds when it is left out and no default says it.
    """
    value = f"`{default}`" if isinstance(default, str) else str(default).lower() if isinstance(default, int) else ""
    said = "; ".join(words for words in (value, otherwise) if words)
    return Field(default, description=f"{description} Default: {said}." if said else description)


class Part(BaseModel):
    """A mapping with keys that are known."""

    model_config = ConfigDict(extra="forbid", alias_generator=lambda name: name.rstrip("_"), regex_engine="python-re")


END = r"$(?!\n)"
"""The end of a pattern: Python's `$` alone takes a line break, too."""

Text = Annotated[str, Field(pattern=r"\S", max_length=4000), says("a text of at most 4000 characters")]
Label = Annotated[str, Field(pattern=r"^[^\n]*[^\s][^\n]*$", max_length=250), says("a text of one line, of at most 250 characters")]
Identifier = Annotated[
    str, Field(pattern=rf"^[A-Za-z_][A-Za-z0-9_]{{0,99}}{END}"), says("a name of at most 100 letters, digits and _, not beginning with a digit")
]
Dotted = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"
Function = Annotated[str, Field(pattern=rf"^{Dotted}:{Dotted}{END}"), says("package.module:function, or package.module:Class.method")]
Argument = Annotated[str, Field(pattern=rf"^[^\W\d]\w{{0,99}}{END}"), says("the name of an argument")]
Arguments = Annotated[dict[Argument, Any] | None, says("the arguments as name: value")]
Queue = Annotated[str, Field(pattern=rf"^[A-Za-z0-9_.-]{{1,100}}{END}"), says("the name of a queue, of letters, digits, ., - and _")]
Whole = Annotated[int, says("a whole number")]
Count = Annotated[int, Field(ge=1), says("a whole number of at least 1")]
FromZero = Annotated[int, Field(ge=0), says("a whole number of at least 0")]
FromTwo = Annotated[int, Field(ge=2), says("a whole number of at least 2")]
Number = Annotated[float, says("a number")]
Positive = Annotated[float, Field(gt=0), says("a number above 0")]
NotNegative = Annotated[float, Field(ge=0), says("a number of at least 0")]
Flag = Annotated[bool, says("true or false")]
Seed = Annotated[Annotated[int, Field(ge=0, le=4294967295)] | None, says("a whole number from 0 to 4294967295")]
Scorer = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
Scoring = Annotated[
    Scorer | Annotated[list[Annotated[Scorer, says("the name of a scorer of scikit-learn, such as accuracy, f1_macro, r2")]], Field(min_length=1)],
    Also(uniqueItems=True),
    says("names of scikit-learn's scorers, each once, such as [accuracy, f1_macro]"),
]
Direction = Literal["maximize", "minimize"]

ARGUMENTS = "The function's arguments, `name: value`. A value may hold references such as `{{ run_dir }}`, `{{ inputs.name }}`, `{{ steps.prepare.train }}`."
OF_THE_FILE = "that of the file"


class Call(Part):
    """A function and its arguments."""

    call: Function = key("The function, `package.module:function`; or `package.module:Class.method`, whose argument `self` is the object.")
    with_: Arguments = key(ARGUMENTS, None)


class Step(Part):
    """Something that is done before anything is trained."""

    name: Annotated[str, Field(pattern=rf"^[a-z][a-z0-9_]{{0,99}}{END}"), says("a small letter, then small letters, digits and _")] = key(
        "What references call it: `{{ steps.name }}`."
    )
    call: Function = key("The function, `package.module:function`; or `package.module:Class.method`, whose argument `self` is the object.")
    with_: Arguments = key(ARGUMENTS, None)
    after: Annotated[list[Annotated[str, says("the name of a step")]], Also(uniqueItems=True), says("a list of names of steps, each once; [] for none")] = key(
        "The steps that must be done before; `[]` for none.", None, "the step written before this one"
    )


class Objective(Part):
    """A function whose value is searched for, or which logs it; or the training itself."""

    call: Function = key("The function; see `search.objective`.", None, "none: the training and its evaluation")
    with_: Arguments = key(ARGUMENTS, None)
    metric: Label = key("The number that counts, by its name in what is returned or logged to MLflow.", None, "none: what the function returns counts")


When = Annotated[
    dict[str, Annotated[Annotated[list[Any], Field(min_length=1)] | str | float | bool | None, says("a value of that parameter, or a list of them")]],
    Field(min_length=1),
    says("the name of a parameter written above, and its values, such as {kernel: [rbf]}"),
]
WHEN = "The parameter exists only in trials in which another one, written above it, has one of these values: `{kernel: [rbf, poly]}`."
LOG = "Whether small values are tried as often as great ones."


class Int(Part):
    """A parameter whose values are whole numbers."""

    type: Literal["int"] = key("The kind of its values.")
    low: Whole = key("The least value.")
    high: Whole = key("The greatest value.")
    step: Count = key("The distance between values.", 1)
    log: Flag = key(LOG, False)
    when: When = key(WHEN, None)


class Float(Part):
    """A parameter whose values are numbers."""

    type: Literal["float"] = key("The kind of its values.")
    low: Number = key("The least value.")
    high: Number = key("The greatest value.")
    step: Positive = key("The distance between values.", None, "none: any value")
    log: Flag = key(LOG, False)
    when: When = key(WHEN, None)


class Categorical(Part):
    """A parameter whose values are listed."""

    type: Literal["categorical"] = key("The kind of its values.")
    choices: Annotated[
        list[Annotated[str | float | bool | None, says("a text, a number, true, false or null")]],
        Field(min_length=1),
        Also(uniqueItems=True),
        says("a list of at least one value, each once"),
    ] = key("The values.")
    when: When = key(WHEN, None)


Parameter = Annotated[
    Int | Float | Categorical,
    Field(discriminator="type"),
    Also(properties={name: {} for name in ("low", "high", "step", "log", "choices", "when")}),  # for the sentence when `type` is missing
]


class Tpe(Part):
    """Optuna's TPESampler."""

    name: Literal["tpe"] = key("The sampler.")
    n_startup_trials: FromZero = key("Random trials at the beginning.", None, "10")
    n_ei_candidates: Count = key("Candidates that are compared for each trial.", None, "24")
    multivariate: Flag = key("Whether parameters are chosen together.", None)
    group: Flag = key("Whether conditional parameters are chosen in groups (with multivariate).", None)
    constant_liar: Flag = key("Whether trials that are running are counted as bad, so that parallel trials differ.", None, "true with parallel tasks")


class RandomOrGrid(Part):
    """Optuna's RandomSampler, or each point of a grid once."""

    name: Literal["random", "grid"] = key("The sampler.")


class Cmaes(Part):
    """Optuna's CmaEsSampler."""

    name: Literal["cmaes"] = key("The sampler.")
    sigma0: Positive = key("The first standard deviation.", None)
    n_startup_trials: FromZero = key("Random trials at the beginning.", None, "1")
    popsize: FromTwo = key("Trials of one generation.", None)
    consider_pruned_trials: Flag = key(default=None)
    use_separable_cma: Flag = key(default=None)
    with_margin: Flag = key(default=None)
    lr_adapt: Flag = key(default=None)


class Gp(Part):
    """Optuna's GPSampler."""

    name: Literal["gp"] = key("The sampler.")
    n_startup_trials: FromZero = key("Random trials at the beginning.", None, "10")
    deterministic_objective: Flag = key("Whether the same parameters always give the same value.", None)


Sampler = Annotated[Tpe | RandomOrGrid | Cmaes | Gp, Field(discriminator="name"), Named("the sampler's options")]

WARMUP = "Intermediate values before a trial is given up."


class NoPruner(Part):
    """No trial is given up."""

    name: Literal["none"] = key("The pruner.")


class Median(Part):
    """Optuna's MedianPruner."""

    name: Literal["median"] = key("The pruner.")
    n_startup_trials: FromZero = key("Trials before any is given up.", None, "5")
    n_warmup_steps: FromZero = key(WARMUP, None, "0")
    interval_steps: Count = key(default=None)
    n_min_trials: Count = key(default=None)


class Percentile(Part):
    """Optuna's PercentilePruner."""

    percentile: Annotated[float, Field(ge=0, le=100), says("a number from 0 to 100")] = key("Trials outside of this best share are given up.")
    name: Literal["percentile"] = key("The pruner.")
    n_startup_trials: FromZero = key("Trials before any is given up.", None, "5")
    n_warmup_steps: FromZero = key(WARMUP, None, "0")
    interval_steps: Count = key(default=None)
    n_min_trials: Count = key(default=None)


Resource = Annotated[Annotated[str, Field(pattern="^auto$")] | Annotated[int, Field(ge=1)], says("auto, or a whole number of at least 1")]


class Hyperband(Part):
    """Optuna's HyperbandPruner."""

    name: Literal["hyperband"] = key("The pruner.")
    min_resource: Count = key(default=None)
    max_resource: Resource = key(default=None)
    reduction_factor: FromTwo = key(default=None)
    bootstrap_count: FromZero = key(default=None)


class SuccessiveHalving(Part):
    """Optuna's SuccessiveHalvingPruner."""

    name: Literal["successive_halving"] = key("The pruner.")
    min_resource: Resource = key(default=None)
    reduction_factor: FromTwo = key(default=None)
    min_early_stopping_rate: FromZero = key(default=None)
    bootstrap_count: FromZero = key(default=None)


class Threshold(Part):
    """Optuna's ThresholdPruner."""

    name: Literal["threshold"] = key("The pruner.")
    lower: Number = key("Trials with an intermediate value below are given up.", None)
    upper: Number = key("Trials with an intermediate value above are given up.", None)
    n_warmup_steps: FromZero = key(WARMUP, None, "0")
    interval_steps: Count = key(default=None)


class Patient(Part):
    """Optuna's PatientPruner."""

    patience: FromZero = key("Intermediate values without improvement before a trial is given up.")
    name: Literal["patient"] = key("The pruner.")
    min_delta: NotNegative = key("What counts as an improvement.", None, "0")
    wrapped: Pruner = key("Another pruner, asked after the patience.", "none")


Pruner = Annotated[
    NoPruner | Median | Percentile | Hyperband | SuccessiveHalving | Threshold | Patient,
    Field(discriminator="name"),
    Named("the pruner's options, such as {name: percentile, percentile: 25}", "none", "median", "hyperband", "successive_halving"),
]

OBJECTIVES = says("cross_validation, or a mapping with the keys call, with, metric")
DIRECTIONS = says("maximize, minimize, or a list of these with one for each objective")


class Search(Part):
    """The search for the best parameters, by Optuna."""

    objective: Annotated[Annotated[Literal["cross_validation"], OBJECTIVES] | Objective, Also(examples=["cross_validation"]), OBJECTIVES] = key(
        "`call` and `with`: what is called with each trial's parameters and returns a number, or a list of numbers (several objectives); of a generator the "
        "values it yields are intermediate ones, and the last one counts. With `metric` as well: the number of that name in what is "
        'returned, as `auc` in `(model, {"auc": 0.91})`; where there is none, the last value of that metric in the run that the function starts in MLflow (of '
        "several runs the latest that has it; runs nested in one of them do not count). With `metric` alone: each trial trains as `train` says, with its "
        "parameters, and the metric of that name counts which `train.evaluate`, or the training beside its model, returns or logs. "
        "Or `cross_validation`: the mean of its first scorer, with the folds as intermediate values."
    )
    space: Annotated[dict[Identifier, Parameter], Field(min_length=1), says("at least one parameter as name: {type: int, low: 1, high: 9}")] = key(
        "The parameters and what values they may have, `name: {type: ...}`. Used as `{{ params.name }}`."
    )
    direction: Annotated[Direction | Annotated[list[Direction], Field(min_length=1), DIRECTIONS], Also(examples=["maximize", "minimize"]), DIRECTIONS] = key(
        "`maximize` or `minimize`; a list for several objectives.", "maximize"
    )
    sampler: Sampler = key(
        "How the next parameters are chosen: a name, or a mapping with `name` and options of Optuna's sampler; `gp` needs `torch` among the requirements.",
        "tpe",
    )
    pruner: Pruner = key(
        "Which trials are given up early, by their intermediate values: a name, or a mapping with `name` and options of Optuna's pruner.", "none"
    )
    trials: Count = key(f"How many trials are made, at most {MOST_TRIALS}.", 20, "of a grid, all its points")
    timeout: Annotated[Annotated[float, Field(gt=0)] | None, says("a number of seconds above 0")] = key(
        "Seconds after which no new trial is begun.", None, "none"
    )
    parallel: Annotated[int, Field(ge=1, le=64), says("a whole number from 1 to 64")] = key("How many tasks search at the same time.", 2)
    seed: Seed = key("Seed of the sampler.", None, "none")
    allowed_failures: FromZero = key("How many trials may fail before the search does.", 3)
    queue: Queue = key("The queue of the workers that search.", None, OF_THE_FILE)


SEED = "Seed of the shuffling (scikit-learn's random_state)."
STANDARD: dict[str, Any] = {"name": "auto", "folds": 5, "shuffle": True, "seed": 0}
"""The splitter when the file names none; its folds and its seed are those of every splitter."""


class Folds(Part):
    """What all splitters have."""

    name: str = key("The splitter.")
    folds: FromTwo = key("Number of folds (scikit-learn's n_splits).", None, f"{STANDARD['folds']}")
    n_splits: FromTwo = key("scikit-learn's name of `folds`.", None)


class Shuffled(Folds):
    """What splitters have that may shuffle."""

    shuffle: Flag = key("Whether rows are shuffled before.", None, "true when a seed is given")
    seed: Seed = key(SEED, None, f"{STANDARD['seed']} when shuffled")
    random_state: Seed = key("scikit-learn's name of `seed`.", None)


class KFold(Shuffled):
    """Folds of rows."""

    name: Literal["auto", "k_fold", "stratified_k_fold"] = key("The splitter.", None, f"`{STANDARD['name']}`, which is stratified for classifiers")


class GroupKFold(Folds):
    """Folds of whole groups."""

    name: Literal["group_k_fold"] = key("The splitter.")


class StratifiedGroupKFold(Shuffled):
    """Folds of whole groups, stratified."""

    name: Literal["stratified_group_k_fold"] = key("The splitter.")


class TimeSeries(Folds):
    """Folds that are tested on later rows than they are trained on."""

    name: Literal["time_series"] = key("The splitter.")
    max_train_size: Count = key("Greatest number of rows to train on.", None)
    test_size: Count = key("Number of rows to test on.", None)
    gap: FromZero = key("Rows left out between the two.", None, "0")


class Repeated(Folds):
    """Folds that are made several times."""

    name: Literal["repeated_k_fold", "repeated_stratified_k_fold"] = key("The splitter.")
    repeats: Count = key("How often (scikit-learn's n_repeats).", None, "10")
    n_repeats: Count = key("scikit-learn's name of `repeats`.", None)
    seed: Seed = key(SEED, None, f"{STANDARD['seed']}")
    random_state: Seed = key("scikit-learn's name of `seed`.", None)


Splitter = Annotated[
    KFold | GroupKFold | StratifiedGroupKFold | TimeSeries | Repeated, Field(discriminator="name"), Named("options", otherwise=STANDARD["name"])
]


class CrossValidation(Part):
    """Cross-validation with scikit-learn's splitters and scorers: with the best parameters, and, as `objective: cross_validation`, of each trial."""

    estimator: Call = key("`call` and `with`: what returns a new object with `fit` and `predict`.")
    data: Call = key("`call` and `with`: what returns `(X, y)` or `(X, y, groups)`.")
    splitter: Splitter = key(
        "How the folds are made: a name, or a mapping with `name` and options.",
        STANDARD,
        f"{STANDARD['folds']} folds, shuffled, seed {STANDARD['seed']}; stratified for classifiers",
    )
    scoring: Scoring = key(
        "scikit-learn's scorers, one or a list; the first one is what a search maximizes.", None, "`accuracy` for classifiers, `r2` for regressors"
    )
    bad_folds: Literal["error", "skip"] = key(
        "What becomes of a fold that raises, or whose score is NaN or infinite (a class that is not in it, say): `error` ends the cross-validation with a "
        "sentence that names fold and scorer, `skip` leaves it out of mean and deviation and says so in the log.",
        "error",
    )
    queue: Queue = key("The queue of the worker that cross-validates.", None, OF_THE_FILE)


class Evaluate(Part):
    """The evaluation on held-back data: by a call that returns metrics, by data and scikit-learn's scorers, or by both."""

    call: Function = key("What returns a number, or a mapping, a dataclass or a NamedTuple of them; `{{ model }}` is the model.", None)
    with_: Arguments = key(ARGUMENTS, None)
    plots: Annotated[
        list[
            Annotated[
                str,
                Field(pattern=r"\.([pP][nN][gG]|[jJ][pP][eE]?[gG]|[sS][vV][gG]|[wW][eE][bB][pP]|[pP][dD][fF]|[hH][tT][mM][lL])$"),
                says("the path of a file that ends in one of .png, .jpg, .jpeg, .svg, .webp, .pdf, .html"),
            ]
        ],
        says("a list of files that the evaluation writes"),
    ] = key("Pictures that the call writes and MLflow shall keep.", [])
    data: Call = key("`call` and `with`: what returns the held-back `(X, y)`; pictures are made on it.", None)
    scoring: Scoring = key("scikit-learn's scorers, by which the model is measured on `data`.", None, "`accuracy` for classifiers, `r2` for regressors")


class Train(Part):
    """The final training, with the best parameters, and its evaluation."""

    call: Function = key(
        "The training. It returns the model, alone or with numbers in a tuple, a mapping, a NamedTuple or a dataclass; the path of a `.joblib`, `.pkl` or "
        "`.pickle` file that it wrote; a `models:/` or `runs:/` address; or nothing, "
        "when it logs a model to MLflow itself: its run is found, and its model taken.",
        None,
        "the estimator of `cross_validation`, fitted on its data",
    )
    with_: Arguments = key(ARGUMENTS, None)
    input_example: Annotated[str, Field(pattern=r"\{\{.*\}\}"), says("a reference to a table, for instance {{ steps.prepare.train }}")] = key(
        "A reference to a table (CSV, Parquet, frame, array) whose first rows become the model's input example and signature.",
        None,
        "the X of `cross_validation.data`",
    )
    predict: Literal["predict", "predict_proba"] = key(
        "The method of the model that answers where it is served, and scores files: `predict`, or `predict_proba` for the probabilities of a classifier.",
        "predict",
    )
    evaluate: Evaluate = key(default=None)
    queue: Queue = key("The queue of the worker that trains.", None, OF_THE_FILE)


class Track(Part):
    """Where and under what the run is found in MLflow."""

    experiment: Label = key("MLflow's experiment.", None, "the name of the file")
    run_name: Label = key("Name of the run.", None, "MLflow's own")
    tags: Annotated[
        dict[
            Annotated[str, Field(pattern=rf"^[\w./ -]+{END}"), says("a tag's name: letters, digits, blanks and . / _ -")],
            Annotated[str | float | bool, says("a text, a number, true or false")],
        ],
        says("tags as name: value"),
    ] = key("Tags of the run, `name: value`.", {})


class Champion(Part):
    """The version gets the alias `champion` only when it is better than the present champion on the same held-back data."""

    metric: Text = key("The metric of `train.evaluate` that counts.")
    direction: Direction = key("Whether a greater value of it is better.", "maximize")
    margin: NotNegative = key("By more than how much it must be better.", 0)


class Register(Part):
    """The model's entry in MLflow's registry."""

    name: Annotated[str, Field(pattern=rf"^[A-Za-z0-9][A-Za-z0-9 ._-]*{END}"), says("letters, digits, blanks and . _ -, beginning with a letter or digit")] = (
        key("Name of the registered model.")
    )
    description: Text = key("Description of the version.", None)
    champion: Champion = key(default=None)


class Deploy(Part):
    """What the DAG `deploy` does with the model when the training ends."""

    target: Annotated[
        str,
        Field(pattern="^[a-z][a-z0-9_]*$"),
        Also(examples=["endpoint", "object_store", "batch"]),
        says("the name of a target, such as endpoint, object_store, batch"),
    ] = key("Where to: `endpoint`, `object_store`, `batch`, or a target of your own.")
    options: Annotated[dict[str, Any], says("the target's options as name: value")] = key("The target's options.", {})
    when: Annotated[Literal["always", "champion"], says("always, champion")] = key(
        "Which models are deployed: `always`, or `champion`: only one that became the champion.", None, "`champion` with `register.champion`, else `always`"
    )


class Experiment(Part):
    """experiments/<name>.yml: what is done with an installed package's functions: searched, cross-validated, trained, tracked, registered and deployed."""

    description: Text = key("What the experiment is for; one sentence.", None)
    environment: Annotated[str, Field(pattern=rf"^{NAME}{END}"), says("project, or the name of a file in environments/ without .in")] = key(
        "The Python environment of the functions: the name of a file in `environments/` without `.in`, or of a folder; `project` is the one in the image.",
        "project",
    )
    queue: Queue = key("The queue of the workers that do the steps, the search, the cross-validation and the training.", None, "`default`")
    inputs: Annotated[dict[Identifier, Any], says("name: value, the value being what is taken when the trigger sets none")] = key(
        "What the trigger may set, `name: value`, with the values that hold when it does not. Used as `{{ inputs.name }}`.", {}
    )
    steps: Annotated[list[Step], says("a list of steps, each with name, call and with")] = key(
        "What is done before anything is trained, in this order, or as a graph by `after`.", []
    )
    search: Search = key(default=None)
    cross_validation: CrossValidation = key(default=None)
    train: Train = key(default=None)
    track: Track = key(default=None)
    register_: Register = key(default=None)
    deploy: Deploy = key(default=None)
