"""`msae evaluate`, `embed`, `reconstruct`."""

from __future__ import annotations

import json
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
