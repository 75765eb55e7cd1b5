"""Which photographs `lesion predict` looks at."""

from __future__ import annotations

from pathlib import Path

import pytest

from lesioncore.errors import UsageError
from pipelines.photo_inputs import without_folder


def test_pictures_of_an_earlier_call_are_left_out_but_never_all_in_silence() -> None:
    photos = [Path("photos/a.jpg"), Path("photos/overlays/a.png")]
    assert without_folder(photos, Path("photos/overlays")) == photos[:1]
    assert without_folder(photos, None) == photos
    with pytest.raises(UsageError, match="all 1 photographs lie in"):
        without_folder(photos[1:], Path("photos/overlays"))
