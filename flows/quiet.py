"""A calm terminal: what the libraries print about themselves is switched off, before they are imported.

Only chatter goes: every error still comes through. A variable that the user has set is left alone.
"""

import logging
import os
import warnings

SETTINGS = {
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "HF_HUB_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # those of transformers too: Graft shows one a stage
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",  # all through the server: its store may be out of reach
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it would stand before the JSON object of --json
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # a failed run's error reaches us; its log is in the UI
}


def hush() -> None:
    """Set the environment and the filters; to be called before the heavy imports."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message=".*input example was not provided.*")
    for name in ("mlflow", "alembic", "alembic.runtime.migration", "timm", "peft"):
        logging.getLogger(name).setLevel(logging.ERROR)
