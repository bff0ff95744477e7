"""Agreement with other implementations of the operator and with its special cases.

The peers are in the extra ``peers``. A test whose peer is not installed is skipped, unless the
environment variable ``FASTCONV_REQUIRE_PEERS`` is 1: then it fails.

Both sides of a comparison of floats are within `oracle.error_bound` of the exact sum, so they may
differ by the sum of their bounds; nothing here is a tolerance that was found by trying.
"""

import importlib
import itertools
import os
import warnings

import numpy as np
import pytest
from oracle import assert_within, error_bound, small_integers

from fastconv import conv_transpose


def peer(name):
    """Import a peer; without it fail if peers are required, otherwise skip."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as error:
        if os.environ.get("FASTCONV_REQUIRE_PEERS") == "1":
            pytest.fail(f"{name} is required but cannot be imported: {error}")
        pytest.skip(f"{name} is not installed: pip install 'fastconv[peers]'")


def normal(shape, dtype, seed=0):
    rng = np.random.default_rng((seed, *shape))
    a = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        a = a + 1j * rng.standard_normal(shape)
    return a.astype(dtype)


def agree(theirs, x, w, bias=None, *, factor=1, **geometry):
    """Ours equals theirs within our bound and `factor` times the same for theirs."""
    ours = conv_transpose(x, w, bias, **geometry)
    bound = error_bound(x, w, bias, dtype=ours.dtype, **geometry)
    assert ours.dtype == theirs.dtype
    assert_within(ours, theirs, (1 + factor) * bound)


# --- PyTorch -------------------------------------------------------------------------------

# (spatial lengths, kernel, stride, padding, output_padding, dilation, groups, C_in, C_out)
TORCH_GEOMETRIES = [
    ((7,), (3,), 1, 0, 0, 1, 1, 2, 3),
    ((7,), (4,), 2, 1, 0, 1, 1, 3, 2),
    ((9,), (3,), 2, 1, 1, 1, 1, 4, 5),
    ((9,), (2,), 5, 0, 0, 1, 1, 2, 2),
    ((6,), (3,), 2, 2, 3, 4, 2, 4, 6),
    ((5,), (16,), 8, 4, 0, 1, 1, 8, 4),
    ((20,), (5,), 3, 2, 2, 1, 6, 6, 6),
    ((1,), (7,), 4, 0, 3, 1, 1, 3, 2),
    ((33,), (64,), 16, 0, 0, 1, 1, 12, 1),
    ((5, 6), (3, 3), 1, 1, 0, 1, 1, 3, 4),
    ((4, 4), (4, 4), 2, 1, 0, 1, 1, 16, 8),
    ((5, 6), (2, 2), 2, 0, 0, 1, 1, 8, 4),
    ((5, 6), (3, 2), (2, 3), (1, 0), (1, 2), 1, 1, 3, 5),
    ((5, 6), (3, 3), 1, 2, 0, 2, 1, 4, 4),
    ((5, 6), (3, 2), (2, 4), (3, 1), (4, 2), (5, 2), 1, 2, 3),
    ((6, 7), (4, 4), 2, 1, 0, 1, 8, 8, 8),
    ((6, 7), (3, 3), 2, 1, 1, 1, 2, 4, 6),
    ((6, 5), (5, 5), 2, 2, 1, 1, 1, 6, 7),
    ((7, 9), (9, 9), 3, 4, 2, 1, 1, 5, 1),
    ((6, 6), (16, 16), 8, 0, 0, 1, 1, 3, 3),
    ((1, 1), (4, 4), 1, 0, 0, 1, 1, 20, 9),
    ((3, 4, 5), (2, 2, 2), 2, 0, 0, 1, 1, 4, 3),
    ((3, 4, 5), (3, 2, 4), (1, 2, 3), (1, 0, 2), (0, 1, 2), 1, 1, 2, 3),
    ((3, 2, 4), (3, 3, 3), 2, 1, 1, (1, 2, 1), 3, 3, 6),
]


def torch_call(torch, x, w, bias, **options):
    function = getattr(torch.nn.functional, f"conv_transpose{x.ndim - 2}d")
    tensors = [None if a is None else torch.from_numpy(a) for a in (x, w, bias)]
    with torch.inference_mode():
        return function(*tensors, **options).numpy()


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("geometry", TORCH_GEOMETRIES, ids=lambda g: "-".join(map(str, g)))
def test_torch(geometry, dtype):
    torch = peer("torch")
    spatial, kernel, stride, padding, output_padding, dilation, groups, c_in, c_out = geometry
    options = {
        "stride": stride, "padding": padding, "output_padding": output_padding,
        "dilation": dilation, "groups": groups,
    }
    x = normal((2, c_in, *spatial), dtype)
    w = normal((c_in, c_out // groups, *kernel), dtype, 1)
    bias = normal((c_out,), dtype, 2)
    theirs = torch_call(torch, x, w, bias, **options)
    # PyTorch makes a complex convolution of three real ones, of sums of parts: each has at most
    # the bound, of two of them each part is the sum.
    agree(theirs, x, w, bias, factor=3 if np.dtype(dtype).kind == "c" else 1, **options)


def test_torch_all_small_one_dimensional_geometries():
    """Every legal combination of small parameters, exactly, in one go."""
    torch = peer("torch")
    rng = np.random.default_rng(3)
    count = 0
    for i, k, s, d in itertools.product((1, 2, 5), (1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3)):
        x, w = small_integers(rng, (1, 2, i)), small_integers(rng, (2, 3, k))
        for p, op in itertools.product(range(d * (k - 1) + 2), range(max(s, d))):
            if (i - 1) * s + d * (k - 1) + 1 - 2 * p + op < 1:
                continue
            options = {"stride": s, "padding": p, "output_padding": op, "dilation": d}
            theirs = torch_call(torch, x, w, None, **options)
            np.testing.assert_array_equal(
                conv_transpose(x, w, **options), theirs, strict=True, err_msg=str((i, k, options))
            )
            count += 1
    assert count > 1500


@pytest.mark.parametrize("size", [7, 8])
def test_torch_output_size(size):
    torch = peer("torch")
    module = torch.nn.ConvTranspose1d(3, 4, 3, stride=2, padding=1)
    w, bias = module.weight.detach().numpy(), module.bias.detach().numpy()
    x = normal((2, 3, 4), "float32")
    theirs = module(torch.from_numpy(x), output_size=[size]).detach().numpy()
    agree(theirs, x, w, bias, stride=2, padding=1, output_size=size)


def test_torch_unbatched():
    torch = peer("torch")
    x, w = normal((3, 5, 4), "float32"), normal((3, 2, 3, 3), "float32")
    tensors = torch.from_numpy(x), torch.from_numpy(w)
    theirs = torch.nn.functional.conv_transpose2d(*tensors, stride=2).numpy()
    agree(theirs, x, w, stride=2, channel_axis=0)


def test_torch_integers():
    torch = peer("torch")
    rng = np.random.default_rng(4)
    x, w = rng.integers(-(2**62), 2**62, (1, 2, 5)), rng.integers(-(2**62), 2**62, (2, 3, 3))
    np.testing.assert_array_equal(
        conv_transpose(x, w, stride=2), torch_call(torch, x, w, None, stride=2), strict=True
    )


def test_torch_tensors_as_arguments():
    torch = peer("torch")
    x, w, bias = (normal(s, "float32") for s in ((2, 3, 5), (3, 2, 4), (2,)))
    tensors = [torch.from_numpy(a) for a in (x, w, bias)]
    result = conv_transpose(*tensors, stride=2)
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result, conv_transpose(x, w, bias, stride=2), strict=True)
    for tensor, array in zip(tensors, (x, w, bias), strict=True):
        np.testing.assert_array_equal(tensor.numpy(), array)


def test_torch_tensor_with_strides():
    torch = peer("torch")
    x = torch.from_numpy(normal((2, 3, 5, 4), "float32"))
    w = normal((3, 2, 3, 3), "float32")
    for view in (x.to(memory_format=torch.channels_last), x.mT, x[:, :, ::2], x[..., 1:]):
        desired = conv_transpose(np.ascontiguousarray(view.numpy()), w)
        np.testing.assert_array_equal(conv_transpose(view, w), desired, strict=True)


# --- ONNX ----------------------------------------------------------------------------------


def onnx_session(onnx, x, w, bias, attributes):
    runtime = peer("onnxruntime")
    make = onnx.helper
    kind = onnx.TensorProto.FLOAT
    names = ["x", "w"] + ([] if bias is None else ["b"])
    node = make.make_node("ConvTranspose", names, ["y"], **attributes)
    constants = [onnx.numpy_helper.from_array(w, "w")]
    if bias is not None:
        constants.append(onnx.numpy_helper.from_array(bias, "b"))
    graph = make.make_graph(
        [node], "graph", [make.make_tensor_value_info("x", kind, x.shape)],
        [make.make_tensor_value_info("y", kind, None)], constants,
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=9)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def onnx_geometry(attributes, x_shape, w_shape):
    """What ConvTranspose's attributes become here, as its engines understand them."""
    rank = len(x_shape) - 2
    stride = tuple(attributes.get("strides", (1,) * rank))
    dilation = tuple(attributes.get("dilations", (1,) * rank))
    geometry = {"stride": stride, "dilation": dilation, "groups": attributes.get("group", 1)}
    extra = tuple(attributes.get("output_padding", (0,) * rank))
    auto_pad = attributes.get("auto_pad", "NOTSET")
    if "output_shape" in attributes:
        # What exceeds the full length plus output_padding goes to the end; the rest is halved.
        geometry["padding"] = "same" if auto_pad == "SAME_UPPER" else "same_lower"
        geometry["output_size"] = tuple(attributes["output_shape"])
        if any(extra):
            surplus = [
                (i - 1) * s + d * (k - 1) + 1 + e - o
                for i, s, d, k, e, o in zip(
                    x_shape[2:], stride, dilation, w_shape[2:], extra,
                    attributes["output_shape"], strict=True,
                )
            ]
            assert all(t <= 1 for t in surplus), "output_padding would shift the window"
    elif auto_pad.startswith("SAME"):
        assert not any(extra)
        reach = [d * (k - 1) + 1 for d, k in zip(dilation, w_shape[2:], strict=True)]
        if all(r <= s for r, s in zip(reach, stride, strict=True)):
            geometry["padding"] = "valid"  # engines leave the length below I * stride
        else:
            geometry["padding"] = "same" if auto_pad == "SAME_UPPER" else "same_lower"
    else:
        pads = attributes.get("pads", (0,) * (2 * rank))
        geometry["padding"] = tuple(zip(pads[:rank], pads[rank:], strict=True))
        geometry["output_padding"] = extra
    return geometry


