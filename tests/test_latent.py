"""Lines, arcs and directions between codes."""

import numpy as np
import pytest

from aelib.latent import attribute_vector, interpolate, slerp


@pytest.fixture
def ends():
    rng = np.random.default_rng(0)
    return rng.normal(size=5), rng.normal(size=5)


@pytest.mark.parametrize("walk", [interpolate, slerp])
def test_a_walk_starts_and_ends_at_its_codes(walk, ends):
    a, b = ends
    path = walk(a, b, 7)
    assert path.shape == (7, 5)
    np.testing.assert_allclose(path[0], a)
    np.testing.assert_allclose(path[-1], b)
    np.testing.assert_allclose(walk(b, a, 7), path[::-1])


def test_a_line_has_equal_steps(ends):
    path = interpolate(*ends, 5)
    np.testing.assert_allclose(np.diff(path, axis=0), np.tile((ends[1] - ends[0]) / 4, (4, 1)))


def test_an_arc_keeps_the_norm_and_has_equal_angles(ends):
    a, b = (3 * code / np.linalg.norm(code) for code in ends)
    path = slerp(a, b, 9)
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), 3)
    cosines = (path[1:] * path[:-1]).sum(axis=1) / 9
    omega = np.arccos(a @ b / 9)
    np.testing.assert_allclose(np.arccos(cosines), omega / 8)
    assert np.linalg.norm(interpolate(a, b, 9), axis=1).min() < 2.9


def test_an_arc_in_the_plane_is_the_formula_of_shoemake():
    path = slerp([1.0, 0.0], [0.0, 2.0], 4)
    t = np.linspace(0, 1, 4) * np.pi / 2
    np.testing.assert_allclose(path, np.stack([np.cos(t), 2 * np.sin(t)], axis=1), atol=1e-12)
    third = slerp([1.0, 0.0], [-0.5, 0.75**0.5], 3)[1]
    np.testing.assert_allclose(third, [0.5, 0.75**0.5])


@pytest.mark.parametrize("walk", [interpolate, slerp])
def test_many_walks_at_once_are_those_one_by_one(walk):
    a, b = np.random.default_rng(1).normal(size=(2, 3, 4, 5))
    path = walk(a, b, 6)
    assert path.shape == (6, 3, 4, 5)
    np.testing.assert_allclose(path[:, 2, 1], walk(a[2, 1], b[2, 1], 6))


def test_parallel_codes_are_joined_by_the_line(ends):
    a = ends[0]
    for b in (a, 2.5 * a, a * (1 + 1e-9)):
        np.testing.assert_allclose(slerp(a, b, 5), interpolate(a, b, 5))
    # Among others, and continuously: just beyond the limit the formula gives nearly the same.
    both = slerp(np.stack([a, a]), np.stack([2 * a, ends[1]]), 5)
    np.testing.assert_allclose(both[:, 0], interpolate(a, 2 * a, 5))
    np.testing.assert_allclose(both[:, 1], slerp(a, ends[1], 5))
    near = a + 1e-5 * ends[1]
    np.testing.assert_allclose(slerp(a, near, 5), interpolate(a, near, 5), atol=1e-9)


def test_codes_without_an_arc_are_refused(ends):
    a = ends[0]
    with pytest.raises(ValueError, match="Received: b with norm"):
        slerp(a, 0 * a, 3)
    with pytest.raises(ValueError, match="Received: a with norm"):
        slerp(np.stack([a, 0 * a]), np.stack([a, a]), 3)
    for code in (a, a.astype("float32")):
        with pytest.raises(
            ValueError, match="opposite codes.*Received: a and b at an angle of 3.14"
        ):
            slerp(code, -2 * code, 3)
    np.testing.assert_allclose(interpolate(a, -a, 3)[1], 0, atol=1e-12)


@pytest.mark.parametrize("walk", [interpolate, slerp])
def test_types_are_kept(walk, ends):
    a, b = ends
    assert walk(a, b, 3).dtype == "float64"
    assert walk(a.astype("float32"), b.astype("float32"), 3).dtype == "float32"
    assert walk(a.astype("float32"), b, 3).dtype == "float64"
    assert walk([1, 2], [3, 4], 3).dtype == "float64"


@pytest.mark.parametrize("walk", [interpolate, slerp])
def test_ends_that_are_no_codes_are_refused(walk, ends):
    a, b = ends
    with pytest.raises(ValueError, match=r"Received: a.shape=\(5,\), b.shape=\(4,\)"):
        walk(a, b[:4], 3)
    for bad in (np.where(a > 0, np.nan, a), np.full(5, np.inf)):
        with pytest.raises(ValueError, match="Received: a with"):
            walk(bad, b, 3)
    with pytest.raises(ValueError, match=r"Received: b.shape=\(0,\)"):
        walk(a, b[:0], 3)
    with pytest.raises(ValueError, match=r"Received: a.shape=\(\)"):
        walk(1.0, b, 3)
    with pytest.raises(ValueError, match="Received: a.dtype="):
        walk(a.astype(str), b, 3)
    for steps in (1, 0, 2.0, True, None):
        with pytest.raises(ValueError, match=f"Received: steps={steps!r}"):
            walk(a, b, steps)


