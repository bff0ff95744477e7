"""The layers that the package is timed on: real networks and classical pipelines.

Each row of `LAYERS` is one transposed convolution with the geometry it has in the network or
pipeline it is named after. Most tables of such layers cover one field; this one is chosen so that
every part of the engine is the bottleneck somewhere: few pixels and heavy weights, one output
channel, a stride as long as the kernel, long kernels, three dimensions, depthwise, dilation,
float64.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Layer(NamedTuple):
    """One layer; the scalars of the geometry hold for every spatial axis."""

    batch: int
    c_in: int
    c_out: int
    spatial: tuple[int, ...]
    kernel: int
    stride: int
    padding: int = 0
    output_padding: int = 0
    dilation: int = 1
    groups: int = 1
    dtype: str = "float32"

    @property
    def x_shape(self) -> tuple[int, ...]:
        return (self.batch, self.c_in, *self.spatial)

    @property
    def w_shape(self) -> tuple[int, ...]:
        return (self.c_in, self.c_out // self.groups) + (self.kernel,) * len(self.spatial)

    @property
    def options(self) -> dict[str, int]:
        """The keyword arguments, which fastconv and PyTorch call by the same names."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "output_padding": self.output_padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    def operands(self, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Random ``x``, ``w`` and ``bias``; outputs have a variance of about the kernel's size."""
        rng = np.random.default_rng(seed)
        real = np.zeros(0, self.dtype).real.dtype
        parts = 1 if real == self.dtype else 2

        def draw(*shape: int) -> NDArray[Any]:
            # In the layer's own type: a detour over float64 would show in the peak of memory.
            numbers = rng.standard_normal((*shape[:-1], shape[-1] * parts), dtype=real)
            return numbers.view(self.dtype)

        x, w = draw(*self.x_shape), draw(*self.w_shape)
        w *= (self.groups / self.c_in) ** 0.5
        return x, w, draw(self.c_out)


LAYERS: dict[str, Layer] = {
    # Generators of images: small maps and many channels first, three colours last.
    "dcgan_2": Layer(64, 512, 256, (4, 4), 4, 2, 1),
    "dcgan_3": Layer(64, 256, 128, (8, 8), 4, 2, 1),
    "dcgan_rgb": Layer(64, 64, 3, (32, 32), 4, 2, 1),
    # Segmentation and detection: the stride is often the kernel, so no tap overlaps another.
    "unet_up1": Layer(1, 1024, 512, (32, 32), 2, 2),
    "unet_up4": Layer(1, 128, 64, (256, 256), 2, 2),
    "maskrcnn": Layer(100, 256, 256, (14, 14), 2, 2),
    "fcn8s": Layer(1, 21, 21, (70, 70), 16, 8),
    "unet3d_up": Layer(1, 64, 32, (32, 32, 32), 2, 2),
    # Pose estimation, super-resolution, learned compression, decoders at full size.
    "pose_1": Layer(1, 2048, 256, (8, 6), 4, 2, 1),
    "pose_3": Layer(1, 256, 256, (32, 24), 4, 2, 1),
    "fsrcnn_x3": Layer(1, 56, 1, (160, 160), 9, 3, 4),
    "compress_k5": Layer(1, 192, 192, (32, 48), 5, 2, 2, 1),
    "decoder_k3s1": Layer(1, 64, 64, (128, 128), 3, 1, 1),
    "dilated": Layer(1, 64, 64, (64, 64), 3, 1, 2, dilation=2),
    "depthwise_up": Layer(1, 64, 64, (128, 128), 4, 2, 1, groups=64),
    # Sound: vocoders, and an inverse short-time Fourier transform written as one layer.
    "hifigan_1": Layer(1, 512, 256, (128,), 16, 8, 4),
    "hifigan_4": Layer(1, 64, 32, (16384,), 4, 2, 1),
    "istft": Layer(1, 1026, 1, (224,), 1024, 256),
    # A type that inference engines leave out.
    "f64_k4s2": Layer(1, 128, 64, (64, 64), 4, 2, 1, dtype="float64"),
    # Image and signal processing: upsampling filters, a pyramid, polyphase FIR, a wavelet level.
    "gray_up4": Layer(1, 1, 1, (512, 512), 16, 4, 6),
    "pyrup_rgb": Layer(1, 3, 3, (540, 960), 5, 2, 2, 1, groups=3),
    "upfirdn_x4": Layer(1, 1, 1, (1_000_000,), 81, 4),
    "idwt2_db4": Layer(1, 4, 1, (512, 512), 8, 2, 6),
}


def _dense(channels: int = 64, groups: int = 1, dtype: str = "float32") -> Layer:
    """One geometry, so that its variants differ in one thing each."""
    return Layer(1, channels, channels, (64, 64), 4, 2, 1, groups=groups, dtype=dtype)


#: One problem for each class of them, whose rows are to be read next to each other.
CLASSES: dict[str, Layer] = {
    "near_peak": Layer(1, 256, 256, (64, 64), 4, 2, 1),
    "k_equals_s": Layer(1, 128, 64, (128, 128), 2, 2),
    "three_outputs": Layer(1, 64, 3, (128, 128), 4, 2, 1),
    "one_output": Layer(1, 56, 1, (160, 160), 9, 3, 4),
    "few_columns": Layer(1, 256, 1, (100, 100), 3, 1, 1),
    "few_pixels": Layer(1, 1024, 256, (4, 4), 4, 2, 1),
    "few_pixels_apart": Layer(1, 512, 256, (14, 14), 2, 2),
    "three_products": Layer(1, 512, 256, (8, 8), 4, 2, 1),
    "few_images": Layer(10, 256, 128, (5, 5), 3, 1, 1),
    "one_pixel": Layer(32, 128, 256, (1, 1), 4, 1),
    "one_axis": Layer(1, 256, 128, (1024,), 16, 8, 4),
    "one_channel": Layer(1, 1, 1, (512, 512), 16, 4, 6),
    "dense": _dense(),
    "groups_of_16": _dense(groups=4),
    "groups_of_8": _dense(groups=8),
    "groups_of_4": _dense(groups=16),
    "groups_of_2": _dense(groups=32),
    "depthwise": _dense(groups=64),
    "colours": Layer(1, 3, 3, (256, 256), 5, 2, 2, 1, groups=3),
    "float64": _dense(dtype="float64"),
    "complex64": _dense(dtype="complex64"),
    "complex128": _dense(dtype="complex128"),
    "few_outputs_odd": Layer(1, 64, 3, (128, 128), 5, 2, 2, 1),
    "small_maps": Layer(64, 128, 64, (8, 8), 4, 2, 1),
    "large_result": Layer(1, 64, 32, (256, 256), 2, 2),
    "small": Layer(1, 4, 4, (8, 8), 3, 2, 1),
}
