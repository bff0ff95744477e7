"""The catalogue: named problems at every place where an implementation can go wrong.

A `Case` holds shapes and arguments, no arrays. Its operands are small integers, so that all
products and sums are exact in every type and results can be compared bit by bit. They come from
a generator that is seeded by the name: a case has the same numbers whichever tests are selected.
"""

from __future__ import annotations

import functools
import math
import re
import zlib
from dataclasses import dataclass

import numpy as np
import reference

import fastconv

#: Lengths around the widths of vectors and of the tiles made of them.
LENGTHS = (1, 2, 15, 16, 17, 24, 31, 33, 47, 48, 49, 65, 97)
CHANNELS = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33)

FLOATS = ("float32", "float64", "complex64", "complex128", "float16")
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool")


@dataclass(frozen=True)
class Case:
    """One problem; `x` and `w` are shapes, the rest is what the call is given."""

    id: str
    x: tuple
    w: tuple
    stride: int | tuple = 1
    padding: int | tuple | str = 0
    output_padding: int | tuple = 0
    output_size: int | tuple | None = None
    dilation: int | tuple = 1
    groups: int = 1
    channel_axis: int | None = 1
    bias: bool = True

    @property
    def arguments(self):
        """The keyword arguments of the call."""
        names = ("stride", "padding", "output_padding", "output_size", "dilation", "groups",
                 "channel_axis")
        return {name: getattr(self, name) for name in names}

    @property
    def c_out(self):
        return 1 if self.channel_axis is None else self.w[1] * self.groups

    def operands(self, dtype="float64"):
        """``(x, w, bias)``: small integers in `dtype`, in [-4, 4] where it has a sign."""
        dtype = np.dtype(dtype)
        rng = np.random.default_rng(zlib.crc32(self.id.encode()))
        shapes = self.x, self.w, () if self.channel_axis is None else (self.c_out,)
        parts = [
            tuple(np.asarray(rng.integers(-4, 5, shape)) for _ in range(2)) for shape in shapes
        ]
        if dtype.kind == "c":
            arrays = [np.asarray(real + 1j * imag, dtype) for real, imag in parts]
        elif dtype.kind == "b":
            arrays = [np.asarray(real > 2) for real, _ in parts]
        else:
            arrays = [real.astype(dtype) for real, _ in parts]
        return arrays[0], arrays[1], arrays[2] if self.bias else None


@functools.lru_cache(maxsize=512)
def _exact(case, kind):
    wide = {"f": np.float64, "c": np.complex128}
    if kind in wide:
        operands = case.operands(wide[kind])
    else:
        # Two's complement: the same sum modulo 2**64 for signed and unsigned operands.
        operands = [None if a is None else a.astype(np.uint64)
                    for a in case.operands("bool" if kind == "b" else "int64")]
    y = reference.conv_transpose(*operands, **case.arguments)
    y.flags.writeable = False
    return y


def expected(case, dtype):
    """What the call must return for ``case.operands(dtype)``, rounded once to `dtype`."""
    dtype = np.dtype(dtype)
    kind = "i" if dtype.kind in "iu" else dtype.kind
    with np.errstate(over="ignore"):
        return _exact(case, kind).astype(dtype)


def may_refuse(case, method):
    """Four choose their problems; direct only lacks room for tens of thousands of taps."""
    if method == "direct":
        return case.id.endswith("many-taps")
    return method in ("col2im", "planes", "winograd", "karatsuba")


def attempt(case, operands, method, **options):
    """The result of the call, or None where the method refuses, may do so, and says why."""
    try:
        return fastconv.conv_transpose(*operands, **case.arguments, method=method, **options)
    except ValueError as error:
        if not may_refuse(case, method):
            raise
        assert re.search(rf"^method='{method}' cannot do this problem: \S.{{8}}", str(error))
        return None


def multiply_adds(case):
    """Products of the full scatter, an upper bound for the work of a case."""
    per_out = 1 if case.channel_axis is None else case.w[1]
    rank = len(case.w) - (0 if case.channel_axis is None else 2)
    return math.prod(case.x) * per_out * math.prod(case.w[len(case.w) - rank :])


