"""The command line. Heavy imports wait inside the commands, so that help answers at once."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import warnings
from typing import Annotated, NoReturn

import typer

from agent.cli import bench, check, images, inspect, run, simulate, train
from agent.cli.machine import in_words
from agent.cli.terminal import hold_anything, say
from agent.config.reading import UserError
from agent.run import signals
from devices.errors import DeviceFault, Interrupted
from devices.opening import hanging

app = typer.Typer(
    name="stedfast",
    help="Closed-loop control of STED microscopes.",
    no_args_is_help=True,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _stedfast(
    version: Annotated[
        bool, typer.Option("--version", help="say which version this is", is_eager=True)
    ] = False,
) -> None:
    if version:
        from agent.record.folder import versions

        about = versions()
        commit = f", commit {about['commit']}" if "commit" in about else ""
        print(f"stedfast {about.get('stedfast', '(not installed)')}{commit}")
        raise typer.Exit


# Help lists them in this order.
app.command()(run.run)
app.command("view")(run.view_)
app.command()(run.resume)
app.command()(check.check)
app.command()(run.safe)
app.command()(run.devices)
app.command()(run.calibrate)
app.command()(inspect.score)
app.command("filter")(images.filter_)
app.command()(images.reconstruct)
app.command()(inspect.study)
app.command()(inspect.rate)
app.command()(inspect.show)
app.command()(inspect.export)
app.command()(inspect.report)
app.command()(inspect.replay)
# A place may be at negative coordinates.
app.command(context_settings={"ignore_unknown_options": True})(run.tell)
app.command()(bench.bench)
app.add_typer(simulate.app, name="simulate")
app.add_typer(train.app, name="train")


def main() -> NoReturn:
    """Entry point: the command as a process, which ends even if a device hangs in its driver."""
    signals.last()
    code = 1
    try:
        command()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    except KeyboardInterrupt:
        code = 130
    for stream in filter(None, (sys.stdout, sys.stderr)):  # none where it was closed from the start
        try:
            stream.flush()
        except OSError:  # the output has no reader
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if hanging():
        os._exit(code)
    sys.exit(code)


def command() -> NoReturn:
    """Mistakes in a config, a file or a folder end with 2 and no traceback.

    Raises
    ------
    SystemExit
        Always, with the exit code.
    """
    hold_anything()
    # Micro-Manager's Python side writes coloured lines of its own about events reported here anyway
    # ("MDA Canceled" at each pause), and tracebacks where its log cannot be written.
    os.environ.setdefault("PYMM_LOG_LEVEL", "CRITICAL")
    # What it writes by loggers that nobody listens to, Python prints.
    logging.getLogger("pymmcore_plus").addHandler(logging.NullHandler())
    logging.raiseExceptions = False
    # Warnings of scikit-optimize and its Gaussian processes that no user can act on.
    warnings.filterwarnings("ignore", message="The optimal value found for dimension")
    warnings.filterwarnings("ignore", category=UserWarning, module="skopt")
    try:
        app()
    except UserError as error:
        _leave(2, error)
    except DeviceFault as error:
        _leave(1, error)
    except Interrupted as error:
        _leave(130, error)
    except (OSError, MemoryError, sqlite3.Error) as error:
        line, code = in_words(error)
        say(line)
        sys.exit(code)
    except SystemExit as left:
        # Typer ends with the same code as a run that was stopped, and without a word.
        if isinstance(left.__context__ and left.__context__.__cause__, KeyboardInterrupt):
            say("interrupted")
        raise
    sys.exit(0)


def _leave(code: int, error: Exception) -> NoReturn:
    say(str(error))
    for note in getattr(error, "__notes__", ()):
        say(note)
    sys.exit(code)
