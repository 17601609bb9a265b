"use strict";

/* Tables: click or press Enter on a heading to sort. Cells without a number always come last. */
(function () {
  function numberOf(cell) {
    const text = cell.dataset.value !== undefined && cell.dataset.value !== "" ? cell.dataset.value : cell.textContent;
    const value = Number(text.replace("−", "-"));
    return text.trim() === "" || Number.isNaN(value) ? null : value;
  }
  function compare(first, second, column, sign) {
    const a = first.cells[column], b = second.cells[column];
    const x = numberOf(a), y = numberOf(b);
    if (x !== null && y !== null) return sign * (x - y);
    if (x === null && y === null) return sign * a.textContent.localeCompare(b.textContent, undefined, { numeric: true });
    return x === null ? 1 : -1;
  }
  function sort(heading) {
    const table = heading.closest("table"), body = table.tBodies[0];
    const column = heading.cellIndex;
    const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const rows = Array.from(body.rows).sort((a, b) => compare(a, b, column, sign));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    body.append(...rows);
  }
  for (const heading of document.querySelectorAll("table.sortable thead th")) {
    heading.tabIndex = 0;
    heading.addEventListener("click", () => sort(heading));
    heading.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(heading); }
    });
  }
})();

/* Tabs: one panel of a section at a time. On paper all are shown, and every folded part is open. */
(function () {
  for (const list of document.querySelectorAll(".tabs")) {
    for (const tab of list.children) {
      tab.addEventListener("click", () => {
        for (const other of list.children) {
          const mine = other === tab;
          other.setAttribute("aria-selected", String(mine));
          document.getElementById(other.getAttribute("aria-controls")).classList.toggle("away", !mine);
        }
      });
    }
  }
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = Array.from(document.querySelectorAll("details:not([open])"));
    for (const part of opened) part.open = true;
  });
  window.addEventListener("afterprint", () => { for (const part of opened) part.open = false; });
})();

