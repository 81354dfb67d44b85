// Tables that sort by a column and show their main columns first on a narrow screen, and the filter of the runs.
const collator = new Intl.Collator("en", { numeric: true });

function key(row, column) {
  const cell = row.cells[column];
  const value = cell.dataset.value ?? cell.textContent.trim();
  if (value === "" || value === "–") return null;
  const number = Number(value.replace(/^\+/, "").replaceAll(",", ""));
  return Number.isNaN(number) ? value : number;
}

function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return collator.compare(String(one), String(other));
}

// What is missing stays last, whichever way the rest goes.
function sort(table, column, sign) {
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: key(row, column) }));
  rows.sort((one, other) => {
    if (one.key === null || other.key === null) return (one.key === null) - (other.key === null);
    return sign * compare(one.key, other.key);
  });
  table.tBodies[0].append(...rows.map(({ row }) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      sort(table, column, sign);
    });
  });
}

for (const region of document.querySelectorAll(".wide")) {
  if (!region.querySelector(".minor")) continue;
  const button = Object.assign(document.createElement("button"), { type: "button", className: "columns" });
  const set = (narrow) => {
    region.classList.toggle("narrow", narrow);
    button.textContent = narrow ? "Show all columns" : "Show fewer columns";
  };
  button.addEventListener("click", () => set(!region.classList.contains("narrow")));
  set(true);
  region.before(button);
}

// A word is looked for in all of a row; NAME<VALUE and the like compare the column whose heading begins with NAME.
const COMPARISONS = {
  "<": (one, other) => one < other,
  "<=": (one, other) => one <= other,
  ">": (one, other) => one > other,
  ">=": (one, other) => one >= other,
  "=": (one, other) => one === other,
  "!=": (one, other) => one !== other,
};

function condition(term, heads) {
  const [, name, sign, value] = /^(.+?)(<=|>=|!=|<|>|=)(.+)$/.exec(term) ?? [];
  const plain = (text) => text.toLowerCase().replace(/[\s_]/g, "");
  const column = name ? heads.findIndex((head) => plain(head).startsWith(plain(name))) : -1;
  if (column < 0) return (row, text) => text.includes(term);
  const wanted = Number.isNaN(Number(value)) ? value : Number(value);
  return (row) => {
    const found = key(row, column);
    if (found === null) return false;
    return typeof found === typeof wanted ? COMPARISONS[sign](typeof found === "string" ? found.toLowerCase() : found, wanted) : false;
  };
}

const filter = document.querySelector("form.filter");
if (filter) {
  const rows = [...document.querySelectorAll(".runs tbody tr")];
  const texts = rows.map((row) => [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase());
  const heads = [...document.querySelectorAll(".runs thead th")].map((head) => head.textContent);
  const count = filter.querySelector("output");
  const apply = () => {
    const words = filter.elements.filter.value.toLowerCase().replace(/\s*(<=|>=|!=|<|>|=)\s*/g, "$1").split(/\s+/).filter(Boolean);
    const conditions = words.map((word) => condition(word, heads));
    rows.forEach((row, index) => { row.hidden = !conditions.every((holds) => holds(row, texts[index])); });
    const left = rows.filter((row) => !row.hidden).length;
    count.value = words.length ? `${left} of ${rows.length} runs` : `${rows.length} runs`;
  };
  filter.hidden = false;
  filter.addEventListener("input", apply);
  filter.addEventListener("submit", (event) => event.preventDefault());
  apply();
}
