"""Draws the format matrix: small files of every accepted format and variant, and the pixels that others read from them.

    make formats        # writes formats.bin and formats.json beside this file

JPEGs are written by libjpeg-turbo's cjpeg (Debian: apt-get install libjpeg-turbo-progs) and Pillow, and read by OpenCV, whose
libjpeg-turbo decides what is right. The other formats are written by Pillow, tifffile or a few lines here, from
pixels that are known. The picture is a sample of this project, tinted.
"""

import hashlib
import io
import json
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

HERE = Path(__file__).parent
SAMPLE = HERE.parents[2] / "function/samples/open.jpg"
# Width and height: one pixel, slivers, less than a block, a block, odd, whole MCUs, several rows of
# MCUs.
SIZES = [(1, 1), (2, 2), (3, 1), (1, 19), (37, 1), (5, 7), (8, 8), (17, 13), (35, 27), (64, 48)]
USUAL = (35, 27)

SAMPLINGS = {
    "444": "1x1,1x1,1x1",
    "422": "2x1,1x1,1x1",
    "420": "2x2,1x1,1x1",
    "440": "1x2,1x1,1x1",
    "411": "4x1,1x1,1x1",
    "441": "1x4,1x1,1x1",
    "410": "4x2,1x1,1x1",
    "mixed": "2x2,2x1,1x2",
    "chroma-larger": "1x1,2x2,1x1",
    "422-written-as-2x2": "2x2,1x2,1x2",
    "all-2x2": "2x2,1x1,2x2",
}
SCANS = {
    "interleaved": None,
    "apart": "0; 1; 2;",
    "chroma-together": "0; 1 2;",
    "chroma-first": "2; 0 1;",
    "progressive": "default",
    "progressive-apart": "".join(
        f"{c}: 0-0, 0, 1; {c}: 0-0, 1, 0; {c}: 1-63, 0, 2; {c}: 1-63, 2, 1; {c}: 1-63, 1, 0;" for c in range(3)
    ),
    "progressive-bands": "0 1 2: 0-0, 0, 0;" + "".join(f"{c}: 1-5, 0, 0; {c}: 6-63, 0, 0;" for c in range(3)),
    "progressive-deep": "0 1 2: 0-0, 0, 3; 0 1 2: 0-0, 3, 2; 0 1 2: 0-0, 2, 1; 0 1 2: 0-0, 1, 0;"
    + "".join(
        f"{c}: {a}-{b}, 0, 3; {c}: {a}-{b}, 3, 2; {c}: {a}-{b}, 2, 1; {c}: {a}-{b}, 1, 0;"
        for c in range(3)
        for a, b in ((1, 9), (10, 63))
    ),
}
RESTARTS = {"": [], "restart-1": ["-restart", "1B"], "restart-3": ["-restart", "3B"], "restart-rows": ["-restart", "1"]}


def picture(width: int, height: int) -> np.ndarray:
    """The sample in colours that differ from place to place, height × width × 3."""
    gray = Image.open(SAMPLE).convert("L").crop((210, 160, 420, 270)).resize((width, height), Image.Resampling.LANCZOS)
    gray = np.asarray(gray, int)
    y, x = np.mgrid[0:height, 0:width]
    tint = np.stack([40 * np.sin(x / 5.0), 30 * np.cos(y / 4.0), 50 * np.sin((x + y) / 7.0)], 2)
    return np.clip(gray[..., None] + tint, 0, 255).astype(np.uint8)


def cjpeg(pixels: np.ndarray, *options: str, scans: str | None = None) -> bytes:
    """Of gray or RGB pixels."""
    assert pixels.dtype == np.uint8
    kind = b"P5" if pixels.ndim == 2 else b"P6"
    pnm = kind + b"\n%d %d\n255\n" % (pixels.shape[1], pixels.shape[0]) + pixels.tobytes()
    command = ["cjpeg", "-quality", "80", *options]
    if scans == "default":
        command += ["-progressive"]
    elif scans:
        with tempfile.NamedTemporaryFile("w") as script:
            script.write(scans)
            script.flush()
            return subprocess.run([*command, "-scans", script.name], input=pnm, capture_output=True, check=True).stdout
    return subprocess.run(command, input=pnm, capture_output=True, check=True).stdout


