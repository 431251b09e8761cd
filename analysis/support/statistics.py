"""Statistics for comparing runs: intervals, exact tests, and what so few runs can show. NumPy and math alone.

    k    runs, or pairs of runs with the same seed           n    test images
    an accuracy is a fraction in [0, 1]; a confidence of 0.95 is a 95 % interval

A p-value is the probability of a difference at least as large as the one observed if there were none. An interval
with a confidence of 0.95 covers the true value in 95 of 100 repetitions of the whole experiment.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np

CONFIDENCE, POWER = 0.95, 0.80
MOST_FLIPPED = 20  # 2^19 sums are made in a moment; with more pairs the t interval serves
NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)  # Gauss-Legendre quadrature on [-1, 1]


def points(fraction: float) -> str:
    """A difference of accuracies in percentage points, with its sign: +1.25."""
    return f"{100 * fraction:+.2f}".replace("-", "−")


def interval(low: float, high: float) -> str:
    """`95 % interval +0.50 to +2.00`, in percentage points; no difference exceeds 100."""
    return f"{100 * CONFIDENCE:.0f} % interval {points(max(low, -1))} to {points(min(high, 1))}"


def accuracy_in_words(values, n: int) -> str:
    """The accuracies [k] in [0, 1] of runs of one recipe on n test images: mean, spread and interval, in percent.

    Beside the sample standard deviation stands that of `std_of_test_set`; a factor of two between them is remarked on.
    """
    values, mean = np.asarray(values, np.float64), float(np.mean(values))
    if len(values) == 1:
        low, high = wilson(mean * n, n)
        return f"{100 * mean:.2f} %, {100 * CONFIDENCE:.0f} % interval {100 * low:.2f} to {100 * high:.2f} (Wilson)."
    half, std, alone = t_interval(values)[1], float(sample_std(values)), std_of_test_set(1 - mean, n)
    remark = ": these seeds may agree by luck" if std < alone / 2 else ""
    remark = ": these runs differ in quality" if std > 2 * alone else remark
    return (
        f"{100 * mean:.2f} % ± {100 * std:.2f} (mean ± standard deviation of {len(values)} seeds), "
        f"{100 * CONFIDENCE:.0f} % interval of the mean {100 * max(mean - half, 0):.2f} to "
        f"{100 * min(mean + half, 1):.2f}. {n:,} test images alone give runs a standard deviation of about "
        f"{100 * alone:.2f}{remark}."
    )


def p_in_words(p: float) -> str:
    """`p = 0.023`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def t_probability(t: float, df: float) -> float:
    """P(|T| <= t) of Student's t with df > 0 degrees of freedom; df = inf is the normal distribution.

    With t = sqrt(df) tan(a) the density becomes a power of a cosine, which Gauss-Legendre integrates to rounding:
    P = 2 G((df+1)/2) / (sqrt(pi) G(df/2))  *  integral from 0 to a of cos^(df-1).  Abramowitz & Stegun 26.7.
    """
    if math.isinf(df):
        return math.erf(t / math.sqrt(2))
    angle = math.atan(t / math.sqrt(df))
    integral = angle / 2 * float(WEIGHTS @ np.cos(angle * (NODES + 1) / 2) ** (df - 1))
    return 2 * math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(math.pi) * integral


@functools.cache
def t_quantile(p: float, df: float) -> float:
    """The t with P(T <= t) = p, 0 < p < 1, df >= 1 or inf: 4.303 for p = 0.975, df = 2. By bisection.

    The unknown is the angle atan(t / sqrt(df)), which lies between 0 and 90 degrees; of the normal it is atan(t).
    """
    if p < 0.5:
        return -t_quantile(1 - p, df)
    low, high, scale = 0.0, math.pi / 2, 1.0 if math.isinf(df) else math.sqrt(df)
    for _ in range(80):
        middle = (low + high) / 2
        if t_probability(scale * math.tan(middle), df) < 2 * p - 1:
            low = middle
        else:
            high = middle
    return scale * math.tan((low + high) / 2)


@functools.lru_cache(maxsize=100_000)
def coin_p(heads: int, tosses: int) -> float:
    """Exact two-sided p of `heads` in `tosses` of a fair coin: 2 P(at most as many as the rarer side), at most 1.

    Whole numbers until the last division. The binomial distribution with p = 1/2 is symmetric, so the two tails are
    the same. No toss: 1.
    """
    rarer, term, tail = min(heads, tosses - heads), 1, 0
    for i in range(rarer + 1):  # term = tosses over i
        tail += term
        term = term * (tosses - i) // (i + 1)
    return min(1.0, 2 * tail / 2**tosses)


def wilson(correct, n, confidence: float = CONFIDENCE) -> tuple:
    """The interval (low, high) of a fraction of which correct / n was observed; numbers or arrays.

    Centre (p + z^2/2n) / (1 + z^2/n), half-width z sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n).  Wilson 1927. It stays
    in [0, 1] and has a width at 0 and at n correct, where p +- 2 sqrt(p(1-p)/n) has none.
    """
    z, p = t_quantile((1 + confidence) / 2, math.inf), np.asarray(correct) / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)


