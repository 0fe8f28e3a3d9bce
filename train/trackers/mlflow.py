"""MLflow: a run of the experiment MLFLOW_EXPERIMENT_NAME (`consenso`) at MLFLOW_TRACKING_URI, else where MLflow keeps runs itself."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from train.trackers.told import About

# A server that is gone: MLflow would ask for minutes, and training would wait. It reports on its users unless told not to.
_QUICK = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class MLflow:
    """Goes on in the same MLflow run, whose steps it reads once, to repeat none."""

    def start(self, about: About) -> None:
        """The run that this folder had, else a new one."""
        for name, value in _QUICK.items():
            os.environ.setdefault(name, value)
        from mlflow.entities import Param, RunTag
        from mlflow.tracking import MlflowClient

        self._client: Any = MlflowClient()
        found = self._find(about.remembered("mlflow"))
        if found is None:
            tags = [RunTag(name, value) for name, value in {**about.tags, "mlflow.runName": about.name}.items()]
            found = self._client.create_run(self._experiment()).info.run_id
            about.remember("mlflow", found)
            self._client.log_batch(found, tags=tags, params=[Param(n, str(v)) for n, v in about.params.items()])
        self._run = found
        self._client.update_run(found, status="RUNNING")
        known = self._client.get_run(found).data.metrics
        self._told = {(key, metric.step) for key in known for metric in self._client.get_metric_history(self._run, key)}

    def row(self, stage: str, step: int, values: dict[str, float]) -> None:
        """One metric a value, those that the run has left out."""
        self._log({f"{stage}/{name}": value for name, value in values.items()}, step)

    def end(self, metrics: dict[str, float], files: Sequence[Path]) -> None:
        """The result as metrics, the files as artifacts."""
        self._log(metrics, 0)
        for path in files:
            self._client.log_artifact(self._run, str(path))
        self._client.set_terminated(self._run, "FINISHED")

    def stop(self) -> None:
        """MLflow's word for a run that was stopped; it runs again when it goes on."""
        self._client.set_terminated(self._run, "KILLED")

    def _log(self, values: dict[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        new = {name: value for name, value in values.items() if (name, step) not in self._told}
        if new:
            self._client.log_batch(self._run, metrics=[Metric(n, value, now, step) for n, value in new.items()])
            self._told |= {(name, step) for name in new}

    def _find(self, run_id: str | None) -> str | None:
        """The run's id, if this server knows it."""
        from mlflow.exceptions import MlflowException

        if run_id is None:
            return None
        try:
            return self._client.get_run(run_id).info.run_id
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "consenso")
        found = self._client.get_experiment_by_name(name)
        return found.experiment_id if found else self._client.create_experiment(name)
