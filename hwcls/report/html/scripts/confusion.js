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
    document.getElementById("matrix-epochs").hidden = epoch.epoch === null;
    now.textContent = `${epoch.epoch}${epoch.epoch === model.best ? " (best)" : ""}`;
    shown.textContent = epoch.epoch === null ? model.name : `${model.name}, epoch ${now.textContent}`;
    slider.setAttribute("aria-valuetext", `epoch ${now.textContent}`);
    order = check.checked ? model.order : named;
    const range = [-0.5, count - 0.5], kept = chart.layout ? [chart.layout.xaxis.range, chart.layout.yaxis.range] : [range, [...range].reverse()];
    const axes = { showgrid: false, constrain: "domain" };
    const layout = {
      xaxis: { ...axes, range: kept[0], ...ticks(kept[0]), tickangle: -60 },
      yaxis: { ...axes, range: kept[1], ...ticks(kept[1]), scaleanchor: "x" },
    };
    plotly().react(chart, [trace(model, epoch)], styled(layout, chart), config);
  }

  function choose() {
    const model = models[pick.value];
    slider.max = model.epochs.length - 1;
    slider.value = model.epochs.findIndex((epoch) => epoch.epoch === model.best);
  }
  pick.addEventListener("change", () => { choose(); show(); });
  slider.addEventListener("input", show);
  check.addEventListener("change", show);
  choose();
  painters.set(chart.id, () => {
    const first = !chart.on;
    show();
    if (first) chart.on("plotly_relayout", (change) => {
      if (Object.keys(change).some((key) => key.includes("range"))) show();
    });
  });
}
