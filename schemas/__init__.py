"""The contracts that `curate` and `train` stand on: tables, the task file, the manifest, and errors a person can mend."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("consenso")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"
