"use strict";
// Loads the list again while the page can be seen; a slow one less often.
const list = document.getElementById("list"), notice = document.getElementById("notice");
function show(text) {
  if (!getSelection().isCollapsed) return;  // somebody copies a command
  const link = list.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  list.innerHTML = text;
  if (link) [...list.querySelectorAll("a")].find((one) => one.getAttribute("href") === link)?.focus({ preventScroll: true });
}
async function update() {
  const begun = performance.now();
  try {
    const answer = await fetch("/sweeps", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    show(await answer.text());
    notice.hidden = true;
  } catch {
    notice.hidden = false;
  }
  setTimeout(next, Math.max(3000, 20 * (performance.now() - begun)));
}
function next() {
  if (document.visibilityState === "visible") update();
  else document.addEventListener("visibilitychange", next, { once: true });
}
setTimeout(next, 3000);
