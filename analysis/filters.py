"""What excites the channels of the network? Its first filters, and for a channel the image patches it responds to most.

    python analysis/filters.py                             the filters of the first convolution, as small images
    python analysis/filters.py RUN --layer conv3           the patches of test images that excite its channels most
    python analysis/filters.py RUN --layer conv3 --channel 7
    python analysis/filters.py RUN --evolution [...]       the same view at the run's checkpoints
    python analysis/filters.py RUN --evolution --panel untrained      one row of a figure as a slide

A patch is the receptive field of the output that is largest: the pixels it depends on, and no others. Of each test
image only its largest output counts. In the last layer a channel is a class.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.support import common


def build_parser():
    """The command line."""
    parser = common.parser(
        "filters", "Which filters did the first layer learn, and which image patches excite a channel most?",
        figure="filters[-LAYER[-N]][-evolution].png in the run's folder",
    )  # fmt: skip
    add = parser.add_argument
    add("--layer", metavar="NAME", help="image patches for the channels of this layer [the filters of the first one]")
    add("--channel", metavar="N", type=int, help="of --layer, counted from 0 [the four whose patches stand out most]")
    add("--evolution", action="store_true", help="the untrained network and up to four checkpoints, row by row")
    add("--panel", metavar="NAME", help="one row as a slide: untrained, step-N of --evolution, channel-N of --layer")
    add("--images", metavar="N", type=int, default=2_000, help="search N test images, evenly spread [2000]")
    add("--data-dir", metavar="DIR", default="", help="where the images are now, if they have moved")
    return parser


def parse(argv=None):
    """The arguments; what is wrong with them ends the program with one line and exit status 2."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.images < 1:
        parser.error(f"--images {args.images}: at least 1")
    if args.panel and not (args.evolution or (args.layer and args.channel is None)):
        parser.error(f"--panel {args.panel}: this figure is one panel; --evolution and --layer NAME have several")
    if args.channel is not None and not args.layer:
        parser.error(f"--channel {args.channel}: it needs --layer NAME too")
    return args


if __name__ == "__main__":
    ARGS = parse()  # before TensorFlow, which takes seconds to start
    common.end_quietly_while_importing()

from analysis.support import channels, image_sheet, receptive_field, style
from analysis.support.image_sheet import Tile
from analysis.support.network import restored_network, untrained_network
from analysis.support.predictions import data_of
from analysis.support.run import Run
from core import devices
from core.run import checkpoints, run_folder
from core.run.errors import RunError

PER_ROW = 8  # patches in a row, when the figure is about one channel
ROWS = 5  # of an evolution
PATCHES, FILTERS = 10, 12  # at most in a row with a name
ALONE = 24  # at most of a row that is a slide of its own
WEAK = 0.1  # of the median norm: a filter below it does next to nothing
OFTEN = 9  # of 24 patches of one class; by chance one of ten classes has so many once in 300 draws


def filter_tile(kernel: np.ndarray, under: str = "") -> Tile:
    """A filter [kh,kw,3] as an image: zero is grey, and the largest |weight| is 0 or 1."""
    return Tile(0.5 + 0.5 * kernel / max(np.abs(kernel).max(), 1e-30), under)


def read_filters(name: str, untrained: np.ndarray, kernels: np.ndarray, learned: bool) -> str:
    """What the filters [C,kh,kw,3] show, in words."""
    norms = np.sqrt((kernels**2).sum(axis=(1, 2, 3)))
    weak = np.flatnonzero(norms < WEAK * np.median(norms))
    text = (
        f"Colourless filters of {name} (brightness and edges): {channels.colourless(kernels).sum()} of {len(kernels)}"
    )
    if not learned:
        return f"{text}. Nothing is learned in {name}: its filters were computed from the training images."
    text += f", untrained {channels.colourless(untrained).sum()}. "
    text += f"Cosine with the untrained filter: {np.median(channels.cosines(untrained, kernels)):.2f} in the median. "
    if len(weak):
        return text + f"Weaker than a tenth of the median norm: {style.listed([str(c) for c in weak])}."
    return text + f"No filter is weaker than a tenth of the median norm, {style.number(np.median(norms))}."


