"""Training elsewhere: the same command line, checked here, as a SageMaker job or an sbatch file.

asked      what is to be trained, parsed by the very commands that train here, and checked before anything is sent
settings   where it goes: flags, and submit.toml
sagemaker  the requests; limits checks them against botocore's service model; upload brings the data to S3; service calls AWS
container  what runs inside the job; job is the training that it starts
slurm      the sbatch file
"""