ONNX = [
    # (x shape, w shape, attributes)
    ((1, 3, 5), (3, 2, 3), {}),
    ((2, 3, 5), (3, 2, 4), {"strides": [2], "pads": [1, 1]}),
    ((2, 3, 5), (3, 2, 4), {"strides": [2], "pads": [0, 2]}),
    ((2, 4, 5), (4, 2, 3), {"strides": [3], "output_padding": [2], "group": 2}),
    ((2, 4, 5), (4, 3, 3), {"dilations": [2], "pads": [1, 0], "group": 4}),
    ((1, 2, 5, 4), (2, 3, 3, 3), {"strides": [2, 2], "pads": [1, 0, 1, 2]}),
    ((1, 2, 5, 4), (2, 3, 3, 2), {"strides": [2, 3], "dilations": [3, 1]}),
    ((1, 4, 5, 4), (4, 3, 3, 3), {"strides": [2, 1], "group": 2, "pads": [1, 1, 1, 1]}),
    ((1, 2, 3, 4, 2), (2, 3, 2, 3, 2), {"strides": [2, 1, 3], "pads": [0, 1, 0, 1, 0, 1]}),
    *[
        ((1, 2, 4), (2, 3, k), {"strides": [s], "auto_pad": auto, "dilations": [d]})
        for k, s, d in [
            (3, 2, 1), (4, 2, 1), (5, 2, 1), (5, 3, 1), (3, 1, 1), (4, 1, 1), (3, 2, 2),
            (2, 3, 1), (1, 4, 1),
        ]
        for auto in ("SAME_UPPER", "SAME_LOWER", "VALID")
    ],
    *[
        ((1, 2, 4), (2, 3, 5), {"strides": [2], "auto_pad": auto, "output_shape": [size]})
        for size in (6, 7, 8, 9, 10, 11, 12)
        for auto in ("SAME_UPPER", "SAME_LOWER", "NOTSET")
    ],
    ((1, 2, 3, 3), (2, 3, 4, 5), {"strides": [2, 2], "output_shape": [5, 8]}),
]


