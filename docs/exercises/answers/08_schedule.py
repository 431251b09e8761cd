"""Exercise 8: a schedule, the learning rate as a function of the step.

    steps 1 to W       it rises in equal parts: peak / W at step 1, peak at step W        (warm-up)
    steps W to T       it falls in equal parts, so that it would be 0 at step T + 1       (decay)

T = total_steps, W = warmup_steps, 1 <= W <= T. The last step, T, still changes the weights.
"""


def learning_rate(step, total_steps, warmup_steps, peak):
    """step = 1, ..., total_steps  -> the learning rate, one number."""
    # gap rate: the rising line, the falling line, and which of the two counts
    if step <= warmup_steps:
        rate = peak * step / warmup_steps
    else:
        rate = peak * (total_steps + 1 - step) / (total_steps + 1 - warmup_steps)
    # end of gap
    return rate
