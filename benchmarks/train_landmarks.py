"""Train the landmark network on simulated people alone, from nothing to the weights that ship.

python benchmarks/simulate_landmark_crops.py /tmp/landmarks --people 3200      # run again for more
python benchmarks/train_landmarks.py train /tmp/landmarks --steps 17000        # goes on where it was stopped
python benchmarks/train_landmarks.py ship /tmp/landmarks
python benchmarks/train_landmarks.py train /tmp/landmarks --steps 5000 --tune  # the weights that ship, with more people
python benchmarks/landmarks.py                                                 # how good it is
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from landmark_batches import BATCH, VIEWS, Batch, batches, held_out_batches, training_files
from torch import Tensor, nn
from torch.nn import functional

from headsup_cli import __version__
from headsup_cli.preprocessing.landmarks.crops import CROP_SIDE_M
from headsup_cli.preprocessing.landmarks.network import CROP_PX, LandmarkEstimate, LandmarkNetwork, heat_loss
from headsup_cli.preprocessing.landmarks.points import IBUG_COUNT
from headsup_cli.preprocessing.landmarks.weights_file import DEFAULT_WEIGHTS, load_network, save_network
from headsup_cli.runtime.atomic import atomic_path

PEAK_RATE, WARM_UP, DECAY_SHARE = 3e-3, 50, 0.6  # learning rate; batches; share of all batches
LIKELIHOOD_WEIGHT, GUESS_WEIGHT = 1.0, 0.05
SAVE_EVERY, TEST_EVERY = 50, 500
PARTS = {
    "jaw": slice(0, 17), "brows": slice(17, 27), "nose": slice(27, 36), "eyes": slice(36, 48),
    "lips": slice(48, 68), "ears": slice(68, 74), "pupils": slice(74, 76),
}  # fmt: skip


def train(folder: Path, steps: int, tune: bool) -> None:
    """Train until `steps` batches are done, at a constant rate and then, over the last part, down to zero.

    Args:
        folder: Of the simulated crops; the state of the training is kept there.
        steps: Batches in all.
        tune: Whether to start from the weights that ship, at half the rate.
    """
    torch.manual_seed(0)
    peak_rate = PEAK_RATE / 2 if tune else PEAK_RATE
    network = load_network().train() if tune else LandmarkNetwork()
    network = network.to(memory_format=torch.channels_last)
    if not tune:
        nn.init.constant_(network.log_sigma.bias, np.log(6.0))
    optimiser = torch.optim.AdamW(network.parameters(), lr=peak_rate, weight_decay=0.02)
    done, state_file = 0, folder / "state.pt"
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        done = state["done"]
    feed, recent, started = batches(folder, np.random.default_rng([done, 7])), [], time.monotonic()
    held_out = held_out_batches(folder)
    while done < steps:
        batch = next(feed)
        for group in optimiser.param_groups:
            group["lr"] = peak_rate * min(1.0, (done + 1) / WARM_UP, (steps - done) / (DECAY_SHARE * steps))
        images = batch.images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):  # halves the time where processors have it
            found = network(images, batch.expected_px)
        likelihood, error_px = likelihood_loss(found, batch.points_px)
        guess = functional.l1_loss(found.guess_px, batch.points_px)
        loss = heat_loss(found, batch.points_px) + LIKELIHOOD_WEIGHT * likelihood + GUESS_WEIGHT * guess
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
        if held_out and (done % TEST_EVERY == 0 or done == steps):
            print(f"  held out: {_told(network, held_out)}", flush=True)


def _told(network: LandmarkNetwork, batches: list[Batch]) -> str:
    """Median distance from the truth in crops, millimetres at the distance of the face, in all and by part."""
    network.eval()
    with torch.inference_mode():
        offsets = [network(batch.images, batch.expected_px).positions_px - batch.points_px for batch in batches]
    network.train()
    errors_mm = torch.cat(offsets).norm(dim=-1) * (1000 * CROP_SIDE_M / CROP_PX)  # [n, k]
    parts = ", ".join(f"{name} {errors_mm[:, part].median():.2f}" for name, part in PARTS.items())
    return f"{errors_mm[:, :IBUG_COUNT].median():.2f} mm ({parts})"


def likelihood_loss(found: LandmarkEstimate, points: Tensor) -> tuple[Tensor, Tensor]:
    """Negative log likelihood and the median error in pixels: what can be known exactly counts most."""
    squared = (found.positions_px - points).square().sum(-1)  # [b, k]
    likelihood = 2 * found.sigma_px.log() + squared / (2 * found.sigma_px.square())
    return likelihood.mean(), squared.detach().sqrt().median()


def ship(folder: Path, tune: bool) -> None:
    """Put the weights into the package; what they were tuned from stays on record."""
    state = torch.load(folder / "state.pt", weights_only=True)
    network = LandmarkNetwork()
    network.load_state_dict(state["network"])
    files = training_files(folder)
    provenance: dict[str, object] = {
        "program": f"headsup {__version__}",
        "data": "simulated people alone (benchmarks/simulate_landmark_crops.py)",
        "people": sum(len(np.load(path)["points"]) for path in files) // VIEWS,
        "batches": state["done"],
        "crops_in_a_batch": BATCH,
    }
    if tune:
        provenance["tuned_from"] = json.loads(DEFAULT_WEIGHTS.with_suffix(".json").read_text())["provenance"]
    save_network(DEFAULT_WEIGHTS, network, provenance)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    size_mb = DEFAULT_WEIGHTS.stat().st_size / 1e6
    print(f"{DEFAULT_WEIGHTS}: {parameters / 1e6:.2f} M parameters, {size_mb:.2f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["train", "ship"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=17000)
    parser.add_argument("--tune", action="store_true", help="from the weights that ship, for train and ship")
    arguments = parser.parse_args()
    if arguments.step == "train":
        train(arguments.folder, arguments.steps, arguments.tune)
    else:
        ship(arguments.folder, arguments.tune)
