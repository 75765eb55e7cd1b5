"""Which photographs `lesion predict` looks at."""

from __future__ import annotations

from pathlib import Path

import pytest

from lesioncore.errors import UsageError
from pipelines.predict import _without


def test_pictures_of_an_earlier_call_are_left_out_but_never_all_in_silence() -> None:
    photos = [Path("photos/a.jpg"), Path("photos/overlays/a.png")]
    assert _without(photos, Path("photos/overlays")) == photos[:1]
    assert _without(photos, None) == photos
    with pytest.raises(UsageError, match="all 1 photographs lie in"):
        _without(photos[1:], Path("photos/overlays"))
