"""Requests are held to botocore's model of the service; calls are real boto3 against moto on loopback, which trains nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import UserError
from schemas.manifest import read_manifest
from train.recipe import recipe_for
from train.recipe_file import recipe_text
from train.search.space import space_around
from train.submit.asked import check, parse
from train.submit.limits import check_request
from train.submit.sagemaker import Plan, plan
from train.submit.settings import SageMaker

Run = Callable[..., tuple[int, str, str]]
TO = SageMaker(
    role="arn:aws:iam::123456789012:role/consenso-training", bucket="s3://shop-originals/consenso",
    image="123456789012.dkr.ecr.us-east-1.amazonaws.com/consenso:1", instance_type="ml.g5.2xlarge",
)  # fmt: skip


def with_(**changes: Any) -> SageMaker:
    return SageMaker(**{**vars(TO), **changes})


def planned(manifest: Path, *more: str, to: SageMaker = TO, command: str = "semivit", name: str | None = None) -> Plan:
    return plan(check(parse([command, "-m", str(manifest), "--recipe", "cpu", *more])), to, name)


def request(*arguments: Any, **more: Any) -> dict[str, Any]:
    return planned(*arguments, **more).calls[0].request


@pytest.fixture
def drawn(make_manifest: Callable[..., Path]) -> Path:
    """A manifest of 14 pictures, two of them test."""
    return make_manifest(("red", "green"), train=3, val=1, test=1, unlabeled=2)


@pytest.fixture
def jobs(s3: str) -> Iterator[Any]:
    """moto's own memory of training jobs, to age one by hand: its jobs are all done at once."""
    from moto.sagemaker.models import sagemaker_backends

    backend = sagemaker_backends["123456789012"]["us-east-1"]
    backend.training_jobs.clear()
    backend.hyper_parameter_tuning_jobs.clear()
    yield backend
    backend.training_jobs.clear()
    backend.hyper_parameter_tuning_jobs.clear()


def objects(bucket: str = "shop-originals") -> dict[str, bytes]:
    import boto3

    return {item.key: item.get()["Body"].read() for item in boto3.resource("s3").Bucket(bucket).objects.all()}


