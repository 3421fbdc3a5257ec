"""The pages that people rate on: an image, the answer, the next image."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from agent.offline.rating.book import Book
from agent.offline.rating.images import pixels_of
from agent.ui.view.previews import draw
from agent.ui.web.access import Place
from agent.ui.web.guard import Refused, body_of
from agent.ui.web.server import Site
from devices.refusals import refused

LOG = "rate.log"
FILES = {
    "/": ("agent.offline.rating", "rate.html"),
    "/rate.css": ("agent.offline.rating", "rate.css"),
    "/rate.js": ("agent.offline.rating", "rate.js"),
    "/base.css": ("agent.ui.web", "base.css"),
    "/base.js": ("agent.ui.web", "base.js"),
    "/icon.svg": ("agent.ui.web", "icon.svg"),
}
_SIDE = 1024
Made = TypeVar("Made")


class RateSite(Site):
    """What a tester sees: never a file's name, nor whose score is whose.

    Parameters
    ----------
    book
        Order and answers.
    images
        Folder of the images.
    place
        Where the pages are served.
    log
        File for refused requests.
    """

    def __init__(self, book: Book, images: Path, place: Place, log: Path) -> None:
        super().__init__(place, log, FILES)
        self._book = book
        self._images = images
        self._one_at_a_time = threading.Lock()
        self.app.router.add_get("/api/rate", self._state)
        self.app.router.add_get("/api/image/{position:[0-9]{1,6}}", self._image)
        self.app.router.add_post("/api/answer", self._answer)
        self.app.router.add_post("/api/undo", self._undo)

    async def _beside(self, work: Callable[..., Made], *args: Any) -> Made:
        return await asyncio.to_thread(partial(work, *args))

    def _at(self, position: int) -> dict[str, Any]:
        """A position, or the first without an answer where it is below 0."""
        book = self._book
        total = len(book.order)
        here = book.next() if position < 0 else min(position, total)
        state: dict[str, Any] = {
            "study": book.study,
            "tester": book.tester,
            "position": here,
            "total": total,
            "done": len(book.answers.keys() & set(book.order)),
            "next": book.next(),
            "undo": book.last() is not None,
            "tables": [str(book.table), str(book.tables)],
        }
        if here >= total:
            return state
        shown = book.shown(here)
        state |= {"pixel_size_nm": shown.pixel_size_nm, "given": book.given(here)}
        if book.study:
            scores = {"target": shown.target, "prediction": shown.prediction}
            first = book.first[shown.key]
            second = "prediction" if first == "target" else "target"
            state["scores"] = [scores[first], scores[second]]
        return state

    async def _state(self, request: web.Request) -> web.Response:
        text = request.query.get("at", "-1")
        if not text.removeprefix("-").isdecimal() or len(text) > 7:
            raise Refused(400, f"at: {refused(text, 'a whole number')}")
        return web.json_response(self._at(int(text)))

    async def _image(self, request: web.Request) -> web.Response:
        position = int(request.match_info["position"])
        if position >= len(self._book.order):
            raise Refused(404, "there is no such image")
        made = await self._beside(self._drawn, position)
        headers = {"X-Shape": f"{made.shape[0]} {made.shape[1]}", "X-Limits": "0 0"}
        return web.Response(body=made.data, content_type=made.content_type, headers=headers)

    def _drawn(self, position: int) -> Any:
        path = self._images / self._book.shown(position).file
        return draw(pixels_of(path), side=_SIDE, limits=None, exact=True)

    async def _answer(self, request: web.Request) -> web.Response:
        """Write an answer, {position, answer}; answered with what to show next."""
        body = await body_of(request)
        position, answer = body.get("position"), body.get("answer")
        if isinstance(position, bool) or not isinstance(position, int):
            raise Refused(400, f"position: {refused(position, 'a whole number')}")
        if not 0 <= position < len(self._book.order) or set(body) != {"position", "answer"}:
            raise Refused(400, "accepted: position and answer")
        await self._written(self._book.answer, position, answer)
        return web.json_response(self._at(-1))

    async def _undo(self, request: web.Request) -> web.Response:
        """Take the last answer back, {}; answered with its image."""
        if await body_of(request):
            raise Refused(400, "accepted: {}")
        return web.json_response(self._at(await self._written(self._book.undo)))

    async def _written(self, write: Callable[..., Made], *args: Any) -> Made:
        """What the book says of something that is on disk then, even if the browser is gone."""

        def alone() -> Made:
            with self._one_at_a_time:
                return write(*args)

        try:
            return await asyncio.shield(self._beside(alone))
        except OSError as error:
            why = error.strerror or str(error)
            raise Refused(507, f"not written, so it does not count: {why}") from None
