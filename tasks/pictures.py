"""Pictures are opened in one way for checking, training and serving, so that what was checked is what is trained on."""

import io
import struct
from base64 import b64decode
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tasks.frozen import GraftError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000")  # EPS would start Ghostscript
PIXELS = 89_478_485  # as many 3-byte pixels as a quarter of a GiB holds; Pillow's own line for a decompression bomb
BROKEN = (OSError, SyntaxError, ValueError, RuntimeError, EOFError, struct.error, Image.DecompressionBombError)


def open_picture(file: bytes, channels: Literal[1, 3]) -> Image.Image:
    """The first frame, upright, in 8 bits: mode "L" for one channel, "RGB" for three.

    - The EXIF orientation is applied, as every viewer does.
    - What is transparent becomes white, the ground that pages and viewers mostly show behind a cut-out or a logo. To
      drop the transparency alone would show the colours stored below it, which nobody has ever seen.
    - 16 bits of grey are scaled by 255 / 65535 (12 bits by 255 / 4095), never stretched picture by picture.
    - CMYK and YCCK become red = 255 (1 - cyan) (1 - black) and so on; embedded colour profiles are not applied.
    - Colour becomes grey by the luma of ITU-R BT.601.

    Args:
        file: the picture file's content.
        channels: of the network's input.

    Raises:
        GraftError: says of "the picture" why it cannot be used; the caller puts the row's name before it.
    """
    try:
        image = _flat(_upright(file))
    except UnidentifiedImageError as error:
        raise GraftError(f"the picture has no known format. Valid: {', '.join(FORMATS)}.") from error
    except BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise GraftError(f"the picture cannot be read ({reason}). Replace the file or take it out.") from error
    return image.convert("L" if channels == 1 else "RGB")


def check_picture(file: bytes) -> Image.Image:
    """Open a picture fully, in colour.

    Raises:
        GraftError: as `open_picture` does.
    """
    return open_picture(file, 3)


def picture_of(cell: str | bytes) -> bytes:
    """A picture file's content, given as it is or in base64 (with or without line breaks).

    Base64 may come as bytes too: MLflow's server decodes it in `dataframe_split` and `dataframe_records`, but not in
    `inputs` and `instances`. No picture file is base64 all through.

    Raises:
        GraftError: a text, or what it decodes to, is no picture; quotes the text's beginning.
    """
    try:
        content = b64decode("".join(cell.split()) if isinstance(cell, str) else cell, validate=True)
        Image.open(io.BytesIO(content), formats=FORMATS)
    except BROKEN as error:
        if isinstance(cell, bytes):
            return cell
        raise GraftError(
            f"{cell[:40]!r} is no picture in base64. Give a picture file's content, as bytes or as base64."
        ) from error
    return content


def _upright(file: bytes) -> Image.Image:
    if not file:
        raise GraftError("the picture is an empty file. Replace it or take it out.")
    image = Image.open(io.BytesIO(file), formats=FORMATS)
    width, height = image.size
    if not width * height:
        raise GraftError(f"the picture has {width} x {height} pixels. Replace the file or take it out.")
    if width * height > PIXELS:
        raise GraftError(f"the picture has {width} x {height} pixels, more than {PIXELS:,}. Make it smaller.")
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    return image


def _flat(image: Image.Image) -> Image.Image:
    """Grey or colour in 8 bits, without transparency."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _eight_bits(image)
    if image.mode in {"LA", "PA", "RGBA"} or "transparency" in image.info:
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    if image.mode == "1":
        return image.convert("L")
    if image.mode in {"P", "CMYK", "YCbCr", "RGBX"}:
        return image.convert("RGB")
    if image.mode not in {"L", "RGB"}:
        raise GraftError(f"the picture is of mode {image.mode!r}, of unknown range. Save it as 8-bit RGB or grey.")
    return image


def _eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)  # [H, W]
    if values.min() < 0 or values.max() > 65535:
        raise GraftError(
            f"the picture holds values from {values.min()} to {values.max()}, beyond 16 bits. Save it as 8-bit grey."
        )
    bits = getattr(image, "tag_v2", {}).get(258, (16,))[0]  # TIFF's BitsPerSample
    top = 4095 if bits == 12 else 65535
    grey = ((values * 255 + top // 2) // top).astype(np.uint8)
    if "transparency" in image.info:
        grey[values == image.info["transparency"]] = 255
    return Image.fromarray(grey)
