# What a SageMaker job runs. Build from the repository's root: docker build -f docs/deploy/train.Dockerfile -t consenso-train .
# torch's wheels bring CUDA; the driver is the machine's. The job names its own entry point: python -m train.submit.container
FROM python:3.12-slim
COPY . /src
RUN pip install --no-cache-dir '/src[train]' && rm -r /src
ENV PYTHONUNBUFFERED=1
ENTRYPOINT ["python", "-m", "train.submit.container"]