@pytest.mark.parametrize(("x_shape", "w_shape", "attributes"), ONNX, ids=str)
def test_onnx_runtime(x_shape, w_shape, attributes):
    onnx = peer("onnx")
    x, w = normal(x_shape, "float32"), normal(w_shape, "float32", 1)
    bias = normal((w_shape[1] * attributes.get("group", 1),), "float32", 2)
    session = onnx_session(onnx, x, w, bias, attributes)
    (theirs,) = session.run(None, {"x": x})
    agree(theirs, x, w, bias, **onnx_geometry(attributes, x_shape, w_shape))


def test_onnx_conformance_cases():
    """The node tests that the ONNX package generates itself, every one of them."""
    peer("onnx")
    cases = peer("onnx.backend.test.case.node")
    helper = peer("onnx.helper")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collected = cases.collect_testcases("ConvTranspose")
    assert len(collected) >= 9
    for case in collected:
        (node,) = case.model.graph.node
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if "auto_pad" in attributes:
            attributes["auto_pad"] = attributes["auto_pad"].decode()
        for inputs, (output,) in case.data_sets:
            geometry = onnx_geometry(attributes, inputs[0].shape, inputs[1].shape)
            result = conv_transpose(*inputs, **geometry)
            bound = error_bound(*inputs, dtype=result.dtype, **geometry)
            assert result.shape == output.shape, case.name
            assert result.dtype == output.dtype, case.name
            assert np.all(np.abs(result - output) <= 2 * bound), case.name


