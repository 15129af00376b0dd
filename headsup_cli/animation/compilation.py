"""The compiler of the rig's kernels."""

from pathlib import Path

from headsup_cli.runtime.compilation import KernelCompiler

_compiler = KernelCompiler("the rig", seconds=5, sources=[Path(__file__).parent / "rig_kernels.py"], fastmath=True)
inline, kernel = _compiler.inline, _compiler.kernel
