"""The demonstration: a photograph enlarged by 2, 3 and 4, as a picture and in figures.

The photograph is "Chelsea", a cat, by Stefan van der Walt, who put it in the public domain
(CC0). It is one of the sample images inside scikit-image's wheels (``skimage/data/chelsea.png``,
451 x 300 pixels), so nothing is downloaded when the demonstration runs.
"""

from __future__ import annotations

import statistics
import time
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _api, _config, _images, _threads

CREDIT = '"Chelsea" by Stefan van der Walt, CC0 (public domain), from scikit-image'

SCALES = (2, 3, 4)
FILTERS = ("bilinear", "bicubic", "lanczos")

#: Size of every panel of the picture, a multiple of each scale.
PANEL = (336, 252)
#: The pixel of the photograph the panels are centred on: the cat's right eye.
CENTRE = (182, 120)

#: How long to repeat a call, and how often at least, for its median.
SECONDS = 0.25
REPEATS = 7

DTYPE = np.dtype(np.float32)


class Row(NamedTuple):
    """One line of the table."""

    scale: int
    filter: str
    method: str
    workers: int
    isa: str
    milliseconds: float
    gflops: float
    of_peak: float
    of_bound: float
    bound: str


class Limits(NamedTuple):
    """What this machine can do at most, measured."""

    gflops: float
    bandwidth: float  #: GB/s


def run(output: Path, workers: int | None = None) -> None:
    """Enlarge the photograph, print the table and write the picture.

    Parameters
    ----------
    output : path-like
        The picture to write.
    workers : int, optional
        As in `conv_transpose`.

    Raises
    ------
    ImageError
        If `output` cannot be written or the photograph is not where it should be.
    MissingExtra
        If a library of the ``demo`` extra is not installed.
    """
    _images.check_target(output, None)
    photo = read_photo()
    rows: list[Row] = []
    limits: dict[int, Limits] = {}
    enlarged: dict[tuple[int, str], NDArray[np.uint8]] = {}
    with _images.progress_bar(len(SCALES) * len(FILTERS), "calls") as bar:
        for scale in SCALES:
            for name in FILTERS:
                row, enlarged[scale, name] = measure(photo, scale, name, workers, limits)
                rows.append(row)
                bar.update(1)
    _images.write_picture(output, _images.Picture(draw(photo, enlarged)))
    print(report(photo, rows, limits))
    print(f"\nWritten: {output}")


def read_photo() -> NDArray[np.uint8]:
    """The photograph, of shape (300, 451, 3)."""
    try:
        folder = resources.files("skimage")
    except ImportError:
        raise _images.MissingExtra("scikit-image") from None
    with resources.as_file(folder / "data" / "chelsea.png") as path:
        return _images.read_picture(path).pixels


def measure(
    photo: NDArray[np.uint8],
    scale: int,
    name: str,
    workers: int | None,
    limits: dict[int, Limits],
) -> tuple[Row, NDArray[np.uint8]]:
    """Enlarge `photo` by one call of `conv_transpose`, repeated for its median time.

    The limits of the machine are measured once for each number of workers, into `limits`.
    """
    w, geometry, halo = _images.layer(
        _images.FILTERS[name](scale), scale, photo.shape[2], DTYPE
    )
    x = np.pad(photo, ((halo, halo), (halo, halo), (0, 0)), mode="edge").astype(DTYPE)
    y = _api.conv_transpose(x, w, workers=workers, **geometry)
    times: list[float] = []
    while len(times) < REPEATS or sum(times) < SECONDS:
        start = time.perf_counter()
        _api.conv_transpose(x, w, workers=workers, **geometry)
        times.append(time.perf_counter() - start)
    seconds = statistics.median(times)

    ran = _api.explain(x.shape, w.shape, DTYPE, workers=workers, **geometry)
    # None where a method plans its own team.
    team = ran["workers"] or _threads.resolve(workers)
    if team not in limits:
        limits[team] = Limits(_config.peak_gflops(DTYPE, team), _config.bandwidth_gbs(team))
    arithmetic = ran["flops"] / (limits[team].gflops * 1e9)
    transfer = ran["bytes"] / (limits[team].bandwidth * 1e9)
    row = Row(
        scale,
        name,
        ran["method"],
        team,
        ran["isa"],
        seconds * 1e3,
        ran["flops"] / seconds / 1e9,
        arithmetic / seconds,
        max(arithmetic, transfer) / seconds,
        "arithmetic" if arithmetic > transfer else "memory",
    )
    return row, _images.as_pixels(y, photo.dtype)


