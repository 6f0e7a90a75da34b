"""Opening pictures: each kind of file against pixels known from elsewhere, and refusals by name."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.backbones.cnn import ScratchCNN
from tasks.frozen import GraftError
from tasks.pictures import PIXELS, check_picture, open_picture
from tasks.results import Target

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
Pixels = np.ndarray[Any, np.dtype[Any]]
FAITHFUL: dict[str, dict[str, Any]] = {
    "WEBP": {"lossless": True, "exact": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


def noise(height: int = 6, width: int = 4, channels: int = 3, seed: int = 0) -> Pixels:
    """[H, W, C], or [H, W] for one channel."""
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """An image as a file, without loss where the format has a way."""
    made = io.BytesIO()
    image.save(made, kind, **(FAITHFUL.get(kind, {}) | options))
    return made.getvalue()


def seen(file: bytes, channels: int = 3) -> Pixels:
    return np.asarray(open_picture(file, channels))  # type: ignore[arg-type]


def png(header: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG made by hand: its header's 13 bytes, then its other chunks."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    parts = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


# Rotation. What each value means stands in the EXIF standard: the side that row 0 and column 0 of the file are.

STORED = {  # how a picture that should look like `upright` is stored under each orientation
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: np.rot90(upright, 2).swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_rotated_file_is_seen_upright(kind: str, orientation: int) -> None:
    upright = noise()
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = file_of(Image.fromarray(np.ascontiguousarray(STORED[orientation](upright))), kind, exif=exif)
    assert np.array_equal(seen(file), upright)
    assert np.array_equal(seen(file), seen(file_of(open_picture(file, 3))))  # and is not turned a second time


def test_a_photograph_of_a_telephone_held_upright_is_seen_upright() -> None:
    upright = np.zeros((64, 48, 3), np.uint8)
    upright[:32] = (200, 30, 30)  # the upper half is red
    exif = Image.Exif()
    exif[0x0112] = 6
    file = file_of(Image.fromarray(np.ascontiguousarray(np.rot90(upright))), "JPEG", quality=95, exif=exif)
    found = seen(file).astype(int)
    assert found.shape == (64, 48, 3)
    assert abs(found - upright)[4:28].max() < 12 and abs(found - upright)[36:60].max() < 12


@pytest.mark.parametrize("value", [0, 9, 300])
def test_an_orientation_that_the_standard_does_not_know_turns_nothing(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert np.array_equal(seen(file_of(Image.fromarray(noise()), exif=exif)), noise())


# Colours and depths.


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "AVIF"])
def test_eight_bit_colour_comes_through_unchanged(kind: str) -> None:
    pixels = np.full((16, 16, 3), (250, 120, 3), np.uint8) if kind == "AVIF" else noise()
    assert abs(seen(file_of(Image.fromarray(pixels), kind)).astype(int) - pixels).max() <= (2 if kind == "AVIF" else 0)


def test_grey_becomes_three_equal_channels() -> None:
    pixels = noise(channels=1)
    assert np.array_equal(seen(file_of(Image.fromarray(pixels))), np.stack([pixels] * 3, axis=-1))
    assert np.array_equal(seen(file_of(Image.fromarray(pixels)), 1), pixels)


def test_colour_becomes_grey_by_its_luma() -> None:
    pixels = noise(40, 40)
    expected = pixels @ np.array([0.299, 0.587, 0.114])
    assert abs(seen(file_of(Image.fromarray(pixels)), 1) - expected).max() <= 0.51


def test_black_and_white_becomes_0_and_255() -> None:
    bits = noise(channels=1) > 127
    assert np.array_equal(seen(file_of(Image.fromarray(bits)), 1), np.where(bits, 255, 0))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bits_of_grey_are_scaled_and_not_clipped(kind: str) -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.round(ramp / 65535 * 255).astype(np.uint8)
    assert np.array_equal(seen(file_of(Image.fromarray(ramp), kind), 1), expected)
    assert np.array_equal(seen(file_of(Image.fromarray(ramp), kind))[..., 2], expected)


def test_16_bits_are_scaled_alike_in_every_picture() -> None:
    dark = np.full((4, 4), 5140, np.uint16)
    assert (seen(file_of(Image.fromarray(dark)), 1) == 20).all()


def test_16_bits_of_either_byte_order_and_kept_in_32_are_the_same_picture() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    expected = np.round(ramp / 65535 * 255).astype(np.uint8)
    assert np.array_equal(seen(file_of(Image.fromarray(ramp.astype(">u2")), "TIFF"), 1), expected)
    assert np.array_equal(seen(file_of(Image.fromarray(ramp.astype(np.int32)), "TIFF"), 1), expected)


def test_12_bits_of_a_tiff_are_scaled_by_their_own_range() -> None:
    values = np.array([[0, 4095], [2048, 16]], np.uint16)
    packed = b"\x00\x0f\xff\x80\x00\x10"  # two values of 12 bits in each three bytes, rows one after the other
    entries = [(256, 2), (257, 2), (258, 12), (259, 1), (262, 1), (273, 200), (277, 1), (278, 2), (279, 6)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", t, 4, 1, v) for t, v in entries)
    file = (b"II*\x00\x08\x00\x00\x00" + directory + bytes(4)).ljust(200, b"\0") + packed
    assert np.array_equal(seen(file, 1), np.round(values / 4095 * 255))


@pytest.mark.parametrize("values", [(-1, 7), (0, 65536)])
def test_whole_numbers_beyond_16_bits_are_refused_with_their_range(values: tuple[int, int]) -> None:
    file = file_of(Image.fromarray(np.array([values], np.int32)), "TIFF")
    with pytest.raises(GraftError, match=f"the picture holds values from {values[0]} to {values[1]}, beyond 16 bits"):
        check_picture(file)


def test_floating_point_pixels_are_refused_by_their_mode() -> None:
    with pytest.raises(GraftError, match="the picture is of mode 'F', of unknown range. Save it as 8-bit RGB or grey"):
        check_picture(file_of(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"))


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
@pytest.mark.parametrize("ink", [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 255, 0), (40, 80, 160, 100), (0, 0, 0, 255)])
def test_printing_inks_become_the_light_they_leave(ink: tuple[int, ...], kind: str) -> None:
    file = file_of(Image.new("CMYK", (16, 16), ink), kind, **({"quality": 100} if kind == "JPEG" else {}))
    cyan, magenta, yellow, black = (value / 255 for value in ink)
    light = [255 * (1 - colour) * (1 - black) for colour in (cyan, magenta, yellow)]
    assert abs(seen(file) - np.array(light)).max() <= 2


def test_ycck_of_adobe_is_no_negative() -> None:
    file = file_of(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100)
    start = file.index(b"Adobe")
    assert file[start + 11] in (0, 2)
    assert (seen(file)[8, 8].astype(int) - (255, 0, 0) < 3).all()


# Transparency and palettes.


def test_a_palette_becomes_its_colours() -> None:
    image = Image.fromarray(noise(8, 8)).quantize(16)
    assert np.array_equal(seen(file_of(image)), np.asarray(image.convert("RGB")))


def test_what_is_transparent_is_seen_on_white_whatever_colour_lies_below() -> None:
    pixels = noise(channels=4)
    pixels[0, :, 3], pixels[1, :, 3], pixels[2, :, 3] = 0, 255, 128
    alpha = pixels[..., 3:] / 255
    expected = pixels[..., :3] * alpha + 255 * (1 - alpha)
    for kind in ("PNG", "WEBP", "TIFF"):
        found = seen(file_of(Image.fromarray(pixels), kind))
        assert abs(found - expected).max() <= 1.01, kind
        assert (found[0] == 255).all() and np.array_equal(found[1], pixels[1, :, :3])


def test_grey_with_transparency_is_seen_on_white_in_both_widths() -> None:
    pixels = np.dstack([np.full((2, 2), 10, np.uint8), np.array([[0, 255], [255, 0]], np.uint8)])
    file = file_of(Image.fromarray(pixels, "LA"))
    assert seen(file, 1).tolist() == [[255, 10], [10, 255]]
    assert seen(file)[..., 1].tolist() == [[255, 10], [10, 255]]


def test_one_transparent_colour_of_a_png_or_gif_is_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([9, 9, 9, 200, 100, 50])
    image.putdata([0, 1])
    for kind in ("PNG", "GIF"):
        assert seen(file_of(image, kind, transparency=0))[0].tolist() == [[255] * 3, [200, 100, 50]]
    colour = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert seen(file_of(colour, transparency=(1, 2, 3)))[0].tolist() == [[255] * 3, [4, 5, 6]]


def test_one_transparent_grey_of_16_bits_is_white() -> None:
    rows = zlib.compress(b"\0" + struct.pack(">2H", 1000, 51400))
    file = png(struct.pack(">IIBBBBB", 2, 1, 16, 0, 0, 0, 0), (b"tRNS", struct.pack(">H", 1000)), (b"IDAT", rows))
    assert seen(file, 1).tolist() == [[255, 200]]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_stands_for_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    file = file_of(frames[0], kind, save_all=True, append_images=frames[1:])
    assert (seen(file) == (255, 0, 0)).all()


# Refusals.


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000"])
def test_a_file_cut_off_is_refused(kind: str) -> None:
    options = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
    file = file_of(Image.fromarray(noise(64, 64)), kind, **options)
    assert check_picture(file).size == (64, 64)
    with pytest.raises(GraftError, match=r"the picture (cannot be read \(.+\)\. Replace|has no known format)"):
        check_picture(file[: len(file) * 6 // 10])


def test_the_cause_of_a_cut_off_file_is_named() -> None:
    file = file_of(Image.fromarray(noise(64, 64)), "JPEG")
    with pytest.raises(
        GraftError, match=r"^the picture cannot be read \(.*truncated.*\)\. Replace the file or take it"
    ):
        open_picture(file[:-900], 1)


@pytest.mark.parametrize("file", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg/>", b"\0" * 99, b"text"])
def test_what_is_no_picture_or_would_start_another_program_is_refused(file: bytes) -> None:
    with pytest.raises(GraftError, match="the picture has no known format. Valid: JPEG, PNG, .*, JPEG2000"):
        check_picture(file)


def test_an_empty_file_and_one_without_pixels_are_refused() -> None:
    with pytest.raises(GraftError, match="the picture is an empty file"):
        check_picture(b"")
    with pytest.raises(GraftError, match=r"the picture (has 0 x 7 pixels|cannot be read|has no known format)"):
        check_picture(b"GIF89a" + struct.pack("<HHBBB", 0, 7, 0, 0, 0) + b"\x3b")


@pytest.mark.parametrize("side", [9_460, 60_000])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(side: int) -> None:
    file = png(struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0), (b"IDAT", zlib.compress(b"")))
    assert side * side > PIXELS
    with pytest.raises(GraftError, match=rf"{side} x {side} pixels, more than 89,478,485|exceeds limit"):
        check_picture(file)


def test_broken_files_of_any_kind_are_refused_and_nothing_else_happens() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    rng = np.random.default_rng(0)
    refused = 0
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "PPM", "AVIF", "JPEG2000"):
        file = file_of(
            Image.fromarray(noise(24, 24)), kind, **({} if kind in {"PPM", "BMP", "GIF"} else {"exif": exif})
        )
        for _ in range(150):
            harmed = bytearray(file)
            for place in rng.integers(0, min(len(file), 300), 4):
                harmed[place] = rng.integers(0, 256)
            try:
                assert check_picture(bytes(harmed)).mode == "RGB"
            except GraftError:
                refused += 1
    assert refused > 300


# At training and serving.


@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_is_fed_the_picture_that_was_checked(channels: int) -> None:
    backbone = ScratchCNN.model_validate({"library": "scratch_cnn", "image_size": 16, "channels": channels})
    network = backbone.load(Target(kind="class", labels=("a", "b"), raw=("a", "b")), {"image": []})
    exif = Image.Exif()
    exif[0x0112] = 3
    upright = np.kron(noise(2, 2), np.ones((8, 8, 1), np.uint8))
    file = file_of(Image.fromarray(np.ascontiguousarray(upright[::-1, ::-1])), exif=exif)
    pixels = network.encode({"image": [file]})["x"][0].permute(1, 2, 0).numpy() * 127.5 + 127.5
    expected = upright if channels == 3 else upright @ np.array([[0.299], [0.587], [0.114]])
    assert abs(pixels - expected).max() <= 0.51
    with pytest.raises(GraftError, match="the picture cannot be read"):
        network.encode({"image": [file[:100]]})
