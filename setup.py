"""Extensions as a table; OpenMP is probed, flags never depend on the CPU of the build host.

Environment:

FASTCONV_OPENMP       auto (default: use it where it works), on (fail without it), off
FASTCONV_BOUNDSCHECK  1: a debugging build with Cython's bounds checks and AddressSanitizer
FASTCONV_WERROR       1: compiler warnings are errors
"""

import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

if sys.maxsize < 2**62:
    raise SystemExit("fastconv: sizes are counted in 64 bits; this Python has fewer")

DEBUG = os.environ.get("FASTCONV_BOUNDSCHECK", "0") not in ("", "0")
WERROR = os.environ.get("FASTCONV_WERROR", "0") not in ("", "0")
OPENMP = os.environ.get("FASTCONV_OPENMP", "auto")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
X86 = platform.machine().lower() in ("x86_64", "amd64")

# At -O3 GCC unrolls lanes before it vectorises them; a tile is ten times slower then, and a narrow
# one is even vectorised along the channels, which rounds otherwise. These flags vectorise first and
# unroll the rows afterwards; accumulators must not be copied by a string instruction either.
# Contraction to fused multiply-adds is wanted in kernels only.
# What is inline is written for constants of its caller, and must not stay a function.
KERNEL = [
    "-DCYTHON_INLINE=__inline__ __attribute__((__always_inline__))",
    "-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic", "-fpeel-loops",
    "-fno-tree-loop-distribute-patterns", "-ffp-contract=fast",
]

# Four rows of three vectors take 12 of the 16 registers of baseline x86-64, and its products need
# one of their own: with GCC's default allocator that tile spills, to half of the peak. Moving
# loads ahead, for a processor that has registers to hold them, would cost the tile of two vectors a
# tenth, and so would the same instructions across one boundary of 64 bytes more.
SIXTEEN_REGISTERS = (
    ["-fira-algorithm=priority", "-fno-schedule-insns2", "-falign-loops=64"] if X86 else []
)

# Where registers suffice, GCC's allocator uses what it has read twice from memory twice: the lanes
# of a tile of two rows, which then runs at 0.6 of its rate. Scheduling before it keeps them, and
# with a view to the registers no large tile spills.
LANES_ONCE = ["-fschedule-insns", "-fsched-pressure"]

KERNELS = Extension("fastconv._kernels", ["fastconv/_kernels.pyx"])

# name -> (flags, links OpenMP, where it can be built). What takes longest is first: several are
# built at a time.
EXTENSIONS = {
    "_kernels_baseline": ([*KERNEL, *SIXTEEN_REGISTERS], False, True),
    "_kernels_avx2": ([*KERNEL, *LANES_ONCE, "-march=x86-64-v3"], False, X86),
    "_kernels_avx512": (
        [*KERNEL, *LANES_ONCE, "-march=x86-64-v4", "-mprefer-vector-width=512"], False, X86,
    ),
    # Plain Python that every call passes: compiled as it stands.
    "_api": (["-O2"], False, True),
    "_dtypes": (["-O2"], False, True),
    "_problem": (["-O2"], False, True),
    "_runtime": (["-O2"], True, True),
    "_loops": (["-O2"], False, True),
    "_memory": (["-O2"], False, True),
    "_plan": (["-O2"], False, True),
    "_execute": (["-O2"], True, True),
    "_columns": (["-O2"], True, True),
    "_points": (["-O2"], True, True),
    "_overlap": (["-O2"], True, True),
}

# Cython emits every combination of its fused types, used or not.
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-function"]

PROBE = """
#include <omp.h>
#include <stdio.h>
int main(void) {
    int count = 0;
    #pragma omp parallel num_threads(2) reduction(+:count)
    count += 1;
    printf("%d", count);
    return 0;
}
"""


def openmp_flags(compiler):
    """Flags to compile and to link with OpenMP, or None where a probe does not run with them."""
    if compiler.compiler_type == "msvc":
        return ["/openmp"], []
    for compile_flags, link_flags in (
        (["-fopenmp"], ["-fopenmp"]),
        (["-Xpreprocessor", "-fopenmp"], ["-lomp"]),
    ):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(PROBE)
            try:
                objects = compiler.compile(
                    [str(source)], output_dir=folder, extra_postargs=compile_flags
                )
                program = str(Path(folder, "probe"))
                compiler.link_executable(objects, program, extra_postargs=link_flags)
                ran = subprocess.run([program], capture_output=True, text=True, timeout=60)
            except Exception as error:
                print(f"fastconv: probe with {compile_flags} failed: {error}", file=sys.stderr)
                continue
            if ran.returncode == 0 and ran.stdout == "2":
                return compile_flags, link_flags
            print(
                f"fastconv: OpenMP probe with {compile_flags} ran with exit code "
                f"{ran.returncode} and printed {ran.stdout!r}", file=sys.stderr,
            )
    return None


