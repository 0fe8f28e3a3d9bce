"""The requests that make SageMaker train what was asked: a training job for each seed, or a tuning job for a search.

The recipe travels twice: as recipe.toml, with the source of each number, and as hyper-parameters, which win. So the console
shows every number, a tuning job changes some of them, and a job that is cloned there with another number trains with it.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import shlex
import sys
from dataclasses import dataclass
from typing import Any

from schemas.errors import UserError
from schemas.files import sha256_of
from schemas.s3 import SCHEME, bucket_and_key
from train.recipe_file import recipe_text
from train.submit.asked import Checked, recipe_words
from train.submit.limits import check_request, instance_types
from train.submit.settings import SageMaker
from train.submit.upload import MANY, File, picture_files

INPUT = "/opt/ml/input/data"
CHECKPOINTS = "/opt/ml/checkpoints"
ENTRY = ["python", "-m", "train.submit.container"]  # a tuning job cannot name it: there it must be the image's own
OBJECTIVE = "val:best_acc1"
# What train/submit/job.py prints.
METRICS = {
    "val:acc1": r" val_acc1=([0-9.]+)",
    OBJECTIVE: r" best_val_acc1=([0-9.]+)",
    "train:loss": r" loss=([-+.0-9eE]+)",
    "test:acc1": r" test_acc1=([0-9.]+)",
}


@dataclass(frozen=True)
class Call:
    """One request to AWS."""

    operation: str  # as in CreateTrainingJob
    request: dict[str, Any]

    @property
    def name(self) -> str:
        """The job's name."""
        return str(self.request.get("TrainingJobName") or self.request["HyperParameterTuningJobName"])


@dataclass(frozen=True)
class Plan:
    """What would be sent: files to the bucket, then requests."""

    bucket: str
    places: list[str]  # of each channel
    files: list[File]
    calls: list[Call]

    def as_json(self) -> str:
        """For people and for `jq`."""
        sizes = {place: [file.bytes() for file in self.files if file.to.startswith(place)] for place in self.places}
        upload = [{"to": place, "files": len(found), "bytes": sum(found)} for place, found in sizes.items()]
        calls = [{"operation": call.operation, "request": call.request} for call in self.calls]
        return json.dumps({"upload": upload, "calls": calls}, indent=1, ensure_ascii=False)


def plan(checked: Checked, to: SageMaker, name: str | None = None) -> Plan:
    """Every file and request, each checked against botocore's model of the service. Needs no key and sends nothing."""
    _check(checked, to)
    where = f"{SCHEME}{to.bucket.removeprefix(SCHEME).strip('/')}"
    sent = _Sent(where)
    changed = _channels(checked, sent)
    if to.max_run_hours and "max_hours" not in checked.asked.written:
        changed["max_hours"] = (
            f"{to.max_run_hours:g}"  # without a GPU the job says at its start that it would not end in time
        )
    make = _tuning if checked.asked.command == "search" else _trainings
    calls = make(checked, to, sent, changed, name)
    for call in calls:
        check_request(call.operation, call.request)
    return Plan(bucket_and_key(where)[0], list(sent.channels.values()), sent.files, calls)