def read_filter_evolution(names: list[str], kernels: list[np.ndarray], learned: bool) -> str:
    """How the filters came to be, in words. kernels: [C,kh,kw,3] at each of the names, the last ones at the end."""
    if not learned:
        return "Nothing is learned in this layer: its filters were computed once, from the training images."
    begin, end = kernels[0], kernels[-1]
    text = (
        f"Cosine of the untrained filters with those at {names[-1]}: "
        f"{np.median(channels.cosines(begin, end)):.2f} in the median of all {len(end)}. "
    )
    way = np.linalg.norm(end - begin)
    left = [np.linalg.norm(end - some) / way for some in kernels[1:-1]] if way else []
    if not left:
        return text
    row = ", ".join(f"{100 * part:.0f} % at {name}" for name, part in zip(names[1:], left))
    halfway = [name for name, part in zip(names[1:], left) if part < 0.5]
    done = f"At {halfway[0]} more" if halfway else f"Before {names[-1]} less"
    return f"{text}Distance left to those: {row} of what it was untrained. {done} than half of the way was done."


def read_channel(channel: int, values: np.ndarray, labels: np.ndarray, class_names) -> str:
    """Which class is most frequent among a channel's strongest images, in words. values, labels [N]."""
    if values.max() == values.min():
        return f"Channel {channel} is {style.number(values[0])} for all {len(values):,} images: a dead channel"
    top = labels[channels.strongest(values)]
    counts = np.bincount(top, minlength=len(class_names))
    most = counts.argmax()
    kind = "" if counts[most] >= OFTEN * len(top) / channels.TOP else ", no class prevails"
    return f"Channel {channel}: {class_names[most]} in {counts[most]} of the top {len(top)}{kind}"


def read_overlap(channel: int, names: list[str], tops: list[np.ndarray]) -> str:
    """How many of the strongest images at the end were so before, in words. tops: at each of the names."""
    row = ", ".join(f"{name}: {len(np.intersect1d(top, tops[-1]))}" for name, top in zip(names, tops[:-1]))
    return f"Of the {len(tops[-1])} strongest images of channel {channel} at {names[-1]} so many were so before: {row}."


class View:
    """A run's network at its newest checkpoint: what every view of this script is drawn from."""

    def __init__(self, args):
        self.args, self.run = args, Run(run_folder.find(args.run, args.runs_dir))
        self.newest = checkpoints.newest(self.run.folder)
        self.trained = restored_network(self.run.folder, self.newest)
        self.fields = receptive_field.receptive_fields(self.trained)
        if args.layer and args.layer not in self.fields:
            raise RunError(f"--layer {args.layer}: not a layer of this network; it has {', '.join(self.fields)}")

    def title(self, what: str) -> str:
        """The title of a figure."""
        return f"{what}: {style.shortened(self.run.name, 24)} on {self.run.data_title}"

    def columns(self, rows: int, most: int) -> int:
        """How many tiles a row has."""
        return ALONE if self.args.panel else image_sheet.columns_beside(rows, most)

    def untrained(self):
        """The network before its first step; a layer in which nothing is learned (whitening) is the trained one's."""
        cnn = untrained_network(self.run.folder)
        cnn.layers = [own if own.parameters else other for own, other in zip(cnn.layers, self.trained.layers)]
        return cnn

    def networks(self) -> list:
        """[(name, network)] in time: untrained, then up to four undamaged checkpoints, evenly spread."""
        folder = self.run.folder
        paths = checkpoints.newest_first(folder, not_after=self.newest.step - 1)[::-1]
        spread = np.unique(np.linspace(0, len(paths) - 1, min(len(paths), ROWS - 2)).round().astype(int))
        found = [("untrained", self.untrained())]
        for path in (paths[i] for i in spread):
            try:
                checkpoint = checkpoints.read(path)
            except checkpoints.CheckpointError as error:
                common.say(f"passed over: {error}")
                continue
            found.append((f"step {checkpoint.step:,}", restored_network(folder, checkpoint)))
        return [*found, (f"step {self.newest.step:,}", self.trained)]


def filter_view(view: View):
    """(rows, title, reading) of the first convolution's filters."""
    layer, kernels = channels.first_convolution(view.trained), channels.filters_of(view.trained)
    if view.args.evolution:
        names, networks = zip(*view.networks())
        series = [channels.filters_of(cnn) for cnn in networks]
        columns = view.columns(len(names), FILTERS)
        order = np.argsort(-(kernels**2).sum(axis=(1, 2, 3)), kind="stable")[:columns]
        numbered = names if view.args.panel else names[-1:]
        rows = [
            (name, [filter_tile(some[c], str(c) if name in numbered else "") for c in order])
            for name, some in zip(names, series)
        ]
        title = f"Evolution of the {len(order)} strongest filters of {layer.name}"
        return rows, view.title(title), read_filter_evolution(list(names), series, bool(layer.parameters))
    untrained = channels.filters_of(view.untrained())
    rows = image_sheet.in_rows([filter_tile(kernel, str(c)) for c, kernel in enumerate(kernels)])
    title = view.title(f"{len(kernels)} filters of {layer.name}, {'×'.join(map(str, kernels.shape[1:]))}")
    return rows, title, read_filters(layer.name, untrained, kernels, bool(layer.parameters))


