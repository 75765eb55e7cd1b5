"""The pages of `lesion qa` and what their scripts ask for."""

from __future__ import annotations

import base64
import binascii
import secrets
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote

from fastapi import BackgroundTasks, FastAPI, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from lesioncore.errors import LesionError
from pipelines.qa import locks, queue
from pipelines.qa.assistant import PageAssistant
from pipelines.qa.decisions import Action, undo
from pipelines.qa.guard import Guard
from pipelines.qa.pages import Pages
from pipelines.qa.pixels import at_view, mask_of_png, mask_png, view_shape
from pipelines.qa.progress import progress
from pipelines.qa.round import ReviewRound
from pipelines.qa.view import item

#: Images that a page holds ready, the one on the screen included.
AHEAD = 6
_NAME_COOKIE = "lesion_qa_reviewer"
_FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}

ImageId = Annotated[str, Field(max_length=400)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Place = tuple[Fraction, Fraction]


class Claim(BaseModel):
    """A page speaks, and says for whom: another tab may have changed the cookie since."""

    page: str = Field(max_length=40)
    reviewer: str = Field(min_length=1, max_length=60)


class Decide(Claim):
    """A key was pressed."""

    key: str = Field(min_length=8, max_length=80)
    image: ImageId
    action: Action
    note: str = Field(default="", max_length=1000)
    seconds: float | None = Field(default=None, ge=0, le=1e6)
    mask: str | None = Field(default=None, max_length=12_000_000)


class Hold(Claim):
    """The page is still in use."""

    images: list[ImageId] = Field(max_length=50)


class Prompt(BaseModel):
    """Clicks or a box, in fractions of the picture."""

    image: ImageId
    box: tuple[Fraction, Fraction, Fraction, Fraction] | None = None
    inside: list[Place] = Field(default_factory=list, max_length=100)
    outside: list[Place] = Field(default_factory=list, max_length=100)


def create_app(
    review: ReviewRound,
    *,
    title: str,
    assistant: PageAssistant,
    reviewer: str | None = None,
    key: str | None = None,
    local: bool = True,
) -> FastAPI:
    """Return the application.

    Parameters
    ----------
    review : ReviewRound
    title : str
        What is looked through.
    assistant : PageAssistant
        Turns clicks and boxes into masks.
    reviewer : str, optional
        Who sits here; left out, the page asks.
    key : str, optional
        Word that opens the pages.
    local : bool
        The server listens on this machine alone.
    """
    app = FastAPI(title="lesion qa", docs_url=None, redoc_url=None, openapi_url=None)
    pages = Pages(review, title=title, assistant=assistant)
    folder = Path(__file__).parent / "static"
    app.mount("/static", StaticFiles(directory=folder), name="static")
    app.add_exception_handler(LesionError, _as_json)
    _pages(app, review, pages, reviewer)
    _pictures(app, review, reviewer)
    _work(app, review)
    _help(app, review, assistant)
    # Outermost, so that nothing is answered before it.
    app.add_middleware(Guard, key=key, local=local)
    return app


def _pages(app: FastAPI, review: ReviewRound, pages: Pages, default: str | None) -> None:
    @app.get("/", response_class=HTMLResponse)
    def start(request: Request) -> str:
        return pages.start(_who(request, default))

    @app.post("/reviewer")
    def name(reviewer: Annotated[str, Form(max_length=60)]) -> Response:
        answer = RedirectResponse("/review", 303)
        plain = " ".join(reviewer.split())
        if not plain or not plain.isprintable():
            return RedirectResponse("/", 303)
        answer.set_cookie(
            _NAME_COOKIE, quote(plain), max_age=365 * 86400, httponly=True, samesite="strict"
        )
        return answer

    @app.get("/review", response_class=HTMLResponse)
    def page(request: Request, image: str | None = None) -> Any:
        who = _who(request, default)
        if who is None:
            return RedirectResponse("/", 303)
        page = secrets.token_urlsafe(12)
        ids = [] if image is None else [_known(review, image)]
        taken = locks.hold(review.store, who, page, ids)
        holder = locks.holder_of(review.store, ids[0]) if taken else None
        ids += [one for one in queue.claim(review.store, who, page, AHEAD) if one not in ids]
        return pages.review(who, page, ids, holder=holder)

    @app.get("/list", response_class=HTMLResponse)
    def listed(request: Request, show: str = "flag", at: int = 1) -> Any:
        who = _who(request, default)
        return RedirectResponse("/", 303) if who is None else pages.listed(who, show, max(1, at))

    @app.get("/agreement", response_class=HTMLResponse)
    def agreed(request: Request) -> str:
        return pages.agreement(_who(request, default))


def _pictures(app: FastAPI, review: ReviewRound, default: str | None) -> None:
    @app.get("/image")
    def picture(image: str) -> Response:
        data = review.pictures.jpeg(_known(review, image))
        return Response(data, media_type="image/jpeg", headers=_FOREVER)

    @app.get("/thumbnail")
    def thumbnail(request: Request, image: str) -> Response:
        mask = review.shown(_known(review, image), _who(request, default) or "").mask
        data = review.pictures.thumbnail(image, mask)
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "no-store"})

    @app.get("/mask")
    def mask(
        image: str, who: str = "", of: Literal["shown", "other"] = "shown", v: str = ""
    ) -> Response:
        known = _known(review, image)
        found = review.other(known) if of == "other" else review.shown(known, who).mask
        if found is None or not found.size:
            raise HTTPException(404, "no mask of this image")
        small = at_view(found, view_shape((found.shape[0], found.shape[1])))
        # An address without a version may give another mask later.
        kept = _FOREVER if v else {"Cache-Control": "no-store"}
        return Response(mask_png(small), media_type="image/png", headers=kept)


