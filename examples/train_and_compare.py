"""Trains two models over the same seeds and says whether one beats the other.

Run: python examples/train_and_compare.py
"""

import msae_jax as mj

SEEDS = 4
EPOCHS = 3


def main() -> None:
    # A recipe is the published configuration of a model; `override` changes fields by name.
    wide = mj.config.override(mj.recipe("baseline"), {"epochs": EPOCHS})
    narrow = mj.config.override(wide, {"latent_dim": 32})

    # Both see the same samples in the same order, seed by seed, so that they can be paired.
    runs = {
        "64 latents": mj.fit(wide, seeds=SEEDS),
        "32 latents": mj.fit(narrow, seeds=SEEDS),
    }
    for name, run in runs.items():
        errors = run.final("test_mse")  # [seeds]
        print(f"{name}: test MSE {errors.mean():.4f}, std over seeds {errors.std(ddof=1):.4f}")

    a, b = (mj.compare.side_of(run, name=name) for name, run in runs.items())
    verdict = mj.compare.compare(a, b)
    print(verdict.sentence)
    for reason in verdict.unfair:
        print("not a fair comparison:", reason)


if __name__ == "__main__":
    main()
