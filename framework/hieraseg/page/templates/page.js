"use strict";

// Charts: each is drawn when it is first seen, in the colors of the page.
function theme() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  const axis = {
    gridcolor: of("--line"),
    linecolor: of("--line"),
    zerolinecolor: of("--muted"),
    tickfont: { color: of("--text") },
  };
  return {
    layout: {
      font: { family: style.fontFamily || "sans-serif", size: 13, color: of("--text") },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      xaxis: axis,
      yaxis: axis,
      hoverlabel: { bgcolor: of("--raised"), bordercolor: of("--line"), font: { color: of("--text") } },
    },
  };
}

function draw(chart) {
  if (chart.dataset.drawn) return;
  chart.dataset.drawn = "yes";
  const figure = JSON.parse(chart.querySelector("script").textContent);
  figure.layout.template = theme();
  // Plotly 7 has a button that uploads a chart.
  const removed = ["lasso2d", "select2d", "sendChartToCloud"];
  const options = { displaylogo: false, responsive: true, modeBarButtonsToRemove: removed, plotlyServerURL: "" };
  Plotly.newPlot(chart, figure.data, figure.layout, options);
  showRows(chart);
}

const isShown = (chart) => chart.offsetParent !== null;
const drawnAndShown = () => charts.filter((chart) => chart.dataset.drawn && isShown(chart));
const charts = [...document.querySelectorAll(".chart")];
const seen = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target)),
  { rootMargin: "300px" },
);
charts.forEach((chart) => seen.observe(chart));

// Light and dark: that of the system, until the reader chooses.
const dark = matchMedia("(prefers-color-scheme: dark)");
const button = document.getElementById("theme");

function setTheme(isDark) {
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
  button.setAttribute("aria-pressed", String(isDark));
  const template = theme();
  charts.filter((chart) => chart.dataset.drawn).forEach((chart) => Plotly.relayout(chart, { template }));
}

button.addEventListener("click", () => setTheme(document.documentElement.dataset.theme !== "dark"));
dark.addEventListener("change", () => setTheme(dark.matches));
setTheme(dark.matches);

// Paper is light, and has all levels and details.
let before, closed;
addEventListener("beforeprint", () => {
  before = document.documentElement.dataset.theme;
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach((details) => (details.open = true));
  document.documentElement.classList.add("printed");
  setTheme(false);
  for (const chart of charts.filter(isShown)) {
    draw(chart);
    Plotly.relayout(chart, { width: chart.clientWidth });
  }
});
addEventListener("afterprint", () => {
  document.documentElement.classList.remove("printed");
  closed.forEach((details) => (details.open = false));
  setTheme(before === "dark");
  charts.filter((chart) => chart.dataset.drawn).forEach((chart) => Plotly.relayout(chart, { width: null, autosize: true }));
});

// Panels: those whose options are all chosen are shown.
for (const group of document.querySelectorAll(".switched")) {
  const panels = group.querySelectorAll(":scope > .panel");
  for (const control of group.querySelectorAll(":scope > .controls [data-key]")) {
    control.addEventListener("change", () => {
      const key = control.dataset.key;
      panels.forEach((panel) => panel.classList.toggle("other-" + key, panel.dataset[key] !== control.value));
      // The page may have changed its width while they were hidden.
      drawnAndShown().forEach((chart) => Plotly.Plots.resize(chart));
    });
  }
}

// Rows: a checkbox shows or hides one in all charts.
function showRows(chart) {
  if (!chart.data) return;
  const hidden = new Set([...document.querySelectorAll("input[data-row]:not(:checked)")].map((box) => box.dataset.row));
  const visible = chart.data.map((trace) => !hidden.has(trace.legendgroup));
  if (chart.data.some((trace, index) => (trace.visible ?? true) !== visible[index])) {
    Plotly.restyle(chart, { visible });
  }
}

document.addEventListener("change", (event) => {
  const row = event.target.dataset.row;
  if (row === undefined) return;
  document.querySelectorAll("input[data-row]").forEach((box) => {
    if (box.dataset.row === row) box.checked = event.target.checked;
  });
  charts.filter((chart) => chart.dataset.drawn).forEach(showRows);
});

// Tables: a header sorts its column, down first, then up. Rows without a value stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  for (const header of table.querySelectorAll("th[aria-sort]")) {
    header.querySelector("button").addEventListener("click", () => {
      const down = header.getAttribute("aria-sort") !== "descending";
      table.querySelectorAll("th[aria-sort]").forEach((other) => other.setAttribute("aria-sort", "none"));
      header.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => row.cells[header.cellIndex].dataset.value ?? "";
      const numeric = header.dataset.numeric !== undefined;
      const compare = (a, b) => (numeric ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true }));
      const rows = [...body.rows].sort((a, b) => {
        const [one, other] = [value(a), value(b)];
        if (one === "" || other === "") return (one === "") - (other === "");
        return down ? compare(other, one) : compare(one, other);
      });
      body.append(...rows);
    });
  }
}
