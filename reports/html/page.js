"use strict";
document.addEventListener("click", async (event) => {
  const button = event.target.closest("li button");
  if (!button) return;
  const code = button.previousElementSibling;
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    const range = document.createRange();
    range.selectNodeContents(code);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    document.execCommand("copy");
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
});
const has = (node, word) => node.dataset.find.toLowerCase().includes(word);
document.getElementById("filter").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  const all = (...nodes) => words.every((w) => nodes.some((n) => has(n, w)));
  for (const host of document.querySelectorAll(".host")) {
    let any = all(host);
    for (const service of host.querySelectorAll(".service")) {
      let some = all(host, service);
      for (const point of service.querySelectorAll("tbody")) {
        point.hidden = !some && !all(host, service, point);
        if (!point.hidden) any = true;
      }
      const shown = some || [...service.querySelectorAll("tbody")].some((p) => !p.hidden);
      service.hidden = !shown;
      any = any || shown;
      if (words.length && shown) service.open = true;
    }
    host.hidden = !any;
    document.getElementById("map-" + host.id).hidden = !any;
  }
  document.getElementById("none").hidden = !!document.querySelector(".host:not([hidden])");
});
