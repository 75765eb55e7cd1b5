"""The masks of a cache as they were before a round, each with a name for exactly that mask."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from lesioncore.cache import MaskCache, fingerprint_sha256
from pipelines.qa.decisions import Before, Decision, before_mask
from pipelines.qa.pixels import Mask, PackedMask

#: A mask that a person drew before the round belongs to no segmenter.
_BY_HAND = "edit"


class Baseline:
    """What a round judges.

    A mask's *version* names it: image bytes, fingerprint and revision. What an export of the same
    round wrote into the cache is no new version: behind it stands the mask of before.

    Parameters
    ----------
    cache : MaskCache
        As it is now; what changes later is not seen.
    exported : mapping of str to Decision
        Of `pipelines.qa.decisions.exported_masks`.
    image_ids : collection of str, optional
        Which images; left out, all of the cache.
    """

    def __init__(
        self,
        cache: MaskCache,
        exported: Mapping[str, Decision],
        image_ids: Collection[str] | None = None,
    ) -> None:
        self.cache = cache
        self._exported = exported
        table = cache.table()
        if image_ids is not None:
            table = table[table["image_id"].isin(set(image_ids))].reset_index(drop=True)
        self.table = table
        self.table["version"] = self._versions()
        self._at = {name: at for at, name in enumerate(table["image_id"])}

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._at

    def __len__(self) -> int:
        return len(self._at)

    def facts(self, image_id: str) -> dict[str, Any]:
        """Return the row of the cache's mask, see `MaskCache.table`, with its `version`."""
        return dict(self.table.iloc[self._at[image_id]])

    def before(self, image_id: str, shape: tuple[int, int]) -> Before:
        """Return the mask of before the round.

        Parameters
        ----------
        shape : (H, W)
            Of the image, for a mask that failed before its image was seen.
        """
        facts = self.facts(image_id)
        written = self.exported(image_id)
        if written is not None:
            mask, revision = before_mask(written), int(written.before_revision)
            status = str(written.before_status)
        else:
            mask, revision = self.now(image_id, shape), int(facts["revision"])
            status = str(facts["status"])
        return Before(
            image_id=image_id,
            image_sha256=str(facts["image_sha256"]),
            version=str(facts["version"]),
            revision=revision,
            status=status,
            mask=PackedMask.of(mask),
        )

    def now(self, image_id: str, shape: tuple[int, int]) -> Mask:
        """Return the mask (H, W) that the cache gives now; `shape` as of `before`."""
        return cached_mask(self.cache, image_id, shape)

    def exported(self, image_id: str) -> Decision | None:
        """Return the decision whose mask the cache gives now, None where it is no such."""
        return self._written(image_id, int(self.facts(image_id)["revision"]))

    def _written(self, image_id: str, revision: int) -> Decision | None:
        row = self._exported.get(image_id)
        return row if row is not None and row.exported_revision == revision else None

    def _versions(self) -> list[str]:
        made_by = fingerprint_sha256(self.cache.fingerprint)[:16]
        columns = (self.table[name] for name in ("image_id", "image_sha256", "revision"))
        found = []
        for name, sha256, revision in zip(*columns, strict=True):
            row = self._written(name, int(revision))
            own = f"{sha256[:16]}-{_BY_HAND if revision else made_by}-{revision}"
            found.append(own if row is None else str(row.version))
        return found


def cached_mask(cache: MaskCache, image_id: str, shape: tuple[int, int]) -> Mask:
    """Return the mask (H, W) of a cache; nothing, of `shape`, where it knows not even the size."""
    entry = cache.read(image_id)
    return np.zeros(shape, bool) if entry.shape == (0, 0) else entry.mask()
