"""Pictures from bytes: checked from the header first, decoded whole, turned upright, put on white, RGB."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from sensorium.data.limits import Limits, Refused, Seen

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # JPEG opens MPO too
ENDINGS = (".png", ".jpg", ".jpeg", ".mpo", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")


def looks_like_picture(data: bytes) -> bool:
    """Whether the first bytes are those of a format that is read."""
    return data.startswith(_MAGIC) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def load(data: bytes, limits: Limits, draft: int = 0) -> Image.Image:
    """Bytes -> upright RGB on white. `draft` lets JPEG decode at the smallest scale that is at least that side.

    Raises:
        Refused: with the reason, before any pixel is decoded where the header tells.
    """
    if not data:
        raise Refused("zero bytes")
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # another library may have set it; grey-filled pictures must not pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL warns of sizes that are limited here
            return _load(data, limits, draft)
    except Refused:
        raise
    except UnidentifiedImageError:
        raise Refused(_what_instead(data)) from None
    except Image.DecompressionBombError:
        raise Refused(f"too many pixels, limit {limits.pixels / 1e6:.0f} megapixels") from None
    except Exception as error:  # decoders raise anything on hostile bytes
        raise Refused(f"does not decode: {str(error)[:100] or type(error).__name__}") from error


def check(data: bytes, limits: Limits) -> Seen:
    """Full decode: size and 64-bit near hash, or why the picture is refused."""
    try:
        image = load(data, limits)
        return Seen("", near_hash(image), f"{image.width}x{image.height}")
    except Refused as reason:
        return Seen(str(reason))


def near_hash(image: Image.Image) -> int:
    """64-bit dHash: is each pixel of the 9 x 8 grey picture brighter than its right neighbour? Blank gives 0."""
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    return int.from_bytes(np.packbits(grey[:, :-1] > grey[:, 1:]).tobytes(), "big")


def fit(image: Image.Image, size: int) -> np.ndarray:
    """RGB of any shape -> u8 [3 size size]: scaled to fit inside, white around it, nothing cut off."""
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    small = image.resize((width, height), Image.Resampling.BICUBIC)
    out = np.full((size, size, 3), 255, np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    out[top : top + height, left : left + width] = np.asarray(small)
    return out.transpose(2, 0, 1)


def _load(data: bytes, limits: Limits, draft: int) -> Image.Image:
    _limit(_webp_size(data), limits)
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _limit(image.size, limits)
        if image.format in ("GIF", "TIFF", "MPO"):
            _frames(data, limits)
        if image.format == "PNG":  # load() skips checksums of pixel chunks
            with Image.open(io.BytesIO(data), formats=FORMATS) as again:
                again.verify()
        if draft and image.format == "JPEG":
            image.draft("RGB", (draft, draft))
        image.load()
        return _rgb(ImageOps.exif_transpose(image))


def _limit(size: tuple[int, int], limits: Limits) -> None:
    if size[0] * size[1] > limits.pixels:
        raise Refused(f"{size[0]} x {size[1]} pixels, limit {limits.pixels / 1e6:.0f} megapixels")


def _frames(data: bytes, limits: Limits) -> None:
    """Later frames are not used, but other programs unpack them: each header is held to the same limit."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        for frame in range(1, limits.frames):
            try:
                image.seek(frame)
                _limit(image.size, limits)
            except EOFError:
                return
            except Exception as error:
                raise Refused(f"frame {frame + 1}: {str(error)[:100]}") from error


def _webp_size(data: bytes) -> tuple[int, int]:
    """Canvas of a WebP from its first 30 bytes, since opening one already allocates it; (0, 0) for other formats."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return 0, 0
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(np.asarray(image, dtype=np.float64), image.mode)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _eight_bits(grey: np.ndarray, mode: str) -> np.ndarray:
    """16 and 32 bits or floats [H W] -> u8: 16 bits by 1/257, floats up to 1 by 255, others cut to 0…255."""
    grey = np.nan_to_num(grey, nan=0.0, posinf=255.0, neginf=0.0)
    if mode.startswith("I;16") or (mode == "I" and grey.max() > 255):
        grey = grey / 257
    elif mode == "F" and grey.max() <= 1:
        grey = grey * 255
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def _what_instead(data: bytes) -> str:
    start = data[:2048].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return "SVG is not read"
    try:
        text = data[:2048].decode("utf-8") if len(data) <= 2048 else data[:2048].decode("utf-8", "ignore")
    except UnicodeDecodeError:
        text = "\0"
    if all(c.isprintable() or c.isspace() for c in text):
        return "text, not a picture"
    return f"not a picture in {', '.join(FORMATS)}"
