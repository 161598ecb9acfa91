#!/usr/bin/env python3
"""Writes the pictures of this directory and what Pillow makes of them.

    python3 -m venv venv && venv/bin/pip install pillow==13.0.0 numpy
    venv/bin/python internal/images/testdata/generate.py

All pictures are drawn here from a fixed seed. The expected results are Pillow's
own (Image.open, convert("RGB"), resize), but for 16-bit grey, where Pillow cuts
off at 255 and this project keeps the high byte. Preprocessing is torchvision's
Resize and CenterCrop and Brain-Score's place_on_screen, spelled out in Pillow.
cases.json lists every case. The photographs are ../../../testdata/pictures.
"""
import io
import json
import pathlib
import shutil
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps, ImageSequence

HERE = pathlib.Path(__file__).resolve().parent
PHOTOGRAPHS = HERE.parent.parent.parent / "testdata" / "pictures"
FILTERS = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
rng = np.random.default_rng(5)
cases = []


def drawing(width, height, channels=3):
    """Colour gradients, hard edges and some noise."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [
        255 * x / max(width - 1, 1),
        255 * y / max(height - 1, 1),
        127 * (1 + np.sin((x + 2 * y) / 5)),
        255 * ((x // 6 + y // 5) % 3) / 2,
    ][:channels]
    array = np.stack(planes, -1)
    array[(x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(width, height) / 4) ** 2] = [255, 0, 60, 128][:channels]
    array[height // 5 : height // 4, :] = [0, 40, 255, 30][:channels]
    array = np.clip(array + rng.normal(0, 8, array.shape), 0, 255).astype(np.uint8)
    return array[..., 0] if channels == 1 else array


def save_png(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.info.clear()  # a transparent colour would be saved with it
    image.save(path, optimize=True)
    return str(path.relative_to(HERE))


def decode(name, data, tolerance=0, expected=None):
    """A picture and its RGB pixels, as stored and upright."""
    path = HERE / "pictures" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    with Image.open(path) as image:
        image.load()
        stored = expected or image.convert("RGB")
        orientation = image.getexif().get(0x0112, 1)
        upright = ImageOps.exif_transpose(image).convert("RGB")
    case = {"kind": "decode", "file": f"pictures/{name}", "tolerance": tolerance, "orientation": orientation}
    case["expected"] = save_png(stored, HERE / "expected" / f"{name}.png")
    if orientation != 1:
        case["upright"] = save_png(upright, HERE / "expected" / f"{name}.upright.png")
    cases.append(case)


def encode(array, format, mode=None, **options):
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    if mode:
        image = image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png(width, height, depth, colour, rows, extra=b""):
    """A PNG of kinds that Pillow does not write."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = b"".join(b"\0" + row for row in rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def trns(data):
    return struct.pack(">I", len(data)) + b"tRNS" + data + struct.pack(">I", zlib.crc32(b"tRNS" + data))


