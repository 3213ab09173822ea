"""Start the server: ``python -m model_server``; ``--check`` only says whether this environment can run it.

It is set up by the environment: MLflow's own variables, and

    LAB_MODELS_CREDENTIALS_FILE   file with ``user:password`` of who may ask
    LAB_MODELS_DOWNLOADS          folder for the files of versions
    LAB_MODELS_HOST               address to listen at, 127.0.0.1 unless set
    LAB_MODELS_PORT               8000 unless set
    LAB_MODELS_POLL               seconds between two questions to the registry, 2 unless set
    LAB_MODELS_LOAD_TIMEOUT       seconds that loading a version may take, 600 unless set
    LAB_MODELS_LOG_LEVEL          INFO unless set; DEBUG shows why a version cannot be loaded in full
"""

from __future__ import annotations

import logging
import os
import site
import sys
import warnings
from pathlib import Path


def main() -> None:
    """Serve until the process is stopped."""
    # What the project's environment does not have; its own packages come first, since they made the models.
    site.addsitedir(str(Path(__file__).parents[1] / "packages"))
    try:
        import uvicorn

        from .application import make
        from .follower import Follower
    except ImportError as error:
        sys.exit(f"The project's environment cannot run the model server: {error}. It needs MLflow 2.19 or later (mlflow or mlflow-skinny), and pandas.")
    if sys.argv[1:] == ["--check"]:
        return
    warnings.simplefilter("ignore")  # models repeat theirs for each request
    level = os.environ.get("LAB_MODELS_LOG_LEVEL", "INFO").upper()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stdout)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # the follower says it in one line when the registry does not answer
    logging.getLogger(__package__).setLevel(level)
    credentials = Path(os.environ["LAB_MODELS_CREDENTIALS_FILE"]).read_bytes().strip()
    if not credentials.partition(b":")[2]:
        sys.exit("LAB_MODELS_CREDENTIALS_FILE has to name a file with user:password.")
    downloads = Path(os.environ["LAB_MODELS_DOWNLOADS"]).resolve()
    downloads.mkdir(parents=True, exist_ok=True)
    follower = Follower(downloads, float(os.environ.get("LAB_MODELS_POLL", "2")), float(os.environ.get("LAB_MODELS_LOAD_TIMEOUT", "600")))
    uvicorn.run(
        make(follower, credentials),
        host=os.environ.get("LAB_MODELS_HOST", "127.0.0.1"),
        port=int(os.environ.get("LAB_MODELS_PORT", "8000")),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,  # a client that reuses a connection must not find it closed
        timeout_graceful_shutdown=30,
    )
    logging.shutdown()
    os._exit(0)  # a version that is being loaded would be waited for


if __name__ == "__main__":
    main()
