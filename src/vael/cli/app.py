"""The `vael` command: verbs, exit codes, and how a failure is told."""

import os
import sys
import traceback
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from vael.version import __version__

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

app = App(
    name="vael",
    help="Fit a variational autoencoder to your data, know its log-likelihood with an error bar, put it to work.",
    version=__version__,
    help_format="plaintext",
    default_parameter=None,
)

VERBS = {
    "fit": "Fit a variational autoencoder to data and keep the run.",
    "evaluate": "Measure a run: the bound, log p(x) and their errors.",
    "sample": "Draw new examples.",
    "encode": "Write the latent behind each example.",
    "reconstruct": "Write what the model makes of each example.",
    "classify": "Write which class each example is of.",
    "interpolate": "Write examples along the way from one row to another.",
    "refit": "Fit another prior to the codes of a run.",
    "traverse": "Write what x does when one latent moves.",
    "manifold": "Write what a plane of the latent space decodes to.",
    "analogy": "Write what arithmetic on latents gives.",
    "report": "Write one HTML page about a run: its numbers, curves, samples and latent space.",
    "doctor": "Say what is wrong with a run, why, and what to change.",
    "curve": "Fit a model at each of several weights of the rate, and draw distortion over rate.",
    "compare": "Set runs side by side, with paired errors of their differences.",
    "recipes": "List the ready recipes.",
    "reproduce": "Fit a ready recipe again and compare with its expected figures.",
    "data": "Show what is understood of a data set.",
}
for order, (verb, sentence) in enumerate(VERBS.items()):
    app.command(f"vael.cli.{verb}:{verb}", name=verb, help=sentence, sort_key=order)  # imported when it is called


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 failed for a stated reason, 2 wrong usage, 130 interrupted."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """The exit code of one command."""
    try:
        if arguments and arguments[0] in VERBS:
            app[arguments[0]].help = None  # the sentence is for the list; a verb's own help is its docstring
        app(arguments, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        return WRONG_USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as leaving:
        return int(leaving.code or 0)
    except BrokenPipeError:
        # The reader of stdout, such as `head`, has seen enough; what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        return told(error)
    return DONE


def told(error: Exception) -> int:
    """Print a failure on stderr in its own words, and give its exit code; a bug of ours keeps its traceback."""
    from vael.errors import Interrupted, VaelError

    if not isinstance(error, VaelError):
        traceback.print_exc()
        print("vael: this is a mistake in vael itself; please report it with the lines above.", file=sys.stderr)
        return FAILED
    rank = os.environ.get("RANK", "0")
    print(f"{'' if rank == '0' else f'rank {rank}: '}{type(error).__name__}: {error}", file=sys.stderr)
    return INTERRUPTED if isinstance(error, Interrupted) else FAILED
