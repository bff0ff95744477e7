"""Switching to the kernels of another instruction set for a while."""

from __future__ import annotations

import contextlib

from fastconv import _isa


@contextlib.contextmanager
def using(isa):
    """The kernels of one instruction set."""
    before = _isa.active
    _isa.use(isa)
    try:
        yield
    finally:
        _isa.use(before)
