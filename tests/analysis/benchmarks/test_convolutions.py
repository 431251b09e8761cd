import re

from runner import run

from analysis.benchmarks import convolutions


def test_each_learned_convolution_gets_its_row():
    done = run("analysis/convolutions.py", "--recipe", "minute", "--batch-size", 4, "--precision", "bfloat16")
    head, _, *rows = done.stdout.splitlines()
    assert head.startswith("minute, batches of 4, bfloat16")
    assert [row.split()[0] for row in rows] == ["conv1a", "conv1b", "conv2a", "conv2b", "conv3a", "conv3b"]
    assert all(len(re.findall(r"\d\.\d", row)) == (6 if row.split()[0].endswith("a") else 4) for row in rows)
    assert rows[0].count("<") == 2 and rows[1].count("<") == 1


def test_the_functions_take_turns():
    order = []

    def counted(name):
        import tensorflow as tf

        def function():
            tf.py_function(lambda: order.append(name), [], [])
            return tf.constant(1.0)

        return function

    found = convolutions.milliseconds({"a": counted("a"), "b": counted("b")})
    assert set(found) == {"a", "b"} and all(value > 0 for value in found.values())
    assert order == ["a", "b"] * (1 + convolutions.TIMES)


def test_a_wrong_word_is_answered_in_a_line():
    done = run("analysis/convolutions.py", "--batch-size", "many", status=2)
    assert "--batch-size many: expected a whole number" in done.stderr