class _Sent:
    """The files on their way, and the channels by which a job sees them."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.files: list[File] = []
        self.channels: dict[str, str] = {}

    def add(self, channel: str, place: str, *files: File) -> None:
        self.channels[channel] = place
        self.files += files

    def one(self, channel: str, kind: str, name: str, file: File, digest: str) -> str:
        """A channel of one file; returns where the job finds it."""
        place = f"{self.where}/{kind}/{digest[:12]}/"
        self.add(channel, place, File(f"{place}{name}", file.path, file.text, file.sha256))
        return f"{INPUT}/{channel}/{name}"


def _check(checked: Checked, to: SageMaker) -> None:
    """What must be said, and what has no meaning there."""
    example = {"role": "arn:aws:iam::123456789012:role/NAME", "bucket": "s3://BUCKET/PREFIX", "image": "ADDRESS:TAG",
               "instance_type": "ml.g5.2xlarge"}  # fmt: skip
    for name, value in example.items():
        if not getattr(to, name):
            flag = f"--{name.replace('_', '-')}"
            raise UserError(f"no {name.replace('_', ' ')} for SageMaker: say {flag} {value}, or {name} in submit.toml")
    if not re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:role/.+", to.role):
        raise UserError(f"--role {to.role}: is no role's ARN; it looks like {example['role']}")
    if not re.fullmatch(r"(s3://)?[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/\S*)?", to.bucket):
        raise UserError(f"--bucket {to.bucket}: should look like {example['bucket']}")
    if not re.fullmatch(r"ml\.[a-z0-9-]+\.[a-z0-9-]+", to.instance_type):
        near = difflib.get_close_matches(to.instance_type, instance_types(), 1)
        said = f"did you mean {near[0]}?" if near else f"it looks like {example['instance_type']}"
        raise UserError(f"--instance-type {to.instance_type}: is no instance type of SageMaker; {said}")
    if to.instance_type not in instance_types():
        print(f"warning: botocore knows no {to.instance_type}; AWS will say whether there is one", file=sys.stderr)
    if to.instance_count < 1 or to.max_run_hours <= 0 or to.parallel < 1:
        raise UserError("instance_count, parallel and max_run_hours must be above 0")
    if bool(to.subnets) != bool(to.security_groups):
        raise UserError("subnets and security_groups go together: say both in submit.toml, or none")
    asked = checked.asked
    for name in ("out", "storage", "sampler"):
        if name in asked.written:
            raise UserError(f"--{name}: SageMaker has its own; leave it out")
    if asked.command == "search" and to.instance_count > 1:
        raise UserError("a search trains each trial on one instance: leave --instance-count at 1")


def _channels(checked: Checked, sent: _Sent) -> dict[str, Any]:
    """Note every file that travels; returns the options whose paths are others there."""
    asked, request = checked.asked, checked.requests[0]
    manifest = checked.manifest.path
    changed: dict[str, Any] = {"changes": None, "budget": None, "seeds": None, "trials": None, "space": None}
    changed["manifest"] = sent.one(
        "manifest", "manifests", manifest.name, File("", manifest), checked.manifest.manifest_id
    )
    place, files, missing = picture_files(checked, sent.where)
    if place:
        sent.add("pictures", place, *files)
        changed["pictures"] = f"{INPUT}/pictures"
    if missing:
        print(f"warning: {missing} pictures are not here and are skipped there", file=sys.stderr)
    if len(files) > MANY:
        print(
            f"{len(files)} single pictures take long to send and to fetch; `curate pack` makes a few files of them",
            file=sys.stderr,
        )
    text = recipe_text(checked.recipe, asked.method)
    changed["recipe"] = sent.one("recipe", "recipes", "recipe.toml", File("", text=text), _hash(text))
    if request.weights is not None:
        digest = sha256_of(request.weights)
        changed["weights"] = sent.one(
            "weights", "weights", request.weights.name, File("", request.weights, sha256=digest), digest
        )
    if request.stage1 is not None:
        changed["stage1"] = f"{INPUT}/stage1"
        digest = json.loads((request.stage1 / "run.json").read_text())["model_id"]
        place = f"{sent.where}/stage1/{_hash(digest)[:12]}/"
        sent.add(
            "stage1", place, *(File(place + name, request.stage1 / name) for name in ("run.json", "model.safetensors"))
        )
    return changed


def _trainings(checked: Checked, to: SageMaker, sent: _Sent, changed: dict[str, Any], name: str | None) -> list[Call]:
    calls = []
    for request in checked.requests:
        job = _job(checked, to, sent, changed | {"seed": request.seed}, recipe_words(checked.recipe), request.name)
        job["HyperParameters"] = job.pop("StaticHyperParameters")
        job["AlgorithmSpecification"] |= {"ContainerEntrypoint": ENTRY, "EnableSageMakerMetricsTimeSeries": True}
        suffix = f"-s{request.seed}" if name and len(checked.requests) > 1 else ""
        title = f"{name}{suffix}" if name else _title(request.name, job, 63)
        if to.tags:
            job["Tags"] = _tags(to)
        calls.append(Call("CreateTrainingJob", {"TrainingJobName": title, **job}))
    return calls


def _tuning(checked: Checked, to: SageMaker, sent: _Sent, changed: dict[str, Any], name: str | None) -> list[Call]:
    request, trials = checked.requests[0], int(checked.asked.values["trials"])
    numbers = {name: text for name, text in recipe_words(checked.recipe).items() if name not in checked.space}
    if request.method == "semivit" and request.stage1 is None:
        print("each trial trains a stage 1 of its own; --stage1 RUN starts all from one vit run", file=sys.stderr)
    changed = changed | {"seed": request.seed}
    job = _job(checked, to, sent, changed, numbers, f"{request.name}-search")
    job["HyperParameterRanges"] = _ranges(checked)
    config = {
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": OBJECTIVE},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": trials, "MaxParallelTrainingJobs": min(to.parallel, trials)},
        "TrainingJobEarlyStoppingType": "Auto",
        "RandomSeed": request.seed,
    }
    title = name or _title(f"{request.name}-search", {"job": job, "config": config}, 32)
    whole = {
        "HyperParameterTuningJobName": title,
        "HyperParameterTuningJobConfig": config,
        "TrainingJobDefinition": job,
    }
    return [Call("CreateHyperParameterTuningJob", whole | ({"Tags": _tags(to)} if to.tags else {}))]


def _job(
    checked: Checked, to: SageMaker, sent: _Sent, changed: dict[str, Any], numbers: dict[str, str], run: str
) -> dict[str, Any]:
    """What a training job and a tuning job's definition have in common."""
    asked = checked.asked
    same_run = shlex.join(asked.words(**changed | {"max_hours": None, "checkpoint_minutes": None}))
    checkpoints = f"{sent.where}/checkpoints/{run}-{_hash([same_run, numbers, sent.channels])[:12]}/"
    resources = {"InstanceType": to.instance_type, "InstanceCount": to.instance_count, "VolumeSizeInGB": to.volume_gb}
    seconds = round(3600 * to.max_run_hours)
    wait = {"MaxWaitTimeInSeconds": round(3600 * (to.max_wait_hours or 2 * to.max_run_hours))} if to.spot else {}
    if wait and wait["MaxWaitTimeInSeconds"] < seconds:
        raise UserError(
            f"max_wait_hours {to.max_wait_hours:g} holds the training too: it must be {to.max_run_hours:g} or more"
        )
    key = {"VolumeKmsKeyId": to.kms_key} if to.kms_key else {}
    job: dict[str, Any] = {
        "StaticHyperParameters": {"command": asked.command, "arguments": shlex.join(asked.words(**changed)), **numbers},
        "AlgorithmSpecification": {
            "TrainingImage": to.image, "TrainingInputMode": "File", "MetricDefinitions": _metrics(asked.command),
        },
        "RoleArn": to.role,
        "InputDataConfig": [_channel(channel, place) for channel, place in sent.channels.items()],
        "OutputDataConfig": {"S3OutputPath": f"{sent.where}/output"} | ({"KmsKeyId": to.kms_key} if to.kms_key else {}),
        "ResourceConfig": resources | key,
        "StoppingCondition": {"MaxRuntimeInSeconds": seconds, **wait},
        "EnableManagedSpotTraining": to.spot,
        "CheckpointConfig": {"S3Uri": checkpoints, "LocalPath": CHECKPOINTS},
        "Environment": {"PYTHONUNBUFFERED": "1", **to.environment},
    }  # fmt: skip
    if to.subnets:
        job["VpcConfig"] = {"Subnets": to.subnets, "SecurityGroupIds": to.security_groups}
    return job


