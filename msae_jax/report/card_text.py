"""The text of a model card: YAML for hubs, then Markdown for people.

Sources: https://huggingface.co/docs/hub/model-cards (metadata, `model-index`).
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from msae_jax import models
from msae_jax.analysis import statistics
from msae_jax.config import METRICS
from msae_jax.errors import printable
from msae_jax.interop import cards
from msae_jax.interop.torch_files import Weights
from msae_jax.report import repeat
from msae_jax.report.configuration import base_of, said
from msae_jax.report.gather import Subject, fields
from msae_jax.results.compare import words_of
from msae_jax.runs.checkpoint import Checkpoint
from msae_jax.runs.history import in_words
from msae_jax.system.names import is_own, is_program

_NO_LICENSE = "# license: say here under which license others may use it"


class About(NamedTuple):
    """What a card is about.

    Attributes:
      name: of the folder. row: the member whose weights these are.
      which: the checkpoint, in words.
    """

    name: str
    subject: Subject
    every: Checkpoint
    row: int
    weights: Weights
    which: str
    license_id: str | None

    @property
    def last(self) -> dict[str, float]:
        """The metrics of these weights; empty for weights that no epoch measured."""
        history = self.every.histories[self.row]
        return dict(history[-1]) if history else {}

    @property
    def data(self) -> str:
        """The data set by name, a file or folder without what it lies in."""
        name, mark, options = str(self.weights.config.data).partition("?")
        name = name if name.startswith("tfds:") else Path(name).name
        return f"{name}{mark}{options}"

    @property
    def model(self) -> str:
        name = str(self.weights.config.model.name)
        return "a program of PyTorch" if is_program(name) else name


def readme(about: About) -> str:
    """Returns the text of `README.md`."""
    parts = [_front(about), f"# {_plain(about.name)}", _what(about), _metrics(about),
             _loading(about), _training(about), _open_points(about)]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _front(about: About) -> str:
    """Returns the YAML at the beginning; JSON's strings and numbers are YAML's, too."""
    given = about.license_id
    lines = [
        "---",
        "library_name: msae_jax",
        _NO_LICENSE if given is None else f"license: {_yaml(given)}",
        "tags:",
        *(f"- {_yaml(tag)}" for tag in _tags(about)),
    ]
    measured = [name for name in METRICS if name.startswith("test_") and name in about.last]
    finite = [name for name in measured if math.isfinite(about.last[name])]
    if finite:
        lines += [
            "model-index:",
            f"- name: {_yaml(about.name)}",
            "  results:",
            "  - task:",
            "      type: reconstruction",
            "      name: Reconstruction",
            "    dataset:",
            f"      type: {_yaml(about.data.partition('?')[0])}",
            f"      name: {_yaml(about.data)}",
            "      split: test",
            "    metrics:",
        ]
    for name in finite:
        lines += [
            f"    - type: {METRICS[name].name}",
            f"      name: {_yaml(f'{words_of(name)} ({METRICS[name].unit})')}",
            f"      value: {json.dumps(about.last[name])}",
        ]
    return "\n".join([*lines, "---"])


def _tags(about: About) -> list[str]:
    kind = [] if is_program(str(about.weights.config.model.name)) else [about.model]
    variational = ["variational-autoencoder"] if about.last.get("test_kl_nats") else []
    series = about.weights.facts is not None and about.weights.facts.series is not None
    return ["autoencoder", "jax", "flax", *variational, *(["time-series"] if series else []), *kind]


def _what(about: About) -> str:
    count = sum(leaf.size for leaf in jax.tree.leaves(about.weights.variables["params"]))
    shape, epochs = list(about.every.sample_shape), len(about.every.histories[about.row])
    entry = about.every.members[about.row]
    trained = f"trained on {_code(about.data)} for {in_words(epochs)}"
    lines = [
        f"An autoencoder, {_code(about.model)}, with {count:,} trainable parameters, {trained}. It "
        f"takes samples of shape {_code(str(shape))}.",
        f"These are the weights of seed {entry['seed']}, of {about.which}.",
    ]
    others = len(about.every.members) - 1
    if others:
        lines.append(f"The run has {others} more seeds, which are measured below.")
    if entry["diverged"] is not None:
        lines.append(f"This seed diverged afterwards: {_plain(entry['diverged'])}.")
    return " ".join(lines)


def _metrics(about: About) -> str:
    """Returns the metrics of these weights and, of many seeds, means with intervals."""
    if not about.last:
        return "## Metrics\n\nThese weights were not measured when they were made."
    rows = [
        i
        for i, entry in enumerate(about.every.members)
        if entry["diverged"] is None and about.every.histories[i]
    ]
    plain = all(
        (m["vary"], m["learning_rate"], m["beta"]) == ("all", None, None)
        for m in about.every.members
    )
    many = len(rows) > 1 and plain
    head = ["metric", "unit", "these weights"]
    head += [f"mean of {len(rows)} seeds", "95% interval", "std over seeds"] if many else []
    table = [head, ["---"] * len(head)]
    for name, metric in METRICS.items():
        if name not in about.last:
            continue
        cells = [words_of(name), metric.unit, f"{about.last[name]:.5g}"]
        if many:
            mean = statistics.mean_interval([about.every.histories[i][-1][name] for i in rows])
            cells += [f"{mean.mean:.5g}", f"{mean.low:.5g} to {mean.high:.5g}", f"{mean.std:.2g}"]
        table.append(cells)
    lines = ["## Metrics", "", *(f"| {' | '.join(cells)} |" for cells in table), ""]
    if many:
        lost = len(about.every.members) - len(rows)
        lines.append(
            "The interval is Student's, of the mean over seeds: another seed of the same training "
            "gives another value." + (f" {lost} seeds diverged and are left out." if lost else "")
        )
    elif len(about.every.members) > 1 and not plain:
        lines.append("The members of the run differ in more than their seeds: there is no mean.")
    else:
        lines.append("One seed is not a result: it says nothing of the spread over seeds.")
    return "\n".join(lines)


def _loading(about: About) -> str:
    """Returns how to open the folder, in Python and at the command line."""
    name = str(about.weights.config.model.name)
    own = is_own(name) and not is_program(name) and not name.startswith("msae_jax.")
    given, option = (f", model={name!r}", f" --model {name}") if own else ("", "")
    trust = (
        f"\nThe model is code of its author's, {_code(name)}: it must be importable, and it runs "
        "only because you name it.\n"
        if own
        else ""
    )
    folder = _shell(about.name)
    return f"""## How to load it
{trust}
```python
import msae_jax as mj

loaded = mj.load_weights({printable(about.name)!r}{given})
z = mj.embed(loaded.model, loaded.variables, x)  # x: [N, {_axes(about.every.sample_shape)}]
y = mj.reconstruct(loaded.model, loaded.variables, x)
```

