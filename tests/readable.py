"""Whether a figure can be read: the sizes of its texts, none on top of another, all of them inside."""

import itertools

from matplotlib.text import Text

from analysis.support import style


def texts_of(drawing) -> list[Text]:
    """Everything written in a figure that is seen."""
    drawing.canvas.draw()
    texts, legends = list(drawing.texts), list(drawing.legends)
    if drawing.get_suptitle():
        texts.append(drawing._suptitle)
    for axes in drawing.axes:
        titles = (axes.title, axes._left_title, axes._right_title)
        texts += [*titles, *axes.texts]
        legends += [axes.get_legend()] if axes.get_legend() else []
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            low, high = sorted(axis.get_view_interval())
            texts += [axis.label, axis.get_offset_text()]  # the latter: the power of ten of the numbers, 1e8
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    texts += itertools.chain(*(legend.get_texts() for legend in legends))
    return [text for text in dict.fromkeys(texts) if text.get_text().strip() and text.get_visible()]


def assert_readable(drawing, least: int = 4) -> list[str]:
    """16 x 9 inches, letters of 2.5 % of the height at least, no two texts in one place, none cut off; their texts.

    least: how many texts there are at least.
    """
    assert tuple(drawing.get_size_inches()) == (style.WIDTH, style.HEIGHT)
    texts, (width, height) = texts_of(drawing), drawing.canvas.get_width_height()
    assert len(texts) >= least and min(text.get_fontsize() for text in texts) >= 0.025 * style.HEIGHT * 72
    boxes = {text: text.get_window_extent() for text in texts}
    for text, box in boxes.items():
        assert box.x0 > -2 and box.x1 < width + 2 and box.y0 > -2 and box.y1 < height + 2, text.get_text()
    upright = [text for text in texts if text.get_rotation() in (0, 90)]  # the box of a slanted text is mostly empty
    for one, other in itertools.combinations(upright, 2):
        a, b = boxes[one], boxes[other]
        apart = a.x1 <= b.x0 + 1 or b.x1 <= a.x0 + 1 or a.y1 <= b.y0 + 1 or b.y1 <= a.y0 + 1
        assert apart, (one.get_text(), other.get_text())
    return [text.get_text() for text in texts]