def report(photo: NDArray[np.uint8], rows: list[Row], limits: dict[int, Limits]) -> str:
    """The table, with what a reader needs to know about it."""
    height, width, channels = photo.shape
    lines = [
        f"Photograph: {CREDIT}",
        f"            {width} x {height} pixels, {channels} channels, computed in {DTYPE}",
        "",
        "scale  filter    method   workers  instructions       ms  GFLOP/s  of peak  of bound",
    ]
    lines += [
        f"{r.scale:>5}  {r.filter:<8}  {r.method:<8} {r.workers:>6}  {r.isa:<12} "
        f"{r.milliseconds:>8.2f}  {r.gflops:>7.1f}  {r.of_peak:>7.1%}  {r.of_bound:>5.1%} "
        f"{r.bound}"
        for r in rows
    ]
    lines.append("")
    lines += [
        f"Peak, measured with {team} worker{'s' if team > 1 else ''}: {limit.gflops:.0f} GFLOP/s "
        f"of multiply-adds in registers; copying memory: {limit.bandwidth:.0f} GB/s."
        for team, limit in sorted(limits.items())
    ]
    lines += [
        "ms: median time of one call. of bound: the time that the arithmetic at peak speed, or",
        "reading the input and writing the result once, would take, as a fraction of the time",
        "measured; of the two the longer one, which binds, is named.",
    ]
    return "\n".join(lines)


# The layout of the picture, in pixels.
MARGIN = 56
GAP = 16
LABELS = 150
HEADING = 58
THUMB_HEIGHT = 208

PAPER = "#f7f5f0"
INK = "#22262b"
FAINT = "#7b7f85"
COLOURS = {2: "#2a7f9e", 3: "#c8762b", 4: "#a33a4a"}


def draw(
    photo: NDArray[np.uint8], enlarged: dict[tuple[int, str], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """The picture: one row a scale, one column a filter, the pixels themselves on the left."""
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise _images.MissingExtra("Pillow") from None

    panel_width, panel_height = PANEL
    columns = ("pixels", *FILTERS)
    thumb_width = round(THUMB_HEIGHT * photo.shape[1] / photo.shape[0])
    grid_left = MARGIN + LABELS
    grid_top = MARGIN + THUMB_HEIGHT + HEADING + 12
    width = grid_left + len(columns) * (panel_width + GAP) - GAP + MARGIN
    height = grid_top + len(SCALES) * (panel_height + GAP) - GAP + MARGIN
    page = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(page)

    def write(x: int, y: int, text: str, size: int, colour: str = INK, anchor: str = "la") -> None:
        pen.text((x, y), text, fill=colour, font=_font(size), anchor=anchor)

    write(MARGIN, MARGIN - 6, "Upsampling is a transposed convolution", 44)
    for line, text in enumerate(
        (
            "Each row enlarges a detail of the photograph on the right. Each panel is cut from the",
            "result of one call of fastconv.conv_transpose over all of it, with a kernel made by",
            "fastconv.filters. The first column shows the pixels that went in.",
        )
    ):
        write(MARGIN, MARGIN + 68 + 30 * line, text, 20, FAINT)
    write(MARGIN, MARGIN + THUMB_HEIGHT, f"Photograph: {CREDIT}", 15, FAINT, "ls")

    thumb_left = width - MARGIN - thumb_width
    thumb = Image.fromarray(photo).resize((thumb_width, THUMB_HEIGHT), Image.Resampling.LANCZOS)
    page.paste(thumb, (thumb_left, MARGIN))
    zoom = THUMB_HEIGHT / photo.shape[0]
    for scale in SCALES:
        left, top, right, bottom = _detail(scale)
        pen.rectangle(
            (
                thumb_left + round(left * zoom),
                MARGIN + round(top * zoom),
                thumb_left + round(right * zoom),
                MARGIN + round(bottom * zoom),
            ),
            outline=COLOURS[scale],
            width=3,
        )

    titles = {"pixels": "Input pixels", "lanczos": "Lanczos, 3 lobes"}
    for column, name in enumerate(columns):
        x = grid_left + column * (panel_width + GAP)
        write(x, grid_top - 14, titles.get(name, name.capitalize()), 22, anchor="ls")
    for line, scale in enumerate(SCALES):
        y = grid_top + line * (panel_height + GAP)
        left, top, right, bottom = _detail(scale)
        pen.rectangle((MARGIN, y, MARGIN + 5, y + panel_height - 1), fill=COLOURS[scale])
        write(MARGIN + 22, y - 8, f"{scale}x", 56, COLOURS[scale])
        write(MARGIN + 22, y + 70, f"{right - left} x {bottom - top}", 17, FAINT)
        write(MARGIN + 22, y + 93, "pixels become", 17, FAINT)
        write(MARGIN + 22, y + 116, f"{panel_width} x {panel_height}", 17, FAINT)
        for column, name in enumerate(columns):
            if name == "pixels":
                detail = photo[top:bottom, left:right].repeat(scale, 0).repeat(scale, 1)
            else:
                detail = enlarged[scale, name][
                    top * scale : bottom * scale, left * scale : right * scale
                ]
            page.paste(Image.fromarray(detail), (grid_left + column * (panel_width + GAP), y))
    return np.asarray(page)


def _detail(scale: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of the photograph that fills a panel."""
    width, height = PANEL[0] // scale, PANEL[1] // scale
    left, top = CENTRE[0] - width // 2, CENTRE[1] - height // 2
    return left, top, left + width, top + height


def _font(size: int) -> Any:
    """Pillow's own font, so that the picture looks the same everywhere."""
    from PIL import ImageFont

    return ImageFont.load_default(size=size)
