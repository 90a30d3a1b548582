// Parallel coordinates: a box drawn over axes, or a range chosen from a list, keeps the trials whose lines pass there.
const parallel = document.getElementById("chart-parallel");
if (parallel) {
  const { data, layout, ranges } = figures.parallel, brushes = new Map();  // axis: lowest and highest place on it
  const chosen = document.createElement("p");
  chosen.className = "note";
  chosen.setAttribute("role", "status");
  const all = document.createElement("button"), lists = document.createElement("details"), selects = ranges.map(list);
  all.type = "button";
  all.textContent = "Show all trials";
  all.addEventListener("click", clear);
  lists.className = "chooser";
  lists.innerHTML = "<summary>Keep trials by their settings</summary><div></div>";
  lists.lastChild.append(...selects.map((select) => select.parentElement));
  parallel.closest("figure").append(chosen, all, lists);
  const coarse = matchMedia("(pointer: coarse)");  // a finger scrolls
  const fits = (heights) => [...brushes].every(([axis, [low, high]]) => heights[axis] >= low && heights[axis] <= high);

  // The lines of a trace are apart by a null; each passes every axis.
  function split(trace) {
    const inside = { ...trace, x: [], y: [], text: [] };
    const outside = { ...inside, x: [], y: [], text: [], showlegend: false, opacity: 0.12, hoverinfo: "skip", hovertemplate: undefined };
    let kept = 0, from = 0;
    for (let at = 0; at <= trace.x.length; at++) {
      if (at < trace.x.length && trace.x[at] !== null) continue;
      const target = fits(trace.y.slice(from, at)) ? inside : outside;
      kept += target === inside;
      for (const key of ["x", "y", "text"]) target[key].push(...trace[key].slice(from, at), null);
      from = at + 1;
    }
    return { inside, outside, kept };
  }

  // The ranges of one axis to choose from; `drawn` stands for a box.
  function list([name, options], axis) {
    const label = document.createElement("label"), select = document.createElement("select");
    const choices = [["any", ""], ...options.map(([words], place) => [words, place]), ["drawn range", "drawn"]];
    select.append(...choices.map(([words, value]) => new Option(words, value)));
    select.lastChild.hidden = true;
    select.addEventListener("change", () => {
      if (select.value === "") brushes.delete(axis);
      else brushes.set(axis, options[select.value].slice(1));
      paint();
    });
    label.append(name, select);
    return select;
  }

  function clear() {
    brushes.clear();
    for (const select of selects) select.value = "";
    paint();
  }

  function paint() {
    const lines = data.filter((trace) => trace.mode === "lines"), others = data.filter((trace) => trace.mode !== "lines");
    const parts = lines.map(split), total = lines.reduce((sum, { x }) => sum + x.filter((place) => place === null).length + 1, 0);
    const accent = getComputedStyle(document.documentElement).getPropertyValue("--accent").trim();
    const shapes = [...brushes].map(([axis, [low, high]]) => ({
      type: "rect", x0: axis - 0.06, x1: axis + 0.06, y0: low, y1: high, fillcolor: accent, opacity: 0.35, line: { width: 0 },
    }));
    const traces = brushes.size ? [...parts.map((part) => part.outside), ...parts.map((part) => part.inside), ...others] : data;
    const dragmode = coarse.matches ? false : "select";
    plotly().react(parallel, traces, styled({ ...layout, shapes, dragmode, selections: [] }, parallel), { ...config, displayModeBar: false });
    chosen.textContent = brushes.size
      ? `${parts.reduce((sum, { kept }) => sum + kept, 0)} of ${total} trials pass the marked ranges.`
      : coarse.matches ? "" : "Drag over an axis to keep the trials that pass there.";
    all.hidden = !brushes.size;
  }

  painters.set(parallel.id, () => {
    const first = !parallel.on;
    paint();
    if (!first) return;
    parallel.on("plotly_selected", (event) => {
      if (!event?.range) return;
      const [left, right] = [...event.range.x].sort((a, b) => a - b), ends = [...event.range.y].sort((a, b) => a - b);
      for (let axis = Math.ceil(left); axis <= Math.floor(right); axis++) {
        brushes.set(axis, ends);
        selects[axis].value = "drawn";
      }
      paint();
    });
    for (const name of ["plotly_doubleclick", "plotly_deselect"]) parallel.on(name, clear);
  });
}
