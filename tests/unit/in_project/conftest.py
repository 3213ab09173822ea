"""These tests import what an experiment imports, so they run in the project's environment: ``test_in_project.py`` beside this folder starts them there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "dags"))

collect_ignore_glob = [] if importlib.util.find_spec("sklearn") else ["test_*.py"]
