"""Each training image is segmented by the member that did not see its group."""

from __future__ import annotations

import pandas as pd
import pytest

from weights.provenance import Provenance, member_of, with_earlier


def table(members: int = 2) -> pd.DataFrame:
    rows = [
        # image, group, fold, role, sha, patient, lesion
        ("a", "patient:1", 0, "train", "sha-a", "1", "L1"),
        ("b", "patient:1", 0, "train", "sha-b", "1", None),
        ("c", "lesion:L3", 1, "train", "sha-c", None, "L3"),
        ("d", "image:d", -1, "test", "sha-d", None, None),
        ("e", "image:e", -1, "excluded", "sha-e", None, None),
    ]
    columns = ["image_id", "group", "fold", "role", "image_sha256", "patient_id", "lesion_id"]
    return pd.DataFrame(rows, columns=columns)


def test_out_of_fold_member_for_training_images() -> None:
    two = Provenance(table(), 2)
    assert two.assign("a").label == two.assign("b").label == "0"
    assert two.assign("c").members == (1,)
    assert not two.assign("c").in_sample


@pytest.mark.parametrize("image", ["d", "e", "stranger"])
def test_images_that_no_member_saw_get_the_mean(image: str) -> None:
    found = Provenance(table(), 2).assign(image)
    assert (found.label, found.members, found.in_sample) == ("mean", (0, 1), False)


@pytest.mark.parametrize(
    ("facts", "label"),
    [
        (("other", "sha-c", None, None), "1"),
        (("other", "", None, "L3"), "1"),
        (("other", "", "1", None), "0"),
        (("c", "other bytes", None, None), "1"),
        (("other", "", float("nan"), float("nan")), "mean"),
        (("other", "", "2", "L9"), "mean"),
    ],
)
def test_images_of_another_archive_are_recognised(facts: tuple, label: str) -> None:
    found = Provenance(table(), 2).assign(*facts)
    assert found.label == label
    assert not found.in_sample


def test_an_image_that_every_member_saw_is_in_sample() -> None:
    # One picture of lesion L3 of patient 1: member 0 learned from L3, member 1 from patient 1.
    found = Provenance(table(), 2).assign("other", "", "1", "L3")
    assert (found.label, found.in_sample) == ("mean", True)


def test_a_single_split_is_in_sample_where_it_trained() -> None:
    one = Provenance(table(), 1)
    assert one.assign("c") == one.assign("c", "sha-c")
    assert one.assign("c").in_sample  # fold 1 trains
    assert not one.assign("a").in_sample  # fold 0 validates
    assert not one.assign("d").in_sample
    assert {one.assign(i).label for i in "acd"} == {"0"}


def test_without_a_record_nothing_is_known() -> None:
    none = Provenance(None, 3)
    assert not none.known
    assert none.assign("a").label == "mean"


def test_a_record_that_has_the_earlier_rows_takes_them_again() -> None:
    """A run that goes on reads the record which it joined when it began."""
    earlier = table().assign(fold=1)
    once = with_earlier(table(), earlier).drop_duplicates(ignore_index=True)
    again = with_earlier(once, earlier).drop_duplicates(ignore_index=True)
    assert len(once) == len(table()) + 3
    pd.testing.assert_frame_equal(once, again)


def test_a_run_whose_name_is_a_number_is_no_member(tmp_path) -> None:
    run = tmp_path / "1"
    (run / "member-3").mkdir(parents=True)
    (run / "run.json").write_text("{}")
    assert member_of(run) == (run, 0)
    assert member_of(run / "member-3") == (run, 3)
