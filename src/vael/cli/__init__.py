"""The command line: one file per verb. Progress goes to stderr, results to stdout."""

from vael.cli.app import main

__all__ = ["main"]
