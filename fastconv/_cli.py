"""The command line: ``python -m fastconv demo | info | check | upsample``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from . import _images, _threads


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line; the usage is what ``--help`` is for."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments, by default those of the process.

    Returns
    -------
    int
        0, or 1 if ``check`` found a mismatch.

    Raises
    ------
    SystemExit
        With code 2, after one line on standard error, for arguments and files that are no good.
    """
    arguments = _parser().parse_args(argv)
    parser: _Parser = arguments.parser
    try:
        code: int = arguments.run(arguments)
        return code
    except (_images.ImageError, _images.MissingExtra) as error:
        parser.error(str(error))
    except MemoryError as error:
        parser.error(f"not enough memory: {error}")


def _parser() -> _Parser:
    parser = _Parser(
        prog="python -m fastconv",
        description="Transposed convolution: a demonstration, checks, and image enlargement.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    demo = commands.add_parser(
        "demo", help="enlarge a photograph, write a picture to compare, and say how fast it was"
    )
    demo.add_argument(
        "--output",
        type=Path,
        default=Path("fastconv-demo.png"),
        metavar="PATH",
        help="picture to write (default: %(default)s)",
    )
    _add_workers(demo)
    demo.set_defaults(run=_run_demo, parser=demo)

    info = commands.add_parser("info", help="show how this build is configured")
    info.set_defaults(run=_run_info, parser=info)

    check = commands.add_parser("check", help="compare exact cases on this machine")
    check.set_defaults(run=_run_check, parser=check)

    upsample = commands.add_parser("upsample", help="enlarge an image file")
    upsample.add_argument("input", type=Path, metavar="IN", help="image to read")
    upsample.add_argument(
        "output", type=Path, metavar="OUT", help=f"image to write ({', '.join(_images.FORMATS)})"
    )
    upsample.add_argument(
        "--scale", type=_scale, required=True, metavar="N", help="enlargement, a whole number"
    )
    upsample.add_argument(
        "--filter",
        choices=tuple(_images.FILTERS),
        default="lanczos",
        help="interpolation (default: %(default)s)",
    )
    _add_workers(upsample)
    upsample.set_defaults(run=_run_upsample, parser=upsample)
    return parser


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help="threads; negative numbers count from the usable ones, -1 is all (default: all)",
    )


def _scale(text: str) -> int:
    try:
        scale = int(text)
    except ValueError:
        scale = 0
    if scale < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return scale


def _workers(text: str) -> int | None:
    try:
        return _threads.check_workers(int(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _run_demo(arguments: argparse.Namespace) -> int:
    from . import _demo

    _demo.run(arguments.output, arguments.workers)
    return 0


def _run_info(arguments: argparse.Namespace) -> int:
    from . import show_config

    show_config()
    return 0


def _run_check(arguments: argparse.Namespace) -> int:
    from . import _check

    return _check.run()


def _run_upsample(arguments: argparse.Namespace) -> int:
    _images.check_target(arguments.output, None)
    picture = _images.read_picture(arguments.input)
    height, width = picture.pixels.shape[:2]
    scale = arguments.scale
    _images.check_fits(picture.pixels, scale)
    _images.check_target(arguments.output, picture.pixels, scale)
    start = time.perf_counter()
    with _images.progress_bar(height, "rows") as bar:
        pixels = _images.upsample(
            picture.pixels,
            scale,
            arguments.filter,
            workers=arguments.workers,
            progress=bar.update,
        )
    seconds = time.perf_counter() - start
    _images.write_picture(arguments.output, picture._replace(pixels=pixels))
    print(
        f"{arguments.output}: {width} x {height} -> {width * scale} x {height * scale} pixels, "
        f"{arguments.filter}, {seconds:.2f} s"
    )
    return 0
