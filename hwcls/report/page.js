"use strict";

// Charts: plotly takes its colours from the page's own, again whenever the theme changes.
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

function styled(layout) {
  const { font, axis, hover } = theme();
  return {
    ...layout, font, hoverlabel: hover, autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 10, r: 10, t: 30, b: 10 }, xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0 }, hovermode: "closest",
    modebar: { bgcolor: "rgba(0,0,0,0)", color: axis.gridcolor, activecolor: axis.color },
  };
}

const holder = document.getElementById("figures");
const figures = holder ? JSON.parse(holder.textContent) : {};
const config = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
function draw() {
  for (const [key, figure] of Object.entries(figures)) {
    Plotly.react("chart-" + key, figure.data, styled(figure.layout), config);
  }
}
draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

// Leaderboard: a heading sorts by its column, the box hides rows that lack one of its words, and alternatives stay
// together unless the check is taken away.
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
    const heading = headings[column];
    const down = heading.getAttribute("aria-sort") === "ascending";
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => {
      const cell = row.cells[column], number = cell.dataset.sort;
      return number === undefined ? cell.textContent : number === "" ? null : Number(number);
    };
    const rows = ranked.map((row) => [value(row), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);  // what has no value stays last
      const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
      return down ? -order : order;
    });
    order = rows.map(([, row]) => row);
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
