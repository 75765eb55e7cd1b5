"""The names of the focus modes and how they combine. Plain data, so that `--help` stays quick."""

from __future__ import annotations

from dataclasses import dataclass

from lesioncore.errors import UsageError, unknown_name

# One of each kind at most: what part of the frame is seen, and what becomes of the rest of it.
FRAMES = ("full", "crop", "dilated_crop")
BACKGROUNDS = ("soft_background", "hard_background", "lesion_only", "background_only")
MASK_CHANNEL = "mask_channel"
FOCUS_MODES = (*FRAMES, *BACKGROUNDS, MASK_CHANNEL)


@dataclass(frozen=True)
class FocusNames:
    """A focus taken apart: `frame` of FRAMES, `background` of BACKGROUNDS or None, and whether
    the mask is a fourth channel."""

    frame: str = "full"
    background: str | None = None
    mask_channel: bool = False

    @property
    def needs_mask(self) -> bool:
        """Whether this focus looks at the mask at all."""
        return self.frame != "full" or self.background is not None or self.mask_channel

    @property
    def channels(self) -> int:
        """Channels of the focused image: 3, or 4 with the mask."""
        return 4 if self.mask_channel else 3


def parse_focus(text: str) -> FocusNames:
    """Return the parts of `text`, e.g. "dilated_crop+soft_background".

    Raises
    ------
    UsageError
        An unknown name, or two names of one kind.
    """
    names = [name.strip() for name in text.split("+") if name.strip()]
    if not names:
        raise UsageError("an empty focus", wanted=f"one of: {', '.join(FOCUS_MODES)}")
    for name in names:
        if name not in FOCUS_MODES:
            raise unknown_name("focus", name, FOCUS_MODES)
    frames = [name for name in names if name in FRAMES]
    backgrounds = [name for name in names if name in BACKGROUNDS]
    if len(frames) > 1 or len(backgrounds) > 1 or len(names) != len(set(names)):
        raise UsageError(
            f"the focus {text!r} says one thing twice",
            wanted=f"at most one of {', '.join(FRAMES)} and one of {', '.join(BACKGROUNDS)}",
        )
    return FocusNames(
        frame=frames[0] if frames else "full",
        background=backgrounds[0] if backgrounds else None,
        mask_channel=MASK_CHANNEL in names,
    )
