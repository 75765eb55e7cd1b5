"""`lesion serve`: every route and every refusal, on a tiny run in this process."""

from __future__ import annotations

import base64
import io
import json
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesioncore.errors import LesionError, UsageError
from pipelines.commands import main
from pipelines.pipeline import NOTICE, LesionPipeline
from pipelines.serving.config import ServeConfig
from pipelines.serving.service import Service
from tests.e2e.conftest import TinyRun
from tests.e2e.serving import client_of, encoded, finished, photographs, send, send_batch

KEY = "a-key-of-more-than-sixteen-letters"


@pytest.fixture(scope="module")
def client(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory):
    """A server with small limits."""
    spool = tmp_path_factory.mktemp("spool")
    with client_of(
        run=tiny_run.folder, spool=spool, max_megabytes=0.5, max_megapixels=1, batch_images=6
    ) as client:
        yield client


@pytest.fixture(scope="module")
def photo(tiny_run: TinyRun) -> bytes:
    return photographs(tiny_run.root)[0]


def code_of(answer) -> str:
    """Return the code of a refusal, which every refusal has beside its notice."""
    said = answer.json()
    assert said["notice"] == NOTICE and said["error"]["found"]
    return said["error"]["code"]


def test_the_answer_is_that_of_the_pipeline(client, tiny_run, photo) -> None:
    answer = send(client, photo, age="61", sex="f", site="back")
    assert answer.status_code == 200
    said = answer.json()
    path = sorted((tiny_run.root / "images").iterdir())[0]
    wanted = LesionPipeline.load(tiny_run.folder, device="cpu")(
        path, age=61, sex="female", site="back"
    )
    assert said["malignant"] == pytest.approx(wanted.probability, abs=1e-4)
    assert said["mask_status"] == wanted.status and said["focus"] == wanted.focus
    assert said["missing"] == list(wanted.missing) and "age" not in said["missing"]
    assert said["mask"]["box"] == list(wanted.entry.box)
    assert said["notice"] == NOTICE
    if wanted.calibrated is not None:
        # The interval of so few lesions is none.
        assert said["low"] is None or said["low"] <= said["malignant"] <= said["high"]
        assert said["flagged"] == wanted.calibrated.flagged and said["threshold"] is not None
        assert said["prediction_set"] == wanted.calibrated.prediction_set
    assert said["mask_png"] is said["outline_jpeg"] is said["crop_jpeg"] is None
    assert "masks;dur=" in answer.headers["server-timing"]
    assert answer.headers["cache-control"] == "no-store"


def test_mask_and_pictures_come_when_asked_for(client, tiny_run, photo) -> None:
    said = send(client, photo, "/predict?mask=true&pictures=true").json()
    mask = np.array(Image.open(io.BytesIO(base64.b64decode(said["mask_png"]))))
    path = sorted((tiny_run.root / "images").iterdir())[0]
    assert mask.shape == np.array(Image.open(path)).shape[:2]
    assert set(np.unique(mask)) <= {0, 255}
    assert (mask > 0).mean() == pytest.approx(said["mask"]["area"], abs=0.01)
    for name in ("outline_jpeg", "crop_jpeg"):
        assert Image.open(io.BytesIO(base64.b64decode(said[name]))).format == "JPEG"


def test_an_explanation_has_its_picture_and_its_doubts(client, photo) -> None:
    said = send(client, photo, "/explain", age="61").json()
    assert Image.open(io.BytesIO(base64.b64decode(said["evidence_png"]))).width > 100
    assert "age" in said["effects"] and "sex" not in said["effects"]
    assert isinstance(said["deletion_gain"], float)


def test_a_photograph_is_turned_as_its_exif_says(client, photo) -> None:
    pixels = np.array(Image.open(io.BytesIO(photo)).convert("RGB"))[:40, :64]
    exif = Image.Exif()
    exif[274] = 6
    exif[270] = "Jane Doe"
    said = send(client, encoded(pixels, exif=exif)).json()
    assert said["mask"]["shape"] == [64, 40]


def test_metadata_that_would_silently_count_as_missing_is_refused(client, photo) -> None:
    for fields in ({"age": "old"}, {"age": "131"}, {"sex": "maybe"}, {"site": "car"}):
        answer = send(client, photo, **fields)
        assert answer.status_code == 422 and code_of(answer) == "bad_metadata"
    answer = send(client, photo, name="Jane")
    assert answer.status_code == 422 and code_of(answer) == "unknown_field"
    said = send(client, photo, age="", sex="unknown", site="").json()
    assert {"age", "sex", "site"} <= set(said["missing"])


