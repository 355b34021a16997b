"""`msae evaluate`, `embed`, `reconstruct`."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msae_jax.cli import series_outputs
from msae_jax.cli.app import (
    AsJson,
    Best,
    Data,
    DataDir,
    Input,
    Key,
    Likelihood,
    MemberIndex,
    ModelName,
    Options,
    OutFile,
    Overwrite,
    Seed,
    SplitName,
    Weights,
    app,
    check_out,
    model_given,
    note_assumptions,
)
from msae_jax.cli.reading import reads

if TYPE_CHECKING:
    import numpy as np

    from msae_jax.config import TrainConfig
    from msae_jax.weights import Many


@app.command()
@reads("data")
def evaluate(
    weights: Weights,
    data: Data = None,
    data_dir: DataDir = None,
    split: SplitName = "test",
    model: ModelName = None,
    options: Options = None,
    likelihood: Likelihood = None,
    best: Best = False,
    seed: Seed = None,
    member: MemberIndex = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate weights on a data set: MSE per value, nats per sample."""
    from msae_jax import weights as w
    from msae_jax.train import evaluation

    given = model_given(model, options, weights)
    if seed is None and member is None and key is None and weights.is_dir():
        many = w.load_many(weights, best=best, model=given)
        if many is not None and len(many.seeds) > 1:
            many = many._replace(config=_changed(many.config, data, likelihood))
            _evaluate_all(many, data is None, data_dir, split, as_json)
            return
    loaded = w.load_weights(weights, best=best, model=given, seed=seed, member=member, key=key)
    settings = _changed(loaded.config, data, likelihood)
    name = settings.data
    _, (samples, _), odd = w.split(name, split, data_dir, trained_on=loaded.facts, own=data is None)
    w.check_channel_order(weights, loaded.model, samples)
    note_assumptions(weights, loaded, given)
    found: dict[str, Any] = dict(
        evaluation.evaluate(loaded.model, loaded.variables, samples, settings.objective)
    )
    usual = evaluation.error_of_mean(samples)
    if found["mse"] > usual:
        of_file = "" if weights.is_dir() else ", activations or output of the model (--set)"
        odd = [*odd, _worse(found["mse"], usual, of_file)]
    _warn(odd)
    found |= {"model": settings.model.name, "data": name, "split": split}
    if as_json:
        print(json.dumps(_finite(found)))
        return
    print(
        f"{found['model']} on {name} {split}, {found['n']} samples: MSE {found['mse']:.6g} per "
        f"value, {found['nats']:.6g} nats per sample (reconstruction {found['recon_nats']:.6g}, "
        f"KL {found['kl_nats']:.6g})"
    )


def _worse(error: float, usual: float, of_file: str) -> str:
    return (
        f"an MSE of {error:.4g} is worse than that of the mean sample, {usual:.4g}: these may be "
        f"the wrong samples, or in another scale or order of values{of_file}"
    )


def _changed(settings: TrainConfig, data: str | None, likelihood: str | None) -> TrainConfig:
    from msae_jax import config
    from msae_jax.runs import directory

    given = {"data": data, "objective.likelihood": likelihood}
    changed = config.override(settings, {k: v for k, v in given.items() if v is not None})
    directory.check_named(changed)
    return changed


def _evaluate_all(many: Many, own: bool, data_dir: Path | None, split: str, as_json: bool) -> None:
    """Evaluates every seed of a run of many; prints means and intervals."""
    from msae_jax import weights as w
    from msae_jax.analysis import statistics
    from msae_jax.train import evaluation

    name = many.config.data
    _, (samples, _), odd = w.split(name, split, data_dir, trained_on=many.facts, own=own)
    each = [
        evaluation.evaluate(many.model, variables, samples, many.config.objective)
        for variables in many.variables
    ]
    _warn(odd)
    values = {key: [one[key] for one in each] for key in each[0] if key != "n"}
    means = {key: statistics.mean_interval(listed) for key, listed in values.items()}
    found: dict[str, Any] = {key: mean.mean for key, mean in means.items()} | {"n": each[0]["n"]}
    found |= {"model": many.config.model.name, "data": name, "split": split, "seeds": many.seeds}
    if as_json:
        intervals = {key: [mean.low, mean.high] for key, mean in means.items()}
        more = {"ci95": intervals, "values": values, "diverged": many.diverged}
        print(json.dumps(_finite(found | more)))
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
@reads("samples")
def embed(
    weights: Weights,
    samples: Input,
    out: OutFile,
    model: ModelName = None,
    options: Options = None,
    best: Best = False,
    seed: Seed = None,
    member: MemberIndex = None,
    key: Key = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the latents [N, latent_dim] of your samples; of a VAE, the posterior means.

    For a run of a series the samples are the series: its windows are embedded.
    """
    from msae_jax import weights as w
    from msae_jax.data.facts import against
    from msae_jax.train import evaluation

    given = model_given(model, options, weights)
    loaded = w.load_weights(weights, best=best, model=given, seed=seed, member=member, key=key)
    if loaded.facts is not None and loaded.facts.series is not None:
        series_outputs.embed(loaded, samples, out, overwrite)
        return
    x = _samples(samples, out, overwrite)
    w.check_channel_order(weights, loaded.model, x)
    note_assumptions(weights, loaded, given)
    _save(out, evaluation.embed(loaded.model, loaded.variables, x))
    if loaded.facts is not None:
        _warn(against(loaded.facts, x))


@app.command()
@reads("samples")
def reconstruct(
    weights: Weights,
    samples: Input,
    out: OutFile,
    model: ModelName = None,
    options: Options = None,
    best: Best = False,
    seed: Seed = None,
    member: MemberIndex = None,
    key: Key = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the reconstructions [N, ...] of your samples; uint8 ones are scaled to [0, 1].

    For a run of a series the sample is the series: --out is it again, a .csv or an .npy.
    """
    from msae_jax import weights as w
    from msae_jax.data.facts import against
    from msae_jax.train import evaluation

    given = model_given(model, options, weights)
    loaded = w.load_weights(weights, best=best, model=given, seed=seed, member=member, key=key)
    if loaded.facts is not None and loaded.facts.series is not None:
        series_outputs.reconstruct(loaded, samples, out, overwrite)
        return
    x = _samples(samples, out, overwrite)
    w.check_channel_order(weights, loaded.model, x)
    note_assumptions(weights, loaded, given)
    _save(out, evaluation.reconstruct(loaded.model, loaded.variables, x))
    if loaded.facts is not None:
        _warn(against(loaded.facts, x))


def _samples(path: Path, out: Path, overwrite: bool) -> np.ndarray:
    """Reads a user's samples, after checking that the result can be written to `out`."""
    from msae_jax.data import load_array

    check_out(out, (".npy",), overwrite)
    return load_array(path)


def _save(out: Path, array: np.ndarray) -> None:
    """Writes an array, whole or not at all, and says how many of its rows are not finite."""
    import numpy as np

    from msae_jax.system.files import replacing

    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out, overwrite=True) as temporary, temporary.open("wb") as file:
        np.save(file, array)
    bad = int((~np.isfinite(array)).reshape(len(array), -1).any(axis=1).sum())
    if bad:
        print(f"msae: warning: {bad} of {len(array)} rows are not finite", file=sys.stderr)


def _warn(sentences: list[str]) -> None:
    for sentence in sentences:
        print(f"msae: warning: {sentence}.", file=sys.stderr)


def _finite(value: Any) -> Any:
    """Returns JSON values with null for what is not finite, for which JSON has no number."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
