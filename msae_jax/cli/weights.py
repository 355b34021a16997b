"""`msae evaluate`, `embed`, `reconstruct`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msae_jax.cli.app import (
    AsJson,
    Best,
    Data,
    DataDir,
    Input,
    MemberIndex,
    ModelName,
    OutFile,
    Overwrite,
    Seed,
    SplitName,
    Weights,
    app,
)

if TYPE_CHECKING:
    from msae_jax.weights import Many


@app.command()
def evaluate(
    weights: Weights,
    data: Data = None,
    data_dir: DataDir = None,
    split: SplitName = "test",
    model: ModelName = None,
    best: Best = False,
    seed: Seed = None,
    member: MemberIndex = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate weights on a data set: MSE per value, nats per sample."""
    from msae_jax import inference
    from msae_jax import weights as w

    if seed is None and member is None and model is None and weights.is_dir():
        many = w.load_many(weights, best=best)
        if many is not None and len(many.seeds) > 1:
            _evaluate_all(many, data, data_dir, split, as_json)
            return
    loaded = w.load_weights(weights, best=best, model=model, seed=seed, member=member)
    name = data or loaded.config.data
    samples = w.split(name, split, data_dir)
    found: dict[str, Any] = dict(
        inference.evaluate(loaded.model, loaded.variables, samples, loaded.config.objective)
    )
    found |= {"model": loaded.config.model.name, "data": name, "split": split}
    if as_json:
        print(json.dumps(found))
        return
    print(
        f"{found['model']} on {name} {split}, {found['n']} samples: MSE {found['mse']:.6g} per "
        f"value, {found['nats']:.6g} nats per sample (reconstruction {found['recon_nats']:.6g}, "
        f"KL {found['kl_nats']:.6g})"
    )


def _evaluate_all(
    many: Many, data: str | None, data_dir: Path | None, split: str, as_json: bool
) -> None:
    """Evaluates every seed of a run of many; prints means and intervals."""
    from msae_jax import inference
    from msae_jax import weights as w
    from msae_jax.analysis import statistics

    name = data or many.config.data
    samples = w.split(name, split, data_dir)
    each = [
        inference.evaluate(many.model, variables, samples, many.config.objective)
        for variables in many.variables
    ]
    values = {key: [one[key] for one in each] for key in each[0] if key != "n"}
    means = {key: statistics.mean_interval(listed) for key, listed in values.items()}
    found: dict[str, Any] = {key: mean.mean for key, mean in means.items()} | {"n": each[0]["n"]}
    found |= {"model": many.config.model.name, "data": name, "split": split, "seeds": many.seeds}
    if as_json:
        intervals = {key: [mean.low, mean.high] for key, mean in means.items()}
        more = {"ci95": intervals, "values": values, "diverged": many.diverged}
        print(json.dumps(found | more))
        return
    mse, nats = means["mse"], means["nats"]
    print(
        f"{found['model']} on {name} {split}, {found['n']} samples, {len(many.seeds)} seeds: MSE "
        f"{mse.mean:.6g} per value (95% interval {mse.low:.6g} to {mse.high:.6g}), "
        f"{nats.mean:.6g} nats per sample ({nats.low:.6g} to {nats.high:.6g})"
    )
    for seed, text in many.diverged.items():
        print(f"left out: seed {seed}: {text}")


@app.command()
def embed(
    weights: Weights,
    samples: Input,
    out: OutFile,
    model: ModelName = None,
    best: Best = False,
    seed: Seed = None,
    member: MemberIndex = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the latents [N, latent_dim] of your samples; of a VAE, the posterior means."""
    from msae_jax import inference
    from msae_jax import weights as w

    loaded = w.load_weights(weights, best=best, model=model, seed=seed, member=member)
    x = w.samples(samples, out, overwrite)
    w.save_array(out, inference.embed(loaded.model, loaded.variables, x))


@app.command()
def reconstruct(
    weights: Weights,
    samples: Input,
    out: OutFile,
    model: ModelName = None,
    best: Best = False,
    seed: Seed = None,
    member: MemberIndex = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the reconstructions [N, ...] of your samples; uint8 ones are scaled to [0, 1]."""
    from msae_jax import inference
    from msae_jax import weights as w

    loaded = w.load_weights(weights, best=best, model=model, seed=seed, member=member)
    x = w.samples(samples, out, overwrite)
    w.save_array(out, inference.reconstruct(loaded.model, loaded.variables, x))
