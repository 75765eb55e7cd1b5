"""A real server under load, killed, and ended in good order."""

from __future__ import annotations

import json
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx2
import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import TinyRun
from tests.e2e.serving import RealServer, finished, photographs, send, send_batch

pytestmark = pytest.mark.slow


def test_many_clients_get_right_answers_or_are_told_to_come_again(tiny_run: TinyRun) -> None:
    script = ROOT / "benchmarks" / "serve_load.py"
    words = [
        sys.executable, str(script), "--json", f"--run={tiny_run.folder}", "--seconds=10",
        "--clients=200", "--size=64", "--images=8", "--rounds=1", "--flag=--skin-check=off",
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)[0]
    counts = found["counts"]
    assert set(counts) <= {"right", "429"}, counts
    assert counts["right"] > 20 and counts["429"] > 0
    assert found["exit_code"] == 0
    assert found["megabytes"]["most"] < found["megabytes"]["before"] + 400


def test_a_killed_server_loses_no_batch_that_it_took_on(tiny_run: TinyRun, tmp_path: Path) -> None:
    images = photographs(tiny_run.root)[:24]
    flags = [f"--run={tiny_run.folder}", f"--spool={tmp_path / 'spool'}", "--skin-check=off"]
    with RealServer(tmp_path / "first", *flags) as server:
        with httpx2.Client(base_url=server.address, timeout=60) as client:
            jobs = [send_batch(client, images).json()["job"] for _ in range(4)]
            while not client.get(f"/jobs/{jobs[0]}").json()["counts"].get("done"):
                time.sleep(0.01)
        server.kill()
    left = list((tmp_path / "spool").glob("*/*.image"))
    assert left, "everything was done before the kill"
    with RealServer(tmp_path / "second", *flags) as server:
        with httpx2.Client(base_url=server.address, timeout=60) as client:
            wanted = [send(client, image).json()["malignant"] for image in images]
            for job in jobs:
                items = finished(client, job, 120)["items"]
                assert [item["status"] for item in items] == ["done"] * len(images)
                said = [item["prediction"]["malignant"] for item in items]
                assert said == pytest.approx(wanted, abs=2e-3)
        assert not list((tmp_path / "spool").glob("*/*.image"))
        assert any(line["event"] == "jobs_taken_up" for line in server.lines())


def test_an_ending_server_answers_whom_it_let_in(tiny_run: TinyRun, tmp_path: Path) -> None:
    image = photographs(tiny_run.root)[0]
    flags = [f"--run={tiny_run.folder}", f"--spool={tmp_path / 'spool'}", "--skin-check=off"]
    answered: Counter[int | str] = Counter()
    with RealServer(tmp_path / "server", *flags) as server:
        batch = send_batch(httpx2.Client(base_url=server.address), [image] * 50).json()["job"]

        def ask() -> None:
            while True:
                try:
                    answer = send(httpx2, image, server.address + "/predict")
                except httpx2.ConnectError:
                    return
                except httpx2.HTTPError as error:
                    answered[type(error).__name__] += 1
                    return
                answered[answer.status_code] += 1
                time.sleep(0.02)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(2)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        for thread in threads:
            thread.join(30)
        lines = server.lines()
    said = Counter(line["status"] for line in lines if line.get("route") == "/predict")
    assert answered[200] > 0
    # Who knocked as the port closed was not let in; whom the server counts, it answered.
    assert set(answered) <= {200, 429, 503, "ReadError", "RemoteProtocolError"}, answered
    assert {status: answered[status] for status in said} == dict(said)
    assert lines[-1]["event"] == "ended"
    # What was not yet done of the batch is there for the next server.
    record = tmp_path / "spool" / batch
    assert len(list(record.glob("*.result"))) + len(list(record.glob("*.image"))) == 50
    assert not list(record.glob("*.tries"))


def test_an_exported_run_is_served_but_not_explained(tiny_run: TinyRun, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from pipelines.commands import main

    out = tmp_path / "bundle"
    given = [f"--run={tiny_run.folder}", f"--out={out}", "--min-iou=0.5", "--tolerance=0.05"]
    assert main(["export", *given]) == 0
    photo = photographs(tiny_run.root)[0]
    with RealServer(tmp_path / "server", f"--run={out}", "--no-spool") as server:
        said = send(httpx2, photo, server.address + "/predict?mask=true", age="61").json()
        assert 0 <= said["malignant"] <= 1 and said["mask_png"]
        assert "age" not in said["missing"]
        assert send(httpx2, photo, server.address + "/explain").status_code == 501
        assert server.get("/model").json()["explanations"] is False
        assert server.get("/ready").json()["skin_check"].startswith("pixels only")


def test_a_certificate_makes_it_https(tiny_run: TinyRun, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = [
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert),
    ]  # fmt: skip
    subprocess.run(made, check=True, capture_output=True)
    flags = [f"--run={tiny_run.folder}", "--no-spool", f"--tls-cert={cert}", f"--tls-key={key}"]
    with RealServer(tmp_path / "server", *flags) as server:
        assert server.address.startswith("https://")
        trusted = ssl.create_default_context(cafile=str(cert))
        assert httpx2.get(server.address + "/ready", verify=trusted).json()["ready"]
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(server.address + "/ready")
