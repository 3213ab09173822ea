"""Three projects whose exact pins contradict each other, each a wheel of one module with an experiment that searches, trains and registers."""

from __future__ import annotations

import zipfile
from pathlib import Path

PINS = {
    "anna": ["numpy==1.26.4", "mlflow-skinny==2.20.4", "scikit-learn==1.5.2"],
    "ben": ["numpy==2.3.5", "mlflow-skinny==3.4.0", "scikit-learn==1.7.2"],
    "carla": ["numpy", "mlflow-skinny==3.17.2", "scikit-learn"],
}
"""The third one takes what is newest."""

SOURCE = """
import importlib.metadata, os
import numpy as np, pandas as pd
from sklearn.linear_model import Ridge

class Model(Ridge):
    "Of the project, so that nothing loads it where the project is not."

def data(seed):
    x = pd.DataFrame(np.random.default_rng(seed).normal(size=(60, 3)), columns=["a", "b", "c"])
    return x, x.to_numpy() @ [1.0, 2.0, 3.0]

def make(alpha):
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "mlflow-skinny", "scikit-learn")}
    print("VERSIONS", versions, "SECRETS", [name for name in os.environ if "INDEX" in name])
    return Model(alpha=alpha)
"""

EXPERIMENT = """
environment: {name}
search: {{objective: cross_validation, space: {{alpha: {{type: float, low: 0.01, high: 1.0}}}}, trials: 2, parallel: 1, direction: maximize}}
cross_validation:
  estimator: {{call: "{name}:make", with: {{alpha: "{{{{ params.alpha }}}}"}}}}
  data: {{call: "{name}:data", with: {{seed: 1}}}}
  splitter: {{name: k_fold, folds: 2}}
  scoring: [r2]
train: {{}}
register: {{name: {name}}}
"""


def wheel(folder: Path, name: str, requires: list[str], source: str = SOURCE, version: str = "1.0") -> Path:
    """Write a wheel with one module; the same one each time, byte by byte, for an index takes no other file of its name."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {line}" for line in requires)]
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": "\n".join(lines) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for place, text in files.items():
            archive.writestr(zipfile.ZipInfo(place), text)
    return path
