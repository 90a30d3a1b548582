// Contents: folded on a narrow screen, the section in view marked.
const contents = document.getElementById("contents"), wide = matchMedia("(min-width: 1240px)");
const fold = () => { contents.open = wide.matches; };
wide.addEventListener("change", fold);
fold();
const links = new Map([...contents.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
const headings = [...links.keys()].map((id) => document.getElementById(id));
function markCurrent() {
  const atEnd = scrollY + innerHeight > document.documentElement.scrollHeight - 4;
  const passed = headings.filter((heading) => atEnd || heading.getBoundingClientRect().top < innerHeight / 3);
  const current = (passed.at(-1) ?? headings[0]).id;
  for (const [id, link] of links) {
    if (id === current) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}
addEventListener("scroll", markCurrent, { passive: true });
contents.addEventListener("click", (event) => { if (event.target.closest("a") && !wide.matches) contents.open = false; });
markCurrent();
