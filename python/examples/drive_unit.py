"""Evolves images that drive one unit of a ConvRNN most in a window of time: CMA-ES over a simple generator.

python drive_unit.py --model rgc_intermediate --layer conv8 --channel 7 --window 100 150 --out channel7.npz

The generator adds up cosine gratings; put your own in its place: a function from codes [n, dimensions] to images
[n, 224, 224, 3] of 0 … 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import cma
import numpy as np
import numpy.typing as npt

import tfconvrnn

SIZE = 224


class Gratings:
    """Images that are sums of coloured gratings with low spatial frequencies."""

    def __init__(self, frequencies: int = 4) -> None:
        position = np.arange(SIZE) / SIZE
        waves = []
        for fy in range(frequencies):
            for fx in range(frequencies):
                phase = 2 * np.pi * (fy * position[:, None] + fx * position[None, :])
                waves += [np.cos(phase), np.sin(phase)] if fy or fx else [np.ones((SIZE, SIZE))]
        self.waves = np.array(waves, np.float32).reshape(len(waves), -1)
        self.dimensions = 3 * len(waves)

    def __call__(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return the images of codes [n, dimensions]."""
        colours = np.asarray(codes, np.float32).reshape(len(codes), 3, -1) @ self.waves
        images = 1 / (1 + np.exp(-colours))
        return np.rint(255 * images.reshape(-1, 3, SIZE, SIZE).transpose(0, 2, 3, 1)).astype(np.uint8)


def evolve(
    model: tfconvrnn.Model,
    layer: str,
    channel: int,
    window: tuple[int, int],
    steps: int,
    population: int,
    seed: int = 1,
) -> tuple[npt.NDArray[np.float64], list[float]]:
    """Return the best code, and the best response of each step."""
    generator = Gratings()
    search = cma.CMAEvolutionStrategy(
        np.zeros(generator.dimensions), 0.5, {"popsize": population, "seed": seed, "verbose": -9, "maxiter": steps}
    )
    best = []
    for _ in range(steps):
        codes = search.ask()
        responses = model.respond(generator(np.array(codes)), layer, channels=channel, unit="center", window=window)
        search.tell(codes, list(-responses[:, 0].astype(float)))
        best.append(float(responses.max()))
    return np.array(search.result.xbest), best


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="rgc_intermediate")
    parser.add_argument("--weights", help="seeded:1 for an untrained model")
    parser.add_argument("--layer", default="conv8")
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--window", type=int, nargs=2, default=(100, 150), metavar=("FROM", "TO"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--population", type=int, default=20)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", required=True, help="an .npz with the image, its code and the responses of all steps")
    args = parser.parse_args(arguments)
    with tfconvrnn.load(args.model, weights=args.weights, threads=args.threads) as model:
        code, best = evolve(model, args.layer, args.channel, tuple(args.window), args.steps, args.population)
    np.savez(args.out, image=Gratings()(code[None])[0], code=code, responses=best)
    print(f"channel {args.channel}: {best[0]:.4g} in the first step, {max(best):.4g} at best")


if __name__ == "__main__":
    main()
