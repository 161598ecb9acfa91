#!/usr/bin/env python3
"""Writes pillow/: a file of every kind that Pillow writes of PNG, JPEG, WebP and PNM, and odd ones made by hand or
met in the wild, with the pixels that Pillow's Image.open(...).convert("RGB") gives, as <file>.expected.png.

    python3 -m venv venv && venv/bin/pip install pillow==13.0.0 numpy
    venv/bin/python internal/images/testdata/generate_pillow.py

Where Pillow has no answer, or another one on purpose (16-bit grey, of which this project keeps the high byte;
checksums of chunks before the pixels, which libpng warns of and Pillow refuses), the expected pixels are given here.
odd/ holds files that are copied as they are: JPEG files with unusual sampling factors.
"""
import io
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent / "pillow"
rng = np.random.default_rng(12)


def drawing(width, height, channels=3):
    """Gradients, hard edges and noise."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [255 * x / max(width - 1, 1), 255 * y / max(height - 1, 1), 127 * (1 + np.sin((x + 2 * y) / 3)),
              255 * ((x // 5 + y // 4) % 3) / 2][:channels]
    array = np.stack(planes, -1)
    array[height // 3 : height // 2, width // 4 : width // 2] = [255, 0, 60, 0][:channels]
    array = np.clip(array + rng.normal(0, 9, array.shape), 0, 255).astype(np.uint8)
    return Image.fromarray(array[..., 0] if channels == 1 else array)


def put(name, data, expected=None):
    path = HERE / name
    path.write_bytes(data)
    if expected is None:
        with Image.open(io.BytesIO(data)) as image:
            expected = image.convert("RGB")
    expected = expected.convert("RGB")
    expected.info.clear()
    expected.save(f"{path}.expected.png", optimize=True)


def encode(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def chunk(kind, data, wrong=False):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ wrong)


def pngs():
    picture = drawing(31, 23)
    for mode in ["1", "L", "P", "RGB"]:
        put(f"mode-{mode}.png", encode(picture.convert(mode), "PNG"))
        for name, options in {"optimized": {"optimize": True}, "stored": {"compress_level": 0}}.items():
            put(f"mode-{mode}-{name}.png", encode(picture.convert(mode), "PNG", **options))
    put("mode-LA.png", encode(drawing(31, 23, 4).convert("LA"), "PNG"))
    put("mode-RGBA.png", encode(drawing(31, 23, 4), "PNG"))
    put("transparency-L.png", encode(picture.convert("L"), "PNG", transparency=int(picture.convert("L").getpixel((9, 9)))))
    put("transparency-RGB.png", encode(picture, "PNG", transparency=picture.getpixel((9, 9))))
    put("transparency-1.png", encode(picture.convert("1"), "PNG", transparency=0))
    for colours, bits in [(2, 1), (4, 2), (16, 4), (256, 8)]:
        palette = picture.quantize(colours)
        put(f"palette-{bits}bit.png", encode(palette, "PNG", bits=bits))
        put(f"palette-{bits}bit-transparency.png", encode(palette, "PNG", bits=bits, transparency=bytes([0, 99])))
    grey = np.asarray(picture.convert("L"))
    for name, deep in {"full": grey.astype(np.uint16) * 256 + 77, "10bit": grey.astype(np.uint16) * 4 + 3}.items():
        put(f"grey16-{name}.png", encode(Image.fromarray(deep), "PNG"), Image.fromarray((deep >> 8).astype(np.uint8)))
    put("animated.png", encode(picture, "PNG", save_all=True, append_images=[Image.new("RGB", picture.size)]))
    put("animated-default.png", encode(picture, "PNG", save_all=True, default_image=True,
                                       append_images=[Image.new("RGB", picture.size)]))
    for depth, colour in [(d, 0) for d in (1, 2, 4, 8)] + [(d, 3) for d in (1, 2, 4, 8)] + [(8, 2), (16, 2), (8, 4), (16, 4), (8, 6), (16, 6)]:
        put(f"interlaced-{colour}-{depth}bit.png", interlaced(depth, colour))
    faulty_pngs(picture)


def interlaced(depth, colour, width=13, height=11):
    """Adam7, of random samples."""
    bits = depth * [1, 0, 3, 1, 2, 0, 4][colour]
    body = b""
    for x, y, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        w, h = len(range(x, width, dx)), len(range(y, height, dy))
        if w:
            body += b"".join(b"\0" + rng.bytes((w * bits + 7) // 8) for _ in range(h))
    palette = chunk(b"PLTE", rng.bytes(3 << depth)) if colour == 3 else b""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def faulty_pngs(picture):
    data = encode(picture, "PNG")
    chunks, at = [], 8
    while at < len(data):
        length = struct.unpack(">I", data[at : at + 4])[0]
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    header, idat, end = chunks[0], (b"IDAT", b"".join(d for k, d in chunks if k == b"IDAT")), (b"IEND", b"")
    text, raw = (b"tEXt", b"a\0b"), zlib.decompress(idat[1])

    def build(*chunks, wrong=None, after=b""):
        return data[:8] + b"".join(chunk(k, d, k == wrong) for k, d in chunks) + after

    put("fault-after-end.png", build(header, idat, end, after=b"trailing bytes" * 9))
    put("fault-no-end.png", build(header, idat))
    put("fault-half-end.png", build(header, idat, after=b"\0\0\0\0IE"))
    put("fault-zeros-for-end.png", build(header, idat, after=bytes(40)))
    put("fault-end-checksum.png", build(header, idat, end, wrong=b"IEND"))
    put("fault-text-checksum-before.png", build(header, text, idat, end, wrong=b"tEXt"), picture)
    put("fault-text-checksum-after.png", build(header, idat, text, end, wrong=b"tEXt"))
    put("fault-data-checksum.png", build(header, idat, end, wrong=b"IDAT"))
    put("fault-extra-data.png", build(header, (b"IDAT", idat[1] + b"extra"), end))
    put("fault-extra-data-chunk.png", build(header, idat, (b"IDAT", b"extra"), end))
    put("fault-extra-rows.png", build(header, (b"IDAT", zlib.compress(raw + bytes(200))), end))
    put("fault-no-adler.png", build(header, (b"IDAT", idat[1][:-4]), end))
    put("fault-cut-in-adler.png", build(header, idat, end)[:-18])
    put("fault-two-headers.png", build(header, header, idat, end))
    put("fault-late-palette.png", build(header, idat, (b"PLTE", b"abc"), end))
    palette = encode(picture.quantize(7), "PNG")
    at = palette.index(b"PLTE") - 4
    length = struct.unpack(">I", palette[at : at + 4])[0]
    put("fault-palette-odd.png", palette[:at] + chunk(b"PLTE", palette[at + 8 : at + 8 + length] + b"x") + palette[at + 12 + length :])


def jpegs():
    def swapped(data, factors):
        data = bytearray(data)
        data[max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) + 11] = factors
        return bytes(data)

    def adobe(data, transform):
        """Says what the components are, for files with a JFIF segment."""
        return data[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform]) + data[20:]

    for quality in [1, 20, 75, 95, 100]:
        for name, subsampling in [("444", 0), ("422", 1), ("420", 2)]:
            put(f"{name}-q{quality}.jpg", encode(drawing(45, 35), "JPEG", quality=quality, subsampling=subsampling))
        put(f"440-q{quality}.jpg", swapped(encode(drawing(32, 32), "JPEG", quality=quality, subsampling=1), 0x12))
        put(f"411-q{quality}.jpg", swapped(encode(drawing(32, 32), "JPEG", quality=quality, subsampling=2), 0x41))
        put(f"grey-q{quality}.jpg", encode(drawing(45, 35, 1), "JPEG", quality=quality))
        put(f"rgb-q{quality}.jpg", encode(drawing(45, 35), "JPEG", quality=quality, keep_rgb=True))
        cmyk = drawing(45, 35, 4)
        cmyk = Image.frombytes("CMYK", cmyk.size, cmyk.tobytes())
        for subsampling in (0, 1, 2):
            put(f"cmyk-{subsampling}-q{quality}.jpg", encode(cmyk, "JPEG", quality=quality, subsampling=subsampling))
            data = bytearray(encode(cmyk, "JPEG", quality=quality, subsampling=subsampling, progressive=True))
            put(f"cmyk-{subsampling}-progressive-q{quality}.jpg", bytes(data))
            data[data.index(b"Adobe") + 11] = 2
            put(f"ycck-{subsampling}-progressive-q{quality}.jpg", bytes(data))
    for width, height in [(1, 1), (2, 3), (5, 2), (17, 9), (16, 16), (33, 40)]:
        cmyk = drawing(width, height, 4)
        cmyk = Image.frombytes("CMYK", cmyk.size, cmyk.tobytes())
        data = bytearray(encode(cmyk, "JPEG", quality=85, subsampling=2))
        put(f"cmyk-420-{width}x{height}.jpg", bytes(data))
        data[data.index(b"Adobe") + 11] = 2
        put(f"ycck-420-{width}x{height}.jpg", bytes(data))
        put(f"420-{width}x{height}.jpg", encode(drawing(width, height), "JPEG", quality=85, subsampling=2))
    for name, options in {
        "progressive": {"progressive": True}, "optimized": {"optimize": True}, "restart": {"restart_marker_blocks": 2},
        "restart-rows": {"restart_marker_rows": 1}, "progressive-restart": {"progressive": True, "restart_marker_blocks": 3},
        "smooth": {"smooth": 30}, "comment": {"comment": b"comment"}, "dpi": {"dpi": (300, 300)},
    }.items():
        put(f"420-{name}.jpg", encode(drawing(45, 35), "JPEG", quality=80, subsampling=2, **options))
        cmyk = drawing(45, 35, 4)
        cmyk = Image.frombytes("CMYK", cmyk.size, cmyk.tobytes())
        put(f"cmyk-420-{name}.jpg", encode(cmyk, "JPEG", quality=80, subsampling=2, **options))
    put("rgb-420.jpg", adobe(encode(drawing(45, 35), "JPEG", quality=80, subsampling=2), 0))
    put("rgb-420-progressive.jpg", adobe(encode(drawing(45, 35), "JPEG", quality=80, subsampling=2, progressive=True), 0))
    put("ending.jfif", encode(drawing(9, 7), "JPEG"))
    put("ending.jpe", encode(drawing(9, 7), "JPEG"))
    for path in sorted((HERE.parent / "odd").glob("*.jpg")):
        put(path.name, path.read_bytes())


def webps():
    picture, alpha = drawing(45, 35), drawing(45, 35, 4)
    for quality in (0, 40, 80, 100):
        put(f"lossy-q{quality}.webp", encode(picture, "WEBP", quality=quality))
        put(f"lossy-alpha-q{quality}.webp", encode(alpha, "WEBP", quality=quality))
        put(f"lossless-q{quality}.webp", encode(picture, "WEBP", quality=quality, lossless=True))
    for method in (0, 3, 6):
        put(f"method-{method}.webp", encode(picture, "WEBP", method=method))
    put("lossy-alpha-quality-30.webp", encode(alpha, "WEBP", alpha_quality=30))
    put("lossless-alpha.webp", encode(alpha, "WEBP", lossless=True))
    put("lossless-alpha-exact.webp", encode(alpha, "WEBP", lossless=True, exact=True))
    for mode in ("L", "P", "1", "LA"):
        put(f"mode-{mode}.webp", encode(alpha.convert(mode), "WEBP", lossless=True))
    put("exif.webp", encode(picture, "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0", xmp=b"<x/>", icc_profile=b"none"))
    other = drawing(45, 35)
    put("animated.webp", encode(picture, "WEBP", save_all=True, append_images=[other], lossless=True))
    put("animated-alpha.webp", encode(alpha, "WEBP", save_all=True, append_images=[other], quality=70))
    small = Image.new("RGBA", (45, 35))
    small.paste(picture.crop((0, 0, 21, 15)), (10, 6))
    put("animated-smaller-frame.webp", encode(small, "WEBP", save_all=True, append_images=[other], lossless=True, minimize_size=True))


def pnms():
    picture = drawing(31, 23)
    grey = np.asarray(picture.convert("L"))
    for mode, ending in [("1", "pbm"), ("L", "pgm"), ("RGB", "ppm"), ("RGB", "pnm")]:
        put(f"mode-{mode}.{ending}", encode(picture.convert(mode), "PPM"))
    deep = grey.astype(np.uint16) * 256 + 99
    put("grey16.pgm", encode(Image.fromarray(deep), "PPM"), Image.fromarray(grey))
    comment = b"# a comment\n"
    put("comments.pgm", b"P5 " + comment + b"31" + comment + b" 23\n" + comment + b"255\n" + grey.tobytes())
    values = (grey // 3).astype(np.uint8)
    put("maxval-85.pgm", b"P5 31 23 85\n" + values.tobytes())
    put("maxval-above.pgm", b"P5 31 23 70\n" + values.tobytes())
    put("plain-maxval-100.pgm", b"P2\n31 23\n100\n" + b" ".join(b"%d" % (v // 3) for v in grey.ravel()))
    rgb = np.asarray(picture)
    put("plain.ppm", b"P3\n31 23\n255\n" + b"\n".join(b"%d%s" % (v, b" # x" if i % 97 == 0 else b"") for i, v in enumerate(rgb.ravel())) + b"\n")
    ten = (rgb.astype(np.uint16) * 4 + 1).astype(">u2")
    put("maxval-1023.ppm", b"P6 31 23 1023\n" + ten.tobytes())
    put("plain-maxval-1023.ppm", b"P3 31 23 1023\n" + b" ".join(b"%d" % v for v in ten.ravel()) + b"\n")
    bits = np.asarray(picture.convert("1")).astype(int) ^ 1
    put("plain.pbm", b"P1\n# c\n31 23\n" + b"\n".join(b" ".join(b"%d" % v for v in row) for row in bits))
    put("plain-dense.pbm", b"P1 31 23\n" + b"\n".join(b"".join(b"%d" % v for v in row) for row in bits))
    put("trailing.ppm", encode(picture, "PPM") + b"more")


HERE.mkdir(exist_ok=True)
for old in HERE.glob("*"):
    if old.suffix.lower() not in (".tif", ".tiff", ".bmp", ".dib", ".gif") and ".tif" not in old.name and ".bmp" not in old.name and ".gif" not in old.name:
        old.unlink()
pngs(), jpegs(), webps(), pnms()
