"""Writes the TIFF, BMP and GIF files of pillow/ and what Pillow makes of them.

    pip install pillow==13.0.0 numpy imagecodecs==2026.3.6
    python generate_tiff_bmp_gif.py

Beside NAME lies NAME.expected.png, the pixels of Image.open(NAME).convert("RGB"), or NAME.refused with
a part of the error. Where Pillow refuses a file or reads it against its format, and it is plain what the file
means, `expected` gives the pixels.
"""
import io
import itertools
import pathlib
import struct
import warnings
import zlib

import imagecodecs
import numpy as np
from PIL import Image, ImageCms, ImageSequence  # noqa: F401 (ImageCms is what LAB needs)

warnings.simplefilter("ignore")
HERE = pathlib.Path(__file__).parent / "pillow"
W, H = 24, 20
rng = np.random.default_rng(15)


def drawing(channels=3, width=W, height=H):
    """Ramps with edges and some noise, so that every mistake of order or stride shows."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([(x * 9 + y * 3 + 50 * c + (x // 5 + y // 4 + c) % 3 * 60) % 256 for c in range(channels)], -1)
    image[::7, ::5] = rng.integers(0, 256, image[::7, ::5].shape)
    image = image.astype(np.uint8)
    return image[..., 0] if channels == 1 else image


def store(name, data, expected=None, refused=None):
    path = HERE / name
    assert not path.exists(), name
    path.write_bytes(data)
    if refused:
        (HERE / f"{name}.refused").write_text(refused + "\n")
        return
    if expected is None:
        try:
            with Image.open(path) as image:
                expected = np.asarray(image.convert("RGB"))
        except Exception as error:
            raise SystemExit(f"Pillow refuses {name}: {error!r}")
    if expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, -1)
    Image.fromarray(expected.astype(np.uint8)).save(HERE / f"{name}.expected.png", optimize=True)


def encode(image, format, **options):
    buffer = io.BytesIO()
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    image.save(buffer, format, **options)
    return buffer.getvalue()


# TIFF

CODECS = {
    1: lambda data: data,
    5: lambda data: imagecodecs.lzw_encode(data),
    8: zlib.compress,
    32946: zlib.compress,
    32773: lambda data: imagecodecs.packbits_encode(data),
    50000: lambda data: imagecodecs.zstd_encode(data, level=3),
}


def pack(samples, bits, order):
    """Rows of samples as bytes."""
    if bits in (8, 16, 32, 64):
        return samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    rows = []
    for row in samples.reshape(len(samples), -1):
        text = "".join(format(int(v), f"0{bits}b") for v in row)
        text += "0" * (-len(text) % 8)
        rows.append(int(text, 2).to_bytes(len(text) // 8, "big"))
    return b"".join(rows)


def predict(samples, predictor, order):
    """Samples of one chunk, [rows, columns, samples], as bytes of differences."""
    if predictor == 2:
        shifted = samples.copy()
        shifted[:, 1:] -= samples[:, :-1]
        return shifted.astype(samples.dtype.newbyteorder(order)).tobytes()
    rows, columns, count = samples.shape
    planes = samples.astype(">f4").view(np.uint8).reshape(rows, columns * count, 4).transpose(0, 2, 1).reshape(rows, -1)
    result = planes.copy()
    result[:, count:] -= planes[:, :-count]
    return result.tobytes()


def tiff(array, photometric, order="<", big=False, bits=None, format=None, extra=None, planar=False, tile=None, rows=None,
         compression=1, predictor=1, lsb=False, tags=(), chunks=None, samples=None, counts=True, after=()):
    if array.ndim == 2:
        array = array[..., None]
    height, width, count = array.shape
    bits = bits or array.dtype.itemsize * 8
    if chunks is None:
        th, tw = tile or (rows or height, width)
        chunks = []
        for plane in range(count) if planar else [slice(None)]:
            for y, x in itertools.product(range(0, height, th), range(0, width, tw)):
                part = array[y : y + th, x : x + tw, plane]
                part = part.reshape(part.shape[0], part.shape[1], -1)
                if tile:
                    part = np.pad(part, [(0, th - part.shape[0]), (0, tw - part.shape[1]), (0, 0)], mode="edge")
                data = pack(part, bits, order) if predictor == 1 else predict(part, predictor, order)
                chunks.append(CODECS[compression](data))
    if lsb:
        chunks = [bytes(int(f"{b:08b}"[::-1], 2) for b in chunk) for chunk in chunks]
    pointer = 16 if big else 4
    entries = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * (samples or count)), 259: (3, [compression]), 262: (3, [photometric]),
        277: (3, [samples or count]), 284: (3, [2 if planar else 1]),
    }
    if format:
        entries[339] = (3, [format] * (samples or count))
    if extra:
        entries[338] = (3, extra)
    if predictor > 1:
        entries[317] = (3, [predictor])
    if lsb:
        entries[266] = (3, [2])
    start = 16 if big else 8
    offsets, data = [], b""
    for chunk in chunks:
        data += b"\0" * (len(data) % 2)
        offsets.append(start + len(data))
        data += chunk
    kind = pointer
    if tile:
        entries |= {322: (3, [tile[1]]), 323: (3, [tile[0]]), 324: (kind, offsets), 325: (kind, [len(c) for c in chunks])}
    else:
        entries |= {273: (kind, offsets), 278: (3, [rows or height]), 279: (kind, [len(c) for c in chunks])}
    if not counts:
        del entries[325 if tile else 279]
    for tag, kind, values in tags:
        entries[tag] = (kind, values)
    data += b"\0" * (len(data) % 2)
    codes = {1: "B", 3: "H", 4: "I", 7: "B", 5: "I", 16: "Q"}
    directory, beyond = b"", b""
    head = 8 if big else 2
    size = head + len(entries) * (20 if big else 12) + (8 if big else 4)
    for tag, (kind, values) in sorted(entries.items()):
        value = struct.pack(f"{order}{len(values)}{codes[kind]}", *values)
        number = len(values) // 2 if kind == 5 else len(values)
        if len(value) > (8 if big else 4):
            value, payload = struct.pack(order + ("Q" if big else "I"), start + len(data) + size + len(beyond)), value
            beyond += payload + b"\0" * (len(payload) % 2)
        directory += struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, number) + value.ljust(8 if big else 4, b"\0")
    magic = b"II" if order == "<" else b"MM"
    if big:
        header = magic + struct.pack(order + "HHHQ", 43, 8, 0, start + len(data))
        body = struct.pack(order + "Q", len(entries)) + directory + struct.pack(order + "Q", 0)
    else:
        header = magic + struct.pack(order + "HI", 42, start + len(data))
        body = struct.pack(order + "H", len(entries)) + directory + struct.pack(order + "I", 0)
    return header + data + body + beyond


WHITE, BLACK, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
ORDERS = {"le": "<", "be": ">"}


def pillow_tiffs():
    """All modes and compressions that Pillow writes."""
    base = Image.fromarray(drawing())
    grey16 = Image.fromarray(drawing(1).astype(np.uint16) * 257)
    levels = Image.fromarray(drawing(1).astype(np.int32) * 2 - 100)
    modes = {
        "1": base.convert("1"), "L": base.convert("L"), "LA": Image.fromarray(drawing(2), "LA"), "P": base.quantize(100),
        "PA": base.quantize(100).convert("PA"), "I": levels, "I;16": grey16, "I;16B": Image.fromarray(np.asarray(grey16).astype(">u2")),
        "F": Image.fromarray(drawing(1).astype(np.float32) * 1.3 - 20.25), "RGB": base,
        "RGBX": Image.merge("RGBX", [*base.split(), base.convert("L")]), "RGBA": Image.fromarray(drawing(4), "RGBA"),
        "CMYK": Image.fromarray(drawing(4), "CMYK"), "YCbCr": base.convert("YCbCr"), "LAB": base.convert("LAB"),
    }
    compressions = ["raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "zstd", "lzma", "jpeg", "group3", "group4",
                    "tiff_ccitt", "tiff_raw_16"]
    for (mode, image), compression, big in itertools.product(modes.items(), compressions, [False, True]):
        if big and (compression not in ("raw", "tiff_lzw") or mode == "I;16B"):  # Pillow writes wrong offsets of the latter
            continue
        if mode not in ("1", "RGB", "I;16") and compression in ("tiff_deflate", "packbits", "zstd", "tiff_adobe_deflate", "lzma"):
            continue
        try:
            data = encode(image, "TIFF", compression=compression, big_tiff=big)
        except (OSError, RuntimeError):
            continue
        name = f"tiff-pillow-{mode.replace(';', '')}-{compression.removeprefix('tiff_')}{'-big' if big else ''}.tif"
        expected = refused = None
        if mode.startswith("I;16"):
            expected = np.asarray(grey16) >> 8
        if compression == "tiff_raw_16":  # Pillow does not read it as it wrote it
            expected = np.asarray(image.convert("L"))
        if compression == "lzma":
            refused = "LZMA"
        if compression == "jpeg" and mode == "LA":
            refused = "number of components"
        store(name, data, expected, refused)


def arrangements():
    rgb, grey = drawing(), drawing(1)
    for name, order in ORDERS.items():
        for compression, predictor in [(1, 1), (5, 1), (5, 2), (8, 2), (32773, 1), (50000, 1), (50000, 2), (32946, 1)]:
            options = dict(order=order, compression=compression, predictor=predictor)
            tag = f"{name}-{compression}-{predictor}"
            store(f"tiff-rgb-strips-{tag}.tif", tiff(rgb, RGB, rows=7, **options))
            store(f"tiff-rgb-planar-{tag}.tif", tiff(rgb, RGB, rows=9, planar=True, **options))
            store(f"tiff-rgb-tiles-{tag}.tif", tiff(rgb, RGB, tile=(16, 16), **options))
            store(f"tiff-rgb-tiles-planar-{tag}.tif", tiff(rgb, RGB, tile=(16, 16), planar=True, **options))
        wide = rgb.astype(np.uint16) * 256 + rng.integers(0, 256, rgb.shape).astype(np.uint16)
        for compression, predictor in [(1, 1), (5, 2), (8, 1), (50000, 2)]:
            options = dict(order=order, compression=compression, predictor=predictor)
            tag = f"{name}-{compression}-{predictor}"
            store(f"tiff-rgb16-{tag}.tif", tiff(wide, RGB, rows=8, **options))
            store(f"tiff-rgb16-planar-{tag}.tif", tiff(wide, RGB, rows=8, planar=True, **options), expected=wide >> 8)
            deep = wide[..., 0]
            store(f"tiff-grey16-{tag}.tif", tiff(deep, BLACK, rows=8, **options), expected=deep >> 8)
        store(f"tiff-grey16-white-{name}.tif", tiff(deep, WHITE, order=order), expected=255 - (deep >> 8))
        # Pillow does not know the header of big-endian BigTIFF.
        store(f"tiff-bigtiff-{name}.tif", tiff(rgb, RGB, big=True, rows=6, order=order), expected=rgb)
        store(f"tiff-bigtiff-tiles-{name}.tif", tiff(rgb, RGB, big=True, tile=(16, 32), order=order, compression=8), expected=rgb)
        store(f"tiff-grey-white-{name}.tif", tiff(grey, WHITE, order=order, rows=3))
    store("tiff-header-order-le.tif", b"II\0*" + tiff(rgb, RGB)[4:])
    store("tiff-header-order-be.tif", b"MM*\0" + tiff(rgb, RGB, order=">")[4:])
    store("tiff-no-counts.tif", tiff(rgb, RGB, rows=7, counts=False))
    store("tiff-one-strip-no-counts-lzw.tif", tiff(rgb, RGB, compression=5, counts=False))
    store("tiff-tile-larger.tif", tiff(rgb, RGB, tile=(32, 48)))
    for orientation in range(1, 9):
        store(f"tiff-orientation-{orientation}.tif", tiff(rgb, RGB, tags=[(274, 3, [orientation])]))
        store(f"tiff-orientation-{orientation}-lzw-big.tif", tiff(rgb, RGB, big=True, compression=5, tags=[(274, 3, [orientation])]))
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
    store("tiff-orientation-xmp.tif", tiff(rgb, RGB, tags=[(700, 1, list(xmp))]))
    store("tiff-pages.tif", encode(rgb, "TIFF", save_all=True, append_images=[Image.fromarray(drawing())]))


def sample_kinds():
    grey = drawing(1)
    for name, order in ORDERS.items():
        for bits in [1, 2, 4]:
            small = grey >> (8 - bits)
            for photometric, lsb in itertools.product([WHITE, BLACK], [False, True]):
                options = dict(bits=bits, order=order, lsb=lsb)
                tag = f"{bits}-{'white' if photometric == WHITE else 'black'}{'-lsb' if lsb else ''}-{name}"
                store(f"tiff-bits-{tag}.tif", tiff(small[:, :21], photometric, **options))
                if name == "le":
                    store(f"tiff-bits-lzw-{tag}.tif", tiff(small[:, :21], photometric, compression=5, rows=6, **options))
        colours = rng.integers(0, 65536, 3 * 256).tolist()
        for bits in [1, 2, 4, 8]:
            map = (320, 3, [c for channel in range(3) for c in colours[channel * 256 : channel * 256 + (1 << bits)]])
            store(f"tiff-palette-{bits}-{name}.tif", tiff((grey >> (8 - bits))[:, :21], PALETTE, bits=bits, order=order, tags=[map]))
        store(f"tiff-palette-short-{name}.tif",
              tiff(grey, PALETTE, order=order, tags=[(320, 3, [c for i in range(3) for c in colours[i * 256 : i * 256 + 99]])]))
        map = (320, 3, colours)
        store(f"tiff-palette-extra-{name}.tif", tiff(drawing(2), PALETTE, extra=[0], order=order, tags=[map]))
        store(f"tiff-palette-alpha-{name}.tif", tiff(drawing(2), PALETTE, extra=[2], order=order, tags=[map]))
        twelve = drawing(1).astype(np.uint16) * 16 + rng.integers(0, 16, grey.shape).astype(np.uint16)
        store(f"tiff-12-bit-{name}.tif", tiff(twelve, BLACK, bits=12, order=order), expected=twelve >> 4)
        store(f"tiff-int8-{name}.tif", tiff(grey.view(np.int8), BLACK, format=2, order=order))
        for kind, format in [("i2", 2), ("i4", 2), ("u4", 1), ("f4", 3)]:
            values = (grey.astype(np.int64) * 2 - 100)
            if kind == "u4":
                values = np.abs(values) << (grey % 3 * 12).astype(np.int64)
            values = values.astype(kind)
            if kind == "f4":
                values += rng.random(values.shape).astype(np.float32)
                values[0, :4] = [np.nan, np.inf, -np.inf, 255.5]
            expected = None
            if kind == "u4" and name == "be":  # Pillow reads it in the other order only
                with Image.open(io.BytesIO(tiff(values, BLACK))) as image:
                    expected = np.asarray(image.convert("RGB"))
            store(f"tiff-{kind}-{name}.tif", tiff(values, BLACK, format=format, order=order), expected)
            if name == "be":  # Pillow swaps the bytes of compressed ones twice
                with Image.open(HERE / f"tiff-{kind}-be.tif.expected.png") as image:
                    expected = np.asarray(image)
            predictors = [1, 2] if kind[0] != "f" else [1, 3]
            for predictor in predictors:
                store(f"tiff-{kind}-deflate-{predictor}-{name}.tif",
                      tiff(values, BLACK, format=format, order=order, compression=8, predictor=predictor, rows=6), expected)
        store(f"tiff-f4-white-{name}.tif", tiff(values, WHITE, format=3, order=order))
        for name2, extra in [("unspecified", [0]), ("associated", [1]), ("unassociated", [2]), ("missing", None), ("corel", [999])]:
            data = drawing(4)
            data[..., :3] = np.minimum(data[..., :3], data[..., 3:]) if extra == [1] else data[..., :3]
            data[3, :5, 3] = [0, 1, 0, 128, 255]
            store(f"tiff-rgb-{name2}-{name}.tif", tiff(data, RGB, extra=extra, order=order))
            wide = data.astype(np.uint16) * 256 + 77
            if extra != [999]:
                store(f"tiff-rgb16-{name2}-{name}.tif", tiff(wide, RGB, extra=extra, order=order))
        store(f"tiff-5-channels-{name}.tif", tiff(drawing(5), RGB, extra=[0, 0], order=order))
        store(f"tiff-6-channels-{name}.tif", tiff(drawing(6), RGB, extra=[2, 0, 0], order=order, compression=5))
        store(f"tiff-5-channels-planar-{name}.tif", tiff(drawing(5), RGB, extra=[0, 0], planar=True, order=order, compression=8))
        seven = drawing(7)
        store(f"tiff-7-channels-{name}.tif", tiff(seven, RGB, extra=[0, 0, 0, 0], order=order), expected=seven[..., :3])
        two = drawing(2)
        for name2, extra in [("unspecified", [0]), ("unassociated", [2])]:
            store(f"tiff-grey-{name2}-{name}.tif", tiff(two, BLACK, extra=extra, order=order))
        store(f"tiff-grey-missing-{name}.tif", tiff(two, BLACK, order=order), expected=two[..., 0])
        alpha = np.maximum(two[..., 1], 1).astype(int)
        two[..., 1] = alpha
        store(f"tiff-grey-associated-{name}.tif", tiff(two, BLACK, extra=[1], order=order),
              expected=np.minimum(two[..., 0].astype(int) * 255 // alpha, 255))
        store(f"tiff-cmyk-{name}.tif", tiff(drawing(4), CMYK, order=order))
        store(f"tiff-cmyk-planar-{name}.tif", tiff(drawing(4), CMYK, order=order, planar=True, compression=5))
        store(f"tiff-cmyk-extra-{name}.tif", tiff(drawing(5), CMYK, order=order, extra=[0]))
        store(f"tiff-cmyk16-{name}.tif", tiff(drawing(4).astype(np.uint16) * 256 + 77, CMYK, order=order))
        store(f"tiff-ycbcr-{name}.tif", tiff(drawing(), YCBCR, order=order, tags=[(530, 3, [1, 1])]))
        store(f"tiff-ycbcr-lzw-{name}.tif", tiff(drawing(), YCBCR, order=order, compression=5, tags=[(530, 3, [1, 1])]))
        store(f"tiff-lab-{name}.tif", tiff(rng.integers(0, 256, (H, W, 3)).astype(np.uint8), LAB, order=order))
        store(f"tiff-lab-lzw-{name}.tif", tiff(drawing(), LAB, order=order, compression=5))
    studio = [(530, 3, [1, 1]), (532, 5, [16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1])]
    store("tiff-ycbcr-studio.tif", tiff(drawing(), YCBCR, tags=studio))
    store("tiff-ycbcr-studio-lzw.tif", tiff(drawing(), YCBCR, compression=5, tags=studio))
    for sx, sy in [(2, 1), (2, 2), (1, 2), (4, 2), (4, 1), (4, 4)]:
        chunks = []
        luma, chroma = drawing(1, 21, 19), drawing(2, 6 if sx == 4 else 11 if sx == 2 else 21, 19)
        for top in range(0, 19, 8):
            rows = b""
            for y in range(top, min(top + 8, 19), sy):
                for x in range(0, 21, sx):
                    block = [luma[min(y + j, 18), min(x + i, 20)] for j in range(sy) for i in range(sx)]
                    rows += bytes(int(v) for v in [*block, *chroma[y // sy, x // sx]])
            chunks.append(rows)
        options = dict(rows=8, samples=3, bits=8, tags=[(530, 3, [sx, sy])])
        packed = tiff(luma, YCBCR, compression=5, chunks=[CODECS[5](c) for c in chunks], **options)
        store(f"tiff-ycbcr-{sx}x{sy}.tif", packed)
        with Image.open(io.BytesIO(packed)) as image:  # Pillow takes raw ones for not subsampled
            store(f"tiff-ycbcr-raw-{sx}x{sy}.tif", tiff(luma, YCBCR, chunks=chunks, **options), np.asarray(image.convert("RGB")))


def jpeg_tiffs():
    rgb = Image.fromarray(drawing(3, 48, 40))
    for quality, sampling in itertools.product([75, 95], [0, 1, 2]):
        whole = encode(rgb, "JPEG", quality=quality, subsampling=sampling)
        ratio = {0: [1, 1], 1: [2, 1], 2: [2, 2]}[sampling]
        store(f"tiff-jpeg-ycbcr-{quality}-{sampling}.tif",
              tiff(np.asarray(rgb), YCBCR, compression=7, chunks=[whole], tags=[(530, 3, ratio)]))
    tiles, abbreviated, tables = [], [], b""
    for y, x in itertools.product(range(0, 40, 16), range(0, 48, 16)):
        part = Image.fromarray(np.pad(np.asarray(rgb), [(0, 8), (0, 0), (0, 0)], mode="edge")[y : y + 16, x : x + 16])
        data = encode(part, "JPEG", quality=90, subsampling=2)
        tiles.append(data)
        rest = data[2:]
        tables, kept = b"", b""
        while rest[1] != 0xda:
            size = 2 + struct.unpack(">H", rest[2:4])[0]
            if rest[1] in (0xdb, 0xc4):
                tables += rest[:size]
            elif rest[1] != 0xe0:
                kept += rest[:size]
            rest = rest[size:]
        abbreviated.append(b"\xff\xd8" + kept + rest)
    options = dict(compression=7, tile=(16, 16))
    store("tiff-jpeg-tiles.tif", tiff(np.asarray(rgb), YCBCR, chunks=tiles, tags=[(530, 3, [2, 2])], **options))
    tables = b"\xff\xd8" + tables + b"\xff\xd9"
    store("tiff-jpeg-tables.tif",
          tiff(np.asarray(rgb), YCBCR, chunks=abbreviated, order=">", tags=[(530, 3, [2, 2]), (347, 7, list(tables))], **options))
    planes = [encode(band, "JPEG", quality=95) for band in rgb.split()]
    store("tiff-jpeg-planar.tif", tiff(np.asarray(rgb), RGB, compression=7, planar=True, chunks=planes))
    old = encode(rgb, "JPEG", quality=90)
    store("tiff-jpeg-old.tif", tiff(np.asarray(rgb), YCBCR, compression=6, chunks=[old], tags=[(513, 4, [8]), (514, 4, [len(old)])]),
          refused="old JPEG")
    (HERE / "tiff-jpeg-strips.tif").unlink(missing_ok=True)
    store("tiff-jpeg-strips.tif", encode(rgb, "TIFF", compression="jpeg", quality=95, strip_size=48 * 3 * 16))


def fax_tiffs():
    y, x = np.mgrid[0:40, 0:75]
    page = (((x - 30) ** 2 + (y - 20) ** 2) % 97 < 40) ^ (x % 11 < 2)
    page[5:8] = True
    page[9:12] = False
    page = Image.fromarray(page)
    for photometric in [0, 1]:
        for name, compression, info in [
            ("group3", "group3", {}), ("group3-2d", "group3", {292: 1}), ("group3-fill", "group3", {292: 4}),
            ("group3-2d-fill", "group3", {292: 5}), ("group4", "group4", {}), ("rle", "tiff_ccitt", {}), ("rle-words", "tiff_raw_16", {}),
            ("group3-strips", "group3", {278: 7}), ("group3-2d-strips", "group3", {292: 1, 278: 7}), ("group4-strips", "group4", {278: 7}),
            ("rle-strips", "tiff_ccitt", {278: 7}), ("group4-lsb", "group4", {266: 2}), ("group3-lsb", "group3", {266: 2}),
        ]:
            store(f"tiff-fax-{name}-{photometric}.tif",
                  encode(page, "TIFF", compression=compression, tiffinfo={262: photometric, **info}),
                  np.asarray(page.convert("L")) if name == "rle-words" else None)
    long = np.zeros((3, 6000), bool)
    long[1, 100:5900] = True
    long[2, 2560:5120] = True
    for compression in ["group3", "group4", "tiff_ccitt"]:
        store(f"tiff-fax-long-{compression}.tif", encode(Image.fromarray(long), "TIFF", compression=compression))


def refused_tiffs():
    grey = drawing(1)
    for name, data, message in [
        ("f8", tiff(grey.astype(np.float64), BLACK, format=3), "64-bit float"),
        ("f2", tiff(grey.astype(np.float16), BLACK, format=3), "16-bit float"),
        ("f4-rgb", tiff(drawing().astype(np.float32), RGB, format=3), "3 × 32-bit float samples (RGB)"),
        ("i8", tiff(grey.astype(np.int64), BLACK, format=2), "64-bit signed"),
        ("u4-rgb", tiff(drawing().astype(np.uint32), RGB), "32-bit unsigned"),
        ("complex", tiff(grey.astype(np.float64), BLACK, format=6), "complex"),
        ("mask", tiff(grey, 4), "transparency mask"),
        ("logluv", tiff(drawing(), 32845), "LogLuv"),
        ("cfa", tiff(grey, 32803), "colour filter"),
        ("unknown", tiff(grey, 77), "photometric interpretation 77"),
        ("webp", tiff(drawing(), RGB, compression=50001, chunks=[b"RIFF"]), "WebP"),
        ("jpeg2000", tiff(drawing(), RGB, compression=34712, chunks=[b"x"]), "JPEG 2000"),
        ("compression", tiff(drawing(), RGB, compression=12345, chunks=[b"x"]), "method 12345"),
        ("too-few", tiff(drawing(2), RGB), "colours need 3"),
        ("no-pixels", tiff(grey, BLACK).replace(struct.pack("<HH", 273, 4), struct.pack("<HH", 9999, 4)), "where its pixels are"),
        ("bits-differ", tiff(drawing(), RGB, tags=[(258, 3, [8, 8, 16])]), "different bits"),
        ("predictor", tiff(drawing(), RGB, compression=8, chunks=[b"x"], tags=[(317, 3, [34892])]), "predictor 34892"),
    ]:
        store(f"tiff-refused-{name}.tif", data, refused=message)


# BMP

def bmp(width, height, bits, rows, compression=0, palette=b"", header=40, masks=b"", colours=0, offset=None, core=False):
    """height is negative for rows from the top; masks follow a header of 40 bytes and are in a longer one."""
    if core:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, len(rows), 2835, 2835, colours, 0)
        info += masks
        info = info.ljust(header, b"\0")
    start = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start if offset is None else offset) + info + palette + rows


def padded(samples):
    return b"".join(row.tobytes() + b"\0" * (-row.nbytes % 4) for row in samples)


def pillow_bmps():
    base = Image.fromarray(drawing(3, 23, 19))
    for name, image in {
        "1": base.convert("1"), "L": base.convert("L"), "P": base.quantize(200), "P16": base.quantize(16), "P2": base.quantize(2),
        "RGB": base, "RGBA": Image.fromarray(drawing(4, 23, 19), "RGBA"), "RGBX": Image.merge("RGBX", [*base.split(), base.convert("L")]),
    }.items():
        try:
            store(f"bmp-pillow-{name}.bmp", encode(image, "BMP"))
        except OSError:
            pass


def bmps():
    width, height = 23, 19
    rgb = drawing(3, width, height)
    flipped = rgb[::-1]
    r, g, b = (flipped[..., i].astype(np.uint32) for i in range(3))
    table = rng.integers(0, 256, (256, 4)).astype(np.uint8)
    index = drawing(1, width, height)
    def masks(*values):
        return struct.pack(f"<{len(values)}I", *values)
    five = (r >> 3 << 10 | g >> 3 << 5 | b >> 3).astype("<u2")
    six = (r >> 3 << 11 | g >> 2 << 5 | b >> 3).astype("<u2")
    store("bmp-16.bmp", bmp(width, height, 16, padded(five)))
    store("bmp-16-top-down.bmp", bmp(width, -height, 16, padded(five)))
    store("bmp-16-555.bmp", bmp(width, height, 16, padded(five), 3, masks(0x7c00, 0x3e0, 0x1f)))
    for header in [52, 56, 108, 124]:
        store(f"bmp-16-565-{header}.bmp", bmp(width, height, 16, padded(six), 3, header=header, masks=masks(0xf800, 0x7e0, 0x1f, 0)))
    store("bmp-16-565.bmp", bmp(width, height, 16, padded(six), 3, palette=masks(0xf800, 0x7e0, 0x1f)))
    four = (r >> 4 << 8 | g >> 4 << 4 | b >> 4).astype("<u2")
    store("bmp-16-444.bmp", bmp(width, height, 16, padded(four), 3, palette=masks(0xf00, 0xf0, 0xf)), expected=(rgb >> 4) * 17)
    for name, m in {
        "bgrx": (0xff0000, 0xff00, 0xff, 0), "xbgr": (0xff000000, 0xff0000, 0xff00, 0), "bgxr": (0xff000000, 0xff00, 0xff, 0),
        "abgr": (0xff000000, 0xff0000, 0xff00, 0xff), "rgba": (0xff, 0xff00, 0xff0000, 0xff000000),
        "bgra": (0xff0000, 0xff00, 0xff, 0xff000000), "bgar": (0xff000000, 0xff00, 0xff, 0xff0000), "zero": (0, 0, 0, 0),
    }.items():
        shifts = [max(v, 1).bit_length() - 8 for v in m] if any(m) else [16, 8, 0, 24]
        pixels = r << shifts[0] | g << shifts[1] | b << shifts[2]
        if m[3] or name == "zero":
            pixels |= (r ^ b) << shifts[3]
        for header in [56, 108, 124]:
            store(f"bmp-32-{name}-{header}.bmp", bmp(width, height, 32, padded(pixels.astype("<u4")), 3, header=header, masks=masks(*m)))
        if not m[3]:
            store(f"bmp-32-{name}-40.bmp", bmp(width, height, 32, padded(pixels.astype("<u4")), 3, palette=masks(*m[:3])))
    ten = (r << 22 | g << 12 | b << 2).astype("<u4")
    store("bmp-32-10-bits.bmp", bmp(width, height, 32, padded(ten), 3, palette=masks(0x3ff00000, 0xffc00, 0x3ff)), expected=rgb)
    pixels = (r << 16 | g << 8 | b | 0x7f000000).astype("<u4")
    store("bmp-32.bmp", bmp(width, height, 32, padded(pixels)))
    store("bmp-32-top-down.bmp", bmp(width, -height, 32, padded(pixels)))
    bgr = np.ascontiguousarray(flipped[..., ::-1])
    store("bmp-24.bmp", bmp(width, height, 24, padded(bgr)))
    store("bmp-24-top-down.bmp", bmp(width, -height, 24, padded(bgr)))
    store("bmp-24-gap.bmp", bmp(width, height, 24, b"gap." + padded(bgr), offset=58))
    store("bmp-24-offset-0.bmp", bmp(width, height, 24, padded(bgr), offset=0))
    store("bmp-os2-24.bmp", bmp(width, height, 24, padded(bgr), core=True))
    store("bmp-os2-v2-24.bmp", bmp(width, height, 24, padded(bgr), header=64))
    for bits in [1, 4, 8]:
        small = index[::-1] >> (8 - bits)
        rows = padded(np.frombuffer(pack(small, bits, "<"), np.uint8).reshape(height, -1))
        for name, entries in [("colours", table), ("grey", np.repeat((np.arange(256) * (255 if bits == 1 else 1) % 256)[:, None], 4, 1))]:
            entries = entries.astype(np.uint8)
            colours = entries[: 1 << bits].tobytes()
            # Pillow fails at a palette of 16 greys from 0 to 15.
            expected = small[::-1] if (bits, name) == (4, "grey") else None
            store(f"bmp-{bits}-{name}.bmp", bmp(width, height, bits, rows, palette=colours), expected)
            store(f"bmp-{bits}-{name}-top-down.bmp", bmp(width, -height, bits, rows, palette=colours), small if expected is not None else None)
            store(f"bmp-os2-{bits}-{name}.bmp",
                  bmp(width, height, bits, rows, palette=np.ascontiguousarray(entries[: 1 << bits, :3]).tobytes(), core=True), expected)
            store(f"bmp-os2-v2-{bits}-{name}.bmp", bmp(width, height, bits, rows, palette=colours, header=64), expected)
    two = index[::-1] >> 6
    store("bmp-2.bmp", bmp(width, height, 2, padded(np.frombuffer(pack(two, 2, "<"), np.uint8).reshape(height, -1)), palette=table[:4].tobytes()),
          expected=table[:, 2::-1][two[::-1]])
    rows = padded(index[::-1])
    store("bmp-8-few-colours.bmp", bmp(width, height, 8, rows, palette=table[:99].tobytes(), colours=99))
    store("bmp-8-no-offset.bmp", bmp(width, height, 8, rows, palette=table.tobytes(), offset=54))
    store("bmp-width-31.bmp", bmp(31, 3, 1, bytes(rng.integers(0, 256, 12).astype(np.uint8)), palette=table[:2].tobytes()))
    run_bmps(index, table)
    store("bmp-refused-jpeg.bmp", bmp(width, height, 24, b"jpeg", 4), refused="embedded JPEG")
    store("bmp-refused-png.bmp", bmp(width, height, 24, b"png.", 5), refused="embedded PNG")
    store("bmp-refused-bits.bmp", bmp(width, height, 64, rows), refused="64 bits")
    store("bmp-refused-huffman.bmp", bmp(width, height, 1, rows, 3, header=64, palette=table[:2].tobytes()), refused="Huffman")
    store("bmp-refused-masks.bmp", bmp(width, height, 32, padded(pixels), 3, palette=masks(0xf0f, 0xf0, 0xf000)), refused="masks")
    store("bmp-refused-header.bmp", b"BM" + struct.pack("<IHHI", 99, 0, 0, 30) + struct.pack("<IIIHH", 16, 4, 4, 1, 24) + bytes(48),
          refused="header of 16 bytes")


def run_bmps(index, table):
    height, width = index.shape
    def runs8(rows, absolute):
        out = b""
        for row in rows:
            x = 0
            while x < len(row):
                count = 1
                while x + count < len(row) and row[x + count] == row[x] and count < 255:
                    count += 1
                if absolute and count == 1 and len(row) - x >= 3:
                    count = min(len(row) - x, 7)
                    out += bytes([0, count, *row[x : x + count]]) + b"\0" * (count % 2)
                else:
                    out += bytes([count, row[x]])
                x += count
            out += b"\0\0"
        return out + b"\0\1"
    blocks = (index // 40 * 40)[::-1]
    store("bmp-rle8.bmp", bmp(width, height, 8, runs8(blocks, False), 1, palette=table.tobytes()))
    store("bmp-rle8-absolute.bmp", bmp(width, height, 8, runs8(index[::-1], True), 1, palette=table.tobytes()))
    grey = np.repeat(np.arange(256).astype(np.uint8)[:, None], 4, 1)
    store("bmp-rle8-grey.bmp", bmp(width, height, 8, runs8(blocks, False), 1, palette=grey.tobytes()))
    delta = b"\x05\x10\0\2\3\2\x04\x20\0\0" + b"\x17\x30\0\0" * (height - 3) + b"\0\1"
    store("bmp-rle8-delta.bmp", bmp(width, height, 8, delta, 1, palette=table.tobytes()))
    out4 = b""
    for row in index[::-1] >> 4:
        x = 0
        while x < width:
            count = min(width - x, 6)
            if x % 4 and count >= 3:
                part = [*row[x : x + count], 0]
                data = bytes(part[i] << 4 | part[i + 1] for i in range(0, count, 2))
                out4 += bytes([0, count]) + data + b"\0" * (len(data) % 2)
            else:
                count = min(count, 2)
                out4 += bytes([count, row[x] << 4 | (row[x + 1] if count > 1 else 0)])
            x += count
        out4 += b"\0\0"
    store("bmp-rle4.bmp", bmp(width, height, 4, out4 + b"\0\1", 2, palette=table[:16].tobytes()))
    long = b"\x17\x5a\0\0" * height + b"\0\1"
    store("bmp-rle4-runs.bmp", bmp(width, height, 4, long, 2, palette=table[:16].tobytes()))


# GIF

def lzw(indices, bits):
    clear = 1 << bits
    codes = []
    for i, index in enumerate(indices):
        if i % (clear - 2) == 0:  # codes never grow
            codes.append(clear)
        codes.append(int(index))
    codes.append(clear + 1)
    packed = sum(code << (i * (bits + 1)) for i, code in enumerate(codes))
    stream = packed.to_bytes((len(codes) * (bits + 1) + 7) // 8, "little")
    blocks = b"".join(bytes([len(stream[i : i + 255])]) + stream[i : i + 255] for i in range(0, len(stream), 255))
    return bytes([bits]) + blocks + b"\0"


def gif(size, frames, palette=None, background=0, trailer=b";", version=b"GIF89a"):
    """frames: dictionaries of x, y, indices, and perhaps transparent, disposal, local, interlace"""
    def colours(table):
        return b"".join(bytes(c) for c in table)
    flags = 0x80 | (len(palette) - 1).bit_length() - 1 if palette else 0
    out = version + struct.pack("<HHBBB", *size, flags, background, 0) + (colours(palette) if palette else b"")
    for frame in frames:
        if "transparent" in frame or "disposal" in frame:
            out += b"!\xf9\x04" + struct.pack("<BHBB", frame.get("disposal", 0) << 2 | ("transparent" in frame), 5,
                                             frame.get("transparent", 0), 0)
        indices, local = frame["indices"], frame.get("local")
        rows, columns = indices.shape
        flags = 0x80 | (len(local) - 1).bit_length() - 1 if local else 0
        if frame.get("interlace"):
            order = [*range(0, rows, 8), *range(4, rows, 8), *range(2, rows, 4), *range(1, rows, 2)]
            indices, flags = indices[order], flags | 0x40
        out += b"," + struct.pack("<HHHHB", frame["x"], frame["y"], columns, rows, flags) + (colours(local) if local else b"")
        out += lzw(indices.ravel(), frame.get("bits", 3))
    return out + trailer


def gifs():
    palette = [tuple(int(v) for v in c) for c in rng.integers(0, 256, (8, 3))]
    other = [tuple(int(v) for v in c) for c in rng.integers(0, 256, (8, 3))]
    def frame(width, height, x=0, y=0, **more):
        return dict(x=x, y=y, indices=rng.integers(0, 8, (height, width)), **more)
    for name, size, frames, options in [
        ("frame-larger", (10, 9), [frame(24, 20)], {}),
        ("frame-larger-offset", (10, 9), [frame(12, 11, 5, 6)], {}),
        ("frame-larger-transparent", (10, 9), [frame(12, 11, 5, 6, transparent=3)], {}),
        ("frame-wider", (10, 20), [frame(24, 7, 0, 4)], {}),
        ("frame-outside", (10, 9), [frame(6, 5, 14, 12)], {}),
        ("frame-larger-interlaced", (10, 9), [frame(24, 20, interlace=True)], {}),
        ("screen-0", (0, 0), [frame(24, 20)], {}),
        ("offset", (24, 20), [frame(9, 8, 7, 5)], {}),
        ("offset-transparent", (24, 20), [frame(9, 8, 7, 5, transparent=6)], {}),
        ("transparent-first", (24, 20), [frame(24, 20, transparent=2)], {}),
        ("local-palette", (24, 20), [frame(24, 20, local=other)], {}),
        ("local-palette-only", (24, 20), [frame(24, 20, local=other)], dict(palette=None)),
        ("no-palette", (24, 20), [frame(24, 20)], dict(palette=None)),
        ("short-palette", (24, 20), [frame(24, 20)], dict(palette=palette[:4])),
        ("short-local-palette", (24, 20), [frame(24, 20, local=other[:2])], {}),
        ("interlaced", (24, 20), [frame(24, 20, interlace=True)], {}),
        ("interlaced-local-offset", (24, 20), [frame(13, 11, 4, 3, interlace=True, local=other)], {}),
        ("87a", (24, 20), [frame(24, 20)], dict(version=b"GIF87a")),
        ("no-trailer", (24, 20), [frame(24, 20)], dict(trailer=b"")),
        ("after-trailer", (24, 20), [frame(24, 20)], dict(trailer=b";garbage")),
        ("background", (24, 20), [frame(9, 8, 7, 5)], dict(background=4)),
        ("comment", (24, 20), [frame(24, 20)], {}),
    ]:
        data = gif(size, frames, **{"palette": palette, **options})
        if name == "comment":
            data = data.replace(b",", b"!\xfe\x05hello\0,", 1)
        store(f"gif-{name}.gif", data)
    base = Image.fromarray(drawing())
    for name, image, options in [
        ("L", base.convert("L"), {}), ("1", base.convert("1"), {}), ("P", base.quantize(250), {}), ("P2", base.quantize(2), {}),
        ("RGBA", Image.fromarray(drawing(4), "RGBA"), {}), ("LA", Image.fromarray(drawing(2), "LA"), {}),
        ("plain", base, dict(interlace=0)), ("interlaced", base, dict(interlace=1)), ("optimized", base, dict(optimize=True)),
    ]:
        store(f"gif-pillow-{name}.gif", encode(image, "GIF", **options))
    for name, size, frames, options in [
        ("grows", (10, 9), [frame(10, 9), frame(12, 7, 2, 6), frame(5, 5, 19, 1)], {}),
        ("grows-transparent", (10, 9), [frame(10, 9), frame(12, 7, 2, 6, transparent=2), frame(5, 5, 9, 11, transparent=3)], {}),
        ("grows-first", (4, 5), [frame(10, 9), frame(12, 7, 2, 6, local=other)], {}),
        ("grows-background", (10, 9), [frame(10, 9, disposal=2), frame(12, 7, 2, 6, disposal=2), frame(5, 5, 9, 11)], {}),
        ("no-trailer", (10, 9), [frame(10, 9), frame(4, 3, 2, 6)], dict(trailer=b"")),
    ]:
        name = f"gif-animation-{name}.gif"
        data = gif(size, frames, **{"palette": palette, **options})
        store(name, data)
        with Image.open(io.BytesIO(data)) as image:
            for i, shown in enumerate(ImageSequence.Iterator(image)):
                shown.convert("RGB").save(HERE / f"{name}.{i}.png", optimize=True)


def cases():
    """Files made for reports of other tools' faults, kept as they came."""
    for path in [*HERE.glob("case-*.tif"), *HERE.glob("case-*.bmp"), *HERE.glob("case-*.gif")]:
        with Image.open(path) as image:
            image.convert("RGB").save(HERE / f"{path.name}.expected.png", optimize=True)


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for pattern in ["tiff-*", "bmp-*", "gif-*"]:
        for path in HERE.glob(pattern):
            path.unlink()
    pillow_tiffs(), arrangements(), sample_kinds(), jpeg_tiffs(), fax_tiffs(), refused_tiffs()
    pillow_bmps(), bmps(), gifs(), cases()