def pngs():
    decode("rgb.png", encode(drawing(31, 23), "PNG"))
    decode("rgba.png", encode(drawing(31, 23, 4), "PNG"))
    transparent = drawing(31, 23, 4)
    transparent[5:15, 5:20, 3] = 0
    decode("rgba-transparent.png", encode(transparent, "PNG"))
    decode("grey.png", encode(drawing(31, 23, 1), "PNG"))
    decode("grey-alpha.png", encode(np.ascontiguousarray(drawing(31, 23, 4)[..., ::3]), "PNG"))
    decode("bilevel.png", encode(drawing(31, 23, 1), "PNG", mode="1"))
    decode("1x1.png", encode(drawing(1, 1), "PNG"))
    decode("trns-grey.png", encode(drawing(31, 23, 1), "PNG", transparency=0))
    decode("trns-rgb.png", encode(drawing(31, 23), "PNG", transparency=(255, 0, 60)))
    for colours, bits in [(2, 1), (4, 2), (16, 4), (256, 8)]:
        palette = Image.fromarray(drawing(31, 23)).quantize(colours)
        decode(f"palette-{bits}bit.png", encode(palette, "PNG", bits=bits))
        decode(f"palette-{bits}bit-trns.png", encode(palette, "PNG", bits=bits, transparency=bytes([0, 77])))
    for bits in (2, 4):
        decode(f"grey-{bits}bit.png", png(16, 9, bits, 0, [rng.bytes(16 * bits // 8) for _ in range(9)]))
    deep = (drawing(31, 23, 4).astype(">u2") * 256 + rng.integers(0, 256, (23, 31, 4))).astype(">u2")
    decode("rgb-16bit.png", png(31, 23, 16, 2, [row[:, :3].tobytes() for row in deep]))
    decode("rgba-16bit.png", png(31, 23, 16, 6, [row.tobytes() for row in deep]))
    decode("grey-alpha-16bit.png", png(31, 23, 16, 4, [row[:, ::3].tobytes() for row in deep]))
    value = deep[3, 4, :3].tobytes()
    decode("rgb-16bit-trns.png", png(31, 23, 16, 2, [row[:, :3].tobytes() for row in deep], trns(value)))
    high = Image.fromarray((deep[..., 0] >> 8).astype(np.uint8)).convert("RGB")
    decode("grey-16bit.png", png(31, 23, 16, 0, [row[:, 0].tobytes() for row in deep]), expected=high)
    exif = Image.Exif()
    exif[0x0112] = 6
    decode("exif-6.png", encode(drawing(31, 23), "PNG", exif=exif))


def jpegs():
    # Go's inverse cosine transform and libjpeg's differ by one level of luma or
    # chroma here and there; chroma is amplified by up to 1.77.
    for name, subsampling in [("444", 0), ("422", 1), ("420", 2)]:
        for width, height in [(64, 48), (61, 47), (3, 3), (5, 2), (4, 7), (6, 1), (1, 1), (2, 40)]:
            data = encode(drawing(width, height), "JPEG", quality=90, subsampling=subsampling)
            decode(f"{name}-{width}x{height}.jpg", data, tolerance=3)
            if subsampling == 1:
                # The same samples with the factors exchanged: 4:4:0.
                if width == height:
                    data = bytearray(data)
                    at = data.index(b"\xff\xc0") + 11
                    assert data[at] == 0x21
                    data[at] = 0x12
                    decode(f"440-{width}x{height}.jpg", bytes(data), tolerance=3)
    data = bytearray(encode(drawing(48, 48), "JPEG", quality=90, subsampling=1))
    data[data.index(b"\xff\xc0") + 11] = 0x12
    decode("440-48x48.jpg", bytes(data), tolerance=3)
    decode("progressive.jpg", encode(drawing(61, 47), "JPEG", quality=80, progressive=True), tolerance=3)
    decode("restart.jpg", encode(drawing(61, 47), "JPEG", quality=80, restart_marker_blocks=2), tolerance=3)
    decode("grey.jpg", encode(drawing(61, 47, 1), "JPEG", quality=90), tolerance=1)
    decode("rgb.jpg", encode(drawing(61, 47), "JPEG", quality=90, keep_rgb=True), tolerance=1)
    cmyk = encode(Image.fromarray(drawing(61, 47, 4), "CMYK"), "JPEG", quality=95)
    decode("cmyk.jpg", cmyk, tolerance=3)
    adobe = cmyk.index(b"\xff\xee")
    decode("cmyk-no-adobe.jpg", cmyk[:adobe] + cmyk[adobe + 16 :], tolerance=3)
    ycck = bytearray(cmyk)
    ycck[adobe + 15] = 2
    decode("ycck.jpg", bytes(ycck), tolerance=4)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        decode(f"exif-{orientation}.jpg", encode(drawing(41, 22), "JPEG", quality=90, exif=exif), tolerance=3)
    exif = Image.Exif()
    exif[0x0112] = 9
    data = encode(drawing(41, 22), "JPEG", quality=90, exif=exif)
    (HERE / "pictures" / "exif-9.jpg").write_bytes(data)
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
    decode("xmp-8.jpg", encode(drawing(41, 22), "JPEG", quality=90, xmp=xmp), tolerance=3)


def webps():
    for width, height in [(64, 48), (61, 47), (3, 3), (2, 5), (1, 1), (1, 6), (7, 2)]:
        decode(f"lossy-{width}x{height}.webp", encode(drawing(width, height), "WEBP", quality=85))
    alpha = drawing(61, 47, 4)
    alpha[..., 3] = np.linspace(1, 255, 61).astype(np.uint8)
    decode("lossy-alpha.webp", encode(alpha, "WEBP", quality=85))
    decode("lossless.webp", encode(drawing(61, 47), "WEBP", lossless=True))
    alpha[10:20, 10:20, 3] = 0
    decode("lossless-alpha.webp", encode(alpha, "WEBP", lossless=True, exact=True))
    exif = Image.Exif()
    exif[0x0112] = 3
    decode("exif-3.webp", encode(drawing(61, 47), "WEBP", quality=85, exif=exif.tobytes()))
    (HERE / "pictures" / "animated.webp").write_bytes(
        encode(drawing(9, 9), "WEBP", save_all=True, append_images=[Image.fromarray(drawing(9, 9))]))


def bmps():
    decode("rgb.bmp", encode(drawing(31, 23), "BMP"))
    decode("rgba.bmp", encode(drawing(31, 23, 4), "BMP"))
    decode("grey.bmp", encode(drawing(31, 23, 1), "BMP"))
    decode("palette.bmp", encode(Image.fromarray(drawing(31, 23)).quantize(200), "BMP"))
    decode("bilevel.bmp", encode(drawing(31, 23, 1), "BMP", mode="1"))


def tiffs():
    for compression in ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"]:
        name = compression.removeprefix("tiff_").replace("_", "-")
        decode(f"rgb-{name}.tif", encode(drawing(31, 23), "TIFF", compression=compression))
        decode(f"grey-{name}.tif", encode(drawing(31, 23, 1), "TIFF", compression=compression))
    decode("predictor.tif", encode(drawing(31, 23), "TIFF", compression="tiff_lzw", tiffinfo={317: 2}))
    decode("rgba.tif", encode(drawing(31, 23, 4), "TIFF"))
    decode("palette.tif", encode(Image.fromarray(drawing(31, 23)).quantize(200), "TIFF"))
    for compression in ["raw", "group3", "group4"]:
        for name, photometric in [("white", 0), ("black", 1)]:
            data = encode(drawing(31, 23, 1), "TIFF", mode="1", compression=compression, tiffinfo={262: photometric})
            decode(f"bilevel-{compression}-{name}-is-zero.tif", data)
    deep = drawing(31, 23, 1).astype(np.uint16) * 256 + 99
    high = Image.fromarray((deep >> 8).astype(np.uint8)).convert("RGB")
    decode("grey-16bit.tif", encode(deep, "TIFF"), expected=high)
    decode("orientation-6.tif", encode(drawing(31, 23), "TIFF", tiffinfo={274: 6}))
    (HERE / "pictures" / "cmyk.tif").write_bytes(encode(Image.fromarray(drawing(9, 9, 4), "CMYK"), "TIFF"))


def gif(width, height, palette, frames, background=0):
    """frames: (x, y, indices, disposal, transparent or None, delay, local palette or None)"""
    def colours(table):
        return b"".join(bytes(c) for c in table)
    bits = (len(palette) - 1).bit_length()
    out = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80 | bits - 1, background, 0) + colours(palette)
    out += b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    for x, y, indices, disposal, transparent, delay, local in frames:
        if disposal is not None:
            flags = disposal << 2 | (transparent is not None)
            out += b"!\xf9\x04" + struct.pack("<BHBB", flags, delay, transparent or 0, 0)
        rows, columns = indices.shape
        flags = 0x80 | (len(local) - 1).bit_length() - 1 if local else 0
        out += b"," + struct.pack("<HHHHB", x, y, columns, rows, flags) + (colours(local) if local else b"")
        clear = 1 << bits
        codes = []
        for i, index in enumerate(indices.ravel()):
            if i % (clear - 2) == 0:  # codes never grow
                codes.append(clear)
            codes.append(int(index))
        codes.append(clear + 1)
        packed, filled, stream = 0, 0, bytearray()
        for code in codes:
            packed |= code << filled
            filled += bits + 1
            while filled >= 8:
                stream.append(packed & 255)
                packed, filled = packed >> 8, filled - 8
        stream.append(packed & 255)
        out += bytes([bits])
        for i in range(0, len(stream), 255):
            block = stream[i : i + 255]
            out += bytes([len(block)]) + block
        out += b"\0"
    return out + b";"


def animation(name, data):
    path = HERE / "pictures" / name
    path.write_bytes(data)
    case = {"kind": "animation", "file": f"pictures/{name}", "frames": [], "delays": []}
    with Image.open(path) as image:
        for i, frame in enumerate(ImageSequence.Iterator(image)):
            case["delays"].append(frame.info.get("duration", 0))
            case["frames"].append(save_png(frame.convert("RGB"), HERE / "expected" / f"{name}.{i}.png"))
    cases.append(case)


def gifs():
    decode("palette.gif", encode(drawing(31, 23), "GIF"))
    decode("grey.gif", encode(drawing(31, 23, 1), "GIF"))
    decode("interlaced.gif", encode(drawing(31, 23), "GIF", interlace=1))
    palette = [(0, 0, 0), (250, 10, 20), (20, 240, 30), (10, 20, 230),
               (255, 255, 255), (90, 80, 70), (1, 2, 3), (200, 150, 100)]
    other = [(9, 9, 9), (50, 110, 20), (220, 40, 130), (110, 120, 0),
             (5, 25, 255), (190, 80, 70), (1, 200, 3), (0, 150, 100)]
    def block(width, height):
        return rng.integers(0, 8, (height, width))
    decode("transparent.gif", gif(20, 15, palette, [(0, 0, block(20, 15), 1, 3, 5, None)]))
    decode("first-frame-smaller.gif", gif(20, 15, palette, [(3, 4, block(9, 7), 1, None, 5, None)]))
    decode("first-frame-smaller-transparent.gif", gif(20, 15, palette, [(3, 4, block(9, 7), 1, 5, 5, None)]))
    decode("local-palette.gif", gif(20, 15, palette, [(0, 0, block(20, 15), 1, 2, 5, other)]))
    whole, part, corner = (0, 0, 20, 15), (4, 3, 11, 9), (12, 8, 8, 7)
    def sequence(name, *frames):
        animation(name, gif(20, 15, palette, [
            (x, y, block(w, h), disposal, transparent, delay, local)
            for (x, y, w, h), disposal, transparent, delay, local in frames], background=2))
    sequence("keep.gif", (whole, 1, None, 10, None), (part, 1, None, 7, None), (corner, 1, 4, 0, other))
    sequence("background.gif", (whole, 2, None, 10, None), (part, 2, None, 7, None), (corner, 1, 4, 3, other), (part, 2, 4, 3, other), (whole, 1, 2, 1, None))
    sequence("background-transparent.gif", (whole, 2, 1, 10, None), (part, 2, 3, 7, other), (corner, 2, None, 3, None), (whole, 1, 5, 3, None))
    sequence("previous.gif", (whole, 1, None, 10, None), (part, 3, 2, 7, None), (corner, 3, None, 3, None), (part, 1, 1, 3, None), (corner, 1, 1, 3, None))
    sequence("previous-first.gif", (part, 3, 2, 10, None), (corner, 1, 3, 7, None), (whole, 1, 1, 3, None))
    sequence("previous-first-opaque.gif", (part, 3, None, 10, None), (corner, 1, 3, 7, None), (whole, 1, 1, 3, None))
    sequence("inherited.gif", (whole, 1, None, 10, None), (part, 2, 2, 7, None), (corner, 0, 4, 3, None), (corner, None, None, 0, None), (part, 0, 1, 3, None))
    frames = [Image.fromarray(np.roll(drawing(24, 18), 3 * i, axis=1)) for i in range(4)]
    animation("pillow.gif", encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=[20, 40, 60, 80], loop=2))


def resizes():
    source = Image.fromarray(drawing(61, 47))
    save_png(source, HERE / "resize" / "source.png")
    extreme = Image.fromarray((rng.integers(0, 2, (47, 61, 3)) * 255).astype(np.uint8))
    save_png(extreme, HERE / "resize" / "extreme.png")
    for filter in FILTERS:
        for name, image in [("source", source), ("extreme", extreme)]:
            for width, height in [(1, 1), (13, 7), (61, 10), (5, 47), (70, 60), (30, 24), (61, 47), (100, 3), (50, 20)]:
                resized = image.resize((width, height), getattr(Image.Resampling, filter.upper()))
                path = HERE / "resize" / f"{name}-{width}x{height}-{filter}.png"
                cases.append({"kind": "resize", "file": f"resize/{name}.png", "width": width, "height": height,
                              "filter": filter, "expected": save_png(resized, path)})


def preprocess(image, fit, shorter=256, filter="bilinear", degrees=None, torchvision=False):
    image = image.convert("RGB")
    if degrees:
        ratio = degrees[1] / degrees[0]
        size = np.array(image.size)
        target = (ratio * size).round().astype(int)
        if ratio >= 1:
            field = Image.new("RGB", tuple(int(v) for v in target), "gray")
            field.paste(image, tuple(int(v) for v in ((target - size) / 2).round()))
            image = field
        else:
            left, upper = ((size - target) / 2).round().astype(int)
            image = image.crop((left, upper, left + target[0], upper + target[1]))
    resample = getattr(Image.Resampling, filter.upper())
    if fit == "warp":
        image = image.resize((224, 224), resample)
    if fit == "resize":
        width, height = image.size
        truncate = int if torchvision else round
        if width <= height:
            size = shorter, truncate(shorter * height / width)
        else:
            size = truncate(shorter * width / height), shorter
        image = image.resize(size, resample)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    return image.crop((left, top, left + 224, top + 224))


def preprocessings():
    def case(name, source, path, **arguments):
        result = preprocess(source, **arguments)
        stem = f"{pathlib.Path(path).stem}-{name}".translate(str.maketrans("(),+:", "-----"))
        cases.append({"kind": "preprocess", "file": path, "name": name, "expected":
                      save_png(result, HERE / "preprocess" / f"{stem}.png")})

    sources = {}
    for width, height in [(1, 1), (3, 4000), (4000, 3), (255, 257), (224, 224), (225, 227), (333, 500), (230, 900)]:
        image = drawing(width, height)
        if width * height > 10000:  # smooth, to stay small
            y, x = np.mgrid[0:height, 0:width]
            image = np.stack([(x * 255 // width), (y * 255 // height), ((x // 40 + y // 40) % 2) * 200], -1).astype(np.uint8)
        path = f"preprocess/{width}x{height}.png"
        sources[path] = Image.fromarray(image)
        save_png(sources[path], HERE / path)
        case("resize256-crop224:bilinear", sources[path], path, fit="resize")
    path = "preprocess/333x500.png"
    for filter in FILTERS:
        case(f"resize256-crop224:{filter}", sources[path], path, fit="resize", filter=filter)
        case(f"warp224:{filter}", sources[path], path, fit="warp", filter=filter)
    case("resize224-crop224:bicubic", sources[path], path, fit="resize", shorter=224, filter="bicubic")
    case("torchvision256-crop224:bilinear", sources["preprocess/255x257.png"], "preprocess/255x257.png", fit="resize", torchvision=True)
    case("torchvision256-crop224:bilinear", sources["preprocess/225x227.png"], "preprocess/225x227.png", fit="resize", torchvision=True)
    case("crop224", sources[path], path, fit="crop")
    case("none", sources["preprocess/224x224.png"], "preprocess/224x224.png", fit="crop")
    for degrees in [(8, 10), (10, 8), (8, 8), (4, 7.5), (3, 1)]:
        case(f"degrees({degrees[0]:g},{degrees[1]:g})+resize256-crop224:bilinear", sources[path], path, fit="resize", degrees=degrees)
    for name in ["coffee.png", "chelsea.png"]:
        with Image.open(PHOTOGRAPHS / name) as image:
            case("resize256-crop224:bilinear", image, f"../../../testdata/pictures/{name}", fit="resize")
    with Image.open(PHOTOGRAPHS / "rocket.jpg") as image:
        case("resize256-crop224:bicubic", image, "../../../testdata/pictures/rocket.jpg", fit="resize", filter="bicubic")


for directory in ["pictures", "expected", "resize", "preprocess"]:
    shutil.rmtree(HERE / directory, ignore_errors=True)
pngs(), jpegs(), webps(), bmps(), tiffs(), gifs(), resizes(), preprocessings()
lines = ",\n".join(json.dumps(case) for case in cases)
(HERE / "cases.json").write_text(f"[\n{lines}\n]\n")