def _axis_cases():
    """One axis: every relation of kernel, stride, dilation and length."""
    rows = [
        # length, kernel, stride, dilation
        (1, 1, 1, 1), (1, 1, 5, 1), (1, 7, 3, 1), (1, 3, 11, 2), (1, 2, 1000, 1),
        (2, 1, 2, 1), (2, 2, 1, 1), (3, 1, 4, 3), (5, 2, 2, 1), (5, 3, 3, 1), (5, 2, 3, 1),
        (5, 3, 5, 1), (6, 3, 2, 1), (6, 4, 2, 1), (6, 5, 2, 1), (7, 4, 3, 1), (7, 6, 3, 1),
        (7, 9, 3, 1), (7, 7, 4, 1), (9, 8, 4, 1), (9, 3, 1, 2), (9, 3, 2, 2), (9, 3, 4, 2),
        (9, 4, 6, 4), (9, 5, 3, 2), (9, 4, 2, 3), (9, 3, 5, 7), (4, 3, 2, 9), (4, 3, 1, 11),
        (4, 4, 6, 9), (3, 5, 4, 6), (33, 16, 8, 1), (40, 2, 2, 5), (100, 3, 1, 1),
        (11, 31, 7, 1), (3, 40, 1, 1), (2, 64, 16, 1), (14, 48, 12, 1), (8, 2, 17, 1),
    ]
    for i, k, s, d in rows:
        yield Case(f"axis-i{i}-k{k}-s{s}-d{d}", (2, 3, i), (3, 4, k), stride=s, dilation=d)
    yield Case("axis-many-phases", (2, 1, 2), (1, 1, 5000), stride=5000, padding=3)
    yield Case("axis-many-taps", (1, 1, 3), (1, 1, 34000))
    yield Case("axis-long-k3-s2", (1, 2, 4099), (2, 3, 3), stride=2)
    yield Case("axis-long-k81-s4", (1, 1, 1500), (1, 1, 81), stride=4)
    yield Case("axis-long-no-phase-overlap", (1, 2, 700), (2, 2, 3), stride=5, dilation=5)


def _window_cases():
    """Crops, extensions and the forms they are said in."""
    x, w = (2, 3, 6, 7), (3, 4, 4, 3)
    forms = {
        "p1": {"padding": 1},
        "p-per-axis": {"padding": (1, 2)},
        "p-pairs": {"padding": ((0, 2), (3, 1))},
        "p-mixed": {"padding": (1, (0, 3))},
        "p-first-only": {"padding": ((4, 0), (5, 0))},
        "p-last-only": {"padding": ((0, 4), (0, 5))},
        "p-negative": {"padding": -2},
        "p-negative-before": {"padding": ((-3, 0), (-1, 0))},
        "p-negative-after": {"padding": ((0, -5), (0, -2))},
        "p-opposite": {"padding": ((-2, 3), (4, -3))},
        "p-kernel-span": {"padding": ((3, 3), (2, 2))},
        "p-above-kernel-span": {"padding": ((5, 4), (6, 3))},
        "p-one-left": {"padding": ((6, 7), (9, 5))},
        "p-all-outside-before": {"padding": ((-60, 55), 0)},
        "p-all-outside-after": {"padding": ((40, -41), 0)},
        "op": {"padding": 1, "output_padding": 1},
        "op-per-axis": {"padding": 1, "output_padding": (0, 1)},
        "same": {"padding": "same"},
        "same-lower": {"padding": "same_lower"},
        "valid": {"padding": "valid"},
        "size-natural": {"padding": 1, "output_size": (12, 13)},
        "size-larger": {"padding": 1, "output_size": (13, 14)},
        "size-valid-short": {"padding": "valid", "output_size": (5, 1)},
        "size-valid-long": {"padding": "valid", "output_size": (20, 31)},
        "size-same-short": {"padding": "same", "output_size": (9, 8)},
        "size-same-long": {"padding": "same", "output_size": (19, 18)},
        "size-same-lower-odd": {"padding": "same_lower", "output_size": (11, 10)},
        "size-int": {"padding": "same", "output_size": 11},
    }
    for name, form in forms.items():
        yield Case(f"window-{name}", x, w, stride=2, **form)
    yield Case("window-op-dilation", (1, 2, 5, 4), (2, 3, 3, 2), stride=2, dilation=4,
               output_padding=3)
    yield Case("window-op-k-eq-s", (1, 2, 5, 4), (2, 3, 3, 3), stride=3, output_padding=2)
    yield Case("window-same-hole", (1, 2, 5, 4), (2, 3, 2, 1), stride=4, padding="same")
    yield Case("window-same-even-s1", (1, 2, 5, 4), (2, 3, 4, 2), padding="same")
    yield Case("window-same-lower-even-s1", (1, 2, 5, 4), (2, 3, 4, 2), padding="same_lower")
    yield Case("window-crop-s3-d2", (2, 2, 9, 8), (2, 2, 3, 5), stride=3, dilation=2,
               padding=((2, 4), (5, 1)))
    yield Case("window-1d-pair", (2, 3, 9), (3, 2, 4), stride=3, padding=((1, 2),))


