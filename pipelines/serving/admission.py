"""How many requests are let in at once, and who may ask at all."""

from __future__ import annotations

import asyncio
import hmac
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lesioncore.errors import LesionError, UsageError
from pipelines.serving.refusals import Refusal
from pipelines.serving.work_queue import closing

SHORTEST_KEY = 16


class Admission:
    """Counts requests, and bytes of their uploads; refuses those that there is no room for.

    Parameters
    ----------
    limit : int
        Requests at once.
    max_bytes : int
        Bytes of uploads held at once.
    pace : callable
        Seconds that one request takes the server, of late.
    longest : float
        Seconds that a request may have to wait: who would be given up later is not let in.
    """

    def __init__(
        self, limit: int, max_bytes: int, pace: Callable[[], float], longest: float
    ) -> None:
        self.limit = limit
        self.max_bytes = max_bytes
        self.pace = pace
        self.longest = longest
        self.inside = 0
        self.held = 0
        #: Set once the server is about to end: whoever is inside is answered, nobody else let in.
        self.closed = False

    @property
    def seconds_ahead(self) -> float:
        """How long a request that comes now may have to wait."""
        return self.inside * self.pace()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be inside for the time of a request.

        Raises
        ------
        Refusal
            429 when full, 503 when closed.
        """
        if self.closed:
            raise closing()
        if self.inside >= self.limit or self.seconds_ahead > self.longest:
            raise self.overloaded(f"{self.inside} requests wait or are in work")
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    def overloaded(self, found: str, code: str = "overloaded") -> Refusal:
        """Return the refusal that says when to come again."""
        seconds = min(30, max(1, math.ceil(self.seconds_ahead)))
        return Refusal(429, code, found, mend=f"ask again in {seconds} s", retry_after=seconds)

    def hold(self, count: int) -> None:
        """Take in that many bytes of an upload; `let_go` of them when the request ends.

        Raises
        ------
        Refusal
            429 when there is no room for them.
        """
        if self.held + count > self.max_bytes:
            raise self.overloaded("other uploads fill the memory")
        self.held += count

    def let_go(self, count: int) -> None:
        """Forget bytes that were held."""
        self.held -= count

    async def emptied(self) -> None:
        """Wait until nobody is inside."""
        while self.inside:
            await asyncio.sleep(0.05)


class Keys:
    """The keys that requests may carry, compared in constant time."""

    def __init__(self, keys: list[str]) -> None:
        self._keys = [key.encode() for key in keys]

    def __bool__(self) -> bool:
        """Whether a key is needed."""
        return bool(self._keys)

    @classmethod
    def read(cls, path: Path | None) -> Keys:
        """Return the keys in a file, one a line; empty lines and those that begin with # are none.

        Raises
        ------
        LesionError
            The file cannot be read.
        UsageError
            No key in it, or one that is too short.
        """
        if path is None:
            return cls([])
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise LesionError(f"cannot read the keys in {path}: {error}") from None
        keys = [line for line in lines if line and not line.startswith("#")]
        if not keys or min(map(len, keys)) < SHORTEST_KEY:
            raise UsageError(
                f"{path} holds {'a key that is too short' if keys else 'no key'}",
                wanted=f"keys of {SHORTEST_KEY} characters or more, one a line",
                mend="python -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )
        return cls(keys)

    def check(self, authorization: str | None, api_key: str | None) -> None:
        """Refuse a request without a known key, where one is needed.

        Raises
        ------
        Refusal
            401.
        """
        if not self._keys:
            return
        scheme, _, token = (authorization or "").partition(" ")
        given = (token.strip() if scheme.lower() == "bearer" else api_key or "").encode()
        # All are compared: how long it takes says nothing of which one is near.
        known = [hmac.compare_digest(given, key) for key in self._keys]
        if not any(known):
            raise Refusal(
                401, "no_key", "no key, or an unknown one",
                wanted="a key that this server knows",
                mend="send Authorization: Bearer KEY, or X-API-Key: KEY",
            )  # fmt: skip
