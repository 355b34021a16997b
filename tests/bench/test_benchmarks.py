"""What the scripts in benchmarks/ conclude from what they measure."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from benchmarks import commands, gpu, growth

FOLDER = Path(commands.__file__).parent
NEED_TORCH = ("convolution", "published_seed", "recipes", "torch_mnist", "torch_sines")


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_every_script_can_be_imported(name: str) -> None:
    if name in NEED_TORCH:
        pytest.importorskip("torch")
    assert importlib.import_module(f"benchmarks.{name}").__doc__


def test_growth_of_a_fixed_cost_and_a_unit_cost() -> None:
    """t = 3 + 0.01 n: flat at first, linear where n is far above the 300 that cost as much."""
    sizes = [4, 16, 64, 256, 1024, 4096, 16384]
    found = growth.growth(sizes, [3 + 0.01 * n for n in sizes])
    assert (found.fixed, found.unit) == pytest.approx((3, 0.01))
    assert found.half == pytest.approx(300)
    assert found.local[0] < 0.05
    assert found.linear == (1024, 16384)
    assert 0.3 < found.slope < 0.8


def test_growth_of_a_power_law() -> None:
    sizes = [1, 2, 4, 8]
    found = growth.growth(sizes, [5 * n**1.5 for n in sizes])
    assert found.slope == pytest.approx(1.5)
    assert found.local == pytest.approx([1.5] * 3)
    assert found.linear is None
    assert found.fixed == 0  # it grows faster than linear: nothing is left for a fixed part


def test_shared_work_is_linear_where_it_halves() -> None:
    found = growth.growth([1, 2, 4], [8.0, 4.2, 4.1], ideal=-1.0)
    assert found.linear == (1, 2)
    assert found.local == pytest.approx([-0.9296, -0.0348], abs=1e-4)


@pytest.mark.parametrize(
    ("good", "run"),
    [
        ([], None),
        ([False, False], None),
        ([True, True, False], (0, 2)),
        ([True, False, True, True], (2, 4)),
        ([True, False, True], (2, 3)),  # of equal ones the last: the larger sizes
    ],
)
def test_longest_run(good: list[bool], run: tuple[int, int] | None) -> None:
    assert growth.longest_run(good) == run


def test_a_table_of_commands_has_medians_and_ratios() -> None:
    ours = commands.Timed([2.0, 9.0, 1.0], cpu=[3.0], errors={"a": 0.25})
    found = {"ours, warm": ours, "PyTorch": commands.Timed([5.0], cpu=[6.0])}
    found["PyTorch, tuned"] = commands.Timed([3.0], cpu=[6.0])
    lines = commands.table(found).splitlines()
    assert lines[0] == (
        "| | s (lowest to highest) | processor s | PyTorch takes | tuned | test MSE |"
    )
    assert {line.count("|") for line in lines} == {7}
    assert lines[2] == (
        "| ours, warm | 2.00 (1.00 to 9.00) | 3.0 | 2.50 times | 1.50 times | 0.25000 |"
    )
    assert lines[3] == "| PyTorch | 5.00 (5.00 to 5.00) | 6.0 |  |  |  |"


def test_many_seeds_are_checked_against_one() -> None:
    points = [{"seeds": 1, "seconds": [0.1, 0.2, 0.9]}, {"seeds": 64, "seconds": [0.6]}]
    assert gpu.check(points) == pytest.approx(3.0)
    assert gpu.check(points[1:]) is None
