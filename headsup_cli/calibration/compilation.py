"""The compiler of the calibration check's kernels."""

from pathlib import Path

from headsup_cli.runtime.compilation import KernelCompiler

_kernels = Path(__file__).parent / "outline_kernels.py"
_compiler = KernelCompiler("the comparison of outlines", seconds=5, sources=[_kernels], fastmath=True)
inline, kernel = _compiler.inline, _compiler.kernel