def opencv(data: bytes) -> np.ndarray:
    """Pixels as OpenCV reads them for YOLOv5: three channels, here red first."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(pixels[..., ::-1])


def scaled(samples: np.ndarray, most: int) -> np.ndarray:
    return ((samples.astype(np.uint64) * 255 + most // 2) // most).astype(np.uint8)


class Matrix:
    def __init__(self) -> None:
        self.blob, self.entries = bytearray(), []

    def add(self, name: str, data: bytes, pixels: np.ndarray | None, refused: str | None = None) -> None:
        """`pixels` is what is right; `refused` the kind of error, where the file must not be read."""
        entry: dict = {"name": name, "at": len(self.blob), "length": len(data)}
        if refused:
            entry["refused"] = refused
        else:
            assert pixels is not None and pixels.dtype == np.uint8, name
            planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
            if len(planes) == 3 and (planes[0] == planes[1]).all() and (planes[0] == planes[2]).all():
                planes = planes[:1]
            entry |= {"width": planes.shape[2], "height": planes.shape[1], "channels": len(planes)}
            entry["sha256"] = hashlib.sha256(np.ascontiguousarray(planes).tobytes()).hexdigest()
        self.entries.append(entry)
        self.blob += data

    def write(self) -> None:
        (HERE / "formats.bin").write_bytes(self.blob)
        lines = ",\n".join(json.dumps(entry) for entry in self.entries)
        (HERE / "formats.json").write_text(f"[\n{lines}\n]\n")


def jpegs(matrix: Matrix) -> None:
    def add(name: str, data: bytes) -> None:
        matrix.add(f"jpeg/{name}", data, opencv(data))

    # Every sampling with every scan script, each with one of the restart intervals in turn, and
    # every size with the samplings and scripts that cameras write.
    intervals = list(RESTARTS)
    count = 0
    for sampling, factors in SAMPLINGS.items():
        for scan, script in SCANS.items():
            restart = intervals[count % len(intervals)]
            count += 1
            data = cjpeg(picture(*USUAL), "-sample", factors, *RESTARTS[restart], scans=script)
            add("-".join(filter(None, (sampling, scan, restart))), data)
    for width, height in SIZES:
        for sampling in ("444", "422", "420", "440", "411"):
            for scan in ("interleaved", "apart", "progressive"):
                data = cjpeg(picture(width, height), "-sample", SAMPLINGS[sampling], scans=SCANS[scan])
                add(f"{sampling}-{scan}-{width}x{height}", data)
        gray = picture(width, height)[..., 1]
        for scan in ("interleaved", "progressive"):
            add(f"gray-{scan}-{width}x{height}", cjpeg(gray, scans=SCANS[scan]))
    for restart in RESTARTS:
        for scan in ("interleaved", "apart", "progressive"):
            options = ["-sample", SAMPLINGS["420"], *RESTARTS[restart]]
            add(f"420-{scan}-{restart}-large", cjpeg(picture(160, 120), *options, scans=SCANS[scan]))

    pixels, gray = picture(*USUAL), picture(*USUAL)[..., 1]
    add("gray-2x2", cjpeg(gray, "-sample", "2x2"))
    add("gray-optimized", cjpeg(gray, "-optimize"))
    add("quality-1", cjpeg(pixels, "-quality", "1"))
    add("quality-100", cjpeg(pixels, "-quality", "100", "-sample", "1x1"))
    add("quality-1-16-bit-steps", cjpeg(pixels, "-quality", "1", "-qslots", "0,1"))
    add("rgb", cjpeg(pixels, "-rgb"))
    add("gray-as-colour", cjpeg(np.repeat(gray[..., None], 3, 2)))
    add("gray-as-rgb", cjpeg(np.repeat(gray[..., None], 3, 2), "-rgb"))
    for name, image in {"cmyk": Image.fromarray(pixels).convert("CMYK")}.items():
        for kind, options in {"": {}, "-progressive": {"progressive": True}}.items():
            file = io.BytesIO()
            image.save(file, "JPEG", quality=85, **options)
            add(name + kind, file.getvalue())
    base = cjpeg(pixels, "-sample", "2x1")
    add("fill-bytes", base.replace(b"\xff\xda", b"\xff\xff\xff\xda", 1))
    add("trailing-bytes", base + bytes(1000))
    add("comment", base[:2] + b"\xff\xfe\x00\x10hello, camera!" + base[2:])
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = base[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + base[2:]
    add("exif-turned", turned)

    # Motion JPEG leaves the typical tables out.
    def without_tables(data: bytes) -> bytes:
        kept, at = bytearray(data[:2]), 2
        while data[at + 1] != 0xDA:
            length = 2 + struct.unpack_from(">H", data, at + 2)[0]
            if data[at + 1] != 0xC4:
                kept += data[at : at + length]
            at += length
        return bytes(kept) + data[at:]

    for sampling in ("444", "422", "420"):
        whole = cjpeg(pixels, "-sample", SAMPLINGS[sampling])
        matrix.add(f"jpeg/motion-{sampling}", without_tables(whole), opencv(whole))
    matrix.add("jpeg/motion-gray", without_tables(cjpeg(gray)), opencv(cjpeg(gray)))

    def frame(data: bytes, marker: int | None = None, precision: int = 8) -> bytes:
        changed = bytearray(data)
        at = changed.index(b"\xff\xc0")
        changed[at + 1] = marker or changed[at + 1]
        changed[at + 4] = precision
        return bytes(changed)

    matrix.add("jpeg/arithmetic", cjpeg(pixels, "-arithmetic"), None, "unsupported-image")
    matrix.add("jpeg/arithmetic-progressive", cjpeg(pixels, "-arithmetic", "-progressive"), None, "unsupported-image")
    matrix.add("jpeg/12-bit", frame(base, 0xC1, 12), None, "unsupported-image")
    matrix.add("jpeg/lossless", frame(base, 0xC3), None, "unsupported-image")
    matrix.add("jpeg/hierarchical", frame(base, 0xC5), None, "unsupported-image")
    matrix.add("jpeg/jpeg-ls", frame(base, 0xF7), None, "unsupported-image")
    matrix.add("jpeg/extended-sequential", frame(base, 0xC1), opencv(base))
    scan_at = base.index(b"\xff\xda")
    matrix.add("jpeg/cut-and-ended", base[: (scan_at + len(base)) // 2] + b"\xff\xd9", None, "broken-image")
    matrix.add("jpeg/cut-then-whole", base[: (scan_at + len(base)) // 2] + base, None, "broken-image")
    middle = (scan_at + len(base)) // 2
    matrix.add("jpeg/marker-inside", base[:middle] + b"\xff\xc4\x00\x02" + base[middle:], None, "broken-image")
    matrix.add("jpeg/restart-inside", base[:middle] + b"\xff\xd0" + base[middle:], None, "broken-image")
    matrix.add("jpeg/no-end", base[:-2], None, "broken-image")
    restarts = cjpeg(pixels, "-restart", "1B")
    matrix.add("jpeg/restart-lost", restarts.replace(b"\xff\xd2", b"\xff\xd3", 1), None, "broken-image")
    progressive = cjpeg(pixels, "-progressive")
    last = progressive.rindex(b"\xff\xda")
    matrix.add("jpeg/progressive-without-last-scan", progressive[:last] + b"\xff\xd9", None, "broken-image")


def png(width: int, height: int, depth: int, colour: int, rows: list[bytes], extra: bytes = b"", interlaced: bool = False) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    data = b"".join(b"\0" + row for row in rows)
    parts = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def packed(levels: np.ndarray, depth: int) -> list[bytes]:
    """Rows of samples of 1, 2 or 4 bits."""
    bits = (levels[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    return [np.packbits(row.astype(np.uint8)).tobytes() for row in bits.reshape(len(levels), -1)]


def pngs(matrix: Matrix) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    width, height = USUAL
    rgb = picture(width, height)
    gray = rgb[..., 1]
    for depth in (1, 2, 4):
        levels = gray >> (8 - depth)
        right = scaled(levels, 2**depth - 1)
        matrix.add(f"png/gray-{depth}", png(width, height, depth, 0, packed(levels, depth)), right)
        palette = rgb.reshape(-1, 3)[:: width * height // 2**depth][: 2**depth]
        extra = chunk(b"PLTE", palette.tobytes())
        matrix.add(f"png/palette-{depth}", png(width, height, depth, 3, packed(levels, depth), extra), palette[levels])
    wide = (gray.astype(np.uint16) << 8) | 0x5A
    alpha = np.full_like(gray, 77)
    rows = lambda samples: [row.tobytes() for row in samples]
    matrix.add("png/gray-8", png(width, height, 8, 0, rows(gray)), gray)
    matrix.add("png/gray-16", png(width, height, 16, 0, rows(wide.astype(">u2"))), scaled(wide, 65535))
    matrix.add("png/rgb-8", png(width, height, 8, 2, rows(rgb)), rgb)
    wide_rgb = (rgb.astype(np.uint16) << 8) | 0xA5
    matrix.add("png/rgb-16", png(width, height, 16, 2, rows(wide_rgb.astype(">u2"))), scaled(wide_rgb, 65535))
    matrix.add("png/gray-alpha", png(width, height, 8, 4, rows(np.dstack([gray, alpha]))), gray)
    matrix.add("png/rgba", png(width, height, 8, 6, rows(np.dstack([rgb, alpha]))), rgb)
    matrix.add("png/rgba-16", png(width, height, 16, 6, rows(np.dstack([wide_rgb, wide]).astype(">u2"))), scaled(wide_rgb, 65535))
    matrix.add("png/transparent-colour", png(width, height, 8, 0, rows(gray), chunk(b"tRNS", b"\0\x20")), gray)
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    for name, pixels in {"rgb": rgb, "sliver": rgb[:1], "pixel": rgb[:1, :1]}.items():
        adam7 = [row.tobytes() for x, y, dx, dy in passes for row in pixels[y::dy, x::dx] if row.size]
        data = png(pixels.shape[1], pixels.shape[0], 8, 2, adam7, interlaced=True)
        matrix.add(f"png/interlaced-{name}", data, pixels)
    for name, bits in {"9": 9, "10": 10, "12": 12}.items():
        camera = (gray.astype(np.uint16) << (bits - 8)) | 1
        matrix.add(f"png/{name}-of-16-bits", png(width, height, 16, 0, rows(camera.astype(">u2"))), None, "unsupported-image")
    whole = png(width, height, 8, 0, rows(gray))
    matrix.add("png/cut", whole[: len(whole) // 2], None, "broken-image")
    bad_rows = png(width, height, 8, 0, rows(gray)[:-3])
    matrix.add("png/rows-missing", bad_rows, None, "broken-image")


def tiffs(matrix: Matrix) -> None:
    rgb = picture(*USUAL)
    gray = rgb[..., 1]
    wide = (gray.astype(np.uint16) << 8) | 0x5A

    def tiff(pixels: np.ndarray, **options: object) -> bytes:
        file = io.BytesIO()
        tifffile.imwrite(file, pixels, metadata=None, **options)
        return file.getvalue()

    for compression in (None, "lzw", "zlib", "packbits"):
        for name, pixels in {"gray": gray, "rgb": rgb}.items():
            kind = "rgb" if pixels.ndim == 3 else "minisblack"
            for layout, options in {"": {}, "-strips": {"rowsperstrip": 5}, "-tiles": {"tile": (16, 16)}}.items():
                data = tiff(pixels, photometric=kind, compression=compression, **options)
                # imagecodecs leaves the end code of some tiles out, which libtiff passes over and
                # the tiff crate does not.
                refused = "broken-image" if compression == "lzw" and "tile" in options else None
                matrix.add(f"tiff/{name}-{compression or 'raw'}{layout}", data, pixels, refused)
    for order in "<>":
        matrix.add(f"tiff/gray-16-{order}", tiff(wide, byteorder=order, photometric="minisblack"), scaled(wide, 65535))
    matrix.add("tiff/predictor", tiff(rgb, photometric="rgb", compression="lzw", predictor=True), rgb)
    matrix.add("tiff/white-is-zero", tiff(255 - gray, photometric="miniswhite"), gray)
    planar = np.ascontiguousarray(rgb.transpose(2, 0, 1))
    apart = tiff(planar, photometric="rgb", planarconfig="separate")
    matrix.add("tiff/planar", apart, rgb)
    tiles = tiff(planar, photometric="rgb", planarconfig="separate", tile=(16, 16))
    matrix.add("tiff/planar-tiles", tiles, None, "unsupported-image")
    matrix.add("tiff/big", tiff(gray, bigtiff=True, photometric="minisblack"), None, "unsupported-image")
    matrix.add("tiff/float", tiff(gray.astype(np.float32), photometric="minisblack"), None, "unsupported-image")
    # The description's entry becomes FillOrder: SHORT, one value, 2.
    described = tiff(gray, photometric="minisblack", description="x")
    at = described.index(struct.pack("<HH", 270, 2))
    reverse = described[:at] + struct.pack("<HHIHH", 266, 3, 1, 2, 0) + described[at + 12 :]
    matrix.add("tiff/fill-order-2", reverse, None, "unsupported-image")
    matrix.add("tiff/jpeg", tiff(gray, photometric="minisblack", compression="jpeg"), None, "unsupported-image")
    camera = (gray.astype(np.uint16) << 2) | 1
    matrix.add("tiff/10-of-16-bits", tiff(camera, photometric="minisblack"), None, "unsupported-image")
    raw = tiff(gray, photometric="minisblack")
    matrix.add("tiff/cut", raw[: len(raw) // 2], None, "broken-image")


def others(matrix: Matrix) -> None:
    rgb = picture(*USUAL)
    gray = rgb[..., 1]
    height, width = gray.shape

    def pillow(image: Image.Image, kind: str, **options: object) -> bytes:
        file = io.BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    matrix.add("webp/lossless", pillow(Image.fromarray(rgb), "WEBP", lossless=True), rgb)
    matrix.add("webp/lossless-gray", pillow(Image.fromarray(gray), "WEBP", lossless=True), gray)
    rgba = Image.fromarray(np.dstack([rgb, np.full_like(gray, 200)]))
    matrix.add("webp/lossless-alpha", pillow(rgba, "WEBP", lossless=True, exact=True), rgb)
    for width_height in ((1, 1), (17, 13)):
        pixels = picture(*width_height)
        matrix.add(f"webp/lossless-{width_height}", pillow(Image.fromarray(pixels), "WEBP", lossless=True), pixels)

    matrix.add("bmp/rgb", pillow(Image.fromarray(rgb), "BMP"), rgb)
    matrix.add("bmp/gray", pillow(Image.fromarray(gray), "BMP"), gray)
    palette = Image.fromarray(rgb).quantize(16)
    matrix.add("bmp/palette", pillow(palette, "BMP"), np.asarray(palette.convert("RGB")))
    bits = Image.fromarray(gray).convert("1")
    matrix.add("bmp/1-bit", pillow(bits, "BMP"), np.asarray(bits.convert("L")))
    bottom_up = bytearray(pillow(Image.fromarray(rgb[::-1]), "BMP"))
    struct.pack_into("<i", bottom_up, 22, -height)
    matrix.add("bmp/top-down", bytes(bottom_up), rgb)

    def pnm(magic: int, pixels: bytes, most: int | None = 255, comment: bytes = b"") -> bytes:
        level = b"" if most is None else b"%d\n" % most
        return b"P%d\n%s%d %d\n%s" % (magic, comment, width, height, level) + pixels

    matrix.add("pnm/p5", pnm(5, gray.tobytes()), gray)
    matrix.add("pnm/p5-comment", pnm(5, gray.tobytes(), comment=b"# a camera\n"), gray)
    matrix.add("pnm/p6", pnm(6, rgb.tobytes()), rgb)
    matrix.add("pnm/p2", pnm(2, b" ".join(b"%d" % level for level in gray.ravel())), gray)
    matrix.add("pnm/p3", pnm(3, b" ".join(b"%d" % level for level in rgb.ravel())), rgb)
    ink = (gray < 100).astype(np.uint8)
    matrix.add("pnm/p4", pnm(4, b"".join(packed(ink, 1)), None), np.where(ink, 0, 255).astype(np.uint8))
    matrix.add("pnm/p1", pnm(1, b" ".join(b"%d" % level for level in ink.ravel()), None), np.where(ink, 0, 255).astype(np.uint8))
    for most in (1023, 4095, 65535):
        levels = (gray.astype(np.uint64) * most // 255).astype(">u2")
        matrix.add(f"pnm/p5-{most}", pnm(5, levels.tobytes(), most), scaled(levels.astype(int), most))
    low = (gray >> 4).astype(np.uint8)
    matrix.add("pnm/p5-15", pnm(5, low.tobytes(), 15), scaled(low.astype(int), 15))

    def pam(depth: int, most: int, pixels: bytes, kind: bytes | None) -> bytes:
        named = b"" if kind is None else b"TUPLTYPE " + kind + b"\n"
        return b"P7\nWIDTH %d\nHEIGHT %d\nDEPTH %d\nMAXVAL %d\n" % (width, height, depth, most) + named + b"ENDHDR\n" + pixels

    matrix.add("pnm/pam-gray", pam(1, 255, gray.tobytes(), b"GRAYSCALE"), gray)
    matrix.add("pnm/pam-rgb", pam(3, 255, rgb.tobytes(), b"RGB"), rgb)
    matrix.add("pnm/pam-rgba", pam(4, 255, np.dstack([rgb, gray]).tobytes(), b"RGB_ALPHA"), rgb)
    matrix.add("pnm/pam-unnamed", pam(1, 255, gray.tobytes(), None), gray)
    wide = ((gray.astype(np.uint16) << 8) | 0x5A).astype(">u2")
    matrix.add("pnm/pam-gray-16", pam(1, 65535, wide.tobytes(), b"GRAYSCALE"), scaled(wide.astype(int), 65535))
    matrix.add("pnm/pam-unnamed-16", pam(1, 65535, wide.tobytes(), None), None, "unsupported-image")
    matrix.add("pnm/cut", pnm(5, gray.tobytes()[:-9]), None, "broken-image")


def main() -> None:
    matrix = Matrix()
    for part in (jpegs, pngs, tiffs, others):
        part(matrix)
    matrix.write()
    print(f"{len(matrix.entries)} files, {len(matrix.blob)} bytes")


if __name__ == "__main__":
    main()
