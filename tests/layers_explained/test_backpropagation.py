"""The essay on backpropagation: its rungs agree, its page is right, its mistakes are seen."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from layers_explained import backpropagation
from layers_explained.support import checks, walkthrough


@some.composite
def cases(draw):
    """x, W1, b1, W2, b2, labels with random sizes."""
    n, pixels, hidden, classes = (draw(some.integers(1, 5)) for _ in range(4))
    random = np.random.default_rng(draw(some.integers(0, 2**32 - 1)))
    shapes = [n, pixels], [pixels, hidden], [hidden], [hidden, classes], [classes]
    return *(random.standard_normal(shape) for shape in shapes), random.integers(classes, size=n)


def agree(one, other):
    for a, b in zip(one, other, strict=True):
        assert checks.largest_difference(a, b) <= 1e-10


@settings(deadline=None, max_examples=50)
@given(cases())
def test_the_chain_rule_equals_the_loops(case):
    agree(backpropagation.chain(*case), backpropagation.loops(*case))


@settings(deadline=None, max_examples=20)
@given(cases())
def test_tensorflow_primitives_equal_the_chain_rule(case):
    agree(backpropagation.tensorflow_primitives(*case), backpropagation.chain(*case))


@settings(deadline=None, max_examples=12)
@given(cases())
def test_the_layers_that_train_equal_the_chain_rule(case):
    agree(backpropagation.compiled_layers(*case)(), backpropagation.chain(*case))


def loops_case():
    """proof_case with the gradients of rung 1."""
    loss, function, point, _ = backpropagation.proof_case()
    labels = backpropagation.numbers()[-1]
    found = backpropagation.loops(*point.values(), labels)[1:]
    return loss, function, point, dict(zip(point, found))


@pytest.mark.parametrize("case", [backpropagation.proof_case, loops_case])
def test_every_entry_of_every_gradient_and_the_taylor_slope(case):
    _, *case = case()
    for check in checks.check_gradients(*case):
        assert check.error <= 1e-7 and check.largest > 0.05 and check.holds
    assert checks.taylor(*case)[2] == pytest.approx(2.00, abs=0.05)


def a_millionth(z, labels):
    """The largest entry of dz wrong by a millionth of its size."""
    loss, back = backpropagation.cross_entropy(z, labels)
    dz = back(1.0)[0]
    dz[np.unravel_index(np.argmax(np.abs(dz)), dz.shape)] *= 1 + 1e-6
    return loss, lambda one: (dz,)


@pytest.mark.parametrize("links", [
    {"cross_entropy": a_millionth}, {"dense": backpropagation.untransposed_dense},
    {"dense": backpropagation.forgetful_dense}, {"cross_entropy": backpropagation.summed_cross_entropy},
])  # fmt: skip
def test_a_broken_gradient_fails(links):
    with pytest.raises(walkthrough.Problem, match="does not belong to this forward pass"):
        checks.prove_gradients(*backpropagation.proof_case(**links)[1:])


def test_a_broken_gradient_has_another_slope():
    assert checks.taylor(*backpropagation.proof_case(dense=backpropagation.untransposed_dense)[1:])[2] < 1.5


def test_weights_used_twice_add_up():
    """The case of the mistake, with the two gradients added, passes: it is the missing addition that fails."""
    _, loss, point, gradients = backpropagation.twice_case()
    labels = backpropagation.numbers()[-1]
    first = backpropagation.chain(*point.values(), labels)[2:]
    right = {name: gradients[name] + one for name, one in zip(("W1", "b1", "W2", "b2"), first)}
    assert all(check.holds for check in checks.check_gradients(loss, point, {"x": gradients["x"], **right}))
    assert [check.holds for check in checks.check_gradients(loss, point, gradients)] == [True, *[False] * 4]


def test_the_page():
    page = backpropagation.hand_case()
    assert page["a"].tolist() == [[1.5, 0.5, -0.5], [-0.5, 0.5, 1.5], [0.5, 1.5, 0.5], [0.5, -0.5, 0.5]]
    third = 1 / (1 + np.sqrt(3))  # log odds of -ln(3)/2
    np.testing.assert_allclose(page["p"][:, 0], [3 / 4, 3 / 4, third, 3 / 4])
    np.testing.assert_allclose(page["dz"][:, 0], [-1 / 16, -1 / 16, third / 4, 3 / 16])
    np.testing.assert_allclose(page["L"], -np.log([3 / 4, 3 / 4, 1 - third, 1 / 4]).mean())
    np.testing.assert_allclose(page["dh"][3], np.log(3) * np.array([3 / 16, -3 / 16, 3 / 16]))
    assert ((page["da"] == 0) == (page["a"] < 0)).all()
    checks = checks.check_gradients(
        lambda **at: backpropagation.forward_numpy(*at.values(), np.array(backpropagation.HAND_LABELS))[0],
        dict(zip(backpropagation.PARAMETERS, backpropagation.hand_numbers())),
        {name: page["d" + name] for name in backpropagation.PARAMETERS},
    )
    assert all(check.holds for check in checks)


def test_each_mistake_is_seen(capsys):
    backpropagation.mistakes()
    for line in capsys.readouterr().out.splitlines()[1:5]:
        assert "equal" in line and "dL/d" in line and "off by" in line


@pytest.mark.parametrize(("run", "layer"), [("debug", "dense1"), ("classic", "dense2")])
def test_on_your_network(tell, runs_dir, tmp_path, run, layer):
    status, out, err = tell(
        backpropagation, "--run", run, "--runs-dir", runs_dir, "--layer", layer, "--image", 5,
        "--out", tmp_path / "f.png",
    )  # fmt: skip
    assert (status, err) == (0, "") and f"{layer}: [1, " in out
    sums = re.findall(r"all together (\S+);  the (?:layer|tape) says (\S+)", out)
    assert len(sums) == 2 and all(own == other and float(own) != 0 for own, other in sums)
    table = [line.split()[0] for line in out.splitlines() if re.search(r"\de[-+]\d\d", line)]
    assert table[0].startswith("dense") and table[-1] == "conv1" and len(set(table)) == len(table)


@pytest.mark.parametrize(("constant", "value", "args"), [
    ("HIDDEN", 0, ["HIDDEN = 0", "1 or above"]),
    ("HAND_W2", [[1, 2]], ["HAND_W2", "(3, 2)"]),
    ("HAND_LABELS", [0, 0, 1, 2], ["HAND_LABELS", "0 to 1"]),
])  # fmt: skip
def test_a_bad_number_at_the_top_gets_a_sentence(tell, one_line, monkeypatch, constant, value, args):
    monkeypatch.setattr(backpropagation, constant, value)
    status, _, err = tell(backpropagation)
    assert status == 1
    one_line(err, *args)
