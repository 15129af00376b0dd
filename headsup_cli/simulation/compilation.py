"""The compiler of the simulator's kernels."""

from pathlib import Path

from headsup_cli.runtime.compilation import KernelCompiler

_compiler = KernelCompiler(
    "the simulator", seconds=20, sources=sorted(Path(__file__).parent.rglob("*.py")), fastmath=True
)
inline, kernel = _compiler.inline, _compiler.kernel
