// Charts take their colours from the page, again whenever the theme changes.
function theme() {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink").trim(), soft = style.getPropertyValue("--soft").trim();
  const axis = { gridcolor: style.getPropertyValue("--line").trim(), linecolor: soft, zeroline: false, automargin: true, color: soft };
  return {
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink },
    axis,
    hover: { bgcolor: style.getPropertyValue("--card").trim(), bordercolor: soft, font: { color: ink } },
  };
}

// A title on as many lines as its axis needs; characters are about 7 px wide.
function wrapped(axis, length) {
  if (!axis?.title?.text) return axis;
  const most = Math.max(12, Math.floor(length / 7)), lines = [""];
  for (const word of axis.title.text.split(" ")) {
    const last = lines.at(-1);
    if (last && last.length + 1 + word.length > most) lines.push(word);
    else lines[lines.length - 1] = last ? `${last} ${word}` : word;
  }
  return { ...axis, title: { ...axis.title, text: lines.join("<br>") } };
}

function styled(layout, chart) {
  const { font, axis, hover } = theme();
  const xaxis = wrapped(layout.xaxis, chart.clientWidth - 150), yaxis = wrapped(layout.yaxis, chart.clientHeight - 150);
  return {
    ...layout, font, hoverlabel: hover, autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 10, r: 10, t: 30, b: 10 }, xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis },
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0 }, hovermode: "closest",
    modebar: { bgcolor: "rgba(0,0,0,0)", color: axis.gridcolor, activecolor: axis.color },
  };
}

const holder = document.getElementById("figures");
const figures = holder ? JSON.parse(holder.textContent) : {};
const config = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };

// plotly.js is kept as text: the page can be read before it is compiled.
function plotly() {
  if (!window.Plotly) {
    const script = document.createElement("script");
    script.textContent = document.getElementById("plotly").textContent;
    document.head.append(script);
  }
  return window.Plotly;
}

function drawFigure(key) {
  const chart = document.getElementById("chart-" + key), { data, layout } = figures[key];
  plotly().react(chart, data, styled(layout, chart), config);
}

// What draws the chart of each element; those in view come first, and the page stays responsive.
const painters = new Map(Object.keys(figures).map((key) => ["chart-" + key, () => drawFigure(key)]));
const idle = window.requestIdleCallback ?? setTimeout;
const pause = () => new Promise((done) => idle(done, { timeout: 200 }));
const distance = (id) => {
  const { top, bottom } = document.getElementById(id).getBoundingClientRect();
  return Math.max(0, top - innerHeight, -bottom);
};
const visible = (id) => document.getElementById(id).checkVisibility();
// A chart in a fold is drawn when the fold is opened.
document.addEventListener("toggle", ({ target }) => {
  if (target.open) target.querySelectorAll(".chart").forEach((chart) => painters.get(chart.id)?.());
}, true);
async function draw() {
  const waiting = new Set(painters.keys());
  while (waiting.size) {
    await pause();
    const next = [...waiting].sort((a, b) => distance(a) - distance(b))[0];
    waiting.delete(next);
    if (visible(next)) painters.get(next)();
  }
  document.documentElement.dataset.drawn = "all";
}
const loaded = new Promise((done) => addEventListener("load", done));
const drawn = loaded.then(draw);

// Colours follow the theme. Printing is always light and synchronous.
const repaint = () => painters.forEach((paint, id) => { if (visible(id)) paint(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
const paper = (printing) => { document.documentElement.classList.toggle("paper", printing); repaint(); };
let unfolded = [];  // a printed page has nothing to unfold
addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("main details:not([open], .chooser)")];
  unfolded.forEach((one) => { one.open = true; });
  paper(true);
});
addEventListener("afterprint", () => {
  unfolded.forEach((one) => { one.open = false; });
  paper(false);
});
let drawnWidth = innerWidth, resized;
addEventListener("resize", () => {  // titles are wrapped again
  if (innerWidth === drawnWidth) return;
  drawnWidth = innerWidth;
  clearTimeout(resized);
  resized = setTimeout(repaint, 200);
});
