"""What became of a run whose process is gone, told to MLflow by its REST API: the keeper must stay small.

MLflow's own client would bring ten times the keeper's memory.
"""

import os
import time

import httpx

SECONDS = 5.0  # that MLflow may take


def mark(url: str, run_id: str, status: str) -> None:
    """Close a run as FAILED or KILLED; one that has ended already is left as it is.

    Raises:
        httpx.HTTPError: MLflow does not answer, or refuses.
    """
    user = os.environ.get("MLFLOW_TRACKING_USERNAME")
    auth = (user, os.environ.get("MLFLOW_TRACKING_PASSWORD", "")) if user else None
    with httpx.Client(base_url=f"{url}/api/2.0/mlflow/runs", auth=auth, timeout=SECONDS) as client:
        found = client.get("/get", params={"run_id": run_id}).raise_for_status().json()
        if found["run"]["info"]["status"] == "RUNNING":
            told = {"run_id": run_id, "status": status, "end_time": int(time.time() * 1000)}
            client.post("/update", json=told).raise_for_status()
