// Parallel coordinates: a box drawn over axes keeps the trials whose lines pass through it; a double click clears.
const parallel = document.getElementById("chart-parallel");
if (parallel) {
  const { data, layout } = figures.parallel, brushes = new Map();  // axis: lowest and highest place on it
  const chosen = document.createElement("p");
  chosen.className = "note";
  chosen.setAttribute("role", "status");
  parallel.closest("figure").append(chosen);
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

  function paint() {
    const lines = data.filter((trace) => trace.mode === "lines"), others = data.filter((trace) => trace.mode !== "lines");
    const parts = lines.map(split), total = lines.reduce((sum, { x }) => sum + x.filter((place) => place === null).length + 1, 0);
    const accent = getComputedStyle(document.documentElement).getPropertyValue("--accent").trim();
    const shapes = [...brushes].map(([axis, [low, high]]) => ({
      type: "rect", x0: axis - 0.06, x1: axis + 0.06, y0: low, y1: high, fillcolor: accent, opacity: 0.35, line: { width: 0 },
    }));
    const traces = brushes.size ? [...parts.map((part) => part.outside), ...parts.map((part) => part.inside), ...others] : data;
    const dragmode = matchMedia("(pointer: coarse)").matches ? false : "select";  // a finger scrolls
    plotly().react(parallel, traces, styled({ ...layout, shapes, dragmode, selections: [] }, parallel), { ...config, displayModeBar: false });
    chosen.textContent = brushes.size
      ? `${parts.reduce((sum, { kept }) => sum + kept, 0)} of ${total} trials pass the marked ranges; a double click clears them.`
      : "Drag over an axis to keep the trials that pass there.";
  }

  painters.set(parallel.id, () => {
    const first = !parallel.on;
    paint();
    if (!first) return;
    parallel.on("plotly_selected", (event) => {
      if (!event?.range) return;
      const [left, right] = [...event.range.x].sort((a, b) => a - b), ends = [...event.range.y].sort((a, b) => a - b);
      for (let axis = Math.ceil(left); axis <= Math.floor(right); axis++) brushes.set(axis, ends);
      paint();
    });
    for (const name of ["plotly_doubleclick", "plotly_deselect"]) parallel.on(name, () => { brushes.clear(); paint(); });
  });
}
