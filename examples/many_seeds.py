"""Trains many seeds at once into a run directory, and shows how far they spread.

Run: python examples/many_seeds.py
"""

from pathlib import Path

import msae_jax as mj
from msae_jax import figures

OUT = Path("example-many-seeds")


def main() -> None:
    settings = mj.config.override(mj.recipe("baseline"), {"epochs": 5})
    # Finished seeds are kept: run this again and it ends at once; ask for more and only they train.
    run = mj.fit(settings, seeds=4, out=OUT / "run", resume=True)

    curves = run.metrics("test_mse")  # [seeds, epochs]
    for epoch, errors in enumerate(curves.T, start=1):
        low, high = errors.min(), errors.max()
        print(f"epoch {epoch}: test MSE {errors.mean():.4f} ({low:.4f} to {high:.4f})")

    best = int(curves[:, -1].argmin())
    print(f"best of {len(run.members)} seeds: {run.members[best].seed}; one seed is never a result")

    drawn = figures.loss_curves({"baseline": curves}, quantity="test MSE", unit="mean per value")
    figures.save(drawn, OUT / "curves")
    print(f"wrote {OUT}")


if __name__ == "__main__":
    main()
