"""Strict dtype promotion everywhere, eight host devices, small data sets, the official files.

Programs that one test has compiled are found by the others, in whatever process: compiling is most
of what the tests do. The folder is made anew for each run of the tests.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from msae_jax import data
from msae_jax.data import Dataset, Split

PROGRAMS = "MSAE_TEST_PROGRAMS"
"""The environment variable that tells worker processes which folder keeps compiled programs."""

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_num_cpu_devices", 8)  # for the meshes; everything else uses the first


MANY_MAPS = 20_000

QUICK_TO_COMPILE = "--xla_cpu_use_fusion_emitters=false"
"""XLA's older emitter of loops, which compiles in three quarters of the time; see `make test`."""


def pytest_configure(config: pytest.Config) -> None:
    if config.option.markexpr == "not slow":
        # Compiling is most of what these tests do, and their programs run for milliseconds. The
        # slow ones, among them all models against PyTorch and every page, run what users run.
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK_TO_COMPILE}"
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # of processes that tests start
        jax.config.update("jax_disable_most_optimizations", True)
    if PROGRAMS not in os.environ:
        os.environ[PROGRAMS] = folder = tempfile.mkdtemp(prefix="msae-test-programs-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        config.add_cleanup(lambda: os.environ.pop(PROGRAMS))
    jax.config.update("jax_compilation_cache_dir", os.environ[PROGRAMS])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the counts of tests/campaign; here, as its own conftest is read by workers alone."""
    reports = [report for listed in terminalreporter.stats.values() for report in listed]
    lines = [
        value
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == "campaign"
    ]
    if lines:
        terminalreporter.section("campaign")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def signals() -> Dataset:
    """Smooth float32 signals [N, 128]: 150 to train on, 40 to test on."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, 128, endpoint=False)
    frequency, phase = rng.uniform(1, 4, (190, 1)), rng.uniform(0, 6.28, (190, 1))
    x = np.sin(2 * np.pi * frequency * t + phase).astype(np.float32)
    return Dataset("signals", Split(x[:150]), Split(x[150:]))


@pytest.fixture(scope="session")
def images() -> Dataset:
    """Blurry uint8 images [N, 28, 28, 1]: 70 to train on, 20 to test on."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (90, 7, 7, 1), dtype=np.uint8)
    x = coarse.repeat(4, axis=1).repeat(4, axis=2)
    return Dataset("images", Split(x[:70]), Split(x[70:]))


@pytest.fixture(scope="session")
def official() -> Path:
    """The folder with `mnist/` and `fashion_mnist/`, the official IDX files."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MSAE_DATA_DIR") or beside)
    if not (folder / "mnist" / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip(f"no official MNIST files in {folder}: set MSAE_DATA_DIR")
    return folder


@pytest.fixture(scope="session")
def tfds_root() -> Path:
    """A folder for prepared data that is not the user's own, one for all worker processes."""
    return Path(os.environ[PROGRAMS]) / "tensorflow_datasets"


def _official(name: str, folder: Path, tfds_root: Path) -> Dataset:
    if not (folder / name).is_dir():
        pytest.skip(f"no {name} in {folder}: set MSAE_DATA_DIR")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(tfds_root))
        return data.load(name, data_dir=folder)


@pytest.fixture(scope="session")
def mnist(official: Path, tfds_root: Path) -> Dataset:
    """MNIST, prepared once per session from the official files."""
    return _official("mnist", official, tfds_root)


@pytest.fixture(scope="session")
def fashion_mnist(official: Path, tfds_root: Path) -> Dataset:
    """Fashion-MNIST, prepared once per session from the official files."""
    return _official("fashion_mnist", official, tfds_root)


@pytest.fixture(scope="module", autouse=True)
def _free_compiled_programs() -> Iterator[None]:
    """Each compiled program holds memory maps, of which a process may have only some 65,000.

    Below a third of them, the programs of one file serve the next.
    """
    yield
    maps = Path("/proc/self/maps")
    if not maps.is_file() or maps.read_bytes().count(b"\n") > MANY_MAPS:
        jax.clear_caches()


@pytest.fixture(scope="module")
def all_quick_to_compile() -> Iterator[None]:
    """`quick_to_compile` for the rest of a file, also for what its tests share."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture
def quick_to_compile() -> Iterator[None]:
    """For tests of no program's speed or bits whose time is that of compiling.

    Such are scikit-learn's checks, almost every one of which compiles another shape.
    """
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
