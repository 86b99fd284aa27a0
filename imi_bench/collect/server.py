"""The server: pages, opaque images, and answers judged and stored before anything is told.

Routes (JSON unless said; ``Authorization: Bearer SESSION`` after entering)::

    GET  /                       the page                     POST /api/enter
    GET  /page/FILE              its scripts and styles       POST /api/state, /api/consent
    GET  /image/SESSION/NAME     a PNG file                   POST /api/instructions
    GET  /experimenter?t=TOKEN   progress, for the            POST /api/practice
                                 experimenter (HTML)          POST /api/answer
                                                              POST /api/note
                                                              POST /api/finish
                                                              POST /api/withdraw
"""

from __future__ import annotations

import contextlib
import hmac
import json
import socket
import sqlite3
import threading
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imi_bench.arguments import checked
from imi_bench.collect.desk import Desk, Refused
from imi_bench.collect.experiment import Experiment, Plan
from imi_bench.collect.links import token
from imi_bench.collect.store import Store
from imi_bench.errors import InputError, UnknownNameError
from imi_bench.extras import require
from imi_bench.release.exclusions import Rules
from imi_bench.tables import Trials

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

PAGE_FILES = (
    "index.html",
    "study.js",
    "texts.js",
    "tasks.js",
    "study.css",
    "vendor/jspsych.js",
    "vendor/jspsych.css",
    "vendor/plugin-browser-check.js",
    "vendor/plugin-call-function.js",
    "vendor/plugin-fullscreen.js",
    "vendor/plugin-instructions.js",
    "vendor/plugin-preload.js",
    "vendor/plugin-survey-text.js",
)
VERBS = (
    "state",
    "consent",
    "instructions",
    "practice",
    "answer",
    "note",
    "finish",
    "withdraw",
)
_WITHOUT_BODY = ("state", "instructions", "practice", "withdraw")
_KIND = {"html": "text/html", "js": "text/javascript", "css": "text/css"}
_BODY_BYTES = 16_384
_BACKLOG = 2048
_IMAGE_HEADERS = {"Cache-Control": "private, max-age=86400"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "style-src-attr 'unsafe-inline'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def experimenter_token(store: Store) -> str:
    """What opens the page of progress."""
    return token(store.secret, "experimenter")


class _Endpoints:
    """What the routes answer with; the desk decides, here it is put into words of HTTP."""

    def __init__(self, desk: Desk) -> None:
        page = resources.files("imi_bench.collect") / "page"
        self.files = {name: page.joinpath(name).read_bytes() for name in PAGE_FILES}
        self.desk = desk
        self.token = experimenter_token(desk.store)

    def _answer(self, verb: str, session: str, body: dict[str, Any]) -> Any:
        """What the desk says to one request; in a thread, since it reads and writes files."""
        if verb == "enter":
            return self.desk.enter(body)
        if verb not in VERBS:
            raise Refused(404, "no such verb")
        try:
            known = self.desk.store.session(session)
        except InputError:
            raise Refused(401, "no such session") from None
        asked = getattr(self.desk, verb)
        return asked(known) if verb in _WITHOUT_BODY else asked(known, body)

    async def api(self, request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import JSONResponse

        session = request.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            body = await _body_of(request)
            verb = request.path_params["verb"]
            return JSONResponse(await run_in_threadpool(self._answer, verb, session, body))
        except Refused as refused:
            return JSONResponse({"error": refused.why}, refused.status)
        except (sqlite3.OperationalError, OSError) as error:
            # a full disk, a locked file: nothing was acknowledged, the page tries again
            return JSONResponse({"error": f"the answer could not be stored: {error}"}, 503)

    async def image(self, request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import JSONResponse, Response

        wanted = (request.path_params["session"], request.path_params["name"])
        try:
            data = await run_in_threadpool(self.desk.image, *wanted)
        except Refused as refused:
            return JSONResponse({"error": refused.why}, refused.status)
        return Response(data, media_type="image/png", headers=_IMAGE_HEADERS)

    async def file(self, request: Request) -> Response:
        from starlette.responses import JSONResponse, Response

        name = request.path_params.get("name", "index.html")
        if name not in self.files:
            return JSONResponse({"error": "no such file"}, 404)
        return Response(self.files[name], media_type=_KIND[name.rpartition(".")[2]])

    async def progress(self, request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import HTMLResponse, JSONResponse

        if not hmac.compare_digest(request.query_params.get("t", ""), self.token):
            return JSONResponse({"error": "for the experimenter alone"}, 403)
        from imi_bench.collect.progress_report import status

        found = await run_in_threadpool(status, self.desk.store)
        return HTMLResponse(found.page())

    async def favicon(self, request: Request) -> Response:
        from starlette.responses import Response

        return Response(status_code=204)


async def _body_of(request: Request) -> dict[str, Any]:
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > _BODY_BYTES:
            raise Refused(413, f"more than {_BODY_BYTES} bytes")
    try:
        body = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        raise Refused(400, "not JSON") from None
    if not isinstance(body, dict):
        raise Refused(400, "not a JSON object")
    return body


def application(desk: Desk) -> Starlette:
    """The web application around a desk."""
    require("starlette", for_="collecting answers")
    from starlette.applications import Starlette
    from starlette.routing import Route

    ends = _Endpoints(desk)
    app = Starlette(
        routes=[
            Route("/", ends.file),
            Route("/favicon.ico", ends.favicon),
            Route("/page/{name:path}", ends.file),
            Route("/image/{session}/{name}.png", ends.image),
            Route("/experimenter", ends.progress),
            Route("/api/{verb}", ends.api, methods=["POST"]),
        ]
    )
    return _with_headers(app)


def _with_headers(app: Any) -> Any:
    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        async def headed(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        await app(scope, receive, headed if scope["type"] == "http" else send)

    return wrapped


def listen(host: str, port: int) -> socket.socket:
    """A listening socket with room for a crowd that posts at once.

    Raises
    ------
    InputError
        The port is taken or not allowed.
    """
    if not 0 <= port <= 65_535:
        raise InputError("no such port", found=port, wanted="0 to 65535")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        place = socket.socket(family, socket.SOCK_STREAM)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind((host, port))
        place.listen(_BACKLOG)
    except OSError as error:
        place.close()
        raise InputError(
            "cannot listen", where=f"{host}:{port}", found=error.strerror, do="give another port="
        ) from error
    return place


class Running:
    """A server in a thread of its own, for notebooks and tests.

    Attributes
    ----------
    url : str
        Where it is.
    experimenter_url : str
    store : Store
    experiment : Experiment
    """

    def __init__(self, desk: Desk, place: socket.socket) -> None:
        self.store = desk.store
        self.experiment = desk.experiment
        self.server = _uvicorn(application(desk))
        host, port = place.getsockname()[:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self.experimenter_url = (
            f"{self.url}/experimenter?t={token(self.store.secret, 'experimenter')}"
        )
        self._place = place
        self._thread = threading.Thread(
            target=self.server.run, kwargs={"sockets": [place]}, daemon=True
        )

    def __repr__(self) -> str:
        return f"Running({self.url})"

    def __enter__(self) -> Running:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def wait(self) -> None:
        """Serve until stopped, in this thread."""
        self.server.run(sockets=[self._place])

    def stop(self) -> None:
        """End; what was acknowledged is on disk."""
        self.server.should_exit = True
        with contextlib.suppress(RuntimeError):
            self._thread.join(timeout=10)
        self._place.close()
        self.store.close()


def _uvicorn(app: Any) -> Any:
    uvicorn = require("uvicorn", for_="collecting answers")
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        backlog=_BACKLOG,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)


@checked
def serve(
    trials: Trials | str | Path,
    *,
    db: str | Path,
    plan: Plan | None = None,
    practice: Trials | str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    open_door: bool = True,
) -> Running:
    """Serve an experiment; nothing runs until the result is started.

    Parameters
    ----------
    trials : Trials, str or Path
        What is asked; a folder or table as `read_trials` takes.
    db : str or Path
        The database; begun where it does not exist, else that of the same experiment.
    plan : Plan, optional
    practice : Trials, str or Path, optional
        Practice trials of one's own.
    host, port : str and int
        Where to listen; port 0 takes a free one.
    open_door : bool
        Whether people may take part without a link.

    Returns
    -------
    Running
        A context manager: ``with serve(trials, db="answers.db") as running: ...``.

    Raises
    ------
    InputError, NotComparableError
        See `Store` and `listen`.
    """
    experiment = Experiment(
        read(trials), plan or Plan(), None if practice is None else read(practice)
    )
    store = Store(db, experiment=experiment)
    try:
        place = listen(host, port)
    except InputError:
        store.close()
        raise
    return Running(Desk(experiment, store, open_door=open_door), place)


@checked
def read(trials: Trials | str | Path, *, network: str = "unnamed") -> Trials:
    """Trials as given, or read from disk."""
    from imi_bench.stimuli.trial_files import read_trials

    if isinstance(trials, Trials):
        return trials
    return read_trials(Path(trials), network=network)


@checked
def rules_named(name: str) -> Rules:
    """``published``: the paper's criteria; ``none``: everybody who finished is kept.

    Raises
    ------
    UnknownNameError
        For another name.
    """
    known = {"published": Rules.published, "none": Rules}
    UnknownNameError.unless_among(name, known, kind="rules")
    return known[name]()
