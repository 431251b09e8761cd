"use strict";
// The moving parts of the page: theme, x axis, copy buttons, and the network at its checkpoints. No library.

const SIGNS = { negative: [0, 114, 178], zero: [247, 247, 247], positive: [213, 94, 0] };

function all(selector, root = document) { return [...root.querySelectorAll(selector)]; }

function bytes(text) { return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)); }

function floats(text) {
  const view = new DataView(bytes(text).buffer);
  return Float32Array.from({ length: view.byteLength / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// A number in [-1, 1] as a colour: blue, white, orange.
function signed(value) {
  const end = value < 0 ? SIGNS.negative : SIGNS.positive;
  const part = Math.min(Math.abs(value), 1);
  return SIGNS.zero.map((zero, i) => Math.round(zero + part * (end[i] - zero)));
}

function css(colour) { return `rgb(${colour.join(" ")})`; }

// Draw height x width pixels, colour(row, column) -> [r, g, b], into a canvas of that size.
function paint(canvas, height, width, colour) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let row = 0, i = 0; row < height; row++) {
    for (let column = 0; column < width; column++, i += 4) {
      const [r, g, b] = colour(row, column);
      image.data.set([r, g, b, 255], i);
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const added = (value) => (value < 0 ? " − " : " + ") + Math.abs(value).toFixed(3);

const digits = (value) => (value < 0 ? "−" : "") + Math.abs(value).toFixed(3);

// The first convolution, as core/layers/convolution.py defines it: y = b + sum of x k.
class Convolution {
  constructor(data, mean, std, side = 32) {
    Object.assign(this, { side, mean, std, stride: data.stride });
    [this.kh, this.kw, this.colours, this.filters] = data.shape;
    this.kernels = data.kernels.map(floats);
    this.biases = data.biases && data.biases.map(floats);
    const same = data.padding === "SAME";
    const positions = (k) => (same ? Math.ceil(side / this.stride) : Math.floor((side - k) / this.stride) + 1);
    const before = (k, n) => (same ? Math.floor(Math.max((n - 1) * this.stride + k - side, 0) / 2) : 0);
    this.rows = positions(this.kh);
    this.columns = positions(this.kw);
    this.above = before(this.kh, this.rows);
    this.left = before(this.kw, this.columns);
  }

  standardized(pixels) {
    return Float64Array.from(pixels, (pixel, i) => (pixel / 255 - this.mean[i % 3]) / this.std[i % 3]);
  }

  weight(checkpoint, u, v, c, filter) {
    return this.kernels[checkpoint][((u * this.kw + v) * this.colours + c) * this.filters + filter];
  }

  bias(checkpoint, filter) { return this.biases ? this.biases[checkpoint][filter] : 0; }

  // The input below kernel position (u, v) at output (row, column): 0 in the padding.
  input(x, row, column, u, v, c) {
    const i = row * this.stride + u - this.above, j = column * this.stride + v - this.left;
    return i < 0 || j < 0 || i >= this.side || j >= this.side ? 0 : x[(i * this.side + j) * 3 + c];
  }

  output(x, checkpoint, filter, row, column) {
    let sum = 0;
    for (let u = 0; u < this.kh; u++)
      for (let v = 0; v < this.kw; v++)
        for (let c = 0; c < 3; c++)
          sum += this.input(x, row, column, u, v, c) * this.weight(checkpoint, u, v, c, filter);
    return sum + this.bias(checkpoint, filter);
  }

  map(x, checkpoint, filter) {
    const y = new Float64Array(this.rows * this.columns);
    for (let row = 0, i = 0; row < this.rows; row++)
      for (let column = 0; column < this.columns; column++)
        y[i++] = this.output(x, checkpoint, filter, row, column);
    return y;
  }
}

function largest(values) { return values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12); }

// One run's network: what the reader chose, and everything that follows from it.
class Inside {
  constructor(root) {
    this.root = root;
    this.data = JSON.parse(document.getElementById(root.dataset.inside).textContent);
    this.part = (selector) => root.querySelector(selector);
    this.convolution = new Convolution(this.data.first, this.data.mean, this.data.std);
    this.pixels = this.data.images.map((image) => bytes(image.pixels));
    this.inputs = this.pixels.map((pixels) => this.convolution.standardized(pixels));
    this.checkpoint = this.data.steps.length - 1;
    this.image = this.filter = 0;
    this.position = [this.convolution.rows >> 1, this.convolution.columns >> 1];
    this.sheets = this.data.layers.map((layer) => layer.sheets.map((source) => Object.assign(new Image(), { src: source })));
    this.choices(".images", this.data.images.length, (i) => this.thumbnail(i), (i) => { this.image = i; this.show(); });
    this.choices(".filters", this.convolution.filters, (i) => this.pair(i), (i) => { this.filter = i; this.show(); });
    this.part(".checkpoint").addEventListener("input", (event) => {
      this.checkpoint = Number(event.target.value);
      this.show();
    });
    const map = this.part(".map");
    map.addEventListener("pointermove", (event) => this.point(event));
    map.addEventListener("pointerdown", (event) => this.point(event));
    map.addEventListener("keydown", (event) => this.key(event));
    this.show();
    Promise.all(this.sheets.flat().map((image) => image.decode().catch(() => {}))).then(() => this.deeper());
  }

  // What the reader chose, in numbers that mean the same in a later page of this run.
  state() {
    const { data, checkpoint, image, filter, position } = this, last = checkpoint === data.steps.length - 1;
    return { step: last ? null : data.steps[checkpoint], image: data.images[image].number, filter, position };
  }

  // Choose it again: the last checkpoint stays the last one; of others the nearest that is still there.
  restore({ step, image, filter, position }) {
    const { steps, images } = this.data, distance = (i) => Math.abs(steps[i] - step);
    const last = steps.length - 1;
    this.checkpoint = step === null ? last : steps.reduce((best, _, i) => (distance(i) < distance(best) ? i : best), 0);
    this.image = Math.max(images.findIndex(({ number }) => number === image), 0);
    this.filter = filter < this.convolution.filters ? filter : 0;
    this.position = position;
    this.part(".checkpoint").value = this.checkpoint;
    all(".images input", this.root)[this.image].checked = true;
    all(".filters input", this.root)[this.filter].checked = true;
    this.show();
  }

  // A radio button for each of `count` things, with what `face` draws as its label.
  choices(selector, count, face, choose) {
    const group = this.part(selector);
    const name = this.root.dataset.inside + selector;
    for (let i = 0; i < count; i++) {
      const input = element("input", { type: "radio", name, value: i, checked: i === 0 });
      input.addEventListener("change", () => choose(i));
      group.append(element("label", {}, input, face(i)));
    }
  }

  thumbnail(i) {
    const canvas = element("canvas"), image = this.data.images[i];
    paint(canvas, 32, 32, (row, column) => this.colour(i, row, column));
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${this.data.testName} image ${image.number}, ${this.data.classes[image.label]}`);
    return canvas;
  }

  pair(i) {
    const name = (what) => `${what} ${i}`;
    const parts = ["filter", "feature map of filter"].map((what) => {
      const canvas = element("canvas");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", name(what));
      return canvas;
    });
    return element("span", { className: "pair" }, ...parts, element("small", { textContent: i }));
  }

  colour(i, row, column) {
    const at = 3 * (32 * row + column);
    return this.pixels[i].subarray(at, at + 3);
  }

  show() {
    const { data, checkpoint, image } = this, step = data.steps[checkpoint];
    const at = step ? `step ${step.toLocaleString("en")}` : "untrained network";
    const accuracy = data.accuracies[checkpoint];
    const text = at + (accuracy === null ? "" : `, ${data.testName} accuracy ${(100 * accuracy).toFixed(1)} %`);
    this.part(".at").textContent = text;
    this.part(".checkpoint").setAttribute("aria-valuetext", text);
    this.when = at;
    const { label, number } = data.images[image];
    paint(this.part(".image"), 32, 32, (row, column) => this.colour(image, row, column));
    this.part(".image").setAttribute("aria-label", `${data.testName} image ${number}, ${data.classes[label]}`);
    this.part(".what").textContent = `${data.testName} image ${number}, true class ${data.classes[label]}`;
    this.probabilities();
    this.filters();
    this.deeper();
    this.arithmetic();
  }

  probabilities() {
    const { data } = this, values = data.probabilities[this.checkpoint][this.image];
    const label = data.images[this.image].label, best = values.indexOf(Math.max(...values));
    this.part(".probabilities").replaceChildren(...values.map((value, k) => {
      const bar = element("span", { className: "bar" }, element("i"));
      bar.firstChild.style.width = `${100 * value}%`;
      const note = [k === label && "true class", k === best && "predicted"].filter(Boolean).join(", ");
      const row = element("li", { className: k === label ? "right" : k === best ? "wrong" : "" },
        element("span", { className: "name", textContent: data.classes[k] }), bar,
        element("span", { className: "value", textContent: `${(100 * value).toFixed(1)} %` }),
        element("span", { className: "note", textContent: note }));
      row.dataset.probability = value;
      return row;
    }));
  }

  filters() {
    const { convolution: c, checkpoint } = this, x = this.inputs[this.image];
    all(".filters label", this.root).forEach((label, filter) => {
      const [kernel, map] = all("canvas", label);
      const at = (row, column) => [0, 1, 2].map((colour) => c.weight(checkpoint, row, column, colour, filter));
      let most = 1e-12;
      for (let u = 0; u < c.kh; u++) for (let v = 0; v < c.kw; v++) most = Math.max(most, largest(at(u, v)));
      paint(kernel, c.kh, c.kw, (row, column) => at(row, column).map((w) => 127.5 * (1 + w / most)));
      const y = c.map(x, checkpoint, filter), scale = largest(y);
      paint(map, c.rows, c.columns, (row, column) => signed(y[row * c.columns + column] / scale));
    });
  }

  deeper() {
    this.data.layers.forEach((layer, index) => {
      const canvas = this.part(`[data-layer="${index}"]`), { height, width, channels } = layer;
      const sheet = this.sheets[index][this.checkpoint], scale = Math.max(Math.round(64 / height), 1), gap = 4;
      const columns = Math.min(channels.length, 6), rows = Math.ceil(channels.length / columns);
      canvas.width = columns * (width * scale + gap) - gap;
      canvas.height = rows * (height * scale + gap) - gap;
      canvas.setAttribute("aria-label",
        `${layer.name}, ${this.when}: feature maps of the channels ${channels.join(", ")}`);
      if (!sheet.complete || !sheet.naturalWidth) return;
      const pen = canvas.getContext("2d");
      pen.imageSmoothingEnabled = false;
      channels.forEach((_, i) => pen.drawImage(sheet, i * width, this.image * height, width, height,
        (i % columns) * (width * scale + gap), Math.floor(i / columns) * (height * scale + gap), width * scale,
        height * scale));
    });
  }

  point(event) {
    const c = this.convolution, box = event.currentTarget.getBoundingClientRect();
    const inside = (part, count) => Math.min(Math.max(Math.floor(part * count), 0), count - 1);
    this.position = [inside((event.clientY - box.top) / box.height, c.rows),
      inside((event.clientX - box.left) / box.width, c.columns)];
    this.arithmetic();
  }

  key(event) {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!move) return;
    event.preventDefault();
    const c = this.convolution, [row, column] = this.position;
    this.position = [Math.min(Math.max(row + move[0], 0), c.rows - 1),
      Math.min(Math.max(column + move[1], 0), c.columns - 1)];
    this.arithmetic();
  }

  arithmetic() {
    const { convolution: c, checkpoint, filter } = this, x = this.inputs[this.image], [row, column] = this.position;
    const y = c.map(x, checkpoint, filter), scale = largest(y), map = this.part(".map"), patch = this.part(".patch");
    this.part(".filter-number").textContent = filter;
    this.enlarged(map, c.rows, c.columns, (i, j) => signed(y[i * c.columns + j] / scale), [row, column, 1, 1]);
    const top = row * c.stride - c.above, left = column * c.stride - c.left;
    this.enlarged(patch, 32, 32, (i, j) => this.colour(this.image, i, j), [top, left, c.kh, c.kw]);

    const sums = [0, 0, 0], blocks = ["red", "green", "blue"].map((name, colour) => {
      const patchCells = [], kernelCells = [], products = [];
      for (let u = 0; u < c.kh; u++) {
        for (let v = 0; v < c.kw; v++) {
          const input = c.input(x, row, column, u, v, colour), weight = c.weight(checkpoint, u, v, colour, filter);
          patchCells.push(input);
          kernelCells.push(weight);
          products.push(input * weight);
          sums[colour] += input * weight;
        }
      }
      return [name, patchCells, kernelCells, products, sums[colour]];
    });
    const most = [2, 3].map((part) => largest(blocks.flatMap((block) => block[part])));

    this.part(".sums").replaceChildren(...blocks.map(([name, patchCells, kernelCells, products, total]) =>
      element("div", { className: "colour" }, element("b", { textContent: name }),
        this.grid("patch x", patchCells, 3), "·", this.grid("kernel k", kernelCells, most[0]), "=",
        this.grid("products x · k", products, most[1]),
        element("span", { className: "of-colour", textContent: `Σ ${digits(total)}` }))));
    const bias = c.bias(checkpoint, filter), value = sums[0] + sums[1] + sums[2] + bias;
    const sum = this.part(".sum");
    sum.dataset.row = row;
    sum.dataset.column = column;
    sum.dataset.value = value;
    sum.textContent = `Row ${row}, column ${column}, ${this.when}: y = ${digits(sums[0])} (red)${added(sums[1])} ` +
      `(green)${added(sums[2])} (blue)${added(bias)} (bias) = ${digits(value)}.` +
      (this.data.first.next === "ReLU" ? ` The ReLU behind it passes on ${digits(Math.max(value, 0))}.` : "");
  }

  // Pixels as large squares, and a frame around some of them: [row, column, rows, columns].
  enlarged(canvas, height, width, colour, frame) {
    const small = element("canvas"), pen = canvas.getContext("2d"), scale = canvas.width / Math.max(height, width);
    paint(small, height, width, colour);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, 0, 0, width * scale, height * scale);
    const [top, left, rows, columns] = frame.map((value) => value * scale);
    for (const [style, thickness] of [["white", 5], ["black", 2]]) {
      pen.strokeStyle = style;
      pen.lineWidth = thickness;
      pen.strokeRect(left, top, columns, rows);
    }
  }

  grid(name, values, scale) {
    const { kw } = this.convolution, body = element("tbody");
    for (let i = 0; i < values.length; i += kw) {
      body.append(element("tr", {}, ...values.slice(i, i + kw).map((value) => {
        const cell = element("td", { textContent: digits(value) });
        const colour = signed(value / scale);
        cell.style.background = css(colour);
        cell.style.color = 0.3 * colour[0] + 0.6 * colour[1] + 0.1 * colour[2] < 140 ? "white" : "black";
        cell.dataset.value = value;
        return cell;
      })));
    }
    return element("table", {}, element("caption", { textContent: name }), body);
  }
}

// Which of the drawn x axes is shown.
for (const group of all("[data-axes]")) {
  const choose = (value) => { group.dataset.axes = value; };
  for (const input of all("input[type=radio].x", group)) {
    input.addEventListener("change", () => choose(input.value));
    if (input.checked) choose(input.value);
  }
}

for (const button of all(".copy")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(code); // pages from file:// may not write to the clipboard everywhere
      button.textContent = "selected";
    }
    setTimeout(() => { button.textContent = "copy"; }, 2000);
  });
}

const theme = document.querySelector("#theme");
theme.addEventListener("change", () => {
  if (theme.value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
});

addEventListener("beforeprint", () => all("details").forEach((details) => { details.open = true; }));

const explorers = all("[data-inside]").map((root) => new Inside(root));
