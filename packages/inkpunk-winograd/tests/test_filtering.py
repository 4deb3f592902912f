import pytest
import torch
from inkpunk_winograd.filtering import FILTERINGS, Filtering

EXACT = 1e-12  # float64, a few dozen sums


@pytest.mark.parametrize("pairs", [(1.0,), (1.0, 2.0), (0.5, 1.0), (0.625, 1.5), (0.5, 1.0, 2.0)])
def test_one_axis_is_a_filter(pairs: tuple[float, ...]) -> None:
    filtering = Filtering(pairs)
    inputs = torch.randn(filtering.window, 7, dtype=torch.float64)
    kernel = torch.randn(3, dtype=torch.float64)
    transformed = torch.empty_like(inputs)
    filtering.transform_input(list(inputs), list(transformed), torch.empty(7, dtype=torch.float64))
    products = transformed * (filtering.kernel_matrix() @ kernel)[:, None]
    outputs = torch.empty(filtering.tile, 7, dtype=torch.float64)
    scratch = torch.empty(len(pairs), 7, dtype=torch.float64)
    filtering.transform_output(list(products), list(outputs), list(scratch))
    direct = torch.stack([kernel @ inputs[i : i + 3] for i in range(filtering.tile)])
    assert torch.allclose(outputs, direct, rtol=EXACT, atol=EXACT * 100)


def test_the_windows_are_as_the_paper_has_them() -> None:
    assert {tile: filtering.window for tile, filtering in FILTERINGS.items()} == {2: 4, 4: 6}
    assert all(filtering.tile == tile for tile, filtering in FILTERINGS.items())


def test_float32_holds_the_points_and_their_powers() -> None:
    for filtering in FILTERINGS.values():
        for p in filtering.pairs:
            for power in range(filtering.tile + 1):
                assert torch.tensor(p**power, dtype=torch.float32).double() == p**power
