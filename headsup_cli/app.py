"""The program `headsup`: which commands there are, and how every ending becomes an exit code."""

import inspect
import os
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Annotated, Any

import typer

from headsup_cli import __version__
from headsup_cli.commands import (
    animate,
    calibrate_check,
    console,
    doctor,
    evaluate,
    export,
    preprocess,
    reconstruct,
    render,
    sample,
    simulate,
    train,
)
from headsup_cli.errors import HeadsupError
from headsup_cli.runtime.threads import configure_threads

# Each module holds one function of its own name, the command; its docstring is the help, its parameters the options.
COMMANDS: tuple[ModuleType, ...] = (
    reconstruct,
    calibrate_check,
    animate,
    preprocess,
    export,
    render,
    sample,
    evaluate,
    simulate,
    train,
    doctor,
)

EXIT_BAD_INPUT = 2
EXIT_BUG = 101
EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the program on the command line's arguments and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    configure_threads()
    with console.messages_on_stderr():
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    """The only place where exceptions become exit codes."""
    try:
        returned = build_app()(arguments or ["--help"], prog_name="headsup", standalone_mode=False)
        sys.stdout.flush()
    except HeadsupError as error:
        return _explain(error, str(error), error.exit_code)
    except typer.TyperException as error:
        return _explain(error, _usage_sentence(error), EXIT_BAD_INPUT)
    except BrokenPipeError:  # whoever read our output has left; the interpreter's last flush must not complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return _explain_unexpected(error)
    except KeyboardInterrupt:
        returned = EXIT_INTERRUPTED
    if returned == EXIT_INTERRUPTED:  # also what typer returns after Ctrl-C inside a command
        console.report_error("interrupted")
    return returned if isinstance(returned, int) else 0


def build_app() -> typer.Typer:
    """Assemble the program from its commands."""
    app = typer.Typer(
        rich_markup_mode=None,  # plain help: quick to print, and the same in a terminal, a pipe and the docs
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback(help=_laid_out(inspect.getdoc(_headsup)))(_headsup)
    for module in COMMANDS:
        name = module.__name__.rpartition(".")[2]
        command: Callable[..., Any] = getattr(module, name)
        app.command(name.replace("_", "-"), help=_laid_out(inspect.getdoc(command)))(command)
    return app


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(f"headsup {__version__}")
        raise typer.Exit
    return wanted


def _headsup(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Turn calibrated multi-camera captures of heads into 3D Gaussian heads.

    Example:
        headsup reconstruct my_subject -o out --orbit
    """


def _laid_out(docstring: str | None) -> str:
    """Mark the paragraphs that hold indented lines, such as examples, to be printed line by line."""
    paragraphs = (docstring or "").split("\n\n")
    return "\n\n".join(f"\b\n{text}" if "\n " in text else text for text in paragraphs)


def _usage_sentence(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "headsup"
    message = error.format_message()
    return f"{message}{'' if message.endswith(('.', '?')) else '.'} See '{command} --help'."


def _explain(error: Exception, sentence: str, exit_code: int) -> int:
    if os.environ.get("HEADSUP_DEBUG"):
        traceback.print_exception(error)
    console.report_error(sentence)
    return exit_code


def _explain_unexpected(error: Exception) -> int:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the second is torch's
        sentence = "out of memory; use fewer views, a smaller size, or --device cpu if it was the GPU's."
        return _explain(error, sentence, EXIT_BAD_INPUT)
    traceback.print_exception(error)
    console.report_error(
        "this is a bug in headsup; please report it with the lines above, the command line, "
        "and the output of 'headsup doctor --json'."
    )
    return EXIT_BUG
