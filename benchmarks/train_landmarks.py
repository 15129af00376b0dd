"""Train the landmark network on simulated people alone, from nothing to the weights that ship.

python benchmarks/simulate_landmark_crops.py /tmp/landmarks --people 4000      # run again for more
python benchmarks/train_landmarks.py train /tmp/landmarks --steps 4000         # goes on where it was stopped
python benchmarks/train_landmarks.py ship /tmp/landmarks
python benchmarks/landmarks.py                                                 # how good it is
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from landmark_batches import BATCH, VIEWS, batches, training_files
from torch import Tensor, nn

from headsup_cli import __version__
from headsup_cli.preprocessing.landmarks.network import LandmarkEstimate, LandmarkNetwork, heat_loss
from headsup_cli.preprocessing.landmarks.weights_file import DEFAULT_WEIGHTS, save_network
from headsup_cli.runtime.atomic import atomic_path

PEAK_RATE, WARM_UP, DECAY_SHARE = 3e-3, 50, 0.35  # learning rate; batches; share of all batches
LIKELIHOOD_WEIGHT = 0.03
SAVE_EVERY = 50


def train(folder: Path, steps: int) -> None:
    """Train until `steps` batches are done, at a constant rate and then, over the last part, down to zero."""
    torch.manual_seed(0)
    network = LandmarkNetwork().to(memory_format=torch.channels_last)
    nn.init.constant_(network.log_sigma.bias, np.log(6.0))
    optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=0.02)
    done, state_file = 0, folder / "state.pt"
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        done = state["done"]
    feed, recent, started = batches(folder, np.random.default_rng([done, 7])), [], time.monotonic()
    while done < steps:
        batch = next(feed)
        for group in optimiser.param_groups:
            group["lr"] = PEAK_RATE * min(1.0, (done + 1) / WARM_UP, (steps - done) / (DECAY_SHARE * steps))
        images = batch.images.contiguous(memory_format=torch.channels_last)
        found = network(images, batch.expected_px)
        likelihood, error_px = likelihood_loss(found, batch.points_px)
        loss = heat_loss(found, batch.points_px) + LIKELIHOOD_WEIGHT * likelihood
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        done += 1
        recent.append((loss.item(), error_px.item()))
        if done % SAVE_EVERY == 0 or done == steps:
            mean_loss, mean_error = np.mean(recent, 0)
            minutes = (time.monotonic() - started) / 60
            print(f"{minutes:5.1f} min  step {done}  loss {mean_loss:.3f}  error {mean_error:.2f} px", flush=True)
            recent.clear()
            with atomic_path(state_file) as temporary:
                state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "done": done}
                torch.save(state, temporary)


def likelihood_loss(found: LandmarkEstimate, points: Tensor) -> tuple[Tensor, Tensor]:
    """Negative log likelihood, weighted so that what is uncertain still learns, and the median error in pixels.

    Seitzer et al., "On the Pitfalls of Heteroscedastic Uncertainty Estimation", ICLR 2022, with beta = 1/2.
    """
    squared = (found.positions_px - points).square().sum(-1)  # [b, k]
    likelihood = 2 * found.sigma_px.log() + squared / (2 * found.sigma_px.square())
    return (likelihood * found.sigma_px.detach()).mean(), squared.detach().sqrt().median()


def ship(folder: Path) -> None:
    """Put the weights into the package."""
    state = torch.load(folder / "state.pt", weights_only=True)
    network = LandmarkNetwork()
    network.load_state_dict(state["network"])
    files = training_files(folder)
    provenance = {
        "program": f"headsup {__version__}",
        "data": "simulated people alone (benchmarks/simulate_landmark_crops.py)",
        "people": sum(len(np.load(path)["points"]) for path in files) // VIEWS,
        "batches": state["done"],
        "crops_in_a_batch": BATCH,
    }
    save_network(DEFAULT_WEIGHTS, network, provenance)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    size_mb = DEFAULT_WEIGHTS.stat().st_size / 1e6
    print(f"{DEFAULT_WEIGHTS}: {parameters / 1e6:.2f} M parameters, {size_mb:.2f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["train", "ship"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    arguments = parser.parse_args()
    if arguments.step == "train":
        train(arguments.folder, arguments.steps)
    else:
        ship(arguments.folder)
