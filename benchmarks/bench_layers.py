"""Time, memory and speed of each layer of the table."""

from __future__ import annotations

from .common import IMPLEMENTATIONS, flops, median_seconds, prepare, workers
from .layers import LAYERS


class Layers:
    """Time of a call and peak memory of its process, next to other implementations."""

    params = [list(LAYERS), IMPLEMENTATIONS]
    param_names = ["layer", "implementation"]
    timeout = 60
    warmup_time = 0.1
    rounds = 2
    repeat = (5, 40, 1.0)

    def setup(self, layer: str, implementation: str) -> None:
        # asv repeats the set-up before every sample; the operands are drawn once.
        if not hasattr(self, "call"):
            self.call = prepare(layer, implementation)

    def time_call(self, layer: str, implementation: str) -> None:
        self.call()

    def peakmem_call(self, layer: str, implementation: str) -> None:
        self.call()


class Speed:
    """Work per second: absolute, and as a fraction of what the cores can do."""

    params = [list(LAYERS), IMPLEMENTATIONS]
    param_names = ["layer", "implementation"]
    timeout = 60

    def setup(self, layer: str, implementation: str) -> None:
        self.call = prepare(layer, implementation)

    def track_gflops(self, layer: str, implementation: str) -> float:
        return flops(LAYERS[layer]) / median_seconds(self.call) / 1e9

    def track_fraction_of_peak(self, layer: str, implementation: str) -> float:
        from fastconv._config import peak_gflops

        # The clock of a shared machine drifts: the peak is taken before and after the layer.
        threads, dtype = workers(), LAYERS[layer].dtype
        before = peak_gflops(dtype, threads)
        speed = flops(LAYERS[layer]) / median_seconds(self.call) / 1e9
        return speed / max(before, peak_gflops(dtype, threads))


Speed.track_gflops.unit = "GFLOP/s"  # type: ignore[attr-defined]
Speed.track_fraction_of_peak.unit = "fraction of peak"  # type: ignore[attr-defined]
