"""Who may talk to the pages: this machine, or who has the key; and no other site's scripts."""

from __future__ import annotations

import hmac
import ipaddress
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "lesion_qa_key"
#: A drawn mask of the largest page is a few hundred kilobytes.
_MOST_BYTES = 16 * 2**20
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: browsers would then send the origin of a form as null.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address that a server listens at."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware in front of all pages.

    A name that points here by a trick (DNS rebinding) is refused on this machine; elsewhere the
    key is. What changes anything must come from a page of this very server.

    Parameters
    ----------
    app : ASGIApp
    key : str, optional
        Word that opens the pages, as `?key=...` once, then as a cookie.
    local : bool
        The server listens on this machine alone.
    """

    def __init__(self, app: ASGIApp, *, key: str | None, local: bool) -> None:
        self.app = app
        self.key = key
        self.local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for the app, or let it answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((name.lower().encode(), value.encode()) for name, value in _HEADERS.items()),
                ]
            await send(message)

        answer = self._refusal(scope) or self._key_question(scope)
        await (answer or self.app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        host = _header(scope, "host")
        if self.local and not is_loopback(urlsplit(f"//{host}").hostname or ""):
            return PlainTextResponse("this server answers to localhost alone", 421)
        if scope["method"] in ("GET", "HEAD"):
            return None
        if scope["method"] != "POST":
            return PlainTextResponse("only GET and POST", 405)
        if not _same_origin(scope, host):
            return PlainTextResponse("a request from another site", 403)
        length = _header(scope, "content-length")
        if not length.isdigit() or int(length) > _MOST_BYTES:
            return PlainTextResponse("too large, or of unknown length", 413)
        return None

    def _key_question(self, scope: Scope) -> Response | None:
        if self.key is None:
            return None
        cookie = SimpleCookie(_header(scope, "cookie")).get(COOKIE)
        if cookie is not None and self._right(cookie.value):
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        given = query.pop("key", [""])[0]
        if scope["method"] == "GET" and self._right(given):
            rest = urlencode(query, doseq=True)
            # Out of the address, so that it stays out of histories and screenshots.
            answer = RedirectResponse(scope["path"] + (f"?{rest}" if rest else ""), 303)
            answer.set_cookie(COOKIE, given, httponly=True, samesite="strict")
            return answer
        return PlainTextResponse("open the address with the key that `lesion qa` printed", 401)

    def _right(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (self.key or "").encode())


def _same_origin(scope: Scope, host: str) -> bool:
    origin = _header(scope, "origin")
    if origin:
        return urlsplit(origin).netloc == host
    return _header(scope, "sec-fetch-site") == "same-origin"


def _header(scope: dict[str, Any] | Scope, name: str) -> str:
    wanted = name.encode()
    found = (value for key, value in scope["headers"] if key == wanted)
    return next(found, b"").decode("latin-1")
