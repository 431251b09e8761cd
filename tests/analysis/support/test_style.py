import pytest
from matplotlib import pyplot as plt

from analysis.support import style


@pytest.mark.parametrize("name", ["it.png", "it.doc", "is a folder.png"])
def test_a_figure_is_closed_whether_it_could_be_written_or_not(tmp_path, name):
    (tmp_path / "is a folder.png").mkdir()
    drawing, _ = style.figure(1, 1)
    try:
        style.save(drawing, tmp_path / name)
        assert name == "it.png"
    except OSError as error:
        assert name != "it.png" and name in str(error)
    assert not plt.get_fignums()
