"use strict";

// Contents: folded on a narrow screen, the section in view marked.
const contents = document.getElementById("contents"), wide = matchMedia("(min-width: 1240px)");
const fold = () => { contents.open = wide.matches; };
wide.addEventListener("change", fold);
fold();
const links = new Map([...contents.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
const headings = [...links.keys()].map((id) => document.getElementById(id));
function markCurrent() {
  const passed = headings.filter((heading) => heading.getBoundingClientRect().top < innerHeight / 3);
  const current = (passed.at(-1) ?? headings[0]).id;
  for (const [id, link] of links) {
    if (id === current) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}
addEventListener("scroll", markCurrent, { passive: true });
contents.addEventListener("click", (event) => { if (event.target.closest("a") && !wide.matches) contents.open = false; });
markCurrent();

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
const pause = () => new Promise((done) => setTimeout(done));
function drawOne([key, figure]) {
  const chart = document.getElementById("chart-" + key);
  Plotly.react(chart, figure.data, styled(figure.layout, chart), config);
}
async function draw() {
  for (const one of Object.entries(figures)) {
    drawOne(one);
    await pause();  // keeps the page responsive
  }
}
const drawn = draw();
drawn.then(() => { document.documentElement.dataset.drawn = "all"; });

// Colours follow the theme. Printing is always light and synchronous.
const repaints = [() => Object.entries(figures).forEach(drawOne)];
const repaint = () => repaints.forEach((one) => one());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
const paper = (printing) => { document.documentElement.classList.toggle("paper", printing); repaint(); };
addEventListener("beforeprint", () => paper(true));
addEventListener("afterprint", () => paper(false));
let drawnWidth = innerWidth, resized;
addEventListener("resize", () => {  // titles are wrapped again
  if (innerWidth === drawnWidth) return;
  drawnWidth = innerWidth;
  clearTimeout(resized);
  resized = setTimeout(repaint, 200);
});

// Confusion matrix: a heat map of the selected model and epoch; ticks follow the zoom.
const confusions = document.getElementById("confusions");
if (confusions) {
  const { classes, models } = JSON.parse(confusions.textContent), count = classes.length;
  const [pick, slider, now, check] = ["model", "epoch", "now", "sorted"].map((name) => document.getElementById("matrix-" + name));
  const shown = document.getElementById("matrix-shown"), chart = document.getElementById("chart-confusion"), TICKS = 32, NUMBERED = 12;
  const escaped = classes.map((name) => name.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;"));
  const named = classes.map((_, place) => place);
  let order = named;

  function ticks([low, high]) {
    const first = Math.max(0, Math.ceil(Math.min(low, high))), last = Math.min(count - 1, Math.floor(Math.max(low, high)));
    const step = Math.ceil((last - first + 1) / TICKS), places = [];
    for (let place = first; place <= last; place += step) places.push(place);
    return { tickvals: places, ticktext: places.map((place) => escaped[order[place]]) };
  }

  function trace(model, epoch) {
    const places = [], totals = new Array(count).fill(0);
    order.forEach((label, place) => { places[label] = place; });
    const table = (empty) => order.map(() => new Array(count).fill(empty));
    const z = table(null), text = table(""), hover = table("");
    epoch.row.forEach((row, at) => { totals[row] += epoch.count[at]; });
    epoch.row.forEach((row, at) => {
      const col = epoch.col[at], images = epoch.count[at], y = places[row], x = places[col], share = images / totals[row];
      z[y][x] = share;
      text[y][x] = images;
      hover[y][x] = `${escaped[row]} predicted as ${escaped[col]}<br>${images} of ${totals[row]}, ${(100 * share).toFixed(1)} %`;
    });
    const style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(name).trim();
    return {
      type: "heatmap", z, customdata: hover, hovertemplate: "%{customdata}<extra></extra>", zmin: 0, zmax: 1, xgap: count > 40 ? 0 : 1,
      ygap: count > 40 ? 0 : 1, showscale: false, colorscale: [[0, colour("--row")], [0.02, colour("--pale")], [1, colour("--accent")]],
      ...(count <= NUMBERED ? { text, texttemplate: "%{text}" } : {}),
    };
  }

  function show() {
    const model = models[pick.value], epoch = model.epochs[slider.value];
    now.textContent = `${epoch.epoch}${epoch.epoch === model.best ? " (best)" : ""}`;
    shown.textContent = `${model.name}, epoch ${now.textContent}`;
    slider.setAttribute("aria-valuetext", `epoch ${now.textContent}`);
    order = check.checked ? model.order : named;
    const range = [-0.5, count - 0.5], kept = chart.layout ? [chart.layout.xaxis.range, chart.layout.yaxis.range] : [range, [...range].reverse()];
    const axes = { showgrid: false, constrain: "domain" };
    const layout = {
      xaxis: { ...axes, range: kept[0], ...ticks(kept[0]), tickangle: -60 },
      yaxis: { ...axes, range: kept[1], ...ticks(kept[1]), scaleanchor: "x" },
    };
    Plotly.react(chart, [trace(model, epoch)], styled(layout, chart), config);
  }

  function choose() {
    const model = models[pick.value];
    slider.max = model.epochs.length - 1;
    slider.value = model.epochs.findIndex((epoch) => epoch.epoch === model.best);
    show();
  }
  pick.addEventListener("change", choose);
  slider.addEventListener("input", show);
  check.addEventListener("change", show);
  repaints.push(show);
  choose();
  chart.on("plotly_relayout", (change) => {
    if (Object.keys(change).some((key) => key.includes("range"))) show();
  });
}

// Rows sorted by a column: numbers as numbers, missing values last.
function sortRows(rows, column, down) {
  const value = (row) => {
    const cell = row.cells[column], number = cell.dataset.sort;
    return number === undefined ? cell.textContent : number === "" ? null : Number(number);
  };
  return rows.map((row) => [value(row), row]).sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    return down ? -order : order;
  }).map(([, row]) => row);
}

// Updates the headings: the first click sorts in the order `first`, the next one reverses it. Returns whether descending.
function toggleSort(headings, column, first) {
  const other = first === "ascending" ? "descending" : "ascending";
  const way = headings[column].getAttribute("aria-sort") === first ? other : first;
  headings.forEach((heading) => heading.removeAttribute("aria-sort"));
  headings[column].setAttribute("aria-sort", way);
  return way === "descending";
}

// Other tables: a heading sorts by its column, numbers descending first.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
    const first = body.rows[0].cells[column].dataset.sort === undefined ? "ascending" : "descending";
    body.append(...sortRows([...body.rows], column, toggleSort(headings, column, first)));
  }));
}

