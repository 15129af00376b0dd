"""The compiler of the rasterisers' kernels."""

from pathlib import Path

from headsup_cli.runtime.compilation import KernelCompiler

_here = Path(__file__).parent
_compiler = KernelCompiler(
    "the CPU rasteriser",
    seconds=15,
    sources=[_here / "layout.py", _here / "simd.py", *sorted(_here.glob("*_kernels.py"))],
    no_cfunc_wrapper=True,
)
inline, kernel = _compiler.inline, _compiler.kernel