# --- JAX -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_jax(rank, padding, dtype):
    """Kernels are given as for the forward convolution, as `transpose_kernel` wants them."""
    jax = peer("jax")
    letters = "DHW"[-rank:]
    layout = ("N" + letters + "C", letters + "IO", "N" + letters + "C")
    kernels = {1: [1, 2, 3, 4, 5], 2: [2, 3, 4], 3: [3]}[rank]
    for k, stride, dilation in itertools.product(kernels, (1, 2, 3), (1, 2)):
        x = normal((2, *(4, 5, 3)[:rank], 3), dtype)
        w = normal((3, 2, *(k,) * rank), dtype, 1)
        theirs = jax.lax.conv_transpose(
            x, np.moveaxis(w, (1, 0), (-2, -1)), (stride,) * rank, padding,
            rhs_dilation=(dilation,) * rank, dimension_numbers=layout, transpose_kernel=True,
            precision="highest",
        )
        geometry = {"stride": stride, "dilation": dilation, "padding": padding.lower()}
        if padding == "VALID":
            # JAX's VALID is at least I * stride long, filled with zeros at the end.
            reach = max(dilation * (k - 1) + 1, stride)
            geometry["output_size"] = tuple((i - 1) * stride + reach for i in x.shape[1:-1])
        factor = 3 if dtype == "complex64" else 1
        agree(np.asarray(theirs), x, w, factor=factor, channel_axis=-1, **geometry)


