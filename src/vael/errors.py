"""What can go wrong, by name. Every message says who speaks, what was expected, what came, what to do."""


class VaelError(Exception):
    """Any failure with a stated reason. The command line prints it and exits with 1."""


class DataError(VaelError, ValueError):
    """Data that cannot be what it is declared to be: names source, column, row, value and the remedy."""


class ShapeError(VaelError, ValueError):
    """A tensor or array whose shape does not fit the model: names both shapes."""


class RecipeError(VaelError, ValueError):
    """A setting that does not exist, or does not fit the others: names the key and what is allowed."""


class DamagedFile(VaelError, OSError):
    """A file that is torn, altered or of the wrong format: names the file and how to go on."""


class WriteError(VaelError, OSError):
    """A file that could not be written, a full disk for one; what stood there before is untouched."""


class TrainingError(VaelError, ArithmeticError):
    """Training that cannot go on: names the step and the first term that stopped being finite."""


class Interrupted(VaelError):
    """Training stopped by Ctrl-C or SIGTERM; the run is saved and resumes. The command line exits with 130."""
