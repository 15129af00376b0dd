"""Put the weights of a finished training run into the package: bfloat16, with what they were made from.

python benchmarks/ship_weights.py runs/small
"""

import sys
from pathlib import Path

import torch

from headsup_cli.model.checkpoint import load_checkpoint, save_checkpoint
from headsup_cli.model.config import DEFAULT_CHECKPOINT
from headsup_cli.template.default import load_template
from headsup_cli.training.loop import CHECKPOINT_FILE


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    template = load_template()
    checkpoint = load_checkpoint(Path(sys.argv[1]) / CHECKPOINT_FILE, template)
    provenance = {key: value for key, value in checkpoint.provenance.items() if key not in ("platform", "command_line")}
    save_checkpoint(DEFAULT_CHECKPOINT, checkpoint.model, template, provenance=provenance, dtype=torch.bfloat16)
    parameters = sum(parameter.numel() for parameter in checkpoint.model.parameters())
    size_mb = DEFAULT_CHECKPOINT.stat().st_size / 1e6
    print(f"{DEFAULT_CHECKPOINT}: {parameters / 1e6:.2f} M parameters, {size_mb:.1f} MB")


if __name__ == "__main__":
    main()
