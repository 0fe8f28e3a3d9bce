"""What is asked of AWS: whether a job is there, that it begins, how it is, and its model. The only file that calls SageMaker."""

from __future__ import annotations

import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from schemas.errors import Interrupted, Partial, UserError
from schemas.s3 import bucket_and_key, clear_errors, client, session
from train.submit.sagemaker import Call, Plan
from train.submit.upload import upload

OVER = ("Completed", "Failed", "Stopped")
AGAIN = ("Failed", "Stopped")  # after these the same request is sent once more, under the next name
TRIES = 99


@dataclass(frozen=True)
class State:
    """How a job is: its status as AWS has it, why it failed, and where its model is."""

    name: str
    status: str
    why: str = ""
    model: str = ""
    seconds: int | None = None  # that are billed
    best: str = ""  # of a tuning job: its best training job so far

    def line(self) -> str:
        """For a person."""
        billed = f", {self.seconds} s billed" if self.seconds is not None else ""
        return f"{self.name}: {self.status}{billed}{f' ({self.why})' if self.why else ''}"


class Service:
    """SageMaker in one region, by the usual AWS key."""

    def __init__(self, region: str = "") -> None:
        from botocore.exceptions import BotoCoreError

        with _clear("SageMaker"):
            made = session()
            self.region = region or made.region_name
            if not self.region:
                raise UserError("no region for SageMaker: say --region us-east-1, or set AWS_DEFAULT_REGION")
            try:
                self._client = made.client("sagemaker", region_name=self.region)
            except (BotoCoreError, ValueError) as error:
                raise UserError(f"--region {self.region}: {error}") from error

    def create(self, call: Call) -> None:
        """Send a request."""
        with _clear(call.name):
            if call.operation == "CreateTrainingJob":
                self._client.create_training_job(**call.request)
            else:
                self._client.create_hyper_parameter_tuning_job(**call.request)

    def state(self, name: str, tuning: bool = False) -> State | None:
        """How a training or tuning job of a name is, None when there is none."""
        from botocore.exceptions import ClientError

        with _clear(name):
            try:
                if tuning:
                    return _tuning_state(
                        self._client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
                    )
                return _training_state(self._client.describe_training_job(TrainingJobName=name))
            except ClientError as error:
                said = str(error.response["Error"].get("Message")).lower()
                if "not found" in said or "could not find" in said or "not exist" in said:
                    return None
                raise

    def any_state(self, name: str) -> State:
        """The training job of a name, else the tuning job. Raises UserError when there is neither."""
        found = self.state(name) or (self.state(name, tuning=True) if len(name) <= 32 else None)
        if found is None:
            raise UserError(
                f"{name}: no training or tuning job of this name in {self.region}; is it in another --region?"
            )
        return found


