"""Is an image file whole? Decoders fill what is missing with grey and say nothing.

The checks read markers and checksums only, no pixels: tens of microseconds for a tile. They find
files that were cut short, zero-filled or overwritten with other bytes. A JPEG whose entropy-coded
data were damaged but still hold legal codes looks whole to them, as it does to every decoder.
"""

from __future__ import annotations

import re
import zlib

#: Suffixes of files that readers take for images.
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})

JPEG_MAGIC = b"\xff\xd8\xff"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
BMP_MAGIC = b"BM"

#: Inside entropy-coded data FF is followed by 00 (a stuffed FF), a restart marker D0 to D7, or by
#: more FF (fill); anything else is the next marker.
NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_EOI, _SOS = 0xD9, 0xDA
# Segments that may follow entropy-coded data: DHT, DAC, DQT, DNL, DRI, APPn, COM (and SOS).
_BETWEEN_SCANS = frozenset({0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)})


def defect(data: bytes) -> str | None:
    """Return what is wrong with the bytes of an image file, or None if it looks whole.

    Known are JPEG (markers up to the end of the image), PNG (chunk checksums) and BMP (stated
    size); other formats are left to their decoder.
    """
    if not data:
        return "the file is empty"
    if data.startswith(JPEG_MAGIC):
        return _jpeg_defect(data)
    if data.startswith(PNG_MAGIC):
        return _png_defect(data)
    if data.startswith(BMP_MAGIC):
        stated = int.from_bytes(data[2:6], "little")
        if stated > len(data):
            return f"truncated BMP: {len(data)} of {stated} bytes"
    return None


def _jpeg_defect(data: bytes) -> str | None:
    size = len(data)
    position = 2
    scanned = False
    while position + 4 <= size or (position + 2 <= size and data[position + 1] == _EOI):
        if data[position] != 0xFF:
            return f"corrupt JPEG: no marker at byte {position} of {size}"
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == _EOI:
            return None if scanned else "corrupt JPEG: it ends before any image data"
        if scanned and marker not in _BETWEEN_SCANS:
            return f"corrupt JPEG: illegal marker FF{marker:02X} at byte {position} of {size}"
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        position += 2 + length
        if marker == _SOS:
            scanned = True
            found = NEXT_MARKER.search(data, position)
            if found is None:
                break
            position = found.start()
    return f"truncated JPEG: no end-of-image marker in its {size} bytes"


def _png_defect(data: bytes) -> str | None:
    size = len(data)
    position = 8
    while position + 12 <= size:
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > size:
            break
        if zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return f"corrupt PNG: wrong checksum of chunk {kind.decode('latin-1')!r} at {position}"
        if kind == b"IEND":
            return None
        position = end + 4
    return f"truncated PNG: no IEND chunk in its {size} bytes"
