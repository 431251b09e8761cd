import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from core.schedules import from_settings, warmup_then_decay
from core.settings.settings import Settings

totals, fractions = st.integers(1, 5_000), st.floats(0, 0.99)


def rates(total: int, peak: float, warmup: float, final: float) -> np.ndarray:
    """The rate of every step of a run: the steps 1 to total at once."""
    return warmup_then_decay(tf.range(1, total + 1), total, peak, warmup, final).numpy()


def test_by_hand():
    # ten steps, the first four up: 1/4 to 4/4; then down by a seventh each, to 1/7
    expected = [1 / 4, 2 / 4, 3 / 4, 1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7]
    np.testing.assert_allclose(rates(10, 2.0, 0.4, 0.0), 2 * np.array(expected), rtol=1e-6)


def test_final_1_keeps_the_rate_constant_after_warm_up():
    np.testing.assert_allclose(rates(8, 0.5, 0.25, 1.0), [0.25] + 7 * [0.5], rtol=1e-6)


def test_without_warm_up_the_first_step_is_the_largest():
    np.testing.assert_allclose(rates(4, 1.0, 0.0, 0.0), [1, 3 / 4, 2 / 4, 1 / 4], rtol=1e-6)


def test_a_run_of_one_step_takes_it_at_the_peak():
    np.testing.assert_allclose(rates(1, 0.3, 0.5, 0.0), [0.3], rtol=1e-6)


def test_the_schedule_is_the_one_that_the_settings_name():
    """Five steps, the first two up to 3; then down by a quarter of what lies above a half of it."""
    schedule = from_settings(Settings(learning_rate=3.0, warmup=0.4, final_rate=0.5), total_steps=5)
    rates = [float(schedule(tf.constant(step))) for step in range(1, 6)]
    np.testing.assert_allclose(rates, [1.5, 3.0, 2.625, 2.25, 1.875], rtol=1e-6)


@given(totals, st.floats(1e-6, 10), fractions, st.floats(0, 1))
def test_up_to_the_peak_once_and_down_again(total, peak, warmup, final):
    rate = rates(total, peak, warmup, final)
    rising = max(round(warmup * total), 1)
    assert rate.dtype == np.float32 and np.all(np.isfinite(rate))
    assert np.all(rate > 0), "every step changes the weights, the last one too"
    assert np.all(rate <= peak * (1 + 1e-6)), "never above the peak"
    assert rate[rising - 1] == pytest.approx(peak, rel=1e-6), "the peak is reached where warm-up ends"
    assert rate[0] == pytest.approx(peak / rising, rel=1e-6)
    assert np.all(np.diff(rate[:rising]) > 0) and np.all(np.diff(rate[rising - 1 :]) <= 0)
    fall = total - rising + 1
    assert rate[-1] == pytest.approx(peak * (final + (1 - final) / fall), rel=1e-4)


@given(totals, fractions, st.data())
def test_a_step_alone_traced_or_among_others_has_the_same_rate(total, warmup, data):
    """A pure function of the step: what a resumed run relies on."""
    step = data.draw(st.integers(1, total))
    alone = warmup_then_decay(tf.constant(step), total, 0.1, warmup, 0.0)
    assert alone.shape == () and alone.dtype == tf.float32
    assert float(alone) == rates(total, 0.1, warmup, 0.0)[step - 1]