def _metrics(command: str) -> list[dict[str, str]]:
    """The metrics that a command's lines hold: a trial of a search never reads test."""
    names = {"pretrain": ["train:loss"], "search": [name for name in METRICS if name != "test:acc1"]}.get(
        command, METRICS
    )
    return [{"Name": name, "Regex": METRICS[name]} for name in names]


def _channel(name: str, place: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": place, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": "File"}


def _ranges(checked: Checked) -> dict[str, list[dict[str, Any]]]:
    """The axes of the search as SageMaker has them: texts, log where the axis is."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, axis in checked.space.items():
        if axis.choices:
            values = [str(value).lower() if isinstance(value, bool) else str(value) for value in axis.choices]
            found.setdefault("CategoricalParameterRanges", []).append({"Name": name, "Values": values})
            continue
        low, high = (round(axis.low), round(axis.high)) if axis.whole else (axis.low, axis.high)
        span = {"Name": name, "MinValue": str(low), "MaxValue": str(high)}
        scale = {"ScalingType": "Logarithmic" if axis.log else "Linear"}
        found.setdefault(f"{'Integer' if axis.whole else 'Continuous'}ParameterRanges", []).append(span | scale)
    return found


def _title(name: str, content: Any, most: int) -> str:
    """A name that AWS takes and that the same request has again; three characters stay free for -2, -3, …"""
    plain = re.sub(r"-+", "-", re.sub(r"[^a-zA-Z0-9]", "-", name))[: most - 12].strip("-")
    return f"{plain}-{_hash(content)[:8]}"


def _tags(to: SageMaker) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in to.tags.items()]


def _hash(content: Any) -> str:
    text = content if isinstance(content, str) else json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
