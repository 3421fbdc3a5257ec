"""What every request passes before anything is done for it.

    host known? ── file of the page ─────────────────────────────> served, without any data in it
        └── /api ── token? ── GET ─────────────────────────────> read
                                └─ POST ── control token, our origin, JSON, small ──> act

All refusals are logged.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from agent.config.reading import UserError
from agent.ui.web.access import Place, Role, Tokens
from agent.ui.web.refusal_log import Refusals

MOST_BYTES = 16_384
"""Largest body of a request."""
_BODY_S = 5.0
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ROLE = web.RequestKey("role", str)


class Refused(Exception):
    """A request that is not served.

    Parameters
    ----------
    status
        Of the HTTP response.
    why
        Told to the page and to the log.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class RequestGuard:
    """Lets requests through, or refuses and logs them.

    Parameters
    ----------
    place
        Where the page is served.
    tokens
        Who may see it and act.
    refusals
        The log.
    """

    def __init__(self, place: Place, tokens: Tokens, refusals: Refusals) -> None:
        self._place = place
        self._tokens = tokens
        self._refusals = refusals

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Around every request."""
        response: web.StreamResponse
        try:
            self._check(request)
            response = await handler(request)
        except Refused as refused:
            response = self._refuse(request, refused.status, str(refused))
        except UserError as error:
            response = self._refuse(request, 422, str(error))
        except web.HTTPException as error:
            response = self._refuse(request, error.status, error.reason)
        if not response.prepared:
            for name, value in _HEADERS.items():
                response.headers.setdefault(name, value)
        return response

    def log_damaged(self, why: str) -> None:
        """Log something that was no HTTP request."""
        self._refusals.add(400, "?", "damaged", why)

    def log_turned_away(self, who: str, why: str) -> None:
        """Log a connection that was ended before it asked anything."""
        self._refusals.add(408, who, "connection", why)

    def _refuse(self, request: web.Request, status: int, why: str) -> web.Response:
        what = f"{request.method} {request.path}"
        self._refusals.add(status, request.remote or "?", what, why)
        response = web.json_response({"error": why}, status=status)
        # The rest of an unwanted body is not waited for.
        if request.can_read_body:
            response.force_close()
        return response

    def _check(self, request: web.Request) -> None:
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or not self._place.knows(hosts[0]):
            raise Refused(421, "this host is not served here")
        if not request.path.startswith("/api/"):
            if request.method not in ("GET", "HEAD"):
                raise Refused(405, "pages can only be read")
            return
        role = self._role(request)
        if request.method in ("GET", "HEAD"):
            request[ROLE] = role
            return
        if request.method != "POST":
            raise Refused(405, "accepted: GET and POST")
        if role != "control":
            raise Refused(403, "this link may look, but not change anything")
        self._check_origin(request)
        if request.content_type != "application/json":
            raise Refused(415, "accepted: application/json")
        if (request.content_length or 0) > MOST_BYTES:
            raise Refused(413, f"accepted: at most {MOST_BYTES} bytes")
        request[ROLE] = role

    def _role(self, request: web.Request) -> Role:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        role = self._tokens.role(token) if kind == "Bearer" else None
        if role is None:
            why = "the token is wrong" if token else "a token is needed"
            raise Refused(401, f"{why}; open the link that stedfast printed")
        return role

    def _check_origin(self, request: web.Request) -> None:
        ours = f"{self._place.scheme}://{request.headers.get('Host', '')}"
        if request.headers.get("Origin") != ours:
            raise Refused(403, "comes from another page than ours")
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise Refused(403, "comes from another page than ours")


async def body_of(request: web.Request) -> dict[str, Any]:
    """The JSON object that a request carries.

    Raises
    ------
    Refused
        It carries none, it is too large, or it does not come.
    """
    try:
        text = await asyncio.wait_for(request.read(), _BODY_S)
    except web.HTTPRequestEntityTooLarge:
        raise Refused(413, f"accepted: at most {MOST_BYTES} bytes") from None
    except TimeoutError:
        raise Refused(408, f"it did not come within {_BODY_S:g} s") from None
    try:
        data = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Refused(400, "no JSON object") from None
    if not isinstance(data, dict):
        raise Refused(400, "no JSON object")
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        raise ValueError("a key stands there twice")
    return data


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")