def test_a_job_has_the_recipe_as_hyper_parameters_and_every_path_as_the_container_has_it(drawn: Path) -> None:
    made = request(drawn, "--label-fraction", "0.5", "--set", "threshold=0.55", "--pictures", str(drawn.parent))
    numbers = made["HyperParameters"]
    assert (numbers["command"], numbers["threshold"], numbers["pretrained"]) == ("semivit", "0.55", "false")
    assert "--label-fraction 0.5" in numbers["arguments"]
    assert "--manifest /opt/ml/input/data/manifest/apron.parquet" in numbers["arguments"]
    assert "--pictures /opt/ml/input/data/pictures" in numbers["arguments"]
    assert str(drawn.parent) not in json.dumps(made)
    assert [channel["ChannelName"] for channel in made["InputDataConfig"]] == ["manifest", "pictures", "recipe"]
    assert made["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}
    assert not made["EnableManagedSpotTraining"]
    assert all(len(key) <= 256 and 0 < len(value) <= 2500 for key, value in numbers.items())
    assert len(numbers) <= 100


def test_the_image_that_is_described_starts_what_a_job_starts(root: Path, drawn: Path) -> None:
    text = (root / "docs/deploy/train.Dockerfile").read_text()
    entry = json.loads(text.partition("ENTRYPOINT ")[2])
    assert request(drawn)["AlgorithmSpecification"]["ContainerEntrypoint"] == entry
    assert find_spec(entry[-1]) is not None
    assert "'/src[train]'" in text


def test_weights_and_a_stage_1_travel_too(drawn: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "vit"
    run.mkdir(parents=True)
    recipe = recipe_for("semivit", "cpu")
    record = {
        "manifest_id": read_manifest(drawn).manifest_id, "label_fraction": 1.0, "classes": ["red", "green"],
        "model": {"name": recipe.model}, "recipe": {"model_args": "", "image_size": recipe.image_size}, "model_id": "abc",
    }  # fmt: skip
    (run / "run.json").write_text(json.dumps(record))
    (run / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "mae.pth").write_bytes(b"others")
    made = planned(drawn, "--stage1", str(run), "--weights", str(tmp_path / "mae.pth"))
    arguments = made.calls[0].request["HyperParameters"]["arguments"]
    assert "--stage1 /opt/ml/input/data/stage1" in arguments
    assert "--weights /opt/ml/input/data/weights/mae.pth" in arguments
    assert [channel["ChannelName"] for channel in made.calls[0].request["InputDataConfig"]][3:] == ["weights", "stage1"]
    assert [file.path for file in made.files[-3:]] == [
        tmp_path / "mae.pth",
        run / "run.json",
        run / "model.safetensors",
    ]
    with pytest.raises(UserError, match=r"its label fraction is 1\.0, this run's is 0.5"):
        planned(drawn, "--stage1", str(run), "--label-fraction", "0.5")
    whole = planned(drawn, "--method", "semivit", "--stage1", str(run), command="search").calls[0].request
    channels = whole["TrainingJobDefinition"]["InputDataConfig"]
    assert "stage1" in [channel["ChannelName"] for channel in channels]


def test_pictures_that_are_missing_here_are_said_and_all_of_them_are_too_many(
    drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = sorted(drawn.parent.glob("*.jpg"))
    pictures[0].unlink()
    assert len(planned(drawn).files) == 15
    assert "warning: 1 pictures are not here and are skipped there" in capsys.readouterr().err
    for picture in pictures[1:8]:
        picture.unlink()
    with pytest.raises(UserError, match=r"8 of 14 pictures cannot be read, the first is .*--pictures DIR"):
        planned(drawn)


def test_the_same_wish_has_the_same_name_and_any_other_has_another(drawn: Path) -> None:
    name = request(drawn)["TrainingJobName"]
    assert name == request(drawn)["TrainingJobName"]
    others = [request(drawn, "--set", "flip=0"), request(drawn, to=with_(spot=True)), request(drawn, "--seed", "1")]
    assert len({name, *(other["TrainingJobName"] for other in others)}) == 4
    assert request(drawn, name="mine")["TrainingJobName"] == "mine"


def test_another_machine_goes_on_from_the_same_checkpoints_and_another_run_does_not(drawn: Path) -> None:

    def place(*more: str, **to: Any) -> str:
        return str(request(drawn, *more, to=with_(**to))["CheckpointConfig"]["S3Uri"])

    assert place() == place(spot=True, instance_type="ml.p5.48xlarge", max_run_hours=2.0)
    assert place() != place("--set", "flip=0")


def test_seeds_are_jobs_of_their_own(drawn: Path) -> None:
    calls = planned(drawn, "--seeds", "3", "--seed", "5", name="night").calls
    assert [call.name for call in calls] == ["night-s5", "night-s6", "night-s7"]
    assert [call.request["HyperParameters"]["arguments"].split("--seed ")[1][0] for call in calls] == ["5", "6", "7"]
    assert len({call.request["CheckpointConfig"]["S3Uri"] for call in calls}) == 3
    assert "--seeds" not in str(calls)


def test_spot_waits_and_says_where_it_goes_on(drawn: Path) -> None:
    made = request(drawn, to=with_(spot=True, max_run_hours=3.0))
    assert made["EnableManagedSpotTraining"]
    assert made["StoppingCondition"] == {"MaxRuntimeInSeconds": 10800, "MaxWaitTimeInSeconds": 21600}
    assert made["CheckpointConfig"]["LocalPath"] == "/opt/ml/checkpoints"


def test_network_key_tags_and_environment_come_from_the_file(drawn: Path) -> None:
    to = with_(
        subnets=["subnet-0"], security_groups=["sg-0"], kms_key="abc", tags={"team": "aprons"}, environment={"A": "1"}
    )
    made = request(drawn, to=to)
    assert made["VpcConfig"] == {"Subnets": ["subnet-0"], "SecurityGroupIds": ["sg-0"]}
    assert made["ResourceConfig"]["VolumeKmsKeyId"] == made["OutputDataConfig"]["KmsKeyId"] == "abc"
    assert made["Tags"] == [{"Key": "team", "Value": "aprons"}]
    assert made["Environment"] == {"PYTHONUNBUFFERED": "1", "A": "1"}


def test_a_search_is_a_tuning_job_over_the_space_of_the_search_here(drawn: Path) -> None:
    made = request(drawn, "--method", "semivit", "--trials", "7", command="search")
    assert len(made["HyperParameterTuningJobName"]) <= 29  # three are left for -2, -3, …
    config, job = made["HyperParameterTuningJobConfig"], made["TrainingJobDefinition"]
    assert (config["Strategy"], config["ResourceLimits"]["MaxNumberOfTrainingJobs"]) == ("Bayesian", 7)
    metrics = [metric["Name"] for metric in job["AlgorithmSpecification"]["MetricDefinitions"]]
    assert config["HyperParameterTuningJobObjective"]["MetricName"] in metrics
    assert "test:acc1" not in metrics
    ranges = {one["Name"]: one for kind in job["HyperParameterRanges"].values() for one in kind}
    space = space_around(recipe_for("semivit", "cpu"))
    assert set(ranges) == set(space)
    assert not set(ranges) & set(job["StaticHyperParameters"])
    for name, axis in space.items():
        if axis.choices:
            assert ranges[name]["Values"] == ["true", "false"]
            continue
        assert (float(ranges[name]["MinValue"]), float(ranges[name]["MaxValue"])) == (axis.low, axis.high)
        assert ranges[name]["ScalingType"] == ("Logarithmic" if axis.log else "Linear")


def test_axes_of_whole_numbers_and_choices_are_ranges_too(drawn: Path) -> None:
    axes = ["--space", "rand_ops=0..4", "--space", "mu=3|5", "--method", "semivit"]
    ranges = request(drawn, *axes, command="search")["TrainingJobDefinition"]["HyperParameterRanges"]
    assert ranges == {
        "IntegerParameterRanges": [{"Name": "rand_ops", "MinValue": "0", "MaxValue": "4", "ScalingType": "Linear"}],
        "CategoricalParameterRanges": [{"Name": "mu", "Values": ["3.0", "5.0"]}],
    }


def test_a_dry_run_needs_no_key_and_no_network(drawn: Path, to_sagemaker: list[str]) -> None:
    """In a process of its own: whatever it sends would go to a port where nobody answers, and fail."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    env = {**clean, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nowhere"}
    words = [*to_sagemaker, "--dry-run", "vit", "-m", str(drawn), "--recipe", "cpu", "--seeds", "2"]
    done = subprocess.run([sys.executable, "-m", "train.cli", *words], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [call["operation"] for call in said["calls"]] == ["CreateTrainingJob"] * 2
    assert [(place["files"], place["bytes"] > 0) for place in said["upload"]] == [(1, True), (14, True), (1, True)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"role": ""}, "no role for SageMaker: say --role arn:aws:iam"),
        ({"bucket": ""}, "no bucket for SageMaker"),
        ({"image": ""}, "no image for SageMaker"),
        ({"instance_type": ""}, "no instance type for SageMaker: say --instance-type ml.g5.2xlarge"),
        ({"role": "me"}, "--role me: is no role's ARN"),
        ({"bucket": "s3://UPPER"}, "--bucket s3://UPPER: should look like s3://BUCKET/PREFIX"),
        ({"instance_type": "g5.2xlarge"}, r"--instance-type g5\.2xlarge: is no instance type of SageMaker; did you mean ml\.g"),
        ({"max_run_hours": 0.0}, "max_run_hours must be above 0"),
        ({"spot": True, "max_wait_hours": 1.0}, "max_wait_hours 1 holds the training too: it must be 24 or more"),
        ({"subnets": ["a"]}, "subnets and security_groups go together"),
        ({"image": "x" * 256}, "AlgorithmSpecification.TrainingImage has 256 characters, at most 255"),
        ({"environment": {str(n): "" for n in range(101)}}, "Environment has 102 entries, at most 100"),
    ],
)  # fmt: skip
def test_what_is_missing_or_wrong_is_one_line(changes: dict[str, Any], said: str, drawn: Path) -> None:
    with pytest.raises(UserError, match=said) as error:
        planned(drawn, to=with_(**changes))
    assert "\n" not in str(error.value)


def test_a_name_that_is_too_long_or_strange_is_refused(drawn: Path) -> None:
    with pytest.raises(UserError, match="TrainingJobName has 64 characters, at most 63"):
        planned(drawn, name="x" * 64)
    with pytest.raises(UserError, match="TrainingJobName is 'my job', which does not look like"):
        planned(drawn, name="my job")
    with pytest.raises(UserError, match="HyperParameterTuningJobName has 33 characters, at most 32"):
        planned(drawn, "--method", "vit", command="search", name="x" * 33)


def test_options_without_a_meaning_there_are_refused(drawn: Path) -> None:
    with pytest.raises(UserError, match="--out: SageMaker has its own; leave it out"):
        planned(drawn, "--out", "x")
    with pytest.raises(UserError, match="--storage: SageMaker has its own"):
        planned(drawn, "--storage", "sqlite:///x.db", command="search")


def test_the_limits_know_what_botocore_only_leaves_to_the_service(drawn: Path) -> None:
    made = request(drawn)
    check_request("CreateTrainingJob", made)
    with pytest.raises(UserError, match="HyperParameters has 101 entries"):
        check_request("CreateTrainingJob", made | {"HyperParameters": {str(n): "" for n in range(101)}})
    with pytest.raises(UserError, match="'long' has 2501 characters"):
        check_request("CreateTrainingJob", made | {"HyperParameters": {"long": "x" * 2501}})
    with pytest.raises(UserError, match="Unknown parameter in input"):
        check_request("CreateTrainingJob", made | {"Colour": "red"})
    with pytest.raises(UserError, match="Missing required parameter"):
        check_request("CreateTrainingJob", {key: value for key, value in made.items() if key != "RoleArn"})
    broken = [{**made["InputDataConfig"][0], "CompressionType": "Zip"}]
    with pytest.raises(UserError, match="choose None, Gzip"):
        check_request("CreateTrainingJob", made | {"InputDataConfig": broken})


def test_it_uploads_and_creates_once_however_often_it_is_sent(
    drawn: Path, train_command: Run, to_sagemaker: list[str], jobs: Any
) -> None:
    words = [*to_sagemaker, "--yes", "--price-per-hour", "2", "semivit", "-m", drawn, "--recipe", "cpu", "--seeds", "2"]
    code, out, error = train_command(*words)
    assert code == 0, error
    assert out.split() == list(jobs.training_jobs)
    assert "16 files sent, 0 were there" in error
    assert "2 training jobs, each on 1 x ml.g5.2xlarge for at most 24 h" in error
    assert "At most 48 machine hours x 2 = 96.00" in error
    there = objects()
    recipe = next(data for key, data in there.items() if key.endswith("recipe.toml"))
    assert recipe.decode() == recipe_text(recipe_for("semivit", "cpu"), "semivit")
    assert next(data for key, data in there.items() if key.endswith("apron.parquet")) == drawn.read_bytes()
    job = next(iter(jobs.training_jobs.values()))
    for channel in job.input_data_config:
        prefix = channel["DataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://shop-originals/")
        assert any(key.startswith(prefix) for key in there)
    code, again, error = train_command(*words)
    assert (code, again) == (0, out)
    assert error.count("this very job is there; it is not sent again") == 2
    assert "files sent" not in error


def test_only_what_changed_is_uploaded_and_what_is_broken_there_is_mended(
    drawn: Path, train_command: Run, to_sagemaker: list[str], jobs: Any
) -> None:
    import boto3

    words = [*to_sagemaker, "--yes", "vit", "-m", drawn, "--recipe", "cpu"]
    assert train_command(*words)[0] == 0
    picture = next(key for key in objects() if key.endswith(".jpg"))
    whole = objects()[picture]
    boto3.client("s3").put_object(Bucket="shop-originals", Key=picture, Body=whole[:-1] + b"x")  # of the same size
    code, _, error = train_command(*words, "--set", "flip=0.25")
    assert code == 0
    assert "2 files sent, 14 were there" in error  # the recipe, and that picture
    assert objects()[picture] == whole


def test_a_job_that_failed_is_sent_again_under_the_next_name(
    drawn: Path, train_command: Run, to_sagemaker: list[str], jobs: Any
) -> None:
    words = [*to_sagemaker, "--yes", "vit", "-m", drawn, "--recipe", "cpu"]
    name = train_command(*words)[1].strip()
    jobs.training_jobs[name].training_job_status = "Failed"
    code, out, error = train_command(*words)
    assert (code, out) == (0, f"{name}-2\n")
    assert f"{name}: Failed: is sent again" in error
    first, second = jobs.training_jobs[name], jobs.training_jobs[f"{name}-2"]
    assert first.checkpoint_config == second.checkpoint_config
    jobs.training_jobs[name].training_job_status = "InProgress"
    assert train_command(*words)[1] == f"{name}\n"


def test_a_pack_travels_as_it_is(drawn: Path, train_command: Run, to_sagemaker: list[str], jobs: Any) -> None:
    from curate.dataset.pack import pack, plan_pack
    from schemas.pack import Format

    folder = drawn.parent / "apron-pack"
    pack(plan_pack(drawn, Format(64)), folder, workers=1)
    code, _, error = train_command(*to_sagemaker, "--yes", "vit", "-m", folder / "apron.parquet", "--recipe", "cpu")
    assert code == 0, error
    packed = {key.rpartition("/")[2]: data for key, data in objects().items() if "/data/apron-pack-" in key}
    assert packed == {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def test_a_search_is_sent_and_its_state_is_told(
    drawn: Path, train_command: Run, to_sagemaker: list[str], jobs: Any
) -> None:
    words = ["search", "--method", "vit", "-m", drawn, "--recipe", "cpu", "--trials", "4"]
    code, out, error = train_command(*to_sagemaker, "--yes", *words)
    assert code == 0, error
    assert out.split() == list(jobs.hyper_parameter_tuning_jobs)
    assert "4 trainings of one search" in error
    code, told, _ = train_command("submit", "--to", "sagemaker", "status", out.strip())
    assert code == 0
    assert told.startswith(f"{out.strip()}: Completed")


def test_jobs_are_followed_to_their_end_and_a_bad_end_is_exit_3(
    drawn: Path, train_command: Run, to_sagemaker: list[str], jobs: Any
) -> None:
    words = [*to_sagemaker, "--yes", "--wait", "vit", "-m", drawn, "--recipe", "cpu"]
    code, out, _ = train_command(*words)
    assert code == 0
    assert out.endswith(": Completed\n")
    name = next(iter(jobs.training_jobs))
    jobs.training_jobs[name].training_job_status = "Stopped"
    code, _, error = train_command("submit", "--to", "sagemaker", "--wait", "status", name)
    assert code == 3
    assert error.splitlines()[-1] == f"1 of 1 jobs did not complete: {name}"


def test_the_model_of_a_job_is_fetched_as_a_run_folder(
    drawn: Path,
    train_command: Run,
    to_sagemaker: list[str],
    jobs: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import boto3

    monkeypatch.chdir(tmp_path)
    name = train_command(*to_sagemaker, "--yes", "vit", "-m", drawn, "--recipe", "cpu")[1].strip()
    fetch = ["submit", "--to", "sagemaker", "fetch", name]
    assert "model.tar.gz: S3 refused GetObject" in train_command(*fetch)[2]
    (tmp_path / "run.json").write_text("{}")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "run.json", "run.json")
    key = f"consenso/output/{name}/output/model.tar.gz"
    boto3.client("s3").upload_file(str(tmp_path / "model.tar.gz"), "shop-originals", key)
    assert train_command(*fetch)[:2] == (0, f"{name} -> runs/{name}\n")
    assert (tmp_path / "runs" / name / "run.json").read_text() == "{}"
    assert "is there already; name a new folder" in train_command(*fetch)[2]


def test_nothing_is_sent_where_nobody_says_yes(
    drawn: Path, train_command: Run, to_sagemaker: list[str], jobs: Any
) -> None:
    code, out, error = train_command(*to_sagemaker, "vit", "-m", drawn, "--recipe", "cpu")
    assert (code, out) == (1, "")
    assert (
        error.splitlines()[-1] == "error: nothing was sent: this costs money, so it asks first; say --yes to go ahead"
    )
    assert not jobs.training_jobs
    assert not objects()


@pytest.mark.parametrize(
    ("given", "environment", "said"),
    [
        (["--bucket", "no-such-bucket"], {}, "--bucket s3://no-such-bucket: no such bucket; make it first, in us-east-1"),
        ([], {"AWS_ACCESS_KEY_ID": ""}, "no key for S3"),
        (["--region", ""], {"AWS_DEFAULT_REGION": ""}, "no region for SageMaker: say --region us-east-1"),
        (["--region", "eu-west-1"], {}, "lies in us-east-1, the jobs run in eu-west-1"),
        ([], {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "s3://shop-originals: S3 does not answer"),
    ],
)  # fmt: skip
def test_what_aws_refuses_is_one_line_and_nothing_is_created(
    given: list[str], environment: dict[str, str], said: str, drawn: Path, train_command: Run, to_sagemaker: list[str],
    jobs: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    with monkeypatch.context() as other:
        other.setenv("AWS_EC2_METADATA_DISABLED", "true")
        other.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        other.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        for name, value in environment.items():
            other.setenv(name, value) if value else other.delenv(name)
        words = [*to_sagemaker, *(word for word in given if word), "--yes", "vit", "-m", drawn, "--recipe", "cpu"]
        words = [word for word in words if word != "--region" or "eu-west-1" in words]
        code, out, error = train_command(*words)
    assert (code, out) == (1, "")
    assert said in error.splitlines()[-1]
    assert not jobs.training_jobs


def test_a_refusal_of_the_service_itself_is_one_line() -> None:
    """moto refuses nothing: botocore's Stubber answers in the words of AWS."""
    from botocore.stub import Stubber

    from train.submit.sagemaker import Call
    from train.submit.service import Service

    service = Service("us-east-1")
    with Stubber(service._client) as stub:
        stub.add_client_error(
            "create_training_job", "ResourceLimitExceeded", "The account-level service limit is 0 Instances"
        )
        with pytest.raises(
            UserError, match=r"^job: SageMaker refused: The account-level .* 0 Instances \(ResourceLimitExceeded\)$"
        ):
            service.create(
                Call(
                    "CreateTrainingJob",
                    {"TrainingJobName": "job", "RoleArn": TO.role, "OutputDataConfig": {"S3OutputPath": "s3://x/y"}},
                )
            )
        stub.add_client_error("describe_training_job", "ValidationException", "Requested resource not found.")
        assert service.state("job") is None
