"""Start the front: ``python -m model_server``.

It is set up by the environment: MLflow's own variables, and

    LAB_MODELS_CREDENTIALS_FILE   file with ``user:password`` of who may ask
    LAB_MODELS_DOWNLOADS          folder for the files of versions, which the runner reads
    LAB_MODELS_SOCKETS            folder of the runner's and the models' sockets
    LAB_ENVIRONMENTS_DIR          folder of the environments, and of the socket of the service that makes them
    LAB_ENVIRONMENTS_IN_IMAGE     folder of the environments in the image, which are used without asking the service
    LAB_MODELS_HOST               address to listen at, 127.0.0.1 unless set
    LAB_MODELS_PORT               8000 unless set
    LAB_MODELS_MOST               models in memory, 20 unless set; 0 for no limit
    LAB_MODELS_POLL               seconds between two questions to the registry, 2 unless set
    LAB_MODELS_LOAD_TIMEOUT       seconds that downloading and loading a version may take each, 600 unless set
    LAB_MODELS_REQUEST_TIMEOUT    seconds that a request may take, 60 unless set
    LAB_MODELS_KEEP               seconds after which an environment in use is asked for again, 2700 unless set
    LAB_MODELS_LOG_LEVEL          INFO unless set
    LAB_MLFLOW_PUBLIC_URL         address of MLflow's pages for people; without it the models' page has no links
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import uvicorn

from .application import make
from .follower import Follower
from .version import Settings


def main() -> None:
    """Serve until the process is stopped."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stdout)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # the follower says it in one line when the registry does not answer
    logging.getLogger(__package__).setLevel(os.environ.get("LAB_MODELS_LOG_LEVEL", "INFO").upper())
    credentials = Path(os.environ["LAB_MODELS_CREDENTIALS_FILE"]).read_bytes().strip()
    if not credentials.partition(b":")[2]:
        sys.exit("LAB_MODELS_CREDENTIALS_FILE has to name a file with user:password.")
    settings = Settings(
        downloads=Path(os.environ["LAB_MODELS_DOWNLOADS"]).resolve(),
        sockets=Path(os.environ["LAB_MODELS_SOCKETS"]),
        environments=Path(os.environ.get("LAB_ENVIRONMENTS_DIR", "/opt/environments")),
        in_image=Path(os.environ.get("LAB_ENVIRONMENTS_IN_IMAGE", "/opt/environments-in-image")),
        most=int(os.environ.get("LAB_MODELS_MOST", "20")),
        load_seconds=float(os.environ.get("LAB_MODELS_LOAD_TIMEOUT", "600")),
        request_seconds=float(os.environ.get("LAB_MODELS_REQUEST_TIMEOUT", "60")),
        keep_seconds=float(os.environ.get("LAB_MODELS_KEEP", "2700")),
    )
    settings.downloads.mkdir(parents=True, exist_ok=True)
    settings.downloads.chmod(0o755)  # the models' user reads what is in there; a volume of an earlier version is closed to it
    follower = Follower(settings, float(os.environ.get("LAB_MODELS_POLL", "2")))
    uvicorn.run(
        make(follower, credentials, os.environ.get("LAB_MLFLOW_PUBLIC_URL", "")),
        host=os.environ.get("LAB_MODELS_HOST", "127.0.0.1"),
        port=int(os.environ.get("LAB_MODELS_PORT", "8000")),
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips="*",  # a gateway says in X-Forwarded-Proto that it speaks TLS; only the addresses on the page depend on it
        timeout_keep_alive=75,  # a client that reuses a connection must not find it closed
        timeout_graceful_shutdown=30,
    )
    logging.shutdown()
    os._exit(0)  # a version that is being downloaded would be waited for


if __name__ == "__main__":
    main()