@dataclass(frozen=True)
class PairedAnswers:
    """Two networks on the same n images."""

    only_a: int  # images that A has right and B wrong
    only_b: int
    n: int
    p: float  # McNemar's exact test
    low: float  # interval of accuracy(A) - accuracy(B)
    high: float

    @property
    def difference(self) -> float:
        """accuracy(A) - accuracy(B)."""
        return (self.only_a - self.only_b) / self.n

    def in_words(self, a: str, b: str) -> str:
        """The numbers, with the names of A and B."""
        return (
            f"Of {self.n:,} images {a} alone predicts {self.only_a:,} correctly and {b} alone {self.only_b:,}. "
            f"{a} − {b} = {points(self.difference)} points, {interval(self.low, self.high)}; McNemar's exact test: "
            f"{p_in_words(self.p)}."
        )


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray, confidence: float = CONFIDENCE) -> PairedAnswers:
    """McNemar's exact test on bool [n], [n]: whether the same image was predicted correctly by A, by B.

    Images that both have right or both wrong carry no information. If neither network is better, each of the
    others is a fair coin: p = coin_p(only_a, only_a + only_b).  McNemar 1947; Dietterich 1998 for classifiers.
    The interval is d +- z sqrt(only_a + only_b - n d^2) / n after adding 1/2 to each of the four counts, d the
    difference in these counts (Agresti & Min 2005).
    """
    only_a, only_b, n = int(np.sum(correct_a & ~correct_b)), int(np.sum(correct_b & ~correct_a)), len(correct_a)
    z, d = t_quantile((1 + confidence) / 2, math.inf), (only_a - only_b) / (n + 2)
    half = z * math.sqrt(max(only_a + only_b + 1 - (n + 2) * d**2, 0)) / (n + 2)
    return PairedAnswers(only_a, only_b, n, coin_p(only_a, only_a + only_b), d - half, d + half)


def sample_std(values) -> np.ndarray:
    """s = sqrt(sum (x - mean)^2 / (k - 1)) over the last axis: the standard deviation that k >= 2 runs estimate."""
    return np.std(values, axis=-1, ddof=1)


def std_of_test_set(error: float, n: int) -> float:
    """sqrt(error / 2n): how far runs of one recipe lie apart because the test set is finite. error in [0, 1].

    Let training predict image i correctly with probability p_i, independently of the other images. Then a run's
    accuracy has the variance sum p_i (1 - p_i) / n^2. For two classes and runs whose mean prediction is calibrated
    the mean of p_i (1 - p_i) is half the error, hence error / 2n (Jordan, "On the Variance of Neural Network Training
    with respect to Test Sets and Distributions", ICLR 2024). For ten classes it is an approximation: good where an
    image is mistaken for one other class, too large where the predictions spread over many.
    On a fresh, infinite test set these differences vanish. A sample standard deviation well below it is luck of few
    seeds; one well above it means that the runs differ in quality.
    """
    return math.sqrt(error / (2 * n))


def t_interval(values, confidence: float = CONFIDENCE) -> tuple:
    """(mean, half-width) of the interval of a mean: half-width = t_((1+confidence)/2, k-1) s / sqrt(k).  [..., k].

    Student 1908; exact if the values are normal. Raises ValueError below two values.
    """
    values = np.asarray(values, np.float64)
    k = values.shape[-1]
    if k < 2:
        raise ValueError("an interval takes at least two values")
    half = t_quantile((1 + confidence) / 2, k - 1) * sample_std(values) / math.sqrt(k)
    return values.mean(axis=-1), half


def sign_flip_p(differences) -> float:
    """Exact two-sided p of paired differences [k]: the fraction of all 2^k sign assignments with as large a |sum|.

    If A and B were the same recipe, each difference could as well have the other sign. No assumption about the
    distribution. The observed signs and their opposites always count, so the smallest p is 2 / 2^k
    (`smallest_sign_flip_p`).  Fisher 1935. Raises ValueError beyond MOST_FLIPPED.
    """
    differences = np.asarray(differences, np.float64)
    if not 1 <= len(differences) <= MOST_FLIPPED:
        raise ValueError(f"all sign assignments of 1 to {MOST_FLIPPED} differences can be tried")
    sums = differences[:1]  # the first keeps its sign: the other half are the negatives of these
    for difference in differences[1:]:
        sums = np.concatenate([sums + difference, sums - difference])
    rounding = 1e-9 * np.abs(differences).sum()  # sums that are equal on paper count as equal
    return float(np.mean(np.abs(sums) >= abs(differences.sum()) - rounding))


def smallest_sign_flip_p(k: int) -> float:
    """2 / 2^k: below it no result of k pairs can get. 0.25 for three, 0.03125 for six."""
    return 2 / 2**k


