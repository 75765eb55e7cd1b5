"""The skin check: what is no lesion is refused, and lesions about as rarely as stated."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data

from clsstage.members import read_members
from lesioncore.errors import LesionError
from lesioncore.images import decode_image
from pipelines.commands import main
from pipelines.serving.config import ServeConfig
from pipelines.serving.service import Service
from pipelines.serving.skin_check import (
    SkinCheck,
    limit_for,
    read_reference,
    unlikely_picture,
    write_reference,
)
from pipelines.serving.skin_reference import other_pictures
from tests.e2e.conftest import TinyRun
from tests.e2e.serving import client_of, encoded, photographs, send


@pytest.fixture(scope="module")
def reference(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("skin") / "skin.safetensors"
    flags = [
        "--dataset=phantom", f"--root={tiny_run.root}", "--n=72", f"--out={out}", "--device=cpu",
        f"--weights={tiny_run.folder / 'classification'}", "--reference=20", "--calibrate=12",
        "--false-refusals=0.1",
    ]  # fmt: skip
    assert main(["skin-check", *flags]) == 0
    return out


def test_the_reference_says_what_it_is_and_what_was_measured(reference, tiny_run) -> None:
    found = read_reference(reference)
    assert found.values.dtype == np.float16
    assert np.allclose(np.linalg.norm(found.values.astype(float), axis=1), 1, atol=1e-2)
    _, members = read_members(tiny_run.folder / "classification")
    assert found.card["weights_sha256"] == members[0].card.sha256
    measured = found.card["measured"]
    lesions = measured["refused_lesions"]
    assert lesions["n"] > 0 and lesions["low"] <= lesions["refused"] / lesions["n"]
    assert measured["refused_other_pictures"]["noise"]["refused"] == 10
    assert "no pixels" in found.card["embeddings"]


def test_what_is_no_lesion_gets_no_number(reference, tiny_run) -> None:
    with client_of(run=tiny_run.folder, no_spool=True, skin_check=str(reference)) as client:
        assert client.get("/ready").json()["skin_check"].startswith("on: refuses 10.0%")
        assert client.get("/model").json()["skin_check"]["measured"]
        for picture in (skimage.data.astronaut(), skimage.data.coffee()):
            answer = send(client, encoded(picture))
            assert answer.status_code == 422 and "malignant" not in answer.json()
            error = answer.json()["error"]
            assert error["code"] == "not_skin" and "unlike all known lesions" in error["found"]
        answers = [send(client, photo) for photo in photographs(tiny_run.root)[:20]]
        let_in = [answer.json()["skin"] for answer in answers if answer.status_code == 200]
        assert len(let_in) >= 12
        assert all(0 <= skin["distance"] <= skin["limit"] for skin in let_in)
    with client_of(run=tiny_run.folder, no_spool=True, skin_check="off") as client:
        assert send(client, encoded(skimage.data.astronaut())).status_code == 200
        assert client.get("/ready").json()["skin_check"] == "off"


def test_a_reference_of_another_classifier_is_refused(reference, tiny_run, tmp_path) -> None:
    found = read_reference(reference)
    other = tmp_path / "other.safetensors"
    write_reference(
        other, type(found)(found.values, found.limit, found.card | {"weights_sha256": "0"})
    )
    flags = {"run": tiny_run.folder, "device": "cpu", "no_spool": True}
    with pytest.raises(LesionError, match="skin check was made by"):
        Service.load(ServeConfig(**flags, skin_check=str(other)))
    other.write_bytes(b"no reference")
    with pytest.raises(LesionError, match="cannot read the skin check"):
        Service.load(ServeConfig(**flags, skin_check=str(other)))
    _, members = read_members(tiny_run.folder / "classification")
    check = SkinCheck(found, members[0], "cpu")
    assert check.reason(found.limit) is None and check.reason(found.limit + 0.01)


def test_pixels_alone_tell_noise_pages_and_plain_colours_from_photographs(tiny_run) -> None:
    for photo in photographs(tiny_run.root):
        assert unlikely_picture(decode_image(photo)) is None
    others = other_pictures()
    for kind in ("noise", "one colour"):
        assert all(unlikely_picture(picture) for picture in others[kind])
    # A lesion in the black of a dermatoscope's frame is one all the same.
    framed = np.zeros((400, 400, 3), np.uint8)
    photo = decode_image(photographs(tiny_run.root)[0])
    framed[160 : 160 + photo.shape[0], 160 : 160 + photo.shape[1]] = photo
    assert unlikely_picture(framed[60:340, 60:340]) is None


def test_the_limit_is_exceeded_as_rarely_as_stated() -> None:
    rng = np.random.default_rng(0)
    over = []
    for _ in range(200):
        limit = limit_for(rng.normal(size=99), 0.1)
        over.append((rng.normal(size=500) > limit).mean())
    assert np.mean(over) == pytest.approx(0.1, abs=0.01)
    assert limit_for(np.arange(5.0), 0.01) == 4.0