```sh
msae evaluate {folder}{option}
msae embed {folder}{option} --input x.npy --out z.npy
```

`{cards.WEIGHTS}` has {_keys(about)}. `{cards.CONFIG}` has the configuration of the model and of its
training, and the SHA-256 of each file that is read."""


def _keys(about: About) -> str:
    name = str(about.weights.config.model.name)
    if not is_program(name) and models.record(name).layout is not None:
        return "the keys and shapes of the model's PyTorch namesake"
    return "the names of Flax as keys, joined by `/`"


def _training(about: About) -> str:
    """Returns what differs from the recipe, and how to train it again."""
    base = base_of(about.weights.config)
    usual = {} if base is None else fields(base)
    changed = [
        f"- {_code(name)}: {_code(said(value))}"
        for name, value in fields(about.weights.config).items()
        if name not in ("seed", "model.name") and usual.get(name, ...) != value
    ]
    text = repeat.how(about.subject)
    kind = "python" if repeat.is_python(text) else "sh"
    versions = ", ".join(f"{name} {version}" for name, version in about.every.versions.items())
    lines = ["## How it was trained", ""]
    if base is None:
        lines += ["All values of the configuration:", "", *changed]
    elif changed:
        lines += ["By the recipe of the model, but for these values:", "", *changed]
    else:
        lines.append("By the recipe of the model.")
    # a fence longer than any in the text ends where it should
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return "\n".join([*lines, "", f"{fence}{kind}", text, fence, "", f"Versions: {versions}."])


def _open_points(about: About) -> str:
    lines: Sequence[str] = [
        "## To be said by those who publish it",
        "",
        "What the model is meant for and what not, whose data it has seen, and the license"
        f"{' of the data' if about.license_id else ''}.",
    ]
    return "\n".join(lines)


def _axes(shape: Sequence[int]) -> str:
    return ", ".join(map(str, shape))


def _yaml(text: str) -> str:
    return json.dumps(printable(text), ensure_ascii=False)


def _code(text: Any) -> str:
    return f"`{printable(str(text)).replace('`', chr(39))}`"


def _plain(text: str) -> str:
    """Returns a text in which Markdown and HTML find no marks."""
    return re.sub(r"([\\`*_\[\]<>#|&])", r"\\\1", printable(text).replace("\n", " "))


def _shell(text: str) -> str:
    return shlex.quote(printable(text))
