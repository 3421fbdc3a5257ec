"""What the pages of a run can ask for, and the one thing that they can do."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from agent.config.reading import UserError
from agent.record.strict_json import dumps
from agent.steering.control_file import COMMANDS
from agent.steering.tell import submit
from agent.ui.report.projection import NAMES, PROJECTIONS
from agent.ui.view import payloads
from agent.ui.view.charts import CHARTS
from agent.ui.view.previews import KINDS, LARGEST, Previews
from agent.ui.view.reader import Reader
from agent.ui.view.reports import POLICY, Reports
from agent.ui.view.run_state import FrameState
from agent.ui.view.turns import Pace
from agent.ui.web.access import Place
from agent.ui.web.guard import ROLE, Refused, body_of
from agent.ui.web.server import Site

LOG = "view.log"
FILES = {
    "/": ("agent.ui.view", "view.html"),
    "/view.css": ("agent.ui.view", "view.css"),
    "/view.js": ("agent.ui.view", "view.js"),
    "/panes.js": ("agent.ui.view", "panes.js"),
    "/together.js": ("agent.ui.view", "together.js"),
    "/controls.js": ("agent.ui.view", "controls.js"),
    "/pointing.js": ("agent.ui.view", "pointing.js"),
    "/trials.js": ("agent.ui.view", "trials.js"),
    "/base.css": ("agent.ui.web", "base.css"),
    "/base.js": ("agent.ui.web", "base.js"),
    "/icon.svg": ("agent.ui.web", "icon.svg"),
}
_WAIT_S = 12.0
"""Longest time that a page waits for something new in one request."""
_TICK_S = 0.1
_THREADS = 2
_COMMANDS_A_MINUTE = 60
_PAGE = re.compile(r"[0-9a-f]{8,32}")
_ID = re.compile(r"[0-9A-Za-z_-]{8,64}")
_NAME = re.compile(r"[\w .\-']{0,40}")
Made = TypeVar("Made")


class RunSite(Site):
    """The pages of one run.

    Parameters
    ----------
    folder
        The run's.
    place
        Where they are served.
    """

    def __init__(self, folder: Path, place: Place) -> None:
        super().__init__(place, folder / LOG, FILES)
        self.reader = Reader(folder)
        self._folder = folder
        self._pace = Pace()
        self._previews: Previews | None = None
        self._charts: dict[str, tuple[int, str | None]] = {}
        self._threads = ThreadPoolExecutor(_THREADS, "pages")
        self._reports = Reports(folder)
        self._drawing = ThreadPoolExecutor(1, "report")
        self._told: deque[float] = deque(maxlen=_COMMANDS_A_MINUTE)
        self._ids: set[str] = set()
        add = self.app.router.add_get
        add("/api/state", self._state)
        add("/api/trials", partial(self._part, payloads.trials))
        add("/api/settings", partial(self._part, payloads.settings))
        add("/api/log", partial(self._part, payloads.log))
        add("/api/frames", partial(self._part, payloads.frames))
        add("/api/chart/{name:[a-z]{1,20}}", self._chart)
        add("/api/share", self._share)
        add("/api/report", self._report)
        add("/report/{word:[0-9A-Za-z_-]{32}}", self._drawn)
        add("/api/frame/{index:[0-9]{1,9}}", self._frame)
        add("/api/place/{index:[0-9]{1,9}}", self._place)
        add("/api/region/{index:[0-9]{1,9}}", self._region)
        add("/api/frame/{kind:[a-z]{1,20}}/{index:[0-9]{1,9}}", self._picture)
        self.app.router.add_post("/api/command", self._command)

    async def _beside(self, work: Callable[..., Made], *args: Any, **more: Any) -> Made:
        """Do something that reads the disk or draws, beside the server's own thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(work, *args, **more))

    async def _state(self, request: web.Request) -> web.Response:
        """The state; waits until it is another one than the page has, but not for ever.

        A page that names itself waits for its turn, too, where only frames are new.
        """
        now = self.asked_at = time.monotonic()
        after, news = _whole(request, "after", -1), _whole(request, "news", -1)
        rest_s = self._rest_s(request, now)
        due, until = now + rest_s, now + _WAIT_S
        while True:
            if not self.reader.fresh:
                await self._beside(self.reader.refresh)
            now, version = time.monotonic(), self.reader.version
            urgent = news != self.reader.news
            if now > until or (version != after and (urgent or now >= due)):
                break
            await asyncio.sleep(_TICK_S if now >= due else min(2 * _TICK_S, due - now))
        self.asked_at = time.monotonic()
        state = await self._beside(self.reader.look, payloads.state)
        return _answer({**state, "role": request[ROLE], "rest_s": rest_s})

    def _rest_s(self, request: web.Request, now: float) -> float:
        page = request.query.get("page", "")
        took_s = min(_whole(request, "took", 0), 60_000) * 1e-3
        return self._pace.rest_s(page, took_s, now) if _PAGE.fullmatch(page) else 0.0

    async def _part(self, make: Callable[[Reader], Any], request: web.Request) -> web.Response:
        return _answer(await self._beside(self.reader.look, make))

    async def _chart(self, request: web.Request) -> web.Response:
        """A chart; all pages that want it in the same state get the same drawing."""
        course, config = self.reader.course, self.reader.config
        name, version = request.match_info["name"], self.reader.version
        if name not in CHARTS:
            raise Refused(404, f"accepted: {', '.join(CHARTS)}")
        made = self._charts.get(name)
        if made is None or made[0] != version:
            drawn = None
            if course is not None and config is not None:
                draw = CHARTS[name]
                drawn = await self._beside(self.reader.look, lambda _: draw(course, config))
            made = self._charts[name] = version, drawn
        return web.json_response({"svg": made[1]})

    async def _share(self, request: web.Request) -> web.Response:
        if request[ROLE] != "control":
            raise Refused(403, "only a control link can share the run")
        return web.json_response({"link": self.links.read})

    async def _report(self, request: web.Request) -> web.Response:
        """Draw the report; answered with where it is."""
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._drawing, self._reports.draw, self.reader.version)
        return web.json_response({"path": f"/report/{await asyncio.shield(work)}"})

    async def _drawn(self, request: web.Request) -> web.Response:
        page = self._reports.page(request.match_info["word"])
        if page is None:
            raise Refused(404, "this report is no longer kept; open it from the page again")
        headers = {"Content-Security-Policy": POLICY}
        return web.Response(body=page, content_type="text/html", charset="utf-8", headers=headers)

    async def _frame(self, request: web.Request) -> web.Response:
        index = int(request.match_info["index"])
        found = await self._beside(self.reader.look, partial(payloads.frame, index=index))
        if found is None:
            raise Refused(404, "there is no such frame")
        return _answer(found)

    async def _picture(self, request: web.Request) -> web.Response:
        kind, index = request.match_info["kind"], int(request.match_info["index"])
        if kind not in KINDS:
            raise Refused(404, f"accepted: {', '.join(KINDS)}")
        course = self.reader.course
        source = "filtered" if kind == "sd" else kind
        if self.reader.config is None or course is None or index > course.newest.get(source, -1):
            raise Refused(404, "there is no such frame")
        words: str | None = _channel_of(course.frames.get(index))
        projection, stack = request.query.get("project", ""), [index]
        if projection not in ("", *PROJECTIONS):
            raise Refused(400, f"project: accepted: {', '.join(PROJECTIONS)}")
        if projection and kind in ("raw", "filtered"):
            stack = await self._beside(self.reader.look, partial(payloads.stack, index=index))
            if kind == "filtered":
                stack = [one for one in stack if course.frames[one].filtered is not None]
            if len(stack) > 1:
                words = f"{words}, {NAMES[projection]} of {len(stack)} planes"
        if kind == "reconstructed":
            words = await self._beside(self.reader.look, partial(payloads.rebuilt, number=index))
            if words is None:
                raise Refused(404, "no such frame was rebuilt")
        if self._previews is None:
            pixel_um = self.reader.config.microscope.pixel_size_nm * 1e-3
            self._previews = Previews(self._folder, pixel_um)
        low, high = _number(request, "low"), _number(request, "high")
        limits = (low, high) if low is not None and high is not None else None
        if limits is not None and limits[0] >= limits[1]:
            raise Refused(400, "low must be below high")
        try:
            made = await self._beside(
                self._previews.make,
                kind,
                index,
                side=min(_whole(request, "side", 512), LARGEST),
                limits=limits,
                exact=request.query.get("exact") == "1",
                stack=stack,
                projection=projection if len(stack) > 1 else "",
            )
        except LookupError:
            raise Refused(404, "there is no such frame") from None
        self.asked_at = time.monotonic()
        pixel_um = self.reader.config.microscope.pixel_size_nm * 1e-3
        places: list[tuple[int, float, float]] = []
        if kind != "reconstructed":
            find = partial(payloads.scale, index=index)
            pixel_um, places = await self._beside(self.reader.look, find)
        headers = {
            "X-Limits": f"{made.limits[0]:.6g} {made.limits[1]:.6g}",
            "X-Shape": f"{made.shape[0]} {made.shape[1]}",
            "X-Pixel": f"{pixel_um:.6g}",
            "X-Mode": words or "",
            "X-Places": ", ".join(f"{field} {x:.4f} {y:.4f}" for field, x, y in places),
        }
        return web.Response(body=made.data, content_type=made.content_type, headers=headers)

    async def _place(self, request: web.Request) -> web.Response:
        """Where on the stage a point of a frame is; without a point, where the stage was."""
        point = _shares(request, "across", "down")
        return await self._pointed(request, "place", partial(payloads.place, point=point))

    async def _region(self, request: web.Request) -> web.Response:
        """What to tell to take a part of a frame only; without a part, all of it."""
        first, last = _shares(request, "left", "top"), _shares(request, "right", "bottom")
        corners = None if first is None or last is None else (first, last)
        return await self._pointed(request, "roi", partial(payloads.region, corners=corners))

    async def _pointed(
        self, request: web.Request, name: str, find: Callable[..., Any]
    ) -> web.Response:
        index = int(request.match_info["index"])
        try:
            found = await self._beside(self.reader.look, partial(find, index=index))
        except UserError as error:
            raise Refused(422, str(error)) from None
        if found is None:
            raise Refused(404, "there is no such frame")
        return _answer({name: found})

    async def _command(self, request: web.Request) -> web.Response:
        """Write a line to the control file: {id, name, tell: {key: value}}."""
        body = await body_of(request)
        if set(body) - {"id", "name", "tell"} or not isinstance(body.get("tell"), dict):
            raise Refused(400, "accepted: id, name and tell")
        number, name = body.get("id"), body.get("name", "")
        if not isinstance(number, str) or not _ID.fullmatch(number):
            raise Refused(400, "id: accepted: 8 … 64 letters and digits")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise Refused(400, "name: accepted: up to 40 letters")
        if number in self._ids:
            raise Refused(409, "this command was given before")
        now = time.monotonic()
        if len(self._told) == _COMMANDS_A_MINUTE and now - self._told[0] < 60:
            raise Refused(429, f"accepted: {_COMMANDS_A_MINUTE} commands a minute")
        self._told.append(now)
        who = f"{name.strip() or 'page'} ({request.remote})"
        # From here on it happens as a whole, even if the browser is gone.
        self._ids.add(number)
        work = self._beside(submit, self._folder, body["tell"], by=who, id=number)
        try:
            said = await asyncio.shield(work)
        except UserError as error:
            why = str(error).removeprefix(f"{self._folder}: ")
            raise Refused(422, why) from None
        at_once = any(key in COMMANDS for key in body["tell"])
        return web.json_response({"said": said, "command": at_once})


def _answer(data: Any) -> web.Response:
    """Data of a run; a number that is none, as own code may give it, must not stop the page."""
    return web.json_response(data, dumps=dumps)


def _channel_of(shown: FrameState | None) -> str:
    """A frame's channel, as a header may carry it."""
    channel = (shown.channel or "") if shown is not None else ""
    return channel if channel.isascii() and channel.isprintable() else ""


def _shares(request: web.Request, across: str, down: str) -> tuple[float, float] | None:
    """A point of a frame, as shares of it; None where it is not there as a whole."""
    x, y = _number(request, across), _number(request, down)
    if x is None or y is None:
        return None
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise Refused(400, f"{across}, {down}: accepted: 0 … 1")
    return x, y


def _whole(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    if not text:
        return default
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise Refused(400, f"{name}: accepted: a whole number")
    return int(text)


def _number(request: web.Request, name: str) -> float | None:
    text = request.query.get(name, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e12:
        raise Refused(400, f"{name}: accepted: a number")
    return value