def patch_view(view: View):
    """(rows, title, reading) of the patches that excite the channels of --layer most."""
    name, field, args = view.args.layer, view.fields[view.args.layer], view.args
    data = data_of(view.run, args.data_dir)
    count = len(data.test_images)
    spread = np.arange(min(args.images, count)) * count // min(args.images, count)
    images, labels = data.test_images[spread], data.test_labels[spread]
    values, where = channels.excitations(view.trained, name, images)
    if args.channel is not None and not 0 <= args.channel < values.shape[1]:
        raise RunError(f"--channel {args.channel}: layer '{name}' has the channels 0 to {values.shape[1] - 1}")
    chosen = channels.outstanding(values) if args.channel is None else np.array([args.channel])

    # From the last dense layer on, channel k is the logit of class k.
    *_, output = (layer.name for layer in view.trained.layers if layer.parameters)
    is_logit = list(view.fields).index(name) >= list(view.fields).index(output)

    def titled(channel: int) -> str:
        return f"{name}, channel {channel}" + f" (logit of {data.class_names[channel]})" * is_logit

    what = (
        f"A patch is the receptive field, {field.size}×{field.size} pixels, of the largest output in an image; "
        f"{len(images):,} {view.run.test_name} images were searched."
    )

    def tiles(values, where, channel, count) -> list[Tile]:
        return [
            Tile(field.patch(images[i], *where[i, channel]), style.shortened(data.class_names[labels[i]], 10))
            for i in channels.strongest(values[:, channel])[:count]
        ]

    if args.evolution:
        channel, rows, tops, networks = int(chosen[0]), [], [], view.networks()
        for step, cnn in networks:
            values, where = channels.excitations(cnn, name, images)
            rows.append((step, tiles(values, where, channel, view.columns(len(networks), PATCHES))))
            tops.append(channels.strongest(values[:, channel]))
        reading = f"{read_overlap(channel, [step for step, _ in rows], tops)} {what}"
        return rows, view.title(f"Evolution of {titled(channel)}"), reading
    reading = ". ".join(read_channel(c, values[:, c], labels, data.class_names) for c in chosen)
    reading += f". By chance a class has {channels.TOP / len(data.class_names):.1f} of {channels.TOP}. {what}"
    if len(chosen) == 1:
        all_tiles = tiles(values, where, chosen[0], channels.TOP)
        rows = [("", all_tiles[start : start + PER_ROW]) for start in range(0, len(all_tiles), PER_ROW)]
        return rows, view.title(f"Patches for {titled(chosen[0])}"), reading
    columns = view.columns(len(chosen), PATCHES)
    rows = [(f"channel {c}", tiles(values, where, c, columns)) for c in chosen]
    return rows, view.title(f"Patches for {name}"), reading


def one_row(rows: list, panel: str) -> tuple[str, list]:
    """(name, rows of its tiles alone) of the row with this name. Raises RunError if there is none."""
    names = [name.replace(",", "").replace(" ", "-") for name, _ in rows]
    if panel not in names:
        raise RunError(f"--panel {panel}: the rows of this figure are {', '.join(names)}")
    name, tiles = rows[names.index(panel)]
    return name, image_sheet.in_rows(tiles)


def main(args) -> None:
    """Draw the view that was asked for and print its reading. Raises RunError for what cannot be drawn."""
    devices.configure(0)
    view = View(args)
    rows, title, reading = patch_view(view) if args.layer else filter_view(view)
    parts = [args.layer, str(args.channel) if args.channel is not None else None, "evolution" if args.evolution else ""]
    parts.append(args.panel)
    if args.panel:
        name, rows = one_row(rows, args.panel)
        title = f"{name[0].upper()}{name[1:]}: {title[0].lower()}{title[1:]}"
    out = args.out or view.run.folder / ("-".join(["filters", *filter(None, parts)]) + ".png")
    image_sheet.draw(rows, title, reading, out)
    common.say(reading, f"drawn    {out}")


if __name__ == "__main__":
    common.answer(main, ARGS)