def _rank_cases():
    """Two to four spatial axes with unlike arguments on each."""
    yield Case("rank2-unlike", (2, 3, 5, 8), (3, 4, 3, 4), stride=(2, 3), dilation=(2, 1),
               padding=((1, 2), (0, 3)))
    yield Case("rank2-row", (2, 3, 1, 13), (3, 4, 1, 3), stride=(1, 2))
    yield Case("rank2-column", (2, 3, 13, 1), (3, 4, 3, 1), stride=(2, 1))
    yield Case("rank2-column-k3", (2, 3, 13, 1), (3, 4, 3, 3), stride=(2, 2), padding=1)
    yield Case("rank2-one-pixel", (2, 5, 1, 1), (5, 6, 4, 4), stride=2, padding=1)
    yield Case("rank2-k1-s2", (1, 4, 6, 6), (4, 5, 1, 1), stride=2)
    yield Case("rank2-k1", (2, 4, 6, 6), (4, 5, 1, 1))
    yield Case("rank2-s3-k5", (1, 4, 9, 10), (4, 3, 5, 5), stride=3, padding=2)
    yield Case("rank2-wide-kernel", (1, 2, 3, 4), (2, 2, 9, 11), stride=2, padding=(4, 5))
    yield Case("rank2-huge-stride", (1, 2, 1, 3), (2, 2, 2, 2), stride=(1000, 31))
    yield Case("rank2-many-phases", (1, 2, 2, 1), (2, 1, 60, 50), stride=(60, 50))
    yield Case("rank2-many-taps", (1, 1, 2, 3), (1, 1, 190, 180))
    yield Case("rank3-k2-s2", (1, 4, 3, 4, 5), (4, 3, 2, 2, 2), stride=2)
    yield Case("rank3-k4-s2", (2, 3, 3, 4, 5), (3, 4, 4, 4, 4), stride=2, padding=1)
    yield Case("rank3-unlike", (1, 4, 3, 2, 7), (4, 2, 3, 1, 4),
               stride=(1, 3, 2), dilation=(2, 1, 3), padding=((1, 1), (0, -1), (2, 0)), groups=2)
    yield Case("rank3-last", (2, 3, 4, 5, 3), (3, 4, 3, 3, 3), stride=2, channel_axis=-1)
    yield Case("rank4", (1, 2, 2, 3, 2, 4), (2, 3, 2, 2, 3, 2), stride=(2, 1, 2, 3), padding=1)
    yield Case("rank4-plain", (2, 3, 2, 4), (2, 2, 3, 2), stride=2, channel_axis=None)
    yield Case("rank5-plain", (2, 3, 1, 2, 3), (2, 1, 2, 2, 3), stride=(1, 2, 1, 2, 3),
               channel_axis=None)