@cache
def knows(compiler, flag):
    """Whether the compiler takes a flag: how GCC is told to schedule is nothing to others.

    Only what begins with -f is asked for; an instruction set is never left out.
    """
    if not flag.startswith("-f"):
        return True
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "empty.c")
        source.write_text("int empty;\n")
        try:
            compiler.compile([str(source)], output_dir=folder, extra_postargs=["-Werror", flag])
        except CompileError:
            print(f"fastconv: this compiler does not know {flag}", file=sys.stderr)
            return False
    return True


class BuildExt(build_ext):
    """Adds OpenMP and the flags that only the compiler at hand decides."""

    def finalize_options(self):
        super().finalize_options()
        if self.parallel is None:
            self.parallel = CORES

    def run(self):
        super().run()
        if not self.inplace:
            # `python -m pytest` and `python -m fastconv` import the package of the folder they
            # are started in, so an installation from a checkout completes that one as well.
            self.copy_extensions_to_source()

    def build_extensions(self):
        if OPENMP not in ("auto", "on", "off"):
            raise SystemExit(f"FASTCONV_OPENMP={OPENMP!r} must be auto, on or off")
        flags = None if OPENMP == "off" else openmp_flags(self.compiler)
        if flags is None and OPENMP == "on":
            raise SystemExit(
                "fastconv: FASTCONV_OPENMP=on, but this compiler cannot build and run OpenMP "
                "programs. Install its OpenMP runtime (libgomp or libomp), or build with "
                "FASTCONV_OPENMP=auto for one thread."
            )
        print(
            "fastconv: building " + ("with OpenMP" if flags else "WITHOUT OpenMP: one thread"),
            file=sys.stderr,
        )
        if self.compiler.compiler_type == "msvc":
            # It is set up by the first module, which must not be several.
            self.parallel = None
            # What it can be asked does not tell it which sets may be used.
            self.extensions = [e for e in self.extensions if "avx" not in e.name]
        for extension in self.extensions:
            if self.compiler.compiler_type == "msvc":
                extension.extra_compile_args = ["/O2"]
            else:
                extension.extra_compile_args = [
                    flag for flag in extension.extra_compile_args if knows(self.compiler, flag)
                ]
                if WERROR:
                    extension.extra_compile_args += WARNINGS
            if EXTENSIONS[extension.name.removeprefix("fastconv.")][1] and flags:
                extension.extra_compile_args += flags[0]
                extension.extra_link_args += flags[1]
        super().build_extensions()


def source(name):
    """The file that an extension is made from: kernels include what is translated once."""
    if name.startswith("_kernels_"):
        return f"fastconv/{name}.c"
    return f"fastconv/{name}.{'py' if Path(f'fastconv/{name}.py').exists() else 'pyx'}"


def extensions():
    """The table as setuptools wants it."""
    # Python's own flags may ask for debugging symbols, which would double the size of the wheel.
    debug = ["-fsanitize=address", "-fno-omit-frame-pointer", "-g"] if DEBUG else ["-g0"]
    return [
        Extension(
            f"fastconv.{name}",
            [source(name)],
            extra_compile_args=[*flags, "-fvisibility=hidden", *debug],
            extra_link_args=debug[:1] if DEBUG else [],
            depends=[*sorted(map(str, Path("fastconv").glob("*.px[di]"))), KERNELS.sources[0]],
        )
        for name, (flags, _, possible) in EXTENSIONS.items()
        if possible
    ]


setup(
    # What kernels of all instruction sets include is translated, but is no extension by itself.
    ext_modules=cythonize(
        [KERNELS, *extensions()],
        # Processes that are not forks would run this file again.
        nthreads=CORES if multiprocessing.get_start_method() == "fork" else 0,
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": DEBUG,
            "freethreading_compatible": True,
            "embedsignature": True,
        },
    )[1:],
    cmdclass={"build_ext": BuildExt},
)
