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
  const ranked = [...body.rows];
  let order = ranked;  // of all rows, whatever their groups

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

  const chooser = document.getElementById("columns"), chosen = chooser.parentElement.querySelector("summary");
  chooser.addEventListener("change", ({ target }) => {
    for (const row of board.rows) row.cells[target.value].hidden = !target.checked;
    const boxes = [...chooser.querySelectorAll("input")];
    chosen.textContent = `Columns: ${boxes.filter((box) => box.checked).length} of ${boxes.length} shown`;
  });

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