/* Case viewer: volumes come as one picture of tiles each and are cut along any axis here. */
(function () {
  const source = document.getElementById("viewer-data");
  if (!source) return;
  const content = JSON.parse(source.textContent);
  const steps = content.steps;
  const element = (name) => document.getElementById("v-" + name);
  const canvas = element("canvas"), pen = canvas.getContext("2d");
  const small = document.createElement("canvas"), smallPen = small.getContext("2d");
  const state = { case: null, axis: 2, slices: [0, 0, 0], layers: {}, wanted: 0, geometry: null };
  const colours = {};
  for (const [label, entry] of Object.entries(content.labels)) {
    colours[label] = [1, 3, 5].map((i) => parseInt(entry.colour.slice(i, i + 2), 16));
  }

  /* Cividis: even steps of lightness, the same for colour-blind readers. */
  const stops = [[0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115], [138, 134, 120], [165, 156, 116], [195, 179, 105], [225, 204, 85], [254, 232, 56]];
  const ramp = Array.from({ length: steps + 1 }, (_, step) => {
    const at = step / steps * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2);
    return stops[low].map((value, i) => value + (stops[low + 1][i] - value) * (at - low));
  });

  function load(address) {
    return new Promise((resolve, reject) => {
      const picture = new Image();
      picture.onload = () => resolve(picture);
      picture.onerror = () => reject(new Error("a picture of the viewer cannot be decoded"));
      picture.src = address;
    });
  }
  async function decode(address, shape) {
    const picture = await load(address);
    const [rows, columns, slices] = shape;
    const sheet = document.createElement("canvas");
    sheet.width = picture.naturalWidth;
    sheet.height = picture.naturalHeight;
    const context = sheet.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0);
    const pixels = context.getImageData(0, 0, sheet.width, sheet.height).data;
    const wide = sheet.width / columns;
    const volume = new Uint8Array(rows * columns * slices);
    for (let k = 0; k < slices; k++) {
      const top = Math.floor(k / wide) * rows, left = (k % wide) * columns;
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < columns; j++) {
          volume[(i * columns + j) * slices + k] = pixels[((top + i) * sheet.width + left + j) * 4];
        }
      }
    }
    return volume;
  }
  /* Volumes of the case shown are kept; another case lets them go. */
  async function volume(address) {
    if (!state.layers[address]) state.layers[address] = decode(address, state.case.shape);
    return state.layers[address];
  }

  /* Rows run down and columns to the right; of a volume the earlier axis runs right, the later one up. */
  function plane() {
    const { shape, spacing, flat } = state.case;
    const strides = [shape[1] * shape[2], shape[2], 1];
    const across = state.axis;
    const [first, second] = [0, 1, 2].filter((axis) => axis !== across);
    const right = flat ? 1 : first, down = flat ? 0 : second;
    const flip = !flat;
    const base = state.slices[across] * strides[across];
    return {
      across, right, down, columns: shape[right], rows: shape[down],
      mm: [spacing[right], spacing[down]],
      at: (row, column) => base + column * strides[right] + (flip ? shape[down] - 1 - row : row) * strides[down],
      voxel: (row, column) => {
        const place = [0, 0, 0];
        place[across] = state.slices[across];
        place[right] = column;
        place[down] = flip ? shape[down] - 1 - row : row;
        return flat ? place.slice(0, 2) : place;
      },
    };
  }

  function method() { return state.case.methods[element("method").value] || {}; }
  const available = {
    image: () => true,
    reference: () => Boolean(state.case.reference),
    prediction: () => Boolean(method().labels),
    soft: () => Boolean(method().soft),
    target: () => Boolean(method().target),
    uncertainty: () => Boolean(method().uncertainty),
  };
  const shown = (name) => available[name]() && element(name).checked;

  async function draw() {
    const turn = ++state.wanted;
    for (const name of Object.keys(available)) {
      element(name).disabled = !available[name]();
      element(name).parentElement.classList.toggle("missing", !available[name]());
    }
    const said = method(), structure = Number(element("structure").value || 1);
    const chosen = (maps) => (maps ? maps[Math.min(structure, maps.length) - 1] : null);
    const wanted = {
      image: state.case.image,
      reference: state.case.reference,
      prediction: said.labels,
      soft: chosen(said.soft),
      target: chosen(said.target),
      uncertainty: said.uncertainty,
    };
    const found = {};
    for (const name of Object.keys(wanted)) {
      if (wanted[name] && (shown(name) || name === "reference" || name === "prediction")) found[name] = await volume(wanted[name]);
    }
    if (turn !== state.wanted) return;
    paint(found);
    readings(found);
  }

  function paint(found) {
    const cut = plane(), opacity = Number(element("opacity").value) / 100;
    small.width = cut.columns;
    small.height = cut.rows;
    const picture = smallPen.createImageData(cut.columns, cut.rows), pixels = picture.data;
    for (let row = 0; row < cut.rows; row++) {
      for (let column = 0; column < cut.columns; column++) {
        const voxel = cut.at(row, column), at = (row * cut.columns + column) * 4;
        const grey = shown("image") ? found.image[voxel] : 0;
        let colour = [grey, grey, grey];
        const lay = (over, strength) => { colour = colour.map((value, i) => value * (1 - strength) + over[i] * strength); };
        for (const name of ["target", "soft", "uncertainty"]) {
          if (shown(name) && found[name][voxel] > 0) lay(ramp[Math.min(found[name][voxel], steps)], opacity);
        }
        if (shown("prediction") && found.prediction[voxel]) lay(colours[found.prediction[voxel]], opacity);
        pixels[at] = colour[0];
        pixels[at + 1] = colour[1];
        pixels[at + 2] = colour[2];
        pixels[at + 3] = 255;
      }
    }
    smallPen.putImageData(picture, 0, 0);
    const room = Math.max(240, canvas.parentElement.clientWidth), tall = 560;
    const scale = Math.min(room / (cut.columns * cut.mm[0]), tall / (cut.rows * cut.mm[1]));
    const width = Math.round(cut.columns * cut.mm[0] * scale), height = Math.round(cut.rows * cut.mm[1] * scale);
    const dense = window.devicePixelRatio || 1;
    canvas.style.width = width + "px";
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, 0, 0, canvas.width, canvas.height);
    state.geometry = cut;
    if (shown("reference")) outline(found.reference, cut, dense);
  }

  /* The outline follows the voxels' edges, each structure in its colour over a dark casing. */
  function outline(labels, cut, dense) {
    const wide = canvas.width / cut.columns, tall = canvas.height / cut.rows;
    const paths = {};
    const value = (row, column) => (row < 0 || column < 0 || row >= cut.rows || column >= cut.columns ? 0 : labels[cut.at(row, column)]);
    for (let row = 0; row <= cut.rows; row++) {
      for (let column = 0; column <= cut.columns; column++) {
        const here = value(row, column);
        for (const [other, toRow, toColumn] of [[value(row - 1, column), row, column + 1], [value(row, column - 1), row + 1, column]]) {
          if (here === other) continue;
          for (const label of [here, other]) {
            if (!label) continue;
            paths[label] = paths[label] || new Path2D();
            paths[label].moveTo(column * wide, row * tall);
            paths[label].lineTo(toColumn * wide, toRow * tall);
          }
        }
      }
    }
    pen.lineCap = "round";
    for (const [width, ink] of [[4, () => "rgba(0,0,0,.75)"], [2, (label) => content.labels[label].colour]]) {
      for (const label of Object.keys(paths)) {
        pen.lineWidth = width * dense;
        pen.strokeStyle = ink(label);
        pen.stroke(paths[label]);
      }
    }
  }

  function readings(found) {
    state.found = found;
    const said = method(), slice = state.slices[state.axis], count = state.case.shape[state.axis];
    element("slice-text").textContent = state.case.flat ? "(one)" : slice + 1 + " of " + count;
    canvas.dataset.slice = String(slice);
    canvas.dataset.case = state.case.name;
    element("opacity-text").textContent = element("opacity").value + " %";
    const scores = Object.entries(state.case.dice || {}).map(([name, value]) => name + " " + value.toFixed(3));
    element("scores").textContent = scores.length ? "Mean Dice of this case: " + scores.join(" · ") : "";
    const bar = element("bar"), words = element("bar-text");
    const name = ["uncertainty", "soft", "target"].find(shown);
    bar.hidden = !name;
    words.textContent = "";
    if (!name) return;
    const [low, high] = range(name);
    words.textContent = low + " to " + high + (name === "uncertainty" ? " uncertainty" : name === "soft" ? " soft prediction" : " soft label");
    const context = bar.getContext("2d");
    for (let x = 0; x < bar.width; x++) {
      context.fillStyle = "rgb(" + ramp[Math.round(x / (bar.width - 1) * steps)].map(Math.round).join(",") + ")";
      context.fillRect(x, 0, 1, bar.height);
    }
  }
  function range(name) {
    if (name === "uncertainty") return [0, Number(method().largest.toPrecision(3))];
    return method().kind === "signed" ? [-1, 1] : [0, 1];
  }

  function read(event) {
    const cut = state.geometry, box = canvas.getBoundingClientRect();
    if (!cut || !state.found) return;
    const column = Math.floor((event.clientX - box.left) / box.width * cut.columns);
    const row = Math.floor((event.clientY - box.top) / box.height * cut.rows);
    if (row < 0 || column < 0 || row >= cut.rows || column >= cut.columns) return;
    const voxel = cut.at(row, column);
    const named = (label) => (label ? content.labels[label].name : "background");
    const words = ["voxel (" + cut.voxel(row, column).join(", ") + ")"];
    if (state.found.reference) words.push("reference: " + named(state.found.reference[voxel]));
    if (state.found.prediction) words.push("prediction: " + named(state.found.prediction[voxel]));
    for (const [name, title] of [["soft", "soft prediction"], ["target", "soft label"], ["uncertainty", "uncertainty"]]) {
      if (!shown(name) || !state.found[name]) continue;
      const [low, high] = range(name);
      words.push(title + ": " + (low + state.found[name][voxel] / steps * (high - low)).toFixed(2));
    }
    element("readout").textContent = words.join(" · ");
  }

  function go(slice) {
    const count = state.case.shape[state.axis];
    state.slices[state.axis] = Math.max(0, Math.min(count - 1, slice));
    element("slice").value = String(state.slices[state.axis]);
    return draw();
  }
  function chooseAxis(axis) {
    state.axis = axis;
    element("axis").value = String(axis);
    const slider = element("slice");
    slider.max = String(state.case.shape[axis] - 1);
    slider.disabled = state.case.shape[axis] === 1;
    return go(state.slices[axis]);
  }
  function fill(select, entries, keep) {
    select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
    if (entries.some(([value]) => value === keep)) select.value = keep;
  }
  function chooseCase(name) {
    state.case = content.cases.find((entry) => entry.name === name);
    state.layers = {};
    state.slices = state.case.start.slice();
    element("case").value = name;
    fill(element("method"), Object.keys(state.case.methods).map((key) => [key, key]), element("method").value);
    chooseMethod();
    element("axis-field").hidden = state.case.flat;
    return chooseAxis(state.case.axis);
  }
  function chooseMethod() {
    const maps = method().soft || method().target || [];
    const entries = maps.map((_, i) => [String(i + 1), (content.labels[i + 1] || { name: "structure " + (i + 1) }).name]);
    fill(element("structure"), entries, element("structure").value);
  }
  function order() {
    const kind = element("order").value, cases = content.cases.slice();
    const mean = (entry) => (entry.mean === null || entry.mean === undefined ? Infinity : entry.mean);
    if (kind === "name") cases.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
    else cases.sort((a, b) => (kind === "best" && mean(a) !== mean(b) && isFinite(mean(a)) && isFinite(mean(b)) ? mean(b) - mean(a) : mean(a) === mean(b) ? 0 : mean(a) - mean(b)));
    fill(element("case"), cases.map((entry) => [entry.name, entry.name + (isFinite(mean(entry)) ? " · " + entry.mean.toFixed(3) : "")]), "");
    return chooseCase(cases[0].name);
  }
  function step(by) {
    const select = element("case"), next = select.selectedIndex + by;
    if (next >= 0 && next < select.options.length) chooseCase(select.options[next].value);
  }

  const key = Object.values(content.labels).map((entry) => {
    const item = document.createElement("li"), patch = document.createElement("i");
    patch.style.background = entry.colour;
    item.append(patch, entry.name);
    return item;
  });
  element("key").append(...key);
  element("order").addEventListener("change", order);
  element("case").addEventListener("change", () => chooseCase(element("case").value));
  element("previous").addEventListener("click", () => step(-1));
  element("next").addEventListener("click", () => step(1));
  element("method").addEventListener("change", () => { chooseMethod(); draw(); });
  element("axis").addEventListener("change", () => chooseAxis(Number(element("axis").value)));
  element("structure").addEventListener("change", draw);
  element("slice").addEventListener("input", () => go(Number(element("slice").value)));
  element("opacity").addEventListener("input", draw);
  for (const name of Object.keys(available)) element(name).addEventListener("change", draw);
  canvas.addEventListener("mousemove", read);
  canvas.addEventListener("wheel", (event) => {
    if (state.case.flat || event.ctrlKey) return;
    event.preventDefault();
    go(state.slices[state.axis] + Math.sign(event.deltaY));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    go(state.slices[state.axis] + by);
  });
  let width = window.innerWidth;
  window.addEventListener("resize", () => { if (window.innerWidth !== width) { width = window.innerWidth; draw(); } });
  for (const row of document.querySelectorAll("#case-lines tbody tr")) {
    const name = row.cells[0].textContent;
    if (!content.cases.some((entry) => entry.name === name)) continue;
    const link = document.createElement("a");
    link.href = "#viewer";
    link.textContent = name;
    link.addEventListener("click", () => chooseCase(name));
    row.cells[0].replaceChildren(link);
  }
  order();
})();
