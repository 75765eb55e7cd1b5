"""Image files as they arrive: what they are by their content, how large, and without metadata.

Nothing is decoded before its size is known, and no name or media type is believed.
"""

from __future__ import annotations

import io
import struct

from PIL import ExifTags, Image

from lesioncore.integrity import JPEG_MAGIC, NEXT_MARKER
from pipelines.serving.refusals import Refusal

#: What is decoded, by Pillow's names.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
#: Lesions smaller than a tile of ISIC 2024 by far; less is no photograph.
MIN_SIDE = 32
# Segments that say how pixels are coded: JFIF (APP0) and Adobe (APP14); others are metadata.
_CODING = frozenset({0xE0, 0xEE})
_SOS, _EOI = 0xDA, 0xD9


def looked_at(data: bytes, max_bytes: int, max_pixels: int) -> tuple[str, int, int]:
    """Return the format, width and height of an image file, from its first bytes.

    Raises
    ------
    Refusal
        413 past a limit, 415 no image of a known format, 422 an image without pixels or one of
        several pictures.
    """
    if not data:
        raise Refusal(422, "empty_file", "the image is an empty file", wanted="an image file")
    if len(data) > max_bytes:
        raise Refusal(
            413, "too_many_bytes", f"an image file of more than {max_bytes / 1e6:g} MB",
            wanted=f"at most {max_bytes / 1e6:g} MB", mend="a smaller copy of the photograph",
        )  # fmt: skip
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            kind = "JPEG" if data.startswith(JPEG_MAGIC) else str(picture.format)
            width, height = picture.size
            # A second picture in a JPEG is a preview or a depth map; elsewhere it is an animation.
            frames = 1 if kind == "JPEG" else int(getattr(picture, "n_frames", 1))
    except Image.DecompressionBombError:
        raise _too_large(max_pixels) from None
    except Exception as error:  # parsers of hostile files raise anything
        raise Refusal(
            415, "not_an_image", "the file is no image of a known format",
            wanted="a JPEG, PNG, BMP, TIFF or WebP",
        ) from error  # fmt: skip
    if width * height > max_pixels:
        raise _too_large(max_pixels)
    if min(width, height) < MIN_SIDE:
        raise Refusal(
            422, "too_small", f"an image of {width} x {height} pixels",
            wanted=f"at least {MIN_SIDE} pixels on each side",
        )  # fmt: skip
    if frames > 1:
        raise Refusal(
            422, "several_pictures", f"a file of {frames} pictures", wanted="one photograph"
        )
    return kind, width, height


def _too_large(max_pixels: int) -> Refusal:
    return Refusal(
        413, "too_many_pixels", f"an image of more than {max_pixels / 1e6:g} million pixels",
        wanted=f"at most {max_pixels / 1e6:g} million", mend="a smaller copy of the photograph",
    )  # fmt: skip


def without_metadata(data: bytes) -> bytes:
    """Return a JPEG without EXIF, XMP, comments or previews, or any other image anew as PNG.

    The coded pixels of a JPEG stay as they are, and so does its orientation.

    Raises
    ------
    LesionError
        It cannot be decoded.
    """
    if data.startswith(JPEG_MAGIC):
        return _bare_jpeg(data)
    import cv2

    from lesioncore.images import decode_image

    pixels = decode_image(data)
    done, encoded = cv2.imencode(
        ".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1]
    )
    assert done
    return encoded.tobytes()


def _bare_jpeg(data: bytes) -> bytes:
    kept = [data[:2], _orientation_segment(data)]
    position, end = 2, len(data)
    while position + 2 <= end and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == _EOI:  # what follows (a second picture, a video) is not the photograph
            kept.append(data[position : position + 2])
            break
        after = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == _SOS:
            found = NEXT_MARKER.search(data, after)
            after = end if found is None else found.start()
        if marker in _CODING or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(data[position:after])
        position = after
    return b"".join(kept)


def _orientation_segment(data: bytes) -> bytes:
    """Return an EXIF segment that says how the picture is turned, and nothing else."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
            turned = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # broken EXIF: the decoder makes nothing of it either
        return b""
    if turned not in range(2, 9):
        return b""
    entry = struct.pack(">HHIHH", ExifTags.Base.Orientation, 3, 1, turned, 0)
    body = b"Exif\0\0MM\0\x2a" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
