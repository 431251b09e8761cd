"""The sections about the network itself: what the page's script moves, and what is said beside it."""

from analysis.report_parts.inside import Inside, as_data
from analysis.report_parts.markup import escaped, json_block
from analysis.support.predictions import Predictions
from analysis.support.run import Run, counted


def explorer(run: Run, found: Predictions, inside: Inside, name: str) -> str:
    """The slider, the images, filters, maps, probabilities and the arithmetic; `name` makes the ids of the page unique.

    The elements are empty: report.js fills them from the data at the end.
    """
    first, last = inside.first, len(inside.steps) - 1
    at = dict(zip(run.epochs["step"].tolist(), run.epochs["test_accuracy"].tolist()))
    accuracies = [round(at[step], 4) if step in at else None for step in inside.steps]
    data = as_data(inside, found.names, accuracies, found.kind)
    kernel = first.kernels.shape[1:]
    size = "×".join(map(str, kernel[:3]))
    some = f"the first {kernel[3]} of its {first.filters} filters" if kernel[3] < first.filters else "all its filters"
    fixed = "" if first.learned else " Nothing is learned in this layer: its filters were computed from the images."
    remarks = "".join(f"<p>{escaped(remark)}</p>" for remark in inside.remarks)
    deep = "".join(
        f'<figure class="maps"><h4>{escaped(layer.name)}, channels '
        f'{escaped(", ".join(map(str, layer.channels)))}</h4><canvas data-layer="{index}" role="img"></canvas></figure>'
        for index, layer in enumerate(inside.layers)
    )
    deep = f'<div class="charts">{deep}</div>' if deep else ""
    return f"""
<div class="inside" data-inside="{name}data">
<div class="controls">
  <label for="{name}checkpoint">Checkpoint: <output class="at"></output></label>
  <input type="range" id="{name}checkpoint" class="checkpoint" min="0" max="{last}" value="{last}" step="1"
    {"disabled" if not last else ""}>
</div>
<fieldset class="images"><legend>Image: {counted(len(inside.images), found.kind + " image")}, of each class a correct
prediction and the most confident mistake</legend></fieldset>
<div class="two">
  <figure class="chosen"><h3>The image</h3><canvas class="image" width="32" height="32" role="img"></canvas>
  <figcaption class="what"></figcaption></figure>
  <figure><h3>Class probabilities</h3><ol class="probabilities"></ol></figure>
</div>
<h3>Filters of {escaped(first.name)} and their feature maps</h3>
<p>{size}, {escaped(some)}. Left of each pair the filter (grey is 0), right of it what the filter makes of the image:
orange is positive, blue negative.{fixed}</p>
<fieldset class="filters"><legend>Choose a filter for the arithmetic below</legend></fieldset>
<h3>Deeper layers</h3>
<p>The {counted(max((len(layer.channels) for layer in inside.layers), default=0), "channel")} of a layer that differ
most from image to image. Dark is 0; bright is what one in a hundred of the channel's values on these images and
checkpoints exceeds.</p>
{deep or "<p>This network has no deeper layer with rows and columns.</p>"}
{remarks}
<h3 class="subject">The arithmetic of one output pixel</h3>
<p>Move over the feature map, or focus it and use the arrow keys. y = b + the sum of x · k over the rows, columns and
colours of the patch, x standardized: (pixel / 255 − mean) / std of its colour.</p>
<div class="arithmetic">
  <figure><h4>Image with the patch</h4><canvas class="patch" width="320" height="320" role="img"
    aria-label="the image with the patch outlined"></canvas></figure>
  <figure><h4>Feature map of filter <span class="filter-number"></span></h4><canvas class="map" width="320" height="320"
    tabindex="0" role="application" aria-roledescription="feature map"
    aria-label="feature map; the arrow keys move the output pixel" aria-describedby="{name}sum"></canvas></figure>
</div>
<div class="wide sums" tabindex="0" role="region" aria-label="patch, kernel and products"></div>
<p class="sum" id="{name}sum" aria-live="polite"></p>
{json_block(name + "data", data)}
<noscript><p class="missing">This section needs JavaScript.</p></noscript>
</div>"""
