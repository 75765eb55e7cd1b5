"""The table of measurements: its keys follow the masks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lesioncore.cache import MaskCache, MaskCacheWriter, MaskEntry, add_edit, verify_cache
from lesioncore.cache.index import read_index
from lesioncore.cache.measured import (
    COLUMNS,
    FILE,
    as_table,
    keys_of,
    measured_counts,
    read_measurements,
    stored_measurements,
    write_measurements,
)
from lesioncore.cache.merge import merge_caches
from lesioncore.errors import LesionError
from lesioncore.measurements import MEASUREMENTS_VERSION

FINGERPRINT = {"segmenter": {"arch": "test"}}


def entry(number: int, **more: Any) -> MaskEntry:
    mask = np.zeros((12, 14), bool)
    mask[2 : 5 + number, 3:9] = True
    return MaskEntry.from_mask(
        image_id=f"IMG_{number}", image_sha256=f"{number + 1:064x}", mask=mask, member="0",
        in_sample=False, **more,
    )  # fmt: skip


def make(folder: Path, numbers: range, quality_model: dict[str, Any] | None = None) -> MaskCache:
    quality = None if quality_model is None else 0.5
    with MaskCacheWriter(folder, FINGERPRINT, "bin1", quality_model=quality_model) as writer:
        for number in numbers:
            writer.add(entry(number, quality=quality))
        writer.complete()
    return MaskCache(folder)


def rows(cache: MaskCache) -> pd.DataFrame:
    """Return a table in which `area_px` is that of the mask."""
    keys = keys_of(cache).to_dict("records")
    return as_table(
        [
            {**key, "measurements_version": MEASUREMENTS_VERSION,
             "area_px": float(cache.row(str(key["image_id"])).area)}
            for key in keys
        ]
    )  # fmt: skip


@pytest.fixture
def measured(tmp_path: Path) -> MaskCache:
    cache = make(tmp_path / "cache", range(4))
    write_measurements(cache, rows(cache))
    return cache


def test_measurements_come_back_with_their_keys(measured):
    table = read_measurements(measured.folder)
    assert list(table.columns) == list(COLUMNS)
    assert table["area_px"].tolist() == [18, 24, 30, 36]
    assert set(table["fingerprint_sha256"]) == {read_index(measured.folder)["fingerprint_sha256"]}
    assert table["asymmetry"].isna().all()
    assert verify_cache(measured.folder) == []


def test_without_measurements_the_command_is_named(tmp_path):
    make(tmp_path / "cache", range(1))
    with pytest.raises(LesionError, match="not measured") as caught:
        read_measurements(tmp_path / "cache")
    assert "lesion cache measure" in str(caught.value.mend)
    assert measured_counts(MaskCache(tmp_path / "cache")) is None


def test_an_edit_makes_its_row_stale_and_no_other(measured):
    add_edit(measured.folder, "IMG_1", np.ones((12, 14), bool), author="Kim")
    table = read_measurements(measured.folder)
    assert table["image_id"].tolist() == ["IMG_0", "IMG_2", "IMG_3"]
    cache = MaskCache(measured.folder)
    assert measured_counts(cache) == {"masks": 3, "stale": 1}
    assert verify_cache(measured.folder) == []
    write_measurements(cache, table, rows(cache).query("image_id == 'IMG_1'"))
    again = read_measurements(measured.folder).set_index("image_id")
    assert again.loc["IMG_1", "area_px"] == 12 * 14
    assert again.loc["IMG_1", "revision"] == 1


def test_figures_of_an_older_definition_are_measured_again(measured):
    old = rows(measured).assign(measurements_version=MEASUREMENTS_VERSION - 1)
    old.to_parquet(measured.folder / FILE)
    assert len(read_measurements(measured.folder)) == 0


def test_columns_of_a_later_version_stay(measured):
    table = stored_measurements(measured.folder).assign(hair_share=0.25)
    write_measurements(measured, table)
    assert read_measurements(measured.folder)["hair_share"].tolist() == [0.25] * 4


def test_verify_names_rows_that_are_twice_there_or_of_no_image(measured):
    table = stored_measurements(measured.folder)
    stranger = table.head(1).assign(image_id="NOBODY")
    pd.concat([table, table.head(1), stranger]).to_parquet(measured.folder / FILE)
    problems = verify_cache(measured.folder)
    assert len(problems) == 2
    assert "1 rows say the same mask again" in problems[0]
    assert "NOBODY" in problems[1]
    (measured.folder / FILE).write_bytes(b"not a table")
    assert "cannot read" in verify_cache(measured.folder)[0]


def test_a_table_without_keys_is_refused(measured):
    pd.DataFrame({"image_id": ["IMG_0"]}).to_parquet(measured.folder / FILE)
    with pytest.raises(LesionError, match="image_sha256"):
        read_measurements(measured.folder)


def test_a_merge_joins_what_its_sources_measured(tmp_path, measured):
    other = make(tmp_path / "other", range(3, 6))
    write_measurements(other, rows(other))
    third = make(tmp_path / "third", range(6, 7))
    merged = merge_caches([measured.folder, other.folder, third.folder], tmp_path / "merged")
    table = read_measurements(merged.folder)
    assert table["image_id"].tolist() == [f"IMG_{n}" for n in range(6)]
    assert measured_counts(merged) == {"masks": 6, "stale": 0}


def test_a_merge_of_caches_without_measurements_has_none(tmp_path):
    a, b = make(tmp_path / "a", range(2)), make(tmp_path / "b", range(2, 3))
    merge_caches([a.folder, b.folder], tmp_path / "merged")
    assert not (tmp_path / "merged" / FILE).exists()


ONE, TWO = {"version": 1, "sha256": "a" * 64}, {"version": 1, "sha256": "b" * 64}


def test_the_index_says_which_models_judged_the_masks(tmp_path):
    cache = make(tmp_path / "cache", range(2), ONE)
    assert cache.quality_models == [ONE]
    with MaskCacheWriter(cache.folder, FINGERPRINT, "bin1", quality_model=TWO) as writer:
        assert len(writer.finished) == 2  # another model makes no mask anew
        writer.complete()
    assert MaskCache(cache.folder).quality_models == [ONE]
    with MaskCacheWriter(cache.folder, FINGERPRINT, "bin1", quality_model=TWO) as writer:
        writer.add(entry(2, quality=0.25))
        writer.complete()
    assert MaskCache(cache.folder).quality_models == [ONE, TWO]


def test_equal_masks_with_another_quality_merge(tmp_path):
    plain, judged = make(tmp_path / "a", range(2)), make(tmp_path / "b", range(2), ONE)
    merged = merge_caches([plain.folder, judged.folder], tmp_path / "merged")
    assert [merged.row(f"IMG_{n}").quality for n in range(2)] == [0.5, 0.5]
    assert merged.quality_models == [ONE]


def test_a_cache_of_before_has_no_quality_models(tmp_path):
    golden = Path(__file__).parents[1] / "contract" / "golden_cache_v1" / "cache"
    folder = Path(shutil.copytree(golden, tmp_path / "cache"))
    assert MaskCache(folder).quality_models == []