def test_a_measurement_that_the_classifier_knows_may_be_said(client, photo) -> None:
    known = client.get("/model").json()["metadata"]
    assert "diameter_mm" in known
    said = send(client, photo, diameter_mm="6.5").json()
    assert "diameter_mm" not in said["missing"]
    assert code_of(send(client, photo, diameter_mm="large")) == "cannot_be_judged"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that says it has side x side pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    data = zlib.compress(bytes(1000), 9)
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def animation(photo: bytes) -> bytes:
    picture = Image.open(io.BytesIO(photo)).convert("RGB")
    out = io.BytesIO()
    picture.save(out, "WEBP", save_all=True, append_images=[picture.rotate(90)])
    return out.getvalue()


@pytest.mark.parametrize(
    ("make", "status", "code"),
    [
        (lambda photo: b"", 422, "empty_file"),
        (lambda photo: b"<html>no picture</html>", 415, "not_an_image"),
        (lambda photo: b"GIF89a" + photo, 415, "not_an_image"),
        (lambda photo: photo[: len(photo) // 2], 422, "unreadable_image"),
        (lambda photo: bomb(1500), 413, "too_many_pixels"),
        (lambda photo: bomb(60_000), 413, "too_many_pixels"),
        (lambda photo: bomb(900), 422, "unreadable_image"),
        (animation, 422, "several_pictures"),
        (lambda photo: encoded(np.zeros((8, 8, 3), np.uint8)), 422, "too_small"),
        (lambda photo: photo + bytes(600_000), 413, "too_many_bytes"),
        (lambda photo: encoded(np.full((64, 64, 3), 200, np.uint8)), 422, "not_skin"),
    ],
)
def test_what_is_no_photograph_is_refused_with_its_reason(client, photo, make, status, code):
    answer = send(client, make(photo))
    assert (answer.status_code, code_of(answer)) == (status, code)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_the_content_counts_and_not_the_name(client, photo, kind) -> None:
    pixels = np.array(Image.open(io.BytesIO(photo)).convert("RGB"))
    answer = client.post("/predict", files={"image": ("../../x.exe", encoded(pixels, kind))})
    assert answer.status_code == 200


def test_forms_that_are_none_are_refused(client, photo) -> None:
    assert client.post("/predict", content=photo).status_code == 415
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post("/predict", content=b"no form", headers=broken).status_code in (400, 422)
    assert code_of(client.post("/predict", files={"file": ("a", photo)})) == "unknown_field"
    assert (
        client.post("/predict", files={"image": ("a", photo)}, params={"mask": "x"}).status_code
        == 422
    )
    both = [("image", ("a", photo)), ("image", ("b", photo))]
    assert client.post("/predict", files=both).status_code == 400
    assert code_of(client.get("/nowhere")) == "no_such_page"
    assert code_of(client.get("/predict")) == "wrong_method"


def test_a_batch_is_taken_on_and_every_image_is_reported(client, tiny_run) -> None:
    images = photographs(tiny_run.root)[:3]
    rows = [{"id": f"case-{n}", "age": 40 + n, "sex": "male"} for n in range(4)]
    answer = send_batch(client, [*images, b"no picture"], rows)
    assert answer.status_code == 202
    said = answer.json()
    found = finished(client, said["job"])
    assert found["counts"] == {"done": 3, "refused": 1}
    assert [item["id"] for item in found["items"]] == [row["id"] for row in rows]
    alone = send(client, images[1], age="41", sex="male").json()
    assert found["items"][1]["prediction"]["malignant"] == pytest.approx(
        alone["malignant"], abs=1e-3
    )
    assert found["items"][3]["error"]["code"] == "not_an_image"
    # Results stay for an hour; images and what was said of the people are gone.
    spool = client.app.state.service.config.spool / said["job"]
    assert {path.suffix for path in spool.iterdir()} == {".json", ".result"}
    assert {path.name for path in spool.glob("*.json")} == {"job.json"}
    assert "age" not in (spool / "job.json").read_text()
    assert client.delete(answer.headers["location"]).status_code == 204
    assert not spool.exists() and client.get(f"/jobs/{said['job']}").status_code == 404


def test_batches_that_cannot_be_taken_on(client, photo, tiny_run, tmp_path) -> None:
    assert client.get("/jobs/nobody").status_code == 404
    assert send_batch(client, [photo] * 7).status_code == 400
    assert code_of(send_batch(client, [photo], [{}, {}])) == "bad_metadata"
    assert code_of(send_batch(client, [photo], [{"id": "../x"}])) == "bad_metadata"
    assert code_of(send_batch(client, [photo], [{"age": "x"}])) == "bad_metadata"
    with client_of(run=tiny_run.folder, no_spool=True) as other:
        answer = send_batch(other, [photo])
        assert answer.status_code == 501 and code_of(answer) == "no_spool"
        assert not other.get("/ready").json()["spool"]
    with client_of(run=tiny_run.folder, spool=tmp_path, spool_images=2) as other:
        answer = send_batch(other, [photo] * 3)
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1


def test_images_are_spooled_without_their_metadata(client, photo) -> None:
    from lesioncore.images import decode_image
    from pipelines.serving.picture_files import without_metadata

    pixels = np.array(Image.open(io.BytesIO(photo)).convert("RGB"))[:40]
    exif = Image.Exif()
    exif[274], exif[270] = 6, "Jane Doe"
    given = encoded(pixels, exif=exif, comment=b"born 1950", quality=95)
    bare = without_metadata(given + b"trailing secrets")
    assert all(word not in bare for word in (b"Jane", b"born", b"secrets"))
    assert np.array_equal(decode_image(bare), decode_image(given))
    assert decode_image(bare).shape == (pixels.shape[1], 40, 3)
    png = without_metadata(encoded(pixels, "PNG", exif=exif))
    assert b"Jane" not in png and decode_image(png).shape[:2] in {(64, 40), (40, 64)}


def test_a_job_that_was_not_done_in_its_hour_is_reported_and_deleted(
    tiny_run, photo, tmp_path
) -> None:
    from pipelines.serving.spool import Spool

    spool = Spool(tmp_path)
    job = spool.add([photo], [{"age": 50}], ["old"])
    record = tmp_path / job.name / "job.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"created": time.time() - 7200}))
    (tmp_path / ".unfinished.part").mkdir()
    again = spool.add([photo], [{}], [None])
    # As if the work on it had ended the server three times.
    (tmp_path / again.name / "0000.tries").write_text("3")
    spool.close()
    with client_of(run=tiny_run.folder, spool=tmp_path, keep_minutes=30) as other:
        old = finished(other, job.name)
        assert old["items"][0]["status"] == "expired"
        assert finished(other, again.name)["items"][0]["status"] == "failed"
        assert not list(tmp_path.glob("*/*.image")) and not (tmp_path / ".unfinished.part").exists()
        with pytest.raises(LesionError, match="another server"):
            Spool(tmp_path)


def test_too_many_requests_are_told_when_to_come_again(client, photo) -> None:
    admission = client.app.state.service.admission
    admission.inside += admission.limit
    try:
        answer = send(client, photo)
        assert answer.status_code == 429 and code_of(answer) == "overloaded"
        assert 1 <= int(answer.headers["retry-after"]) <= 30
    finally:
        admission.inside -= admission.limit
    admission.held += admission.max_bytes
    try:
        assert send(client, photo).status_code == 429
    finally:
        admission.held -= admission.max_bytes
    assert send(client, photo).status_code == 200
    assert admission.inside == 0 and admission.held == 0


def test_a_server_that_ends_says_so(client, photo) -> None:
    admission = client.app.state.service.admission
    admission.closed = True
    try:
        assert client.get("/ready").status_code == 503
        answer = send(client, photo)
        assert answer.status_code == 503 and code_of(answer) == "shutting_down"
        assert client.get("/health").status_code == 200
    finally:
        admission.closed = False


def test_a_request_that_takes_too_long_is_given_up(client, photo, monkeypatch) -> None:
    service = client.app.state.service
    usual = service.pipeline.segmenter.predict_batch
    monkeypatch.setattr(
        service.pipeline.segmenter, "predict_batch", lambda *a: time.sleep(1) or usual(*a)
    )
    object.__setattr__(service.config, "timeout", 0.2)
    try:
        answer = send(client, photo)
        assert answer.status_code == 504 and code_of(answer) == "timeout"
    finally:
        object.__setattr__(service.config, "timeout", 30.0)


def test_a_fault_of_the_program_is_no_traceback(client, photo, monkeypatch, caplog) -> None:
    def broken(*_args):
        raise RuntimeError("Jane Doe, born 1950")

    monkeypatch.setattr(client.app.state.service.pipeline.segmenter, "predict_batch", broken)
    answer = send(client, photo)
    assert answer.status_code == 500 and code_of(answer) == "fault"
    assert "Jane" not in answer.text


def test_keys_are_needed_where_they_are_set(tiny_run, photo, tmp_path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"# of the ward\n{KEY}\n")
    with client_of(run=tiny_run.folder, no_spool=True, api_key_file=keys) as client:
        assert client.get("/health").status_code == client.get("/ready").status_code == 200
        assert client.get("/").status_code == 200 and "Key of this server" in client.get("/").text
        for path in ("/model", "/metrics", "/jobs/x"):
            assert client.get(path).status_code == 401
        answer = send(client, photo)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        for headers in ({"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}):
            assert client.get("/model", headers=headers).status_code == 200
        wrong = {"Authorization": f"Bearer {KEY}x"}
        assert client.get("/model", headers=wrong).status_code == 401
    keys.write_text("short\n")
    with pytest.raises(UsageError, match="too short"):
        Service.load(ServeConfig(run=tiny_run.folder, api_key_file=keys))


def test_other_origins_are_let_in_only_by_name(tiny_run, photo) -> None:
    portal = "https://portal.example"
    with client_of(run=tiny_run.folder, no_spool=True, allow_origin=[portal]) as client:
        files = {"image": ("a.jpg", photo)}
        answer = client.post("/predict", files=files, headers={"Origin": "https://evil.example"})
        assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers
        answer = client.post("/predict", files=files, headers={"Origin": portal})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == portal
        own = client.post("/predict", files=files, headers={"Origin": "http://testserver"})
        assert own.status_code == 200


def test_the_figures_and_the_card(client, photo) -> None:
    send(client, photo)
    text = client.get("/metrics").text
    assert 'lesion_requests_total{route="/predict",status="200"}' in text
    for name in ("lesion_queue_length", "lesion_stage_seconds_bucket", "lesion_batch_size_count"):
        assert name in text
    card = client.get("/model").json()
    assert card["notice"] == NOTICE and card["cards"]["segmenter"][0]["sha256"]
    assert card["cards"]["classifier"][0]["licence"] and card["policy"]
    ready = client.get("/ready").json()
    assert ready["ready"] and "no skin.safetensors" in ready["skin_check"]


def test_the_api_is_documented_without_a_network(client) -> None:
    schema = client.get("/openapi.json").json()
    assert {"/predict", "/predict/batch", "/explain", "/jobs/{name}", "/health", "/ready",
            "/metrics", "/model"} <= set(schema["paths"])  # fmt: skip
    form = schema["paths"]["/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert {"image", "age", "sex", "site"} == set(form["schema"]["properties"])
    for path in ("/docs", "/"):
        text = client.get(path).text
        assert "https://" not in text and "http://" not in text
    assert client.get("/static/page.js").status_code == 200
    assert "'unsafe-inline'" not in client.get("/").headers["content-security-policy"]


def test_log_lines_hold_no_word_of_a_patient(client, photo, caplog) -> None:
    caplog.clear()
    client.post(
        "/predict", files={"image": ("Jane-Doe-1950.jpg", photo)},
        data={"age": "77", "sex": "female", "site": "oral/genital"},
    )  # fmt: skip
    send(client, photo, age="seventy-seven")
    records = [record for record in caplog.records if record.name == "lesion"]
    said = json.dumps([[r.getMessage(), getattr(r, "fields", {})] for r in records])
    assert "/predict" in said
    for word in ("Jane", "1950", "female", "genital", "seventy"):
        assert word not in said


def test_calls_that_cannot_be_answered(tiny_run, tmp_path, capsys, monkeypatch) -> None:
    run = f"--run={tiny_run.folder}"
    assert main(["serve", run, "--allow-origin=*"]) == 2
    assert main(["serve", run, "--tls-cert=a"]) == 2
    assert main(["serve", run, "--api-key-file=nowhere"]) == 1
    assert main(["serve", run, "--keep-minutes=600"]) == 2
    monkeypatch.setitem(__import__("sys").modules, "fastapi", None)
    assert main(["serve", run]) == 1
    said = capsys.readouterr().err
    assert "pip install 'lesion-pipeline[serve]'" in said and "Traceback" not in said
    assert Path("serve-spool").exists() is False


def test_one_photograph_that_breaks_a_batch_breaks_no_other(client, photo, tiny_run, monkeypatch):
    segmenter = client.app.state.service.pipeline.segmenter
    usual, bad = segmenter.predict_batch, photographs(tiny_run.root)[1]
    shape = np.array(Image.open(io.BytesIO(bad)))

    def broken(pictures):
        if any(np.array_equal(picture, shape) for picture in pictures):
            raise MemoryError
        return usual(pictures)

    monkeypatch.setattr(segmenter, "predict_batch", broken)
    said = send_batch(client, [photo, bad, photo]).json()
    found = finished(client, said["job"])
    assert [item["status"] for item in found["items"]] == ["done", "failed", "done"]
    assert found["items"][1]["error"]["code"] == "fault"
