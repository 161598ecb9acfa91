"""What can go wrong. Every error of this package is a :class:`TfconvrnnError`."""

from __future__ import annotations


class TfconvrnnError(Exception):
    """The program failed; the message is the program's.

    ``exit_code`` is the program's, or None where no program ran.
    """

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ProgramMissingError(TfconvrnnError):
    """There is no tfconvrnn-cli, or not the one of this version."""


class UsageError(TfconvrnnError, ValueError):
    """An unknown model or layer, an option or presentation that is impossible, or an output that exists."""


class InputError(TfconvrnnError, ValueError):
    """A picture, array or file that is missing, damaged or of a wrong kind."""


class MissingError(TfconvrnnError):
    """Something has to be installed first: TensorFlow's library, a model's weights, a device."""


class ProgramDied(TfconvrnnError):
    """The program behind a loaded model ended by itself."""


class ServiceError(TfconvrnnError):
    """A service did not answer as it was asked to.

    ``status`` is HTTP's: 401 without the right token, 429 where it is too busy; None where it cannot be reached.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class RequestError(ServiceError, ValueError):
    """A service finds a request wrong: an unknown model, layer or parameter, a damaged picture, or too much at once."""


_BY_CODE = {2: UsageError, 3: InputError, 4: MissingError}


def of_exit_code(code: int, message: str) -> TfconvrnnError:
    """Return the error that an exit code of the program means."""
    return _BY_CODE.get(code, TfconvrnnError)(message, code)