# Attribute vectors


def codes_with(effects, counts, noise=0.0):
    """Codes whose cells (attribute, other) have known means, and those two attributes."""
    rng = np.random.default_rng(2)
    has, other = (np.repeat([key[i] for key in counts], list(counts.values())) for i in (0, 1))
    codes = has[:, None] * effects[0] + other[:, None] * effects[1]
    return codes + noise * rng.normal(size=codes.shape), has.astype(bool), other


EFFECTS = np.array([[1.0, 0.0, -2.0], [0.0, 3.0, 1.0]])
UNEVEN = {(0, 0): 60, (0, 1): 10, (1, 0): 5, (1, 1): 45}


def test_the_difference_of_the_centres():
    codes, has, _ = codes_with(EFFECTS, UNEVEN, noise=1.0)
    vector = attribute_vector(codes, has)
    np.testing.assert_allclose(vector, codes[has].mean(axis=0) - codes[~has].mean(axis=0))
    np.testing.assert_allclose(attribute_vector(codes, ~has), -vector)
    np.testing.assert_allclose(attribute_vector(codes, has.astype(int)), vector)
    order = np.random.default_rng(0).permutation(len(codes))
    np.testing.assert_allclose(attribute_vector(codes[order], has[order]), vector)


def test_balancing_takes_the_second_attribute_out():
    codes, has, other = codes_with(EFFECTS, UNEVEN)
    leak = 45 / 50 - 10 / 70
    np.testing.assert_allclose(attribute_vector(codes, has), EFFECTS[0] + leak * EFFECTS[1])
    np.testing.assert_allclose(attribute_vector(codes, has, other), EFFECTS[0], atol=1e-12)
    named = np.where(other, "beard", "none")
    np.testing.assert_allclose(attribute_vector(codes, has, named), EFFECTS[0], atol=1e-12)


def test_cells_count_alike_whatever_their_size():
    """The attribute moves the code by 1 in one cell and by 3 in the other: 2 in the mean."""
    has = np.array([0, 1] + [0, 1] * 50, bool)
    other = np.array([0] * 2 + [1] * 100)
    codes = np.where(has, np.where(other, 3.0, 1.0), 0.0)[:, None]
    np.testing.assert_allclose(attribute_vector(codes, has, other), [2.0])
    # The same as repeating images until the cells are full.
    again = np.concatenate([np.repeat(np.arange(2), 50), np.arange(2, 102)])
    np.testing.assert_allclose(attribute_vector(codes[again], has[again]), [2.0])


def test_shape_and_type_of_the_vector():
    codes = np.random.default_rng(0).normal(size=(8, 2, 3, 4))
    has = np.arange(8) % 2
    assert attribute_vector(codes, has).shape == (2, 3, 4)
    assert attribute_vector(codes, has).dtype == "float64"
    assert attribute_vector(codes.astype("float32"), has, has * 0).dtype == "float32"
    large = np.full((100_000, 2), 1e4, "float32") + has.repeat(12_500)[:, None].astype("float32")
    np.testing.assert_allclose(attribute_vector(large, has.repeat(12_500)), 1, rtol=1e-6)


def test_an_empty_cell_is_named():
    codes, has, other = codes_with(EFFECTS, UNEVEN)
    with pytest.raises(ValueError, match="Received: no code with has_attribute=True$"):
        attribute_vector(codes, 0 * has)
    with pytest.raises(ValueError, match="Received: no code with has_attribute=False$"):
        attribute_vector(codes, has | True)
    with pytest.raises(ValueError, match=r"has_attribute=True, balance=1$"):
        attribute_vector(codes, has & (other == 0), other)
    with pytest.raises(ValueError, match=r"has_attribute=False, balance='beard'$"):
        attribute_vector(codes, has | (other == 1), np.where(other, "beard", "none"))


def test_arrays_that_do_not_match_are_refused():
    codes, has, other = codes_with(EFFECTS, UNEVEN)
    with pytest.raises(ValueError, match="Received: codes with 3 NaN"):
        attribute_vector(np.where(np.arange(120)[:, None] == 7, np.nan, codes), has)
    for bad in (codes[0], codes[:0], np.float64(1)):
        with pytest.raises(ValueError, match="Received: codes.shape="):
            attribute_vector(bad, has)
    for bad in (has[1:], has[:, None], True):
        with pytest.raises(ValueError, match="Received: .*has_attribute.shape="):
            attribute_vector(codes, bad)
    for bad in (has * 2, has - 0.5, np.where(has, np.nan, 1.0), has.astype(str)):
        with pytest.raises(ValueError, match="Received: has_attribute"):
            attribute_vector(codes, bad)
    with pytest.raises(ValueError, match=r"Received: codes.*, balance.shape=\(119,\)"):
        attribute_vector(codes, has, other[1:])
    for bad in (other.astype(float), np.array([None] * 120)):
        with pytest.raises(ValueError, match="Received: balance.dtype="):
            attribute_vector(codes, has, bad)
