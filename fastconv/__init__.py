from ._api import conv_transpose, output_shape

__all__ = ["conv_transpose", "output_shape"]
