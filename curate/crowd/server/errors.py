"""What the server answers when a request cannot be done, in the words that MTurk clients match on."""

from __future__ import annotations

PREFIX = "AWS.MechanicalTurk."


class RequestError(Exception):
    """The requester asked for something that cannot be; becomes the modeled RequestError with its TurkErrorCode."""

    kind = "RequestError"
    status = 400

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code if code.startswith("AWS.") else PREFIX + code
        self.message = message


class BadInput(RequestError):
    """A value that the service model or the documentation does not allow."""

    def __init__(self, message: str) -> None:
        super().__init__("ParameterValidationError", message)


class BadXml(RequestError):
    """Question or answer data that is not what its schema says."""

    def __init__(self, details: str) -> None:
        super().__init__(
            "XMLParseError",
            "There was an error parsing the XML question or answer data in your request. Please make sure the data is "
            f"well-formed and validates against the appropriate schema. Details: {details}",
        )


class NotSigned(RequestError):
    """A request without a valid signature; `kind` is the name that AWS clients know."""

    def __init__(self, kind: str, message: str, status: int = 403) -> None:
        super().__init__("", message)
        self.kind = kind
        self.status = status


class WorkerError(Exception):
    """A worker cannot do this now; the page says why. `status` is the HTTP status.

    `message` is a key of `texts`, or the words themselves; `values` stand in its braces.
    """

    def __init__(self, message: str, status: int = 409, **values: object) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.values = values
