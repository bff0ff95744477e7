"""Two definitions of the transposed convolution that share no code with each other.

`scatter` is the definition: every input element is multiplied by every tap and added where it
belongs. `zero_insertion` is the textbook identity: put ``stride - 1`` zeros between the input
elements, flip the kernel, correlate. Both take canonical arrays and a window in numbers, work on
any NumPy type (objects as well), and know nothing of phases, tiles or threads.

`conv_transpose` brings the public arguments to that form. Its `window` follows the length rules
of the documentation and is written apart from the package's own, so that an error in either shows.

`zero_insertion` multiplies the inserted zeros too. Where an operand is Inf or NaN it therefore
gives NaN at positions that no product reaches; only `scatter` says where those belong.
"""

from __future__ import annotations

import itertools
import math
import operator

import numpy as np


def scatter(x, w, bias=None, *, stride, dilation, crop, out, groups=1):
    """``y[o] += x[i] * w[k]`` for ``o = i*stride + k*dilation - crop`` within ``[0, out)``.

    Parameters
    ----------
    x : (n, c_in, *S)
    w : (c_in, c_out // groups, *K)
    bias : (c_out,) or None
    stride, dilation, crop, out : one int per spatial axis

    Returns
    -------
    (n, c_out, *out), of the type that NumPy's product of `x` and `w` has
    """
    n, c_in, *lengths = x.shape
    per_in, per_out = c_in // groups, w.shape[1]
    kernel = w.shape[2:]
    y = np.zeros((n, groups, per_out, *out), np.result_type(x, w))
    x = x.reshape(n, groups, per_in, *lengths)
    w = w.reshape(groups, per_in, per_out, *kernel)
    for tap in itertools.product(*map(range, kernel)):
        sources, targets = [], []
        for k, i_len, s, d, c, o_len in zip(
            tap, lengths, stride, dilation, crop, out, strict=True
        ):
            # The inputs that can reach the window: a bound for the loop, the test decides.
            low = max(0, (c - k * d) // s - 1)
            high = min(i_len, (c + o_len - k * d) // s + 2)
            hits = [(i, i * s + k * d - c) for i in range(low, high)]
            hits = [(i, o) for i, o in hits if 0 <= o < o_len]
            sources.append([i for i, _ in hits])
            targets.append([o for _, o in hits])
        if not all(sources):
            continue
        part = x[(slice(None),) * 3 + np.ix_(*sources)]
        weights = np.swapaxes(w[(..., *tap)], 1, 2)
        product = weights @ part.reshape(n, groups, per_in, math.prod(part.shape[3:]))
        y[(slice(None),) * 3 + np.ix_(*targets)] += product.reshape(
            n, groups, per_out, *part.shape[3:]
        )
    y = y.reshape(n, groups * per_out, *out)
    return y if bias is None else y + bias.reshape(-1, *[1] * len(out))


def zero_insertion(x, w, bias=None, *, stride, dilation, crop, out, groups=1):
    """The same result as `scatter` on finite operands: zeros, flip, correlate, window."""
    n, c_in, *lengths = x.shape
    per_in, per_out = c_in // groups, w.shape[1]
    kernel = w.shape[2:]
    rank = len(kernel)
    kind = np.result_type(x, w)
    reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    spread = np.zeros(
        (n, c_in, *[(i - 1) * s + 1 + 2 * r
                    for i, s, r in zip(lengths, stride, reach, strict=True)]),
        kind,
    )
    inner = [slice(r, r + (i - 1) * s + 1, s)
             for i, s, r in zip(lengths, stride, reach, strict=True)]
    spread[(slice(None), slice(None), *inner)] = x
    dilated = np.zeros((c_in, per_out, *[r + 1 for r in reach]), kind)
    dilated[(slice(None), slice(None), *[slice(None, None, d) for d in dilation])] = w
    flipped = dilated[(slice(None), slice(None), *[slice(None, None, -1)] * rank)]
    axes = tuple(range(2, 2 + rank))
    windows = np.lib.stride_tricks.sliding_window_view(spread, flipped.shape[2:], axes)
    full = []
    for g in range(groups):
        channels = slice(g * per_in, (g + 1) * per_in)
        part = windows[:, channels]
        flat = np.moveaxis(part, 1, 1 + rank).reshape(
            math.prod([n, *part.shape[2 : 2 + rank]]), per_in * math.prod(flipped.shape[2:])
        )
        columns = np.swapaxes(flipped[channels], 0, 1).reshape(per_out, flat.shape[1])
        y = (flat @ columns.T).reshape(n, *part.shape[2 : 2 + rank], per_out)
        full.append(np.moveaxis(y, -1, 1))
    full = np.concatenate(full, axis=1)
    y = np.zeros((n, per_out * groups, *out), kind)
    inside, taken = [], []
    for f, c, o in zip(full.shape[2:], crop, out, strict=True):
        begin, end = max(0, c), min(f, c + o)
        taken.append(slice(begin, max(begin, end)))
        inside.append(slice(begin - c, max(begin, end) - c))
    if all(t.stop > t.start for t in taken):
        y[(slice(None), slice(None), *inside)] = full[(slice(None), slice(None), *taken)]
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


def each(value, rank):
    """One integer per axis, from an integer or a sequence of them."""
    if hasattr(value, "__len__"):
        assert len(value) == rank
        return [operator.index(v) for v in value]
    return [operator.index(value)] * rank


def window(lengths, kernel, *, stride, dilation, padding, output_padding, output_size):
    """``(crop, out)`` per axis for the numeric and string forms of the public arguments."""
    rank = len(kernel)
    strides, dilations = each(stride, rank), each(dilation, rank)
    extra = each(output_padding, rank)
    sizes = [None] * rank if output_size is None else each(output_size, rank)
    if isinstance(padding, str):
        rules = [padding] * rank
    elif hasattr(padding, "__len__"):
        rules = list(padding)
    else:
        rules = [padding] * rank
    crops, outs = [], []
    for axis in range(rank):
        i, k, s, d = lengths[axis], kernel[axis], strides[axis], dilations[axis]
        last = (i - 1) * s + (k - 1) * d
        full = last + 1
        rule, size = rules[axis], sizes[axis]
        if rule == "valid":
            before, length = 0, full
        elif rule in ("same", "same_lower"):
            length = i * s if size is None else size
            surplus = full - length
            if surplus <= 0:
                before = 0
            elif rule == "same":
                before = surplus // 2
            else:
                before = surplus - surplus // 2
        else:
            before, after = rule if hasattr(rule, "__len__") else (rule, rule)
            length = full - before - after + extra[axis]
        if size is not None:
            length = size
        crops.append(before)
        outs.append(length)
    return crops, outs


def conv_transpose(
    x,
    w,
    bias=None,
    *,
    stride=1,
    padding=0,
    output_padding=0,
    output_size=None,
    dilation=1,
    groups=1,
    channel_axis=1,
    definition=scatter,
):
    """The public call by one of the definitions above; types are NumPy's for the product."""
    plain = channel_axis is None
    rank = w.ndim - (0 if plain else 2)
    last = not plain and channel_axis in (-1, x.ndim - 1)
    if plain:
        x, w = np.expand_dims(x, x.ndim - rank), w[None, None]
        bias = None if bias is None else np.reshape(bias, 1)
    elif last:
        x = np.moveaxis(x, -1, -rank - 1)
    batch = x.shape[: x.ndim - rank - 1]
    canonical = x.reshape(math.prod(batch), *x.shape[x.ndim - rank - 1 :])
    crop, out = window(
        x.shape[x.ndim - rank :],
        w.shape[2:],
        stride=stride,
        dilation=dilation,
        padding=padding,
        output_padding=output_padding,
        output_size=output_size,
    )
    y = definition(
        canonical,
        w,
        bias,
        stride=each(stride, rank),
        dilation=each(dilation, rank),
        crop=crop,
        out=out,
        groups=groups,
    )
    y = y.reshape(*batch, *y.shape[1:])
    if plain:
        return y.reshape(*batch, *out)
    return np.moveaxis(y, -rank - 1, -1) if last else y
