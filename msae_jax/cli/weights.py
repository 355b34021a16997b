"""`msae evaluate`, `embed`, `reconstruct`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
from msae_jax.errors import InputError


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
    """Evaluate weights on a data set: MSE per pixel, nats per sample."""
    from msae_jax import inference
    from msae_jax import weights as w

    if seed is None and member is None and len(seeds := w.seeds_of(weights)) > 1:
        if model is not None:
            raise InputError(f"--model is for files of weights: {weights} knows its own model.")
        _evaluate_all(weights, seeds, data, data_dir, split, best, as_json)
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
        f"pixel, {found['nats']:.6g} nats per sample (reconstruction {found['recon_nats']:.6g}, "
        f"KL {found['kl_nats']:.6g})"
    )


def _evaluate_all(
    path: Path,
    seeds: list[int],
    data: str | None,
    data_dir: Path | None,
    split: str,
    best: bool,
    as_json: bool,
) -> None:
    """Evaluates every member of a run of many seeds; prints means and intervals."""
    from msae_jax import inference
    from msae_jax import weights as w
    from msae_jax.analysis import statistics

    every = [w.load_weights(path, best=best, member=i) for i in range(len(seeds))]
    name = data or every[0].config.data
    samples = w.split(name, split, data_dir)
    each = [inference.evaluate(m.model, m.variables, samples, m.config.objective) for m in every]
    values = {key: [one[key] for one in each] for key in each[0] if key != "n"}
    means = {key: statistics.mean_interval(listed) for key, listed in values.items()}
    found: dict[str, Any] = {key: mean.mean for key, mean in means.items()} | {"n": each[0]["n"]}
    found |= {"model": every[0].config.model.name, "data": name, "split": split, "seeds": seeds}
    if as_json:
        intervals = {key: [mean.low, mean.high] for key, mean in means.items()}
        print(json.dumps({**found, "ci95": intervals, "values": values}))
        return
    mse, nats = means["mse"], means["nats"]
    print(
        f"{found['model']} on {name} {split}, {found['n']} samples, {len(seeds)} seeds: MSE "
        f"{mse.mean:.6g} per pixel (95% interval {mse.low:.6g} to {mse.high:.6g}), "
        f"{nats.mean:.6g} nats per sample ({nats.low:.6g} to {nats.high:.6g})"
    )


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
