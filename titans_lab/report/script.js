// Draws the figures in the colours of the page: light, dark, and light again on paper.
const drawing = JSON.parse(document.getElementById("drawing").textContent);
const LEGEND_ROW = 30;
const config = { ...drawing.config, displayModeBar: window.matchMedia("(hover: hover)").matches ? "hover" : false };
const darkness = window.matchMedia("(prefers-color-scheme: dark)");

function recoloured(value, colours) {
  if (typeof value === "string") return colours[value] ?? value;
  if (Array.isArray(value)) return value.map((each) => recoloured(each, colours));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, recoloured(each, colours)]));
}

// A legend of many rows grows the figure instead of shrinking what is drawn.
async function makeRoom(element, layout) {
  const legend = element.querySelector(".legend .bg");
  const height = layout.height + Math.max(0, (legend?.getBoundingClientRect().height ?? 0) - LEGEND_ROW);
  element.style.height = `${height}px`;
  if (height > layout.height) await Plotly.relayout(element, { height });
}

async function draw(dark) {
  const colours = dark ? drawing.dark : {};
  for (const [name, figure] of Object.entries(drawing.figures)) {
    const { data, layout } = recoloured(figure, colours);
    await Plotly.react(name, data, layout, config);
    await makeRoom(document.getElementById(name), layout);
  }
  document.documentElement.dataset.drawn = Object.keys(drawing.figures).length;
}

draw(darkness.matches);
darkness.addEventListener("change", (event) => draw(event.matches));
window.addEventListener("beforeprint", () => draw(false));
window.addEventListener("afterprint", () => draw(darkness.matches));
