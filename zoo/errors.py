"""Every refusal of the library is a `ZooError`: what, where, what was expected, how to mend it.

Each subclass also derives from the built-in exception a caller would expect (`ValueError`,
`KeyError`, ...), so code that knows nothing of this package still catches it.
"""

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """Base of all errors that a user's input or environment can cause."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0]) if self.args else ""


class UnknownNameError(ZooError, KeyError):
    """A name that no registry holds."""


class UnknownModelError(UnknownNameError):
    """An architecture, preset or checkpoint that does not exist."""


class UnknownHeadError(UnknownNameError):
    """A head that the model does not have."""


class ConfigError(ZooError, ValueError):
    """An unknown or ill-typed hyper-parameter or argument."""


class RecipeError(ConfigError):
    """A recipe that does not follow the schema."""


class IntegrityError(ZooError, ValueError):
    """A file whose digest or size differs from the manifest's."""


class UnsafeFileError(ZooError, ValueError):
    """A file that could execute code when read, or whose header is malformed."""


class ManifestError(ZooError, ValueError):
    """A manifest that does not follow the schema."""


class StateMismatchError(ZooError, ValueError):
    """Weights that lack parameters, have too many, or have other shapes."""


class SpecError(ZooError, ValueError):
    """Weights of a version or convention that this release can't read."""


class GoldenMismatchError(ZooError, ValueError):
    """A model that does not reproduce the outputs stored with its weights."""


class CertificateError(ZooError, ValueError):
    """Weights that may not be released, since nobody measured them or a check failed."""


class UnsupportedInputError(ZooError, ValueError):
    """A structure that the model can't take."""


class UnsupportedElementError(UnsupportedInputError):
    """A chemical element that the model was not trained on."""


class OutsideDomainError(UnsupportedInputError):
    """A structure outside the training domain, where such are to be refused."""


class TrustWarning(UserWarning):
    """A structure outside the training domain, where such are to be pointed out."""


class CapabilityError(ZooError, NotImplementedError):
    """A property that the model does not provide."""


class DataError(ZooError, ValueError):
    """A data set with missing, ill-shaped or non-finite entries."""


class ManifoldError(ZooError, ValueError):
    """A point, matrix or basis that does not lie on the manifold it is used on."""


class UnitsRequiredError(DataError):
    """A file format without units, opened without `units=`."""


class OfflineError(ZooError, OSError):
    """A file that is not here while the network may not be used."""


class DownloadError(ZooError, OSError):
    """A download that failed on every address."""


class OutputError(ZooError, OSError):
    """An output that can't be written."""


class Interrupted(ZooError, KeyboardInterrupt):
    """A run that the user stopped; the command exits with 130."""


class MissingExtraError(ZooError, ImportError):
    """An optional package that is not installed."""


class DeviceError(ZooError, ValueError):
    """A device or precision that is not available."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """Ends an error message: the known names nearest to `name`, or all of a short list.

    Args:
        name: what the user wrote.
        known: the names that exist.
        count: how many to offer at most.

    Returns:
        A clause such as `did you mean "tensornet"?`, or an empty string if nothing is known.
    """
    names = sorted(set(known))
    close = difflib.get_close_matches(name.lower(), names, n=count, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    if not names:
        return "none exist"
    listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"known: {listed}"