def _channel_cases():
    """Channels around vector widths, against each other, in three geometries."""
    count = len(CHANNELS)
    for j, c_in in enumerate(CHANNELS):
        for shift, (k, s, p) in enumerate([(4, 2, 1), (3, 1, 1), (2, 2, 0)]):
            c_out = CHANNELS[(5 * j + 3 * shift + 1) % count]
            yield Case(f"channels-{c_in}to{c_out}-k{k}-s{s}", (2, c_in, 5, 6), (c_in, c_out, k, k),
                       stride=s, padding=p, bias=shift != 1)
    for c_out in CHANNELS:
        yield Case(f"channels-4to{c_out}-wide", (1, 4, 3, 40), (4, c_out, 3, 4), stride=(1, 2))


def _length_cases():
    """Lengths around vector and tile widths."""
    for length in LENGTHS:
        for k, s in [(4, 2), (3, 1), (2, 2), (9, 3), (8, 4)]:
            yield Case(f"length-{length}-k{k}-s{s}", (1, 3, 3, length), (3, 5, k, k), stride=s,
                       padding=min(1, k - s))
        yield Case(f"length-{length}-rows", (1, 9, length, 3), (9, 8, 3, 3), stride=2, padding=1)
        yield Case(f"length-{length}-1d", (3, 2, length), (2, 3, 5), stride=3)


def _batch_cases():
    for n in (0, 1, 2, 17, 64):
        yield Case(f"batch-{n}", (n, 6, 4, 4), (6, 5, 4, 4), stride=2, padding=1)
    yield Case("batch-17-odd", (17, 5, 3, 5), (5, 3, 3, 3), stride=2, padding=1)
    yield Case("batch-64-one-pixel", (64, 9, 1, 1), (9, 7, 4, 4))
    yield Case("batch-none", (3, 5, 6), (3, 4, 3, 3), stride=2, channel_axis=0)
    yield Case("batch-none-negative", (3, 5, 6), (3, 4, 3, 3), stride=2, channel_axis=-3)
    yield Case("batch-two", (2, 3, 3, 5, 6), (3, 4, 3, 3), stride=2, channel_axis=2)
    yield Case("batch-three", (2, 1, 3, 3, 5), (3, 4, 3), stride=2, channel_axis=-2)
    yield Case("batch-two-empty", (2, 0, 3, 5, 6), (3, 4, 3, 3), channel_axis=2)
    yield Case("batch-last", (2, 5, 6, 3), (3, 4, 3, 3), stride=2, padding=1, channel_axis=-1)
    yield Case("batch-last-positive", (2, 5, 6, 3), (3, 4, 3, 3), stride=2, channel_axis=3)
    yield Case("batch-last-none", (5, 6, 3), (3, 4, 4, 4), stride=2, channel_axis=-1)
    yield Case("batch-last-two", (2, 3, 9, 4), (4, 5, 3), stride=2, channel_axis=-1)
    yield Case("batch-last-33", (1, 6, 7, 33), (33, 17, 4, 4), stride=2, padding=1,
               channel_axis=-1)
    yield Case("plain-1d", (9,), (4,), stride=3, channel_axis=None)
    yield Case("plain-1d-batch", (4, 9), (5,), stride=2, padding=2, channel_axis=None)
    yield Case("plain-2d", (11, 13), (4, 4), stride=2, padding=1, channel_axis=None)
    yield Case("plain-2d-batch", (2, 3, 5, 7), (6, 5), stride=3, padding="same", channel_axis=None)
    yield Case("plain-image", (61, 83), (16, 16), stride=4, padding=6, channel_axis=None)


