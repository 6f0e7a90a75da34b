"""What the tests of `tasks.fresh` run in a new process."""

import json
import os
import signal
import sys
from pathlib import Path

from tasks import runtime

SEEN: list[str] = []


def main(what: str, out: str = "") -> None:
    """Do one of the things that a new process can do, good or bad."""
    if what == "tell":
        SEEN.append(out)
        names = ("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES", "GRAFT_DATA", "MARK")
        told = {name: os.environ.get(name) for name in names}
        told |= {"home": str(runtime.home()), "mlflow": os.environ["MLFLOW_TRACKING_URI"]}
        told |= {"cache": getattr(sys.modules.get("huggingface_hub.constants"), "HF_HUB_CACHE", None)}
        Path(out).write_text(json.dumps(told | {"seen": SEEN, "modules": list(sys.modules), "parent": os.getppid()}))
    elif what == "end":
        raise SystemExit("it is not alike.")
    elif what == "raise":
        raise ValueError("first line\nsecond line")
    elif what == "chatter":
        print("0")
    else:
        os.kill(os.getpid(), signal.SIGKILL)