# --- SciPy, PyWavelets, OpenCV -------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("up", [1, 2, 3, 7])
@pytest.mark.parametrize("taps", [1, 2, 5, 16, 81])
def test_scipy_upfirdn(taps, up, dtype):
    signal = peer("scipy.signal")
    x, h = normal((40,), dtype), normal((taps,), dtype, 1)
    agree(signal.upfirdn(h, x, up), x, h, stride=up, channel_axis=None)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("shapes", [((9,), (4,)), ((5, 7), (3, 4)), ((3, 4, 5), (2, 3, 2))])
def test_scipy_convolve(shapes, dtype):
    signal = peer("scipy.signal")
    x, w = (normal(shape, dtype, seed) for seed, shape in enumerate(shapes))
    agree(signal.convolve(x, w, "full", method="direct"), x, w, channel_axis=None)


def test_scipy_convolve_integers():
    signal = peer("scipy.signal")
    rng = np.random.default_rng(5)
    x, w = rng.integers(0, 256, (6, 7), np.uint8), rng.integers(0, 256, (3, 4), np.uint8)
    np.testing.assert_array_equal(
        conv_transpose(x, w, channel_axis=None),
        signal.convolve(x, w, "full", method="direct"),
        strict=True,
    )


@pytest.mark.parametrize("wavelet", ["haar", "db2", "db4", "sym5", "bior2.4", "coif1"])
def test_wavelet_synthesis(wavelet):
    """Approximation and detail are two input channels, the filters are the weights."""
    pywt = peer("pywt")
    bank = pywt.Wavelet(wavelet)
    w = np.array([bank.rec_lo, bank.rec_hi])[:, None]
    x = normal((2, 25), "float64")
    theirs = pywt.idwt(x[0], x[1], wavelet)[None]
    agree(theirs, x, w, stride=2, padding=w.shape[-1] - 2, channel_axis=0)


@pytest.mark.parametrize("wavelet", ["haar", "db2", "db4", "bior2.4"])
def test_wavelet_synthesis_in_two_dimensions(wavelet):
    """Four bands, four separable kernels; PyWavelets goes along one axis after the other."""
    pywt = peer("pywt")
    bank = pywt.Wavelet(wavelet)
    low, high = np.array(bank.rec_lo), np.array(bank.rec_hi)
    pairs = [(low, low), (high, low), (low, high), (high, high)]
    w = np.array([np.outer(rows, columns) for rows, columns in pairs])[:, None]
    x = normal((4, 12, 15), "float64")
    theirs = pywt.idwt2((x[0], tuple(x[1:])), wavelet)[None]
    # The outer products here and the first of two passes there are rounded once more.
    agree(theirs, x, w, factor=2, stride=2, padding=len(low) - 2, channel_axis=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_opencv_pyramid_interior(channels):
    """pyrUp is a depthwise transposed convolution; at the border it reflects."""
    cv2 = peer("cv2")
    rng = np.random.default_rng(6)
    image = rng.integers(0, 256, (9, 11, channels)).astype(np.float32)
    theirs = cv2.pyrUp(image).reshape(18, 22, channels)
    taps = np.array([1, 4, 6, 4, 1], np.float32) / 8
    w = np.broadcast_to(np.outer(taps, taps), (channels, 1, 5, 5))
    ours = conv_transpose(
        image, w, stride=2, padding=[(2, 1)] * 2, groups=channels, channel_axis=-1
    )
    inside = slice(2, -2), slice(2, -2)
    # All products and sums are multiples of 1/64 below 2**10: exact in float32.
    np.testing.assert_array_equal(ours[inside], theirs[inside], strict=True)
