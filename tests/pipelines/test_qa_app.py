"""The pages of `lesion qa` over HTTP: who may ask, what is answered, what is kept and exported."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lesioncore.errors import LesionError
from lesioncore.images import read_mask

pytest.importorskip("fastapi", reason="pip install 'lesion-pipeline[serve]'")
pytest.importorskip("sqlalchemy", reason="pip install 'lesion-pipeline[serve]'")
pytest.importorskip("httpx", reason="pip install 'lesion-pipeline[test]'")

from fastapi.testclient import TestClient

from clsstage.masks import MaskTrust
from lesioncore.cache import MaskCache
from pipelines.qa.agreement import agreement, cohen_kappa
from pipelines.qa.app import create_app
from pipelines.qa.assistant import PageAssistant
from pipelines.qa.config import QaExportConfig
from pipelines.qa.export import export
from pipelines.qa.pixels import at_view, drawn_on, mask_of_png, mask_png, view_shape
from pipelines.qa.round import ReviewRound
from pipelines.qa.store import Store, database_url
from tests.pipelines.qa_round import SHAPE, true_mask, write_images, write_masks

HERE = {"Origin": "http://localhost"}
DRAWN = np.zeros(SHAPE, bool)
DRAWN[10:30, 20:50] = True


def cookie(who: str) -> dict[str, str]:
    return {"Cookie": f"lesion_qa_reviewer={who}"}


class Desk:
    """A round with its server, as one reviewer sees it."""

    def __init__(self, folder: Path, count: int = 6, *, against: bool = False, **options: Any):
        self.folder = folder
        self.images = write_images(folder / "images", count)
        write_masks(folder / "cache", self.images, shift=4)
        if against:
            write_masks(folder / "other", self.images)
        self.options = {"against": against, **options}
        self.client = self.open()
        self.number = 0

    def open(self, **changes: Any) -> TestClient:
        """Start the server anew, as after a kill."""
        options = {**self.options, **changes}
        against = MaskCache(self.folder / "other") if options.pop("against") else None
        key, local = options.pop("key", None), options.pop("local", True)
        store = Store(database_url(None, self.folder / "cache"))
        self.round = ReviewRound(
            store, MaskCache(self.folder / "cache"), self.images, against, **options
        )
        app = create_app(
            self.round, title="test", assistant=PageAssistant("none", self.images), key=key,
            local=local,
        )  # fmt: skip
        return TestClient(app, base_url="http://localhost", follow_redirects=False)

    def post(self, path: str, body: dict[str, Any], who: str = "Kim", **other: Any) -> Any:
        return self.client.post(path, json={"reviewer": who, **body}, headers=HERE, **other)

    def get(self, path: str, who: str = "Kim", **query: str) -> Any:
        query = {**query, "who": who} if path == "/mask" else query
        return self.client.get(path, params=query or None, headers=cookie(who))

    def claim(self, who: str = "Kim", page: str = "p") -> list[str]:
        answer = self.post("/api/claim", {"page": page + who}, who)
        return [one["id"] for one in answer.json()["items"]]

    def decide(self, image: str, action: str, who: str = "Kim", **other: Any) -> Any:
        self.number += 1
        if "mask" in other:
            other["mask"] = base64.b64encode(mask_png(other["mask"])).decode()
        body = {"page": f"p{who}", "key": f"key {who} {self.number:04d}", "image": image}
        answer = self.post("/api/decide", {**body, "action": action, **other}, who)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def export(self, **options: Any) -> MaskCache:
        config = QaExportConfig(masks=self.folder / "cache", out=self.folder / "out", **options)
        assert export(config) == 0
        return MaskCache(self.folder / "cache")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.round.store.close()


def test_pages_open_and_ask_who_is_there(desk: Desk) -> None:
    first = desk.client.get("/")
    assert first.status_code == 200 and "Your name" in first.text
    assert desk.client.get("/review").headers["location"] == "/"
    named = desk.client.post("/reviewer", data={"reviewer": " Kim  Lee "}, headers=HERE)
    assert named.headers["location"] == "/review"
    page = desk.client.get("/review")
    assert page.status_code == 200 and "Kim Lee" in page.text and "http://" not in page.text
    for path in ("/list?show=open", "/list?show=flag", "/list?show=none&at=-3", "/agreement"):
        assert desk.client.get(path).status_code == 200


def test_another_site_cannot_decide_and_another_name_cannot_point_here(desk: Desk) -> None:
    body = {"page": "p", "reviewer": "Kim"}
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {}):
        answer = desk.client.post("/api/claim", json=body, headers=headers)
        assert answer.status_code == 403
    assert desk.client.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert desk.client.get("/", headers={"Host": "localhost:1234"}).status_code == 200
    assert desk.client.put("/api/claim", headers=HERE).status_code == 405
    huge = {**HERE, "Content-Length": str(10**9)}
    assert desk.client.post("/api/claim", content=b"{}", headers=huge).status_code == 413
    policy = desk.client.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy


def test_away_from_this_machine_a_key_is_asked_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path, key="open sesame", local=False)
    assert desk.client.get("/").status_code == 401
    assert desk.client.get("/?key=wrong").status_code == 401
    assert desk.client.get("/static/qa.css").status_code == 401
    opened = desk.client.get("/list?show=open&key=open%20sesame")
    assert opened.status_code == 303 and opened.headers["location"] == "/list?show=open"
    assert desk.client.get("/").status_code == 200
    assert desk.client.get("/", headers={"Host": "nas.local"}).status_code == 200


@pytest.mark.parametrize("image", ["../../etc/passwd", "I_9999", "", "a" * 900, "I_0000\0.png"])
def test_ids_are_looked_up_and_never_made_into_paths(desk: Desk, image: str) -> None:
    for path in ("/image", "/mask", "/thumbnail", "/review"):
        assert desk.get(path, image=image).status_code == 404, path
    body = {"page": "p", "key": "k" * 9, "image": image, "action": "accept"}
    assert desk.post("/api/decide", body).status_code in (404, 422)
    assert desk.client.get("/static/../app.py").status_code == 404
    assert desk.client.get("/static/%2e%2e/app.py").status_code == 404


def test_a_step_keeps_the_decision_and_brings_the_next_images(desk: Desk) -> None:
    first = desk.claim()
    assert first[0] == "I_0001"
    item = desk.post("/api/claim", {"page": "p"}).json()["items"][0]
    assert item["why"] == "no mask: failed" and ["mask", "failed: a test"] in item["facts"]
    answer = desk.decide(first[0], "flag", note="what is this?")
    assert first[0] not in [one["id"] for one in answer["items"]]
    assert answer["progress"]["done"] == 1 and answer["progress"]["total"] == 6
    assert "what is this?" in desk.get("/list", show="flag").text
    back = desk.post("/api/undo", {"page": "p"}).json()
    assert back["item"]["id"] == first[0] and back["progress"]["done"] == 0


def test_two_reviewers_never_get_the_same_image(tmp_path: Path) -> None:
    desk = Desk(tmp_path, 14)
    kim, lee = desk.claim("Kim"), desk.claim("Lee")
    assert len(kim) == len(lee) == 6 and not set(kim) & set(lee)
    held = desk.post("/api/hold", {"page": "x", "images": [kim[0]]}, "Lee").json()
    assert held == {"lost": [kim[0]]}
    page = desk.get("/review", "Lee", image=kim[0]).text
    assert '"holder": "Kim"' in page
    desk.post("/api/release", {"page": "pKim"}, "Kim")
    assert kim[0] in desk.claim("Lee")


def test_an_edit_is_seen_again_by_its_mask_and_after_a_restart(desk: Desk) -> None:
    image = "I_0002"
    before = mask_of_png(desk.get("/mask", image=image).content)
    assert np.array_equal(before, np.roll(true_mask(2), 4, axis=1))
    desk.decide(image, "edit", mask=DRAWN)
    for client in (desk.client, desk.open()):
        desk.client = client
        shown = desk.get("/mask", image=image)
        assert np.array_equal(mask_of_png(shown.content), DRAWN)
        assert "no-store" in shown.headers["cache-control"]
    assert '"action": "edit"' in desk.get("/review", image=image).text
    wrong = desk.post(
        "/api/decide",
        {"page": "p", "key": "wrong size", "image": image, "action": "edit",
         "mask": base64.b64encode(mask_png(DRAWN[1:])).decode()},
    )  # fmt: skip
    assert wrong.status_code == 422 and "60 x 80" in wrong.json()["detail"]
    for text in ("@@", base64.b64encode(b"no picture at all, but long enough").decode()):
        body = {"page": "p", "key": "bad mask", "image": image, "action": "edit", "mask": text}
        assert desk.post("/api/decide", body).status_code == 422


def test_what_the_clicks_need_is_told(desk: Desk) -> None:
    answer = desk.post("/api/prompt", {"image": "I_0000", "inside": [[0.5, 0.5]]})
    assert answer.status_code == 422 and "assistant none" in answer.json()["detail"]
    assert desk.post("/api/prompt", {"image": "I_0000", "inside": [[2, 0]]}).status_code == 422


def test_an_unreadable_picture_is_told_and_the_round_goes_on(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    Path(desk.images["I_0003"]).write_bytes(b"broken")
    Path(desk.images["I_0001"]).unlink()
    answer = desk.client.get("/image", params={"image": "I_0003"})
    assert answer.status_code == 422 and "I_0003" in answer.json()["detail"]
    items = desk.post("/api/claim", {"page": "p"}).json()["items"]
    assert items[0]["id"] == "I_0001" and "cannot be read" in items[0]["problem"]
    assert desk.get("/mask", image="I_0001").status_code == 404
    body = {"page": "p", "key": "on nothing", "image": "I_0001", "action": "reject"}
    assert desk.post("/api/decide", body).status_code == 422
    desk.decide("I_0003", "flag")
    assert not {"I_0001", "I_0003"} & {one["id"] for one in desk.decide("I_0001", "flag")["items"]}
    assert desk.get("/list", show="flag").status_code == 200
    assert desk.export().counts == {"ok": 5, "failed": 1}


def test_the_export_writes_what_stands_into_the_cache_and_as_png(desk: Desk) -> None:
    desk.decide("I_0000", "accept")
    desk.decide("I_0001", "edit", mask=DRAWN, note="by hand")
    desk.decide("I_0002", "edit", mask=DRAWN)
    desk.decide("I_0002", "edit", mask=DRAWN[::-1])
    desk.decide("I_0003", "reject")
    desk.decide("I_0004", "flag")
    desk.decide("I_0005", "edit", mask=DRAWN)
    desk.post("/api/undo", {"page": "p"})
    cache = desk.export()
    assert cache.counts == {"ok": 3, "edited": 3}
    assert np.array_equal(cache.read("I_0001").mask(), DRAWN)
    assert np.array_equal(cache.read("I_0002").mask(), DRAWN[::-1])
    trust = MaskTrust()
    assert trust.judge(cache.row("I_0001"))[0] == "edited"
    assert trust.judge(cache.row("I_0003"))[0] == "empty"  # stage 2 sees the image whole
    out = desk.folder / "out"
    names = sorted(path.name for path in out.glob("*.png"))
    assert names == [f"I_000{n}_segmentation.png" for n in range(3)]
    assert np.array_equal(read_mask(out / names[2]), DRAWN[::-1])
    assert np.array_equal(read_mask(out / names[0]), np.roll(true_mask(0), 4, axis=1))
    table = pd.read_csv(out / "decisions.csv")
    assert len(table) == 7 and table["counts"].sum() == 4
    row = table.set_index(["image_id", "counts"]).loc[("I_0001", True)].squeeze()
    assert (row["reviewer"], row["note"], row["before_status"]) == ("Kim", "by hand", "failed")
    assert (row["after_area"], row["exported_revision"]) == (600, 1)
    assert desk.export().snapshot == cache.snapshot, "a second export writes nothing"


def test_after_an_export_the_round_goes_on_and_takes_back(desk: Desk) -> None:
    desk.decide("I_0002", "edit", mask=DRAWN)
    desk.decide("I_0003", "reject")
    desk.export()
    desk.client = desk.open()
    assert not {"I_0002", "I_0003"} & set(desk.claim()), "an export opens nothing again"
    desk.post("/api/undo", {"page": "pKim"})
    assert "I_0003" in desk.claim()
    answer = desk.get("/mask", image="I_0003")
    before = np.roll(true_mask(3), 4, axis=1)
    assert np.array_equal(mask_of_png(answer.content), before), "the mask of before the round"
    desk.decide("I_0002", "edit", mask=~DRAWN)
    cache = desk.export()
    assert np.array_equal(cache.read("I_0003").mask(), before)
    assert np.array_equal(cache.read("I_0002").mask(), ~DRAWN)
    assert not (desk.folder / "out" / "I_0003_segmentation.png").exists()
    assert desk.export().snapshot == cache.snapshot


def test_rejections_may_be_kept_out_and_accepted_masks_put_in(desk: Desk) -> None:
    desk.decide("I_0002", "accept")
    desk.decide("I_0003", "reject")
    cache = desk.export(rejected="keep", accepted=True)
    assert cache.row("I_0003").status == "ok" and cache.row("I_0002").status == "edited"
    assert np.array_equal(cache.read("I_0002").mask(), np.roll(true_mask(2), 4, axis=1))


def test_decisions_on_masks_that_were_made_anew_do_not_count(desk: Desk) -> None:
    desk.decide("I_0002", "edit", mask=DRAWN)
    desk.decide("I_0003", "reject")
    desk.decide("I_0004", "accept")
    write_masks(desk.folder / "new", desk.images, shift=9)
    database = f"sqlite:///{desk.folder / 'cache.qa.sqlite'}"
    config = QaExportConfig(masks=desk.folder / "new", db=database, out=desk.folder / "out")
    assert export(config) == 0
    cache = MaskCache(desk.folder / "new")
    assert cache.counts == {"ok": 4, "failed": 1, "edited": 1}
    assert np.array_equal(cache.read("I_0002").mask(), DRAWN), "what was drawn is still right"
    again = ReviewRound(Store(database), cache, desk.images)
    assert again.shown("I_0003", "Kim").action == ""


def test_the_other_caches_mask_can_be_taken(tmp_path: Path) -> None:
    desk = Desk(tmp_path, against=True)
    item = desk.post("/api/claim", {"page": "p"}).json()["items"][1]
    found = desk.get(item["other"])
    number = int(item["id"][-1])
    assert np.array_equal(mask_of_png(found.content), true_mask(number))
    desk.decide(item["id"], "edit")
    assert np.array_equal(desk.export().read(item["id"]).mask(), true_mask(number))


def test_reviewers_of_the_same_images_are_compared(tmp_path: Path) -> None:
    desk = Desk(tmp_path, overlap=1.0)
    desk.decide("I_0000", "reject", "Kim")
    assert "I_0000" in desk.get("/list", "Kim", show="reject").text
    assert "I_0000" not in desk.get("/list", "Lee", show="reject").text
    for image in desk.images:
        desk.decide(image, "accept", "Kim")
        desk.decide(image, "reject" if image == "I_0002" else "accept", "Lee")
    desk.decide("I_0003", "edit", "Lee", mask=DRAWN)
    (pair,) = agreement(desk.round.store, resamples=50)
    assert pair["reviewers"] == ["Kim", "Lee"] and pair["images"] == 6
    assert pair["differ"] == ["I_0002", "I_0003"] and pair["same"]["value"] == 4 / 6
    kept = np.roll(true_mask(3), 4, axis=1)
    overlap = 2 * (kept & DRAWN).sum() / (kept.sum() + DRAWN.sum())
    assert pair["dice"]["value"] == pytest.approx((4 + 0 + overlap) / 6)
    assert pair["dice"]["low"] <= pair["dice"]["value"] <= pair["dice"]["high"]
    desk.export()
    said = json.loads((desk.folder / "out" / "agreement.json").read_text())
    assert said["pairs"][0]["images"] == 6
    assert "Kim and Lee" in desk.client.get("/agreement").text


def test_kappa_is_that_of_sklearn() -> None:
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(0)
    one, two = rng.choice(list("arf"), (2, 80))
    assert cohen_kappa(one, two) == pytest.approx(cohen_kappa_score(one, two))
    assert cohen_kappa(one, one) == 1.0 and np.isnan(cohen_kappa(["a"], ["a"]))


def test_drawing_on_a_shrunk_mask_leaves_the_rest_of_a_large_one() -> None:
    large = true_mask(0, (2000, 3200))
    large[1700:1702, 60] = True  # finer than the page shows
    view = view_shape((2000, 3200))
    assert view == (1000, 1600)
    drawn = at_view(large, view).copy()
    assert np.array_equal(drawn_on(large, drawn), large)
    drawn[100:200, 300:500] = True
    result = drawn_on(large, drawn)
    wanted = large.copy()
    wanted[200:400, 600:1000] = True
    assert np.array_equal(result, wanted)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from lesioncore import extras
    from pipelines.commands import main

    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(LesionError, match=r"lesion-pipeline\[serve\]"):
        extras.require("serve", "fastapi")
    assert main(["qa", "--masks", str(tmp_path), "--dataset", "phantom"]) == 1
    assert main(["qa", "export", "--masks", str(tmp_path)]) == 1