def probability_of_superiority(a, b) -> float:
    """P(A > B): the fraction of all pairs (a_i, b_j) in which a is the larger one; a tie counts half.  [k], [m] ->.

    The Mann-Whitney U divided by k m (1947): the probability that one fresh run of A beats one fresh run of B.
    Bouthillier et al. 2021 call a difference meaningful from 0.75 on.
    """
    apart = np.subtract.outer(np.asarray(a, np.float64), np.asarray(b, np.float64))
    return float(np.mean((apart > 0) + 0.5 * (apart == 0)))


@dataclass(frozen=True)
class PairedDifference:
    """A - B over k pairs of runs that share their seed."""

    difference: float  # the mean of the k differences
    half: float  # half-width of its t interval
    std: float  # sample standard deviation of the k differences
    k: int
    p: float  # paired t test
    flip_p: float | None  # sign-flip test; None beyond MOST_FLIPPED pairs
    superiority: float  # P(A > B)
    detectable: float  # see `minimal_detectable`

    def in_words(self, a: str, b: str) -> str:
        """The numbers, with the names of A and B, and what so few pairs can show."""
        ends = self.difference - self.half, self.difference + self.half
        sentence = f"{a} − {b} = {points(self.difference)} points, {interval(*ends)} (t, {self.k} pairs of seeds)"
        sentence += f", {p_in_words(self.p)}; P({a} > {b}) = {self.superiority:.2f}. "
        if self.flip_p is not None:
            smallest = smallest_sign_flip_p(self.k)
            out_of_reach = ", never below 0.05" if smallest > 1 - CONFIDENCE else ""
            sentence += f"Exact sign-flip test: {p_in_words(self.flip_p)}; the smallest that {self.k} pairs can give "
            sentence += f"is {smallest:.2g}{out_of_reach}. "
        return sentence + (
            f"With these runs a true difference under {100 * min(self.detectable, 1):.2f} points cannot be seen: it "
            f"would be missed more than one time in five (power {100 * POWER:.0f} %)."
        )


def paired_difference(a, b, confidence: float = CONFIDENCE) -> PairedDifference:
    """Compare the accuracies a [k], b [k] of two recipes; a[i] and b[i] have the same seed. k >= 2.

    The same seed gives both the same batches and, where the layers are the same, the same initial weights: what
    these two share cancels in a[i] - b[i].
    """
    differences = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    (mean, half), std, k = t_interval(differences, confidence), float(sample_std(differences)), len(differences)
    if std > 1e-12:
        p = 1 - t_probability(abs(mean) / (std / math.sqrt(k)), k - 1)
    else:  # all differences are the same number
        p = 0.0 if abs(mean) > 1e-12 else 1.0
    flip_p = sign_flip_p(differences) if k <= MOST_FLIPPED else None
    superiority, detectable = probability_of_superiority(a, b), minimal_detectable(std, k, confidence)
    return PairedDifference(float(mean), float(half), std, k, p, flip_p, superiority, detectable)


def minimal_detectable(std: float, k: int, confidence: float = CONFIDENCE, power: float = POWER) -> float:
    """The true difference that k pairs would find with a probability of `power`: the t interval leaves out zero.

    (t_((1+confidence)/2, k-1) + t_(power, k-1)) std / sqrt(k), std that of the differences.  Bloom 1995. A smaller
    true difference is missed more than one time in five. The formula is the usual approximation of a noncentral t: the
    power it reaches is 0.73 with two pairs, 0.77 with three, 0.78 to 0.80 with more. std itself is an estimate.
    """
    return (t_quantile((1 + confidence) / 2, k - 1) + t_quantile(power, k - 1)) * std / math.sqrt(k)


def holm(p_values) -> np.ndarray:
    """Adjusted p-values [m]: below 0.05 each, all false alarms together stay below 5 %.  Holm 1979.

    The i-th smallest (i = 0, 1, ...) is multiplied by m - i, is at least the one before it and at most 1.
    """
    p_values = np.asarray(p_values, np.float64)
    order = np.argsort(p_values, kind="stable")
    adjusted = np.minimum(np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1)), 1)
    back = np.empty_like(adjusted)
    back[order] = adjusted
    return back


def verdicts(compared: list[tuple]) -> list[str]:
    """For each (name of A, name of B, PairedAnswers or PairedDifference): the numbers, and whether one is better.

    The p-values of several comparisons are corrected.
    """
    lines, adjusted = [], holm([result.p for _, _, result in compared])
    for (a, b, result), p in zip(compared, adjusted):
        better, worse = (a, b) if result.difference > 0 else (b, a)
        shown = p <= 1 - CONFIDENCE
        verdict = f"{better} is better than {worse}" if shown else f"no difference between {a} and {b} is shown"
        corrected = f" ({p_in_words(p)} corrected for {len(compared)} comparisons, Holm)" if len(compared) > 1 else ""
        lines += [result.in_words(a, b), f"Verdict: {verdict}{corrected}."]
    return lines
