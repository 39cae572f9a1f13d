"""One encoded picture as an array; arrays of pictures made smaller."""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dynamics.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
# Only these decoders see the bytes, whatever the bytes claim to be: Pillow has others that start programs.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
PNG = b"\x89PNG"
GREY = ("1", "L", "LA")
# Pixels that are averaged at a time: 64 MB as float64.
AT_ONCE = 2**23
COLOUR = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
TIFF = (b"II", b"MM")
BITS = 258  # TIFF's tag of the bits in a sample
# How Pillow calls what it would narrow to eight bits: RGB;16B, but not BMP's BGR;16, which is of five or six.
NARROWED = re.compile(r";(16|32|64)[BLNSF]")


def decode(data: bytes, shown: str) -> NDArray[np.uint8]:
    """The pixels of an encoded picture: uint8 (H, W) if it is stored as greyscale, (H, W, 3) in RGB otherwise.

    As stored: no rotation by EXIF; alpha is dropped; of several frames the first. shown: how messages name the picture.
    Raises InputError for bytes that do not decode, a picture too large to be one (Pillow's limit on pixels), and more
    than eight bits a channel, which would not survive as uint8. What Pillow warns of is harmless (metadata, transparency,
    which are dropped), but for a TIFF that is cut.
    """
    from PIL import Image as pillow

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            if data.startswith(TIFF):
                warnings.filterwarnings("error", "(?i).*(corrupt|truncated)")
            # Pillow shows a damaged PNG as if it were whole; it looks at the checksums only when asked.
            if data.startswith(PNG):
                with pillow.open(io.BytesIO(data), formats=FORMATS) as image:
                    image.verify()
            with pillow.open(io.BytesIO(data), formats=FORMATS) as image:
                mode = _wide(image) or image.mode
                if mode in GREY + COLOUR:
                    return np.array(image.convert("L" if mode in GREY else "RGB"), dtype=np.uint8)
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        limit = pillow.MAX_IMAGE_PIXELS
        raise InputError(f"{shown}: a picture too large to be read: up to {limit} pixels are accepted") from error
    except Exception as error:  # Pillow's decoders raise whatever the broken bytes led them into
        reason = type(error).__name__
        raise InputError(
            f"{shown}: a picture that does not decode ({reason}): a whole {', '.join(FORMATS)} is accepted"
        ) from error
    raise InputError(
        f"{shown}: a picture of mode {mode!r}: eight bits a channel, grey, of a palette, RGB or CMYK, are accepted"
    )


def _wide(image: Image) -> str:
    """What Pillow calls the samples of a picture that it would narrow; "" for another."""
    for tile in getattr(image, "tile", ()):
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        for one in arguments:
            if isinstance(one, str) and NARROWED.search(one):
                return one
        if tile[0].startswith("ppm") and isinstance(arguments[-1], int) and arguments[-1] > 255:
            return f"{image.mode} of values up to {arguments[-1]}"
    bits = max(image.tag_v2.get(BITS, (8,))) if image.format == "TIFF" else 8  # type: ignore[attr-defined]
    return f"{image.mode};{bits}" if bits > 8 else ""


def colour(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) grey or (H, W, 3) as (H, W, 3)."""
    return picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)


def area_average(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Images (N, C, H, W) -> (N, C, size, size): each pixel the average over the area that it covers.

    A pixel that is covered in part counts by that part. Averages are rounded to the nearest whole number, halves to the even
    one, since halves that all go up would brighten every image. Sums are of whole numbers, exact in float64: every machine
    finds the same images. size: at most H and W.
    """
    count, channels, height, width = images.shape
    across, down = _overlaps(width, size), _overlaps(height, size)
    found = np.empty((count, channels, size, size), np.uint8)
    block = max(1, AT_ONCE // (channels * height * width))
    for first in range(0, count, block):
        rows = images[first : first + block].astype(np.float64) @ across.T
        found[first : first + block] = np.rint(down @ rows / (height * width))
    return found


def _overlaps(side: int, size: int) -> NDArray[np.float64]:
    """(size, side): how much of each old pixel lies in each new one, in units of which an old pixel is `size` long and a new
    one `side`."""
    new, old = np.arange(size)[:, None] * side, np.arange(side) * size
    common = np.minimum(new + side, old + size) - np.maximum(new, old)
    return common.clip(min=0).astype(np.float64)