def _work(app: FastAPI, review: ReviewRound) -> None:
    store = review.store

    def ahead(who: str, page: str) -> dict[str, Any]:
        ids = queue.claim(store, who, page, AHEAD)
        return {
            "items": [item(review, one, who) for one in ids],
            "progress": progress(store, who).to_dict(),
            "passed": 0 if len(ids) == AHEAD else queue.left_for(store, who),
        }

    @app.post("/api/claim")
    def claim(asked: Claim) -> dict[str, Any]:
        return ahead(asked.reviewer, asked.page)

    @app.post("/api/decide")
    def decide(said: Decide) -> dict[str, Any]:
        review.decide(
            _known(review, said.image),
            key=said.key,
            reviewer=said.reviewer,
            action=said.action,
            drawn=None if said.mask is None else mask_of_png(_from_base64(said.mask)),
            note=said.note,
            seconds=said.seconds,
        )
        return ahead(said.reviewer, said.page)

    @app.post("/api/undo")
    def back(asked: Claim) -> dict[str, Any]:
        who = asked.reviewer
        image_id = undo(store, who, asked.page)
        shown = None if image_id is None or image_id not in review else item(review, image_id, who)
        return {"item": shown, "progress": progress(store, who).to_dict()}

    @app.post("/api/hold")
    def hold(held: Hold) -> dict[str, Any]:
        ids = [_known(review, one) for one in held.images]
        return {"lost": locks.hold(store, held.reviewer, held.page, ids)}

    @app.post("/api/release")
    def release(asked: Claim) -> dict[str, Any]:
        locks.release(store, asked.reviewer, asked.page)
        return {}

    @app.post("/api/again")
    def again(asked: Claim) -> dict[str, Any]:
        queue.bring_back(store, asked.reviewer)
        return ahead(asked.reviewer, asked.page)


def _help(app: FastAPI, review: ReviewRound, assistant: PageAssistant) -> None:
    @app.post("/api/look")
    def look(held: Prompt, later: BackgroundTasks) -> dict[str, Any]:
        # Seen while the person chooses a tool: the first click then waits for less.
        later.add_task(assistant.look, _known(review, held.image))
        return {}

    @app.post("/api/prompt")
    def prompt(asked: Prompt) -> Response:
        if asked.box is None and not asked.inside:
            raise LesionError("neither a box nor a click on the lesion")
        found = assistant.mask(_known(review, asked.image), asked.box, asked.inside, asked.outside)
        small = at_view(found, view_shape((found.shape[0], found.shape[1])))
        return Response(mask_png(small), media_type="image/png")


def _who(request: Request, default: str | None) -> str | None:
    return default or unquote(request.cookies.get(_NAME_COOKIE, "")) or None


def _known(review: ReviewRound, image_id: str) -> str:
    # An id is looked up among those of the round; no path is ever made from one.
    if image_id not in review:
        raise HTTPException(404, "no such image in this round")
    return image_id


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise LesionError("a mask that is no base64") from None


def _as_json(_request: Request, error: Exception) -> Response:
    said = str(error)
    if isinstance(error, LesionError):
        said = f"{error.found} (wanted: {error.wanted})" if error.wanted else error.found
    return JSONResponse({"detail": said}, 422)