def _group_cases():
    rows = [
        # c_in, c_out, groups
        (6, 4, 2), (4, 6, 2), (9, 3, 3), (3, 9, 3), (8, 8, 8), (5, 5, 5), (4, 12, 4), (17, 17, 17),
        (12, 30, 6), (64, 64, 64), (32, 2, 2), (2, 34, 2), (33, 33, 3), (1, 5, 1),
    ]
    for c_in, c_out, g in rows:
        for k, s, p in [(4, 2, 1), (3, 1, 1)]:
            yield Case(f"groups-{c_in}to{c_out}-g{g}-k{k}-s{s}", (2, c_in, 4, 7),
                       (c_in, c_out // g, k, k), stride=s, padding=p, groups=g)
    yield Case("groups-last", (2, 4, 5, 6), (6, 2, 3, 3), stride=2, groups=3, channel_axis=-1)
    yield Case("groups-depthwise-last", (1, 9, 10, 16), (16, 1, 4, 4), stride=2, padding=1,
               groups=16, channel_axis=-1)
    yield Case("groups-1d", (3, 8, 20), (8, 3, 7), stride=4, dilation=3, groups=4)
    yield Case("empty-c-out", (2, 3, 4, 4), (3, 0, 2, 2), stride=2)
    yield Case("empty-c-in", (2, 0, 4, 4), (0, 3, 2, 2), stride=2)
    yield Case("empty-c-in-groups", (2, 0, 4, 4), (0, 3, 2, 2), stride=2, groups=2)
    yield Case("empty-c-in-no-bias", (2, 0, 4, 4), (0, 3, 2, 2), stride=2, bias=False)


def _layer_cases():
    """Layers of real networks and pipelines with fewer channels and pixels."""
    layers = {
        "dcgan_2": ((16, 64, 4, 4), (64, 32, 4, 4), {"stride": 2, "padding": 1}),
        "dcgan_3": ((16, 32, 8, 8), (32, 16, 4, 4), {"stride": 2, "padding": 1}),
        "dcgan_rgb": ((4, 16, 32, 32), (16, 3, 4, 4), {"stride": 2, "padding": 1}),
        "unet_up1": ((1, 96, 16, 16), (96, 48, 2, 2), {"stride": 2}),
        "unet_up4": ((1, 24, 48, 56), (24, 12, 2, 2), {"stride": 2}),
        "pose_1": ((1, 256, 8, 6), (256, 40, 4, 4), {"stride": 2, "padding": 1}),
        "pose_3": ((1, 48, 32, 24), (48, 40, 4, 4), {"stride": 2, "padding": 1}),
        "fcn8s": ((1, 6, 20, 20), (6, 6, 16, 16), {"stride": 8}),
        "fsrcnn_x3": ((1, 28, 40, 40), (28, 1, 9, 9),
                      {"stride": 3, "padding": 4}),
        "maskrcnn": ((10, 32, 14, 14), (32, 32, 2, 2), {"stride": 2}),
        "compress_k5": ((1, 40, 16, 24), (40, 36, 5, 5),
                        {"stride": 2, "padding": 2, "output_padding": 1}),
        "hifigan_1": ((1, 96, 64), (96, 64, 16), {"stride": 8, "padding": 4}),
        "hifigan_4": ((1, 24, 2000), (24, 16, 4), {"stride": 2, "padding": 1}),
        "istft": ((1, 130, 30), (130, 1, 128), {"stride": 32}),
        "unet3d_up": ((1, 16, 10, 9, 8), (16, 12, 2, 2, 2), {"stride": 2}),
        "decoder_k3s1": ((1, 24, 33, 50), (24, 24, 3, 3), {"padding": 1}),
        "depthwise_up": ((1, 20, 48, 48), (20, 1, 4, 4),
                         {"stride": 2, "padding": 1, "groups": 20}),
        "gray_up4": ((1, 1, 64, 96), (1, 1, 16, 16), {"stride": 4, "padding": 6}),
        "dilated": ((1, 24, 32, 32), (24, 24, 3, 3), {"padding": 2, "dilation": 2}),
        "pyrup_rgb": ((1, 3, 60, 96), (3, 1, 5, 5),
                      {"stride": 2, "padding": 2, "output_padding": 1, "groups": 3}),
        "upfirdn_x4": ((1, 1, 9001), (1, 1, 81), {"stride": 4}),
        "idwt2_db4": ((1, 4, 64, 64), (4, 1, 8, 8), {"stride": 2, "padding": 6}),
        "few-pixels-many-weights": ((1, 300, 2, 2), (300, 50, 5, 5), {"stride": 2, "padding": 2}),
        # Fewer columns (output channels x taps) than input channels.
        "few-columns": ((2, 64, 9, 13), (64, 2, 4, 4), {"stride": 2, "padding": 1}),
        "few-columns-1d": ((1, 96, 70), (96, 3, 16), {"stride": 8, "padding": ((5, 2),)}),
        "few-columns-3d": ((1, 64, 4, 5, 6), (64, 1, 3, 3, 3),
                           {"stride": (1, 2, 1), "dilation": (2, 1, 1)}),
        "few-columns-groups": ((1, 90, 7, 8), (90, 2, 3, 3), {"groups": 2, "padding": 1}),
        "one-pixel-many-weights": ((1, 200, 1, 1), (200, 64, 4, 4), {}),
    }
    for name, (x, w, arguments) in layers.items():
        yield Case(f"layer-{name}", x, w, **arguments)


def _column_cases():
    """Where raw weights are cut: blocks of pixels, channels and columns, tasks by phase."""
    yield Case("columns-pixel-blocks", (3, 2, 19, 23), (2, 3, 3, 4), stride=2, padding=1)
    yield Case("columns-pixel-blocks-1d", (1, 3, 2100), (3, 2, 9), stride=3)
    yield Case("columns-deep", (1, 530, 3), (530, 1, 70), stride=16)
    yield Case("columns-deep-groups", (2, 600, 2, 3), (600, 7, 5, 3), stride=2, groups=2)
    yield Case("columns-wide", (1, 3, 2, 5), (3, 90, 4, 4), stride=2, padding=1)
    yield Case("columns-wide-odd", (2, 3, 7), (3, 77, 13), stride=5, padding=3)
    yield Case("columns-sixteen", (1, 5, 6), (5, 1, 16), stride=4)
    yield Case("columns-last", (1, 2, 5, 9), (9, 20, 3, 4), stride=2, channel_axis=-1)
    for s, d in [(64, 1), (24, 1), (7, 1), (48, 3), (20, 15), (300, 1), (1, 1), (1, 9)]:
        yield Case(f"columns-hop-s{s}-d{d}", (2, 4, 11), (4, 1, 200), stride=s, dilation=d,
                   padding=37)
    yield Case("columns-hop-groups", (2, 6, 9), (6, 1, 120), stride=40, groups=3)
    yield Case("columns-hop-channels", (1, 3, 14), (3, 5, 96), stride=32, padding=((30, 50),))
    yield Case("columns-hop-first-axis", (1, 2, 3, 4), (2, 1, 40, 11), stride=(20, 4), padding=3)
    yield Case("columns-hop-last-axis", (1, 2, 3, 5), (2, 2, 3, 90), stride=(2, 32))
    # Kernels whose overlap has a kernel of its own, with ends inside of a run of results or not.
    for k, s in [(3, 1), (2, 2), (3, 2), (4, 2), (5, 2), (4, 4), (8, 4), (16, 8)]:
        for n, before, behind in ((1, 0, 0), (2, 1, 0), (3, s + 1, 1), (8, 0, s + 2)):
            if (n - 1) * s + k > before + behind:
                yield Case(f"columns-added-k{k}-s{s}-n{n}", (2, 3, n), (3, 10, k), stride=s,
                           padding=((before, behind),))


CASES = [
    case
    for family in (
        _axis_cases, _window_cases, _rank_cases, _channel_cases, _length_cases, _batch_cases,
        _group_cases, _layer_cases, _column_cases,
    )
    for case in family()
]
BY_ID = {case.id: case for case in CASES}
LAYERS = [case for case in CASES if case.id.startswith("layer-")]

#: A few of every family, for tests that repeat each case in many ways.
SAMPLE = [
    case
    for case in CASES
    if not case.id.startswith(("length", "channels", "groups", "axis", "layer", "rank2-many"))
    or case.id in {
        "axis-i7-k7-s4-d1", "axis-i9-k3-s4-d2", "axis-i4-k4-s6-d9", "axis-i14-k48-s12-d1",
        "channels-17to31-k4-s2", "channels-9to31-k3-s1", "channels-31to17-k2-s2",
        "groups-12to30-g6-k4-s2", "groups-17to17-g17-k4-s2", "groups-12to30-g6-k3-s1",
        "length-33-k4-s2", "length-49-k3-s1", "length-97-k9-s3", "length-17-rows",
        "layer-dcgan_2", "layer-pose_1", "layer-istft", "layer-fsrcnn_x3", "layer-depthwise_up",
    }
]
