"""The kernels that JupyterLab offers: one for each environment of the lab, and one for each list of packages in the user's own folder.

They are looked for whenever somebody asks, so that a new environment shows up without a restart.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
LAUNCHER = Path(__file__).with_name("kernel.py")


def kernels() -> dict[str, str]:
    """What can run a notebook: name of a kernel to how it is shown."""
    locks = Path(os.environ.get("LAB_ENVIRONMENT_LOCKS", "/opt/notebooks/environments")).glob("*.lock")
    own = Path(os.environ.get("LAB_OWN_KERNELS", "/opt/notebooks/kernels")).glob("*.in")
    found = {"project": "project (the lab's image)"}
    found |= {path.stem: path.stem for path in sorted(locks) if NAME.fullmatch(path.stem)}
    return found | {f"own.{path.stem}": f"{path.stem} (yours)" for path in sorted(own) if NAME.fullmatch(path.stem)}


class LabKernels(KernelSpecManager):
    """Offers them to JupyterLab."""

    def find_kernel_specs(self) -> dict[str, str]:
        """Name of each kernel to the folder of its pictures; there are none."""
        return dict.fromkeys(kernels(), "")

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """How a kernel is started.

        Raises:
            NoSuchKernel: there is none of that name (any more).
        """
        shown = kernels().get(kernel_name)
        if shown is None:
            raise NoSuchKernel(kernel_name)
        # -I: no module of a notebook's folder takes the place of one of these.
        argv = [sys.executable, "-I", str(LAUNCHER), kernel_name, "{connection_file}"]
        return KernelSpec(argv=argv, display_name=shown, language="python", metadata={"debugger": True})
