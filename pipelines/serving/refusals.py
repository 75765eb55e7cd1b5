"""What the API answers in place of a number: a status, a word for machines, words for people."""

from __future__ import annotations

from typing import Any

from lesioncore.errors import LesionError
from pipelines.pipeline import NOTICE


class Refusal(LesionError):
    """A request that is not answered with a result.

    Parameters
    ----------
    status : int
        HTTP status.
    code : str
        For machines and logs: no word of the request is in it.
    found, wanted, mend : str
        As of `LesionError`.
    retry_after : int, optional
        Seconds after which to ask again.
    """

    def __init__(
        self,
        status: int,
        code: str,
        found: str,
        *,
        wanted: str | None = None,
        mend: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(found, wanted=wanted, mend=mend)
        self.status = status
        self.code = code
        self.retry_after = retry_after

    @classmethod
    def of(cls, error: LesionError, status: int, code: str) -> Refusal:
        """Return the refusal that an error of the pipeline is, itself if it is one."""
        if isinstance(error, cls):
            return error
        return cls(status, code, error.found, wanted=error.wanted, mend=error.mend)

    def body(self) -> dict[str, Any]:
        """Return the answer as JSON-ready values."""
        said = {"code": self.code, "found": self.found, "wanted": self.wanted, "mend": self.mend}
        return {"error": {key: value for key, value in said.items() if value}, "notice": NOTICE}

    def headers(self) -> dict[str, str]:
        """Return the headers that go with the status."""
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after is not None else {}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})
