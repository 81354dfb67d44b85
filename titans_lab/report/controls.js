// What a reader can change about a figure: the x axis, how much its lines are smoothed, and which series it shows.
const chosen = {};

function labelled(words, element) {
  const label = document.createElement("label");
  label.append(`${words} `, element);
  return label;
}

function selection(words, options, change) {
  const select = document.createElement("select");
  options.forEach((option, index) => select.append(new Option(option, index)));
  select.addEventListener("change", () => change(Number(select.value)));
  return labelled(words, select);
}

function slider(words, most, change) {
  const range = Object.assign(document.createElement("input"), { type: "range", min: 0, max: most, value: 0 });
  const readout = document.createElement("output");
  range.addEventListener("input", () => {
    const reach = Number(range.value);
    readout.textContent = reach ? `mean of ${2 * reach + 1} points` : "";
    change(reach);
  });
  const label = labelled(words, range);
  label.append(readout);
  return label;
}

// Puts a figure's controls above it, once; what they are set to is in `chosen`.
function settled(name, { choices = [], x, smooth }) {
  if (chosen[name]) return chosen[name];
  const state = (chosen[name] = { options: choices.map(() => 0), x: 0, smooth: 0 });
  const row = Object.assign(document.createElement("div"), { className: "controls" });
  const set = (change) => (value) => {
    change(value);
    show();
  };
  choices.forEach(({ label, options }, at) => row.append(selection(label, options, set((value) => (state.options[at] = value)))));
  if (x) row.append(selection("Against", x.map(({ name }) => name), set((value) => (state.x = value))));
  if (smooth) row.append(slider("Smoothing", smooth, set((value) => (state.smooth = value))));
  document.getElementById(name).before(row);
  return state;
}

// A mean over as many neighbours on either side, fewer at the ends: a straight line stays where it is.
function smoothed(values, reach) {
  return values.map((value, at) => {
    const near = Math.min(reach, at, values.length - 1 - at);
    const known = values.slice(at - near, at + near + 1).filter((each) => each !== null);
    return value === null ? null : known.reduce((sum, each) => sum + each, 0) / known.length;
  });
}

function smoothedTrace(trace, reach) {
  if (trace.mode !== "lines") return trace;
  if (trace.fill !== "toself") return { ...trace, y: smoothed(trace.y, reach) };
  const half = trace.y.length / 2; // of a band: up along one edge, back along the other
  return { ...trace, y: [...smoothed(trace.y.slice(0, half), reach), ...smoothed(trace.y.slice(half), reach)] };
}

function titled(axis, text, more) {
  return { ...axis, ...more, title: { ...axis.title, text } };
}

// The figure as its controls are set.
function shaped(name, figure) {
  const { controls } = figure;
  if (!controls) return figure;
  const state = settled(name, controls);
  let { data, layout } = figure;
  if (controls.series) {
    const place = controls.choices.reduce((sum, { options }, at) => sum * options.length + state.options[at], 0);
    const { title, y, range, places } = controls.series[place];
    data = data.map((trace, at) => ({ ...trace, y: y[at] ?? [], ...(places && { x: places[state.x][at] ?? [] }) }));
    layout = { ...layout, yaxis: titled(layout.yaxis, title, range && { range }) };
  }
  if (controls.x) {
    const { title, places, type } = controls.x[state.x];
    const own = controls.series?.some((each) => each.places); // each series has places of its own
    if (!own) data = data.map((trace, at) => ({ ...trace, x: places[at] }));
    layout = { ...layout, xaxis: titled(layout.xaxis, title, type && { type }) };
  }
  if (state.smooth) data = data.map((trace) => smoothedTrace(trace, state.smooth));
  return { data, layout };
}
