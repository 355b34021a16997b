"""`msae list`."""

from __future__ import annotations

import json

from msae_jax.cli.app import AsJson, app


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List models with their parameter counts, data sets and studies."""
    from msae_jax import data, experiments, models
    from msae_jax.config import ModelConfig

    counts = {n: models.parameter_count(models.build(ModelConfig(n))) for n in models.names()}
    if as_json:
        found = {
            "models": [{"name": n, "parameters": count} for n, count in counts.items()],
            "data": [{"name": n, "description": text} for n, text in data.names().items()],
            "studies": [{"name": n, "description": text} for n, text in experiments.NAMES.items()],
        }
        print(json.dumps(found, indent=2))
        return
    print("models (trainable parameters)")
    print("\n".join(f"  {name:14} {count:>11,}" for name, count in counts.items()))
    print("data sets")
    print("\n".join(f"  {name:14} {text}" for name, text in data.names().items()))
    print("studies, for `msae reproduce`")
    print("\n".join(f"  {name:14} {text}" for name, text in experiments.NAMES.items()))
