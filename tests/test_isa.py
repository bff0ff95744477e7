"""Instruction sets: the cap in the environment, and agreement between the kernels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cases import BY_ID, LAYERS
from instruction_sets import using

import fastconv
from fastconv import _isa

PRINT_ACTIVE = "from fastconv import _isa; print(_isa.active)"


@pytest.mark.parametrize("name", _isa.supported())
def test_cap_by_each_supported_set(run_python, name):
    # The worked example and one large layer, in a process that never saw another set.
    script = """
import sys
import numpy as np
import fastconv
from cases import BY_ID, expected
from fastconv import _isa
assert _isa.active == sys.argv[1], _isa.active
y = fastconv.conv_transpose([[0, 1], [2, 3]], [[4, 1], [2, 3]], channel_axis=None)
assert y.tolist() == [[0, 4, 1], [8, 16, 6], [4, 12, 9]]
case = BY_ID["layer-compress_k5"]
for dtype in ("float32", "complex128", "int16"):
    y = fastconv.conv_transpose(*case.operands(dtype), **case.arguments)
    np.testing.assert_array_equal(y, expected(case, dtype))
"""
    run_python(script, name, env={"FASTCONV_ISA": name})


@pytest.mark.parametrize("name", _isa.ORDER)
def test_cap_above_the_processor(run_python, name):
    # A cap is no demand: a processor without the set runs the best below it.
    active = run_python(PRINT_ACTIVE, env={"FASTCONV_ISA": name}).strip()
    allowed = _isa.ORDER[: _isa.ORDER.index(name) + 1]
    assert active == [isa for isa in _isa.supported() if isa in allowed][-1]


def test_empty_cap_is_none(run_python):
    assert run_python(PRINT_ACTIVE, env={"FASTCONV_ISA": ""}).strip() == _isa.supported()[-1]


@pytest.mark.parametrize("name", ("sse9", "AVX2 ", "1", "avx512,avx2"))
def test_invalid_cap(run_python, name):
    error = run_python("import fastconv", env={"FASTCONV_ISA": name}, expect=1)
    last = error.strip().splitlines()[-1]
    assert last.startswith("ValueError: FASTCONV_ISA=")
    assert repr(name) in last
    assert all(known in last for known in ("baseline", "avx2", "avx512"))


def test_unsupported_set_is_refused():
    before = _isa.active
    with pytest.raises(ValueError, match="quantum"):
        _isa.use("quantum")
    assert _isa.active == before


def test_the_best_is_chosen():
    assert _isa.choose(None) == _isa.supported()[-1]
    assert _isa.supported()[0] == _isa.ORDER[0]
    assert set(_isa.supported()) <= set(_isa.built())


@pytest.mark.parametrize("dtype", ("float32", "float64", "complex64", "complex128", "float16"))
@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.id)
def test_sets_agree(case, dtype):
    # Each is within its bound of the exact result, so two are within twice that of each other.
    rng = np.random.default_rng(4)
    kind = np.dtype(dtype)
    x, w = (rng.standard_normal(shape) for shape in (case.x, case.w))
    if kind.kind == "c":
        x, w = x + 1j * rng.standard_normal(case.x), w - 1j * rng.standard_normal(case.w)
    x, w = x.astype(dtype), w.astype(dtype)
    scale = fastconv.conv_transpose(
        np.abs(x).astype("float64"), np.abs(w).astype("float64"), **case.arguments
    )
    terms = fastconv.conv_transpose(np.ones(case.x), np.ones(case.w), **case.arguments)
    results = []
    for name in _isa.supported():
        with using(name):
            results.append(fastconv.conv_transpose(x, w, **case.arguments, method="direct"))
    sum_eps = np.finfo("float32" if dtype == "float16" else dtype).eps
    factor = 2 * math.sqrt(2) if kind.kind == "c" else 1.0
    bound = 2 * factor * (terms + 2) * sum_eps * scale
    if dtype == "float16":
        # Two sums that close may be rounded to neighbours, half a unit away on either side.
        bound = bound + np.finfo(dtype).eps * np.abs(results[0].astype("float64")) + 2.0**-24
    for other in results[1:]:
        assert (np.abs(other - results[0].astype(np.result_type(dtype, "f4"))) <= bound).all()


@pytest.mark.parametrize("name", ("layer-pose_1", "layer-gray_up4", "layer-depthwise_up"))
def test_switching_back_gives_the_same_bytes(name):
    case = BY_ID[name]
    rng = np.random.default_rng(6)
    x, w = (rng.standard_normal(shape).astype("float32") for shape in (case.x, case.w))
    before = _isa.active
    first = fastconv.conv_transpose(x, w, **case.arguments)
    for name in _isa.supported():
        _isa.use(name)
        fastconv.conv_transpose(x, w, **case.arguments)
    _isa.use(before)
    assert fastconv.conv_transpose(x, w, **case.arguments).tobytes() == first.tobytes()
