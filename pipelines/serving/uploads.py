"""Multipart forms as they arrive: counted as they are read, kept in memory, every word checked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from lesioncore.errors import LesionError
from lesioncore.sites import UNKNOWN_WORDS, plain_words
from pipelines.photo_inputs import check_words
from pipelines.serving.admission import Admission
from pipelines.serving.refusals import Refusal

FIELDS = ("age", "sex", "site")
# Boundaries, names of fields and the fields themselves.
_MARGIN = 65_536
_MOST_FIELDS = 100


@dataclass(frozen=True)
class Form:
    """What a form holds.

    Attributes
    ----------
    images : list of bytes
        The files, in their order. Their names are not kept: people put patients' names in them.
    fields : dict of str to str
    """

    images: list[bytes]
    fields: dict[str, str]


@asynccontextmanager
async def reading(
    request: Request,
    admission: Admission,
    *,
    field: str,
    most: int,
    max_bytes: int,
    seconds: float,
) -> AsyncGenerator[Form, None]:
    """Read a form; its bytes count as held by `admission` until the block ends.

    Parameters
    ----------
    field : str
        The name that files have.
    most : int
        How many of them.
    max_bytes : int
        Of all of them together.
    seconds : float
        Until an upload is given up.

    Raises
    ------
    Refusal
        400 no form, 408 too slow, 413 too large, 422 no file or an unknown field, 429 no room.
    """
    held = 0

    async def counted() -> AsyncGenerator[bytes, None]:
        nonlocal held
        async for chunk in request.stream():
            held_before, held = held, held + len(chunk)
            if held > max_bytes + _MARGIN:
                held = held_before
                raise _too_large(max_bytes)
            try:
                admission.hold(len(chunk))
            except Refusal:
                held = held_before
                raise
            yield chunk

    _check_head(request, max_bytes)
    parser = MultiPartParser(
        request.headers, counted(), max_files=most, max_fields=_MOST_FIELDS,
        max_part_size=_MARGIN,
    )  # fmt: skip
    # Larger files would go to the disk, where photographs of people have no place.
    parser.spool_max_size = max_bytes + _MARGIN
    try:
        try:
            async with asyncio.timeout(seconds):
                form = await parser.parse()
        except TimeoutError:
            raise Refusal(408, "slow_upload", f"the upload took more than {seconds:g} s") from None
        except ClientDisconnect:
            raise Refusal(400, "gone", "the connection was closed during the upload") from None
        except MultiPartException as error:
            raise Refusal(
                400, "bad_form", f"the form cannot be read: {error.message}",
                wanted="multipart/form-data",
            ) from None  # fmt: skip
        try:
            yield await _form(form.multi_items(), field)
        finally:
            await form.close()
    finally:
        admission.let_go(held)


def _check_head(request: Request, max_bytes: int) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise Refusal(
            415, "no_form", f"a body of type {kind or 'unknown'!r}", wanted="multipart/form-data"
        )
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > max_bytes + _MARGIN:
        raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> Refusal:
    return Refusal(
        413, "too_many_bytes", f"an upload of more than {max_bytes / 1e6:g} MB",
        wanted=f"at most {max_bytes / 1e6:g} MB", mend="fewer images, or smaller copies",
    )  # fmt: skip


async def _form(items: list[tuple[str, Any]], field: str) -> Form:
    images: list[bytes] = []
    fields: dict[str, str] = {}
    for name, value in items:
        if isinstance(value, UploadFile):
            if name != field:
                raise Refusal(
                    422, "unknown_field", "a file in an unknown field", wanted=f"files in {field!r}"
                )
            images.append(await value.read())
        elif name in fields:
            raise Refusal(422, "unknown_field", "a field that is there twice")
        else:
            fields[name] = value
    if not images:
        raise Refusal(422, "no_image", "no image in the form", wanted=f"a file in {field!r}")
    return Form(images, fields)


def metadata_of(fields: dict[str, Any], columns: Collection[str] = ()) -> dict[str, Any]:
    """Return age, sex and site as the pipeline takes them; empty and unknown ones are None.

    Parameters
    ----------
    fields : dict
    columns : collection of str
        What the classifier reads; those beyond age, sex and site (a diameter) may be said too.

    Raises
    ------
    Refusal
        422: an unknown field, an age that nobody has, a sex or site that would silently count as
        missing.
    """
    known = dict.fromkeys([*FIELDS, *columns])
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise Refusal(
            422, "unknown_field", f"unknown field {unknown[0][:40]!r}", wanted=", ".join(known)
        )
    said = {name: _word(fields.get(name)) for name in FIELDS}
    try:
        check_words(said["sex"], said["site"])
    except LesionError as error:
        raise Refusal.of(error, 422, "bad_metadata") from None
    further = {name: _number_or_word(fields[name]) for name in fields if name not in FIELDS}
    return said | further | {"age": None if said["age"] is None else _age(said["age"])}


def _word(value: Any) -> str | None:
    if value is None or plain_words(value) in UNKNOWN_WORDS:
        return None
    return str(value)[:200]


def _number_or_word(value: Any) -> float | str | None:
    word = _word(value)
    try:
        return None if word is None else float(word)
    except ValueError:
        return word


def _age(word: str) -> float:
    try:
        years = float(word)
    except ValueError:
        years = float("nan")
    if not 0 <= years <= 130:
        raise Refusal(422, "bad_metadata", f"age is {word[:40]!r}", wanted="years, 0 to 130")
    return years


def rows_of(text: str, count: int) -> list[dict[str, Any]]:
    """Return what the `metadata` of a batch says of each image: a JSON list in their order.

    Raises
    ------
    Refusal
        422: no such list, or of another length.
    """
    try:
        rows = json.loads(text) if text.strip() else [{}] * count
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Refusal(
            422, "bad_metadata", "metadata is no JSON list of objects",
            wanted='one object an image, such as [{"id": "a", "age": 61, "sex": "female"}]',
        )  # fmt: skip
    if len(rows) != count:
        raise Refusal(
            422, "bad_metadata", f"metadata of {len(rows)} images, and {count} images",
            wanted="one object an image, in the order of the images",
        )  # fmt: skip
    return rows