def check_bucket(bucket: str, region: str) -> None:
    """Raise UserError when the bucket cannot be reached or lies in another region than the jobs, which SageMaker refuses."""
    from botocore.exceptions import ClientError

    with clear_errors(f"s3://{bucket}", "HeadBucket"):
        try:
            head = client().head_bucket(Bucket=bucket)
        except ClientError as error:
            if str(error.response["Error"].get("Code")) in ("404", "NoSuchBucket"):
                raise UserError(f"--bucket s3://{bucket}: no such bucket; make it first, in {region}") from error
            raise
    lies = head.get("BucketRegion") or head["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
    if lies and lies != region:
        raise UserError(
            f"--bucket s3://{bucket}: lies in {lies}, the jobs run in {region}; SageMaker wants both in one region"
        )


def submit(plan: Plan, service: Service, say: Callable[[str], None]) -> list[str]:
    """Bring the files to S3, then send each request whose job is not there yet; returns the names of the jobs.

    A job that failed or was stopped is sent again under the next name, and goes on from the checkpoints of the one before.
    """
    check_bucket(plan.bucket, service.region)
    calls = [_free(call, service, say) for call in plan.calls]
    if any(new for _, new in calls):
        sent, there = upload(plan.files)
        say(f"s3://{plan.bucket}: {sent} files sent, {there} were there")
    for call, new in calls:
        if new:
            service.create(call)
            say(f"{call.name}: {'tuning job' if _is_tuning(call) else 'training job'} sent to {service.region}")
    return [call.name for call, _ in calls]


def _free(call: Call, service: Service, say: Callable[[str], None]) -> tuple[Call, bool]:
    """The request under a name that is free, and whether it is to be sent: not when such a job waits, runs or is done."""
    for number in range(1, TRIES + 1):
        one = call if number == 1 else _renamed(call, f"{call.name}-{number}")
        state = service.state(one.name, _is_tuning(call))
        if state is None:
            return one, True
        if state.status not in AGAIN:
            say(f"{state.line()}: this very job is there; it is not sent again")
            return one, False
        say(f"{state.line()}: is sent again")
    raise UserError(f"{call.name}: failed {TRIES} times; name another job with --name")


def _renamed(call: Call, name: str) -> Call:
    key = "HyperParameterTuningJobName" if _is_tuning(call) else "TrainingJobName"
    return replace(call, request={**call.request, key: name})


def _is_tuning(call: Call) -> bool:
    return call.operation == "CreateHyperParameterTuningJob"


def follow(names: list[str], service: Service, say: Callable[[str], None], seconds: float = 30) -> list[State]:
    """Say each change of state until all jobs are over. Raises Partial when one did not complete."""
    last: dict[str, State] = {}
    try:
        while True:
            for name in names:
                if name not in last or last[name].status not in OVER:
                    now = service.any_state(name)
                    if name not in last or now.status != last[name].status:
                        say(now.line())
                    last[name] = now
            if all(state.status in OVER for state in last.values()):
                break
            time.sleep(seconds)
    except KeyboardInterrupt:
        raise Interrupted(
            f"no longer followed; the jobs go on: `train submit --to sagemaker status {' '.join(names)}`"
        ) from None
    bad = [state.name for state in last.values() if state.status != "Completed"]
    if bad:
        raise Partial(f"{len(bad)} of {len(names)} jobs did not complete: {', '.join(bad)}")
    return list(last.values())


def fetch(state: State, out: Path) -> Path:
    """The run folder of a job that is over, unpacked into `out`, which must be new or empty."""
    if state.status != "Completed" or not state.model:
        raise UserError(f"{state.line()}: has no model yet")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out}: is there already; name a new folder")
    bucket, key = bucket_and_key(state.model)
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "model.tar.gz"
        with clear_errors(state.model, "GetObject"):
            client().download_file(bucket, key, str(packed))
        try:
            with tarfile.open(packed) as tar:
                tar.extractall(part, filter="data")
        except tarfile.TarError as error:
            raise UserError(f"{state.model}: is no model of a training job ({error})") from error
    part.replace(out)
    return out


def _training_state(answer: dict[str, Any]) -> State:
    return State(
        answer["TrainingJobName"], answer["TrainingJobStatus"], answer.get("FailureReason", ""),
        answer.get("ModelArtifacts", {}).get("S3ModelArtifacts", ""), answer.get("BillableTimeInSeconds"),
    )  # fmt: skip


def _tuning_state(answer: dict[str, Any]) -> State:
    """Of a tuning job; what its best training job has reached stands where a reason would."""
    best = answer.get("BestTrainingJob", {})
    value = best.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value")
    why = (
        f"best so far {best['TrainingJobName']}, val {value:.1%}"
        if value is not None
        else answer.get("FailureReason", "")
    )
    name, status = answer["HyperParameterTuningJobName"], answer["HyperParameterTuningJobStatus"]
    return State(name, status, why, best=best.get("TrainingJobName", ""))


@contextmanager
def _clear(what: str) -> Iterator[None]:
    """What AWS refuses and a person can put right, as one line."""
    from botocore import exceptions as aws

    try:
        yield
    except (aws.NoCredentialsError, aws.PartialCredentialsError) as error:
        raise UserError(
            f"{what}: no AWS key; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except aws.ClientError as error:
        fault = error.response.get("Error", {})
        raise UserError(f"{what}: SageMaker refused: {fault.get('Message')} ({fault.get('Code')})") from error
    except aws.BotoCoreError as error:
        raise UserError(
            f"{what}: SageMaker cannot be asked ({error}). Key, region and address come from AWS_* or ~/.aws"
        ) from error


def say(line: str) -> None:
    """How it goes on, on stderr."""
    print(line, file=sys.stderr, flush=True)
