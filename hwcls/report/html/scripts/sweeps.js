"use strict";
// Loads the list again while the page can be seen; a slow one less often.
const list = document.getElementById("list"), status = document.getElementById("status");
async function update() {
  const begun = performance.now();
  try {
    const answer = await fetch("/sweeps", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    const text = await answer.text();
    if (!list.contains(document.activeElement) && getSelection().isCollapsed) list.innerHTML = text;
    status.hidden = true;
  } catch {
    status.hidden = false;
  }
  setTimeout(next, Math.max(3000, 20 * (performance.now() - begun)));
}
function next() {
  if (document.visibilityState === "visible") update();
  else document.addEventListener("visibilitychange", next, { once: true });
}
setTimeout(next, 3000);
