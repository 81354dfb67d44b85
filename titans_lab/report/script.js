// Draws the figures in the colours of the page: light, dark, and light again on paper. Shows the SQL on demand.
const settings = JSON.parse(document.getElementById("settings").textContent);
const statements = JSON.parse(document.getElementById("evidence").textContent);
const figures = [...document.querySelectorAll("script[data-figure]")].map((each) => [each.dataset.figure, JSON.parse(each.textContent)]);
const LEGEND_ROW = 30;
const config = { ...settings.config, displayModeBar: window.matchMedia("(hover: hover)").matches ? "hover" : false };
const preference = window.matchMedia("(prefers-color-scheme: dark)");
const theme = document.getElementById("theme");

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
  const colours = dark ? settings.dark : {};
  for (const [name, figure] of figures) {
    const { data, layout } = recoloured(shaped(name, figure), colours);
    await Plotly.react(name, data, layout, config);
    await makeRoom(document.getElementById(name), layout);
  }
  document.documentElement.dataset.drawn = figures.length;
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : preference.matches;
}

function show() {
  theme.textContent = isDark() ? "Light mode" : "Dark mode";
  return draw(isDark());
}

theme.hidden = false;
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  show();
});
show();
preference.addEventListener("change", show);
window.addEventListener("beforeprint", () => draw(false));
window.addEventListener("afterprint", show);

for (const details of document.querySelectorAll("details.evidence")) {
  details.addEventListener("toggle", () => {
    if (details.querySelector("pre")) return;
    for (const name of details.dataset.statements.split(" ")) {
      const code = document.createElement("pre");
      code.tabIndex = 0;
      code.textContent = statements[name].sql;
      details.append(code);
    }
  });
}