// Leaderboard: a heading sorts by its column, the box hides rows that lack one of its words, and the check keeps
// alternatives grouped.
const board = document.getElementById("board");
if (board) {
  const body = board.tBodies[0], headings = [...board.tHead.rows[0].cells], check = document.getElementById("grouped");
  const ranked = [...body.rows].sort((a, b) => rank(a) - rank(b));
  let order = ranked;  // of all rows, whatever their groups

  function rank(row) {
    const cell = row.cells[0].dataset.sort;
    return cell ? Number(cell) : Infinity;
  }

  function arrange() {
    const together = check !== null && check.checked;
    const rows = together ? [...order].sort((a, b) => a.dataset.group - b.dataset.group) : order;
    body.append(...rows);
    let last = null;
    for (const row of rows) {
      row.classList.toggle("begins", together && !row.hidden && last !== null && last !== row.dataset.group);
      last = row.hidden ? last : row.dataset.group;
    }
  }

  function sort(column) {
    order = sortRows(ranked, column, toggleSort(headings, column, "ascending"));
    arrange();
  }
  headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => sort(column)));
  if (check !== null) check.addEventListener("change", arrange);

  const box = document.getElementById("filter"), count = document.getElementById("count");
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${body.rows.length}`;
    arrange();
  });
}
