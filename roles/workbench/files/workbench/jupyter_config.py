"""JupyterLab's settings; the image has them, and nothing that runs in a notebook can change them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from workbench.kernelspecs import LabKernels

c = get_config()  # type: ignore[name-defined] # noqa: F821

# An empty token would mean that nobody is asked for one.
token = Path(os.environ["LAB_TOKEN_FILE"]).read_text(encoding="utf-8").strip()
if not token:
    sys.exit("The workbench's password is empty.")
c.IdentityProvider.token = token

c.ServerApp.ip = os.environ.get("LAB_WORKBENCH_HOST", "0.0.0.0")
c.ServerApp.port = int(os.environ.get("LAB_WORKBENCH_PORT", "8888"))
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
c.ServerApp.root_dir = os.environ.get("LAB_NOTEBOOKS", "/opt/notebooks")
c.ServerApp.quit_button = False
c.ServerApp.kernel_spec_manager_class = LabKernels
c.MultiKernelManager.default_kernel_name = "project"
# Making an environment for the first time takes its time.
c.MappingKernelManager.kernel_info_timeout = 3600
c.FileContentsManager.delete_to_trash = False

# Nothing here asks a public server, or installs anything beside the lab's index.
c.LabApp.extension_manager = "readonly"
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
