// Commands: a button beside each copies it.
const copied = document.createElement("p");
copied.className = "hidden";
copied.setAttribute("role", "status");
document.querySelector("main").append(copied);

async function copyText(line) {
  try {
    await navigator.clipboard.writeText(line.textContent);
    return true;
  } catch {  // not allowed, or a page from another machine without https
    getSelection().selectAllChildren(line);
    return document.execCommand("copy");
  }
}

for (const line of document.querySelectorAll(".commands code")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy ${line.textContent}`);
  button.addEventListener("click", async () => {
    const done = await copyText(line);
    button.textContent = done ? "Copied" : "Selected";
    copied.textContent = done ? `Copied: ${line.textContent}` : `Selected: ${line.textContent}`;
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  line.after(button);
}
